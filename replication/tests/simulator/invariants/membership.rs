//! Whoever joins a configuration is whole and says so on its own disk, by the learn that the configuration names: nobody joins with
//! a hole (C4, C5). That it has every acknowledged write is `acknowledged_is_everywhere`'s.

use crate::node::index;
use crate::world::World;
use types::Configuration;

pub(crate) const NAME: &str = "members are whole";

pub(crate) fn on_stored(
    world: &mut World,
    partition: usize,
    before: &Configuration,
    next: &Configuration,
) {
    for member in next.members() {
        let node = &world.nodes[index(member.node)];
        let joins = before.member(member.node) != Some(member);
        let disk = &node.sites[partition].disk;
        let ruined = disk.damaged || disk.ruined == Some(member.signature);
        if ruined || node.lost_unsynced(partition) || !joins {
            continue;
        }
        let whole = disk.safe.whole();
        if whole != Some(member.signature) {
            let what = format!(
                "{} joins {next:?}, but its disk says {whole:?}",
                member.node
            );
            return world.violate(NAME, what);
        }
    }
}
