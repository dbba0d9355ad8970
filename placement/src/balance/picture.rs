//! Who has what, as it would be if all moves under way were done; and what each node bears by that.
//!
//! A node is its [`Seat`] here, so that what belongs to nodes stands in lists: a picture of a hundred thousand partitions is made whenever
//! something may be moved.

use super::members::Members;
use super::step::Shift;
use crate::{Cluster, Duty};
use types::{NodeId, PartitionId, TableId};

/// A node's place in lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Seat(u32);

/// A zone's place in lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Zone(u32);

/// A node that ever joined.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) node: NodeId,
    /// None crowds nobody.
    pub(super) zone: Option<Zone>,
    alive: bool,
    /// Whether it is to have replicas.
    pub(super) takes: bool,
    /// Whether it is alive, and is to have none.
    pub(super) drained: bool,
}

/// A partition.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) id: PartitionId,
    /// The primary first.
    pub(super) members: Members,
    pub(super) bytes: u64,
    /// To these it was moved in vain.
    pub(super) barred: Vec<Seat>,
    /// Something else is done about it first.
    pub(super) locked: bool,
}

/// A table in service, and how much of it each node has.
#[derive(Clone, Debug)]
pub(super) struct Pictured {
    pub(super) id: TableId,
    pub(super) all: Vec<Placed>,
    shares: Vec<Share>,
}

/// What a node has of a table.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Share {
    pub(super) replicas: u32,
    pub(super) leads: u32,
}

/// What a node bears altogether.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Load {
    pub(super) replicas: u32,
    pub(super) leads: u32,
    pub(super) bytes: u64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    places: Vec<Place>,
    /// How many there are.
    zones: u32,
    pub(super) tables: Vec<Pictured>,
    loads: Vec<Load>,
}

/// How many more there are than different ones, of those that are known.
pub(crate) fn crowding<'a>(zones: impl Iterator<Item = &'a str>) -> usize {
    let mut zones: Vec<&str> = zones.filter(|zone| !zone.is_empty()).collect();
    let all = zones.len();
    zones.sort_unstable();
    zones.dedup();
    all - zones.len()
}

impl Seat {
    fn index(self) -> usize {
        self.0 as usize
    }
}

impl Zone {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Placed {
    /// Whether a copy may be made on this node.
    pub(super) fn may_take(&self, seat: Seat) -> bool {
        !self.members.contains(&seat) && !self.barred.contains(&seat)
    }

    pub(super) fn primary(&self) -> Option<Seat> {
        self.members.first().copied()
    }
}

impl Pictured {
    pub(super) fn share(&self, seat: Seat) -> Share {
        self.shares.get(seat.index()).copied().unwrap_or_default()
    }
}

impl Cluster {
    /// What would be if all moves under way were done.
    pub(super) fn picture(&self) -> Picture {
        let mut picture = self.empty_picture();
        for table in self.live() {
            let wanted = table.properties.replicas as usize;
            let mut pictured = Pictured {
                id: table.properties.id,
                all: Vec::with_capacity(table.partitions.len()),
                shares: vec![Share::default(); picture.places.len()],
            };
            for (index, partition) in (0..).zip(&table.partitions) {
                let id = PartitionId {
                    table: pictured.id,
                    index,
                };
                let Some(stored) = &partition.stored else {
                    continue;
                };
                let nodes = stored.members().map(|member| picture.seat(member.node));
                let mut members: Members = nodes.flatten().collect();
                let moving = self.moves.get(&id).map(|moving| moving.step.shift);
                match moving {
                    Some(Shift::Replica { from, to }) => {
                        let (from, to) = (picture.seat(from), picture.seat(to));
                        members.retain(|seat| Some(seat) != from && Some(seat) != to);
                        members.extend(to);
                    }
                    Some(Shift::Lead { to, .. }) => {
                        let to = picture.seat(to);
                        members.sort_by_key(|&seat| Some(seat) != to);
                    }
                    None => {}
                }
                let well = members.iter().all(|&seat| picture.place(seat).alive);
                let barred = self.barred.range((id, NodeId(0))..=(id, NodeId(u64::MAX)));
                let placed = Placed {
                    id,
                    bytes: partition.bytes(),
                    barred: barred
                        .filter_map(|(&(_, node), _)| picture.seat(node))
                        .collect(),
                    locked: moving.is_some()
                        || partition.pending.is_some()
                        || partition.is_diverged()
                        || members.len() != wanted
                        || !well,
                    members,
                };
                picture.bear(&mut pictured.shares, &placed);
                pictured.all.push(placed);
            }
            picture.tables.push(pictured);
        }
        picture
    }

    /// All nodes, and nothing on them.
    fn empty_picture(&self) -> Picture {
        let mut zones: Vec<&str> = self
            .nodes
            .values()
            .map(|node| &node.address.zone[..])
            .filter(|zone| !zone.is_empty())
            .collect();
        zones.sort_unstable();
        zones.dedup();
        let places: Vec<Place> = self
            .nodes
            .iter()
            .map(|(&id, node)| {
                let zone = zones.binary_search(&&node.address.zone[..]);
                let drained = node.duty == Duty::Drained;
                let session = node.session.as_ref();
                Place {
                    node: id,
                    zone: zone.ok().map(|index| Zone(index as u32)),
                    alive: session.is_some(),
                    takes: !drained && session.is_some_and(|session| session.reported),
                    drained: drained && session.is_some(),
                }
            })
            .collect();
        Picture {
            loads: vec![Load::default(); places.len()],
            zones: zones.len() as u32,
            places,
            tables: Vec::new(),
        }
    }
}

impl Picture {
    /// The nodes are in the order of their numbers.
    fn seat(&self, node: NodeId) -> Option<Seat> {
        let found = self
            .places
            .binary_search_by_key(&node, |place| place.node)
            .ok()?;
        Some(Seat(found as u32))
    }

    pub(super) fn place(&self, seat: Seat) -> &Place {
        // A seat is made from the list, which never changes.
        &self.places[seat.index()]
    }

    pub(super) fn seats(&self) -> impl Iterator<Item = Seat> + use<> {
        (0..self.places.len() as u32).map(Seat)
    }

    /// Zones of nodes that ever joined.
    pub(super) fn zones(&self) -> impl Iterator<Item = Zone> + use<> {
        (0..self.zones).map(Zone)
    }

    /// Nodes that are to have replicas.
    pub(super) fn takers(&self) -> impl Iterator<Item = Seat> + '_ {
        self.seats().filter(|&seat| self.place(seat).takes)
    }

    /// What a node bears altogether.
    pub(super) fn load(&self, seat: Seat) -> Load {
        self.loads[seat.index()]
    }

    /// Tables are in the order of their numbers.
    pub(super) fn table(&self, id: TableId) -> Option<&Pictured> {
        let found = self.tables.binary_search_by_key(&id, |table| table.id);
        self.tables.get(found.ok()?)
    }

    /// An empty list for each node.
    pub(super) fn lists<T: Clone>(&self) -> Vec<Vec<T>> {
        vec![Vec::new(); self.places.len()]
    }

    fn bear(&mut self, shares: &mut [Share], placed: &Placed) {
        for (position, seat) in placed.members.iter().enumerate() {
            let leads = u32::from(position == 0);
            let (load, share) = (&mut self.loads[seat.index()], &mut shares[seat.index()]);
            load.replicas += 1;
            load.leads += leads;
            load.bytes += placed.bytes;
            share.replicas += 1;
            share.leads += leads;
        }
    }

    /// How many members more than zones, of those whose zone is known.
    pub(super) fn crowding(&self, members: &[Seat]) -> usize {
        let zone = |seat: &Seat| self.place(*seat).zone;
        let again = |(position, seat): &(usize, &Seat)| {
            zone(seat).is_some()
                && members[..*position]
                    .iter()
                    .any(|one| zone(one) == zone(seat))
        };
        members.iter().enumerate().filter(again).count()
    }

    /// Whether a member other than this one is in the zone.
    pub(super) fn others_in(&self, placed: &Placed, from: Seat, zone: Option<Zone>) -> bool {
        let other = |seat: &&Seat| **seat != from && self.place(**seat).zone == zone;
        zone.is_some() && placed.members.iter().any(|seat| other(&seat))
    }

    /// Whether zones would be no more crowded if the copy on `from` went into this zone.
    pub(super) fn may_enter(&self, placed: &Placed, from: Seat, zone: Option<Zone>) -> bool {
        !self.others_in(placed, from, zone) || self.others_in(placed, from, self.place(from).zone)
    }

    /// Whether a partition may go from one node to another as far as zones and members go.
    pub(super) fn may_move(&self, placed: &Placed, from: Seat, to: Seat) -> bool {
        !placed.locked
            && placed.members.contains(&from)
            && placed.may_take(to)
            && self.may_enter(placed, from, self.place(to).zone)
    }

    /// One of a table's partitions has other members, the primary first, or these in another order.
    pub(super) fn rearrange(&mut self, table: usize, index: usize, members: Members) {
        let Pictured { all, shares, .. } = &mut self.tables[table];
        let placed = &mut all[index];
        for (position, seat) in placed.members.iter().enumerate() {
            let leads = u32::from(position == 0);
            let (load, share) = (&mut self.loads[seat.index()], &mut shares[seat.index()]);
            load.replicas -= 1;
            load.leads -= leads;
            load.bytes -= placed.bytes;
            share.replicas -= 1;
            share.leads -= leads;
        }
        placed.members = members;
        let (placed, mut shares) = (placed.clone(), std::mem::take(shares));
        self.bear(&mut shares, &placed);
        self.tables[table].shares = shares;
    }
}

/// A list's entry for a node.
pub(super) fn of<T>(lists: &[T], seat: Seat) -> &T {
    &lists[seat.index()]
}

/// The same, to change it.
pub(super) fn of_mut<T>(lists: &mut [T], seat: Seat) -> &mut T {
    &mut lists[seat.index()]
}
