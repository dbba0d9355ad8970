//! PacificA's commit invariant: committed(q) <= committed(primary) <= prepared(q) for all members q of the configuration in force,
//! once its primary serves.

use crate::node::index;
use crate::world::World;
use replication::RoleKind;

pub(crate) const NAME: &str = "commit invariant";

pub(crate) fn check(world: &mut World, partition: usize) {
    let Some(stored) = &world.partitions[partition].stored else {
        return;
    };
    let replica = |node| world.nodes[index(node)].sites[partition].replica.as_ref();
    let primary = replica(stored.primary.node);
    let Some(primary) = primary
        .filter(|primary| primary.role() == RoleKind::Serving && primary.ballot() == stored.ballot)
    else {
        return;
    };
    let leads = primary.committed();
    for member in &stored.secondaries {
        if let Some(replica) = replica(member.node).filter(|replica| replica.is_member()) {
            let (committed, prepared) = (replica.committed(), replica.prepared());
            if committed > leads || leads > prepared {
                let what = format!(
                    "the primary committed {leads}, but {} committed {committed} and prepared {prepared}",
                    member.node
                );
                return world.violate(NAME, what);
            }
        }
    }
}
