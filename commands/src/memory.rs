//! A partition's rows in an ordered map: the view of tests and simulations.

use crate::effects::{self, Malformed, Operation};
use crate::rows::{KEYS_FROM, KEYS_TO};
use crate::view::{Direction, Interrupt, View, ViewMut};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Rows in memory. Everything is warm, nothing fails.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryView {
    rows: BTreeMap<Bytes, Bytes>,
}

impl MemoryView {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// All rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.rows.iter()
    }

    /// Drops the rows that `keep` does not want: a compaction.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        self.rows.retain(|row, value| keep(row, value));
    }

    /// Does what a mutation's effects say.
    pub fn apply(&mut self, batch: &Bytes) -> Result<(), Malformed> {
        for row in effects::rows(batch) {
            let row = row?;
            match row.operation {
                Operation::Put => {
                    self.rows.insert(row.key, row.value);
                }
                Operation::Delete => {
                    self.rows.remove(&row.key);
                }
                Operation::DeleteRange => self.remove_range(&row.key, &row.value),
            }
        }
        Ok(())
    }

    fn remove_range(&mut self, from: &[u8], to: &[u8]) {
        self.rows.retain(|row, _| &row[..] < from || &row[..] >= to);
    }
}

impl View for MemoryView {
    fn get(&mut self, row: &[u8]) -> Result<Option<Bytes>, Interrupt> {
        Ok(self.rows.get(row).cloned())
    }

    fn scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Interrupt> {
        if from >= to {
            return Ok(());
        }
        let mut range = self
            .rows
            .range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        while let Some((row, value)) = match direction {
            Direction::Forward => range.next(),
            Direction::Backward => range.next_back(),
        } {
            if visit(row, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl ViewMut for MemoryView {
    fn put(&mut self, row: &[u8], value: &[&[u8]]) {
        self.rows
            .insert(Bytes::copy_from_slice(row), value.concat().into());
    }

    fn delete(&mut self, row: &[u8]) {
        self.rows.remove(row);
    }

    fn clear(&mut self) {
        self.remove_range(KEYS_FROM, KEYS_TO);
    }
}
