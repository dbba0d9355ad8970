//! The overlay: effects from their evaluation until `RocksDB` has them, and a while longer as the fastest cache there is.
//!
//! ```text
//!  base            applied        queued       committed          last    open
//!    |  retained      |  being applied |  waiting    |  in flight    |       |
//!    |--------------------------------------------------------------------------->  decrees     history.rs
//!    |  generation    |  generation    |  generation                         |     rows by order  ordered.rs
//!    |  index: row -> its newest place in any of them                        |     index.rs
//! ```
//!
//! The index and the order exist on a promoted partition, and on a secondary while somebody reads there: then for what is committed only.
//! Any other secondary keeps bytes and looks into none. What is below `applied` is in `RocksDB` too. Nothing here does IO, knows the row cache, or decides when to apply.
//!
//! Reading order: `history` the bytes by decree, `index` and `ordered` the rows in them, `mutations` the overlay itself and what
//! comes and goes as a whole, `open` the mutation that is being written, `entries` which rows are in the index, `reading`.

mod entries;
mod history;
mod index;
mod mutations;
mod open;
mod ordered;
mod reading;

pub(crate) use history::Held;
pub(crate) use index::RowHash;
pub(crate) use mutations::Overlay;
pub(crate) use open::Savepoint;
pub(crate) use ordered::Cursor;
pub(crate) use reading::Found;
