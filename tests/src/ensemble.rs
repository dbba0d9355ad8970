//! A ZooKeeper ensemble as plain processes: Debian's classes, each server with a directory and ports of its own, gone with the value that
//! holds it.
//!
//! Ticks are short, so that sessions may be too.

use crate::poll::{eventually, until};
use crate::process;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Where Debian has it.
const CLASSES: [&str; 10] = [
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "slf4j-simple",
    "netty-handler",
    "netty-transport",
    "netty-buffer",
    "netty-common",
    "metrics-core",
    "snappy-java",
];

/// How long a server may take to answer what it is.
const ANSWER: Duration = Duration::from_secs(2);

/// A running ensemble.
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Member>,
    _directory: TempDir,
}

#[derive(Debug)]
struct Member {
    directory: PathBuf,
    client: u16,
    process: Option<Child>,
}

impl Ensemble {
    /// One server, or three, or five; returns when they have a leader.
    pub fn start(servers: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the ensemble");
        let ports: Vec<[u16; 3]> = (0..servers).map(|_| [port(), port(), port()]).collect();
        let members = ports
            .iter()
            .enumerate()
            .map(|(index, &[client, ..])| Member {
                directory: configure(directory.path(), index + 1, &ports),
                client,
                process: None,
            })
            .collect();
        let mut ensemble = Self {
            servers: members,
            _directory: directory,
        };
        ensemble.start_again();
        ensemble
    }

    /// `host:port,...` of all servers.
    pub fn servers(&self) -> String {
        let address = |member: &Member| format!("127.0.0.1:{}", member.client);
        let all: Vec<String> = self.servers.iter().map(address).collect();
        all.join(",")
    }

    /// Where clients reach one server.
    pub fn address(&self, index: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.servers[index].client).into()
    }

    /// Starts every server that does not run, and waits until there is a leader.
    pub fn start_again(&mut self) {
        for member in &mut self.servers {
            if member.process.is_none() {
                member.process = Some(start(&member.directory));
            }
        }
        eventually("the ensemble has a leader and serves", || {
            let serving = |member: &Member| {
                let told = ask(member.client, "srvr").unwrap_or_default();
                told.contains("Mode: ")
            };
            let serving = self.servers.iter().filter(|member| serving(member)).count();
            (serving == self.servers.len())
                .then_some(())
                .ok_or_else(|| format!("{serving} serve"))
        });
    }

    /// `kill -9` of all servers.
    pub fn kill_all(&mut self) {
        self.servers.iter_mut().for_each(Member::kill);
    }

    /// `kill -9` of the server that leads the ensemble; returns which. The others go on if they are a majority.
    pub fn kill_leader(&mut self) -> usize {
        let leads = |member: &Member| {
            ask(member.client, "srvr").is_some_and(|told| told.contains("Mode: leader"))
        };
        let index = eventually("a server leads the ensemble", || {
            self.servers
                .iter()
                .position(leads)
                .ok_or_else(|| "none".to_owned())
        });
        self.servers[index].kill();
        index
    }

    /// The servers' processes.
    pub fn processes(&self) -> Vec<u32> {
        let children = self
            .servers
            .iter()
            .filter_map(|member| member.process.as_ref());
        children.map(Child::id).collect()
    }
}

impl Member {
    fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            process::kill(child.id());
            // A killed child ends.
            let _ = child.wait();
        }
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// Writes a server's files; returns its directory.
fn configure(directory: &Path, number: usize, ports: &[[u16; 3]]) -> PathBuf {
    let directory = directory.join(format!("zookeeper-{number}"));
    std::fs::create_dir(&directory).expect("a new directory");
    let client = ports[number - 1][0];
    let mut text = format!(
        "dataDir={}\nclientPort={client}\nclientPortAddress=127.0.0.1\ntickTime=200\nminSessionTimeout=400\nmaxSessionTimeout=60000\ninitLimit=50\nsyncLimit=10\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\nmaxClientCnxns=0\n",
        directory.display()
    );
    if ports.len() > 1 {
        for (index, [_, quorum, election]) in ports.iter().enumerate() {
            let number = index + 1;
            // Writing to a text does not fail.
            let _ = writeln!(text, "server.{number}=127.0.0.1:{quorum}:{election}");
        }
        std::fs::write(directory.join("myid"), number.to_string()).expect("a new file");
    }
    std::fs::write(directory.join("zoo.cfg"), text).expect("a new file");
    directory
}

fn start(directory: &Path) -> Child {
    let path = |name: &&str| format!("/usr/share/java/{name}.jar");
    let classes: Vec<String> = CLASSES.iter().map(path).collect();
    assert!(
        Path::new(&classes[0]).is_file(),
        "there is no {}: `scripts/setup test` installs it",
        classes[0]
    );
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .expect("the ensemble's directory is writable");
    // The kernel ends it with the thread that started it.
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            "java",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
        ])
        .arg(classes.join(":"))
        .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
        .arg(directory.join("zoo.cfg"))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0);
    command
        .spawn()
        .expect("setpriv is there: util-linux has it")
}

/// One of ZooKeeper's words of four letters.
fn ask(port: u16, word: &str) -> Option<String> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    connection.set_read_timeout(Some(ANSWER)).ok()?;
    connection.write_all(word.as_bytes()).ok()?;
    let mut told = String::new();
    connection.read_to_string(&mut told).ok()?;
    Some(told)
}

/// A port that outgoing connections are never given: a server wants it again when it is started again.
fn port() -> u16 {
    let mut found = 0;
    until("a port is free", || {
        found = rand::random_range(15_000..30_000);
        TcpListener::bind((Ipv4Addr::LOCALHOST, found)).is_ok()
    });
    found
}
