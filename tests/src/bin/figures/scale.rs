//! A meta leader with many nodes and partitions: the real server on a real ensemble, and nodes that are simulated.

use crate::report::line;
use crate::simulated::Nodes;
use proto::meta::CreateTableRequest;
use proto::meta::admin_client::AdminClient;
use std::time::{Duration, Instant};
use tests::ensemble::Ensemble;
use tests::fleet::network::Network;
use tests::fleet::{Role, Server};
use tests::metas;
use tests::poll::eventually;
use tests::process;

/// Partitions of one table.
const TABLE: u32 = 10_000;
const COPIES: u32 = 3;
/// How long the idle leader is watched.
const IDLE: Duration = Duration::from_secs(20);
/// Creating the largest tables takes long, and is not measured.
const CALL: Duration = Duration::from_mins(10);

pub(crate) fn run(nodes: u32, partitions: u32) -> bool {
    let ensemble = Ensemble::start(3);
    let directory = tempfile::tempdir().expect("a directory for the meta servers");
    for folder in ["config", "logs"] {
        std::fs::create_dir(directory.path().join(folder)).expect("a new directory");
    }
    let mut network = Network::loopback();
    let mut servers: Vec<Server> = (1..=2)
        .map(|number| {
            let name = format!("meta-{number}");
            let mut server = Server::new(name, Role::Meta, network.host(), directory.path());
            let listen = server.grpc.expect("a meta server has a port").own;
            let text = format!(
                "[meta]\nlisten = \"{listen}\"\nzookeeper = \"{}/tulpar/scale\"\nrepair_delay = \"1s\"\n",
                ensemble.servers()
            );
            server.configure(&text).expect("a writable directory");
            server.start().expect("a meta server starts");
            server
        })
        .collect();
    let addresses: Vec<String> = servers
        .iter()
        .filter_map(|server| Some(server.grpc?.own.to_string()))
        .collect();
    let leader = eventually("a meta server leads", || metas::leader(&addresses));
    let simulated = Nodes::start(&addresses, nodes);
    simulated.wait("all nodes have joined", |census| census.joined == nodes);
    create(&simulated, &leader, partitions);
    let copies = u64::from(partitions * COPIES);
    simulated.wait("all copies are there", |census| census.members == copies);

    let leads = |servers: &[Server], address: &str| {
        let found = servers.iter().position(|server| {
            server
                .grpc
                .is_some_and(|port| port.own.to_string() == address)
        });
        found.expect("it is one of them")
    };
    let first = leads(&servers, &leader);
    let pid = servers[first].pid().expect("it runs");
    let before = process::used(pid);
    std::thread::sleep(IDLE);
    let used = process::used(pid).saturating_sub(before);
    let idle = used.as_secs_f64() / IDLE.as_secs_f64();
    let what = format!("{nodes} nodes, {partitions} partitions of {COPIES} copies");
    line(
        &format!("{what}: the idle leader"),
        &format!(
            "{:.1} % of a core, {} MiB",
            idle * 100.0,
            process::resident(pid) >> 20
        ),
    );

    let moment = Instant::now();
    let lost = simulated.kill(0);
    simulated.wait("what it had is re-planned and stored", |census| {
        census.without(0) == copies - lost
    });
    let removed = moment.elapsed();
    simulated.wait("what it had is elsewhere", |census| {
        census.members == copies
    });
    line(
        &format!("{what}: one node dies that had {lost} copies"),
        &format!(
            "{removed:.1?} until each partition has a configuration without it that is stored, {:.1?} until each has another copy (repair_delay 1 s)",
            moment.elapsed()
        ),
    );

    servers[first].kill();
    let moment = Instant::now();
    let second = eventually("another meta server leads", || metas::leader(&addresses));
    let led = moment.elapsed();
    simulated.wait("all nodes have joined it", |census| {
        census.joined == nodes - 1
    });
    let joined = moment.elapsed();
    line(
        &format!("{what}: the leader is killed, sessions of 2 s"),
        &format!("{led:.1?} until another leads, {joined:.1?} until all nodes have joined it"),
    );
    // The same without the wait for a dead one's session: how long reading and joining take.
    servers[first].start().expect("a meta server starts");
    let index = leads(&servers, &second);
    let moment = Instant::now();
    servers[index].terminate();
    eventually("another meta server leads", || metas::leader(&addresses));
    let led = moment.elapsed();
    simulated.wait("all nodes have joined it", |census| {
        census.joined == nodes - 1
    });
    line(
        &format!("{what}: start of a new leader, when the old one resigns"),
        &format!(
            "{led:.1?} until it leads, {:.1?} until all nodes have joined it",
            moment.elapsed()
        ),
    );
    true
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
