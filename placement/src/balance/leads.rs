//! As many primaries on every node, of each table and altogether: only the lead moves, to a secondary.

use super::picture::{Picture, Placed, Seat, of, of_mut};
use super::plan::Plan;
use std::cmp::Reverse;
use std::collections::VecDeque;

/// The lead goes from whoever leads most of a table to whoever leads least, over others if no partition has both.
pub(super) fn primaries_of_tables(plan: &mut Plan) {
    for table in 0..plan.picture.tables.len() {
        // After a step leads can go other ways: then all is looked at once more.
        loop {
            let before = plan.len();
            one_round(plan, table);
            if plan.is_full() || plan.len() == before {
                break;
            }
        }
    }
}

/// Each node that leads too much gives up what it can.
fn one_round(plan: &mut Plan, table: usize) {
    let leads = |picture: &Picture, seat| picture.tables[table].share(seat).leads;
    let takers = || plan.picture.takers();
    let least = takers().map(|seat| leads(&plan.picture, seat)).min();
    let Some(least) = least else { return };
    let too_many = |picture: &Picture, seat| leads(picture, seat) >= least + 2;
    let mut givers: Vec<Seat> = takers()
        .filter(|&seat| too_many(&plan.picture, seat))
        .collect();
    if givers.is_empty() {
        return;
    }
    givers.sort_by_key(|&seat| (Reverse(leads(&plan.picture, seat)), seat));
    let mut ways = Ways::new(&plan.picture, table);
    for from in givers {
        while too_many(&plan.picture, from) && !plan.is_full() {
            let picture = &plan.picture;
            let fits = |to| leads(picture, from) >= leads(picture, to) + 2;
            let Some(chain) = ways.chain(picture, from, fits) else {
                break;
            };
            for (index, giver, to) in chain {
                plan.move_lead((table, index), to);
                ways.hand_over(index, giver, to);
            }
        }
    }
}

/// Which ways leads of a table can go.
struct Ways {
    table: usize,
    /// The partitions that each node leads.
    led: Vec<Vec<usize>>,
    /// From these nobody was found who leads less by two than one that leads as much or more: nor is there for who comes later.
    closed: Vec<bool>,
}

impl Ways {
    fn new(picture: &Picture, table: usize) -> Self {
        let mut led = picture.lists();
        for (index, placed) in picture.tables[table].all.iter().enumerate() {
            if let Some(primary) = placed.primary().filter(|_| !placed.locked) {
                of_mut(&mut led, primary).push(index);
            }
        }
        Self {
            table,
            closed: vec![false; led.len()],
            led,
        }
    }

    fn hand_over(&mut self, index: usize, from: Seat, to: Seat) {
        of_mut(&mut self.led, from).retain(|&led| led != index);
        of_mut(&mut self.led, to).push(index);
    }

    /// The shortest way of leads from a node to one that fits, each given on to the next: the partitions, from whom and to whom, the last first.
    fn chain(
        &mut self,
        picture: &Picture,
        from: Seat,
        fits: impl Fn(Seat) -> bool,
    ) -> Option<Vec<(usize, Seat, Seat)>> {
        let mut came: Vec<Option<(usize, Seat)>> = vec![None; self.led.len()];
        let mut seen = vec![from];
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for &index in of(&self.led, at) {
                let placed = &picture.tables[self.table].all[index];
                for to in successors(picture, placed) {
                    if to == from || *of(&self.closed, to) || of(&came, to).is_some() {
                        continue;
                    }
                    *of_mut(&mut came, to) = Some((index, at));
                    if fits(to) {
                        return Some(back(&came, from, to));
                    }
                    seen.push(to);
                    queue.push_back(to);
                }
            }
        }
        for seat in seen {
            *of_mut(&mut self.closed, seat) = true;
        }
        None
    }
}

/// The way to a node, from its end.
fn back(came: &[Option<(usize, Seat)>], from: Seat, to: Seat) -> Vec<(usize, Seat, Seat)> {
    let mut steps = Vec::new();
    let mut to = to;
    while to != from
        && let Some((index, giver)) = *of(came, to)
    {
        steps.push((index, giver, to));
        to = giver;
    }
    steps
}

/// Secondaries that may lead.
fn successors<'a>(picture: &'a Picture, placed: &'a Placed) -> impl Iterator<Item = Seat> + 'a {
    let secondaries = placed.members.iter().skip(1).copied();
    secondaries.filter(|&seat| picture.place(seat).takes && !placed.barred.contains(&seat))
}

/// The same for all tables together, where it leaves each table as even as it is.
pub(super) fn primaries(plan: &mut Plan) {
    loop {
        let before = plan.len();
        let leads = || {
            plan.picture
                .takers()
                .map(|seat| plan.picture.load(seat).leads)
        };
        if leads().max() < leads().min().map(|least| least + 2) {
            return;
        }
        for table in 0..plan.picture.tables.len() {
            for index in 0..plan.picture.tables[table].all.len() {
                if plan.is_full() {
                    return;
                }
                if let Some(to) = successor(&plan.picture, (table, index)) {
                    plan.move_lead((table, index), to);
                }
            }
        }
        if plan.len() == before {
            return;
        }
    }
}

/// Who should lead a partition instead, if that makes it more even.
fn successor(picture: &Picture, (table, index): (usize, usize)) -> Option<Seat> {
    let of_table = &picture.tables[table];
    let placed = &of_table.all[index];
    let from = placed.primary().filter(|_| !placed.locked)?;
    let leads = |seat| picture.load(seat).leads;
    successors(picture, placed)
        .filter(|&to| {
            leads(from) >= leads(to) + 2 && of_table.share(from).leads > of_table.share(to).leads
        })
        .min_by_key(|&to| leads(to))
}
