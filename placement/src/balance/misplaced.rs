//! Replicas that are where they should not be: on drained nodes, and two of one partition in one zone.

use super::picture::{Picture, Seat};
use super::plan::Plan;
use super::step::Reason;
use super::takers::{Burden, Takers};

/// Where less of the table is, then less altogether.
pub(super) fn of_table(table: usize) -> impl Fn(&Picture, Seat) -> Burden {
    move |picture, seat| {
        let load = picture.load(seat);
        let share = picture.tables[table].share(seat);
        (share.replicas, load.replicas, load.bytes)
    }
}

/// Away from drained nodes.
pub(super) fn drain(plan: &mut Plan) {
    let drained: Vec<Seat> = plan
        .picture
        .seats()
        .filter(|&seat| plan.picture.place(seat).drained)
        .collect();
    for table in 0..plan.picture.tables.len() {
        let has = |seat: &Seat| plan.picture.tables[table].share(*seat).replicas > 0;
        if drained.iter().any(has) {
            drain_table(plan, table);
        }
    }
}

fn drain_table(plan: &mut Plan, table: usize) {
    let mut takers = Takers::new(&plan.picture, of_table(table));
    for index in 0..plan.picture.tables[table].all.len() {
        while let Some((from, to)) = drained(&plan.picture, (table, index), &takers) {
            if plan.is_full() {
                return;
            }
            let burden = of_table(table)(&plan.picture, to);
            takers.remove(&plan.picture, to, burden);
            plan.move_replica((table, index), from, to, Reason::Drain);
            let burden = of_table(table)(&plan.picture, to);
            takers.insert(&plan.picture, to, burden);
        }
    }
}

/// A copy on a drained node, and where it can go.
fn drained(
    picture: &Picture,
    (table, index): (usize, usize),
    takers: &Takers,
) -> Option<(Seat, Seat)> {
    let placed = &picture.tables[table].all[index];
    let mut members = placed.members.iter().copied();
    let from = members.find(|&seat| picture.place(seat).drained)?;
    if placed.locked {
        return None;
    }
    // An even spread over zones is preferred, but a drained node does not wait for it.
    let to = takers
        .instead(picture, placed, from, |_| true)
        .or_else(|| takers.least(|_| true, |_| true, |seat| placed.may_take(seat)))?;
    Some((from, to))
}

/// Out of zones with two members of one partition, to where there is none.
pub(super) fn zones(plan: &mut Plan) {
    let picture = &plan.picture;
    let mut known: Vec<_> = picture
        .takers()
        .map(|seat| picture.place(seat).zone)
        .collect();
    // A node without a zone crowds nobody.
    let without = known.iter().filter(|zone| zone.is_none()).count();
    known.sort_unstable();
    known.dedup();
    if known.len() < 2 {
        return;
    }
    let places = known.iter().flatten().count() + without;
    for table in 0..plan.picture.tables.len() {
        // Made for the first that is crowded.
        let mut takers: Option<Takers> = None;
        for index in 0..plan.picture.tables[table].all.len() {
            while is_crowded(&plan.picture, (table, index), places) {
                let takers =
                    takers.get_or_insert_with(|| Takers::new(&plan.picture, of_table(table)));
                let Some((from, to)) = apart(&plan.picture, (table, index), takers) else {
                    break;
                };
                if plan.is_full() {
                    return;
                }
                for seat in [from, to] {
                    let burden = of_table(table)(&plan.picture, seat);
                    takers.remove(&plan.picture, seat, burden);
                }
                plan.move_replica((table, index), from, to, Reason::Zones);
                for seat in [from, to] {
                    let burden = of_table(table)(&plan.picture, seat);
                    takers.insert(&plan.picture, seat, burden);
                }
            }
        }
    }
}

/// Whether zones could be less crowded by a partition. With fewer of them than members some are crowded for ever: that is not looked at in vain.
fn is_crowded(picture: &Picture, (table, index): (usize, usize), places: usize) -> bool {
    let placed = &picture.tables[table].all[index];
    let takes = |seat: &Seat| picture.place(*seat).takes;
    let least = placed.members.len().saturating_sub(places);
    let crowding = picture.crowding(&placed.members);
    !placed.locked && crowding > 0 && (crowding > least || !placed.members.iter().all(takes))
}

/// A member whose zone has another, and a node where there is none.
fn apart(
    picture: &Picture,
    (table, index): (usize, usize),
    takers: &Takers,
) -> Option<(Seat, Seat)> {
    let placed = &picture.tables[table].all[index];
    // Rather a secondary than the primary: no lead has to be handed over.
    placed.members.iter().rev().find_map(|&from| {
        if !picture.others_in(placed, from, picture.place(from).zone) {
            return None;
        }
        let to = takers.least(
            |zone| !picture.others_in(placed, from, zone),
            |_| true,
            |seat| placed.may_take(seat),
        )?;
        Some((from, to))
    })
}
