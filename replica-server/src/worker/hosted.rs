//! One replica on this node: the protocol's core, its storage, its log, and the commands under way.

use crate::clock;
use crate::compare::Compared;
use crate::heat::Heat;
use crate::metrics::{CommitTimes, Traffic};
use crate::worker::bucket::{Again, Bucket, Waiter};
use crate::worker::held::{Held, HeldQueue};
use crate::worker::log_change::LogChange;
use crate::worker::reply::{Delivery, Outcome, Refused, ReplyTo, refuse, send_on, turn_away};
use crate::worker::requests::Requests;
use crate::worker::rules::{Rules, size};
use crate::worker::waiting::{Unleased, Waiting, mark_overtaken};
use commands::Reply;
use commit_log::{Log, Pin};
use engine::{Haste, Partition, Ticket};
use replication::{Action, Event, Replica, RoleKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use types::{Ballot, Decree, Instant, LearnSignature, NodeId, PartitionId, Timestamp};

/// What the meta leader is told of: role, ballot, whether a member by its own disk, whether damaged, whether the copies differ.
pub(crate) type Standing = (RoleKind, Ballot, bool, bool, bool);

/// What a digest comes to, or why it does not.
pub(crate) type DigestResult = Result<u128, String>;

/// One replica on this node.
pub(crate) struct Hosted {
    pub(crate) id: PartitionId,
    /// Where it is among the worker's partitions; in its log tickets and timers.
    pub(crate) place: u32,
    pub(crate) core: Replica,
    pub(crate) storage: Partition,
    /// The one of the core's durability.
    pub(crate) log: Log,
    pub(crate) log_change: LogChange,
    pub(crate) role: RoleKind,
    pub(crate) waiting: Waiting,
    /// Evaluated under ballots that this primary went on from.
    pub(crate) unleased: Unleased,
    pub(crate) held: HeldQueue,
    /// What was done by request id; nothing until it is asked for, and while this replica does not serve.
    pub(crate) requests: Option<Requests>,
    /// The rows of which are on their way from the disk.
    pub(crate) restoring: Option<Ticket>,
    /// What its table's commands must obey.
    pub(crate) rules: Rules,
    /// Whether anything waits for the open mutation: only then is it worth submitting.
    pub(crate) awaited: bool,
    /// The last read that allowed for an age, while this was a secondary: when it came, and for which.
    pub(crate) stale_read: Option<(Instant, Duration)>,
    /// The open mutation's time.
    pub(crate) opened_at: Timestamp,
    /// Rows on their way from the disk.
    pub(crate) fetching: BTreeSet<Ticket>,
    /// Whether it is in the worker's list of partitions to seal.
    pub(crate) dirty: bool,
    /// The earliest call that is in the timers.
    pub(crate) scheduled: Option<Instant>,
    /// The storage failed: nothing is served any more from this copy.
    pub(crate) broken: Option<String>,
    /// What the meta leader was last told.
    pub(crate) reported: Option<Standing>,
    /// Emptied after every step; kept for its capacity.
    pub(crate) actions: Vec<Action>,
    pub(crate) teaching: BTreeMap<NodeId, Teaching>,
    pub(crate) received: Option<ReceivedCheckpoint>,
    pub(crate) digests: Vec<DigestWanted>,
    /// When this primary last found all copies equal.
    pub(crate) compared: Option<Compared>,
    /// It last found copies that differ, and no majority.
    pub(crate) diverged: bool,
    /// What is counted for its table.
    pub(crate) traffic: Rc<Traffic>,
    /// How busy it is.
    pub(crate) heat: Heat,
    pub(crate) commit_times: CommitTimes,
}

/// What is kept for a learner while it learns from this primary.
#[derive(Default)]
pub(crate) struct Teaching {
    pub(crate) pin: Option<Arc<Pin>>,
    pub(crate) checkpoint: Option<(Ticket, LearnSignature)>,
    /// A transfer under way, for which learn. Ends it when dropped.
    pub(crate) transfer: Option<(LearnSignature, oneshot::Sender<()>)>,
}

/// A checkpoint that a primary sent here.
pub(crate) struct ReceivedCheckpoint {
    pub(crate) signature: LearnSignature,
    pub(crate) dir: PathBuf,
    pub(crate) decree: Decree,
    /// The core took it: its reset record is in the log, or on its way there.
    pub(crate) wanted: bool,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) installed: oneshot::Sender<Result<Decree, String>>,
}

/// Somebody wants the digest of the state at a decree.
pub(crate) struct DigestWanted {
    pub(crate) at: Decree,
    pub(crate) haste: Haste,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) answer: oneshot::Sender<DigestResult>,
}

fn in_flight() -> Refused {
    Refused::Unknown("the primary changed while the write was in flight".into())
}

/// Of a read that is not to be asked again: it would be answered as if it had come after what came after it.
fn overtaken() -> Refused {
    Refused::Unknown("the read could not be answered in time, and later writes have been".into())
}

impl Hosted {
    /// Whether commands may be evaluated here.
    pub(crate) fn serves(&self) -> bool {
        self.role == RoleKind::Serving && self.broken.is_none()
    }

    /// Whether this copy is what others are taught.
    pub(crate) fn leads(&self) -> bool {
        matches!(self.role, RoleKind::Serving | RoleKind::Reconciling) && self.broken.is_none()
    }

    /// Whether it will be known in a moment who serves: this node, once it has reconciled, or whoever deposed it, of whom it knows
    /// nothing yet. Commands wait for that; sent back, they would only come again.
    pub(crate) fn is_changing(&self) -> bool {
        match self.role {
            RoleKind::Reconciling => true,
            RoleKind::Inactive => self.broken.is_none() && self.core.names_itself(),
            RoleKind::Serving | RoleKind::Secondary | RoleKind::Learner => false,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        (
            self.core.role(),
            self.core.ballot(),
            self.core.is_member(),
            self.is_damaged(),
            self.is_diverged(),
        )
    }

    /// Whether this copy is none to go on with. A sole copy keeps its role in the protocol whatever its storage says.
    pub(crate) fn is_damaged(&self) -> bool {
        self.core.is_damaged() || self.broken.is_some()
    }

    /// Whether this primary found copies that differ without a majority for one.
    pub(crate) fn is_diverged(&self) -> bool {
        self.diverged && self.serves()
    }

    /// Why a command is not evaluated here.
    pub(crate) fn refusal(&self) -> Refused {
        match (&self.broken, self.role) {
            (Some(reason), _) => Refused::Busy(format!("storage failed: {reason}")),
            (None, RoleKind::Reconciling) => {
                Refused::Busy("the new primary is not ready yet".into())
            }
            (None, _) => Refused::NotPrimary(self.core.configuration().cloned()),
        }
    }

    /// A read found this.
    pub(super) fn charge_read(&mut self, found: &Reply) {
        let bytes = size(found);
        self.rules.charge(bytes);
        self.heat.moved(bytes);
    }

    /// The open mutation, closed; nothing if there is none, or no room for it yet.
    pub(crate) fn closed_mutation(&mut self) -> Option<Event> {
        if !self.awaited || self.core.accepts_write().is_err() || !self.write_requests() {
            return None;
        }
        self.awaited = false;
        let sealed = self.storage.seal()?;
        self.commit_times.sealed(self.storage.last());
        self.traffic.wrote(sealed.effects.len());
        self.heat.moved(sealed.effects.len());
        Some(Event::Submit {
            timestamp: sealed.timestamp,
            effects: sealed.effects,
        })
    }

    /// This replica serves no more, or not for now: what waits is told so, or goes on waiting where its fate is still this
    /// replica's to tell.
    pub(crate) fn abandon(&mut self, out: &mut Vec<Delivery>) {
        let refusal = self.refusal();
        // A primary that stays one under a new ballot commits what it has in flight, and answers for it then.
        let stays = self.role == RoleKind::Reconciling && self.broken.is_none();
        let sent = self.storage.last();
        self.awaited = false;
        // To restore them from the rows would keep the partition, and those beside it, from serving for some milliseconds.
        self.requests = self
            .requests
            .take()
            .filter(|_| stays)
            .map(Requests::under_next_ballot);
        self.commit_times.forget();
        let held = self.held.take();
        let mut buckets = self.waiting.take();
        // R1: else what was evaluated here is answered no more, even if all that it saw is committed.
        let reads_stay = stays && self.went_on();
        if !reads_stay {
            buckets.insert(0, (Decree::ZERO, self.unleased.take()));
            mark_overtaken(&mut buckets, sent);
            let (_, queue) = buckets.remove(0);
            self.give_up(queue, &refusal, out);
        }
        for (decree, bucket) in buckets {
            // What was evaluated into the mutation that is still open was never sent: nothing of it took effect.
            let was_sent = decree <= sent;
            self.abandon_bucket(bucket, was_sent.then_some(decree), stays, out);
        }
        for held in held {
            if self.is_changing() {
                self.hold(held, out);
            } else {
                send_on(held.to, self.id, held.command, None, refusal.clone(), out);
            }
        }
    }

    /// Whether this primary was the one under the ballot before, too.
    fn went_on(&self) -> bool {
        let since = self.core.leads_since();
        since.is_some_and(|since| since < self.core.ballot())
    }

    /// Reads that only a lease kept from being answered are not answered any more; the writes behind them are done.
    pub(crate) fn give_up(&self, queue: Bucket, refused: &Refused, out: &mut Vec<Delivery>) {
        for Waiter {
            to, reply, again, ..
        } in queue.waiters
        {
            match again {
                Again::BySender(_) | Again::ById(..) => {
                    out.push(Delivery::Answer(to, Outcome::Reply(reply)));
                }
                Again::Never => refuse(to, overtaken(), out),
                Again::Evaluate(command) => {
                    turn_away(to, self.id, command, refused.clone(), out);
                }
            }
        }
    }

    /// What waited for one decree, which is none if its mutation was never sent.
    fn abandon_bucket(
        &mut self,
        mut bucket: Bucket,
        sent: Option<Decree>,
        stays: bool,
        out: &mut Vec<Delivery>,
    ) {
        let refusal = self.refusal();
        for waiter in std::mem::take(&mut bucket.waiters) {
            if let (Some(decree), true, Again::BySender(_) | Again::ById(..)) =
                (sent, stays, &waiter.again)
            {
                self.waiting.push_moved(decree, &bucket, waiter);
                continue;
            }
            let Waiter {
                to,
                reply,
                again,
                came,
            } = waiter;
            let (command, id) = match again {
                Again::BySender(_) => (None, None),
                Again::Evaluate(command) => (Some(command), None),
                Again::Never => {
                    refuse(to, overtaken(), out);
                    continue;
                }
                Again::ById(id, kept) => (Some(bucket.command(kept)), Some(id)),
            };
            match (sent, command, id) {
                (Some(_), Some(command), Some(id)) => {
                    send_on(to, self.id, command, Some(id), in_flight(), out);
                }
                (Some(_), None, _) => refuse(to, in_flight(), out),
                (Some(decree), Some(command), None) if stays && self.went_on() => {
                    let waiter = Waiter {
                        to,
                        reply,
                        again: Again::Evaluate(command),
                        came,
                    };
                    self.waiting.push(decree, waiter);
                }
                // Its sender knows which of its writes were behind it, and are done before it could be evaluated again.
                (Some(_), Some(_), None) if stays && matches!(to, ReplyTo::Stream(_)) => {
                    let text = "the primary changed its ballot before the read could be answered";
                    refuse(to, Refused::Busy(text.into()), out);
                }
                // To be evaluated again, ahead of what came later.
                (_, Some(command), _) if stays => self.hold(
                    Held {
                        command,
                        to,
                        came,
                        since: clock::now(),
                        cold: None,
                    },
                    out,
                ),
                // A write that was never sent, or a read.
                (_, Some(command), _) => {
                    send_on(to, self.id, command, None, refusal.clone(), out);
                }
                (None, None, _) => refuse(to, refusal.clone(), out),
            }
        }
    }

    /// Puts a command among those that wait, if there is room.
    pub(crate) fn hold(&mut self, held: Held, out: &mut Vec<Delivery>) {
        if let Err(refusal) = self.held.push(held) {
            let (to, refused) = *refusal;
            refuse(to, refused, out);
        }
    }

    /// The partition's storage is broken: this copy serves nothing more, the others go on.
    pub(crate) fn storage_failed(&mut self, reason: String) {
        if self.broken.is_none() {
            tracing::error!(partition = %self.id, %reason, "the replica's storage failed");
            self.broken = Some(reason);
        }
    }
}
