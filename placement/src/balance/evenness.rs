//! As many replicas on every node, of each table and altogether, and as many bytes on every disk.
//!
//! Whoever has most gives first, one copy, to whoever has least and may take it. Who finds nobody is not asked again for another of his
//! copies that was passed over, until all others have been asked: in small zones that is most of what there is.

use super::misplaced::of_table;
use super::picture::{Picture, Placed, Seat, of, of_mut};
use super::plan::Plan;
use super::step::Reason;
use super::takers::{Burden, Takers};
use std::collections::BTreeSet;

/// Disks differ by less than this, or by less than a fifth of the mean: then they are even.
const BYTES_APART: u64 = 1 << 30;

/// Two copies change places only if that makes disks more even by a twentieth of what is copied for it.
const WORTH: u64 = 20;

/// What each node could give, and how much of that was passed over.
struct Givers {
    /// Copies by node, as table and partition stand in the picture; rather those that it does not lead.
    held: Vec<Vec<(u32, u32)>>,
    passed: Vec<usize>,
    /// Nodes that may still find somebody, by what they have.
    order: BTreeSet<(u32, Seat)>,
}

impl Givers {
    fn new(picture: &Picture, tables: std::ops::Range<usize>, count: impl Fn(Seat) -> u32) -> Self {
        let mut held = picture.lists();
        for leads in [false, true] {
            for table in tables.clone() {
                for (index, placed) in picture.tables[table].all.iter().enumerate() {
                    if placed.locked {
                        continue;
                    }
                    let split = usize::from(!placed.members.is_empty());
                    let (primary, secondaries) = placed.members.split_at(split);
                    for &seat in if leads { primary } else { secondaries } {
                        of_mut(&mut held, seat).push((table as u32, index as u32));
                    }
                }
            }
        }
        let order = picture.takers().map(|seat| (count(seat), seat)).collect();
        Self {
            passed: vec![0; held.len()],
            held,
            order,
        }
    }

    /// The first copy that a node has somebody for.
    fn give(
        &mut self,
        from: Seat,
        mut whom: impl FnMut(usize, usize) -> Option<Seat>,
    ) -> Option<(usize, usize, Seat)> {
        let held = of(&self.held, from);
        let passed = of_mut(&mut self.passed, from);
        while let Some(&(table, index)) = held.get(*passed) {
            *passed += 1;
            let (table, index) = (table as usize, index as usize);
            if let Some(to) = whom(table, index) {
                return Some((table, index, to));
            }
        }
        None
    }

    /// Somebody has one more or less now; who found nobody any more stays aside.
    fn recount(&mut self, seat: Seat, before: u32, now: u32) {
        if self.order.remove(&(before, seat)) {
            self.order.insert((now, seat));
        }
    }
}

/// From nodes with most replicas of a table to those with least.
pub(super) fn replicas_of_tables(plan: &mut Plan) {
    for table in 0..plan.picture.tables.len() {
        let count = |picture: &Picture, seat| picture.tables[table].share(seat).replicas;
        let whom = |picture: &Picture, takers: &Takers, from, placed: &Placed| {
            let fits = |to: Burden| count(picture, from) >= to.0 + 2;
            takers.instead(picture, placed, from, fits)
        };
        even_out(plan, table..table + 1, count, of_table(table), whom);
    }
}

/// The same for all tables together, where it leaves each table as even as it is.
pub(super) fn replicas(plan: &mut Plan) {
    let count = |picture: &Picture, seat| picture.load(seat).replicas;
    let burden = |picture: &Picture, seat| (picture.load(seat).replicas, 0, 0);
    let whom = |picture: &Picture, takers: &Takers, from: Seat, placed: &Placed| {
        let table = picture.table(placed.id.table)?;
        let fits = |to: Burden| count(picture, from) >= to.0 + 2;
        // Where it goes there are fewer of its table too: the table stays as even as it is.
        let fewer = |to| table.share(from).replicas > table.share(to).replicas;
        takers.least(
            |zone| picture.may_enter(placed, from, zone),
            fits,
            |to| fewer(to) && placed.may_take(to),
        )
    };
    let tables = 0..plan.picture.tables.len();
    even_out(plan, tables, count, burden, whom);
}

/// Lets whoever has most give, until that helps nobody.
fn even_out(
    plan: &mut Plan,
    tables: std::ops::Range<usize>,
    count: impl Fn(&Picture, Seat) -> u32,
    burden: impl Fn(&Picture, Seat) -> Burden,
    whom: impl Fn(&Picture, &Takers, Seat, &Placed) -> Option<Seat>,
) {
    loop {
        let counts = || plan.picture.takers().map(|seat| count(&plan.picture, seat));
        if counts().max() < counts().min().map(|least| least + 2) {
            return;
        }
        let before = plan.len();
        let mut takers = Takers::new(&plan.picture, &burden);
        let mut givers = Givers::new(&plan.picture, tables.clone(), |seat| {
            count(&plan.picture, seat)
        });
        while let Some(&(most, from)) = givers.order.last() {
            let picture = &plan.picture;
            let room = takers.least(|_| true, |to| most >= to.0 + 2, |_| true);
            if room.is_none() || plan.is_full() {
                break;
            }
            let found = givers.give(from, |table, index| {
                let placed = &picture.tables[table].all[index];
                whom(picture, &takers, from, placed)
            });
            let Some((table, index, to)) = found else {
                givers.order.remove(&(most, from));
                continue;
            };
            let had = [from, to].map(|seat| (seat, count(picture, seat), burden(picture, seat)));
            plan.move_replica((table, index), from, to, Reason::Replicas);
            let picture = &plan.picture;
            for (seat, counted, bore) in had {
                takers.remove(picture, seat, bore);
                takers.insert(picture, seat, burden(picture, seat));
                givers.recount(seat, counted, count(picture, seat));
            }
        }
        if plan.is_full() || plan.len() == before {
            return;
        }
    }
}

/// The fullest disk gives a large replica to the emptiest, and takes a small one of the same table for it.
pub(super) fn disks(plan: &mut Plan) {
    while !plan.is_full() {
        let Some(Swap {
            table,
            large,
            small,
            from,
            to,
        }) = swap(&plan.picture)
        else {
            return;
        };
        plan.exchange(table, (large, from), (small, to), Reason::Disks);
    }
}

/// Two copies of a table that change places.
struct Swap {
    table: usize,
    large: usize,
    small: usize,
    from: Seat,
    to: Seat,
}

/// What leaves the two disks closest to each other.
fn swap(picture: &Picture) -> Option<Swap> {
    let bytes = |seat: Seat| picture.load(seat).bytes;
    let from = picture.takers().max_by_key(|&seat| bytes(seat))?;
    let to = picture.takers().min_by_key(|&seat| bytes(seat))?;
    let (sum, count) = picture
        .takers()
        .fold((0, 0), |(sum, count), seat| (sum + bytes(seat), count + 1));
    let apart = bytes(from) - bytes(to);
    if apart <= BYTES_APART.max(sum / count / 5) {
        return None;
    }
    let mut best: Option<(u64, Swap)> = None;
    for (table, pictured) in picture.tables.iter().enumerate() {
        let all = || pictured.all.iter().enumerate();
        let back = all()
            .filter(|(_, placed)| picture.may_move(placed, to, from))
            .min_by_key(|(_, placed)| placed.bytes);
        let Some((small, back)) = back else { continue };
        for (large, placed) in all().filter(|(_, placed)| picture.may_move(placed, from, to)) {
            let gain = placed.bytes.saturating_sub(back.bytes);
            let moved = placed.bytes + back.bytes;
            let helps = gain > 0 && gain < apart && gain * WORTH > moved;
            let rest = apart.abs_diff(2 * gain);
            if helps && best.as_ref().is_none_or(|(least, _)| rest < *least) {
                let swap = Swap {
                    table,
                    large,
                    small,
                    from,
                    to,
                };
                best = Some((rest, swap));
            }
        }
    }
    best.map(|(_, swap)| swap)
}
