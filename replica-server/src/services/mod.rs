//! What others ask of a replica server, a file per service: `data` (clients' streams) with `operations` (typed messages as commands) and
//! `remembered` (what a stream has the server remember), `resp` (the RESP port), `inspect` (operators) with `digests` and `digest`.

pub(crate) mod data;
pub(crate) mod digest;
pub(crate) mod digests;
pub(crate) mod inspect;
pub(crate) mod operations;
mod remembered;
pub(crate) mod resp;
