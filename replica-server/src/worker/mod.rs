//! The worker: one thread that owns this node's replicas and does their network, parsing, evaluation, commit and replies.
//!
//! Reading order: `hosted` (one replica), `execute` with `positioned` (commands), `held`, `waiting` and `bucket` (what cannot run or be answered
//! yet), `stale` (reads at secondaries), `requests` (what was done before is not done again), `rules` (what a table's commands must obey), `passwords`, `perform` (the core's actions), `inputs` (what other threads say), `found` and `catalogue` (replicas come and go), `log_change` (another durability), `timers`.
//!
//! Nothing here blocks on a disk: logs and storage have threads of their own and answer through the inbox.

mod bucket;
mod catalogue;
mod execute;
mod found;
pub(crate) mod held;
pub(crate) mod hosted;
mod inputs;
mod log_change;
mod passwords;
pub(crate) mod perform;
mod positioned;
pub(crate) mod reply;
mod requests;
mod rules;
mod stale;
mod timers;
mod waiting;

pub(crate) use found::{Finder, Found};

use crate::clock::{self, WallClock};
use crate::cluster::{Known, Table};
use crate::directory::DataDirectory;
use crate::disk_use::DiskUse;
use crate::inbox::Input;
use crate::meta_link::MetaLink;
use crate::metrics::{Counted, Timings};
use crate::peers::beacons::Beacons;
use crate::peers::checkpoint::Pace;
use crate::peers::kept::KeptCheckpoints;
use crate::peers::{Arrivals, Peers};
use crate::ports::Reach;
use crate::room::Room;
use crate::slow_log::SlowCommands;
use crate::worker::hosted::Hosted;
use crate::worker::log_change::LogChanges;
use crate::worker::passwords::Passwords;
use crate::worker::reply::{Delivery, Outcome, Refused, ReplyTo};
use crate::worker::stale::StaleReads;
use crate::worker::timers::Timers;
use commands::Reply;
use commands::requests::Budget;
use commit_log::{Log, LogError};
use engine::Engine;
use replication::{Event, Leases};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use types::{Ballot, Durability, Instant, PartitionId};

/// For the request ids of all partitions: some 500,000 clients of one request each.
const REQUEST_MEMORY: usize = 256 << 20;

/// The node's leases, shared with the beacon thread.
#[derive(Clone)]
pub(crate) struct SharedLeases(pub(crate) Arc<Mutex<Leases>>);

impl SharedLeases {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Leases> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both logs of the data directory.
pub(crate) struct Logs {
    pub(crate) sync: Log,
    pub(crate) buffered: Log,
}

impl Logs {
    pub(crate) fn of(&self, durability: Durability) -> &Log {
        match durability {
            Durability::Sync => &self.sync,
            Durability::Buffered => &self.buffered,
        }
    }
}

/// Everything that lives on the worker's thread.
pub(crate) struct Worker {
    pub(crate) directory: DataDirectory,
    pub(crate) engine: Engine,
    pub(crate) logs: Logs,
    pub(crate) leases: SharedLeases,
    pub(crate) known: RefCell<Known>,
    pub(crate) peers: Peers,
    pub(crate) beacons: Beacons,
    pub(crate) meta: MetaLink,
    pub(crate) inbox: mpsc::UnboundedSender<Input>,
    pub(crate) wall: Arc<WallClock>,
    pub(crate) replicas: RefCell<Replicas>,
    /// Replicas with an open mutation, to be sealed when all connections that were ready had their turn.
    dirty: RefCell<Vec<u32>>,
    seal_soon: Notify,
    timers: RefCell<Timers>,
    timer_changed: Notify,
    sleeping_until: Cell<Option<Instant>>,
    to_delete: RefCell<Vec<PartitionId>>,
    /// Why the node must stop, once it must.
    failure: RefCell<Option<String>>,
    pub(crate) stop: Notify,
    pub(crate) stale_reads: StaleReads,
    /// What replicas take on the disk.
    pub(crate) disk_use: DiskUse,
    /// Whether new data is taken.
    pub(crate) room: Cell<Room>,
    /// Who may use tables without a password.
    reach: Reach,
    /// Some replica has another role.
    pub(crate) roles_changed: Notify,
    /// What transfers to learners may send.
    pub(crate) learn_pace: Rc<Pace>,
    /// What arrives of other nodes' checkpoints.
    pub(crate) arrivals: Arrivals,
    /// Of which learners got a part.
    pub(crate) kept_checkpoints: KeptCheckpoints,
    /// The process ends: nobody is called any more.
    pub(crate) stopping: Cell<bool>,
    /// Requests of clients' streams that wait for an answer.
    pub(crate) unanswered: Cell<usize>,
    pub(crate) counted: Counted,
    pub(crate) timings: Arc<Timings>,
    pub(crate) slow_commands: SlowCommands,
    pub(crate) passwords: Passwords,
    /// What the request ids of all partitions led here may cost.
    pub(crate) request_memory: Rc<Budget>,
    /// Replicas that are on their way to the log of another durability.
    log_changes: LogChanges,
    /// The meta leader that was joined last has lost its store.
    pub(crate) meta_lost_all: Cell<bool>,
}

/// The node's replicas by place, and their places.
#[derive(Default)]
pub(crate) struct Replicas {
    /// A place is never used again in one life: log tickets and timers name it.
    by_place: Vec<Option<Rc<RefCell<Hosted>>>>,
    places: HashMap<PartitionId, u32, foldhash::fast::RandomState>,
    /// What the logs hold of tables not known yet.
    orphans: Vec<Found>,
    /// Under which ballots replicas were deleted in this life of the node.
    deleted: HashMap<PartitionId, Ballot, foldhash::fast::RandomState>,
}

impl Replicas {
    fn deleted(&self, partition: PartitionId) -> Ballot {
        self.deleted.get(&partition).copied().unwrap_or_default()
    }

    pub(crate) fn all(&self) -> Vec<Rc<RefCell<Hosted>>> {
        self.by_place.iter().flatten().cloned().collect()
    }
}

/// What the parts are made of.
pub(crate) struct Parts {
    pub(crate) directory: DataDirectory,
    pub(crate) engine: Engine,
    pub(crate) logs: Logs,
    pub(crate) leases: SharedLeases,
    pub(crate) known: Known,
    pub(crate) peers: Peers,
    pub(crate) beacons: Beacons,
    pub(crate) wall: Arc<WallClock>,
    pub(crate) meta: MetaLink,
    pub(crate) inbox: mpsc::UnboundedSender<Input>,
    pub(crate) learn_pace: Rc<Pace>,
    pub(crate) arrivals: Arrivals,
    pub(crate) kept_checkpoints: KeptCheckpoints,
    pub(crate) timings: Arc<Timings>,
    pub(crate) slow_commands: SlowCommands,
    pub(crate) reach: Reach,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        Rc::new(Self {
            directory: parts.directory,
            engine: parts.engine,
            logs: parts.logs,
            leases: parts.leases,
            known: RefCell::new(parts.known),
            peers: parts.peers,
            beacons: parts.beacons,
            meta: parts.meta,
            inbox: parts.inbox,
            wall: parts.wall,
            replicas: RefCell::default(),
            dirty: RefCell::default(),
            seal_soon: Notify::new(),
            timers: RefCell::default(),
            timer_changed: Notify::new(),
            sleeping_until: Cell::new(None),
            to_delete: RefCell::default(),
            failure: RefCell::default(),
            stop: Notify::new(),
            stale_reads: StaleReads::default(),
            disk_use: DiskUse::default(),
            room: Cell::default(),
            reach: parts.reach,
            roles_changed: Notify::new(),
            learn_pace: parts.learn_pace,
            arrivals: parts.arrivals,
            kept_checkpoints: parts.kept_checkpoints,
            stopping: Cell::new(false),
            unanswered: Cell::new(0),
            counted: Counted::default(),
            timings: parts.timings,
            slow_commands: parts.slow_commands,
            passwords: Passwords::default(),
            request_memory: Budget::new(REQUEST_MEMORY),
            log_changes: LogChanges::default(),
            meta_lost_all: Cell::new(false),
        })
    }

    /// Why nobody may use a table here that anybody could use, if so.
    pub(crate) fn closed_to_others(&self, table: &Table) -> Option<String> {
        (table.password.is_empty() && self.reach == Reach::Guarded).then(|| {
            let name = &table.name;
            format!(
                "table '{name}' has no password, and this server is reached from other machines: give it one, or set allow_unauthenticated = true"
            )
        })
    }

    /// The replica of a partition, if this node has one.
    pub(crate) fn find(&self, partition: PartitionId) -> Option<Rc<RefCell<Hosted>>> {
        let replicas = self.replicas.borrow();
        let &place = replicas.places.get(&partition)?;
        replicas.by_place[place as usize].clone()
    }

    fn at(&self, place: u32) -> Option<Rc<RefCell<Hosted>>> {
        self.replicas.borrow().by_place.get(place as usize)?.clone()
    }

    /// Tells one replica what happened.
    pub(crate) fn tell(&self, hosted: &Rc<RefCell<Hosted>>, event: Event) {
        let mut out = Vec::new();
        self.drive(&mut hosted.borrow_mut(), event, &mut out);
        self.deliver_all(out);
    }

    /// Answers a command. No replica may be borrowed: the receiver may start its next command at once.
    pub(crate) fn deliver(&self, delivery: Delivery) {
        let (to, outcome) = match delivery {
            Delivery::Answer(to, outcome) => (to, outcome),
            Delivery::Elsewhere {
                sink,
                way,
                partition,
                command,
                id,
            } => return way.ask(partition, &command, id.as_ref(), sink),
        };
        self.counted.outcome(&outcome);
        match to {
            ReplyTo::Stream(reply) => reply.send(outcome, self),
            ReplyTo::Resp(sink, ..) => sink.reply(match outcome {
                Outcome::Reply(reply) => reply,
                Outcome::Refused(Refused::Unknown(reason)) => {
                    Reply::error(format!("ERR the outcome is unknown: {reason}"))
                }
                Outcome::Refused(Refused::TooLate(reason)) => {
                    Reply::error(format!("ERR the outcome of the write is unknown: {reason}"))
                }
                Outcome::Refused(Refused::Unable(reason)) => Reply::error(reason),
                Outcome::Refused(Refused::Busy(reason)) => {
                    Reply::error(format!("TRYAGAIN {reason}; nothing took effect"))
                }
                Outcome::Refused(Refused::NotPrimary(_) | Refused::NotFresh) => {
                    Reply::error("TRYAGAIN the primary changed; nothing took effect")
                }
            }),
        }
    }

    pub(crate) fn deliver_all(&self, out: Vec<Delivery>) {
        for delivery in out {
            self.deliver(delivery);
        }
    }

    /// Has the open mutation, if anything waits for it, closed when everybody who is ready had a turn. Belongs behind whatever may
    /// have evaluated a command.
    fn seal_later(&self, h: &mut Hosted) {
        // Without room in the window it is closed by the commit that makes some.
        if h.awaited && !h.dirty && h.core.accepts_write().is_ok() {
            h.dirty = true;
            self.dirty.borrow_mut().push(h.place);
            self.seal_soon.notify_one();
        }
    }

    /// Seals what gathered, for ever.
    pub(crate) async fn seal_gathered(self: Rc<Self>) {
        let mut turn = Vec::new();
        let mut out = Vec::new();
        loop {
            self.seal_soon.notified().await;
            std::mem::swap(&mut turn, &mut *self.dirty.borrow_mut());
            for place in turn.drain(..) {
                let Some(hosted) = self.at(place) else {
                    continue;
                };
                let mut h = hosted.borrow_mut();
                h.dirty = false;
                self.seal(&mut h, &mut out);
                drop(h);
                for delivery in out.drain(..) {
                    self.deliver(delivery);
                }
            }
        }
    }

    /// Calls replicas at their deadlines, for ever.
    pub(crate) async fn call_when_due(self: Rc<Self>) {
        loop {
            let now = clock::now();
            // Not in the condition itself: whoever is called adds timers.
            let due = self.timers.borrow_mut().pop(now);
            if let Some((deadline, place)) = due {
                if let Some(hosted) = self.at(place) {
                    self.call(&hosted, deadline, now);
                }
                continue;
            }
            let next = self.timers.borrow().next();
            self.sleeping_until.set(next);
            let changed = self.timer_changed.notified();
            match next {
                Some(next) => {
                    let _ = tokio::time::timeout(next.since(now), changed).await;
                }
                None => changed.await,
            }
            self.sleeping_until.set(None);
        }
    }

    fn call(&self, hosted: &Rc<RefCell<Hosted>>, deadline: Instant, now: Instant) {
        let mut out = Vec::new();
        {
            let mut h = hosted.borrow_mut();
            if h.scheduled != Some(deadline) {
                return;
            }
            h.scheduled = None;
            if h.core.deadline().is_some_and(|deadline| deadline <= now) {
                self.drive(&mut h, Event::Tick, &mut out);
            }
            self.ask_again(&mut h, now, &mut out);
            self.retry_held(&mut h, &mut out);
            self.seal_later(&mut h);
            self.schedule(&mut h);
        }
        self.deliver_all(out);
    }

    /// Sees to it that the replica is called when it wants to be.
    fn schedule(&self, h: &mut Hosted) {
        /// How often commands are tried that wait for a lease, whose coming nobody announces; many of them less often.
        const RETRY: Duration = Duration::from_millis(5);
        const MANY: usize = 1000;
        /// A replica that wants to be called at once still lets others have their turn.
        const SOONEST: Duration = Duration::from_millis(1);
        if self.stopping.get() {
            return;
        }
        let now = clock::now();
        let retry = match h.held.len() + h.unleased.len() {
            0 => None,
            1..MANY => Some(now + RETRY),
            _ => Some(now + RETRY * 10),
        };
        let Some(wanted) = [h.core.deadline(), retry].into_iter().flatten().min() else {
            return;
        };
        let wanted = wanted.max(now + SOONEST);
        if h.scheduled.is_some_and(|scheduled| scheduled <= wanted) {
            return;
        }
        h.scheduled = Some(wanted);
        self.timers.borrow_mut().add(wanted, h.place);
        if self.sleeping_until.get().is_none_or(|until| wanted < until) {
            self.timer_changed.notify_one();
        }
    }

    /// What every step of a replica leads to.
    fn after_step(&self, h: &mut Hosted) {
        self.begin_log_change(h);
        self.report_change(h);
        self.seal_later(h);
        self.schedule(h);
    }

    /// Tells the meta leader what it does not know of the replica.
    pub(crate) fn report_change(&self, h: &mut Hosted) {
        let standing = h.standing();
        if h.reported != Some(standing) && self.meta.is_up() {
            h.reported = Some(standing);
            self.meta.report(h, &self.disk_use);
        }
    }

    /// The node cannot go on: it stops, and says why.
    pub(crate) fn fail(&self, reason: &str) {
        let mut failure = self.failure.borrow_mut();
        if failure.is_none() {
            tracing::error!(
                reason,
                "the server stops: it can no longer keep its promises"
            );
            *failure = Some(reason.to_owned());
            self.stop.notify_one();
        }
    }

    /// Nothing that happens counts any more.
    fn is_failing(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// A write or a sync failed. It is never tried again: the system may have dropped what it could not write, and call the next try a
    /// success. And whoever lost that may have lost more.
    pub(crate) fn fail_disk(&self, reason: &str) {
        self.fail(&format!(
            "{reason}; look at what the system says of this disk, mend or replace it, and start the server again: what it lacks it takes from the others"
        ));
    }

    pub(crate) fn fail_log(&self, error: &LogError) {
        match error {
            LogError::Failed(_) => self.fail_disk(&error.to_string()),
            LogError::TooLarge { .. } => self.fail(&error.to_string()),
        }
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }
}
