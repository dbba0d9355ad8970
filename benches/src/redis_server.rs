//! Debian's redis-server as a peer, with and without an append-only file.

use crate::child::{LOOK, OwnedChild};
use crate::load::connect;
use crate::processor::Process;
use anyhow::{Context, bail};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const START_PATIENCE: Duration = Duration::from_secs(20);
/// The port was free a moment ago; somebody may have taken it.
const ATTEMPTS: usize = 5;

/// What the Redis keeps on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    Nothing,
    AppendOnlyEverySecond,
}

/// A running redis-server; it ends when dropped.
#[derive(Debug)]
pub(crate) struct RedisServer {
    child: OwnedChild,
    pub(crate) address: SocketAddr,
}

impl RedisServer {
    /// Starts one with its files in `directory`, which must exist, and waits until it answers.
    pub(crate) fn start(directory: &Path, persistence: Persistence) -> anyhow::Result<Self> {
        let mut failure = anyhow::anyhow!("not tried");
        for _ in 0..ATTEMPTS {
            match Self::start_once(directory, persistence) {
                Ok(server) => return Ok(server),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn start_once(directory: &Path, persistence: Persistence) -> anyhow::Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let append_only = match persistence {
            Persistence::Nothing => "no",
            Persistence::AppendOnlyEverySecond => "yes",
        };
        let log_path = directory.join("redis.log");
        let child = Command::new("redis-server")
            .args([
                "--port",
                &address.port().to_string(),
                "--bind",
                &address.ip().to_string(),
            ])
            .args([
                "--save",
                "",
                "--appendonly",
                append_only,
                "--appendfsync",
                "everysec",
            ])
            // A rewrite of the file in a child process would go on into the other peer's run.
            .args(["--auto-aof-rewrite-percentage", "0"])
            .arg("--dir")
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(File::create(&log_path)?)
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start redis-server (Debian's package redis-server has it)")?;
        let mut server = RedisServer {
            child: OwnedChild(child),
            address,
        };

        let deadline = Instant::now() + START_PATIENCE;
        while !server.answers() {
            if let Some(status) = server.child.try_wait()? {
                bail!(
                    "redis-server ended ({status}): {}",
                    std::fs::read_to_string(&log_path)
                        .unwrap_or_default()
                        .trim()
                );
            }
            if Instant::now() > deadline {
                bail!("redis-server does not answer");
            }
            std::thread::sleep(LOOK);
        }
        Ok(server)
    }

    /// Whether it is this process that answers at the port, not another that took it first.
    fn answers(&self) -> bool {
        let ask = || -> anyhow::Result<String> {
            Ok(redis::cmd("INFO")
                .arg("server")
                .query(&mut connect(self.address)?)?)
        };
        let own = format!("process_id:{}", self.child.id());
        ask().is_ok_and(|info| info.lines().any(|line| line.trim_end() == own))
    }

    /// Its one process.
    pub(crate) fn processes(&self) -> Vec<Process> {
        vec![Process {
            role: "server",
            pid: self.child.id(),
        }]
    }
}
