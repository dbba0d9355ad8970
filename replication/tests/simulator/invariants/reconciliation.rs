//! PacificA's reconfiguration invariant: whoever begins to serve under the configuration in force has committed everything that
//! anybody ever committed before. (One that was replaced meanwhile may think that it begins; it will be let do nothing.)

use crate::world::World;

pub(crate) const NAME: &str = "reconfiguration invariant";

pub(crate) fn on_serving(world: &mut World, node: usize) {
    let Some(replica) = &world.nodes[node].replica else {
        return;
    };
    let known = replica.committed();
    if replica.configuration() != world.meta.stored.as_ref() {
        return;
    }
    if let Some((&last, _)) = world.observer.truth.last_key_value()
        && known < last
    {
        let what = format!("node {node} serves with {known} committed, but {last} was committed");
        world.violate(NAME, what);
    }
}
