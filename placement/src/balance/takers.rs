//! Nodes that are to have replicas, zone by zone, those that bear least first: for a copy that may not enter a zone no node in it is looked at.

use super::picture::{Picture, Placed, Seat, Zone};
use std::collections::BTreeSet;

/// What a node bears: what matters most first.
pub(super) type Burden = (u32, u32, u64);

/// All of them, in order.
pub(super) struct Takers {
    by_zone: Vec<OfZone>,
}

/// Those of one zone, or those of none.
type OfZone = (Option<Zone>, BTreeSet<(Burden, Seat)>);

impl Takers {
    pub(super) fn new(picture: &Picture, burden: impl Fn(&Picture, Seat) -> Burden) -> Self {
        let zones = picture.zones().map(Some).chain([None]);
        let mut takers = Self {
            by_zone: zones.map(|zone| (zone, BTreeSet::new())).collect(),
        };
        for seat in picture.takers() {
            takers.insert(picture, seat, burden(picture, seat));
        }
        takers
    }

    fn list(&mut self, picture: &Picture, seat: Seat) -> &mut BTreeSet<(Burden, Seat)> {
        let last = self.by_zone.len() - 1;
        let zone = picture.place(seat).zone;
        // There is one for each zone, and one for nodes without.
        &mut self.by_zone[zone.map_or(last, Zone::index)].1
    }

    /// It bears this now.
    pub(super) fn insert(&mut self, picture: &Picture, seat: Seat, burden: Burden) {
        if picture.place(seat).takes {
            self.list(picture, seat).insert((burden, seat));
        }
    }

    /// It bears this no longer.
    pub(super) fn remove(&mut self, picture: &Picture, seat: Seat, burden: Burden) {
        self.list(picture, seat).remove(&(burden, seat));
    }

    /// Who bears least of those that `suit`, in the zones that may be entered. Those that come after one that does not fit do not fit either.
    pub(super) fn least(
        &self,
        enters: impl Fn(Option<Zone>) -> bool,
        fits: impl Fn(Burden) -> bool,
        suits: impl Fn(Seat) -> bool,
    ) -> Option<Seat> {
        let of_zone = |(zone, nodes): &OfZone| {
            let &(least, _) = nodes.first()?;
            if !fits(least) || !enters(*zone) {
                return None;
            }
            let mut fitting = nodes.iter().take_while(|(burden, _)| fits(*burden));
            fitting.find(|(_, seat)| suits(*seat)).copied()
        };
        let best = self.by_zone.iter().filter_map(of_zone).min();
        best.map(|(_, seat)| seat)
    }

    /// Who should have a member's copy instead of it: zones are no more crowded then.
    pub(super) fn instead(
        &self,
        picture: &Picture,
        placed: &Placed,
        from: Seat,
        fits: impl Fn(Burden) -> bool,
    ) -> Option<Seat> {
        self.least(
            |zone| picture.may_enter(placed, from, zone),
            fits,
            |seat| placed.may_take(seat),
        )
    }
}
