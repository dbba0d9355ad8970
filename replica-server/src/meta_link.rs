//! The stream to the meta leader: reports, proposals and beats go out; configurations, tables and requests come in.
//!
//! Without it everything goes on but reconfiguration. What could not be sent is sent again by who wants it: replicas repeat their
//! proposals, and a new stream begins with a report of everything.

use crate::cluster::Known;
use crate::disk_use::DiskUse;
use crate::inbox::Input;
use crate::metrics::Report;
use crate::peers::{Introduction, channel};
use crate::stream_queue::{Batch, Queue};
use crate::worker::hosted::Hosted;
use proto::NotLeading;
use proto::common::NodeAddress;
use proto::meta::nodes_client::NodesClient;
use proto::meta::{self, FromNode, from_node};
use replication::RoleKind;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tulpar_client::MetaServers;
use types::{Configuration, PartitionId};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long a meta server may take to take the node in before the next is asked.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the leader is asked whether it lives, and how long it may take to say so: it may be stopped, and another lead.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
const BEAT: Duration = Duration::from_secs(1);
/// Replicas in one report.
const REPORTED_AT_ONCE: usize = 1000;
/// The meta server's messages to a node.
const LARGEST: usize = 16 << 20;

/// What goes to the meta leader, one message at a time or gathered.
pub(crate) enum Said {
    Whole(FromNode),
    Proposal(meta::Proposal),
    Changed(meta::ReplicaReport),
}

/// Messages as the stream takes them: proposals and changes that gathered are one message each.
pub(crate) struct Gathered(Vec<FromNode>);

impl Batch for Gathered {
    type Item = Said;

    fn size(_: &Said) -> usize {
        64
    }

    fn of(said: Vec<Said>) -> Self {
        let mut messages = Vec::new();
        for said in said {
            let last = messages
                .last_mut()
                .and_then(|last: &mut FromNode| last.message.as_mut());
            match (said, last) {
                (Said::Whole(message), _) => messages.push(message),
                (Said::Proposal(proposal), Some(from_node::Message::Proposals(gathered)))
                    if gathered.proposals.len() < REPORTED_AT_ONCE =>
                {
                    gathered.proposals.push(proposal);
                }
                (Said::Proposal(proposal), _) => {
                    messages.push(message(from_node::Message::Proposals(meta::Proposals {
                        proposals: vec![proposal],
                    })));
                }
                (Said::Changed(report), Some(from_node::Message::Report(gathered)))
                    if !gathered.complete && gathered.replicas.len() < REPORTED_AT_ONCE =>
                {
                    gathered.replicas.push(report);
                }
                (Said::Changed(report), _) => {
                    messages.push(message(from_node::Message::Report(meta::Report {
                        replicas: vec![report],
                        complete: false,
                    })));
                }
            }
        }
        Self(messages)
    }
}

fn message(message: from_node::Message) -> FromNode {
    FromNode {
        message: Some(message),
    }
}

/// The worker's end.
#[derive(Clone)]
pub(crate) struct MetaLink(Rc<Link>);

struct Link {
    queue: RefCell<Option<Queue<Gathered>>>,
    up: Cell<bool>,
    joined: Arc<AtomicBool>,
}

impl MetaLink {
    pub(crate) fn new() -> Self {
        Self(Rc::new(Link {
            queue: RefCell::new(None),
            up: Cell::new(false),
            joined: Arc::default(),
        }))
    }

    /// Whether a stream to the meta leader is up and its first words were taken in (rule C4).
    pub(crate) fn is_up(&self) -> bool {
        self.0.up.get()
    }

    pub(crate) fn set_up(&self, up: bool) {
        self.0.up.set(up);
        if up {
            self.0.joined.store(true, Ordering::Relaxed);
        }
    }

    /// Whether that was ever so since the start, for other threads to see.
    pub(crate) fn joined(&self) -> Arc<AtomicBool> {
        self.0.joined.clone()
    }

    fn say(&self, said: Said) {
        if let Some(queue) = &*self.0.queue.borrow() {
            queue.push(said);
        }
    }

    pub(crate) fn propose(&self, partition: PartitionId, configuration: &Configuration) {
        self.say(Said::Proposal(meta::Proposal {
            partition: Some(partition.into()),
            configuration: Some(configuration.into()),
        }));
    }

    /// Tells what this node knows of tables and nodes, for a meta leader that has lost it.
    pub(crate) fn knows(&self, known: &Known) {
        self.say(Said::Whole(message(from_node::Message::Knows(
            known.tell(),
        ))));
    }

    pub(crate) fn opened(&self, partition: PartitionId) {
        let opened = meta::Opened {
            partition: Some(partition.into()),
        };
        self.say(Said::Whole(message(from_node::Message::Opened(opened))));
    }

    pub(crate) fn deleted(&self, partition: PartitionId) {
        let deleted = meta::Deleted {
            partition: Some(partition.into()),
        };
        self.say(Said::Whole(message(from_node::Message::Deleted(deleted))));
    }

    pub(crate) fn report(&self, h: &Hosted, disk_use: &DiskUse) {
        self.say(Said::Changed(report(h, disk_use)));
    }

    /// Reports every replica, in batches; the last says that it is.
    pub(crate) fn report_all<'a>(&self, all: impl Iterator<Item = &'a Hosted>, disk_use: &DiskUse) {
        let mut reports: Vec<_> = all.map(|h| report(h, disk_use)).collect();
        loop {
            let rest = reports.split_off(reports.len().min(REPORTED_AT_ONCE));
            let complete = rest.is_empty();
            let whole = meta::Report {
                replicas: std::mem::replace(&mut reports, rest),
                complete,
            };
            self.say(Said::Whole(message(from_node::Message::Report(whole))));
            if complete {
                return;
            }
        }
    }
}

fn report(h: &Hosted, disk_use: &DiskUse) -> meta::ReplicaReport {
    let survey = h.core.survey();
    meta::ReplicaReport {
        partition: Some(h.id.into()),
        ballot: h.core.ballot().0,
        epoch: survey.epoch,
        prepared: survey.prepared.0,
        last_ballot: survey.last_ballot.0,
        committed: survey.committed.0,
        member: h.core.is_member() && h.broken.is_none(),
        unsynced: survey.unsynced,
        ready: survey.ready && h.broken.is_none(),
        signature: Some(survey.signature.into()),
        learning: survey.role == RoleKind::Learner,
        configuration: survey.configuration.as_ref().map(Into::into),
        damaged: h.is_damaged(),
        diverged: h.is_diverged(),
        bytes: disk_use.tell(h.id),
    }
}

/// What the link needs to know of its node.
pub(crate) struct About {
    pub(crate) introduction: Introduction,
    pub(crate) address: NodeAddress,
    pub(crate) metas: MetaServers,
    /// How many bytes the node's data take.
    pub(crate) disk_bytes: Box<dyn Fn() -> u64>,
    /// What was done since it was asked last.
    pub(crate) load: RefCell<Report>,
}

/// Keeps a stream to whichever meta server leads, for ever.
pub(crate) async fn run(link: MetaLink, about: About, inbox: mpsc::UnboundedSender<Input>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut round = about.metas.round().await;
        while let Some(meta) = round.next_address() {
            let met = converse(&link, &about, &meta, &inbox).await;
            link.0.queue.borrow_mut().take();
            match met {
                Met::Leader => {
                    round.answered(&meta);
                    pause = FIRST_PAUSE;
                    tracing::warn!(meta, "the stream to the meta server ended");
                    let _ = inbox.send(Input::MetaDown);
                    break;
                }
                Met::Refused(said) => round.refused(&meta, said),
            }
        }
        // All nodes lose their leader at the same moment; they need not all ask at the same moment.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whom the node had a stream to.
enum Met {
    /// The leader; the stream has ended.
    Leader,
    /// One that does not take the node in, and may have said who does.
    Refused(Option<NotLeading>),
}

async fn converse(
    link: &MetaLink,
    about: &About,
    meta: &str,
    inbox: &mpsc::UnboundedSender<Input>,
) -> Met {
    let Ok(endpoint) = channel(meta) else {
        tracing::error!(meta, "this is no address of a meta server");
        return Met::Refused(None);
    };
    let endpoint = endpoint
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    let Ok(connection) = endpoint.connect().await else {
        return Met::Refused(None);
    };
    let (queue, messages) = Queue::<Gathered>::new();
    let hello = message(from_node::Message::Hello(meta::Hello {
        protocol: proto::PROTOCOL,
        address: Some(about.address.clone()),
        incarnation: about.introduction.incarnation.0,
        cluster_secret: about.introduction.cluster_secret.clone(),
    }));
    let flat = futures::StreamExt::flat_map(messages, |gathered| futures::stream::iter(gathered.0));
    let stream = futures::StreamExt::chain(futures::stream::iter([hello]), flat);
    let mut client = NodesClient::new(connection)
        .max_decoding_message_size(LARGEST)
        .max_encoding_message_size(LARGEST);
    let mut answers = match tokio::time::timeout(JOIN_TIMEOUT, client.join(stream)).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => {
            tracing::debug!(meta, %status, "the meta server does not take this node");
            return Met::Refused(NotLeading::from_status(&status));
        }
        Err(_) => {
            tracing::debug!(meta, "the meta server does not answer this node");
            return Met::Refused(None);
        }
    };
    *link.0.queue.borrow_mut() = Some(queue.clone());
    let mut up = false;
    let mut beats = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            answer = answers.message() => match answer {
                Ok(Some(answer)) => {
                    // Reports come after the first picture of the cluster, so that the tables of all replicas are known.
                    let first_picture = !up && matches!(answer.message, Some(meta::to_node::Message::Cluster(_)));
                    let _ = inbox.send(Input::Meta(answer));
                    if first_picture {
                        up = true;
                        tracing::info!(meta, "joined the cluster");
                        let _ = inbox.send(Input::MetaUp);
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    tracing::debug!(meta, %status, "the meta server ended the stream");
                    break;
                }
            },
            _ = beats.tick() => {
                let beat = meta::Beat {
                    disk_bytes: (about.disk_bytes)(),
                    load: Some(about.load.borrow_mut().next()),
                };
                queue.push(Said::Whole(message(from_node::Message::Beat(beat))));
            }
        }
    }
    queue.close();
    if up { Met::Leader } else { Met::Refused(None) }
}
