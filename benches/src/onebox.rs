//! A whole Tulpar cluster on this machine as a peer: `tulpar onebox`, and who in it is the primary.

use crate::child::{LOOK, OwnedChild};
use crate::plan::{Door, Setting};
use crate::processor::Process;
use anyhow::{Context, bail};
use serde::Deserialize;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const START_PATIENCE: Duration = Duration::from_mins(2);

/// A running onebox; it ends, and its servers with it, when dropped.
#[derive(Debug)]
pub(crate) struct Onebox {
    // Declared first: the servers end before anybody removes their directory.
    _child: OwnedChild,
    tulpar: PathBuf,
    directory: PathBuf,
    door: Door,
}

/// DIR/onebox.json, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Layout {
    redis: SocketAddr,
    meta: Vec<String>,
    servers: Vec<Server>,
}

#[derive(Debug, Deserialize)]
struct Server {
    name: String,
    role: String,
    pid: u32,
}

/// `tulpar shell --json partitions default`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Partitions {
    partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    primary: Option<Primary>,
    secondaries: Vec<serde::de::IgnoredAny>,
}

/// The replica server that leads a partition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Primary {
    name: String,
    redis: SocketAddr,
}

/// Where the load goes at this moment, and which processes serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) address: SocketAddr,
    pub(crate) processes: Vec<Process>,
}

impl Onebox {
    /// Starts a cluster in `directory`, which it makes, and waits until its table serves.
    pub(crate) fn start(tulpar: &Path, directory: &Path, setting: Setting) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let (out, errors) = (directory.join("stdout"), directory.join("stderr"));
        let data = directory.join("data");
        let copies = setting.copies.count().to_string();
        let child = Command::new(tulpar)
            .arg("onebox")
            .arg("--data-dir")
            .arg(&data)
            .args([
                "--base-port",
                "0",
                "--replica-servers",
                &copies,
                "--replicas",
                &copies,
            ])
            .args(["--partitions", &setting.door.partitions().to_string()])
            .args(["--durability", setting.durability.name()])
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&errors)?)
            .spawn()
            .with_context(|| format!("cannot start {}", tulpar.display()))?;
        let mut child = OwnedChild(child);

        let deadline = Instant::now() + START_PATIENCE;
        while !fs::read_to_string(&out)?.starts_with("ready: ") {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "tulpar onebox ended ({status}): {}",
                    fs::read_to_string(&errors)?.trim()
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "tulpar onebox is not ready after {START_PATIENCE:?}: {}",
                    fs::read_to_string(&errors)?.trim()
                );
            }
            std::thread::sleep(LOOK);
        }
        let onebox = Onebox {
            _child: child,
            tulpar: tulpar.to_owned(),
            directory: data,
            door: setting.door,
        };
        onebox.wait_for_all_copies(setting, deadline)?;
        Ok(onebox)
    }

    /// The cluster is ready when it can serve; what is measured is a cluster in which every partition has all its copies.
    fn wait_for_all_copies(&self, setting: Setting, deadline: Instant) -> anyhow::Result<()> {
        loop {
            let partitions = self.partitions(&self.layout()?)?;
            let whole = |partition: &Partition| {
                partition.primary.is_some()
                    && partition.secondaries.len() as u32 + 1 == setting.copies.count()
            };
            if partitions.len() == setting.door.partitions() as usize
                && partitions.iter().all(whole)
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("not every partition has all its copies: {partitions:?}");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Whom to send the load to now. It changes when a primary does.
    pub(crate) fn standing(&self) -> anyhow::Result<Standing> {
        let layout = self.layout()?;
        let (address, primary) = match self.door {
            Door::Gateway => (layout.redis, None),
            Door::Primary => {
                let partitions = self.partitions(&layout)?;
                let [
                    Partition {
                        primary: Some(primary),
                        ..
                    },
                ] = partitions.as_slice()
                else {
                    bail!("there is no one primary: {partitions:?}");
                };
                (primary.redis, Some(primary.name.clone()))
            }
        };
        let role = |server: &Server| match server.role.as_str() {
            "replica" if primary.as_ref() == Some(&server.name) => "primary",
            "replica" if primary.is_some() => "secondaries",
            "replica" => "replicas",
            "gateway" => "gateway",
            _ => "meta",
        };
        let mut processes: Vec<Process> = layout
            .servers
            .iter()
            .map(|server| Process {
                role: role(server),
                pid: server.pid,
            })
            .collect();
        processes.sort_by_key(|process| process.role);
        Ok(Standing { address, processes })
    }

    fn layout(&self) -> anyhow::Result<Layout> {
        let path = self.directory.join("onebox.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what it should be", path.display()))
    }

    fn partitions(&self, layout: &Layout) -> anyhow::Result<Vec<Partition>> {
        let output = Command::new(&self.tulpar)
            .args([
                "shell",
                "--json",
                "--meta",
                &layout.meta.join(","),
                "partitions",
                "default",
            ])
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!(
                "tulpar shell: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let partitions: Partitions = serde_json::from_slice(&output.stdout)
            .context("`tulpar shell --json partitions` is not what it should be")?;
        Ok(partitions.partitions)
    }
}
