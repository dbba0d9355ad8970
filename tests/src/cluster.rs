//! A onebox in a directory of its own: started, killed in part or whole, started again, and gone with the value that holds it.

use crate::poll::{PATIENCE, PAUSE, eventually, until};
use crate::{metas, process, program};
use serde::Deserialize;
use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Instant;
use tempfile::TempDir;

/// What a onebox is asked for. The default is a new user's cluster.
#[derive(Clone, Debug, Default)]
pub struct Options {
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
}

impl Options {
    /// Durability of the table `default`.
    #[must_use]
    pub fn durability(self, durability: &str) -> Self {
        self.argument("--durability", durability)
    }

    /// Partitions of the table `default`.
    #[must_use]
    pub fn partitions(self, partitions: u32) -> Self {
        self.argument("--partitions", &partitions.to_string())
    }

    /// So many meta servers, whose configuration is at a path of an ensemble: `host:port,.../path`.
    #[must_use]
    pub fn meta_servers(self, count: usize, zookeeper: &str) -> Self {
        self.argument("--meta-servers", &count.to_string())
            .argument("--zookeeper", zookeeper)
    }

    /// A setting of the servers' configuration, by its variable: `TULPAR__REPLICA__BUDGETS__LOG`.
    #[must_use]
    pub fn setting(mut self, variable: &str, value: &str) -> Self {
        self.settings.push((variable.to_owned(), value.to_owned()));
        self
    }

    fn argument(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }
}

/// `onebox.json`.
#[derive(Clone, Debug, Deserialize)]
struct Published {
    redis: String,
    meta: Vec<String>,
    servers: Vec<Server>,
}

/// One server of the onebox.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Server {
    /// `replica-1` and the like.
    pub name: String,
    /// `meta`, `replica` or `gateway`.
    pub role: String,
    /// Absent while it is not running.
    pub pid: Option<u32>,
    /// Where programs connect.
    pub grpc: Option<String>,
    /// Where Redis clients connect.
    pub redis: Option<String>,
    /// Where it shows health and metrics.
    pub http: Option<String>,
    /// Where its data is.
    pub data_dir: Option<PathBuf>,
}

impl Server {
    /// The running server's process.
    pub fn process(&self) -> u32 {
        self.pid
            .unwrap_or_else(|| panic!("{} is not running", self.name))
    }
}

/// A running onebox. Dropping it ends every process of it and removes its directory.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    directory: TempDir,
    onebox: Option<Child>,
}

impl Cluster {
    /// A new cluster that serves.
    pub fn start(options: Options) -> Self {
        let mut cluster = Self {
            options,
            directory: tempfile::tempdir().expect("a directory for the cluster"),
            onebox: None,
        };
        cluster.start_again();
        cluster
    }

    /// Starts what was stopped or killed, on the same directory.
    pub fn start_again(&mut self) {
        assert!(self.onebox.is_none(), "the onebox is running");
        let errors = File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("onebox.stderr"))
            .expect("the cluster's directory is writable");
        let mut child = program::command(["onebox", "--base-port", "0", "--data-dir"])
            .arg(self.data_dir())
            .args(&self.options.arguments)
            .envs(self.options.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("tulpar starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("its stdout is a pipe"));
        self.onebox = Some(child);
        let (said, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = said.send(line);
            // Goes on reading, so that a onebox with more to say is never stopped by a full pipe.
            std::io::copy(&mut stdout, &mut std::io::sink())
        });
        let line = ready.recv_timeout(PATIENCE).unwrap_or_default();
        assert!(
            line.starts_with("ready: redis "),
            "the onebox is not ready: {line:?}"
        );
    }

    /// The onebox's own directory.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("onebox")
    }

    /// A place for a test's files, gone with the cluster.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn published(&self) -> Published {
        let path = self.data_dir().join("onebox.json");
        let bytes = std::fs::read(&path).expect("a ready onebox has written onebox.json");
        serde_json::from_slice(&bytes).expect("onebox.json is whole at any time")
    }

    /// All servers as `onebox.json` has them now.
    pub fn servers(&self) -> Vec<Server> {
        self.published().servers
    }

    /// The server of that name.
    pub fn server(&self, name: &str) -> Server {
        let servers = self.servers();
        servers
            .into_iter()
            .find(|server| server.name == name)
            .unwrap_or_else(|| panic!("there is no server {name}"))
    }

    /// The replica servers.
    pub fn replica_servers(&self) -> Vec<Server> {
        let mut servers = self.servers();
        servers.retain(|server| server.role == "replica");
        servers
    }

    /// `host:port` of the gateway.
    pub fn gateway(&self) -> String {
        self.published().redis
    }

    /// `host:port` of every port that speaks RESP, the gateway's first.
    pub fn redis_ports(&self) -> Vec<String> {
        let mut servers = self.servers();
        servers.sort_by_key(|server| server.role != "gateway");
        servers
            .into_iter()
            .filter_map(|server| server.redis)
            .collect()
    }

    /// `host:port` of the meta server; of all of them, with commas between, if there are several.
    pub fn meta(&self) -> String {
        self.published().meta.join(",")
    }

    /// The meta server that leads, once there is one.
    pub fn leader(&self) -> Server {
        eventually("a meta server leads", || {
            let address = metas::leader(&self.published().meta)?;
            let mut servers = self.servers().into_iter();
            servers
                .find(|server| server.grpc.as_ref() == Some(&address) && server.pid.is_some())
                .ok_or_else(|| format!("{address} is nobody's"))
        })
    }

    /// `kill -9` of one server; returns once it is gone.
    pub fn kill(&self, name: &str) -> u32 {
        let killed = self.server(name).process();
        process::kill(killed);
        until("a killed process is gone", || !process::lives(killed));
        killed
    }

    /// SIGTERM to one server, which hands over what it leads; returns once it has ended.
    pub fn terminate(&self, name: &str) -> u32 {
        let stopped = self.server(name).process();
        process::terminate(stopped);
        until("a server that was told to stop has ended", || {
            !process::lives(stopped)
        });
        stopped
    }

    /// Waits until the onebox has started another process for the server.
    pub fn restarted(&self, name: &str, instead_of: u32) -> u32 {
        eventually(&format!("{name} is started again"), || {
            let pid = self.server(name).pid;
            pid.filter(|&pid| pid != instead_of)
                .ok_or_else(|| format!("its process is {pid:?}, {instead_of} was killed"))
        })
    }

    /// Ctrl-C; returns once every process has ended.
    pub fn interrupt(&mut self) {
        let mut onebox = self.onebox.take().expect("the onebox is running");
        let processes = self.processes();
        process::interrupt(onebox.id());
        let status = eventually("the onebox ends after Ctrl-C", || {
            let status = onebox.try_wait().expect("a child can be waited for");
            status.ok_or_else(|| "still running".to_owned())
        });
        assert!(
            status.success(),
            "Ctrl-C is a clean end, not {status}{}",
            self.logs()
        );
        gone(&processes);
    }

    /// `kill -9` of the onebox and all servers at once; returns once they are gone.
    pub fn kill_everything(&mut self) {
        let mut onebox = self.onebox.take().expect("the onebox is running");
        let processes = self.processes();
        process::kill(onebox.id());
        processes.iter().copied().for_each(process::kill);
        onebox.wait().expect("a killed child ends");
        gone(&processes);
    }

    fn processes(&self) -> Vec<u32> {
        let path = self.data_dir().join("onebox.json");
        let published = std::fs::read(path).ok();
        let published =
            published.and_then(|bytes| serde_json::from_slice::<Published>(&bytes).ok());
        let servers = published
            .map(|published| published.servers)
            .unwrap_or_default();
        servers
            .into_iter()
            .filter_map(|server| server.pid)
            .collect()
    }

    /// The last lines that the servers logged, for a failed test's message.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let mut add = |path: &Path| {
            let Ok(log) = std::fs::read_to_string(path) else {
                return;
            };
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n");
            let _ = write!(text, "\n--- {}\n{last}", path.display());
        };
        add(&self.directory.path().join("onebox.stderr"));
        let logs = std::fs::read_dir(self.data_dir().join("logs"));
        logs.into_iter()
            .flatten()
            .flatten()
            .for_each(|file| add(&file.path()));
        text
    }
}

fn gone(processes: &[u32]) {
    for &number in processes {
        until("every server has ended", || !process::lives(number));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        let Some(mut onebox) = self.onebox.take() else {
            return;
        };
        let processes = self.processes();
        // The kernel ends the servers with the onebox.
        process::kill(onebox.id());
        let _ = onebox.wait();
        // Before its directory goes too: a dying server may still write. No panic here, a failed test has one already.
        let end = Instant::now() + PATIENCE;
        while processes.iter().any(|&number| process::lives(number)) && Instant::now() < end {
            std::thread::sleep(PAUSE);
        }
    }
}
