//! What one client's stream has this server remember: which requests were refused, so that no later one overtakes them, and the passwords
//! that it gave. It is bounded before anybody knows who the client is: what no client of ours has so many of ends the stream.

use hashbrown::HashMap;
use tonic::Status;
use types::{PartitionId, TableId};

/// Partitions of tables not known here of which it is remembered that a request was refused.
const MOST_UNKNOWN: usize = 1 << 14;
/// Tables for which a stream gives passwords.
const MOST_PASSWORDS: usize = 64;
/// Bytes of a password; meta servers take none that is longer.
const LONGEST_PASSWORD: usize = 512;

/// The stream asks for more to be remembered than any client of ours does.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMuch {
    #[error("too many requests were for tables that this server does not know")]
    Unknown,
    #[error("passwords for more than {MOST_PASSWORDS} tables")]
    Passwords,
    #[error("a password has at most {LONGEST_PASSWORD} bytes")]
    Length,
}

impl From<TooMuch> for Status {
    fn from(reason: TooMuch) -> Self {
        Self::resource_exhausted(reason.to_string())
    }
}

/// The epochs in which partitions last had a request refused.
#[derive(Default)]
pub(crate) struct Refusals {
    epochs: HashMap<PartitionId, u32>,
    /// How many of them are of tables that were not known here then. Of the others there are not more than their partitions.
    unknown: usize,
}

impl Refusals {
    /// Of a partition that there is.
    pub(crate) fn remember(&mut self, partition: PartitionId, epoch: u32) {
        let known = self.epochs.entry(partition).or_default();
        *known = epoch.max(*known);
    }

    /// Of a partition that may be one: the table is not known here yet.
    pub(crate) fn remember_unknown(&mut self, partition: PartitionId, epoch: u32) {
        let before = self.epochs.len();
        self.remember(partition, epoch);
        self.unknown += self.epochs.len() - before;
    }

    /// Whether a request of that epoch would overtake one that was refused.
    pub(crate) fn cover(&self, partition: PartitionId, epoch: u32) -> bool {
        let refused = self.epochs.get(&partition);
        refused.is_some_and(|&refused| epoch <= refused)
    }

    /// Whether the stream may go on.
    pub(crate) fn check(&self) -> Result<(), TooMuch> {
        if self.unknown > MOST_UNKNOWN {
            return Err(TooMuch::Unknown);
        }
        Ok(())
    }
}

/// The passwords that came with a stream.
#[derive(Default)]
pub(crate) struct Passwords(HashMap<TableId, Given>);

struct Given {
    password: String,
    /// Against what is kept of the table's it was checked, and what came of it.
    checked: Option<(String, bool)>,
}

impl Passwords {
    /// Whether one more can be taken.
    pub(crate) fn check(&self, table: TableId, password: &str) -> Result<(), TooMuch> {
        if password.len() > LONGEST_PASSWORD {
            return Err(TooMuch::Length);
        }
        if self.0.len() >= MOST_PASSWORDS && !self.0.contains_key(&table) {
            return Err(TooMuch::Passwords);
        }
        Ok(())
    }

    /// Takes one, and what is known of it.
    pub(crate) fn take(
        &mut self,
        table: TableId,
        password: String,
        checked: Option<(String, bool)>,
    ) {
        self.0.insert(table, Given { password, checked });
    }

    /// Whether the one for the table is that of which this is kept. Checked here and now only if the table or its password came after it.
    pub(crate) fn fit(&mut self, table: TableId, kept: &str) -> bool {
        let Some(given) = self.0.get_mut(&table) else {
            return false;
        };
        match &given.checked {
            Some((of, fits)) if of == kept => *fits,
            _ => {
                let fits = proto::password::fits(&given.password, kept);
                given.checked = Some((kept.to_owned(), fits));
                fits
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_covered_and_what_came_after_is_not() {
        let mut refusals = Refusals::default();
        let partition = PartitionId::new(1, 7);
        refusals.remember(partition, 3);
        refusals.remember_unknown(partition, 2);
        assert!(refusals.cover(partition, 2) && refusals.cover(partition, 3));
        assert!(!refusals.cover(partition, 4));
        assert!(!refusals.cover(PartitionId::new(1, 8), 1));
    }

    #[test]
    fn a_stream_ends_that_asks_for_tables_without_end() {
        let mut refusals = Refusals::default();
        for index in 0..MOST_UNKNOWN as u32 {
            refusals.remember(PartitionId::new(1, index), 1);
            // The same one again is no more to remember.
            for epoch in 0..3 {
                refusals.remember_unknown(PartitionId::new(2, index), epoch);
            }
        }
        assert_eq!(refusals.check(), Ok(()));
        refusals.remember_unknown(PartitionId::new(3, 0), 1);
        assert_eq!(refusals.check(), Err(TooMuch::Unknown));
    }

    #[test]
    fn a_stream_ends_that_gives_passwords_without_end() {
        let mut passwords = Passwords::default();
        for table in 1..=MOST_PASSWORDS as u32 {
            assert_eq!(passwords.check(TableId(table), "p"), Ok(()));
            passwords.take(TableId(table), "p".into(), None);
        }
        assert_eq!(passwords.check(TableId(1), "another"), Ok(()));
        let more = passwords.check(TableId(1000), "p");
        assert_eq!(more, Err(TooMuch::Passwords));
        let long = passwords.check(TableId(1), &"p".repeat(LONGEST_PASSWORD + 1));
        assert_eq!(long, Err(TooMuch::Length));
    }
}
