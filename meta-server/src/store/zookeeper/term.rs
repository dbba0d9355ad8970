//! Writing within a term: one multi for all documents of a batch, fenced by the lock's znode and each document's version.
//!
//! When a connection breaks nobody knows whether the multi was done. It is sent again, under the same session: either it goes through, and
//! then the first one had not been done, because it would have raised the versions; or a version differs, and then the documents are read.

use super::paths;
use super::{is_lost, repeated};
use crate::store::encoding::StoredEntry;
use crate::store::{Term, WriteError};
use placement::{Key, Write};
use prost::Message;
use std::io;
use zookeeper_client::{Acls, CheckWriteError, Client, CreateMode, Error, OwnedLockClient};

/// A term of leadership: the session that holds the lock.
#[derive(Debug)]
pub struct ZooKeeperTerm {
    lock: OwnedLockClient,
    acls: Acls<'static>,
    epoch: u64,
}

/// A write as its znode sees it.
struct Encoded {
    key: Key,
    path: String,
    /// What the znode's version must be; `None`: there must be no znode.
    expected: Option<i32>,
    /// `None`: removed.
    bytes: Option<Vec<u8>>,
}

impl ZooKeeperTerm {
    pub(super) fn new(lock: OwnedLockClient, acls: Acls<'static>, epoch: u64) -> Self {
        Self { lock, acls, epoch }
    }

    async fn attempt(&self, writes: &[Encoded]) -> Result<(), CheckWriteError> {
        let mut multi = self.lock.new_check_writer();
        let create = CreateMode::Persistent.with_acls(self.acls);
        for write in writes {
            match (&write.bytes, write.expected) {
                (Some(bytes), None) => multi.add_create(&write.path, bytes, &create)?,
                (Some(bytes), Some(_)) => multi.add_set_data(&write.path, bytes, write.expected)?,
                (None, Some(_)) => multi.add_delete(&write.path, write.expected)?,
                (None, None) => {}
            }
        }
        multi.commit().await.map(drop)
    }

    /// Whether the documents are as these writes leave them. No other leader can have written them: it would hold the lock.
    async fn is_done(&self, writes: &[Encoded]) -> Result<bool, Error> {
        let client = self.lock.client();
        // What this session was told of so far may be less than what it did.
        repeated(|| client.sync(paths::ROOT)).await?;
        for write in writes {
            if !is_written(client, write).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

async fn is_written(client: &Client, write: &Encoded) -> Result<bool, Error> {
    match (
        repeated(|| client.get_data(&write.path)).await,
        &write.bytes,
    ) {
        (Ok((found, stat)), Some(bytes)) => {
            let version = write
                .expected
                .map_or(0, |expected| expected.wrapping_add(1));
            Ok(found == *bytes && stat.version == version)
        }
        (Err(Error::NoNode), None) => Ok(true),
        (Ok(_), None) | (Err(Error::NoNode), Some(_)) => Ok(false),
        (Err(error), _) => Err(error),
    }
}

impl Term for ZooKeeperTerm {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn write(&mut self, writes: Vec<Write>) -> Result<(), WriteError> {
        let writes: Vec<Encoded> = writes.iter().map(encoded).collect();
        let mut unknown = false;
        loop {
            match self.attempt(&writes).await {
                Ok(()) => return Ok(()),
                Err(CheckWriteError::RequestFailed { source }) if is_lost(&source) => {
                    unknown = true;
                }
                Err(CheckWriteError::CheckFailed {
                    source: Error::NoNode,
                }) => return Err(WriteError::Deposed),
                Err(CheckWriteError::OperationFailed {
                    index,
                    source: Error::BadVersion | Error::NodeExists | Error::NoNode,
                }) => {
                    if unknown && self.is_done(&writes).await.map_err(failed)? {
                        return Ok(());
                    }
                    let key = writes.get(index).map_or(Key::Root, |write| write.key);
                    return Err(WriteError::Conflict(key));
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }

    async fn resign(self) {
        let path = self.lock.lock_path().to_owned();
        // If it is not known to be done the session's end does it.
        let _ = self.lock.client().delete(&path, None).await;
    }
}

fn encoded(write: &Write) -> Encoded {
    let bytes =
        |document| StoredEntry::new(write.key, write.expected + 1, document).encode_to_vec();
    Encoded {
        key: write.key,
        path: paths::path(write.key),
        expected: write
            .expected
            .checked_sub(1)
            .map(|version| version as u32 as i32),
        bytes: write.document.as_ref().map(bytes),
    }
}

fn failed(error: Error) -> WriteError {
    match error {
        Error::SessionExpired | Error::RuntimeInconsistent => WriteError::Deposed,
        error => WriteError::Failed(io::Error::other(format!("ZooKeeper: {error}"))),
    }
}
