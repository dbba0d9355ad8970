//! Replica servers as far as a meta leader sees them, a thousand in one process: they join, report, open what they are asked to, propose
//! when another one dies, and take in learners at once. They have no data. What they do when the leader is gone is what real ones do.

use crate::ledger::{Ledger, Partition, members};
use crate::outstanding::{self, Shared, locked};
use proto::common::{Configuration, LearnSignature, Member, NodeAddress, PartitionId};
use proto::meta::nodes_client::NodesClient;
use proto::meta::{
    Beat, Deleted, FromNode, Hello, Opened, ReplicaReport, Report, ToNode, from_node, to_node,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tests::poll::PATIENCE;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;
use tulpar_client::MetaServers;

// As `replica-server` has them.
const BEAT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Replicas in one report.
const AT_ONCE: usize = 1000;

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(5);

type SharedLedger = Arc<Mutex<Ledger>>;

/// What a node knows of all.
#[derive(Clone)]
struct World {
    ledger: SharedLedger,
    disks: Arc<Mutex<Vec<Shared>>>,
}

impl World {
    fn disk(&self, node: u64) -> Option<Shared> {
        let disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        disks.get(node as usize - 1).cloned()
    }
}

/// All nodes.
pub(crate) struct Nodes {
    runtime: Runtime,
    metas: MetaServers,
    world: World,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

fn number(index: usize) -> u64 {
    index as u64 + 1
}

fn open(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Nodes {
    /// None yet; each partition is to have so many members.
    pub(crate) fn new(metas: &[String], wanted: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let ledger = Ledger::new(wanted);
        Self {
            runtime,
            metas: MetaServers::new(metas.iter().cloned()),
            world: World {
                ledger: Arc::new(Mutex::new(ledger)),
                disks: Arc::default(),
            },
            tasks: Vec::new(),
        }
    }

    /// There are so many from now on.
    pub(crate) fn grow(&mut self, nodes: u32) {
        for index in self.tasks.len()..nodes as usize {
            let disk = Shared::default();
            let mut disks = self
                .world
                .disks
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            disks.push(Arc::clone(&disk));
            drop(disks);
            let metas = MetaServers::new(self.metas.names().iter().cloned());
            let life = live(number(index), metas, disk, self.world.clone());
            self.tasks.push(self.runtime.spawn(life));
        }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// What is known of the cluster now.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        open(&self.world.ledger)
    }

    /// Waits until what is wanted is so; gives up when nothing has changed at very many looks, which a machine that was stopped in between
    /// does not make. Returns how long it took.
    pub(crate) fn wait(&self, what: &str, mut wanted: impl FnMut(&Ledger) -> bool) -> Duration {
        let begun = Instant::now();
        let looks = PATIENCE.as_millis() / LOOK.as_millis();
        let (mut last, mut left) = ((0, 0), looks);
        loop {
            let ledger = self.ledger();
            if wanted(&ledger) {
                return begun.elapsed();
            }
            let now = (ledger.seen, ledger.joined);
            left = if now == last { left - 1 } else { looks };
            last = now;
            let (joined, members, short) = (ledger.joined, ledger.members, ledger.short);
            drop(ledger);
            assert!(
                left > 0,
                "waited in vain until {what}: {joined} joined, {members} members, {short} short"
            );
            std::thread::sleep(LOOK);
        }
    }

    /// A node dies, and the others notice: each partition's first living member proposes to go on without it. Returns how many copies it had.
    pub(crate) fn kill(&self, index: usize) -> u64 {
        let dead = number(index);
        self.tasks[index].abort();
        let disk = self.world.disk(dead).expect("it was started");
        let joined = locked(&disk).hang_up();
        let held: Vec<Partition> = locked(&disk).replicas.keys().copied().collect();
        let mut ledger = self.ledger();
        ledger.joined -= u32::from(joined);
        ledger.dead.insert(dead);
        let mut proposals: BTreeMap<u64, Vec<(Partition, Configuration)>> = BTreeMap::new();
        for partition in held {
            let Some(known) = ledger.configuration(partition) else {
                continue;
            };
            let mut living = members(known).filter(|member| !ledger.dead.contains(member));
            if let Some(first) = living
                .next()
                .filter(|_| members(known).any(|one| one == dead))
            {
                let next = without(known, dead, first);
                proposals.entry(first).or_default().push((partition, next));
            }
        }
        let lost = ledger.of(dead);
        drop(ledger);
        for (node, proposals) in proposals {
            if let Some(disk) = self.world.disk(node) {
                locked(&disk).propose(proposals);
            }
        }
        lost
    }
}

/// What the first of the others makes of a configuration when a member is dead.
fn without(configuration: &Configuration, dead: u64, first: u64) -> Configuration {
    let all = configuration
        .primary
        .iter()
        .chain(&configuration.secondaries);
    let mut others: Vec<Member> = all.filter(|member| member.node != dead).copied().collect();
    others.sort_by_key(|member| member.node != first);
    let mut others = others.into_iter();
    Configuration {
        ballot: configuration.ballot + 1,
        epoch: configuration.epoch,
        primary: others.next(),
        secondaries: others.collect(),
    }
}

fn id((table, index): Partition) -> PartitionId {
    PartitionId { table, index }
}

/// Keeps a stream to whoever leads.
async fn live(node: u64, metas: MetaServers, disk: Shared, world: World) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut round = metas.round().await;
        while let Some(address) = round.next_address() {
            let met = converse(node, &address, &disk, &world).await;
            if locked(&disk).hang_up() {
                open(&world.ledger).joined -= 1;
                pause = FIRST_PAUSE;
            }
            match met {
                Ok(()) => {
                    round.answered(&address);
                    break;
                }
                Err(status) => round.refused(&address, proto::NotLeading::from_status(&status)),
            }
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn converse(
    node: u64,
    address: &str,
    disk: &Shared,
    world: &World,
) -> Result<(), tonic::Status> {
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
            redis: format!("node-{node}.simulated:6380"),
            zone: String::new(),
        }),
        incarnation: 1,
        cluster_secret: String::new(),
    };
    let _ = say.send(outstanding::message(from_node::Message::Hello(hello)));
    let mut client = NodesClient::new(channel).max_decoding_message_size(proto::MAX_MESSAGE);
    let joining = client.join(UnboundedReceiverStream::new(said));
    let mut told = tokio::time::timeout(JOIN_TIMEOUT, joining)
        .await
        .map_err(|_| tonic::Status::deadline_exceeded("it does not answer"))??
        .into_inner();
    let mut beats = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            next = told.next() => match next {
                Some(Ok(next)) => {
                    // Reports come after the first picture of the cluster.
                    let picture = matches!(next.message, Some(to_node::Message::Cluster(_)));
                    if picture && locked(disk).is_mute() {
                        report(disk, &say);
                        locked(disk).take_up(say.clone());
                        open(&world.ledger).joined += 1;
                    }
                    obey(node, next, disk, world);
                }
                Some(Err(_)) | None => return Ok(()),
            },
            _ = beats.tick() => {
                let _ = say.send(outstanding::message(from_node::Message::Beat(Beat::default())));
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
            ready: true,
            configuration: known.clone(),
            ..ReplicaReport::default()
        })
        .collect();
    let mut batches: Vec<Report> = reports
        .chunks(AT_ONCE)
        .map(|replicas| Report {
            replicas: replicas.to_vec(),
            complete: false,
        })
        .collect();
    if batches.is_empty() {
        batches.push(Report::default());
    }
    if let Some(last) = batches.last_mut() {
        last.complete = true;
    }
    for batch in batches {
        let _ = say.send(outstanding::message(from_node::Message::Report(batch)));
    }
}

fn obey(node: u64, told: ToNode, disk: &Shared, world: &World) {
    let key = |id: Option<PartitionId>| id.map_or((0, 0), |id| (id.table, id.index));
    let mut disk = locked(disk);
    match told.message {
        None | Some(to_node::Message::Welcome(_) | to_node::Message::Cluster(_)) => {}
        Some(to_node::Message::Open(open)) => {
            disk.replicas.entry(key(open.partition)).or_default();
            disk.say(from_node::Message::Opened(Opened {
                partition: open.partition,
            }));
        }
        Some(to_node::Message::Stored(stored)) => {
            let mut ledger = open(&world.ledger);
            for told in stored.configurations {
                let (partition, Some(configuration)) = (key(told.partition), told.configuration)
                else {
                    continue;
                };
                ledger.learn(partition, &configuration);
                disk.install(node, partition, configuration);
            }
        }
        Some(to_node::Message::AddLearner(learner)) => {
            disk.change(key(learner.partition), learner.ballot, |with| {
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
            disk.change(key(remove.partition), remove.ballot, |with| {
                with.secondaries.retain(|member| member.node != remove.node);
            });
        }
        Some(to_node::Message::HandOver(hand_over)) => {
            // The successor proposes.
            drop(disk);
            let Some(successor) = world.disk(hand_over.node) else {
                return;
            };
            locked(&successor).change(key(hand_over.partition), hand_over.ballot, |with| {
                let mut secondaries = with.secondaries.iter_mut();
                let next = secondaries.find(|member| member.node == hand_over.node);
                if let (Some(next), Some(primary)) = (next, &mut with.primary) {
                    std::mem::swap(next, primary);
                }
            });
        }
        Some(to_node::Message::Delete(delete)) => {
            disk.replicas.remove(&key(delete.partition));
            disk.say(from_node::Message::Deleted(Deleted {
                partition: delete.partition,
            }));
        }
    }
}
