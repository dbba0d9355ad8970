//! The Rust client of Tulpar.
//!
//! ```no_run
//! use tulpar_client::{Client, ClientOptions, ScanOptions};
//!
//! # async fn example() -> Result<(), tulpar_client::Error> {
//! let client = Client::connect(ClientOptions::new(["127.0.0.1:34601"])).await?;
//! let table = client.table("default").await?;
//! table.set("greeting", "hello").await?;
//! assert_eq!(table.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
//!
//! let user = table.hash("user:1");
//! user.multi_set([("name", "Umay"), ("visits", "1")]).await?;
//! assert_eq!(user.increment("visits", 1).await?, 2);
//! let mut scan = user.scan("a".."m", ScanOptions::new());
//! while let Some(page) = scan.next_page().await? {
//!     for (sort_key, value) in page {
//!         println!("{sort_key:?}: {value:?}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] learns from the meta servers which replica server is primary of which partition, keeps that for each table in use, and
//! talks straight to the primaries: one connection per server, all requests of the process on few streams, many in one message.
//!
//! **What a caller may rely on.** Requests handed over for one partition in an order ([`Table::submit`]), or awaited one after the other,
//! take effect in that order, also through refusals and takeovers. What was refused, and what was lost with a connection or a server, is sent again until the deadline. A write takes effect
//! once, however often it is sent: it carries a request id by which servers know it again, also those that take over, and each attempt is
//! answered as the first that took effect. When the deadline passes before it is known what became of a write, that is
//! [`Error::OutcomeUnknown`]. With every meta server down the last known routes go on working.
//!
//! A call that is dropped before it ends (cancelled) may still take effect.
//!
//! Reading order: [`Client`], [`Table`], [`Hash`], then `lane` (order and retries of one partition), `stream` (what is in flight to one
//! server), `link` (how streams come and go), `driver` (deadlines), `watch`, `meta` and `meta_servers` (routes).
//!
//! What is not here: evaluation of commands, RESP, placement; and the windows of done requests, which are the servers'.

#![warn(missing_docs)]

mod budget;
mod client;
mod codec;
mod completion;
mod conflict;
mod core;
mod driver;
mod error;
mod hash;
mod lane;
mod link;
mod meta;
mod meta_servers;
mod options;
mod request_id;
mod scan;
mod statistics;
mod stream;
mod table;
mod watch;

pub use client::Client;
pub use completion::{Completion, CompletionQueue, Outcome};
pub use error::Error;
pub use hash::Hash;
pub use lane::{Kind, Route};
pub use meta_servers::{MetaServers, Round};
pub use options::{ClientOptions, ScanOptions, SetOptions};
pub use proto::data as wire;
pub use request_id::RequestId;
pub use scan::Scan;
pub use statistics::{Followed, Statistics};
pub use table::Table;
