//! An acknowledged write is safe at every member of the configuration in force, with the bytes that were committed: on disk in
//! `sync`, in the log in `buffered`. Checked for new decrees when they are acknowledged, for all when a configuration comes into
//! force and when a member starts. (A deposed primary may still hear that its last decree is everywhere; its former members may
//! have begun to learn anew by then.)

use crate::disk::Disk;
use crate::node::index;
use crate::world::World;
use types::{Configuration, Decree};

pub(crate) const NAME: &str = "an acknowledged write is at every member";

pub(crate) fn on_acknowledged(world: &mut World, up_to: Decree) {
    let before = world.observer.acknowledged;
    if up_to <= before {
        return;
    }
    world.observer.acknowledged = up_to;
    let told = &mut world.observer.told;
    told.decree = told.decree.max(up_to);
    if let Some(stored) = world.meta.stored.take() {
        members_have(world, &stored, before.next(), up_to);
        world.meta.stored = Some(stored);
    }
}

pub(crate) fn on_stored(world: &mut World, configuration: &Configuration) {
    let acknowledged = world.observer.acknowledged;
    members_have(world, configuration, Decree(1), acknowledged);
}

pub(crate) fn on_start(world: &mut World) {
    if let Some(stored) = world.meta.stored.take() {
        on_stored(world, &stored);
        world.meta.stored = Some(stored);
    }
}

/// Up to where a node's disk has what clients were told.
pub(crate) fn kept(world: &World, node: usize) -> Decree {
    let to = world.observer.acknowledged;
    let missing = first_missing(world, &world.nodes[node].disk, Decree(1), to);
    missing.map_or(to, Decree::previous)
}

/// The survivor of a loss of power is the truth from now on: it must have what it was not forgiven to lose.
pub(crate) fn on_survivor(world: &mut World, survivor: usize) {
    let to = world.observer.acknowledged;
    let disk = &world.nodes[survivor].disk;
    if let Some(missing) = first_missing(world, disk, Decree(1), to) {
        let what =
            format!("decree {missing} of the acknowledged {to} did not survive at {survivor}");
        world.violate(NAME, what);
    }
}

fn first_missing(world: &World, disk: &Disk, from: Decree, to: Decree) -> Option<Decree> {
    let first = from.max(disk.rocksdb.applied.next());
    (first.0..=to.0).map(Decree).find(|decree| {
        let truth = world.observer.truth.get(decree).map(|(digest, _)| digest);
        let logged = disk.safe.mutations.get(decree).map(|(_, digest)| digest);
        logged != truth
    })
}

fn members_have(world: &mut World, configuration: &Configuration, from: Decree, to: Decree) {
    for member in configuration.members() {
        let node = &world.nodes[index(member.node)];
        let disk = &node.disk;
        // Damage is a fault that the others must outlive; C6: what a copy lost with its machine counts as lost.
        if disk.damaged || disk.ruined == Some(member.signature) || node.lost_unsynced() {
            continue;
        }
        if let Some(missing) = first_missing(world, disk, from, to) {
            let node = member.node;
            let what = format!(
                "decree {missing} of the acknowledged {to} is not safe at {node}, a member of {configuration:?}"
            );
            return world.violate(NAME, what);
        }
    }
}
