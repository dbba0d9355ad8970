//! The protocol's core at work: events in, and the one place where its actions are carried out.

use crate::clock;
use crate::inbox::Input;
use crate::worker::Worker;
use crate::worker::hosted::{Hosted, ReceivedCheckpoint};
use crate::worker::reply::Delivery;
use commit_log::{Appended, ReadError};
use replication::{Action, Event, Flush, LogRead, Message, RoleKind};
use smallvec::SmallVec;
use std::path::PathBuf;
use std::sync::Arc;
use types::{Decree, Instant, LearnKind, LearnSignature, NodeId, Record, RecordBody};

/// Events that actions lead to at once.
type Echoes = SmallVec<[Event; 4]>;

/// A ticket of the log is a partition's place and the number of the append in it.
const NUMBER_BITS: u32 = 40;

pub(crate) fn ticket(place: u32, number: u64) -> u64 {
    u64::from(place) << NUMBER_BITS | number
}

pub(crate) fn of_ticket(ticket: u64) -> (u32, u64) {
    (
        (ticket >> NUMBER_BITS) as u32,
        ticket & ((1 << NUMBER_BITS) - 1),
    )
}

impl Worker {
    /// Tells a replica what happened, and does what follows, until nothing does.
    pub(crate) fn drive(&self, h: &mut Hosted, event: Event, out: &mut Vec<Delivery>) {
        if self.is_failing() {
            return;
        }
        let now = clock::now();
        let mut actions = std::mem::take(&mut h.actions);
        let mut next = Some(event);
        let mut echoes = Echoes::new();
        while let Some(event) = next {
            let committed = h.core.committed();
            h.core.step(now, &self.leases.lock(), event, &mut actions);
            self.perform(h, &mut actions, &mut echoes, now, out);
            next = if echoes.is_empty() {
                // A commit made room in the window for what gathered meanwhile.
                (h.core.committed() > committed)
                    .then(|| h.closed_mutation())
                    .flatten()
            } else {
                Some(echoes.remove(0))
            };
        }
        h.actions = actions;
        self.after_step(h);
    }

    /// Carries out what the core wants, in its order.
    pub(crate) fn perform(
        &self,
        h: &mut Hosted,
        actions: &mut Vec<Action>,
        echoes: &mut Echoes,
        now: Instant,
        out: &mut Vec<Delivery>,
    ) {
        for action in actions.drain(..) {
            match action {
                Action::AppendLog {
                    number,
                    body,
                    flush,
                } => self.append(h, number, body, flush, echoes),
                Action::Send { to, message } => self.peers.send(to, h.id, message),
                Action::Echo {
                    to,
                    asked,
                    committed,
                } => {
                    let time = self.wall.at(now).max(h.storage.partition_time());
                    let message = Message::Fresh {
                        asked,
                        committed,
                        time,
                    };
                    self.peers.send(to, h.id, message);
                }
                Action::Refreshed => self.retry_held(h, out),
                Action::Stage(mutation) => {
                    if let Err(error) = h.storage.stage(&mutation) {
                        h.storage_failed(error.to_string());
                        echoes.push(Event::Damaged);
                    }
                }
                Action::Unstage { above } => h.storage.truncate(above),
                Action::Commit { up_to } => self.commit(h, up_to, now, out),
                Action::Propose {
                    from: _,
                    configuration,
                } => self.meta.propose(h.id, &configuration),
                Action::Became(role) => self.became(h, role, out),
                Action::Except { holder, ballot } => {
                    self.leases.lock().except(holder, h.id, ballot, now);
                    self.beacons.notice(holder);
                }
                Action::ReadLog {
                    learner,
                    signature,
                    from,
                    max_bytes,
                } => {
                    self.read_log(h, learner, signature, from, max_bytes);
                }
                Action::SendCheckpoint { learner, signature } => {
                    self.teach_by_checkpoint(h, learner, signature);
                }
                Action::EndLearn {
                    learner,
                    signature: _,
                } => {
                    h.teaching.remove(&learner);
                }
                Action::InstallCheckpoint {
                    signature,
                    decree: _,
                } => Self::install(h, signature),
                Action::ReportCreated => self.meta.opened(h.id),
                Action::Delete => self.delete_later(h),
                Action::Refuse(refusal) => {
                    // The mutation was closed in the same turn in which the core said that it takes one.
                    tracing::error!(partition = %h.id, %refusal, "a mutation was refused after it was closed");
                }
            }
        }
    }

    fn append(
        &self,
        h: &mut Hosted,
        number: u64,
        body: RecordBody,
        flush: Flush,
        echoes: &mut Echoes,
    ) {
        if let RecordBody::Reset {
            signature,
            base,
            kind: LearnKind::Checkpoint,
            ..
        } = &body
            && let Some(received) = &mut h.received
            && (received.signature, received.decree) == (*signature, *base)
        {
            received.wanted = true;
        }
        let record = [Record {
            partition: h.id,
            body,
        }];
        let ticket = ticket(h.place, number);
        let appended = match flush {
            Flush::Written => h.log.append(&record, ticket),
            Flush::Synced => h.log.append_synced(&record, ticket),
        };
        match appended {
            Ok(Appended::Done) => echoes.push(Event::LogFlushed { number }),
            Ok(Appended::Pending) => {}
            Err(error) => self.fail_log(&error),
        }
    }

    fn commit(&self, h: &mut Hosted, up_to: Decree, now: Instant, out: &mut Vec<Delivery>) {
        Self::start_digests(h, up_to);
        Self::forget_readers(h, now);
        h.storage.commit(up_to);
        h.commit_times.committed(up_to, now, &self.timings);
        self.release(h, now, out);
        self.retry_held(h, out);
    }

    fn became(&self, h: &mut Hosted, role: RoleKind, out: &mut Vec<Delivery>) {
        tracing::info!(partition = %h.id, ?role, ballot = %h.core.ballot(), "role changed");
        h.role = role;
        self.roles_changed.notify_one();
        if h.core.is_member() {
            self.arrivals.forget(h.id);
        }
        match role {
            RoleKind::Serving => {
                h.storage.raise_ballot(h.core.ballot());
                h.storage.promote();
                self.retry_held(h, out);
            }
            RoleKind::Inactive
            | RoleKind::Learner
            | RoleKind::Secondary
            | RoleKind::Reconciling => {
                h.stale_read = None;
                if role != RoleKind::Reconciling {
                    self.kept_checkpoints.forget(h.id);
                }
                h.abandon(out);
                h.storage.demote();
                if matches!(role, RoleKind::Inactive | RoleKind::Learner) {
                    // What is learnt anew may jump over the decrees at which digests were promised.
                    h.digests.clear();
                }
            }
        }
    }

    fn read_log(
        &self,
        h: &mut Hosted,
        learner: NodeId,
        signature: LearnSignature,
        from: Decree,
        max_bytes: usize,
    ) {
        h.teaching.entry(learner).or_default().pin = h.log.pin(h.id, from).map(Arc::new);
        let (log, partition, inbox) = (h.log.clone(), h.id, self.inbox.clone());
        tokio::task::spawn_blocking(move || {
            let outcome = match log.read(partition, from, max_bytes) {
                Ok(mutations) => LogRead::Mutations(mutations),
                Err(ReadError::TooOld { .. }) => {
                    tracing::info!(%partition, %learner, %from, "the log does not reach back far enough for a learner; it gets a checkpoint");
                    LogRead::Gone
                }
                Err(error) => {
                    tracing::warn!(%partition, %error, "the log cannot be read for a learner; it gets a checkpoint");
                    LogRead::Gone
                }
            };
            let _ = inbox.send(Input::LogRead {
                partition,
                learner,
                signature,
                outcome,
            });
        });
    }

    fn install(h: &mut Hosted, wanted: LearnSignature) {
        if let Some(received) = &mut h.received
            && received.signature == wanted
        {
            received.ticket = Some(h.storage.install_checkpoint(received.dir.clone()));
        }
    }

    /// A primary's checkpoint is here, whole.
    pub(crate) fn checkpoint_received(
        &self,
        h: &mut Hosted,
        received: ReceivedCheckpoint,
        out: &mut Vec<Delivery>,
    ) {
        let (signature, decree) = (received.signature, received.decree);
        // One that is being installed is not thrown away for its repetition.
        if h.received
            .as_ref()
            .is_some_and(|earlier| earlier.wanted && earlier.signature == signature)
        {
            return remove_later(received.dir);
        }
        if let Some(earlier) = h.received.replace(received) {
            remove_later(earlier.dir);
        }
        self.drive(h, Event::CheckpointReceived { signature, decree }, out);
        // What the core does not want is not kept: the sender is told by the dropped answer.
        if let Some(unwanted) = h.received.take_if(|received| !received.wanted) {
            remove_later(unwanted.dir);
        }
    }
}

/// Removes a directory, however large, beside the worker.
pub(crate) fn remove_later(dir: PathBuf) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = std::fs::remove_dir_all(&dir) {
            tracing::warn!(dir = %dir.display(), %error, "a checkpoint that nobody needs was not removed");
        }
    });
}
