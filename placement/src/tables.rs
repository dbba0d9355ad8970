//! Tables: created, dropped, recalled, and gone when the retention of a dropped one ends. Changing one in service is in `alter`.

use crate::cluster::{Change, Partition, TableState};
use crate::errands::Errand;
use crate::{Action, Answered, Cluster, Key, Refusal, Table, TableSpecification, ToNode, Token};
use std::time::Duration;
use types::{Instant, NodeId, PartitionId, TableId, Timestamp};

impl Cluster {
    pub(crate) fn create_table(
        &mut self,
        token: Token,
        wanted: TableSpecification,
        actions: &mut Vec<Action>,
    ) {
        if let Err(refusal) = self.check_specification(&wanted) {
            actions.push(Action::Answer {
                token,
                answer: Err(refusal),
            });
            return;
        }
        if let Err(refusal) = self.check_memory().and_then(|()| self.check_rebuilt()) {
            actions.push(Action::Answer {
                token,
                answer: Err(refusal),
            });
            return;
        }
        let id = self.next_table;
        self.next_table = TableId(id.0 + 1);
        self.outbox.touch(Key::Root);
        self.outbox.touch(Key::Table(id));
        let state = TableState {
            created: false,
            change: None,
            creator: Some(token),
            unborn: wanted.partitions,
            partitions: (0..wanted.partitions)
                .map(|_| Partition::default())
                .collect(),
            properties: Table {
                id,
                name: wanted.name,
                partitions: wanted.partitions,
                replicas: wanted.replicas,
                durability: wanted.durability,
                min_replicas: wanted.min_replicas,
                password: wanted.password,
                rules: wanted.rules,
                dropped_at: None,
                version: 1,
            },
        };
        self.tables.insert(id, state);
    }

    /// The table that has the name now; also one that is just being created, dropped or recalled, or that is just getting the name.
    pub(crate) fn holds_name(&self, name: &str) -> Option<TableId> {
        let holds = |table: &&TableState| {
            let becomes = match &table.change {
                Some(Change::Properties(changed, _)) => Some(changed),
                Some(Change::Removal) | None => None,
            };
            let serves = table.properties.dropped_at.is_none() || becomes.is_some();
            serves && table.properties.name == name
                || becomes.is_some_and(|becomes| becomes.name == name)
        };
        self.tables
            .values()
            .find(holds)
            .map(|table| table.properties.id)
    }

    pub(crate) fn drop_table(
        &mut self,
        token: Token,
        name: &str,
        wall: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let found = self.holds_name(name);
        self.change(token, name, found, actions, |table| {
            table.dropped_at = Some(wall);
        });
    }

    pub(crate) fn recall_table(&mut self, token: Token, name: &str, actions: &mut Vec<Action>) {
        if self.holds_name(name).is_some() {
            let answer = Err(Refusal::Exists(name.into()));
            actions.push(Action::Answer { token, answer });
            return;
        }
        let last = self
            .tables
            .values()
            .filter(|table| table.properties.name == name && table.change.is_none())
            .max_by_key(|table| (table.properties.dropped_at, table.properties.id))
            .map(|table| table.properties.id);
        self.change(token, name, last, actions, |table| table.dropped_at = None);
    }

    /// Lets the table become what `edit` makes of it, if nothing else is being made of it.
    pub(crate) fn change(
        &mut self,
        token: Token,
        name: &str,
        found: Option<TableId>,
        actions: &mut Vec<Action>,
        edit: impl FnOnce(&mut Table),
    ) {
        let refusal = match found.and_then(|id| self.tables.get_mut(&id)) {
            None => Refusal::NoSuchTable(name.into()),
            Some(table) if !table.created || table.change.is_some() => Refusal::Busy(name.into()),
            Some(table) => {
                let mut changed = table.properties.clone();
                edit(&mut changed);
                changed.version += 1;
                self.outbox.touch(Key::Table(changed.id));
                table.change = Some(Change::Properties(changed, token));
                return;
            }
        };
        actions.push(Action::Answer {
            token,
            answer: Err(refusal),
        });
    }

    /// Removes tables whose retention has ended.
    pub(crate) fn expire_tables(&mut self, wall: Timestamp) {
        let retention = self.settings.drop_retention;
        for (&id, table) in &mut self.tables {
            let dropped = table.properties.dropped_at;
            let expired = dropped
                .is_some_and(|at| Duration::from_millis(wall.0.saturating_sub(at.0)) >= retention);
            if expired && table.change.is_none() {
                table.change = Some(Change::Removal);
                self.outbox.touch(Key::Table(id));
            }
        }
    }

    /// A table's document is stored as it was to be: created, dropped, recalled or removed.
    pub(crate) fn table_stored(&mut self, now: Instant, id: TableId, actions: &mut Vec<Action>) {
        let Some(table) = self.tables.get_mut(&id) else {
            return;
        };
        if !table.created {
            table.created = true;
            if table.properties.dropped_at.is_some() {
                // Rebuilt as it was: dropped.
                return;
            }
            let properties = table.properties.clone();
            self.announce(properties, actions);
            self.take_into_service(now, id);
            self.plan_births(now, actions);
            return;
        }
        match table.change.take() {
            None => {}
            Some(Change::Removal) => self.table_removed(now, id, actions),
            Some(Change::Properties(changed, token)) => {
                let before = std::mem::replace(&mut table.properties, changed.clone());
                if changed.dropped_at.is_some() {
                    self.take_out_of_service(id, actions);
                } else {
                    self.announce(changed.clone(), actions);
                    if before.dropped_at.is_none() {
                        self.want_copies(now, &before);
                    }
                    self.take_into_service(now, id);
                    self.look_after_table(now, id, actions);
                    self.plan_births(now, actions);
                }
                actions.push(Action::Answer {
                    token,
                    answer: Ok(Answered::Table(changed)),
                });
            }
        }
    }

    fn announce(&self, table: Table, actions: &mut Vec<Action>) {
        let message = ToNode::Cluster {
            complete: false,
            nodes: vec![],
            tables: vec![table],
            gone: vec![],
        };
        self.tell_all(&message, actions);
    }

    /// From now on the table's partitions are born and looked after.
    pub(crate) fn take_into_service(&mut self, now: Instant, id: TableId) {
        let Some(table) = self.tables.get(&id) else {
            return;
        };
        for (index, partition) in (0..).zip(&table.partitions) {
            let id = PartitionId { table: id, index };
            match &partition.stored {
                None => {
                    self.unborn.insert(id);
                }
                Some(stored) if stored.len() < table.properties.replicas as usize => {
                    let due = now + self.settings.repair_delay;
                    self.short.entry(id).or_insert(due);
                }
                Some(_) => {}
            }
        }
    }

    fn take_out_of_service(&mut self, id: TableId, actions: &mut Vec<Action>) {
        let message = ToNode::Cluster {
            complete: false,
            nodes: vec![],
            tables: vec![],
            gone: vec![id],
        };
        self.tell_all(&message, actions);
        actions.push(Action::RoutesEnded { table: id });
        self.unborn.retain(|partition| partition.table != id);
        self.short.retain(|partition, _| partition.table != id);
        self.surplus.retain(|partition| partition.table != id);
        self.nudges.retain(|partition, _| partition.table != id);
        self.moves.retain(|partition, _| partition.table != id);
        self.forget_learns_of(id);
        let Some(table) = self.tables.get_mut(&id) else {
            return;
        };
        for partition in &mut table.partitions {
            partition.birth = None;
        }
        if let Some(token) = table.creator.take() {
            let answer = Err(Refusal::NoSuchTable(table.properties.name.clone()));
            actions.push(Action::Answer { token, answer });
        }
    }

    /// The store has forgotten the table: now its pages may go too, and the replicas.
    fn table_removed(&mut self, now: Instant, id: TableId, actions: &mut Vec<Action>) {
        let Some(table) = self.tables.remove(&id) else {
            return;
        };
        for page in 0..table.properties.pages() {
            self.outbox.touch(Key::Page { table: id, page });
        }
        for (index, partition) in (0..).zip(&table.partitions) {
            let id = PartitionId { table: id, index };
            if let Some(stored) = &partition.stored {
                crate::cluster::unshare(&mut self.shares, id, stored);
            }
            let holders: Vec<NodeId> = partition.holders.iter().map(|holder| holder.node).collect();
            for node in holders {
                self.errand(node, Errand::Delete(id));
            }
        }
        self.run_all_errands(now, actions);
    }

    fn has_too_many(&self, id: PartitionId) -> bool {
        let stored = self
            .partition(id)
            .and_then(|partition| partition.stored.as_ref());
        let wanted = self
            .tables
            .get(&id.table)
            .map(|table| table.properties.replicas as usize);
        stored.map(types::Configuration::len) > wanted
    }

    pub(crate) fn look_after_table(
        &mut self,
        now: Instant,
        id: TableId,
        actions: &mut Vec<Action>,
    ) {
        let partitions = self
            .tables
            .get(&id)
            .map_or(0, |table| table.properties.partitions);
        for index in 0..partitions {
            let id = PartitionId { table: id, index };
            if self.has_too_many(id) {
                // All at once they would overflow the nodes' queues: they have their turn.
                self.surplus.insert(id);
            } else {
                self.look_after(now, id, actions);
            }
        }
    }
}
