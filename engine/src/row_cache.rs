//! Rows that were read from `RocksDB`, bounded in bytes, shared by the node's partitions.
//!
//! Values are copies: a slice would keep its whole block or mutation alive. A row is here only while the overlay has no write of it;
//! whoever writes a row removes it. A partition's rows are under a space number of its own; taking a new number forgets them all.

use crate::overlay::RowHash;
use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, OptionsBuilder, Weighter};
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Whose rows.
pub(crate) type Space = u64;

#[derive(Clone)]
struct Key {
    hash: u64,
    space: Space,
    row: Box<[u8]>,
}

struct Wanted<'a> {
    hash: u64,
    space: Space,
    row: &'a [u8],
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.space == other.space && self.row == other.row
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for Wanted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.space == key.space && *self.row == *key.row
    }
}

/// The row's hash was computed before; it only passes through.
#[derive(Clone, Default)]
struct Passed(u64);

impl Hasher for Passed {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone)]
struct Bytewise;

/// An entry's cost beside its bytes, roughly.
const ENTRY: usize = 120;

impl Weighter<Key, Option<Bytes>> for Bytewise {
    fn weight(&self, key: &Key, value: &Option<Bytes>) -> u64 {
        (ENTRY + key.row.len() + value.as_ref().map_or(0, Bytes::len)) as u64
    }
}

/// A row's value, or that there is no such row.
type Value = Option<Bytes>;

type Rows = Cache<
    Key,
    Option<Bytes>,
    Bytewise,
    BuildHasherDefault<Passed>,
    DefaultLifecycle<Key, Option<Bytes>>,
>;

/// See the module.
pub(crate) struct RowCache {
    rows: Option<Rows>,
}

impl RowCache {
    /// Holds up to `bytes`; with none it holds nothing.
    pub(crate) fn new(bytes: usize) -> Self {
        let options = OptionsBuilder::new()
            .weight_capacity(bytes as u64)
            .estimated_items_capacity((bytes / 256).max(16))
            .shards(8)
            .build();
        let rows = options.ok().filter(|_| bytes > 0).map(|options| {
            Cache::with_options(
                options,
                Bytewise,
                BuildHasherDefault::default(),
                DefaultLifecycle::default(),
            )
        });
        Self { rows }
    }

    /// The row's value, or that it has none; nothing if it is not known.
    #[inline]
    pub(crate) fn get(&self, space: Space, hash: RowHash, row: &[u8]) -> Option<Value> {
        self.rows.as_ref()?.get(&wanted(space, hash, row))
    }

    pub(crate) fn insert(&self, space: Space, hash: RowHash, row: &[u8], value: Option<Bytes>) {
        if let Some(rows) = &self.rows {
            let key = Key {
                hash: mixed(space, hash),
                space,
                row: row.into(),
            };
            rows.insert(key, value);
        }
    }

    #[inline]
    pub(crate) fn remove(&self, space: Space, hash: RowHash, row: &[u8]) {
        if let Some(rows) = &self.rows {
            rows.remove(&wanted(space, hash, row));
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.rows.as_ref().map_or(0, Cache::weight)
    }
}

fn wanted(space: Space, hash: RowHash, row: &[u8]) -> Wanted<'_> {
    Wanted {
        hash: mixed(space, hash),
        space,
        row,
    }
}

fn mixed(space: Space, hash: RowHash) -> u64 {
    hash.0 ^ space.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
