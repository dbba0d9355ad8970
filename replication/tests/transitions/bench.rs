//! One replica on a bench: events go in, the exact list of actions comes out. Nodes are letters, times are milliseconds.

use bytes::Bytes;
use replication::{
    Action, Beacon, BeaconReply, Event, Exception, Flush, Identity, LeaseSettings, Leases, Message,
    MetaStream, Recovered, Replica, Settings,
};
use std::sync::Arc;
use std::time::Duration;
use types::{
    Ballot, BootId, Configuration, Decree, Durability, Incarnation, Instant, LearnKind,
    LearnSignature, Member, Mutation, NodeId, PartitionId, RecordBody, Timestamp,
};

pub(crate) const A: NodeId = NodeId(0xA);
pub(crate) const B: NodeId = NodeId(0xB);
pub(crate) const C: NodeId = NodeId(0xC);
pub(crate) const D: NodeId = NodeId(0xD);
pub(crate) const PARTITION: PartitionId = PartitionId::new(1, 0);
pub(crate) const ORIGINAL: LearnSignature = LearnSignature {
    ballot: Ballot(0),
    incarnation: Incarnation(0),
    counter: 0,
};

pub(crate) fn ms(ms: u64) -> Instant {
    Instant(1_000_000_000) + Duration::from_millis(ms)
}

pub(crate) fn config(ballot: u64, primary: NodeId, secondaries: &[NodeId]) -> Configuration {
    Configuration {
        ballot: Ballot(ballot),
        epoch: 0,
        primary: Member::original(primary),
        secondaries: secondaries
            .iter()
            .map(|&node| Member::original(node))
            .collect(),
    }
}

/// Decree `decree` as prepared under `ballot`: its effects do not depend on the ballot.
pub(crate) fn mutation(ballot: u64, decree: u64) -> Mutation {
    Mutation {
        ballot: Ballot(ballot),
        decree: Decree(decree),
        timestamp: Timestamp(decree),
        effects: Bytes::from(format!("effects {decree}")),
    }
}

pub(crate) fn submit(decree: u64) -> Event {
    let Mutation {
        timestamp, effects, ..
    } = mutation(0, decree);
    Event::Submit { timestamp, effects }
}

pub(crate) fn append(number: u64, body: RecordBody) -> Action {
    Action::AppendLog {
        number,
        body,
        flush: Flush::Synced,
    }
}

pub(crate) fn append_mutation(number: u64, ballot: u64, decree: u64) -> Action {
    append(number, RecordBody::Mutation(mutation(ballot, decree)))
}

pub(crate) fn append_config(number: u64, configuration: &Configuration) -> Action {
    append(number, RecordBody::Configuration(configuration.clone()))
}

pub(crate) fn send(to: NodeId, message: Message) -> Action {
    Action::Send { to, message }
}

pub(crate) fn truncate(configuration: &Configuration, first: u64, last: u64) -> Message {
    Message::Truncate {
        configuration: configuration.clone(),
        first: Decree(first),
        last: Decree(last),
    }
}

pub(crate) fn truncate_ack(ballot: u64) -> Message {
    Message::TruncateAck {
        ballot: Ballot(ballot),
        signature: ORIGINAL,
        incarnation: Incarnation(1),
    }
}

pub(crate) fn prepare(ballot: u64, decree: u64, committed: u64) -> Message {
    Message::Prepare {
        mutation: mutation(ballot, decree),
        committed: Decree(committed),
    }
}

pub(crate) fn prepare_ack(ballot: u64, prepared: u64, committed: u64) -> Message {
    Message::PrepareAck {
        ballot: Ballot(ballot),
        prepared: Decree(prepared),
        committed: Decree(committed),
        signature: ORIGINAL,
    }
}

pub(crate) fn committed(ballot: u64, committed: u64) -> Message {
    Message::Committed {
        ballot: Ballot(ballot),
        committed: Decree(committed),
    }
}

pub(crate) fn commit(up_to: u64) -> Action {
    Action::Commit {
        up_to: Decree(up_to),
    }
}

pub(crate) fn propose(from: u64, configuration: &Configuration) -> Action {
    Action::Propose {
        from: Ballot(from),
        configuration: configuration.clone(),
    }
}

pub(crate) fn except(holder: NodeId, ballot: u64) -> Action {
    Action::Except {
        holder,
        ballot: Ballot(ballot),
    }
}

pub(crate) fn stage(ballot: u64, decree: u64) -> Action {
    Action::Stage(mutation(ballot, decree))
}

pub(crate) struct Bench {
    pub(crate) replica: Replica,
    pub(crate) leases: Leases,
    now: Instant,
}

impl Bench {
    pub(crate) fn identity(me: NodeId, durability: Durability) -> Identity {
        Identity {
            me,
            incarnation: Incarnation(1),
            boot: BootId(1),
            partition: PARTITION,
            durability,
            deleted: Ballot::ZERO,
        }
    }

    /// A replica of which nothing is known, on a node in its first life.
    pub(crate) fn blank(me: NodeId, durability: Durability) -> Self {
        Self::of(Self::identity(me, durability))
    }

    /// The same with an identity.
    pub(crate) fn of(identity: Identity) -> Self {
        let settings = Arc::new(Settings::default());
        let replica = Replica::new(identity, settings);
        let leases = Leases::new(
            LeaseSettings::default(),
            Incarnation(1),
            ms(0),
            Duration::ZERO,
        );
        Self {
            replica,
            leases,
            now: ms(0),
        }
    }

    /// A new empty replica, on disk (append 0).
    pub(crate) fn created(me: NodeId) -> Self {
        let mut bench = Self::blank(me, Durability::Sync);
        bench.on(Event::Create);
        bench.flushed(0);
        bench
    }

    /// A replica after a restart that found these records, on a node that forgot what it granted (R4).
    pub(crate) fn recovered(
        me: NodeId,
        durability: Durability,
        applied: u64,
        records: Vec<RecordBody>,
    ) -> (Self, Vec<Action>) {
        let mut recovered = Recovered::new();
        recovered.applied(Decree(applied));
        for record in records {
            recovered.record(record);
        }
        Self::restarted(me, durability, recovered)
    }

    /// What a restart makes of what was read.
    pub(crate) fn restarted(
        me: NodeId,
        durability: Durability,
        recovered: Recovered,
    ) -> (Self, Vec<Action>) {
        let mut identity = Self::identity(me, durability);
        identity.incarnation = Incarnation(2);
        let mut actions = Vec::new();
        let settings = Arc::new(Settings::default());
        let replica = Replica::recover(identity, settings, recovered, &mut actions);
        let grace = LeaseSettings::default().grace;
        let leases = Leases::new(LeaseSettings::default(), Incarnation(2), ms(0), grace);
        (
            Self {
                replica,
                leases,
                now: ms(0),
            },
            actions,
        )
    }

    /// The primary of a configuration of ballot 1, serving (append 1 was the configuration), with all leases at time 0.
    pub(crate) fn serving(me: NodeId, secondaries: &[NodeId]) -> Self {
        let mut bench = Self::created(me);
        bench.on(Event::ConfigurationKnown(config(1, me, secondaries)));
        bench.flushed(1);
        for &secondary in secondaries {
            bench.from(secondary, truncate_ack(1));
            bench.lease(secondary, 1);
        }
        bench.on(Event::MetaStream(MetaStream::Up));
        bench
    }

    /// A secondary of ballot 1 with that many prepared mutations (appends 2 and on), none known to be committed; the primary
    /// counts on it since time 0.
    pub(crate) fn secondary(me: NodeId, configuration: &Configuration, prepared: u64) -> Self {
        let mut bench = Self::created(me);
        let primary = configuration.primary.node;
        bench.granted(primary);
        bench.from(primary, truncate(configuration, 1, 0));
        bench.flushed(1);
        for decree in 1..=prepared {
            bench.from(primary, prepare(1, decree, 0));
            bench.flushed(1 + decree);
        }
        bench
    }

    pub(crate) fn at(&mut self, millis: u64) -> &mut Self {
        self.now = ms(millis);
        self
    }

    pub(crate) fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.replica
            .step(self.now, &self.leases, event, &mut actions);
        for action in &actions {
            if let &Action::Except { holder, ballot } = action {
                self.leases.except(holder, PARTITION, ballot, self.now);
            }
        }
        actions
    }

    pub(crate) fn from(&mut self, from: NodeId, message: Message) -> Vec<Action> {
        self.on(Event::Received { from, message })
    }

    pub(crate) fn flushed(&mut self, number: u64) -> Vec<Action> {
        self.on(Event::LogFlushed { number })
    }

    pub(crate) fn tick(&mut self) -> Vec<Action> {
        self.on(Event::Tick)
    }

    /// This node leases from `grantor`, a node in that life, from now on.
    pub(crate) fn lease(&mut self, grantor: NodeId, life: u64) {
        let beacon = self.leases.make_beacon(grantor, self.now);
        let reply = BeaconReply {
            holder: beacon.incarnation,
            grantor: Incarnation(life),
            granted: Some(beacon.sent),
            exceptions: Vec::new(),
        };
        self.leases.on_reply(grantor, self.now, &reply);
    }

    /// `grantor`'s leases do not count for the partition below that ballot.
    pub(crate) fn excepted(&mut self, grantor: NodeId, ballot: u64) {
        let beacon = self.leases.make_beacon(grantor, self.now);
        let exception = Exception {
            partition: PARTITION,
            ballot: Ballot(ballot),
        };
        let reply = BeaconReply {
            holder: beacon.incarnation,
            grantor: Incarnation(1),
            granted: None,
            exceptions: vec![exception],
        };
        self.leases.on_reply(grantor, self.now, &reply);
    }

    /// This node grants `holder` a lease now.
    pub(crate) fn granted(&mut self, holder: NodeId) {
        let beacon = Beacon {
            incarnation: Incarnation(1),
            sent: ms(0),
            acknowledged: Vec::new(),
        };
        self.leases.on_beacon(holder, self.now, &beacon);
    }

    /// How many milliseconds from the beginning it wants to be woken.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.replica
            .deadline()
            .map(|at| at.since(ms(0)).as_millis() as u64)
    }

    pub(crate) fn may_read(&self) -> bool {
        self.replica.may_serve_read(self.now, &self.leases).is_ok()
    }

    pub(crate) fn reset(base: u64, kind: LearnKind, signature: LearnSignature) -> RecordBody {
        RecordBody::Reset {
            signature,
            base: Decree(base),
            kind,
            epoch: 0,
        }
    }

    /// The records of a secondary or primary of ballot 1 with that many mutations.
    pub(crate) fn records(configuration: &Configuration, prepared: u64) -> Vec<RecordBody> {
        let head = [
            Self::reset(0, LearnKind::Log, ORIGINAL),
            RecordBody::Configuration(configuration.clone()),
        ];
        let mutations = (1..=prepared).map(|decree| RecordBody::Mutation(mutation(1, decree)));
        head.into_iter().chain(mutations).collect()
    }
}
