//! All servers of a cluster and its table: made, looked at, taken away.

use super::boot::Boot;
use super::clock::Clock;
use super::disk::{self, Disk};
use super::network::Network;
use super::preload::Library;
use super::server::{Role, Server};
use super::volatile::VolatileDisk;
use crate::poll::eventually;
use crate::shell::Shell;
use serde_json::Value;
use std::fmt::Write;
use tempfile::TempDir;

/// The table that clients use.
pub const TABLE: &str = "faults";

/// Of the names of directories; the process that made one comes next.
const PREFIX: &str = "tulpar-fleet-";

/// What a fleet is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that a fleet has or has not"
)]
pub struct FleetOptions {
    /// Replica servers.
    pub replica_servers: usize,
    /// Copies of each partition.
    pub copies: usize,
    /// Partitions.
    pub partitions: u32,
    /// `sync` or `buffered`.
    pub durability: String,
    /// Separate networks, if the machine lets us.
    pub namespaces: bool,
    /// A disk of so many MiB for each server that has data, instead of a folder; needs root.
    pub disks: Option<u64>,
    /// Such a disk in memory for each of them, which forgets what was not synced when its power fails; needs root.
    pub volatile: bool,
    /// Whether the system clocks of replica servers can be stepped, if there is a C compiler.
    pub clocks: bool,
    /// Whether replica servers can be told that the machine was booted again; needs a C compiler.
    pub boots: bool,
    /// Lines for the configuration of the meta server.
    pub meta_settings: String,
    /// Lines for the configuration of each replica server.
    pub settings: String,
    /// Which servers have proxies before their ports, by name.
    pub proxied: Vec<String>,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            replica_servers: 3,
            copies: 3,
            partitions: 8,
            durability: "sync".to_owned(),
            namespaces: true,
            disks: None,
            volatile: false,
            clocks: false,
            boots: false,
            meta_settings: String::new(),
            settings: String::new(),
            proxied: Vec::new(),
        }
    }
}

/// A running cluster. Dropping it ends every process and takes its networks and disks away.
#[derive(Debug)]
pub struct Fleet {
    /// One meta server, the replica servers, one gateway. Before what they live on, because they must be gone first.
    pub servers: Vec<Server>,
    /// Their network.
    pub network: Network,
    /// What it was made of.
    pub options: FleetOptions,
    directory: TempDir,
}

/// Where a partition's copies are, by the names of servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Its number.
    pub partition: u32,
    /// Its ballot.
    pub ballot: u64,
    /// Who leads it.
    pub primary: String,
    /// Who else has a copy.
    pub secondaries: Vec<String>,
}

impl Fleet {
    /// A new cluster with its table.
    pub fn start(options: FleetOptions) -> Self {
        let network = if options.namespaces {
            Network::open()
        } else {
            Network::loopback()
        };
        disk::remove_leftovers(&std::env::temp_dir(), PREFIX);
        let directory = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .tempdir()
            .expect("a directory for the fleet");
        for folder in ["config", "logs"] {
            std::fs::create_dir(directory.path().join(folder)).expect("a new directory");
        }
        let mut fleet = Self {
            servers: Vec::new(),
            network,
            options,
            directory,
        };
        let library = fleet
            .options
            .clocks
            .then(|| Clock::library(fleet.directory.path()));
        let library = match library.transpose() {
            Ok(library) => library,
            Err(reason) => {
                println!("clocks are not stepped: {reason}");
                None
            }
        };
        fleet.add("meta-1", Role::Meta, None);
        for number in 1..=fleet.options.replica_servers {
            fleet.add(
                &format!("replica-{number}"),
                Role::Replica,
                library.as_ref(),
            );
        }
        fleet.add("gateway-1", Role::Gateway, None);
        fleet.create_table();
        fleet.whole();
        fleet
    }

    fn add(&mut self, name: &str, role: Role, library: Option<&Library>) {
        let host = self.network.host();
        let mut server = Server::new(name.to_owned(), role, host, self.directory.path());
        if let (Role::Replica | Role::Meta, Some(size)) = (role, self.options.disks) {
            let disk = Disk::create(self.directory.path(), name, size).expect("disks need root");
            // Not its root: there is more in a file system than the server's files.
            server.data_dir = Some(disk.path().join("data"));
            server.disk = Some(disk);
        }
        if role != Role::Gateway && self.options.volatile {
            let place = self.directory.path().join(name);
            let disk = VolatileDisk::create(place).expect("disks need root");
            server.data_dir = Some(disk.path().join("data"));
            server.volatile = Some(disk);
        }
        if self.options.proxied.iter().any(|proxied| proxied == name) {
            server.put_behind_proxies().expect("a proxy listens");
        }
        if let (Role::Replica, Some(library)) = (role, library) {
            let file = self.directory.path().join(format!("{name}.clock"));
            server.clock =
                Some(Clock::new(library.clone(), file).expect("the fleet's directory is writable"));
        }
        if role == Role::Replica && self.options.boots {
            let directory = self.directory.path();
            let library = Boot::library(directory).expect("there is a C compiler");
            let file = directory.join(format!("{name}.boot"));
            server.boot =
                Some(Boot::new(library, file).expect("the fleet's directory is writable"));
        }
        let text = self.configuration(&server);
        server
            .configure(&text)
            .expect("the fleet's directory is writable");
        server
            .start()
            .unwrap_or_else(|error| panic!("{error}\n{}", server.last_words(20)));
        self.servers.push(server);
    }

    fn configuration(&self, server: &Server) -> String {
        let own = |port: Option<super::server::Port>| {
            port.map(|port| port.own.to_string()).unwrap_or_default()
        };
        let reached = |port: Option<super::server::Port>| {
            port.map(|port| port.reached.to_string())
                .unwrap_or_default()
        };
        let (grpc, redis) = (own(server.grpc), own(server.redis));
        let mut text = format!(
            "[{}]\nallow_unauthenticated = true\nhttp = \"\"\n",
            server.role.name()
        );
        let meta = if server.role == Role::Meta {
            String::new()
        } else {
            self.meta()
        };
        let _ = match server.role {
            Role::Meta => writeln!(text, "listen = {grpc:?}"),
            Role::Gateway => writeln!(
                text,
                "listen = {redis:?}\nmeta = [{meta:?}]\ndefault_table = {TABLE:?}"
            ),
            Role::Replica => writeln!(
                text,
                "name = {:?}\nlisten = {grpc:?}\nredis = {redis:?}\nadvertise = {:?}\nadvertise_redis = {:?}\nmeta = [{meta:?}]\ndefault_table = {TABLE:?}",
                server.name,
                reached(server.grpc),
                reached(server.redis),
            ),
        };
        if let Some(data) = &server.data_dir {
            let _ = writeln!(text, "data_dir = {:?}", data.to_string_lossy());
        }
        text.push_str(match server.role {
            Role::Meta => &self.options.meta_settings,
            Role::Replica => &self.options.settings,
            Role::Gateway => "",
        });
        text
    }

    fn create_table(&self) {
        let FleetOptions {
            replica_servers,
            copies,
            partitions,
            durability,
            ..
        } = &self.options;
        eventually("all replica servers are known", || {
            let nodes = self.shell().try_json(&["nodes"])?;
            let alive = |node: &&Value| node["alive"] == true;
            let alive = nodes
                .as_array()
                .map_or(0, |nodes| nodes.iter().filter(alive).count());
            (alive == *replica_servers)
                .then_some(())
                .ok_or_else(|| nodes.to_string())
        });
        let (partitions, copies) = (partitions.to_string(), copies.to_string());
        let create = [
            "table",
            "create",
            TABLE,
            "--partitions",
            &partitions,
            "--replicas",
            &copies,
        ];
        self.shell()
            .json(&[&create[..], &["--durability", durability]].concat());
    }

    /// The administrator's shell.
    pub fn shell(&self) -> Shell {
        Shell::new(self.meta())
    }

    /// `host:port` of the meta server.
    pub fn meta(&self) -> String {
        let port = self.servers.first().and_then(|server| server.grpc);
        port.expect("the meta server is the first")
            .reached
            .to_string()
    }

    /// The server of that name.
    pub fn server(&self, name: &str) -> &Server {
        let found = self.servers.iter().find(|server| server.name == name);
        found.unwrap_or_else(|| panic!("there is no server {name}"))
    }

    /// The server of that name, to do something to it.
    pub fn server_mut(&mut self, name: &str) -> &mut Server {
        let found = self.servers.iter_mut().find(|server| server.name == name);
        found.unwrap_or_else(|| panic!("there is no server {name}"))
    }

    /// The replica servers.
    pub fn replica_servers(&self) -> impl Iterator<Item = &Server> {
        self.servers
            .iter()
            .filter(|server| server.role == Role::Replica)
    }

    /// `host:port` of every port that speaks RESP, the gateway's last.
    pub fn redis_ports(&self) -> Vec<String> {
        let ports = self.servers.iter().filter_map(|server| server.redis);
        ports.map(|port| port.reached.to_string()).collect()
    }

    /// Where every partition is, if all have a primary.
    pub fn placement(&self) -> Result<Vec<Placement>, String> {
        let answer = self.shell().try_json(&["partitions", TABLE])?;
        let partitions = answer["partitions"].as_array().ok_or("no partitions")?;
        partitions
            .iter()
            .map(|told| placement(told).ok_or_else(|| format!("not placed: {told}")))
            .collect()
    }

    /// Waits until every partition has all its copies; returns where.
    pub fn whole(&self) -> Vec<Placement> {
        let copies = self.options.copies;
        eventually("every partition has all its copies", || {
            let placement = self.placement()?;
            match placement
                .iter()
                .find(|partition| partition.secondaries.len() + 1 != copies)
            {
                Some(lacking) => Err(format!("{lacking:?}")),
                None => Ok(placement),
            }
        })
    }

    /// Waits until all copies of every partition are there and equal.
    pub fn equal_copies(&self) {
        self.shell().equal_copies(TABLE, self.options.copies);
    }

    /// What all servers logged last.
    pub fn last_words(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            let _ = write!(text, "\n--- {}\n{}", server.name, server.last_words(15));
        }
        text
    }
}

fn placement(told: &Value) -> Option<Placement> {
    let name = |node: &Value| node["name"].as_str().map(str::to_owned);
    Some(Placement {
        partition: told["partition"].as_u64()? as u32,
        ballot: told["ballot"].as_u64()?,
        primary: name(&told["primary"])?,
        secondaries: told["secondaries"]
            .as_array()?
            .iter()
            .filter_map(name)
            .collect(),
    })
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
        self.servers.iter().for_each(Server::strike);
        self.servers.clear();
    }
}
