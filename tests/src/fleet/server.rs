//! One server of a fleet: its configuration file, its process, its death.

use super::boot::Boot;
use super::clock::Clock;
use super::disk::Disk;
use super::network::Host;
use super::preload;
use super::proxy::Proxy;
use super::volatile::VolatileDisk;
use crate::poll::{PATIENCE, until};
use crate::{process, program};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;

/// What a server is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Keeps the configuration.
    Meta,
    /// Keeps data.
    Replica,
    /// Keeps nothing.
    Gateway,
}

impl Role {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Replica => "replica",
            Self::Gateway => "gateway",
        }
    }
}

/// One port: where the server listens, and where others reach it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Port {
    /// The server's own.
    pub own: SocketAddr,
    /// The same, or that of a proxy before it.
    pub reached: SocketAddr,
}

/// A server that can be started, stopped and started again.
#[derive(Debug)]
pub struct Server {
    /// `replica-1` and the like.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Where it lives.
    pub host: Host,
    /// For programs and other servers; a gateway has none.
    pub grpc: Option<Port>,
    /// For Redis clients; a meta server has none.
    pub redis: Option<Port>,
    /// Its data; a gateway has none.
    pub data_dir: Option<PathBuf>,
    /// What its data is on, if that is a disk of its own.
    pub disk: Option<Disk>,
    /// The same in memory.
    pub volatile: Option<VolatileDisk>,
    /// What stands before its ports.
    pub proxies: Vec<Proxy>,
    /// What it takes the time of day from, if that can be stepped.
    pub clock: Option<Clock>,
    /// In which boot of the machine it runs, if not in the real one.
    pub boot: Option<Boot>,
    config: PathBuf,
    log: PathBuf,
    process: Option<Child>,
    stopped: bool,
}

impl Server {
    /// A server that does not run yet; its files will be in `directory`.
    pub fn new(name: String, role: Role, host: Host, directory: &Path) -> Self {
        let file = |folder: &str, end: &str| directory.join(folder).join(format!("{name}.{end}"));
        Self {
            config: file("config", "toml"),
            log: file("logs", "log"),
            grpc: (role != Role::Gateway).then(|| port(&host)),
            redis: (role != Role::Meta).then(|| port(&host)),
            data_dir: (role != Role::Gateway).then(|| directory.join(&name)),
            name,
            role,
            host,
            disk: None,
            volatile: None,
            proxies: Vec::new(),
            clock: None,
            boot: None,
            process: None,
            stopped: false,
        }
    }

    /// Writes its configuration file.
    pub fn configure(&self, text: &str) -> std::io::Result<()> {
        std::fs::write(&self.config, text)
    }

    /// Puts proxies before its ports. Others are told of them only if it was not configured yet.
    pub fn put_behind_proxies(&mut self) -> std::io::Result<()> {
        for port in self.grpc.iter_mut().chain(&mut self.redis) {
            port.reached = self::port(&self.host).own;
            self.proxies
                .push(Proxy::start(&self.host, port.reached, port.own)?);
        }
        Ok(())
    }

    /// Starts its process and waits until it says that it is ready. Must be called from a thread that lives as long as the server
    /// should: the kernel ends the server with it.
    pub fn start(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "{} is running", self.name);
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| format!("{}: {error}", self.log.display()))?;
        let mut command = self.host.command(program::path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TULPAR_") {
                command.env_remove(name);
            }
        }
        let clock = self.clock.iter().map(Clock::preloaded);
        let preloaded: Vec<_> = clock.chain(self.boot.iter().map(Boot::preloaded)).collect();
        let mut child = command
            .args([self.role.name(), "--supervised-by"])
            .arg(std::process::id().to_string())
            .arg("--config")
            .arg(&self.config)
            .envs(preload::environment(&preloaded))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", self.name))?;
        let stdout = child.stdout.take().expect("its stdout is a pipe");
        self.process = Some(child);
        self.stopped = false;
        let (said, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = said.send(line);
        });
        let line = ready.recv_timeout(PATIENCE).unwrap_or_default();
        if line.contains("\"ready\"") {
            return Ok(());
        }
        self.kill();
        Err(format!("{} is not ready: {line:?}", self.name))
    }

    /// Its process, while it has one.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Whether its process is there, stopped or not.
    pub fn lives(&self) -> bool {
        self.pid().is_some_and(process::lives)
    }

    /// Whether it was stopped by [`pause`](Self::pause).
    pub fn is_paused(&self) -> bool {
        self.stopped
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid as i32));
        // A process that has ended by itself, and is not waited for yet, takes signals too.
        kill_process(pid.expect("it was started"), signal).expect("it is ours");
    }

    /// `kill -9`. Returns once it is gone.
    pub fn kill(&mut self) {
        self.strike();
        self.reap();
    }

    /// `kill -9`, without waiting: for several at once.
    pub fn strike(&self) {
        if self.process.is_some() {
            self.signal(Signal::KILL);
        }
    }

    /// Waits until a struck process is gone.
    pub fn reap(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.wait().expect("a killed child ends");
        }
    }

    /// SIGTERM; returns once it has ended, which it must in peace.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let mut child = self.process.take().expect("it was started");
        let name = &self.name;
        let mut status = None;
        until(&format!("{name} ends after SIGTERM"), || {
            status = child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        assert!(
            status.is_some_and(|status| status.success()),
            "{name}: {status:?}"
        );
    }

    /// SIGSTOP.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.stopped = true;
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.stopped = false;
    }

    /// The last lines that it logged.
    pub fn last_words(&self, lines: usize) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.thaw();
        }
        self.kill();
    }
}

/// A port nobody has. In a namespace of its own a server could have any; on loopback it must be one that outgoing connections
/// are never given, because the server wants it again at every start.
fn port(host: &Host) -> Port {
    let own = (0..1000)
        .map(|_| rand::random_range(15_000..30_000))
        .find(|&port| {
            host.namespace.is_some() || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        })
        .map(|port| SocketAddr::from((host.address, port)))
        .expect("a thousand ports are not all taken");
    Port { own, reached: own }
}
