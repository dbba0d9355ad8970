//! PacificA's reconfiguration invariant: whoever begins to serve under the configuration in force has committed everything that
//! anybody ever committed before. (One that was replaced meanwhile may think that it begins; it will be let do nothing.)

use crate::site::At;
use crate::world::World;

pub(crate) const NAME: &str = "reconfiguration invariant";

pub(crate) fn on_serving(world: &mut World, at: At) {
    let Some(replica) = &world.site(at).replica else {
        return;
    };
    let known = replica.committed();
    let this = &world.partitions[at.partition];
    if replica.configuration() != this.stored.as_ref() {
        return;
    }
    if let Some((&last, _)) = this.observer.truth.last_key_value()
        && known < last
    {
        let what = format!("{at} serves with {known} committed, but {last} was committed");
        world.violate(NAME, what);
    }
}
