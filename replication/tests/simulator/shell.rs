//! The nodes' shells: what a server does with events and actions, here on simulated time, disks and engines.
//!
//! How a log is written and a process started is in `storage`.

use crate::clients::Evaluation;
use crate::invariants::{
    self, acknowledged_is_everywhere, additions, commits, promises, reconciliation,
};
use crate::partition;
use crate::reading::State;
use crate::site::At;
use crate::world::{MS, Scheduled, World};
use replication::{Action, Beacon, BeaconReply, Event, Message, MetaStream, Replica, RoleKind};
use types::{Ballot, Decree, LearnSignature, NodeId, Timestamp};

/// Something that happens at a node.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Beacon(NodeId, Beacon),
    Reply(NodeId, BeaconReply),
    /// To all its replicas.
    All(Event),
    /// At one partition of it.
    At(usize, Local),
}

/// Something that happens at a site.
#[derive(Clone, Debug)]
pub(crate) enum Local {
    Event(Event),
    Flushed {
        number: u64,
        end: u64,
    },
    FsyncFailed {
        number: u64,
    },
    Checkpoint(LearnSignature, State),
    Answer(Evaluation),
    /// The meta leader wants a first replica, or one gone under the stored ballot.
    Open,
    DeleteAsked(Ballot),
    /// The meta leader wants another primary of the configuration with that ballot.
    HandOverAsked(Ballot, NodeId),
}

impl World {
    pub(crate) fn watch_all(&mut self, node: usize) {
        let now = self.nodes[node].local(self.now);
        let peers: Vec<_> = self.nodes.iter().map(|peer| peer.id).collect();
        let node = &mut self.nodes[node];
        for peer in peers.into_iter().filter(|&peer| peer != node.id) {
            node.leases.watch(peer, now);
        }
    }

    /// Something reaches a node: it waits while the node is paused.
    pub(crate) fn happen(&mut self, node: usize, happening: Happening) {
        if self.nodes[node].paused {
            self.nodes[node].waiting.push_back(happening);
            return;
        }
        match happening {
            Happening::Beacon(from, beacon) => self.on_beacon(node, from, &beacon),
            Happening::Reply(from, reply) => {
                let local = self.nodes[node].local(self.now);
                let outcome = self.nodes[node].leases.on_reply(from, local, &reply);
                if outcome.answer_now {
                    self.beacon(node, from);
                }
                if let Some(life) = outcome.restarted {
                    self.step_all(node, &Event::PeerRestarted { node: from, life });
                }
            }
            Happening::All(event) => self.step_all(node, &event),
            Happening::At(partition, local) => self.take_in(At { node, partition }, local),
        }
    }

    pub(crate) fn happen_at(&mut self, at: At, local: Local) {
        self.happen(at.node, Happening::At(at.partition, local));
    }

    fn take_in(&mut self, at: At, local: Local) {
        match local {
            Local::Event(event) => self.step(at, event),
            Local::Flushed { number, end } => self.flushed(at, number, end),
            Local::FsyncFailed { number } => self.fsync_failed(at, number),
            Local::Checkpoint(signature, state) => {
                self.site_mut(at).incoming = Some((signature, state));
                let decree = state.applied;
                self.step(at, Event::CheckpointReceived { signature, decree });
            }
            Local::Answer(evaluation) => self.answer(at, &evaluation),
            Local::Open => self.open_replica(at),
            Local::DeleteAsked(ballot) => self.delete_asked(at, ballot),
            Local::HandOverAsked(ballot, to) => self.hand_over_asked(at, ballot, to),
        }
    }

    fn on_beacon(&mut self, node: usize, from: NodeId, beacon: &Beacon) {
        if !self.nodes[node].vouches(self.now) {
            return;
        }
        let local = self.nodes[node].local(self.now);
        let answer = self.nodes[node].leases.on_beacon(from, local, beacon);
        let reply = Happening::Reply(self.nodes[node].id, answer.reply);
        self.transmit(node, from, reply);
        if let Some(life) = answer.restarted {
            self.step_all(node, &Event::PeerRestarted { node: from, life });
        }
        for settled in answer.settled {
            let partition = partition::number(settled);
            self.step(At { node, partition }, Event::ExceptionAcknowledged);
        }
    }

    pub(crate) fn beacon_due(&mut self, node: usize) {
        self.at(100 * MS, Scheduled::BeaconDue { node });
        if !self.nodes[node].runs() {
            return;
        }
        let peers: Vec<_> = self.nodes.iter().map(|peer| peer.id).collect();
        let me = self.nodes[node].id;
        for peer in peers.into_iter().filter(|&peer| peer != me) {
            self.beacon(node, peer);
        }
        let local = self.nodes[node].local(self.now);
        for lost in self.nodes[node].leases.lapsed(local) {
            self.step_all(node, &Event::PeerLost { node: lost });
        }
    }

    /// Asks a peer for its lease. A server whose disk hangs does so, too, and hears that its peers are well; one that does not loses
    /// sight of all of them.
    fn beacon(&mut self, node: usize, peer: NodeId) {
        if self.swarm.hangs_silently && !self.nodes[node].vouches(self.now) {
            return;
        }
        let local = self.nodes[node].local(self.now);
        let beacon = self.nodes[node].leases.make_beacon(peer, local);
        let from = self.nodes[node].id;
        self.transmit(node, peer, Happening::Beacon(from, beacon));
    }

    /// All replicas of a node take something in.
    pub(crate) fn step_all(&mut self, node: usize, event: &Event) {
        if let Event::MetaStream(meta) = event
            && self.nodes[node].up
        {
            self.nodes[node].meta = *meta;
        }
        for partition in 0..self.partitions.len() {
            self.step(At { node, partition }, event.clone());
        }
    }

    pub(crate) fn step(&mut self, at: At, event: Event) {
        if !self.nodes[at.node].up {
            return;
        }
        if self.site(at).replica.is_none() {
            match &event {
                Event::Received {
                    message: Message::LearnOffer { .. },
                    ..
                } => {
                    self.make_replica(at);
                }
                Event::Received { from, message } => {
                    if let Some(answer) = message.answer_of_nobody() {
                        self.send(at, *from, answer);
                    }
                    return;
                }
                _ => return,
            }
        }
        let actions = self.nodes[at.node].step(at.partition, self.now, event);
        self.perform(at, actions);
    }

    /// An empty replica. Of the stream to the meta leader it hears what the node's other replicas know, true or not.
    pub(crate) fn make_replica(&mut self, at: At) {
        let blank = self.nodes[at.node].blank_replica(at.partition);
        self.site_mut(at).replica = Some(blank);
        let stream = self.nodes[at.node].meta;
        self.step(at, Event::MetaStream(stream));
    }

    pub(crate) fn meta_stream(&self, node: usize) -> MetaStream {
        if self.has_stream(node) {
            MetaStream::Up
        } else {
            MetaStream::Down
        }
    }

    fn send(&mut self, at: At, to: NodeId, message: Message) {
        promises::on_send(self, at, &message);
        self.echo_learn(at.partition, to, &message);
        let received = Event::Received {
            from: self.id(at),
            message,
        };
        let arrives = Happening::At(at.partition, Local::Event(received));
        self.transmit(at.node, to, arrives);
    }

    pub(crate) fn perform(&mut self, at: At, actions: Vec<Action>) {
        for action in actions {
            self.note(|| format!("    {at}: {action:?}"));
            self.act(at, action);
        }
        self.plan_tick(at);
        invariants::on_step(self, at);
    }

    fn plan_tick(&mut self, at: At) {
        let (now, this) = (self.now, &self.nodes[at.node]);
        let site = self.site(at);
        let deadline = site.replica.as_ref().and_then(Replica::deadline);
        let due = deadline.map(|local| {
            if local <= this.local(now) {
                now
            } else {
                this.true_time(local).max(now)
            }
        });
        if let Some(due) = due
            && site.tick_at.is_none_or(|planned| due < planned)
        {
            self.site_mut(at).tick_at = Some(due);
            self.at(due - now, Scheduled::Tick { at });
        }
    }

    fn act(&mut self, at: At, action: Action) {
        match action {
            Action::AppendLog {
                number,
                body,
                flush,
            } => self.append(at, number, body, flush),
            Action::Send { to, message } => self.send(at, to, message),
            Action::Echo {
                to,
                asked,
                committed,
            } => {
                let wall = self.nodes[at.node].wall(self.now);
                let time = Timestamp(wall.max(self.site(at).state.time.0));
                let message = Message::Fresh {
                    asked,
                    committed,
                    time,
                };
                self.send(at, to, message);
            }
            // Readers do not wait here: they come again.
            Action::Refreshed => {}
            Action::Stage(mutation) => {
                self.site_mut(at).staged.insert(mutation.decree, mutation);
            }
            Action::Unstage { above } => {
                self.site_mut(at).staged.split_off(&above.next());
            }
            Action::Commit { up_to } => self.commit(at, up_to),
            Action::Propose {
                from,
                configuration,
            } => {
                additions::on_proposal(self, at, &configuration);
                self.propose(at, from, &configuration);
            }
            Action::Except { holder, ballot } => {
                let (node, partition) = (at.node, self.partitions[at.partition].id);
                let local = self.nodes[node].local(self.now);
                let leases = &mut self.nodes[node].leases;
                leases.except(holder, partition, ballot, local);
                if let Some(notice) = leases.notice(holder) {
                    let from = self.nodes[node].id;
                    self.transmit(node, holder, Happening::Reply(from, notice));
                }
            }
            Action::ReadLog {
                learner,
                signature,
                from,
                ..
            } => self.read_log(at, learner, signature, from),
            Action::SendCheckpoint { learner, signature } => {
                self.send_checkpoint(at, learner, signature);
            }
            Action::InstallCheckpoint { signature, decree } => {
                self.install_checkpoint(at, signature, decree);
            }
            Action::ReportCreated => self.at(MS, Scheduled::Created { at }),
            Action::Delete => {
                let site = self.site_mut(at);
                let ballot = site.replica.as_ref().map(Replica::ballot);
                site.deleted = ballot.unwrap_or_default();
                site.wipe();
                self.deleted(at);
            }
            Action::Became(role) => self.became(at, role),
            Action::EndLearn { .. } => self.figures.learns += 1,
            Action::Refuse(refusal) => self.violate(
                commits::NAME,
                format!("a write that was accepted is refused: {refusal}"),
            ),
        }
    }

    fn became(&mut self, at: At, role: RoleKind) {
        self.echo();
        match role {
            RoleKind::Serving => {
                self.figures.takeovers += 1;
                self.echo_acknowledgements(at);
                reconciliation::on_serving(self, at);
            }
            RoleKind::Reconciling => self.disturb_takeover(at.node),
            RoleKind::Learner => self.disturb_learn(at),
            RoleKind::Inactive | RoleKind::Secondary => {}
        }
    }

    /// A replica says that everything up to `up_to` is committed.
    fn commit(&mut self, at: At, up_to: Decree) {
        while self.site(at).state.applied < up_to {
            let site = self.site_mut(at);
            let next = site.state.applied.next();
            let mutation = site.staged.remove(&next);
            if !commits::on_commit(self, at, next, mutation.as_ref()) {
                return;
            }
            let site = self.site_mut(at);
            site.state = mutation.map_or(site.state, |mutation| site.state.after(&mutation));
        }
        let replica = self.site(at).replica.as_ref();
        let leads = |role| matches!(role, RoleKind::Serving | RoleKind::Reconciling);
        if replica.is_some_and(|replica| leads(replica.role())) {
            // The primary's clients hear of it.
            acknowledged_is_everywhere::on_acknowledged(self, at.partition, up_to);
        }
    }
}
