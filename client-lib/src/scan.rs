//! Ordered reading of the entries under a hash key, a page per request.

use crate::options::ScanOptions;
use crate::table::unexpected;
use crate::{Error, Hash, Kind};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, TryStreamExt, stream};
use proto::data::{HashScan, Page, request::Operation, response};
use std::ops::{Bound, RangeBounds};

/// A scan under way. After an error it goes on where it was.
#[derive(Clone, Debug)]
pub struct Scan {
    hash: Hash,
    /// The lowest sort key of what is left.
    from: Bytes,
    /// Above the highest one.
    to: Option<Bytes>,
    options: ScanOptions,
    finished: bool,
}

/// The lowest key above `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

impl Scan {
    pub(crate) fn new<K: AsRef<[u8]>>(
        hash: Hash,
        range: &impl RangeBounds<K>,
        options: ScanOptions,
    ) -> Self {
        let from = match range.start_bound() {
            Bound::Included(key) => Bytes::copy_from_slice(key.as_ref()),
            Bound::Excluded(key) => after(key.as_ref()),
            Bound::Unbounded => Bytes::new(),
        };
        let to = match range.end_bound() {
            Bound::Included(key) => Some(after(key.as_ref())),
            Bound::Excluded(key) => Some(Bytes::copy_from_slice(key.as_ref())),
            Bound::Unbounded => None,
        };
        let empty = to.as_ref().is_some_and(|to| *to <= from) || options.limit == Some(0);
        Self {
            hash,
            from,
            to,
            options,
            finished: empty,
        }
    }

    /// The next page, never an empty one; none at the end.
    pub async fn next_page(&mut self) -> Result<Option<Vec<(Bytes, Bytes)>>, Error> {
        while !self.finished {
            let scan = HashScan {
                hash_key: self.hash.key().clone(),
                from: self.from.clone(),
                to: self.to.clone().unwrap_or_default(),
                has_to: self.to.is_some(),
                reverse: self.options.reverse,
                limit: self.page_limit(),
            };
            let response::Result::Page(page) = self
                .hash
                .call(Kind::Read, Operation::HashScan(scan))
                .await?
            else {
                return Err(unexpected(Kind::Read));
            };
            let entries = self.take_in(page)?;
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
        }
        Ok(None)
    }

    /// All that is left, in one list.
    pub async fn collect(mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut all = Vec::new();
        while let Some(page) = self.next_page().await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// The entries one by one. The stream ends at the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<(Bytes, Bytes), Error>> + Send {
        stream::try_unfold(self, |mut scan| async move {
            Ok(scan.next_page().await?.map(|page| (page, scan)))
        })
        .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
        .try_flatten()
    }

    fn page_limit(&self) -> u32 {
        let left = self
            .options
            .limit
            .map_or(u32::MAX, |left| u32::try_from(left).unwrap_or(u32::MAX));
        match (self.options.page, left) {
            (0, u32::MAX) => 0,
            (0, left) => left,
            (page, left) => page.min(left),
        }
    }

    fn take_in(&mut self, page: Page) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut entries: Vec<_> = page
            .entries
            .into_iter()
            .map(|entry| (entry.sort_key, entry.value))
            .collect();
        if let Some(left) = &mut self.options.limit {
            entries.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= entries.len() as u64;
        }
        self.finished = !page.more || self.options.limit == Some(0);
        match entries.last() {
            // answered without progress, it would go on for ever
            None if !self.finished => return Err(unexpected(Kind::Read)),
            None => {}
            Some((last, _)) if self.options.reverse => self.to = Some(last.clone()),
            Some((last, _)) => self.from = after(last),
        }
        Ok(entries)
    }
}
