//! Every transition of a replica as the exact list of actions that it leads to.

mod bench;
mod damage;
mod durability;
mod freshness;
mod learns;
mod leases;
mod normal;
mod reconfiguration;
mod restart;
