//! `tulpar onebox`: a whole cluster on this machine, one process per server.
//!
//! Reading order: [`options`] what a user asks for, [`layout`] the servers, files and ports this makes of it, [`process`] one
//! server's process from start to end, [`supervise`] all of them together, [`table`] the table that a new cluster begins with.
//!
//! The onebox is only a supervisor: it knows no data, and its servers are those of a real cluster, started from the
//! configuration files that it writes.

mod layout;
mod options;
mod process;
mod supervise;
mod table;

pub(crate) use options::Options;
pub(crate) use supervise::run;
