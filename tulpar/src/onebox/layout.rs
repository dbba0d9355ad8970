//! The servers of a onebox: their names, directories, ports and configuration files, and the file `onebox.json` that tells
//! programs where everything is.
//!
//! ```text
//! DIR/lock                 held while any process of this onebox lives
//! DIR/onebox.json          addresses and process ids, rewritten at every change
//! DIR/config/NAME.toml     rewritten at every start
//! DIR/logs/NAME.log
//! DIR/NAME/                the server's data
//! ```

use super::options::Options;
use crate::settings::Role;
use crate::supervised::Listening;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// What the command line allows of one kind.
const MOST_SERVERS: u32 = 64;
/// What a meta server without an ensemble keeps its cluster in.
const EMBEDDED: &str = "meta-1/cluster";
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const GATEWAY_REDIS: u16 = 6379;
const REPLICA_REDIS: u16 = 6380;
const META_GRPC: u16 = 34601;
const REPLICA_GRPC: u16 = 34801;
const HTTP: u16 = 34701;

/// One server as planned.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) wanted: Wanted,
}

/// The ports a server is told to listen on; 0: the system chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Wanted {
    pub(super) grpc: u16,
    pub(super) redis: u16,
    pub(super) http: u16,
    /// The ports are only remembered from an earlier start: if one is taken now, any other will do.
    pub(super) may_move: bool,
}

/// A onebox's directory.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

/// What a onebox consists of.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// In the order in which they start.
    pub(super) servers: Vec<Server>,
    /// See [`Published`].
    pub(super) zookeeper: Option<String>,
}

/// What servers are told of the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    pub(super) meta: Vec<SocketAddr>,
    pub(super) zookeeper: Option<String>,
}

/// The contents of `onebox.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Published {
    /// Where Redis clients connect: the first gateway, or the first replica server if there is none.
    pub(super) redis: Option<SocketAddr>,
    pub(super) meta: Vec<SocketAddr>,
    /// The ensemble that keeps the cluster's configuration, and the path in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) zookeeper: Option<String>,
    pub(super) servers: Vec<PublishedServer>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PublishedServer {
    pub(super) name: String,
    pub(super) role: Role,
    /// Absent while the server is not running.
    pub(super) pid: Option<u32>,
    pub(super) grpc: Option<SocketAddr>,
    pub(super) redis: Option<SocketAddr>,
    /// Health, metrics, and the meta server's page.
    pub(super) http: Option<SocketAddr>,
    pub(super) data_dir: Option<PathBuf>,
}

impl Directory {
    /// Makes the directory if need be.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let unusable = || format!("cannot use directory {}", path.display());
        std::fs::create_dir_all(path).with_context(unusable)?;
        let path = path.canonicalize().with_context(unusable)?;
        for folder in ["config", "logs"] {
            std::fs::create_dir_all(path.join(folder)).with_context(unusable)?;
        }
        Ok(Self(path))
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(super) fn config(&self, name: &str) -> PathBuf {
        self.0.join("config").join(format!("{name}.toml"))
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    fn data(&self, server: &Server) -> Option<PathBuf> {
        (server.role != Role::Gateway).then(|| self.0.join(&server.name))
    }

    pub(super) fn published(&self) -> PathBuf {
        self.0.join("onebox.json")
    }

    /// How many replica servers have data here.
    fn replica_servers(&self) -> u32 {
        (1..=MOST_SERVERS)
            .take_while(|number| self.0.join(format!("replica-{number}")).is_dir())
            .count() as u32
    }

    /// What an earlier start left, if it is readable.
    fn earlier(&self) -> Published {
        std::fs::read(self.published())
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Writes `onebox.json` whole, so that a reader never sees half of it.
    pub(super) fn publish(&self, published: &Published) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(published)?;
        text.push(b'\n');
        let unfinished = self.0.join("onebox.json.new");
        std::fs::write(&unfinished, text)?;
        std::fs::rename(unfinished, self.published())
    }

    /// Writes a server's configuration file.
    pub(super) fn configure(
        &self,
        server: &Server,
        wanted: Wanted,
        around: &Surroundings,
    ) -> anyhow::Result<()> {
        let path = self.config(&server.name);
        std::fs::write(&path, self.settings(server, wanted, around))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn settings(&self, server: &Server, wanted: Wanted, around: &Surroundings) -> String {
        let grpc = quoted(&SocketAddr::from((HOST, wanted.grpc)).to_string());
        let redis = quoted(&SocketAddr::from((HOST, wanted.redis)).to_string());
        let http = quoted(&SocketAddr::from((HOST, wanted.http)).to_string());
        let name = quoted(&server.name);
        let meta: Vec<String> = around.meta.iter().map(|a| quoted(&a.to_string())).collect();
        let meta = meta.join(", ");
        let data_dir = self
            .data(server)
            .map(|path| quoted(&path.to_string_lossy()))
            .unwrap_or_default();
        let section = match server.role {
            Role::Meta => {
                let zookeeper = quoted(around.zookeeper.as_deref().unwrap_or_default());
                format!(
                    "[meta]\nlisten = {grpc}\nhttp = {http}\ndata_dir = {data_dir}\nzookeeper = {zookeeper}\n"
                )
            }
            Role::Replica => format!(
                "[replica]\nname = {name}\nlisten = {grpc}\nredis = {redis}\nhttp = {http}\nmeta = [{meta}]\ndata_dir = {data_dir}\n"
            ),
            Role::Gateway => {
                format!("[gateway]\nlisten = {redis}\nhttp = {http}\nmeta = [{meta}]\n")
            }
        };
        format!(
            "# Written by `tulpar onebox` at every start; what you change here is lost.\n{section}"
        )
    }

    /// How `onebox.json` names a server.
    pub(super) fn entry(
        &self,
        server: &Server,
        pid: Option<u32>,
        at: Listening,
    ) -> PublishedServer {
        PublishedServer {
            name: server.name.clone(),
            role: server.role,
            pid,
            grpc: at.grpc,
            redis: at.redis,
            http: at.http,
            data_dir: self.data(server),
        }
    }
}

/// A TOML string: JSON's escapes are TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What is started, by what the user asks for and what the directory holds.
pub(super) fn plan(options: &Options, directory: &Directory) -> anyhow::Result<Plan> {
    let existing = directory.replica_servers();
    let replicas = match options.replica_servers {
        None if existing > 0 => existing,
        None => 3,
        Some(asked) if asked < existing => bail!(
            "{} holds the data of {existing} replica servers, {asked} would leave some of it out",
            directory.0.display()
        ),
        Some(asked) => asked,
    };
    let earlier = directory.earlier();
    let zookeeper = options.zookeeper.clone().or(earlier.zookeeper.clone());
    if zookeeper.is_some() && directory.0.join(EMBEDDED).exists() {
        bail!(
            "the cluster in {} keeps its configuration in {EMBEDDED}; with --zookeeper it would be another cluster",
            directory.0.display()
        );
    }
    let metas_before = earlier
        .servers
        .iter()
        .filter(|server| server.role == Role::Meta)
        .count() as u32;
    let metas = options.meta_servers.unwrap_or(metas_before.max(1));
    if metas > 1 && zookeeper.is_none() {
        bail!(
            "--meta-servers {metas} needs --zookeeper: only an ensemble can tell which of them leads"
        );
    }
    let mut servers = Vec::new();
    servers.extend((1..=metas).map(|n| (format!("meta-{n}"), Role::Meta)));
    servers.extend((1..=replicas).map(|n| (format!("replica-{n}"), Role::Replica)));
    servers.extend((1..=options.gateways).map(|n| (format!("gateway-{n}"), Role::Gateway)));

    let mut ports = Ports::new(options, replicas as u16);
    let servers = servers
        .into_iter()
        .map(|(name, role)| {
            let before = earlier.servers.iter().find(|server| server.name == name);
            let wanted = ports.next(role, before)?;
            Ok(Server { name, role, wanted })
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Plan { servers, zookeeper })
}

/// Hands out ports.
struct Ports {
    gateway: Option<u16>,
    scheme: Scheme,
    replica_servers: u16,
    seen: u16,
    metas_seen: u16,
    replicas_seen: u16,
    gateways_seen: u16,
}

enum Scheme {
    /// 6379, 6380.., 34601, 34701.., 34801..
    Usual,
    /// One after the other.
    From(u16),
    /// By the system, and as before where there is a before.
    System,
}

impl Ports {
    fn new(options: &Options, replica_servers: u16) -> Self {
        Self {
            gateway: options.port,
            scheme: match options.base_port {
                None => Scheme::Usual,
                Some(0) => Scheme::System,
                Some(base) => Scheme::From(base),
            },
            replica_servers,
            seen: 0,
            metas_seen: 0,
            replicas_seen: 0,
            gateways_seen: 0,
        }
    }

    fn next(&mut self, role: Role, before: Option<&PublishedServer>) -> anyhow::Result<Wanted> {
        let mut wanted = match &mut self.scheme {
            Scheme::Usual => Wanted {
                grpc: match role {
                    Role::Meta => META_GRPC + self.metas_seen,
                    Role::Replica => REPLICA_GRPC + self.replicas_seen,
                    Role::Gateway => 0,
                },
                redis: match role {
                    Role::Meta => 0,
                    Role::Replica => REPLICA_REDIS + self.replicas_seen,
                    Role::Gateway if self.gateways_seen == 0 => GATEWAY_REDIS,
                    Role::Gateway => REPLICA_REDIS + self.replica_servers + self.gateways_seen - 1,
                },
                http: HTTP + self.seen,
                may_move: false,
            },
            Scheme::From(next) => {
                let mut take = || {
                    let port = *next;
                    *next = next
                        .checked_add(1)
                        .context("the ports from --base-port on are too few")?;
                    anyhow::Ok(port)
                };
                Wanted {
                    grpc: if role == Role::Gateway { 0 } else { take()? },
                    redis: if role == Role::Meta { 0 } else { take()? },
                    http: take()?,
                    may_move: false,
                }
            }
            Scheme::System => {
                let port =
                    |address: Option<SocketAddr>| address.map_or(0, |address| address.port());
                Wanted {
                    grpc: before.map_or(0, |server| port(server.grpc)),
                    redis: before.map_or(0, |server| port(server.redis)),
                    http: before.map_or(0, |server| port(server.http)),
                    may_move: before.is_some(),
                }
            }
        };
        self.seen += 1;
        match role {
            Role::Meta => self.metas_seen += 1,
            Role::Replica => self.replicas_seen += 1,
            Role::Gateway => {
                if self.gateways_seen == 0
                    && let Some(port) = self.gateway
                {
                    wanted.redis = port;
                    wanted.may_move = false;
                }
                self.gateways_seen += 1;
            }
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// Name, and the ports for gRPC, Redis clients and HTTP.
    type Ports = (String, u16, u16, u16);

    fn ports(directory: &Directory, arguments: &[&str]) -> Vec<Ports> {
        let line = Line::parse_from(std::iter::once(&"onebox").chain(arguments));
        plan(&line.options, directory)
            .unwrap()
            .servers
            .into_iter()
            .map(|Server { name, wanted, .. }| (name, wanted.grpc, wanted.redis, wanted.http))
            .collect()
    }

    fn expected(list: &[(&str, u16, u16, u16)]) -> Vec<Ports> {
        list.iter()
            .map(|&(name, grpc, redis, http)| (name.to_owned(), grpc, redis, http))
            .collect()
    }

    #[test]
    fn servers_get_the_usual_ports_or_those_from_the_base_on() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        assert_eq!(
            ports(&directory, &["--gateways", "2", "--port", "7000"]),
            expected(&[
                ("meta-1", 34601, 0, 34701),
                ("replica-1", 34801, 6380, 34702),
                ("replica-2", 34802, 6381, 34703),
                ("replica-3", 34803, 6382, 34704),
                ("gateway-1", 0, 7000, 34705),
                ("gateway-2", 0, 6383, 34706),
            ])
        );
        assert_eq!(
            ports(
                &directory,
                &["--base-port", "20000", "--replica-servers", "1"]
            ),
            expected(&[
                ("meta-1", 20000, 0, 20001),
                ("replica-1", 20002, 20003, 20004),
                ("gateway-1", 0, 20005, 20006),
            ])
        );
    }

    #[test]
    fn ports_chosen_by_the_system_are_asked_for_again() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        let arguments = ["--base-port", "0", "--replica-servers", "1"];
        assert_eq!(
            ports(&directory, &arguments),
            expected(&[
                ("meta-1", 0, 0, 0),
                ("replica-1", 0, 0, 0),
                ("gateway-1", 0, 0, 0)
            ])
        );
        let server = Server {
            name: "replica-1".into(),
            role: Role::Replica,
            wanted: Wanted::default(),
        };
        let at = Listening {
            grpc: Some("127.0.0.1:4001".parse().unwrap()),
            redis: Some("127.0.0.1:4002".parse().unwrap()),
            http: Some("127.0.0.1:4003".parse().unwrap()),
        };
        let published = Published {
            servers: vec![directory.entry(&server, Some(1), at)],
            ..Published::default()
        };
        directory.publish(&published).unwrap();
        assert_eq!(directory.earlier(), published);
        assert_eq!(
            ports(&directory, &arguments),
            expected(&[
                ("meta-1", 0, 0, 0),
                ("replica-1", 4001, 4002, 4003),
                ("gateway-1", 0, 0, 0)
            ])
        );
    }

    #[test]
    fn several_meta_servers_need_an_ensemble_and_the_directory_remembers_it() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        let line = Line::parse_from(["onebox", "--meta-servers", "2"]);
        let refused = plan(&line.options, &directory).unwrap_err().to_string();
        assert!(refused.contains("--zookeeper"), "{refused}");
        let arguments = [
            "--meta-servers",
            "2",
            "--zookeeper",
            "zk:2181/t",
            "--gateways",
            "0",
        ];
        let names = |ports: Vec<Ports>| -> Vec<(String, u16)> {
            ports
                .into_iter()
                .take(3)
                .map(|(name, grpc, ..)| (name, grpc))
                .collect()
        };
        let planned = names(ports(&directory, &arguments));
        assert_eq!(
            planned,
            [
                ("meta-1".into(), 34601),
                ("meta-2".into(), 34602),
                ("replica-1".into(), 34801)
            ]
        );
        let line = Line::parse_from(std::iter::once(&"onebox").chain(&arguments));
        let Plan { servers, zookeeper } = plan(&line.options, &directory).unwrap();
        let entry = |server: &Server| directory.entry(server, Some(1), Listening::default());
        let published = Published {
            zookeeper,
            servers: servers.iter().map(entry).collect(),
            ..Published::default()
        };
        directory.publish(&published).unwrap();
        assert_eq!(names(ports(&directory, &[])), planned);
    }

    #[test]
    fn a_cluster_that_keeps_its_configuration_itself_is_not_started_on_an_ensemble() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        std::fs::create_dir(scratch.path().join("meta-1")).unwrap();
        std::fs::write(scratch.path().join(EMBEDDED), "").unwrap();
        let line = Line::parse_from(["onebox", "--zookeeper", "zk:2181/t"]);
        let refused = plan(&line.options, &directory).unwrap_err().to_string();
        assert!(refused.contains("another cluster"), "{refused}");
    }

    #[test]
    fn a_directory_with_the_data_of_five_servers_is_not_started_with_three() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        for number in 1..=5 {
            std::fs::create_dir(scratch.path().join(format!("replica-{number}"))).unwrap();
        }
        assert_eq!(ports(&directory, &[]).len(), 7);
        let line = Line::parse_from(["onebox", "--replica-servers", "3"]);
        assert!(plan(&line.options, &directory).is_err());
    }
}
