//! What a server process says to whoever started it, and what ties it to `tulpar onebox`.
//!
//! A server says on stdout that it is ready and where it listens: to people as a line, to onebox as JSON. A server that
//! onebox started is killed by the kernel when onebox ends, however it ends, so no server of a onebox is ever left behind.

use crate::settings::Role;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::net::SocketAddr;

/// Where a server listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Listening {
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) redis: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
}

/// What a supervised server writes to stdout: one line of JSON, once.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Report {
    Ready(Listening),
    Failed(String),
}

/// A server's voice towards who started it.
pub(crate) struct Reporter {
    role: Role,
    supervised: bool,
}

impl Reporter {
    /// Ties this process to its supervisor, if it has one.
    pub(crate) fn new(role: Role, supervisor: Option<i32>) -> Self {
        if let Some(supervisor) = supervisor {
            die_with(supervisor);
        }
        Self {
            role,
            supervised: supervisor.is_some(),
        }
    }

    /// The server accepts connections.
    pub(crate) fn ready(&self, listening: Listening) {
        if self.supervised {
            report(&Report::Ready(listening));
            return;
        }
        let grpc = listening.grpc.map(|address| format!("grpc {address}"));
        let redis = listening.redis.map(|address| format!("redis {address}"));
        let http = listening.http.map(|address| format!("http {address}"));
        let addresses: Vec<String> = grpc.into_iter().chain(redis).chain(http).collect();
        say(&format!(
            "tulpar {} ready: {}",
            self.role.name(),
            addresses.join(", ")
        ));
    }

    /// The server will not start. For people the reason goes to stderr when the process ends.
    pub(crate) fn failed(&self, reason: &str) {
        if self.supervised {
            report(&Report::Failed(reason.to_owned()));
        }
    }
}

fn report(report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        say(&line);
    }
}

/// A closed stdout is not this server's problem.
pub(crate) fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// The kernel sends SIGKILL when the thread that started this process ends: onebox starts servers from its main thread only.
fn die_with(supervisor: i32) {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
    let tied = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    // It may have ended before the tie was made; then someone else is the parent by now.
    let parent = getppid().map(Pid::as_raw_nonzero).map(Into::into);
    if !tied || parent != Some(supervisor) {
        std::process::exit(2);
    }
}
