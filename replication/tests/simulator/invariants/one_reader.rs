//! At any true instant at most one replica can pass its read check, paused ones included.

use crate::world::World;

pub(crate) const NAME: &str = "at most one reader";

pub(crate) fn check(world: &mut World) {
    let now = world.now;
    let mut readers = world.nodes.iter().enumerate().filter(|(_, node)| {
        let replica = node.replica.as_ref();
        replica.is_some_and(|replica| {
            replica
                .may_serve_read(node.local(now), &node.leases)
                .is_ok()
        })
    });
    if let (Some((one, _)), Some((other, _))) = (readers.next(), readers.next()) {
        world.violate(
            NAME,
            format!("nodes {one} and {other} may both answer reads"),
        );
    }
}
