//! The bytes of RESP2 and RESP3, in both directions. No sockets and no commands here.
//!
//! Reading order: [`request`] (a client's bytes to arguments), [`inline`] (its form for people), [`encode`] (a reply to bytes),
//! [`resp3`] (another server's RESP3 reply to the client's protocol, or back to a value).

mod encode;
mod inline;
mod request;
mod resp3;

pub use encode::{Protocol, encode};
pub(crate) use request::{Bounds, ProtocolError, RequestReader};
pub(crate) use resp3::{decode, transcode};
