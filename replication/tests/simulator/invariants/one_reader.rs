//! At any true instant at most one replica of a partition can pass its read check, paused ones included.

use crate::world::World;

pub(crate) const NAME: &str = "at most one reader";

pub(crate) fn check(world: &mut World, partition: usize) {
    let now = world.now;
    let nodes = world.nodes.iter().enumerate();
    let mut readers = nodes.filter(|(_, node)| node.may_serve_read(partition, now));
    if let (Some((one, _)), Some((other, _))) = (readers.next(), readers.next()) {
        world.violate(
            NAME,
            format!("nodes {one} and {other} may both answer reads of partition {partition}"),
        );
    }
}
