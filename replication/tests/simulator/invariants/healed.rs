//! After the faults: every partition has all its members, they are equal, and it serves.

use crate::node::index;
use crate::site::At;
use crate::swarm::REPLICAS;
use crate::world::World;

pub(crate) const NAME: &str = "everything heals";

pub(crate) fn check(world: &World) -> Result<(), String> {
    (0..world.partitions.len()).try_for_each(|partition| check_one(world, partition))
}

fn check_one(world: &World, partition: usize) -> Result<(), String> {
    let this = &world.partitions[partition];
    let Some(stored) = &this.stored else {
        return Err("no configuration is stored".into());
    };
    if stored.len() < REPLICAS {
        return Err(format!("copies are missing: {stored:?}"));
    }
    for member in stored.members() {
        let node = index(member.node);
        let at = At { node, partition };
        let site = world.site(at);
        let Some(replica) = site.replica.as_ref().filter(|replica| replica.is_member()) else {
            return Err(format!("{at} is no member of {stored:?} by its own disk"));
        };
        if replica.ballot() != stored.ballot {
            let known = replica.ballot();
            return Err(format!("{at} knows ballot {known}, not {}", stored.ballot));
        }
        let (applied, acknowledged) = (site.state.applied, this.observer.acknowledged);
        if applied < acknowledged {
            return Err(format!("{at} applied {applied}, of {acknowledged}"));
        }
        let truth = this.observer.truth.get(&applied);
        if truth.is_some_and(|(_, truth)| *truth != site.state) {
            return Err(format!("{at} differs from the truth at {applied}"));
        }
    }
    let node = index(stored.primary.node);
    let at = At { node, partition };
    let primary = world.site(at).replica.as_ref();
    let writes = primary.is_some_and(|primary| primary.accepts_write().is_ok());
    if writes && world.nodes[node].may_serve_read(partition, world.now) {
        Ok(())
    } else {
        Err(format!("the primary {at} does not serve"))
    }
}
