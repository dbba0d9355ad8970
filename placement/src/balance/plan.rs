//! What should be moved next: from drained nodes first, then out of crowded zones, then towards even numbers of replicas (of each table, then
//! of all), of bytes on disks, and of primaries.
//!
//! Each step leaves the cluster no worse in anything that comes before it. Nothing here is carried out.

use super::evenness::{disks, replicas, replicas_of_tables};
use super::leads::{primaries, primaries_of_tables};
use super::misplaced::{drain, zones};
use super::picture::Picture;
use super::step::Step;
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
        plan(&mut self.picture(), Extent::All, steps)
    }
}

/// Steps in the order in which they should be taken, at most so many; the picture is as they leave it.
pub(super) fn plan(picture: &mut Picture, extent: Extent, most: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let phases: &[fn(&Picture) -> Vec<Step>] = match extent {
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
    for phase in phases {
        while steps.len() < most {
            let next = phase(picture);
            if next.is_empty() {
                break;
            }
            for step in next {
                picture.take(&step);
                steps.push(step);
            }
        }
    }
    steps
}
