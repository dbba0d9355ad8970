//! The protocol on the wire: generated messages and services, and their conversions to and from `types`; and how
//! a table's password is kept ([`password`]) and secrets are shown ([`secret`]).
//!
//! No connection is made here and nothing is decided here. The .proto files under `protos/` are the reference for other languages.

#![allow(clippy::pedantic, clippy::all, unreachable_pub)]

mod convert;
mod leader;
pub mod password;
pub mod secret;

pub use convert::{BadMessage, configuration, durability, table_rules};
pub use leader::NotLeading;

/// Version of the protocol. A peer that speaks another is refused with a clear error.
pub const PROTOCOL: u32 = 1;

/// Largest message a server takes: a mutation at its largest (64 MiB) and room around it.
pub const MAX_MESSAGE: usize = 72 << 20;

/// Laid out as the generated code expects it: by package.
mod tulpar {
    macro_rules! package {
        ($name:ident, $path:literal) => {
            pub mod $name {
                pub mod v1 {
                    tonic::include_proto!($path);
                }
            }
        };
    }
    package!(common, "tulpar.common.v1");
    package!(data, "tulpar.data.v1");
    package!(meta, "tulpar.meta.v1");
    package!(peer, "tulpar.peer.v1");
    package!(inspect, "tulpar.inspect.v1");
}

/// `common.proto`: ids, configurations, addresses.
pub use tulpar::common::v1 as common;
/// `data.proto`: operations on data.
pub use tulpar::data::v1 as data;
/// `inspect.proto`: looking into a replica server.
pub use tulpar::inspect::v1 as inspect;
/// `meta.proto`: routes, administration, the replica servers' stream.
pub use tulpar::meta::v1 as meta;
/// `peer.proto`: replication between replica servers.
pub use tulpar::peer::v1 as peer;
