//! The nodes' shells: what a server does with events and actions, here on simulated time, disks and engines.
//!
//! How a log is written and a process started is in `storage`.

use crate::clients::Evaluation;
use crate::invariants::{
    self, acknowledged_is_everywhere, additions, commits, promises, reconciliation,
};
use crate::node::PARTITION;
use crate::reading::State;
use crate::world::{MS, Scheduled, World};
use replication::{Action, Beacon, BeaconReply, Event, Message, MetaStream, Replica, RoleKind};
use types::{Ballot, Decree, LearnSignature, NodeId, Timestamp};

/// Something that happens at a node.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Event(Event),
    Beacon(NodeId, Beacon),
    Reply(NodeId, BeaconReply),
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
            Happening::Event(event) => self.step(node, event),
            Happening::Beacon(from, beacon) => self.on_beacon(node, from, &beacon),
            Happening::Reply(from, reply) => {
                let local = self.nodes[node].local(self.now);
                let outcome = self.nodes[node].leases.on_reply(from, local, &reply);
                if outcome.answer_now {
                    self.beacon(node, from);
                }
                if let Some(life) = outcome.restarted {
                    self.step(node, Event::PeerRestarted { node: from, life });
                }
            }
            Happening::Flushed { number, end } => self.flushed(node, number, end),
            Happening::FsyncFailed { number } => self.fsync_failed(node, number),
            Happening::Checkpoint(signature, state) => {
                self.nodes[node].incoming = Some((signature, state));
                let decree = state.applied;
                self.step(node, Event::CheckpointReceived { signature, decree });
            }
            Happening::Answer(evaluation) => self.answer(node, &evaluation),
            Happening::Open => self.open_replica(node),
            Happening::DeleteAsked(ballot) => self.delete_asked(node, ballot),
        }
    }

    fn on_beacon(&mut self, node: usize, from: NodeId, beacon: &Beacon) {
        if !self.nodes[node].vouches(self.now) {
            return;
        }
        let local = self.nodes[node].local(self.now);
        let answer = self.nodes[node].leases.on_beacon(from, local, beacon);
        let reply = Happening::Reply(self.nodes[node].id, answer.reply);
        self.transmit(node, from, &reply);
        if let Some(life) = answer.restarted {
            self.step(node, Event::PeerRestarted { node: from, life });
        }
        if !answer.settled.is_empty() {
            self.step(node, Event::ExceptionAcknowledged);
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
            self.step(node, Event::PeerLost { node: lost });
        }
    }

    fn beacon(&mut self, node: usize, peer: NodeId) {
        if !self.nodes[node].vouches(self.now) {
            return;
        }
        let local = self.nodes[node].local(self.now);
        let beacon = self.nodes[node].leases.make_beacon(peer, local);
        let from = self.nodes[node].id;
        self.transmit(node, peer, &Happening::Beacon(from, beacon));
    }

    pub(crate) fn step(&mut self, node: usize, event: Event) {
        if !self.nodes[node].up {
            return;
        }
        if let Event::MetaStream(meta) = event {
            self.nodes[node].meta = meta;
        }
        if self.nodes[node].replica.is_none() {
            match &event {
                Event::Received {
                    message: Message::LearnOffer { .. },
                    ..
                } => {
                    self.nodes[node].replica = Some(self.nodes[node].blank_replica());
                    self.tell_meta_stream(node);
                }
                Event::Received { from, message } => {
                    if let Some(answer) = message.answer_of_nobody() {
                        self.send(node, *from, answer);
                    }
                    return;
                }
                _ => return,
            }
        }
        let actions = self.nodes[node].step(self.now, event);
        self.perform(node, actions);
    }

    pub(crate) fn tell_meta_stream(&mut self, node: usize) {
        let meta = if self.has_stream(node) {
            MetaStream::Up
        } else {
            MetaStream::Down
        };
        self.step(node, Event::MetaStream(meta));
    }

    fn send(&mut self, node: usize, to: NodeId, message: Message) {
        promises::on_send(self, node, &message);
        self.echo_learn(to, &message);
        let from = self.nodes[node].id;
        self.transmit(
            node,
            to,
            &Happening::Event(Event::Received { from, message }),
        );
    }

    pub(crate) fn perform(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            self.note(|| format!("    {node}: {action:?}"));
            self.act(node, action);
        }
        self.plan_tick(node);
        invariants::on_step(self, node);
    }

    fn plan_tick(&mut self, node: usize) {
        let (now, this) = (self.now, &self.nodes[node]);
        let deadline = this
            .replica
            .as_ref()
            .and_then(replication::Replica::deadline);
        let at = deadline.map(|local| {
            if local <= this.local(now) {
                now
            } else {
                this.true_time(local).max(now)
            }
        });
        if let Some(at) = at
            && this.tick_at.is_none_or(|planned| at < planned)
        {
            self.nodes[node].tick_at = Some(at);
            self.at(at - now, Scheduled::Tick { node });
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::AppendLog {
                number,
                body,
                flush,
            } => self.append(node, number, body, flush),
            Action::Send { to, message } => self.send(node, to, message),
            Action::Echo {
                to,
                asked,
                committed,
            } => {
                let this = &self.nodes[node];
                let time = Timestamp(this.wall(self.now).max(this.state.time.0));
                let message = Message::Fresh {
                    asked,
                    committed,
                    time,
                };
                self.send(node, to, message);
            }
            // Readers do not wait here: they come again.
            Action::Refreshed => {}
            Action::Stage(mutation) => {
                self.nodes[node].staged.insert(mutation.decree, mutation);
            }
            Action::Unstage { above } => {
                self.nodes[node].staged.split_off(&above.next());
            }
            Action::Commit { up_to } => self.commit(node, up_to),
            Action::Propose {
                from,
                configuration,
            } => {
                additions::on_proposal(self, node, &configuration);
                self.propose(node, from, &configuration);
            }
            Action::Except { holder, ballot } => {
                let local = self.nodes[node].local(self.now);
                let leases = &mut self.nodes[node].leases;
                leases.except(holder, PARTITION, ballot, local);
                if let Some(notice) = leases.notice(holder) {
                    let from = self.nodes[node].id;
                    self.transmit(node, holder, &Happening::Reply(from, notice));
                }
            }
            Action::ReadLog {
                learner,
                signature,
                from,
                ..
            } => self.read_log(node, learner, signature, from),
            Action::SendCheckpoint { learner, signature } => {
                self.send_checkpoint(node, learner, signature);
            }
            Action::InstallCheckpoint { signature, decree } => {
                self.install_checkpoint(node, signature, decree);
            }
            Action::ReportCreated => self.at(MS, Scheduled::Created { node }),
            Action::Delete => {
                let ballot = self.nodes[node].replica.as_ref().map(Replica::ballot);
                self.nodes[node].deleted = ballot.unwrap_or_default();
                self.nodes[node].wipe();
                self.deleted(node);
            }
            Action::Became(role) => self.became(node, role),
            Action::EndLearn { .. } => self.figures.learns += 1,
            Action::Refuse(refusal) => self.violate(
                commits::NAME,
                format!("a write that was accepted is refused: {refusal}"),
            ),
        }
    }

    fn became(&mut self, node: usize, role: RoleKind) {
        self.echo();
        match role {
            RoleKind::Serving => {
                self.figures.takeovers += 1;
                self.echo_acknowledgements(node);
                reconciliation::on_serving(self, node);
            }
            RoleKind::Reconciling => self.disturb_takeover(node),
            RoleKind::Learner => self.disturb_learn(node),
            RoleKind::Inactive | RoleKind::Secondary => {}
        }
    }

    /// A replica says that everything up to `up_to` is committed.
    fn commit(&mut self, node: usize, up_to: Decree) {
        while self.nodes[node].state.applied < up_to {
            let this = &mut self.nodes[node];
            let next = this.state.applied.next();
            let mutation = this.staged.remove(&next);
            if !commits::on_commit(self, node, next, mutation.as_ref()) {
                return;
            }
            let this = &mut self.nodes[node];
            this.state = mutation.map_or(this.state, |mutation| this.state.after(&mutation));
        }
        let replica = self.nodes[node].replica.as_ref();
        let leads = |role| matches!(role, RoleKind::Serving | RoleKind::Reconciling);
        if replica.is_some_and(|replica| leads(replica.role())) {
            // The primary's clients hear of it.
            acknowledged_is_everywhere::on_acknowledged(self, up_to);
        }
    }
}
