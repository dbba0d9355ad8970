//! durable <= applied <= committed <= prepared at every member, and its log reaches back to durable.

use crate::site::At;
use crate::world::World;

pub(crate) const NAME: &str = "durable <= applied <= committed <= prepared";

pub(crate) fn check(world: &mut World, at: At) {
    let this = world.site(at);
    // A learner that waits for a checkpoint has given its own data up.
    let Some(replica) = this.replica.as_ref().filter(|replica| replica.is_member()) else {
        return;
    };
    let durable = this.disk.rocksdb.applied;
    let (applied, committed, prepared) =
        (this.state.applied, replica.committed(), replica.prepared());
    let reaches_back = this.disk.reaches_back();
    if !([durable, applied, committed, prepared].is_sorted() && reaches_back) {
        let what = format!(
            "{at} has durable {durable}, applied {applied}, committed {committed}, prepared {prepared}; its log reaches back to that: {reaches_back}"
        );
        world.violate(NAME, what);
    }
}
