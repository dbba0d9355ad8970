//! What must hold after every step. One function each.

use crate::node::index;
use crate::world::World;
use replication::{Replica, RoleKind};
use types::{Configuration, Decree, RecordBody};

/// All that are checked after every step.
pub(crate) fn check(world: &World) -> Result<(), String> {
    one_configuration_exists_per_ballot(world)?;
    at_most_one_replica_can_pass_its_read_check(world)?;
    a_serving_primary_is_between_what_members_committed_and_prepared(world)?;
    committed_is_what_was_prepared(world)
}

fn replicas(world: &World) -> impl Iterator<Item = (usize, &Replica)> {
    world
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(index, node)| Some((index, node.replica.as_ref()?)))
}

/// Whatever configuration a replica knows is the one that was stored under that ballot.
fn one_configuration_exists_per_ballot(world: &World) -> Result<(), String> {
    for (node, replica) in replicas(world) {
        if let Some(known) = replica.configuration()
            && world.history.get(&known.ballot) != Some(known)
        {
            return Err(format!(
                "node {node} believes in {known:?}, which was never stored"
            ));
        }
    }
    Ok(())
}

/// At any true instant at most one replica can pass its read-lease check, paused ones included.
fn at_most_one_replica_can_pass_its_read_check(world: &World) -> Result<(), String> {
    let mut readable = replicas(world).filter(|(node, replica)| {
        let node = &world.nodes[*node];
        replica
            .may_serve_read(node.local(world.now), &node.leases)
            .is_ok()
    });
    match (readable.next(), readable.next()) {
        (Some((one, _)), Some((other, _))) => {
            Err(format!("nodes {one} and {other} may both serve reads"))
        }
        _ => Ok(()),
    }
}

/// committed(q) <= committed(primary) <= prepared(q) for all members q of the configuration in force, once its primary serves.
fn a_serving_primary_is_between_what_members_committed_and_prepared(
    world: &World,
) -> Result<(), String> {
    let Some(stored) = &world.stored else {
        return Ok(());
    };
    let primary = world.nodes[index(stored.primary.node)].replica.as_ref();
    let Some(primary) = primary
        .filter(|primary| primary.role() == RoleKind::Serving && primary.ballot() == stored.ballot)
    else {
        return Ok(());
    };
    for member in &stored.secondaries {
        let node = index(member.node);
        if let Some(replica) = world.nodes[node]
            .replica
            .as_ref()
            .filter(|replica| replica.is_member())
        {
            let (committed, prepared) = (replica.committed(), replica.prepared());
            if committed > primary.committed() || primary.committed() > prepared {
                return Err(format!(
                    "the primary committed {}, but node {node} committed {committed} and prepared {prepared}",
                    primary.committed()
                ));
            }
        }
    }
    Ok(())
}

/// durable <= applied <= committed <= prepared.
fn committed_is_what_was_prepared(world: &World) -> Result<(), String> {
    for (index, replica) in replicas(world) {
        let node = &world.nodes[index];
        let marks = [
            node.disk.rocksdb.applied,
            node.state.applied,
            replica.committed(),
            replica.prepared(),
        ];
        // A learner that waits for a checkpoint has given its own data up.
        if replica.is_member() && !marks.is_sorted() {
            return Err(format!(
                "node {index} has durable, applied, committed, prepared {marks:?}"
            ));
        }
    }
    Ok(())
}

/// An acknowledged decree is on the disks of all members of the configuration in force, with the bytes that were committed. (A
/// deposed primary may still hear that its last decree is everywhere; its former members may have begun to learn anew by then.)
pub(crate) fn on_acknowledged(world: &mut World, up_to: Decree) {
    if let Some(stored) = world.stored.clone() {
        members_have(world, &stored, up_to);
    }
}

/// No configuration comes into force of which a member lacks what was acknowledged.
pub(crate) fn on_stored(world: &mut World, configuration: &Configuration) {
    let acknowledged = world.acknowledged;
    members_have(world, configuration, acknowledged);
}

fn members_have(world: &mut World, configuration: &Configuration, decree: Decree) {
    for member in configuration.members() {
        let node = &world.nodes[index(member.node)];
        let durable = node.disk.rocksdb.applied;
        // C6: what such a copy lost counts as lost, and it is no member.
        let unsynced = node
            .replica
            .as_ref()
            .is_some_and(|replica| replica.survey().unsynced)
            || !node.up && node.durability == types::Durability::Buffered;
        if unsynced {
            continue;
        }
        let logged = node.logged(node.disk.log.len());
        let missing = (durable.0 + 1..=decree.0).map(Decree).find(|decree| {
            let truth = world
                .truth
                .get(decree)
                .map(|(mutation, _)| &mutation.effects);
            logged.get(decree).map(|mutation| &mutation.effects) != truth
        });
        if let Some(missing) = missing {
            let node = member.node;
            world.fail(format!("decree {missing} of the acknowledged {decree} is not on {node}'s disk, a member of {configuration:?}"));
            return;
        }
    }
}

/// A ballot on disk never decreases.
pub(crate) fn note_synced_ballot(world: &mut World, node: usize) {
    let node = &mut world.nodes[node];
    let ballots = node.disk.log[..node.disk.synced.min(node.disk.log.len())]
        .iter()
        .filter_map(|record| match record {
            RecordBody::Configuration(configuration) => Some(configuration.ballot),
            _ => None,
        });
    node.highest_ballot = ballots.fold(node.highest_ballot, types::Ballot::max);
}

/// After a restart a replica knows at least the ballot that was on its disk, and leads nothing (L2, L3).
pub(crate) fn on_start(world: &mut World, node: usize) {
    let this = &world.nodes[node];
    let Some(replica) = &this.replica else { return };
    let (ballot, known) = (replica.ballot(), this.highest_ballot);
    if ballot < known {
        world.fail(format!(
            "node {node} restarts with ballot {ballot}, though {known} was on its disk"
        ));
    } else if matches!(replica.role(), RoleKind::Serving | RoleKind::Reconciling) {
        world.fail(format!("node {node} leads right after its start"));
    }
}

/// After the faults: the partition has all its members, serves, and all of them are equal.
pub(crate) fn healed(world: &World) -> Result<(), String> {
    let Some(stored) = &world.stored else {
        return Err("no configuration is stored".into());
    };
    if stored.len() < crate::world::REPLICAS {
        return Err(format!("copies are missing: {stored:?}"));
    }
    for member in stored.members() {
        let node = &world.nodes[index(member.node)];
        let Some(replica) = node.replica.as_ref().filter(|replica| replica.is_member()) else {
            return Err(format!(
                "node {} is no member of {stored:?} by its own disk",
                member.node
            ));
        };
        if replica.ballot() != stored.ballot {
            return Err(format!(
                "node {} knows ballot {}, not {}",
                member.node,
                replica.ballot(),
                stored.ballot
            ));
        }
        if node.state.applied < world.acknowledged {
            return Err(format!(
                "node {} applied {}, of {}",
                member.node, node.state.applied, world.acknowledged
            ));
        }
        if world
            .truth
            .get(&node.state.applied)
            .is_some_and(|(_, truth)| *truth != node.state)
        {
            return Err(format!(
                "node {} has another state than the truth at {}",
                member.node, node.state.applied
            ));
        }
    }
    let primary = &world.nodes[index(stored.primary.node)];
    let serves = primary.replica.as_ref().is_some_and(|replica| {
        replica.accepts_write().is_ok()
            && replica
                .may_serve_read(primary.local(world.now), &primary.leases)
                .is_ok()
    });
    if serves {
        Ok(())
    } else {
        Err("the primary does not serve".into())
    }
}
