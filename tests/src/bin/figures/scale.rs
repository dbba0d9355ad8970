//! A meta leader with many nodes and partitions: the real server on a real ensemble, and nodes that are simulated.
//!
//! Everything shares one machine; so each line says, too, what processor time the leader, the other meta server, ZooKeeper and the nodes took.

use crate::report::line;
use crate::simulated::Nodes;
use proto::meta::CreateTableRequest;
use proto::meta::admin_client::AdminClient;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tests::ensemble::Ensemble;
use tests::fleet::network::Network;
use tests::fleet::{Role, Server};
use tests::poll::eventually;
use tests::{metas, process};

/// Partitions of one table.
const TABLE: u32 = 10_000;
const COPIES: u32 = 3;
/// How long the idle leader is watched.
const IDLE: Duration = Duration::from_secs(20);
/// Creating the largest tables takes long.
const CALL: Duration = Duration::from_mins(10);

/// The servers.
struct Stage {
    _directory: tempfile::TempDir,
    _network: Network,
    ensemble: Ensemble,
    servers: Vec<Server>,
    addresses: Vec<String>,
}

/// Processor time so far.
struct Used(Vec<(&'static str, Duration)>);

impl Stage {
    fn set(settings: &str) -> Self {
        let ensemble = Ensemble::start(3);
        let directory = tempfile::tempdir().expect("a directory for the meta servers");
        for folder in ["config", "logs"] {
            std::fs::create_dir(directory.path().join(folder)).expect("a new directory");
        }
        let mut network = Network::loopback();
        let servers: Vec<Server> = (1..=2)
            .map(|number| {
                let name = format!("meta-{number}");
                let mut server = Server::new(name, Role::Meta, network.host(), directory.path());
                let listen = server.grpc.expect("a meta server has a port").own;
                let text = format!(
                    "[meta]\nlisten = \"{listen}\"\nhttp = \"\"\nzookeeper = \"{}/tulpar/scale\"\n{settings}",
                    ensemble.servers()
                );
                server.configure(&text).expect("a writable directory");
                server.start().expect("a meta server starts");
                server
            })
            .collect();
        let addresses = servers
            .iter()
            .filter_map(|server| Some(server.grpc?.own.to_string()))
            .collect();
        Self {
            _directory: directory,
            _network: network,
            ensemble,
            servers,
            addresses,
        }
    }

    /// Which server leads, once one does.
    fn leader(&self) -> usize {
        let leader = eventually("a meta server leads", || metas::leader(&self.addresses));
        let found = self.addresses.iter().position(|address| *address == leader);
        found.expect("it is one of them")
    }

    fn used(&self) -> Used {
        let of = |server: &Server| server.pid().map(process::used).unwrap_or_default();
        let ensemble = self.ensemble.processes().into_iter().map(process::used);
        Used(vec![
            ("meta-1", of(&self.servers[0])),
            ("meta-2", of(&self.servers[1])),
            ("ZooKeeper", ensemble.sum()),
            ("nodes", process::used(std::process::id())),
        ])
    }

    /// One line, with the processor time since then.
    fn line(&self, what: &str, result: &str, since: &Used) {
        let mut text = result.to_owned();
        for ((name, before), (_, now)) in since.0.iter().zip(self.used().0) {
            let between = if text.contains("; CPU ") {
                ", "
            } else {
                "; CPU "
            };
            let took = now.saturating_sub(*before).as_secs_f64();
            // Writing to a text does not fail.
            let _ = write!(text, "{between}{name} ({took:.2} s)");
        }
        line(what, &text);
    }
}

pub(crate) fn run(nodes: u32, partitions: u32, session: &str) -> bool {
    let mut stage = Stage::set(&format!(
        "zookeeper_session_timeout = \"{session}\"\nrepair_delay = \"1s\"\n"
    ));
    let what = format!("{nodes} nodes, {partitions} partitions of {COPIES} copies");
    let copies = u64::from(partitions * COPIES);
    let mut simulated = Nodes::new(&stage.addresses, COPIES as usize);
    let first = stage.leader();
    let used = stage.used();
    simulated.grow(nodes);
    let joined = simulated.wait("all nodes have joined", |ledger| ledger.joined == nodes);
    stage.line(
        &format!("{what}: all nodes join at once, for the first time"),
        &format!("{joined:.1?}"),
        &used,
    );
    let used = stage.used();
    let moment = Instant::now();
    create(&simulated, &stage.addresses[first], partitions);
    simulated.wait("all copies are there", |ledger| ledger.members == copies);
    stage.line(
        &format!("{what}: creating the tables"),
        &format!("{:.1?}", moment.elapsed()),
        &used,
    );
    idle(&stage, first, &what);
    dead_node(&stage, &simulated, &what, copies);
    killed(&mut stage, first, &simulated, &what, copies, session);
    resigned(&mut stage, first, &simulated, &what);
    let ledger = simulated.ledger();
    println!("{} configurations were seen", ledger.seen);
    true
}

fn idle(stage: &Stage, leader: usize, what: &str) {
    let pid = stage.servers[leader].pid().expect("it runs");
    let used = stage.used();
    let before = process::used(pid);
    std::thread::sleep(IDLE);
    let share = process::used(pid).saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64();
    let memory = process::resident(pid) >> 20;
    stage.line(
        &format!("{what}: the idle leader, {} s", IDLE.as_secs()),
        &format!("{:.1} % of a core, {memory} MiB", share * 100.0),
        &used,
    );
}

fn dead_node(stage: &Stage, simulated: &Nodes, what: &str, copies: u64) {
    let used = stage.used();
    let moment = Instant::now();
    let lost = simulated.kill(0);
    simulated.wait("what it had is re-planned and stored", |ledger| {
        ledger.of(1) == 0
    });
    let removed = moment.elapsed();
    stage.line(
        &format!("{what}: a node dies that had {lost} copies"),
        &format!("{removed:.2?} until a configuration without it is stored for each"),
        &used,
    );
    simulated.wait("what it had is elsewhere", |ledger| {
        ledger.members == copies
    });
    stage.line(
        &format!("{what}: the same"),
        &format!(
            "{:.2?} until each has another copy (repair_delay 1 s)",
            moment.elapsed()
        ),
        &used,
    );
}

/// `kill -9` of the leader, while a node dies: its partitions need changes that only the next leader can make.
fn killed(
    stage: &mut Stage,
    leader: usize,
    simulated: &Nodes,
    what: &str,
    copies: u64,
    session: &str,
) {
    let nodes = simulated.ledger().joined - 1;
    stage.servers[leader].kill();
    let used = stage.used();
    let moment = Instant::now();
    let lost = simulated.kill(1);
    let seen = simulated.ledger().seen;
    // Nodes are watched by a thread of their own, so that neither wait is late by the other.
    let (led, [changed, joined, all]) = std::thread::scope(|scope| {
        let watched = scope.spawn(|| {
            let changed = simulated.wait("the next leader has changed something", |ledger| {
                ledger.seen > seen
            });
            let (mut joined, mut all) = (None, None);
            simulated.wait("the next leader has changed all that waited", |ledger| {
                if ledger.joined == nodes {
                    joined.get_or_insert(moment.elapsed());
                }
                if ledger.of(2) == 0 {
                    all.get_or_insert(moment.elapsed());
                }
                joined.is_some() && all.is_some()
            });
            [changed, joined.unwrap_or_default(), all.unwrap_or_default()]
        });
        stage.leader();
        (moment.elapsed(), watched.join().expect("they are watched"))
    });
    stage.line(
        &format!("{what}: the leader is killed (sessions of {session}), and a node that had {lost} copies"),
        &format!(
            "{led:.2?} until another serves routes, {changed:.2?} until it has changed a configuration, \
             {joined:.2?} until all nodes have joined it, {all:.2?} until all {lost} are changed"
        ),
        &used,
    );
    stage.servers[leader].start().expect("a meta server starts");
    simulated.wait("what it had is elsewhere", |ledger| {
        ledger.members == copies
    });
}

/// The same without the wait for a dead one's session: how long reading and joining take.
fn resigned(stage: &mut Stage, idle: usize, simulated: &Nodes, what: &str) {
    let nodes = simulated.ledger().joined;
    let leader = 1 - idle;
    let used = stage.used();
    let moment = Instant::now();
    stage.servers[leader].terminate();
    stage.leader();
    let led = moment.elapsed();
    simulated.wait("all nodes have joined it", |ledger| ledger.joined == nodes);
    stage.line(
        &format!("{what}: the leader resigns"),
        &format!(
            "{led:.2?} until the next serves routes, {:.2?} until all nodes have joined it",
            moment.elapsed()
        ),
        &used,
    );
}

/// All replicas on ten nodes, then the others come.
pub(crate) fn spread(nodes: u32, partitions: u32) -> bool {
    const BEFORE: u32 = 10;
    let stage = Stage::set("[meta.balance]\nafter = \"2s\"\nmoves = 4096\nmoves_per_node = 1024\n");
    let what = format!("{partitions} partitions of {COPIES} copies on {BEFORE} nodes");
    let copies = u64::from(partitions * COPIES);
    let mut simulated = Nodes::new(&stage.addresses, COPIES as usize);
    let leader = stage.leader();
    simulated.grow(BEFORE);
    simulated.wait("the first nodes have joined", |ledger| {
        ledger.joined == BEFORE
    });
    create(&simulated, &stage.addresses[leader], partitions);
    simulated.wait("all copies are there", |ledger| ledger.members == copies);
    let (used, seen) = (stage.used(), simulated.ledger().seen);
    let moment = Instant::now();
    simulated.grow(nodes);
    let mut told = Instant::now();
    simulated.wait("all is even", |ledger| {
        if told.elapsed() < Duration::from_secs(10) {
            return false;
        }
        told = Instant::now();
        let spreads = ledger.spreads(nodes);
        println!("{:.0?}: {spreads:?}", moment.elapsed());
        spreads.is_even() && ledger.members == copies
    });
    let ledger = simulated.ledger();
    stage.line(
        &format!("{what}, then {nodes} nodes"),
        &format!(
            "even after {:.0?} and {} changes, of which {} left a partition with fewer than {COPIES}",
            moment.elapsed(),
            ledger.seen - seen,
            ledger.short
        ),
        &used,
    );
    ledger.short == 0
}

fn create(simulated: &Nodes, leader: &str, partitions: u32) {
    let address = format!("http://{leader}");
    simulated.runtime().block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(address)
            .expect("an address")
            .timeout(CALL)
            .connect()
            .await
            .expect("the leader takes connections");
        let mut admin = AdminClient::new(channel);
        for number in 0..partitions.div_ceil(TABLE) {
            let request = CreateTableRequest {
                name: format!("table-{number}"),
                partitions: TABLE.min(partitions - number * TABLE),
                replicas: COPIES,
                ..CreateTableRequest::default()
            };
            admin
                .create_table(request)
                .await
                .expect("the leader creates tables");
        }
    });
}
