//! Three meta servers, each with a way of its own to one ZooKeeper, three replica servers and a gateway. Nobody starts again what has died.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use tempfile::TempDir;
use tests::doors::{Redis, Sdk, Sending};
use tests::ensemble::Ensemble;
use tests::fleet::network::{Host, Network};
use tests::fleet::proxy::Proxy;
use tests::fleet::server::Port;
use tests::fleet::{Role, Server};
use tests::shell::Shell;
use tests::writers::{Writers, seed};
use tests::{Door, eventually, metas};

/// How long ZooKeeper waits for a meta server that it does not hear.
const SESSION: Duration = Duration::from_secs(1);
/// The cluster's path.
const PATH: &str = "/tulpar/tests";
/// Where meta servers hold their places in the line of those who want to lead.
pub(crate) const LATCHES: &str = "/tulpar/tests/leader/";
/// The port of meta servers that have addresses of their own.
pub(crate) const PORT: u16 = 34601;

/// A meta server and its way to ZooKeeper.
pub(crate) struct Meta {
    pub(crate) server: Server,
    pub(crate) zookeeper: Proxy,
}

/// The running cluster. What is first ends first.
pub(crate) struct Cluster {
    pub(crate) metas: Vec<Meta>,
    /// Replica servers, then the gateway.
    pub(crate) others: Vec<Server>,
    pub(crate) ensemble: Ensemble,
    network: Network,
    directory: TempDir,
}

impl Cluster {
    /// Meta servers that run, and others that are still to be started.
    pub(crate) fn new(network: Network) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the cluster");
        for folder in ["config", "logs"] {
            std::fs::create_dir(directory.path().join(folder)).expect("a new directory");
        }
        let mut cluster = Self {
            metas: Vec::new(),
            others: Vec::new(),
            ensemble: Ensemble::start(1),
            network,
            directory,
        };
        cluster.add_metas(["meta-1", "meta-2", "meta-3"]);
        for name in ["replica-1", "replica-2", "replica-3"] {
            let server = cluster.server(name, Role::Replica);
            cluster.others.push(server);
        }
        let gateway = cluster.server("gateway-1", Role::Gateway);
        cluster.others.push(gateway);
        cluster
    }

    fn server(&mut self, name: &str, role: Role) -> Server {
        let host = self.network.host();
        Server::new(name.into(), role, host, self.directory.path())
    }

    /// Starts more meta servers.
    pub(crate) fn add_metas(&mut self, names: [&str; 3]) {
        for name in names {
            let mut server = self.server(name, Role::Meta);
            if server.host.namespace.is_some() {
                let own = SocketAddr::from((server.host.address, PORT));
                server.grpc = Some(Port { own, reached: own });
            }
            let (zookeeper, at) = proxied(&server.host, self.ensemble.address(0));
            let text = format!(
                "[meta]\nallow_unauthenticated = true\nhttp = \"\"\nlisten = \"{}\"\nzookeeper = \"{at}{PATH}\"\nzookeeper_session_timeout = \"{}ms\"\n",
                address(&server),
                SESSION.as_millis(),
            );
            start(&mut server, &text);
            self.metas.push(Meta { server, zookeeper });
        }
    }

    /// Starts the others, to whom this is said of the meta servers, and creates the table `default`.
    pub(crate) fn serve(&mut self, told: &[String]) {
        for server in &mut self.others {
            let redis = server.redis.expect("it speaks RESP").own;
            let text = match server.role {
                Role::Replica => format!(
                    "[replica]\nname = \"{}\"\nlisten = \"{}\"\nredis = \"{redis}\"\ndata_dir = \"{}\"\n",
                    server.name,
                    address(server),
                    server.data_dir.as_ref().expect("it keeps data").display(),
                ),
                Role::Gateway => format!("[gateway]\nlisten = \"{redis}\"\n"),
                Role::Meta => unreachable!("they run already"),
            };
            let text =
                format!("{text}meta = {told:?}\nallow_unauthenticated = true\nhttp = \"\"\n");
            start(server, &text);
        }
        self.all_joined();
        self.create("default");
        self.equal_copies("default");
    }

    /// `host:port` of every meta server.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let metas = self.metas.iter();
        metas
            .map(|meta| address(&meta.server).to_string())
            .collect()
    }

    /// `host:port` of the gateway.
    pub(crate) fn gateway(&self) -> String {
        let gateway = self.others.last().and_then(|server| server.redis);
        gateway.expect("a gateway speaks RESP").reached.to_string()
    }

    pub(crate) fn shell(&self) -> Shell {
        Shell::new(self.addresses().join(","))
    }

    /// Which meta server leads, once there is one.
    pub(crate) fn leader(&self) -> usize {
        let addresses = self.addresses();
        eventually("a meta server leads", || {
            let leader = metas::leader(&addresses)?;
            let index = addresses.iter().position(|address| *address == leader);
            index.ok_or_else(|| format!("{leader} is nobody's"))
        })
    }

    /// Which other one leads, once there is one.
    pub(crate) fn leader_after(&self, former: usize) -> usize {
        eventually("another meta server leads", || {
            let leader = self.leader();
            (leader != former)
                .then_some(leader)
                .ok_or_else(|| format!("{} still does", self.metas[leader].server.name))
        })
    }

    /// Waits until every meta server is in the line of those who want to lead.
    pub(crate) fn all_compete(&self) {
        eventually("all meta servers compete", || {
            let holders = self.ensemble.holders(LATCHES);
            (holders.len() == self.metas.len())
                .then_some(())
                .ok_or_else(|| format!("{holders:?}"))
        });
    }

    /// Waits until the leader hears all replica servers.
    pub(crate) fn all_joined(&self) {
        eventually("the leader hears all replica servers", || {
            let nodes = self.shell().try_json(&["nodes"])?;
            let nodes = nodes.as_array().ok_or("no list of servers")?;
            let alive = nodes.iter().filter(|node| node["alive"] == true).count();
            (alive == 3 && nodes.len() == 3)
                .then_some(())
                .ok_or_else(|| format!("{nodes:?}"))
        });
    }

    /// Creates a table, asking again until it is there.
    pub(crate) fn create(&self, name: &str) {
        self.shell().create(name);
    }

    /// The names of all tables, by their numbers.
    pub(crate) fn tables(&self) -> Vec<(u64, String)> {
        let listed = eventually("tables are listed", || {
            self.shell().try_json(&["table", "list"])
        });
        let tables = listed.as_array().expect("a list of tables").iter();
        let mut tables: Vec<(u64, String)> = tables
            .map(|table| {
                let id = table["id"].as_u64().expect("a number");
                (id, table["name"].as_str().expect("a name").to_owned())
            })
            .collect();
        tables.sort();
        tables
    }

    /// Waits until a table has all its copies, all of them equal.
    pub(crate) fn equal_copies(&self, table: &str) {
        self.shell().equal_copies(table, 3);
    }

    /// Clients of the table `default` that write until they are stopped: a Redis client and the client library.
    pub(crate) fn writers(&self) -> Writers {
        let gateway = Redis::new(&self.gateway(), Sending::Pipelined);
        let doors: Vec<(String, Box<dyn Door>)> = vec![
            ("gateway".into(), Box::new(gateway)),
            ("sdk".into(), Box::new(self.sdk())),
        ];
        let writers = Writers::start(seed(), doors);
        writers.go_on(100);
        writers
    }

    pub(crate) fn sdk(&self) -> Sdk {
        Sdk::new(&self.addresses().join(","), "default")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let metas = self.metas.iter().map(|meta| &meta.server);
            for server in metas.chain(&self.others) {
                eprintln!("--- {}\n{}", server.name, server.last_words(15));
            }
        }
    }
}

fn start(server: &mut Server, configuration: &str) {
    server
        .configure(configuration)
        .expect("the directory is writable");
    let started = server.start();
    started.unwrap_or_else(|error| panic!("{error}\n{}", server.last_words(20)));
}

/// Where a server with a gRPC port listens.
pub(crate) fn address(server: &Server) -> SocketAddr {
    server.grpc.expect("it speaks gRPC").own
}

/// A proxy on this machine, where the host reaches it, and its address.
fn proxied(from: &Host, to: SocketAddr) -> (Proxy, SocketAddr) {
    let [a, b, c, _] = from.address.octets();
    let address = match from.namespace {
        // The machine's own end of their bridge.
        Some(_) => Ipv4Addr::new(a, b, c, 1),
        None => Ipv4Addr::LOCALHOST,
    };
    let free = TcpListener::bind((address, 0)).and_then(|free| free.local_addr());
    let at = free.expect("a free port");
    let machine = Host {
        namespace: None,
        address,
    };
    (Proxy::start(&machine, at, to).expect("it listens"), at)
}
