//! A rebuild on its way into the store, which takes several batches: until all of it is there, the root says that it is not whole.
//!
//! Its tables are in service, and whoever asked is told that it is done, only when the root says so no more. A leader that finds such a root
//! removes what there is: the store is as empty as before, and the rebuild can be asked for again. Nothing is lost by that: what nodes were
//! told meanwhile they know, and tell when they are asked.

use crate::{Action, Cluster, Key, Refusal, Token};
use std::collections::BTreeSet;
use types::{Instant, TableId};

/// How far a rebuild has come.
#[derive(Debug, Default)]
pub(crate) enum Rebuilding {
    /// There is none.
    #[default]
    Not,
    /// These are to be stored yet, or removed.
    Incomplete {
        awaited: BTreeSet<Key>,
        /// Who wants to know when it is done.
        asker: Option<Token>,
    },
    /// All is stored but the root that says so.
    Complete,
}

impl Rebuilding {
    /// What is to be stored, and for whom.
    pub(crate) fn begun(awaited: BTreeSet<Key>, asker: Option<Token>) -> Self {
        Self::Incomplete { awaited, asker }
    }

    /// Whether what is stored is not whole.
    pub(crate) fn is_incomplete(&self) -> bool {
        matches!(self, Self::Incomplete { .. })
    }

    /// One document is as it should be.
    pub(crate) fn stored(&mut self, key: Key) {
        if let Self::Incomplete { awaited, .. } = self {
            awaited.remove(&key);
        }
    }
}

impl Cluster {
    /// Until a rebuild is done there are no other tables.
    pub(crate) fn check_rebuilt(&self) -> Result<(), Refusal> {
        match self.rebuilding {
            Rebuilding::Not => Ok(()),
            Rebuilding::Incomplete { .. } | Rebuilding::Complete => Err(Refusal::Unfit(
                "a rebuild is being stored, or what is left of one removed: ask again in a moment"
                    .into(),
            )),
        }
    }

    /// What a leader finds of a rebuild that did not come to its end goes.
    pub(crate) fn undo_rebuild(&mut self) {
        self.tables.clear();
        self.next_table = TableId(1);
        let mut awaited = self.outbox.tables_and_pages();
        awaited.insert(Key::Root);
        for &key in &awaited {
            self.outbox.touch(key);
        }
        self.rebuilding = Rebuilding::begun(awaited, None);
    }

    /// The root follows when all else is stored. No batch is in flight: the next one that has the root says that all is whole.
    pub(crate) fn complete_rebuild(&mut self) {
        match &self.rebuilding {
            Rebuilding::Incomplete { awaited, asker } if awaited.is_empty() => {
                let asker = *asker;
                self.rebuilding = Rebuilding::Complete;
                self.outbox.touch(Key::Root);
                if let Some(token) = asker {
                    self.confirm_when_stored(Key::Root, token);
                }
            }
            Rebuilding::Not | Rebuilding::Incomplete { .. } | Rebuilding::Complete => {}
        }
    }

    /// The root is stored: if it says that all is whole, the tables are in service.
    pub(crate) fn end_rebuild(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !matches!(self.rebuilding, Rebuilding::Complete) {
            return;
        }
        self.rebuilding = Rebuilding::Not;
        let ids: Vec<TableId> = self.tables.keys().copied().collect();
        for id in ids {
            self.table_stored(now, id, actions);
            self.look_after_table(now, id, actions);
        }
    }
}
