//! A member is added only with the meta leader in reach (C4): else a learner that dies would hold up a partition that needed no
//! meta server.

use crate::site::At;
use crate::world::World;
use replication::MetaStream;
use types::{Configuration, Durability};

pub(crate) const NAME: &str = "additions wait for the meta leader";

pub(crate) fn on_proposal(world: &mut World, at: At, configuration: &Configuration) {
    let (node, site) = (&world.nodes[at.node], world.site(at));
    let replica = site.replica.as_ref();
    let known = replica.and_then(|replica| replica.configuration());
    let adds = known.is_some_and(|known| known.len() < configuration.len());
    // In `buffered` a proposal is recorded first, and the stream may go down in that time, or the copy go over to `sync`.
    let at_once = site.disk.durability() == Durability::Sync && !site.disk.has_gone_over();
    if adds && node.meta == MetaStream::Down && at_once {
        world.violate(NAME, format!("{at} proposes {configuration:?}"));
    }
}
