//! A cluster of fakes over real gRPC on ports that the system chose: meta servers that give routes, replica servers that refuse, hold
//! and lose requests as a test scripts them. They keep the server's side of the contract: passwords per stream, epochs, one answer each.

#![allow(dead_code, unreachable_pub)]

use proto::common::{Configuration, LearnSignature, Member, NodeAddress};
use proto::data::data_server::{Data, DataServer};
use proto::data::{
    Entry, Page, Refusal, Request, RequestBatch, Response, ResponseBatch, Value, Values,
    refusal::Kind, request::Operation, response,
};
use proto::meta::routes_server::{Routes, RoutesServer};
use proto::meta::{PartitionRoute, QueryRequest, RoutesUpdate, Table, TableRoutes};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request as Call, Response as Answer, Status, Streaming};
use tulpar_client::{Client, ClientOptions};

type Boxed<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

/// What a script does with a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// Does it, if this server is the partition's primary.
    Do,
    Refuse(Kind, &'static str),
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

pub struct Partition {
    pub ballot: u64,
    pub primary: usize,
    /// The writes that took effect, in order.
    pub log: Vec<Operation>,
    strings: HashMap<Vec<u8>, Vec<u8>>,
    hashes: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>,
}

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
        let partitions = (0..partitions as usize).map(|index| Partition {
            ballot: 1,
            primary: index % servers,
            log: Vec::new(),
            strings: HashMap::new(),
            hashes: BTreeMap::new(),
        });
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

struct FakeMeta {
    state: Arc<Mutex<State>>,
    changed: watch::Receiver<u64>,
}

#[tonic::async_trait]
impl Routes for FakeMeta {
    type WatchStream = Boxed<RoutesUpdate>;

    async fn query(&self, call: Call<QueryRequest>) -> Result<Answer<TableRoutes>, Status> {
        let mut state = self.state.lock().unwrap();
        state.queries += 1;
        state.describe(&call.get_ref().table).map(Answer::new)
    }

    async fn watch(&self, call: Call<QueryRequest>) -> Result<Answer<Self::WatchStream>, Status> {
        let name = call.into_inner().table;
        let state = Arc::clone(&self.state);
        state.lock().unwrap().describe(&name)?;
        let mut changed = self.changed.clone();
        changed.mark_changed();
        state.lock().unwrap().watching += 1;
        let guard = Watching(Arc::clone(&state));
        let updates = futures::stream::unfold(
            (changed, state, name, guard),
            |(mut changed, state, name, guard)| async move {
                changed.changed().await.ok()?;
                let routes = state.lock().unwrap().describe(&name).ok()?;
                let TableRoutes {
                    table,
                    partitions,
                    nodes,
                } = routes;
                let update = RoutesUpdate {
                    complete: true,
                    table,
                    partitions,
                    nodes,
                };
                Some((Ok(update), (changed, state, name, guard)))
            },
        );
        Ok(Answer::new(Box::pin(updates)))
    }
}

/// Counts who follows routes.
struct Watching(Arc<Mutex<State>>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.lock().unwrap().watching -= 1;
    }
}

struct FakeServer {
    server: usize,
    state: Arc<Mutex<State>>,
}

#[tonic::async_trait]
impl Data for FakeServer {
    type ExecuteStream = Boxed<ResponseBatch>;

    async fn execute(
        &self,
        call: Call<Streaming<RequestBatch>>,
    ) -> Result<Answer<Self::ExecuteStream>, Status> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut incoming = call.into_inner();
        let mut session = Session {
            server: self.server,
            state: Arc::clone(&self.state),
            sender,
            passwords: HashMap::new(),
            refused: HashMap::new(),
            ids: HashSet::new(),
        };
        session.state.lock().unwrap().streams += 1;
        tokio::spawn(async move {
            let mut first = true;
            while let Ok(Some(batch)) = incoming.message().await {
                assert_eq!(
                    batch.protocol,
                    u32::from(first),
                    "the protocol is named once, at first"
                );
                first = false;
                if session.take_in(batch).is_err() {
                    drop(session.sender.send(Err(Status::unavailable(
                        "the stream was broken by the script",
                    ))));
                    return;
                }
            }
        });
        Ok(Answer::new(Box::pin(UnboundedReceiverStream::new(
            receiver,
        ))))
    }
}

/// One stream as the server sees it.
struct Session {
    server: usize,
    state: Arc<Mutex<State>>,
    sender: mpsc::UnboundedSender<Result<ResponseBatch, Status>>,
    passwords: HashMap<u32, String>,
    /// The highest epoch refused, by table and partition.
    refused: HashMap<(u32, u32), u32>,
    ids: HashSet<u64>,
}

struct Broken;

fn refusal(kind: Kind, message: &str) -> response::Result {
    response::Result::Refusal(Refusal {
        kind: kind.into(),
        message: message.to_owned(),
        configuration: None,
        primary: None,
    })
}

impl Session {
    fn take_in(&mut self, batch: RequestBatch) -> Result<(), Broken> {
        let state = Arc::clone(&self.state);
        let mut state = state.lock().unwrap();
        for credential in batch.credentials {
            self.passwords.insert(credential.table, credential.password);
        }
        let mut responses = Vec::new();
        for request in batch.requests {
            assert!(
                self.ids.insert(request.id),
                "an id names one request in flight"
            );
            state.received.push(request.clone());
            let (act, result) = self.serve(&mut state, &request);
            match (act, result) {
                (Act::DoAndBreak | Act::Break, _) => return Err(Broken),
                (Act::Hold, result) => {
                    self.ids.remove(&request.id);
                    state.held.push((
                        self.sender.clone(),
                        Response {
                            id: request.id,
                            result,
                        },
                    ));
                }
                (Act::Swallow, _) => {}
                (Act::Do | Act::Refuse(..), result) => responses.push(Response {
                    id: request.id,
                    result,
                }),
            }
        }
        if let Some(seed) = &mut state.shuffle {
            for index in (1..responses.len()).rev() {
                *seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                responses.swap(index, (*seed >> 33) as usize % (index + 1));
            }
        }
        for response in &responses {
            self.ids.remove(&response.id);
        }
        if !responses.is_empty() {
            let middle = responses.len() / 2;
            let rest = responses.split_off(middle);
            for responses in [responses, rest] {
                drop(self.sender.send(Ok(ResponseBatch { responses })));
            }
        }
        Ok(())
    }

    fn serve(&mut self, state: &mut State, request: &Request) -> (Act, Option<response::Result>) {
        let key = (request.table, request.partition);
        let refuse = |kind, message: &str| (Act::Do, Some(refusal(kind, message)));
        let addresses: Vec<_> = (0..state.addresses.len())
            .map(|server| state.address(server))
            .collect();
        let Some(table) = state.by_id(request.table) else {
            return refuse(Kind::NoSuchTable, "t");
        };
        if table.password.as_ref() != self.passwords.get(&request.table) {
            return refuse(Kind::Unauthorized, "WRONGPASS invalid password");
        }
        if self
            .refused
            .get(&key)
            .is_some_and(|&refused| request.epoch <= refused)
        {
            return refuse(Kind::Busy, "behind a refused one");
        }
        let act = (state.script)(self.server, request);
        if let Act::Refuse(kind, message) = act {
            if matches!(kind, Kind::Busy | Kind::NotPrimary) {
                self.refused.insert(key, request.epoch);
            }
            return (act, Some(refusal(kind, message)));
        }
        if act == Act::Break {
            return (act, None);
        }
        let configured = |state: &mut State| {
            let partition = &state.by_id(request.table).expect("found above").partitions
                [request.partition as usize];
            (partition.primary, partition.ballot)
        };
        let (primary, _) = configured(state);
        if primary != self.server {
            self.refused.insert(key, request.epoch);
            let table = state
                .tables
                .values()
                .find(|table| table.id == request.table)
                .expect("found above");
            let configuration = state.configuration(&table.partitions[request.partition as usize]);
            let refusal = Refusal {
                kind: Kind::NotPrimary.into(),
                message: "not the primary".into(),
                configuration: Some(configuration),
                primary: Some(addresses[primary].clone()),
            };
            return (Act::Do, Some(response::Result::Refusal(refusal)));
        }
        let partition = &mut state.by_id(request.table).expect("found above").partitions
            [request.partition as usize];
        let result = partition.run(
            request
                .operation
                .clone()
                .expect("a request has an operation"),
        );
        (act, Some(result))
    }
}

impl Partition {
    fn run(&mut self, operation: Operation) -> response::Result {
        let value = |value: Option<&Vec<u8>>| Value {
            found: value.is_some(),
            value: value.cloned().unwrap_or_default().into(),
        };
        if !matches!(
            operation,
            Operation::Get(_) | Operation::HashGet(_) | Operation::HashScan(_)
        ) {
            self.log.push(operation.clone());
        }
        match operation {
            Operation::Get(get) => response::Result::Value(value(self.strings.get(&get.key[..]))),
            Operation::Set(set) => {
                self.strings.insert(set.key.into(), set.value.into());
                response::Result::Count(1)
            }
            Operation::Delete(delete) => {
                response::Result::Count(self.strings.remove(&delete.key[..]).is_some().into())
            }
            Operation::HashSet(set) => {
                let hash = self.hashes.entry(set.hash_key.into()).or_default();
                let new = set.entries.into_iter().filter(|entry| {
                    hash.insert(entry.sort_key.to_vec(), entry.value.to_vec())
                        .is_none()
                });
                response::Result::Count(new.count() as u64)
            }
            Operation::HashGet(get) => {
                let hash = self.hashes.entry(get.hash_key.into()).or_default();
                let values = get
                    .sort_keys
                    .iter()
                    .map(|sort_key| value(hash.get(&sort_key[..])));
                response::Result::Values(Values {
                    values: values.collect(),
                })
            }
            Operation::HashDelete(delete) => {
                let hash = self.hashes.entry(delete.hash_key.into()).or_default();
                let deleted = delete
                    .sort_keys
                    .iter()
                    .filter(|sort_key| hash.remove(&sort_key[..]).is_some());
                response::Result::Count(deleted.count() as u64)
            }
            Operation::HashIncrement(increment) => {
                let hash = self.hashes.entry(increment.hash_key.into()).or_default();
                let number = hash
                    .entry(increment.sort_key.into())
                    .or_insert_with(|| b"0".to_vec());
                let Ok(old) = String::from_utf8_lossy(number).parse::<i64>() else {
                    self.log.pop();
                    return refusal(Kind::Rejected, "ERR hash value is not an integer");
                };
                *number = (old + increment.by).to_string().into_bytes();
                response::Result::Integer(old + increment.by)
            }
            Operation::HashScan(scan) => {
                let hash = self.hashes.entry(scan.hash_key.into()).or_default();
                let to = if scan.has_to {
                    Bound::Excluded(&scan.to[..])
                } else {
                    Bound::Unbounded
                };
                let mut entries: Vec<_> = hash
                    .range::<[u8], _>((Bound::Included(&scan.from[..]), to))
                    .map(|(sort_key, value)| Entry {
                        sort_key: sort_key.clone().into(),
                        value: value.clone().into(),
                    })
                    .collect();
                if scan.reverse {
                    entries.reverse();
                }
                // a server's own bound, small so that scans have pages
                let limit = if scan.limit == 0 {
                    7
                } else {
                    scan.limit.min(7)
                } as usize;
                let more = entries.len() > limit;
                entries.truncate(limit);
                response::Result::Page(Page { entries, more })
            }
            Operation::Command(command) => {
                let mut reply = format!("*{}\r\n", command.arguments.len()).into_bytes();
                for argument in command.arguments {
                    reply.extend(format!("${}\r\n", argument.len()).into_bytes());
                    reply.extend_from_slice(&argument);
                    reply.extend_from_slice(b"\r\n");
                }
                response::Result::Resp(reply.into())
            }
        }
    }
}
