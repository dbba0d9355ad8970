//! The engine with real `RocksDB`s in temporary directories.

mod bounds;
mod checkpoints;
mod cold;
mod collecting;
mod damage;
mod followed;
mod harness;
mod history;
mod requests;
mod visibility;
