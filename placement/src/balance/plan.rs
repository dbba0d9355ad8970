//! What should be moved next: from drained nodes first, then out of crowded zones, then towards even numbers of replicas (of each table, then
//! of all), of bytes on disks, and of primaries.
//!
//! Each step leaves the cluster no worse in anything that comes before it. Nothing here is carried out. A plan for a large cluster is
//! made often and mostly finds little: each part looks at a partition once for each of its members, and again only after a step was found.

use super::evenness::{disks, replicas, replicas_of_tables};
use super::leads::{primaries, primaries_of_tables};
use super::misplaced::{drain, zones};
use super::picture::{Picture, Seat};
use super::step::{Reason, Shift, Step};
use crate::Cluster;

/// How much of the plan is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// What operators asked for.
    Drains,
    /// What makes it even, too.
    All,
}

impl Cluster {
    /// What the balancer would do from here on, until all is even or there are so many steps.
    pub fn plan(&self, steps: usize) -> Vec<Step> {
        plan(self.picture(), Extent::All, steps)
    }
}

/// Steps in the order in which they should be taken, at most so many.
pub(super) fn plan(picture: Picture, extent: Extent, most: usize) -> Vec<Step> {
    let mut plan = Plan {
        picture,
        steps: Vec::new(),
        most,
    };
    let parts: &[fn(&mut Plan)] = match extent {
        Extent::Drains => &[drain],
        Extent::All => &[
            drain,
            zones,
            replicas_of_tables,
            replicas,
            disks,
            primaries_of_tables,
            primaries,
        ],
    };
    for part in parts {
        if !plan.is_full() {
            part(&mut plan);
        }
    }
    plan.steps
}

/// The steps so far, and the picture as they leave it.
pub(super) struct Plan {
    pub(super) picture: Picture,
    steps: Vec<Step>,
    most: usize,
}

impl Plan {
    /// There are as many steps as were asked for.
    pub(super) fn is_full(&self) -> bool {
        self.steps.len() >= self.most
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Moves a replica of a table's partition, both as they stand in the picture.
    pub(super) fn move_replica(
        &mut self,
        (table, index): (usize, usize),
        from: Seat,
        to: Seat,
        reason: Reason,
    ) {
        let placed = &self.picture.tables[table].all[index];
        let step = Step {
            partition: placed.id,
            shift: Shift::Replica {
                from: self.picture.place(from).node,
                to: self.picture.place(to).node,
            },
            reason,
            after: None,
        };
        // A primary hands over before it goes: its first secondary leads then.
        let others = placed.members.iter().filter(|&&seat| seat != from);
        let members = others.copied().chain([to]).collect();
        self.picture.rearrange(table, index, members);
        self.steps.push(step);
    }

    /// Lets a replica on one node and one of the same table on another change places, the first one first.
    pub(super) fn exchange(
        &mut self,
        table: usize,
        (first, from): (usize, Seat),
        (second, to): (usize, Seat),
        reason: Reason,
    ) {
        self.move_replica((table, first), from, to, reason);
        self.move_replica((table, second), to, from, reason);
        let first = self.picture.tables[table].all[first].id;
        if let Some(step) = self.steps.last_mut() {
            step.after = Some(first);
        }
    }

    /// Lets a secondary lead.
    pub(super) fn move_lead(&mut self, (table, index): (usize, usize), to: Seat) {
        let placed = &self.picture.tables[table].all[index];
        let Some(from) = placed.primary() else { return };
        let step = Step {
            partition: placed.id,
            shift: Shift::Lead {
                from: self.picture.place(from).node,
                to: self.picture.place(to).node,
            },
            reason: Reason::Primaries,
            after: None,
        };
        let others = placed.members.iter().filter(|&&seat| seat != to);
        let members = [to].into_iter().chain(others.copied()).collect();
        self.picture.rearrange(table, index, members);
        self.steps.push(step);
    }
}
