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

/// What ZooKeeper makes the password of a session from, together with its number; the same in all versions so far.
const PASSWORDS: u64 = 0xB341_5C00;

/// A running ensemble.
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Member>,
    _directory: TempDir,
}

/// A client's session, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session(u64);

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

    /// The sessions that hold a znode under this path as its latch, in their order: the first one leads, the others wait. Of a server alone.
    pub fn holders(&self, path: &str) -> Vec<Session> {
        let told = ask(self.servers[0].client, "dump").unwrap_or_default();
        let mut holders = Vec::new();
        let mut session = None;
        for line in told.lines() {
            let number = line
                .strip_prefix("0x")
                .and_then(|rest| rest.strip_suffix(':'));
            if let Some(number) = number {
                session = u64::from_str_radix(number, 16).ok();
            }
            let znode = line.trim().strip_prefix(path);
            if let (Some(session), Some((_, place))) =
                (session, znode.and_then(|name| name.rsplit_once('-')))
            {
                holders.push((place.to_owned(), Session(session)));
            }
        }
        holders.sort_by(|(a, _), (b, _)| a.cmp(b));
        holders.into_iter().map(|(_, session)| session).collect()
    }

    /// Ends a session from outside, as ZooKeeper itself does when its time is over; returns when what it held is gone. Its client, which
    /// loses its connection by that, is told when it connects again.
    pub fn expire(&self, session: Session, path: &str) {
        until("a session has ended", || {
            // The client itself may come between: its connection takes the session away from ours.
            let _ = end(self.servers[0].client, session);
            !self.holders(path).contains(&session)
        });
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
        "dataDir={}\nclientPort={client}\nclientPortAddress=127.0.0.1\ntickTime=200\nminSessionTimeout=400\nmaxSessionTimeout=60000\ninitLimit=50\nsyncLimit=10\nadmin.enableServer=false\n4lw.commands.whitelist=srvr,dump\nmaxClientCnxns=0\n",
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

/// Takes a session over and closes it, in ZooKeeper's own words: a connection that goes on with it, and the request that ends it.
fn end(port: u16, session: Session) -> std::io::Result<()> {
    let mut said = Vec::new();
    let mut say = |message: &[&[u8]]| {
        let message = message.concat();
        said.extend((message.len() as u32).to_be_bytes());
        said.extend(message);
    };
    say(&[
        &0u32.to_be_bytes(),      // the protocol's version
        &0u64.to_be_bytes(),      // the last change that was seen
        &1000u32.to_be_bytes(),   // the timeout
        &session.0.to_be_bytes(), // its number
        &16u32.to_be_bytes(),     // the password's length
        &password(session),
        &[0], // not only for reading
    ]);
    say(&[&1u32.to_be_bytes(), &(-11i32).to_be_bytes()]);
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(ANSWER))?;
    connection.write_all(&said)?;
    // The server closes the connection of a session that has ended.
    std::io::copy(&mut connection, &mut std::io::sink()).map(drop)
}

/// The first 16 bytes that Java's `Random` draws with the session's number as its seed.
fn password(session: Session) -> [u8; 16] {
    const FACTOR: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = (session.0 ^ PASSWORDS ^ FACTOR) & MASK;
    let mut drawn = [0; 16];
    for bytes in drawn.chunks_exact_mut(4) {
        state = state.wrapping_mul(FACTOR).wrapping_add(0xB) & MASK;
        bytes.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    drawn
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
