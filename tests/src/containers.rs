//! The cluster of `deploy/compose/compose.yaml` on the Docker Engine: images of the built `tulpar`, a project, a network and ports of its own,
//! all gone with the value that holds it, and also when this process is killed.

use crate::program;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What the Compose file gives whoever gives no secrets.
pub const HTTP_SECRET: &str = "http-example";

/// Lines of each container's log that a failure shows.
const TAIL: &str = "40";

/// Why there can be no containers here, if there can be none.
pub fn missing_engine() -> Option<String> {
    match Command::new("docker").arg("info").output() {
        Ok(answer) if answer.status.success() => None,
        Ok(answer) => Some(String::from_utf8_lossy(&answer.stderr).trim().to_owned()),
        Err(error) => Some(format!("docker: {error}")),
    }
}

/// The running cluster.
#[derive(Debug)]
pub struct Containers {
    project: String,
    cleaner: Child,
}

impl Containers {
    /// Builds the images and starts everything; what starts has not begun to serve.
    pub fn start() -> Self {
        let project = format!("tulpar-test-{}", std::process::id());
        let build = deploy("images/build");
        ran(Command::new(build)
            .env("TULPAR_TAG", &project)
            .arg("--tulpar")
            .arg(program::path()));
        let containers = Self {
            cleaner: cleaner(&project),
            project,
        };
        containers.compose(&["up", "--detach"]);
        containers
    }

    /// Where a port of a service is published.
    pub fn address(&self, service: &str, port: u16) -> String {
        let said = self.compose(&["port", service, &port.to_string()]);
        said.trim().to_owned()
    }

    /// `tulpar shell` in the container of a service; what it printed, or why it failed.
    pub fn shell(&self, service: &str, arguments: &[&str]) -> Result<String, String> {
        let all = [&["exec", "-T", service, "tulpar", "shell"], arguments].concat();
        output(self.command().args(all))
    }

    /// `kill -9`; Docker leaves a container that it was told to kill as it is.
    pub fn kill(&self, service: &str) {
        self.compose(&["kill", "-s", "KILL", service]);
    }

    /// Starts a container that was killed, with the data that it had.
    pub fn start_again(&self, service: &str) {
        self.compose(&["start", service]);
    }

    fn compose(&self, arguments: &[&str]) -> String {
        ran(self.command().args(arguments))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker-compose");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TULPAR_") {
                command.env_remove(name);
            }
        }
        command
            .args(["--project-name", &self.project, "--file"])
            .arg(deploy("compose/compose.yaml"))
            .env("TULPAR_TAG", &self.project);
        // The system chooses.
        for port in ["PORT_1", "PORT_2", "PAGE_1", "PAGE_2", "PAGE_3"] {
            command.env(format!("TULPAR_{port}"), "0");
        }
        command
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = ["logs", "--no-color", "--tail", TAIL];
            match output(self.command().args(logs)) {
                Ok(logs) | Err(logs) => eprintln!("{logs}"),
            }
        }
        drop(self.cleaner.stdin.take());
        let _ = self.cleaner.wait();
    }
}

/// A process that removes everything of a project when its input ends, that is when this process does at the latest.
fn cleaner(project: &str) -> Child {
    const CLEANING: &str = r#"cat
docker-compose --project-name "$0" --file "$1" down --volumes --remove-orphans
docker rmi "tulpar:$0" "tulpar-zookeeper:$0""#;
    Command::new("sh")
        .args(["-c", CLEANING, project])
        .arg(deploy("compose/compose.yaml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Who ends a test ends its process group.
        .process_group(0)
        .spawn()
        .expect("there is a shell")
}

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}

/// What a command printed; panics if it failed.
fn ran(command: &mut Command) -> String {
    output(command).unwrap_or_else(|said| panic!("{command:?}: {said}"))
}

/// What a command printed, or what it said when it failed. It may take its time: packages are fetched, containers started and stopped.
fn output(command: &mut Command) -> Result<String, String> {
    let ended = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{error}; `scripts/setup test` installs what is missing"))?;
    let stdout = String::from_utf8_lossy(&ended.stdout).into_owned();
    if ended.status.success() {
        Ok(stdout)
    } else {
        Err(stdout + &String::from_utf8_lossy(&ended.stderr))
    }
}
