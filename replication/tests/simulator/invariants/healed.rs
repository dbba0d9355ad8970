//! After the faults: the partition has all its members, they are equal, and it serves.

use crate::node::index;
use crate::swarm::REPLICAS;
use crate::world::World;

pub(crate) const NAME: &str = "everything heals";

pub(crate) fn check(world: &World) -> Result<(), String> {
    let Some(stored) = &world.meta.stored else {
        return Err("no configuration is stored".into());
    };
    if stored.len() < REPLICAS {
        return Err(format!("copies are missing: {stored:?}"));
    }
    for member in stored.members() {
        let (id, node) = (member.node, &world.nodes[index(member.node)]);
        let Some(replica) = node.replica.as_ref().filter(|replica| replica.is_member()) else {
            return Err(format!("{id} is no member of {stored:?} by its own disk"));
        };
        if replica.ballot() != stored.ballot {
            let known = replica.ballot();
            return Err(format!("{id} knows ballot {known}, not {}", stored.ballot));
        }
        let acknowledged = world.observer.acknowledged;
        if node.state.applied < acknowledged {
            return Err(format!(
                "{id} applied {}, of {acknowledged}",
                node.state.applied
            ));
        }
        let truth = world.observer.truth.get(&node.state.applied);
        if truth.is_some_and(|(_, truth)| *truth != node.state) {
            return Err(format!(
                "{id} differs from the truth at {}",
                node.state.applied
            ));
        }
    }
    let primary = &world.nodes[index(stored.primary.node)];
    let serves = primary.replica.as_ref().is_some_and(|replica| {
        let reads = replica.may_serve_read(primary.local(world.now), &primary.leases);
        replica.accepts_write().is_ok() && reads.is_ok()
    });
    if serves {
        Ok(())
    } else {
        Err("the primary does not serve".into())
    }
}
