//! Documents as bytes: protocol buffers, so that later versions may add fields.

use placement::{Balancing, Document, Duty, Entry, Key, NodeAddress, Table};
use proto::{common, meta};
use types::{Incarnation, NodeId, TableId, Timestamp};

/// One record of the file: documents set and removed together.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Batch {
    /// The term that wrote it.
    #[prost(uint64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) set: Vec<StoredEntry>,
    #[prost(message, repeated, tag = "3")]
    pub(super) removed: Vec<StoredKey>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StoredKey {
    #[prost(oneof = "KeyKind", tags = "1, 2, 3, 4")]
    kind: Option<KeyKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum KeyKind {
    #[prost(bool, tag = "1")]
    Root(bool),
    #[prost(fixed64, tag = "2")]
    Node(u64),
    #[prost(uint32, tag = "3")]
    Table(u32),
    #[prost(message, tag = "4")]
    Page(PageKey),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct PageKey {
    #[prost(uint32, tag = "1")]
    table: u32,
    #[prost(uint32, tag = "2")]
    page: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StoredEntry {
    #[prost(message, optional, tag = "1")]
    key: Option<StoredKey>,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(oneof = "Content", tags = "3, 4, 5, 6")]
    content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(message, tag = "3")]
    Root(StoredRoot),
    #[prost(message, tag = "4")]
    Node(StoredNode),
    #[prost(message, tag = "5")]
    Table(StoredTable),
    #[prost(message, tag = "6")]
    Page(StoredPage),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StoredRoot {
    #[prost(uint32, tag = "1")]
    next_table: u32,
    /// The balancer is told not to work.
    #[prost(bool, tag = "2")]
    paused: bool,
    /// What is stored besides is not whole yet.
    #[prost(bool, tag = "3")]
    rebuilding: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredNode {
    #[prost(message, optional, tag = "1")]
    address: Option<common::NodeAddress>,
    #[prost(uint64, tag = "2")]
    incarnation: u64,
    #[prost(bool, tag = "3")]
    drained: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredTable {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    partitions: u32,
    #[prost(uint32, tag = "3")]
    replicas: u32,
    #[prost(enumeration = "common::Durability", tag = "4")]
    durability: i32,
    #[prost(uint32, tag = "5")]
    min_replicas: u32,
    #[prost(string, tag = "6")]
    password: String,
    #[prost(uint64, optional, tag = "7")]
    dropped_at: Option<u64>,
    #[prost(uint64, tag = "8")]
    version: u64,
    #[prost(message, optional, tag = "9")]
    rules: Option<meta::TableRules>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredPage {
    #[prost(message, repeated, tag = "1")]
    slots: Vec<PageSlot>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PageSlot {
    #[prost(message, optional, tag = "1")]
    configuration: Option<common::Configuration>,
}

/// A record that is whole but says nothing this version understands.
#[derive(Debug, thiserror::Error)]
#[error("a document lacks its {0}")]
pub(super) struct Unreadable(&'static str);

impl From<Key> for StoredKey {
    fn from(key: Key) -> Self {
        let kind = match key {
            Key::Root => KeyKind::Root(true),
            Key::Node(node) => KeyKind::Node(node.0),
            Key::Table(table) => KeyKind::Table(table.0),
            Key::Page { table, page } => KeyKind::Page(PageKey {
                table: table.0,
                page,
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<&StoredKey> for Key {
    type Error = Unreadable;

    fn try_from(key: &StoredKey) -> Result<Self, Unreadable> {
        Ok(match key.kind.as_ref().ok_or(Unreadable("key"))? {
            KeyKind::Root(_) => Self::Root,
            KeyKind::Node(node) => Self::Node(NodeId(*node)),
            KeyKind::Table(table) => Self::Table(TableId(*table)),
            KeyKind::Page(PageKey { table, page }) => Self::Page {
                table: TableId(*table),
                page: *page,
            },
        })
    }
}

impl StoredEntry {
    pub(super) fn new(key: Key, version: u64, document: &Document) -> Self {
        let content = match document {
            Document::Root {
                next_table,
                balancing,
                rebuilding,
            } => Content::Root(StoredRoot {
                next_table: next_table.0,
                paused: *balancing == Balancing::Paused,
                rebuilding: *rebuilding,
            }),
            Document::Node {
                address,
                incarnation,
                duty,
            } => Content::Node(StoredNode {
                address: Some(crate::convert::address(address)),
                incarnation: incarnation.0,
                drained: *duty == Duty::Drained,
            }),
            Document::Table(table) => Content::Table(StoredTable {
                name: table.name.clone(),
                partitions: table.partitions,
                replicas: table.replicas,
                durability: common::Durability::from(table.durability).into(),
                min_replicas: table.min_replicas,
                password: table.password.clone(),
                dropped_at: table.dropped_at.map(|at| at.0),
                version: table.version,
                rules: Some(table.rules.into()),
            }),
            Document::Page(configurations) => Content::Page(StoredPage {
                slots: configurations
                    .iter()
                    .map(|configuration| PageSlot {
                        configuration: configuration.as_ref().map(Into::into),
                    })
                    .collect(),
            }),
        };
        Self {
            key: Some(key.into()),
            version,
            content: Some(content),
        }
    }

    pub(super) fn read(self) -> Result<Entry, Unreadable> {
        let key = Key::try_from(self.key.as_ref().ok_or(Unreadable("key"))?)?;
        let document = match self.content.ok_or(Unreadable("content"))? {
            Content::Root(root) => Document::Root {
                next_table: TableId(root.next_table),
                balancing: if root.paused {
                    Balancing::Paused
                } else {
                    Balancing::Running
                },
                rebuilding: root.rebuilding,
            },
            Content::Node(node) => {
                let address = node.address.ok_or(Unreadable("address"))?;
                Document::Node {
                    address: NodeAddress {
                        node: NodeId(address.node),
                        name: address.name,
                        grpc: address.grpc,
                        redis: address.redis,
                        zone: address.zone,
                    },
                    incarnation: Incarnation(node.incarnation),
                    duty: if node.drained {
                        Duty::Drained
                    } else {
                        Duty::Serves
                    },
                }
            }
            Content::Table(table) => {
                let Key::Table(id) = key else {
                    return Err(Unreadable("table number"));
                };
                Document::Table(Table {
                    id,
                    name: table.name,
                    partitions: table.partitions,
                    replicas: table.replicas,
                    durability: proto::durability(table.durability),
                    min_replicas: table.min_replicas,
                    password: table.password,
                    dropped_at: table.dropped_at.map(Timestamp),
                    version: table.version,
                    rules: proto::table_rules(table.rules),
                })
            }
            Content::Page(page) => {
                let read = |slot: PageSlot| match slot.configuration {
                    None => Ok(None),
                    some => proto::configuration(some)
                        .map(Some)
                        .map_err(|bad| Unreadable(bad.0)),
                };
                Document::Page(page.slots.into_iter().map(read).collect::<Result<_, _>>()?)
            }
        };
        Ok(Entry {
            key,
            version: self.version,
            document,
        })
    }
}
