//! A restart finds everything that was safe, and nothing else, or says that it cannot; and it leads nothing (L3, L4).
//!
//! "Was safe" is the independent reading in `reading`; what the log must find is kept in `disk`.

use crate::reading::digest;
use crate::site::At;
use crate::world::World;
use replication::RoleKind;
use types::{Decree, Mutation};

pub(crate) const NAME: &str = "a restart finds what was safe";

pub(crate) fn on_start(world: &mut World, at: At, staged: &[Mutation]) {
    if let Some(contradiction) = world.site_mut(at).disk.contradiction.take() {
        return world.violate(NAME, format!("{at} starts: {contradiction}"));
    }
    let (this, site) = (&world.nodes[at.node], world.site(at));
    let Some(replica) = &site.replica else { return };
    let disk = &site.disk;
    let found: Vec<_> = staged
        .iter()
        .map(|mutation| (mutation.decree, digest(mutation)))
        .collect();
    let above = disk.safe.mutations.range(disk.rocksdb.applied.next()..);
    let safe: Vec<(Decree, u64)> = above.map(|(at, (_, digest))| (*at, *digest)).collect();
    let whole = disk.safe.whole();
    let named = whole.is_some_and(|signature| {
        let member = replica
            .configuration()
            .and_then(|known| known.member(this.id));
        member.is_some_and(|member| member.signature == signature)
    });
    let ballot = (replica.ballot(), disk.safe.ballot);
    let problem = if ballot.0 != ballot.1 {
        Some(format!("ballot {} of {}", ballot.0, ballot.1))
    } else if matches!(replica.role(), RoleKind::Serving | RoleKind::Reconciling) {
        Some("it leads".to_owned())
    } else if this.is_whole(at.partition) && found != safe {
        Some(format!("{found:?} of {safe:?}"))
    } else if this.is_whole(at.partition) && named && !replica.is_member() {
        Some("it is no member any more".to_owned())
    } else {
        None
    };
    if let Some(problem) = problem {
        world.violate(NAME, format!("{at} starts: {problem}"));
    }
    super::acknowledged_is_everywhere::on_start(world, at.partition);
}
