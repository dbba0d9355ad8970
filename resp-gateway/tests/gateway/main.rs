//! The gateway over real sockets, with rows in memory behind it; where Redis has a say, against a real redis-server.

mod bounds;
mod cluster;
mod harness;
mod memory;
mod oracle;
mod order;
mod scatter;
mod sessions;
mod tools;
