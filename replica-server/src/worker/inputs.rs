//! What other threads, other nodes and the meta leader say, and which replica it concerns.

use crate::inbox::Input;
use crate::room::Room;
use crate::worker::Worker;
use crate::worker::hosted::{Hosted, ReceivedCheckpoint};
use crate::worker::log_change::LogChange;
use crate::worker::perform::{of_ticket, remove_later};
use commit_log::LogError;
use engine::EngineEvent;
use proto::meta::{self, to_node};
use replication::{Afterwards, Deletion, Event, Message, MetaStream};
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::mpsc;
use types::{Ballot, NodeId, PartitionId};

impl Worker {
    /// Takes in what comes, for ever.
    pub(crate) async fn take_inputs(self: Rc<Self>, mut inputs: mpsc::UnboundedReceiver<Input>) {
        while let Some(input) = inputs.recv().await {
            self.take(input);
            self.delete_now();
        }
    }

    fn take(&self, input: Input) {
        match input {
            Input::Flushed(tickets) => {
                for ticket in tickets {
                    let (place, number) = of_ticket(ticket);
                    if let Some(hosted) = self.at(place) {
                        self.tell(&hosted, Event::LogFlushed { number });
                    }
                }
            }
            Input::LogFailed(reason) => self.fail_log(&LogError::Failed(reason)),
            Input::Engine(event) => self.engine_event(event),
            Input::LogRead {
                partition,
                learner,
                signature,
                outcome,
            } => {
                self.tell_partition(
                    partition,
                    Event::LogRead {
                        learner,
                        signature,
                        outcome,
                    },
                );
            }
            Input::CheckpointSent {
                partition,
                learner,
                signature,
                ended,
            } => {
                if let Some(hosted) = self.find(partition) {
                    let event =
                        self.transfer_ended(&mut hosted.borrow_mut(), learner, signature, ended);
                    if let Some(event) = event {
                        self.tell(&hosted, event);
                    }
                }
            }
            Input::CheckpointReceived {
                partition,
                signature,
                decree,
                dir,
                installed,
            } => {
                if let Some(hosted) = self.find(partition) {
                    let mut out = Vec::new();
                    let received = ReceivedCheckpoint {
                        signature,
                        dir,
                        decree,
                        wanted: false,
                        ticket: None,
                        installed,
                    };
                    self.checkpoint_received(&mut hosted.borrow_mut(), received, &mut out);
                    self.deliver_all(out);
                } else {
                    remove_later(dir);
                }
            }
            Input::PeerLost(node) => self.tell_all(&Event::PeerLost { node }),
            Input::PeerRestarted(node, life) => {
                self.tell_all(&Event::PeerRestarted { node, life });
            }
            Input::ExceptionsAcknowledged(partitions) => {
                for partition in partitions {
                    self.tell_partition(partition, Event::ExceptionAcknowledged);
                }
            }
            Input::MetaUp => {
                self.meta.set_up(true);
                self.tell_all(&Event::MetaStream(MetaStream::Up));
                self.report_all();
            }
            Input::MetaDown => {
                self.meta.set_up(false);
                self.tell_all(&Event::MetaStream(MetaStream::Down));
            }
            Input::Meta(message) => self.meta_message(message),
            Input::Digest(asked) => self.digest_asked(asked),
        }
    }

    /// A message from another node's replica.
    pub(crate) fn receive(&self, from: NodeId, partition: PartitionId, message: Message) {
        // As if it had been lost on its way: whoever sends it goes on without this copy.
        if self.room.get() == Room::Out && message.brings_data() {
            return;
        }
        let hosted = match self.find(partition) {
            Some(hosted) => Some(hosted),
            None if matches!(message, Message::LearnOffer { .. }) => self.find_or_make(partition),
            None => None,
        };
        match hosted {
            Some(hosted) => self.tell(&hosted, Event::Received { from, message }),
            None => {
                if let Some(answer) = message.answer_of_nobody() {
                    self.peers.send(from, partition, answer);
                }
            }
        }
        self.delete_now();
    }

    pub(crate) fn tell_partition(&self, partition: PartitionId, event: Event) {
        if let Some(hosted) = self.find(partition) {
            self.tell(&hosted, event);
        }
    }

    pub(crate) fn tell_all(&self, event: &Event) {
        let all = self.replicas.borrow().all();
        for hosted in all {
            self.tell(&hosted, event.clone());
        }
    }

    fn engine_event(&self, event: EngineEvent) {
        match event {
            EngineEvent::Applied {
                partition,
                decree: _,
            } => {
                self.with(partition, |worker, h, out| {
                    h.storage.settle();
                    worker.retry_held(h, out);
                });
            }
            EngineEvent::Durable { partition, decree } => {
                self.with(partition, |worker, h, _| {
                    h.storage.settle();
                    // What a copy that stood here before had on disk, this one has not.
                    h.log
                        .set_durable(partition, decree.min(h.storage.durable()));
                    worker.log_change_flushed(h);
                });
            }
            EngineEvent::Fetched(fetched) => {
                self.with(fetched.partition, |worker, h, out| {
                    h.fetching.remove(&fetched.ticket);
                    h.storage.install(fetched);
                    worker.retry_held(h, out);
                });
            }
            EngineEvent::Relieve { partition } => {
                self.with(partition, |_, h, _| h.storage.relieve());
            }
            EngineEvent::Digested {
                partition,
                ticket,
                digest,
            } => {
                self.with(partition, |_, h, _| Self::digest_ready(h, ticket, digest));
            }
            EngineEvent::Checkpointed {
                partition,
                ticket,
                checkpoint,
            } => {
                let Some(hosted) = self.find(partition) else {
                    return;
                };
                let failed = self.checkpoint_made(&mut hosted.borrow_mut(), ticket, checkpoint);
                if let Some(event) = failed {
                    self.tell(&hosted, event);
                }
            }
            EngineEvent::Installed {
                partition,
                ticket,
                base,
            } => {
                let Some(hosted) = self.find(partition) else {
                    return;
                };
                let event = {
                    let mut h = hosted.borrow_mut();
                    h.storage.settle();
                    let fits = |received: &ReceivedCheckpoint| received.ticket == Some(ticket);
                    let Some(received) = h.received.take_if(|received| fits(received)) else {
                        return;
                    };
                    match base {
                        Ok(base) => {
                            // What was broken has been replaced, and the log may forget what the new one has.
                            h.broken = None;
                            h.log_change = LogChange::Rests;
                            h.log.set_durable(partition, base.decree);
                            let _ = received.installed.send(Ok(base.decree));
                            Event::CheckpointInstalled {
                                signature: received.signature,
                                decree: base.decree,
                            }
                        }
                        Err(reason) => {
                            tracing::error!(%partition, %reason, "a checkpoint was not installed");
                            let _ = received.installed.send(Err(reason));
                            return;
                        }
                    }
                };
                self.tell(&hosted, event);
            }
            EngineEvent::Compacted { .. } => {}
            EngineEvent::SyncFailed { reason } => self.fail_disk(&reason),
            EngineEvent::Failed { reason, .. } if self.room.get() != Room::Enough => {
                // The copies are whole, the disk is full: what is not in RocksDB is replayed from the log after a restart.
                self.fail(&format!(
                    "storage failed while the disk is nearly full: {reason}"
                ));
            }
            EngineEvent::Failed { partition, reason } => {
                self.with(partition, |worker, h, out| {
                    h.storage_failed(reason);
                    worker.drive(h, Event::Damaged, out);
                    // A sole copy has nobody to learn from, and keeps its role.
                    h.abandon(out);
                });
            }
        }
    }

    fn with(
        &self,
        partition: PartitionId,
        act: impl FnOnce(&Self, &mut Hosted, &mut Vec<crate::worker::reply::Delivery>),
    ) {
        if let Some(hosted) = self.find(partition) {
            let mut out = Vec::new();
            {
                let mut h = hosted.borrow_mut();
                act(self, &mut h, &mut out);
                self.seal_later(&mut h);
            }
            self.deliver_all(out);
        }
    }

    fn meta_message(&self, message: meta::ToNode) {
        match message.message {
            Some(to_node::Message::Welcome(welcome)) => {
                self.meta_lost_all.set(welcome.tell);
                if welcome.tell {
                    self.meta.knows(&self.known.borrow());
                }
            }
            None => {}
            Some(to_node::Message::Stored(stored)) => {
                for stored in stored.configurations {
                    let partition: PartitionId = stored.partition.unwrap_or_default().into();
                    match proto::configuration(stored.configuration) {
                        Ok(configuration) => {
                            self.tell_partition(
                                partition,
                                Event::ConfigurationKnown(configuration),
                            );
                        }
                        Err(error) => {
                            tracing::warn!(%partition, %error, "the meta server sent no configuration");
                        }
                    }
                }
            }
            Some(to_node::Message::Open(open)) => {
                let partition = open.partition.unwrap_or_default().into();
                match self.find_or_make(partition) {
                    Some(hosted) => self.tell(&hosted, Event::Create),
                    None => {
                        tracing::warn!(%partition, "asked to open a replica of a table that is not known");
                    }
                }
            }
            Some(to_node::Message::AddLearner(add)) => {
                let partition = add.partition.unwrap_or_default().into();
                let (ballot, node) = (Ballot(add.ballot), NodeId(add.node));
                self.tell_partition(partition, Event::AddLearner { ballot, node });
            }
            Some(to_node::Message::RemoveSecondary(remove)) => {
                let partition = remove.partition.unwrap_or_default().into();
                let (ballot, node) = (Ballot(remove.ballot), NodeId(remove.node));
                self.tell_partition(partition, Event::RemoveSecondary { ballot, node });
            }
            Some(to_node::Message::HandOver(hand_over)) => {
                let partition = hand_over.partition.unwrap_or_default().into();
                let known = self
                    .find(partition)
                    .map(|hosted| hosted.borrow().core.ballot());
                // What was decided for an earlier configuration may make no sense any more.
                if known == Some(Ballot(hand_over.ballot)) {
                    let to = NodeId(hand_over.node);
                    let then = Afterwards::Stay;
                    self.tell_partition(partition, Event::HandOver { to, then });
                }
            }
            Some(to_node::Message::Delete(delete)) => self.delete_asked(delete),
            Some(to_node::Message::Cluster(cluster)) => {
                let lost = self.meta_lost_all.get();
                let changed = self.known.borrow_mut().learn(cluster, lost);
                if changed {
                    self.keep_known();
                    self.peers.addresses(&self.known.borrow());
                    self.renew_rules();
                }
                self.recover_orphans();
            }
        }
    }

    fn keep_known(&self) {
        if let Err(error) = self.directory.keep(&self.known.borrow()) {
            tracing::warn!(%error, "what is known of the cluster cannot be kept for the next start");
        }
    }

    fn delete_asked(&self, delete: meta::Delete) {
        let partition: PartitionId = delete.partition.unwrap_or_default().into();
        let Some(hosted) = self.find(partition) else {
            self.delete_orphan(partition);
            return self.meta.deleted(partition);
        };
        let ballot = Ballot(delete.ballot);
        let deletion = {
            let h = hosted.borrow();
            match h.core.configuration() {
                _ if delete.table_gone => Some(Deletion::Dropped(ballot)),
                // The stored configuration at that ballot must be known here to see that it excludes this node.
                Some(known) if known.ballot >= ballot => Some(Deletion::Excluded(known.clone())),
                _ => None,
            }
        };
        match deletion {
            Some(deletion) => self.tell(&hosted, Event::Delete(deletion)),
            None => {
                tracing::debug!(%partition, "deletion refused: the configuration that excludes this node is not known yet");
            }
        }
    }

    fn report_all(&self) {
        let all = self.replicas.borrow().all();
        for hosted in &all {
            let mut h = hosted.borrow_mut();
            h.reported = Some(h.standing());
        }
        let borrowed: Vec<_> = all.iter().map(|hosted| hosted.borrow()).collect();
        self.meta
            .report_all(borrowed.iter().map(|h| &**h), &self.disk_use);
    }

    /// Has the log's laggards flushed, largest first, when it asks for it.
    pub(crate) fn relieve_logs(&self) {
        for log in [&self.logs.sync, &self.logs.buffered] {
            for laggard in log.laggards().into_iter().take(4) {
                if let Some(hosted) = self.find(laggard.partition) {
                    hosted.borrow_mut().storage.flush();
                }
            }
        }
    }

    pub(crate) fn hosted_all(&self) -> Vec<Rc<RefCell<Hosted>>> {
        self.replicas.borrow().all()
    }
}
