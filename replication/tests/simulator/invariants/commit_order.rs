//! PacificA's commit invariant: committed(q) <= committed(primary) <= prepared(q) for all members q of the configuration in force,
//! once its primary serves.

use crate::node::index;
use crate::world::World;
use replication::RoleKind;

pub(crate) const NAME: &str = "commit invariant";

pub(crate) fn check(world: &mut World) {
    let Some(stored) = &world.meta.stored else {
        return;
    };
    let primary = world.nodes[index(stored.primary.node)].replica.as_ref();
    let Some(primary) = primary
        .filter(|primary| primary.role() == RoleKind::Serving && primary.ballot() == stored.ballot)
    else {
        return;
    };
    let leads = primary.committed();
    for member in &stored.secondaries {
        let replica = world.nodes[index(member.node)].replica.as_ref();
        if let Some(replica) = replica.filter(|replica| replica.is_member()) {
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
