//! One server's process: started from its configuration file, heard once on stdout, stopped politely, then not.
//!
//! Nothing is decided here about restarting; see `supervise`.

use super::layout::{Directory, Server};
use crate::supervised::{Listening, Report};
use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// How long a server may take to end when asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// A server that said it is ready.
pub(super) struct Process {
    child: Child,
    /// Kept open: a server that writes to a closed pipe would get an error for it.
    _stdout: BufReader<ChildStdout>,
    pub(super) pid: u32,
    pub(super) listening: Listening,
}

/// Starts `server` from its configuration file and waits until it is ready, or has said why it cannot be.
///
/// Must run on the process's main thread: the kernel ends the server when the thread that started it ends.
pub(super) async fn start(directory: &Directory, server: &Server) -> anyhow::Result<Process> {
    let log_path = directory.log(&server.name);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot write {}", log_path.display()))?;
    let executable = std::env::current_exe().context("cannot find this executable")?;
    let mut child = Command::new(executable)
        .arg(server.role.name())
        .arg("--config")
        .arg(directory.config(&server.name))
        .arg("--supervised-by")
        .arg(std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C is for the onebox alone, which then stops its servers in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a process")?;
    let pid = child.id().context("the process ended at once")?;
    let mut stdout = BufReader::new(child.stdout.take().context("the process has no stdout")?);

    let mut line = String::new();
    stdout.read_line(&mut line).await?;
    match serde_json::from_str(&line) {
        Ok(Report::Ready(listening)) => Ok(Process {
            child,
            _stdout: stdout,
            pid,
            listening,
        }),
        Ok(Report::Failed(reason)) => {
            let _ = child.wait().await;
            Err(anyhow!(reason))
        }
        Err(_) => {
            let _ = child.start_kill();
            let status = child.wait().await?;
            bail!(
                "{} before it was ready; its log is {}",
                describe(status),
                log_path.display()
            )
        }
    }
}

impl Process {
    /// Waits until the server ends by itself.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        // An error loses the status, not that it ended.
        self.child.wait().await.unwrap_or_default()
    }

    /// Asks the server to end, and makes it when it takes too long. Says whether it ended by itself.
    pub(super) async fn stop(mut self) -> bool {
        if let Some(pid) = Pid::from_raw(self.pid as i32) {
            // Not SIGTERM: where all end there is nobody to hand anything over to. Gone already is as good.
            let _ = kill_process(pid, Signal::INT);
        }
        if tokio::time::timeout(STOP_PATIENCE, self.child.wait())
            .await
            .is_ok()
        {
            return true;
        }
        let _ = self.child.kill().await;
        false
    }
}

/// How a process ended, for people.
pub(super) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
