//! What evaluation reads and writes: the rows of one partition, in byte order.
//!
//! Nothing here knows where rows are kept. `memory` has them in a map; the engine has them in an overlay, a cache and `RocksDB`.

use bytes::Bytes;
use std::ops::ControlFlow;

/// Which way a scan walks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// In byte order.
    Forward,
    /// Against it.
    Backward,
}

/// Why an evaluation stopped without a reply. The variants are what the caller does next; whatever was written is rolled back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Interrupt {
    /// Fetch the rows and evaluate again from the start.
    #[error("the rows are on disk, not in memory")]
    Cold,
    /// The effects would pass the room that is left. If other commands share the mutation, close it and evaluate again in the next;
    /// else answer [`crate::Reply::too_large`].
    #[error("the effects are larger than a mutation may be")]
    Full,
    /// Storage cannot answer: the replica's trouble, not the command's.
    #[error("storage failed: {0}")]
    Failed(String),
}

/// The newest visible rows of one partition. For a write that includes what it and the commands before it in the open mutation
/// have written.
pub trait View {
    /// The row's value.
    fn get(&mut self, row: &[u8]) -> Result<Option<Bytes>, Interrupt>;

    /// Shows `visit` the rows of `[from, to)` in `direction` until it breaks.
    #[allow(clippy::type_complexity)] // a name for the visitor would fix its lifetime for every implementor
    fn scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Interrupt>;
}

/// A view whose rows can be changed. What is written is seen by later reads of the same view.
pub trait ViewMut: View {
    /// Sets the row to the concatenation of the pieces, each of which is copied once.
    fn put(&mut self, row: &[u8], value: &[&[u8]]);

    /// Removes the row; nothing happens if there is none.
    fn delete(&mut self, row: &[u8]);

    /// Removes every row from [`crate::rows::KEYS_FROM`] to [`crate::rows::KEYS_TO`]: all but the partition's own.
    fn clear(&mut self);
}
