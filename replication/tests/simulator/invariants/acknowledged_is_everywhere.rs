//! An acknowledged write is safe at every member of the configuration in force, with the bytes that were committed: on disk in
//! `sync`, in the log in `buffered`. Checked for new decrees when they are acknowledged, for all when a configuration comes into
//! force and when a member starts. (A deposed primary may still hear that its last decree is everywhere; its former members may
//! have begun to learn anew by then.)

use crate::disk::Remains;
use crate::node::index;
use crate::site::At;
use crate::world::World;
use types::{Configuration, Decree};

pub(crate) const NAME: &str = "an acknowledged write is at every member";

pub(crate) fn on_acknowledged(world: &mut World, partition: usize, up_to: Decree) {
    let observer = &mut world.partitions[partition].observer;
    let before = observer.acknowledged;
    if up_to <= before {
        return;
    }
    observer.acknowledged = up_to;
    let told = &mut observer.told;
    told.decree = told.decree.max(up_to);
    if let Some(stored) = world.partitions[partition].stored.take() {
        members_have(world, partition, &stored, before.next(), up_to);
        world.partitions[partition].stored = Some(stored);
    }
}

pub(crate) fn on_stored(world: &mut World, partition: usize, configuration: &Configuration) {
    let acknowledged = world.partitions[partition].observer.acknowledged;
    members_have(world, partition, configuration, Decree(1), acknowledged);
}

pub(crate) fn on_start(world: &mut World, partition: usize) {
    if let Some(stored) = world.partitions[partition].stored.take() {
        on_stored(world, partition, &stored);
        world.partitions[partition].stored = Some(stored);
    }
}

/// C6: up to where what clients were told must outlive a loss of power that took something from each of these copies: what the largest of
/// them has, by the ballot of its last record, then by its length. Another one may have more that was acknowledged: a longer list, whose
/// records under that ballot were not synced yet, while those under a lower one were. As the largest lacks it, it was not synced at
/// every member, and nothing else is promised. (A copy that is shorter than what another has applied is never the largest.)
pub(crate) fn promised(world: &World, partition: usize, among: &[usize]) -> Decree {
    let sites = || among.iter().map(|&node| At { node, partition });
    let remains = |at| world.site(at).disk.remains();
    let applied = sites().map(|at| remains(at).applied).max();
    let size = |at| {
        let Remains {
            last_ballot,
            prepared,
            ..
        } = remains(at);
        (Some(prepared) >= applied, last_ballot, prepared)
    };
    let largest = sites().map(size).max();
    let largest = sites().filter(|&at| Some(size(at)) == largest);
    let kept = largest.map(|at| kept(world, at)).min();
    kept.unwrap_or_default()
}

/// Up to where a site's disk has what clients were told.
fn kept(world: &World, at: At) -> Decree {
    let to = world.partitions[at.partition].observer.acknowledged;
    let missing = first_missing(world, at, Decree(1), to);
    missing.map_or(to, Decree::previous)
}

/// The survivor of a loss of power is the truth from now on: it must have what it was not forgiven to lose.
pub(crate) fn on_survivor(world: &mut World, survivor: At) {
    let to = world.partitions[survivor.partition].observer.acknowledged;
    if let Some(missing) = first_missing(world, survivor, Decree(1), to) {
        let what =
            format!("decree {missing} of the acknowledged {to} did not survive at {survivor}");
        world.violate(NAME, what);
    }
}

fn first_missing(world: &World, at: At, from: Decree, to: Decree) -> Option<Decree> {
    let disk = &world.site(at).disk;
    let committed = &world.partitions[at.partition].observer.truth;
    let first = from.max(disk.rocksdb.applied.next());
    (first.0..=to.0).map(Decree).find(|decree| {
        let truth = committed.get(decree).map(|(digest, _)| digest);
        let logged = disk.safe.mutations.get(decree).map(|(_, digest)| digest);
        logged != truth
    })
}

fn members_have(
    world: &mut World,
    partition: usize,
    configuration: &Configuration,
    from: Decree,
    to: Decree,
) {
    for member in configuration.members() {
        let node = index(member.node);
        let at = At { node, partition };
        let (node, disk) = (&world.nodes[node], &world.site(at).disk);
        // Damage is a fault that the others must outlive; C6: what a copy lost with its machine counts as lost.
        let ruined = disk.damaged || disk.ruined == Some(member.signature);
        if ruined || node.lost_unsynced(partition) {
            continue;
        }
        if let Some(missing) = first_missing(world, at, from, to) {
            let what = format!(
                "decree {missing} of the acknowledged {to} is not safe at {at}, a member of {configuration:?}"
            );
            return world.violate(NAME, what);
        }
    }
}
