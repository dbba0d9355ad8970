//! Replicas come and go: recovered at the start, created when the meta leader asks, made by a learn, deleted.

use crate::heat::Heat;
use crate::metrics::CommitTimes;
use crate::worker::Worker;
use crate::worker::found::Found;
use crate::worker::held::HeldQueue;
use crate::worker::hosted::Hosted;
use crate::worker::log_change::LogChange;
use crate::worker::rules::{Rules, settings};
use crate::worker::waiting::{Unleased, Waiting};
use engine::Partition;
use replication::{Event, Identity, Replica, RoleKind, Settings};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use types::{PartitionId, Record, RecordBody, SlotRange, Timestamp};

impl Worker {
    /// Takes up what the disk holds. Replicas of tables that are not known yet wait until they are.
    pub(crate) fn recover(&self, found: Vec<Found>) {
        for found in found {
            if self.known.borrow().table(found.partition.table).is_none() {
                self.replicas.borrow_mut().orphans.push(found);
                continue;
            }
            let Some((mut identity, settings, slots, rules)) = self.made_for(found.partition)
            else {
                continue;
            };
            // Its table may want another by now: it goes over later.
            identity.durability = found.durability;
            let mut actions = Vec::new();
            let core = Replica::recover(identity, settings, found.recovered, &mut actions);
            let hosted = self.host(core, slots, rules);
            let mut out = Vec::new();
            {
                let mut h = hosted.borrow_mut();
                let committed = h.core.committed();
                let mut echoes = smallvec::SmallVec::new();
                self.perform(
                    &mut h,
                    &mut actions,
                    &mut echoes,
                    crate::clock::now(),
                    &mut out,
                );
                h.storage.commit(committed);
                for event in echoes {
                    self.drive(&mut h, event, &mut out);
                }
                h.role = h.core.role();
                self.after_step(&mut h);
            }
            self.deliver_all(out);
        }
    }

    /// Replicas that waited for their table.
    pub(crate) fn recover_orphans(&self) {
        let orphans = std::mem::take(&mut self.replicas.borrow_mut().orphans);
        self.recover(orphans);
    }

    /// The replica of a partition: the one that is here, or a new one that knows nothing. None if its table is not known.
    pub(crate) fn find_or_make(&self, partition: PartitionId) -> Option<Rc<RefCell<Hosted>>> {
        if let Some(hosted) = self.find(partition) {
            return Some(hosted);
        }
        let (identity, settings, slots, rules) = self.made_for(partition)?;
        let core = Replica::new(identity, settings);
        Some(self.host(core, slots, rules))
    }

    fn made_for(
        &self,
        partition: PartitionId,
    ) -> Option<(Identity, Arc<Settings>, SlotRange, Rules)> {
        let known = self.known.borrow();
        let table = known.table(partition.table)?;
        if partition.index >= table.partitions {
            return None;
        }
        let identity = Identity {
            me: self.directory.node,
            incarnation: self.directory.incarnation,
            boot: self.directory.boot,
            partition,
            durability: table.durability(),
            deleted: self.replicas.borrow().deleted(partition),
        };
        let slots = SlotRange::of_partition(partition.index, table.partitions);
        Some((identity, settings(table), slots, Rules::of(table)))
    }

    fn host(&self, core: Replica, slots: SlotRange, rules: Rules) -> Rc<RefCell<Hosted>> {
        let id = core.partition();
        let mut storage: Partition = self.engine.partition(id, slots);
        storage.set_default_ttl(rules.default_ttl());
        let log = self.logs.of(core.durability()).clone();
        let mut replicas = self.replicas.borrow_mut();
        let place = replicas.by_place.len() as u32;
        let mut hosted = Hosted {
            id,
            place,
            core,
            storage,
            log,
            log_change: LogChange::Rests,
            role: RoleKind::Inactive,
            waiting: Waiting::default(),
            unleased: Unleased::default(),
            held: HeldQueue::default(),
            requests: None,
            restoring: None,
            rules,
            awaited: false,
            stale_read: None,
            opened_at: Timestamp::default(),
            fetching: BTreeSet::new(),
            dirty: false,
            scheduled: None,
            broken: None,
            reported: None,
            actions: Vec::new(),
            teaching: BTreeMap::new(),
            received: None,
            digests: Vec::new(),
            compared: None,
            diverged: false,
            traffic: self.counted.traffic(id.table),
            heat: Heat::default(),
            commit_times: CommitTimes::default(),
        };
        if self.meta.is_up() {
            let mut out = Vec::new();
            let mut actions = Vec::new();
            hosted.core.step(
                crate::clock::now(),
                &self.leases.lock(),
                Event::MetaStream(replication::MetaStream::Up),
                &mut actions,
            );
            let mut echoes = smallvec::SmallVec::new();
            self.perform(
                &mut hosted,
                &mut actions,
                &mut echoes,
                crate::clock::now(),
                &mut out,
            );
        }
        let hosted = Rc::new(RefCell::new(hosted));
        replicas.by_place.push(Some(hosted.clone()));
        replicas.places.insert(id, place);
        hosted
    }

    /// A replica of a table that was dropped before this node started, which has no core: its records and files go.
    pub(crate) fn delete_orphan(&self, partition: PartitionId) {
        /// A ticket that is no replica's.
        const NOBODYS: u64 = u64::MAX;
        let mut replicas = self.replicas.borrow_mut();
        let Some(index) = replicas
            .orphans
            .iter()
            .position(|found| found.partition == partition)
        else {
            return;
        };
        let orphan = replicas.orphans.swap_remove(index);
        let record = [Record {
            partition,
            body: RecordBody::Deleted,
        }];
        if let Err(error) = self.logs.of(orphan.durability).append(&record, NOBODYS) {
            self.fail_log(&error);
        }
        self.engine.remove(partition);
    }

    /// The deletion is in the log: the replica goes when its step is over.
    pub(crate) fn delete_later(&self, h: &mut Hosted) {
        h.broken = Some("the replica was deleted".into());
        self.to_delete.borrow_mut().push(h.id);
    }

    /// Removes what [`Self::delete_later`] named.
    pub(crate) fn delete_now(&self) {
        let gone = std::mem::take(&mut *self.to_delete.borrow_mut());
        for id in gone {
            let place = self.replicas.borrow_mut().places.remove(&id);
            let hosted =
                place.and_then(|place| self.replicas.borrow_mut().by_place[place as usize].take());
            if let Some(hosted) = hosted {
                let ballot = hosted.borrow().core.ballot();
                self.replicas.borrow_mut().deleted.insert(id, ballot);
                let mut out = Vec::new();
                hosted.borrow_mut().abandon(&mut out);
                self.deliver_all(out);
                drop(hosted);
                self.arrivals.forget(id);
                self.kept_checkpoints.forget(id);
                self.engine.remove(id);
                self.meta.deleted(id);
                tracing::info!(partition = %id, "the replica was deleted");
            }
        }
    }
}
