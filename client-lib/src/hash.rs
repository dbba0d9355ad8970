//! The entries under one hash key, each with a sort key: the same as a Redis hash and its fields.

use crate::options::{ScanOptions, SetOptions};
use crate::scan::Scan;
use crate::table::{count, found, unexpected};
use crate::{Error, Kind, Outcome, Table};
use bytes::Bytes;
use proto::data::{
    Entry, HashDelete, HashGet, HashIncrement, HashSet, request::Operation, response,
};
use std::ops::RangeBounds;

/// The entries under one hash key of a table. All of them are in one partition.
#[derive(Clone, Debug)]
pub struct Hash {
    table: Table,
    partition: u32,
    key: Bytes,
}

fn copied(sort_keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Bytes> {
    sort_keys
        .into_iter()
        .map(|sort_key| Bytes::copy_from_slice(sort_key.as_ref()))
        .collect()
}

impl Hash {
    pub(crate) fn new(table: Table, hash_key: Bytes) -> Self {
        let partition = table.partition_of(&hash_key);
        Self {
            table,
            partition,
            key: hash_key,
        }
    }

    /// The hash key.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    pub(crate) async fn call(&self, kind: Kind, operation: Operation) -> Outcome {
        self.table.call_on(self.partition, kind, operation).await
    }

    /// The value of an entry.
    pub async fn get(&self, sort_key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let mut values = self.multi_get([sort_key]).await?;
        Ok(values.pop().flatten())
    }

    /// Writes an entry.
    pub async fn set(
        &self,
        sort_key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
    ) -> Result<(), Error> {
        self.multi_set_with([(sort_key, value)], SetOptions::new())
            .await
    }

    /// Writes an entry with options.
    pub async fn set_with(
        &self,
        sort_key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: SetOptions,
    ) -> Result<(), Error> {
        self.multi_set_with([(sort_key, value)], options).await
    }

    /// Deletes an entry; says whether there was one.
    pub async fn delete(&self, sort_key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.multi_delete([sort_key])
            .await
            .map(|deleted| deleted > 0)
    }

    /// The values of several entries, one for each sort key asked for, in their order.
    pub async fn multi_get(
        &self,
        sort_keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let sort_keys = copied(sort_keys);
        let asked = sort_keys.len();
        if asked == 0 {
            return Ok(Vec::new());
        }
        let get = HashGet {
            hash_key: self.key.clone(),
            sort_keys,
        };
        match self.call(Kind::Read, Operation::HashGet(get)).await? {
            response::Result::Values(values) if values.values.len() == asked => {
                Ok(values.values.into_iter().map(found).collect())
            }
            _ => Err(unexpected(Kind::Read)),
        }
    }

    /// Writes several entries at once: all of them or none.
    pub async fn multi_set(
        &self,
        entries: impl IntoIterator<Item = (impl AsRef<[u8]>, impl Into<Bytes>)>,
    ) -> Result<(), Error> {
        self.multi_set_with(entries, SetOptions::new()).await
    }

    /// Writes several entries at once, with options for each of them.
    pub async fn multi_set_with(
        &self,
        entries: impl IntoIterator<Item = (impl AsRef<[u8]>, impl Into<Bytes>)>,
        options: SetOptions,
    ) -> Result<(), Error> {
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(sort_key, value)| Entry {
                sort_key: Bytes::copy_from_slice(sort_key.as_ref()),
                value: value.into(),
            })
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        let set = HashSet {
            hash_key: self.key.clone(),
            entries,
            ttl: options.milliseconds(),
        };
        self.call(Kind::Write, Operation::HashSet(set))
            .await
            .map(drop)
    }

    /// Deletes several entries at once; says how many there were.
    pub async fn multi_delete(
        &self,
        sort_keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<u64, Error> {
        let sort_keys = copied(sort_keys);
        if sort_keys.is_empty() {
            return Ok(0);
        }
        let delete = HashDelete {
            hash_key: self.key.clone(),
            sort_keys,
        };
        count(
            &self
                .call(Kind::Write, Operation::HashDelete(delete))
                .await?,
        )
    }

    /// Adds `by` to the number in an entry (0 if there is none) and says what it is then.
    pub async fn increment(&self, sort_key: impl AsRef<[u8]>, by: i64) -> Result<i64, Error> {
        let sort_key = Bytes::copy_from_slice(sort_key.as_ref());
        let increment = HashIncrement {
            hash_key: self.key.clone(),
            sort_key,
            by,
        };
        match self
            .call(Kind::Write, Operation::HashIncrement(increment))
            .await?
        {
            response::Result::Integer(sum) => Ok(sum),
            _ => Err(unexpected(Kind::Write)),
        }
    }

    /// Reads the entries whose sort keys are in a range, in the order of the sort keys' bytes, page by page. What is written meanwhile
    /// may or may not be seen.
    ///
    /// ```no_run
    /// # use tulpar_client::{ScanOptions, Table};
    /// # async fn example(table: Table) -> Result<(), tulpar_client::Error> {
    /// let latest = table.hash("events").scan("2026-01".., ScanOptions::new().reverse().limit(10)).collect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>, options: ScanOptions) -> Scan {
        Scan::new(self.clone(), &range, options)
    }

    /// Reads all entries, as [`scan`](Self::scan) does.
    pub fn scan_all(&self, options: ScanOptions) -> Scan {
        Scan::new::<[u8; 0]>(self.clone(), &.., options)
    }
}
