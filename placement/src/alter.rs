//! What a table may be, and how one in service becomes something else.
//!
//! Its partitions never change, for keys belong to them by their slot.

use crate::{Action, Cluster, Refusal, Table, TableChanges, TableSpecification, Token};
use std::time::Duration;
use types::{Instant, PartitionId, SLOTS, TableId};

const LONGEST_NAME: usize = 64;
const LONGEST_PASSWORD: usize = 512;

/// Copies of a partition at most: one less than members of a configuration, so that there is room for one on its way.
const MOST_REPLICAS: u32 = 15;

/// A hundred years: beyond, times overflow in clients.
const LONGEST_TTL: Duration = Duration::from_hours(100 * 365 * 24);

impl Cluster {
    pub(crate) fn check_specification(&self, wanted: &TableSpecification) -> Result<(), Refusal> {
        let invalid = |why: String| Err(Refusal::Invalid(why));
        check_name(&wanted.name)?;
        if !(1..=u32::from(SLOTS)).contains(&wanted.partitions) {
            return invalid(format!(
                "a table has 1 to {SLOTS} partitions, not {}",
                wanted.partitions
            ));
        }
        check_password(&wanted.password)?;
        check_ttl(wanted.rules.default_ttl)?;
        check_copies(wanted.replicas, wanted.min_replicas)?;
        self.check_free(&wanted.name)?;
        if self.next_table == TableId(u32::MAX) {
            return invalid("every table number has been given out".into());
        }
        self.check_nodes(wanted.replicas)
    }

    fn check_free(&self, name: &str) -> Result<(), Refusal> {
        match self.holds_name(name) {
            Some(_) => Err(Refusal::Exists(name.into())),
            None => Ok(()),
        }
    }

    fn check_nodes(&self, wanted: u32) -> Result<(), Refusal> {
        let alive = self.takers().count();
        if wanted as usize > alive {
            return Err(Refusal::TooFewNodes { alive, wanted });
        }
        Ok(())
    }

    pub(crate) fn alter_table(
        &mut self,
        token: Token,
        name: &str,
        changes: &TableChanges,
        actions: &mut Vec<Action>,
    ) {
        let found = self.holds_name(name);
        let known = found.and_then(|id| self.tables.get(&id));
        let checked = known.map_or(Ok(()), |table| {
            let mut changed = table.properties.clone();
            changes.apply(&mut changed);
            check_password(&changed.password)?;
            check_ttl(changed.rules.default_ttl)?;
            check_copies(changed.replicas, changed.min_replicas)?;
            if changed.replicas > table.properties.replicas {
                self.check_nodes(changed.replicas)?;
                check_raise(&table.properties, &changed)?;
            }
            Ok(())
        });
        match checked {
            Err(refusal) => actions.push(Action::Answer {
                token,
                answer: Err(refusal),
            }),
            Ok(()) => self.change(token, name, found, actions, |table| changes.apply(table)),
        }
    }

    pub(crate) fn rename_table(
        &mut self,
        token: Token,
        name: &str,
        to: &str,
        actions: &mut Vec<Action>,
    ) {
        let found = self.holds_name(name);
        let checked = check_name(to).and_then(|()| self.check_free(to));
        match checked {
            Err(refusal) if found.is_some() => actions.push(Action::Answer {
                token,
                answer: Err(refusal),
            }),
            _ => self.change(token, name, found, actions, |table| {
                to.clone_into(&mut table.name);
            }),
        }
    }

    /// A table that wants more copies than `before` gets them at once: nobody comes back with them.
    pub(crate) fn want_copies(&mut self, now: Instant, before: &Table) {
        let Some(table) = self.tables.get(&before.id) else {
            return;
        };
        if table.properties.replicas > before.replicas {
            for index in 0..before.partitions {
                let id = PartitionId {
                    table: before.id,
                    index,
                };
                self.short.insert(id, now);
            }
        }
    }
}

impl TableChanges {
    fn apply(&self, table: &mut Table) {
        fn set<T: Clone>(what: &mut T, to: Option<&T>) {
            if let Some(to) = to {
                *what = to.clone();
            }
        }
        set(&mut table.replicas, self.replicas.as_ref());
        set(&mut table.min_replicas, self.min_replicas.as_ref());
        set(&mut table.durability, self.durability.as_ref());
        set(&mut table.password, self.password.as_ref());
        let ttl = self.default_ttl.map(|ttl| (!ttl.is_zero()).then_some(ttl));
        set(&mut table.rules.default_ttl, ttl.as_ref());
        set(&mut table.rules.access, self.access.as_ref());
        let throttle = &mut table.rules.throttle;
        set(&mut throttle.read_operations, self.read_operations.as_ref());
        set(
            &mut throttle.write_operations,
            self.write_operations.as_ref(),
        );
        set(&mut throttle.read_bytes, self.read_bytes.as_ref());
        set(&mut throttle.write_bytes, self.write_bytes.as_ref());
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(allowed) {
        return Err(Refusal::Invalid(format!(
            "a table's name is 1 to {LONGEST_NAME} of A-Z a-z 0-9 _ . -"
        )));
    }
    Ok(())
}

fn check_copies(replicas: u32, min_replicas: u32) -> Result<(), Refusal> {
    if !(1..=MOST_REPLICAS).contains(&replicas) {
        return Err(Refusal::Invalid(format!(
            "a table has 1 to {MOST_REPLICAS} replicas, not {replicas}"
        )));
    }
    if min_replicas > replicas {
        return Err(Refusal::Invalid(format!(
            "writes can not need {min_replicas} members of {replicas} replicas"
        )));
    }
    Ok(())
}

/// More copies take a while to be made: until then there are as many as before, and they must be enough for writes.
fn check_raise(before: &Table, changed: &Table) -> Result<(), Refusal> {
    let (copies, needed) = (before.replicas, changed.members_for_writes());
    if needed > copies {
        return Err(Refusal::Invalid(format!(
            "writes to table '{}' would need {needed} copies, and until new ones are made it has {copies}: raise its replicas with \
             --min-replicas {copies} or less, and when the copies are there set --min-replicas 0",
            before.name
        )));
    }
    Ok(())
}

fn check_password(password: &str) -> Result<(), Refusal> {
    if password.len() > LONGEST_PASSWORD {
        return Err(Refusal::Invalid(format!(
            "a password has at most {LONGEST_PASSWORD} bytes"
        )));
    }
    Ok(())
}

fn check_ttl(ttl: Option<Duration>) -> Result<(), Refusal> {
    match ttl {
        Some(ttl) if ttl < Duration::from_millis(1) || ttl > LONGEST_TTL => Err(Refusal::Invalid(
            "a default TTL is between a millisecond and a hundred years".into(),
        )),
        _ => Ok(()),
    }
}
