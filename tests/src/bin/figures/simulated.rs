//! Replica servers as far as a meta leader sees them, a thousand in one process: they join, report, open what they are asked to, propose
//! when another one dies, and take in learners at once. They have no data.

use proto::common::{Configuration, LearnSignature, Member, NodeAddress, PartitionId};
use proto::meta::nodes_client::NodesClient;
use proto::meta::{
    Beat, Deleted, FromNode, Hello, Opened, Proposal, Proposals, ReplicaReport, Report, ToNode,
    from_node, to_node,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tests::poll::eventually;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;
use tulpar_client::MetaServers;

const BEAT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);
/// Replicas in one report, proposals in one message.
const AT_ONCE: usize = 1000;

type Partition = (u32, u32);

/// What one node knows.
#[derive(Default)]
struct Disk {
    replicas: BTreeMap<Partition, Option<Configuration>>,
    say: Option<mpsc::UnboundedSender<FromNode>>,
    dead: bool,
}

type Shared = Arc<Mutex<Disk>>;

fn locked(disk: &Shared) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All nodes.
pub(crate) struct Nodes {
    runtime: Runtime,
    disks: Vec<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What all nodes together know.
pub(crate) struct Census {
    /// Nodes with a stream.
    pub(crate) joined: u32,
    /// Members of configurations, as the primaries know them, the dead left out.
    pub(crate) members: u64,
    of_node: BTreeMap<u64, u64>,
}

impl Census {
    /// The members, if no configuration has this node any more.
    pub(crate) fn without(&self, index: usize) -> u64 {
        let still = self.of_node.get(&number(index)).copied().unwrap_or(0);
        if still == 0 { self.members } else { 0 }
    }
}

fn number(index: usize) -> u64 {
    index as u64 + 1
}

impl Nodes {
    pub(crate) fn start(metas: &[String], nodes: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let disks: Vec<Shared> = (0..nodes).map(|_| Shared::default()).collect();
        let tasks = disks
            .iter()
            .enumerate()
            .map(|(index, disk)| {
                let metas = MetaServers::new(metas.iter().cloned());
                runtime.spawn(live(number(index), metas, Arc::clone(disk)))
            })
            .collect();
        Self {
            runtime,
            disks,
            tasks,
        }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Counts everything.
    fn census(&self) -> Census {
        let mut census = Census {
            joined: 0,
            members: 0,
            of_node: BTreeMap::new(),
        };
        for (index, disk) in self.disks.iter().enumerate() {
            let disk = locked(disk);
            if disk.dead {
                continue;
            }
            census.joined += u32::from(disk.say.is_some());
            for configuration in disk.replicas.values().flatten() {
                if primary(configuration) == number(index) {
                    for member in members(configuration) {
                        census.members += 1;
                        *census.of_node.entry(member).or_default() += 1;
                    }
                }
            }
        }
        census
    }

    /// Waits until what is wanted is so.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Census) -> bool) {
        eventually(what, || {
            let census = self.census();
            wanted(&census)
                .then_some(())
                .ok_or_else(|| format!("{} joined, {} members", census.joined, census.members))
        });
    }

    /// A node dies, and the others notice: each partition's first living member proposes to go on without it. Returns how many copies it had.
    pub(crate) fn kill(&self, index: usize) -> u64 {
        let dead = number(index);
        self.tasks[index].abort();
        let lost = {
            let mut disk = locked(&self.disks[index]);
            disk.dead = true;
            disk.say = None;
            disk.replicas.len() as u64
        };
        for (index, disk) in self.disks.iter().enumerate() {
            let disk = locked(disk);
            let proposals: Vec<Proposal> = disk
                .replicas
                .iter()
                .filter_map(|(&partition, known)| {
                    let known = known.as_ref()?;
                    let living = members(known).find(|member| *member != dead);
                    let mine = living == Some(number(index))
                        && members(known).any(|member| member == dead);
                    mine.then(|| proposal(partition, without(known, dead)))
                })
                .collect();
            propose(&disk, &proposals);
        }
        lost
    }
}

fn primary(configuration: &Configuration) -> u64 {
    configuration.primary.map_or(0, |member| member.node)
}

fn members(configuration: &Configuration) -> impl Iterator<Item = u64> + '_ {
    configuration
        .primary
        .iter()
        .chain(&configuration.secondaries)
        .map(|member| member.node)
}

fn without(configuration: &Configuration, dead: u64) -> Configuration {
    let mut all = configuration
        .primary
        .iter()
        .chain(&configuration.secondaries)
        .filter(|member| member.node != dead)
        .copied();
    Configuration {
        ballot: configuration.ballot + 1,
        epoch: configuration.epoch,
        primary: all.next(),
        secondaries: all.collect(),
    }
}

fn id((table, index): Partition) -> PartitionId {
    PartitionId { table, index }
}

fn proposal(partition: Partition, configuration: Configuration) -> Proposal {
    Proposal {
        partition: Some(id(partition)),
        configuration: Some(configuration),
    }
}

fn message(message: from_node::Message) -> FromNode {
    FromNode {
        message: Some(message),
    }
}

/// Proposes a changed configuration, if the one that is known has this ballot.
fn change(disk: &Disk, partition: Partition, ballot: u64, apply: impl FnOnce(&mut Configuration)) {
    let known = disk.replicas.get(&partition).and_then(Option::as_ref);
    if let Some(known) = known.filter(|known| known.ballot == ballot) {
        let mut next = known.clone();
        next.ballot += 1;
        apply(&mut next);
        propose(disk, &[proposal(partition, next)]);
    }
}

fn propose(disk: &Disk, proposals: &[Proposal]) {
    let Some(say) = &disk.say else {
        return;
    };
    for proposals in proposals.chunks(AT_ONCE) {
        let proposals = proposals.to_vec();
        // A stream that ended is noticed where it is read.
        let _ = say.send(message(from_node::Message::Proposals(Proposals {
            proposals,
        })));
    }
}

/// Keeps a stream to whoever leads.
async fn live(node: u64, metas: MetaServers, disk: Shared) {
    loop {
        let mut round = metas.round().await;
        while let Some(address) = round.next_address() {
            match converse(node, &address, &disk).await {
                Ok(()) => round.answered(&address),
                Err(status) => round.refused(&address, proto::NotLeading::from_status(&status)),
            }
            locked(&disk).say = None;
        }
        tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}

async fn converse(node: u64, address: &str, disk: &Shared) -> Result<(), tonic::Status> {
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| tonic::Status::invalid_argument(error.to_string()))?
        .connect()
        .await
        .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let (say, said) = mpsc::unbounded_channel();
    let hello = Hello {
        protocol: proto::PROTOCOL,
        address: Some(NodeAddress {
            node,
            name: format!("node-{node}"),
            grpc: format!("node-{node}.simulated:34801"),
            redis: String::new(),
            zone: String::new(),
        }),
        incarnation: 1,
        cluster_secret: String::new(),
    };
    let _ = say.send(message(from_node::Message::Hello(hello)));
    let mut told = NodesClient::new(channel)
        .max_decoding_message_size(proto::MAX_MESSAGE)
        .join(UnboundedReceiverStream::new(said))
        .await?
        .into_inner();
    report(disk, &say);
    locked(disk).say = Some(say.clone());
    let mut beats = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            next = told.next() => match next {
                Some(Ok(next)) => obey(node, next, disk, &say),
                Some(Err(_)) | None => return Ok(()),
            },
            _ = beats.tick() => {
                let _ = say.send(message(from_node::Message::Beat(Beat::default())));
            }
        }
    }
}

fn report(disk: &Shared, say: &mpsc::UnboundedSender<FromNode>) {
    let reports: Vec<ReplicaReport> = locked(disk)
        .replicas
        .iter()
        .map(|(&partition, known)| ReplicaReport {
            partition: Some(id(partition)),
            ballot: known.as_ref().map_or(0, |known| known.ballot),
            member: known.is_some(),
            configuration: known.clone(),
            ..ReplicaReport::default()
        })
        .collect();
    let batches = reports.chunks(AT_ONCE).map(<[ReplicaReport]>::to_vec);
    for replicas in batches {
        let some = Report {
            replicas,
            complete: false,
        };
        let _ = say.send(message(from_node::Message::Report(some)));
    }
    let end = Report {
        replicas: Vec::new(),
        complete: true,
    };
    let _ = say.send(message(from_node::Message::Report(end)));
}

fn obey(node: u64, told: ToNode, disk: &Shared, say: &mpsc::UnboundedSender<FromNode>) {
    let answer = |answer| drop(say.send(message(answer)));
    let key = |id: Option<PartitionId>| id.map_or((0, 0), |id| (id.table, id.index));
    match told.message {
        None
        | Some(
            to_node::Message::Welcome(_)
            | to_node::Message::Cluster(_)
            | to_node::Message::Operators(_),
        ) => {}
        Some(to_node::Message::Open(open)) => {
            locked(disk)
                .replicas
                .entry(key(open.partition))
                .or_default();
            answer(from_node::Message::Opened(Opened {
                partition: open.partition,
            }));
        }
        Some(to_node::Message::Stored(stored)) => {
            let mut disk = locked(disk);
            for told in stored.configurations {
                let (partition, Some(configuration)) = (key(told.partition), told.configuration)
                else {
                    continue;
                };
                if members(&configuration).any(|member| member == node) {
                    disk.replicas.insert(partition, Some(configuration));
                } else {
                    disk.replicas.remove(&partition);
                }
            }
        }
        Some(to_node::Message::AddLearner(learner)) => {
            let disk = locked(disk);
            change(&disk, key(learner.partition), learner.ballot, |with| {
                with.secondaries.push(Member {
                    node: learner.node,
                    signature: Some(LearnSignature {
                        ballot: learner.ballot,
                        incarnation: 1,
                        counter: 1,
                    }),
                });
            });
        }
        Some(to_node::Message::RemoveSecondary(remove)) => {
            let disk = locked(disk);
            change(&disk, key(remove.partition), remove.ballot, |with| {
                with.secondaries.retain(|member| member.node != remove.node);
            });
        }
        Some(to_node::Message::HandOver(hand_over)) => {
            let disk = locked(disk);
            change(&disk, key(hand_over.partition), hand_over.ballot, |with| {
                let mut secondaries = with.secondaries.iter_mut();
                let next = secondaries.find(|member| member.node == hand_over.node);
                if let (Some(next), Some(primary)) = (next, &mut with.primary) {
                    std::mem::swap(next, primary);
                }
            });
        }
        Some(to_node::Message::Delete(delete)) => {
            locked(disk).replicas.remove(&key(delete.partition));
            answer(from_node::Message::Deleted(Deleted {
                partition: delete.partition,
            }));
        }
    }
}
