//! A cluster of fakes over real gRPC on ports that the system chose: meta servers that give routes, replica servers that refuse, hold
//! and lose requests as a test scripts them. They keep the server's side of the contract: passwords per stream, epochs, one answer each.

#![allow(dead_code, unreachable_pub, unused_imports)]

mod meta;
mod model;
mod server;

use meta::FakeMeta;
use model::Partition;
use proto::common::{Configuration, LearnSignature, Member, NodeAddress};
use proto::data::data_server::DataServer;
use proto::data::{Request, Response, ResponseBatch, refusal::Kind};
use proto::meta::routes_server::RoutesServer;
use proto::meta::{PartitionRoute, Table, TableRoutes};
pub use server::CLOCK;
use server::FakeServer;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tulpar_client::{Client, ClientOptions};

type Boxed<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

/// What a script does with a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// Does it, if this server is the partition's primary.
    Do,
    Refuse(Kind, &'static str),
    /// Refuses it only when those behind it that came along are done, as a read that waited is refused; they are answered after it.
    RefuseLate,
    /// Does it and answers only when the test says so.
    Hold,
    /// Does it and never answers.
    Swallow,
    /// Does it and breaks the stream instead of answering.
    DoAndBreak,
    /// Breaks the stream without doing it.
    Break,
}

/// Sees every request that epoch and password let through, on every server.
pub type Script = Box<dyn FnMut(usize, &Request) -> Act + Send>;

pub struct TableState {
    pub id: u32,
    pub password: Option<String>,
    pub partitions: Vec<Partition>,
    pub dropped: bool,
}

pub struct State {
    pub tables: BTreeMap<String, TableState>,
    pub addresses: Vec<String>,
    pub script: Script,
    /// How often each meta server was asked.
    pub queries: usize,
    pub watching: usize,
    /// Streams opened to all servers.
    pub streams: usize,
    /// Requests received by all servers, refused ones too.
    pub received: Vec<Request>,
    /// The seed of an order of answers; none: in the order of the requests.
    pub shuffle: Option<u64>,
    /// Answers held back by `Act::Hold`.
    held: Vec<(
        mpsc::UnboundedSender<Result<ResponseBatch, Status>>,
        Response,
    )>,
}

pub struct Cluster {
    pub state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    metas: Vec<Option<Process>>,
    servers: Vec<Option<Process>>,
    meta_addresses: Vec<String>,
}

/// A server with a runtime of its own, so that it can be killed with all its connections.
struct Process {
    runtime: Option<tokio::runtime::Runtime>,
    address: String,
}

impl Process {
    fn start<F>(address: &str, serve: impl FnOnce(TcpListenerStream) -> F) -> Self
    where
        F: Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let guard = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        runtime.spawn(serve(TcpListenerStream::new(listener)));
        drop(guard);
        Self {
            runtime: Some(runtime),
            address,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // on a thread of its own, for a test must not block
            let ended =
                std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5))).join();
            ended.expect("a runtime ends");
        }
    }
}

pub fn node(server: usize) -> u64 {
    0xA000 + server as u64
}

impl State {
    pub fn table(&mut self, name: &str) -> &mut TableState {
        self.tables.get_mut(name).expect("the test made this table")
    }

    fn by_id(&mut self, id: u32) -> Option<&mut TableState> {
        self.tables
            .values_mut()
            .find(|table| table.id == id && !table.dropped)
    }

    fn configuration(&self, partition: &Partition) -> Configuration {
        let member = |server: usize| Member {
            node: node(server),
            signature: Some(LearnSignature::default()),
        };
        let secondaries = (0..self.addresses.len())
            .filter(|&server| server != partition.primary)
            .map(member);
        Configuration {
            ballot: partition.ballot,
            epoch: 0,
            primary: Some(member(partition.primary)),
            secondaries: secondaries.collect(),
        }
    }

    fn address(&self, server: usize) -> NodeAddress {
        NodeAddress {
            node: node(server),
            name: format!("r{server}"),
            grpc: self.addresses[server].clone(),
            redis: String::new(),
            zone: String::new(),
        }
    }

    fn describe(&self, name: &str) -> Result<TableRoutes, Status> {
        let table = self
            .tables
            .get(name)
            .filter(|table| !table.dropped)
            .ok_or_else(|| Status::not_found("no such table"))?;
        let partitions = table
            .partitions
            .iter()
            .enumerate()
            .map(|(index, partition)| PartitionRoute {
                index: index as u32,
                configuration: Some(self.configuration(partition)),
            });
        Ok(TableRoutes {
            table: Some(Table {
                id: table.id,
                name: name.to_owned(),
                partitions: table.partitions.len() as u32,
                replicas: 3,
                has_password: table.password.is_some(),
                ..Table::default()
            }),
            partitions: partitions.collect(),
            nodes: (0..self.addresses.len())
                .map(|server| self.address(server))
                .collect(),
        })
    }
}

impl Cluster {
    pub fn start(metas: usize, servers: usize) -> Self {
        let state = Arc::new(Mutex::new(State {
            tables: BTreeMap::new(),
            addresses: Vec::new(),
            script: Box::new(|_, _| Act::Do),
            queries: 0,
            watching: 0,
            streams: 0,
            received: Vec::new(),
            shuffle: None,
            held: Vec::new(),
        }));
        let mut cluster = Self {
            state,
            changed: watch::channel(0).0,
            metas: Vec::new(),
            servers: Vec::new(),
            meta_addresses: Vec::new(),
        };
        for _ in 0..metas {
            let process = cluster.meta_process("127.0.0.1:0");
            cluster.meta_addresses.push(process.address.clone());
            cluster.metas.push(Some(process));
        }
        for server in 0..servers {
            let process = cluster.server_process(server, "127.0.0.1:0");
            cluster.lock().addresses.push(process.address.clone());
            cluster.servers.push(Some(process));
        }
        cluster
    }

    /// One meta server, three replica servers, a table `t`, its partitions' primaries in turn.
    pub fn usual(partitions: u32) -> Self {
        let cluster = Self::start(1, 3);
        cluster.create("t", 7, partitions, None);
        cluster
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn create(&self, name: &str, id: u32, partitions: u32, password: Option<&str>) {
        let mut state = self.lock();
        let servers = state.addresses.len();
        let partitions =
            (0..partitions as usize).map(|index| Partition::served_by(index % servers));
        let table = TableState {
            id,
            password: password.map(str::to_owned),
            partitions: partitions.collect(),
            dropped: false,
        };
        state.tables.insert(name.to_owned(), table);
    }

    pub fn script(&self, script: impl FnMut(usize, &Request) -> Act + Send + 'static) {
        self.lock().script = Box::new(script);
    }

    /// Makes another server primary. Who follows the routes is told only by `announce`.
    pub fn take_over(&self, table: &str, partition: usize, primary: usize) {
        let mut state = self.lock();
        let partition = &mut state.table(table).partitions[partition];
        partition.ballot += 1;
        partition.primary = primary;
    }

    /// The meta servers tell the routes to all who follow them.
    pub fn announce(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    pub fn drop_table(&self, table: &str) {
        self.lock().table(table).dropped = true;
        self.announce();
    }

    pub fn kill_server(&mut self, server: usize) {
        self.servers[server] = None;
    }

    pub fn restart_server(&mut self, server: usize) {
        self.servers[server] = None;
        let process = self.server_process(server, "127.0.0.1:0");
        self.lock().addresses[server].clone_from(&process.address);
        self.servers[server] = Some(process);
    }

    pub fn kill_meta(&mut self, meta: usize) {
        self.metas[meta] = None;
    }

    pub fn options(&self) -> ClientOptions {
        ClientOptions::new(self.meta_addresses.clone())
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.options())
            .await
            .expect("a meta server is there")
    }

    /// Sends what `Act::Hold` held back.
    pub fn release(&self) {
        for (sender, response) in std::mem::take(&mut self.lock().held) {
            drop(sender.send(Ok(ResponseBatch {
                responses: vec![response],
            })));
        }
    }

    /// Waits until the state is as wanted; a test that waits for ever is stopped here.
    pub async fn until(&self, what: &str, mut wanted: impl FnMut(&mut State) -> bool) {
        for _ in 0..10_000 {
            if wanted(&mut self.lock()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never: {what}");
    }

    fn meta_process(&self, address: &str) -> Process {
        let meta = FakeMeta {
            state: Arc::clone(&self.state),
            changed: self.changed.subscribe(),
        };
        Process::start(address, |listener| {
            tonic::transport::Server::builder()
                .add_service(RoutesServer::new(meta))
                .serve_with_incoming(listener)
        })
    }

    fn server_process(&self, server: usize, address: &str) -> Process {
        let data = FakeServer {
            server,
            state: Arc::clone(&self.state),
        };
        Process::start(address, |listener| {
            let data = DataServer::new(data).max_decoding_message_size(proto::MAX_MESSAGE);
            tonic::transport::Server::builder()
                .add_service(data)
                .serve_with_incoming(listener)
        })
    }
}
