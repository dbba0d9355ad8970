//! All servers of a onebox together: started in order, restarted when they die, stopped in the opposite order.
//!
//! One task per server keeps it running and reports what happens; one loop hears the reports, keeps `onebox.json` true and
//! talks to the user. Everything runs on the main thread (see `process::start`).

use super::layout::{Directory, Plan, Published, Server, Surroundings, Wanted, plan};
use super::options::Options;
use super::{process, table};
use crate::settings::Role;
use crate::supervised::{Listening, say};
use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Servers of a onebox that was killed need a moment to go.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Those who are asked to end first come first: nobody loses the server that it depends on while it ends.
const STOP_ORDER: [Role; 3] = [Role::Gateway, Role::Replica, Role::Meta];

/// Runs a onebox until it is told to stop.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let directory = Directory::open(&options.data_dir)?;
        let _lock = lock(&directory).await?;
        let mut onebox = Onebox::new(directory, options)?;
        let mut signals = Signals::new()?;
        let outcome = onebox.serve(options, &mut signals).await;
        tokio::select! {
            () = onebox.stop() => outcome,
            // The kernel ends the servers with this process.
            () = signals.stop() => bail!("told to stop twice: servers were killed"),
        }
    })
}

/// Takes the directory's lock in a way that every server started from now on holds it too: as long as one of them lives,
/// no other onebox starts here.
async fn lock(directory: &Directory) -> anyhow::Result<File> {
    let path = directory.lock();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let wait_until = tokio::time::Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK) if tokio::time::Instant::now() < wait_until => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(Errno::WOULDBLOCK) => bail!(
                "another onebox runs on {}",
                path.parent().unwrap_or(Path::new("/")).display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
    fcntl_setfd(&file, FdFlags::empty()).context("cannot hand the lock down")?;
    Ok(file)
}

/// What a server's task has seen.
struct Event {
    server: usize,
    what: What,
}

enum What {
    Ready {
        pid: u32,
        listening: Listening,
    },
    /// It did not start; it is tried again.
    Refused(anyhow::Error),
    /// It was ready and is no more; it is started again.
    Died(String),
}

struct Onebox {
    directory: Directory,
    zookeeper: Option<String>,
    servers: Vec<Server>,
    state: Vec<State>,
    tasks: Vec<(Role, JoinHandle<()>)>,
    /// Which roles may run: the tasks of the others stop.
    running: watch::Sender<Vec<Role>>,
    report: mpsc::Sender<Event>,
    reports: mpsc::Receiver<Event>,
}

#[derive(Clone, Copy, Default)]
struct State {
    pid: Option<u32>,
    listening: Listening,
    was_ready: bool,
}

impl Onebox {
    fn new(directory: Directory, options: &Options) -> anyhow::Result<Self> {
        let Plan { servers, zookeeper } = plan(options, &directory)?;
        let (report, reports) = mpsc::channel(1024);
        Ok(Self {
            state: vec![State::default(); servers.len()],
            tasks: Vec::new(),
            running: watch::Sender::new(STOP_ORDER.to_vec()),
            directory,
            zookeeper,
            servers,
            report,
            reports,
        })
    }

    /// Starts everything, says so, and keeps it running until a signal comes. An error means that the start failed.
    async fn serve(&mut self, options: &Options, signals: &mut Signals) -> anyhow::Result<()> {
        for role in [Role::Meta, Role::Replica, Role::Gateway] {
            let around = Surroundings {
                meta: self.meta(),
                zookeeper: self.zookeeper.clone(),
            };
            for (index, server) in self.servers.iter().enumerate() {
                if server.role == role {
                    self.tasks
                        .push((role, self.keep(index, server.clone(), around.clone())));
                }
            }
            while !self.all_ready(role) {
                tokio::select! {
                    event = self.reports.recv() => self.during_start(event)?,
                    () = signals.stop() => return Ok(()),
                }
            }
        }
        {
            let meta = self.meta();
            let prepared = table::prepare(&meta, options, self.count(Role::Replica));
            tokio::pin!(prepared);
            loop {
                tokio::select! {
                    done = &mut prepared => break done?,
                    event = self.reports.recv() => self.hear(event)?,
                    () = signals.stop() => return Ok(()),
                }
            }
        }
        self.say_ready();
        loop {
            tokio::select! {
                event = self.reports.recv() => self.hear(event)?,
                () = signals.stop() => return Ok(()),
            }
        }
    }

    /// A server that does not start while the onebox starts ends the onebox; later it is only reported.
    fn during_start(&mut self, event: Option<Event>) -> anyhow::Result<()> {
        match event {
            Some(Event {
                server,
                what: What::Refused(error),
            }) if !self.state[server].was_ready => {
                Err(error.context(self.servers[server].name.clone()))
            }
            other => self.hear(other),
        }
    }

    fn hear(&mut self, event: Option<Event>) -> anyhow::Result<()> {
        let Some(Event { server, what }) = event else {
            return Ok(());
        };
        let name = &self.servers[server].name;
        let state = &mut self.state[server];
        match what {
            What::Ready { pid, listening } => {
                if state.was_ready {
                    note(&format!("{name} runs again as process {pid}"));
                }
                *state = State {
                    pid: Some(pid),
                    listening,
                    was_ready: true,
                };
            }
            What::Refused(error) => {
                note(&format!("{name} does not start: {error:#}; trying again"));
            }
            What::Died(how) => {
                note(&format!("{name} {how}; starting it again"));
                state.pid = None;
            }
        }
        let path = self.directory.published();
        self.directory
            .publish(&self.published())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn published(&self) -> Published {
        let first = |role| {
            self.servers
                .iter()
                .zip(&self.state)
                .find(|(server, _)| server.role == role)
                .and_then(|(_, state)| state.listening.redis)
        };
        Published {
            redis: first(Role::Gateway).or_else(|| first(Role::Replica)),
            meta: self.meta(),
            zookeeper: self.zookeeper.clone(),
            servers: self
                .servers
                .iter()
                .zip(&self.state)
                .filter(|(_, state)| state.was_ready)
                .map(|(server, state)| self.directory.entry(server, state.pid, state.listening))
                .collect(),
        }
    }

    fn say_ready(&self) {
        let published = self.published();
        let list = |addresses: Vec<SocketAddr>| {
            let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            texts.join(",")
        };
        let page = published
            .servers
            .iter()
            .find(|server| server.role == Role::Meta)
            .and_then(|server| server.http)
            .map_or_else(String::new, |at| format!("page http://{at}/, "));
        say(&format!(
            "ready: redis {}, meta {}, {page}servers in {}",
            list(published.redis.into_iter().collect()),
            list(published.meta),
            self.directory.published().display()
        ));
    }

    fn meta(&self) -> Vec<SocketAddr> {
        self.servers
            .iter()
            .zip(&self.state)
            .filter(|(server, _)| server.role == Role::Meta)
            .filter_map(|(_, state)| state.listening.grpc)
            .collect()
    }

    fn count(&self, role: Role) -> usize {
        self.servers
            .iter()
            .filter(|server| server.role == role)
            .count()
    }

    fn all_ready(&self, role: Role) -> bool {
        self.servers
            .iter()
            .zip(&self.state)
            .all(|(server, state)| server.role != role || state.was_ready)
    }

    fn keep(&self, index: usize, server: Server, around: Surroundings) -> JoinHandle<()> {
        let keeper = Keeper {
            index,
            server,
            around,
            directory: self.directory.clone(),
            report: self.report.clone(),
        };
        tokio::spawn(keeper.run(self.running.subscribe()))
    }

    /// Stops what runs, in order.
    async fn stop(&mut self) {
        for role in STOP_ORDER {
            self.running
                .send_modify(|running| running.retain(|&other| other != role));
            let (these, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tasks)
                .into_iter()
                .partition(|&(of, _)| of == role);
            self.tasks = others;
            for (_, task) in these {
                // A task that panicked took its process with it.
                let _ = task.await;
            }
        }
    }
}

/// Keeps one server running.
struct Keeper {
    index: usize,
    server: Server,
    around: Surroundings,
    directory: Directory,
    report: mpsc::Sender<Event>,
}

impl Keeper {
    async fn run(self, mut running: watch::Receiver<Vec<Role>>) {
        let role = self.server.role;
        let mut wanted = self.server.wanted;
        let told_to_stop = async move {
            running
                .wait_for(|roles| !roles.contains(&role))
                .await
                .is_ok()
        };
        tokio::pin!(told_to_stop);
        loop {
            let started = tokio::select! {
                started = self.start(&mut wanted) => started,
                _ = &mut told_to_stop => return,
            };
            match started {
                Ok(mut process) => {
                    self.report(What::Ready {
                        pid: process.pid,
                        listening: process.listening,
                    });
                    tokio::select! {
                        status = process.ended() => self.report(What::Died(process::describe(status))),
                        _ = &mut told_to_stop => {
                            if !process.stop().await {
                                note(&format!("{} did not end in time and was killed", self.server.name));
                            }
                            return;
                        }
                    }
                }
                Err(error) => self.report(What::Refused(error)),
            }
            tokio::select! {
                () = tokio::time::sleep(RESTART_PAUSE) => {}
                _ = &mut told_to_stop => return,
            }
        }
    }

    /// Starts the server; from then on it keeps the ports it got.
    async fn start(&self, wanted: &mut Wanted) -> anyhow::Result<process::Process> {
        self.directory
            .configure(&self.server, *wanted, &self.around)?;
        let mut started = process::start(&self.directory, &self.server).await;
        if started.is_err() && wanted.may_move {
            *wanted = Wanted::default();
            self.directory
                .configure(&self.server, *wanted, &self.around)?;
            started = process::start(&self.directory, &self.server).await;
        }
        let process = started?;
        let port = |address: Option<SocketAddr>| address.map_or(0, |address| address.port());
        *wanted = Wanted {
            grpc: port(process.listening.grpc),
            redis: port(process.listening.redis),
            http: port(process.listening.http),
            may_move: false,
        };
        Ok(process)
    }

    fn report(&self, what: What) {
        // The loop hears nothing more while it stops, and then nothing needs to be heard.
        let _ = self.report.try_send(Event {
            server: self.index,
            what,
        });
    }
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn note(text: &str) {
    eprintln!("tulpar onebox: {text}");
}
