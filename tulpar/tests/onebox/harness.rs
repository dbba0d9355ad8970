//! Starts oneboxes, talks to them, stops or kills them. What is started here never outlives the test.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tulpar");
/// For what takes as long as it takes; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A directory that goes away with the test.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

pub(crate) struct Onebox {
    process: Child,
    directory: PathBuf,
}

impl Onebox {
    /// Starts one and waits for its ready line.
    pub(crate) fn start(scratch: &Scratch, options: &[&str]) -> Self {
        let directory = scratch.0.path().join("onebox");
        let mut process = Command::new(PROGRAM)
            .args(["onebox", "--base-port", "0", "--data-dir"])
            .arg(&directory)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let onebox = Self { process, directory };
        assert!(line.starts_with("ready: redis 127.0.0.1:"), "said {line:?}");
        onebox
    }

    pub(crate) fn directory(&self) -> String {
        self.directory.to_str().unwrap().to_owned()
    }

    /// The contents of onebox.json.
    pub(crate) fn published(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.directory.join("onebox.json")).unwrap()).unwrap()
    }

    /// One server as onebox.json has it.
    pub(crate) fn server(&self, name: &str) -> Value {
        let published = self.published();
        let servers = published["servers"].as_array().unwrap();
        servers
            .iter()
            .find(|server| server["name"] == name)
            .unwrap()
            .clone()
    }

    pub(crate) fn redis(&self) -> Client {
        Client::connect(self.published()["redis"].as_str().unwrap())
    }

    /// The answer of a shell command.
    pub(crate) fn shell(&self, command: &[&str]) -> Value {
        let output = self.run_shell(command);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {error}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The exit code of a shell command that is refused, with nothing on stdout and a reason on stderr.
    pub(crate) fn shell_refuses(&self, command: &[&str]) -> i32 {
        let output = self.run_shell(command);
        assert!(!output.status.success(), "{command:?}");
        assert!(output.stdout.is_empty(), "{command:?}");
        assert!(!output.stderr.is_empty(), "{command:?}");
        output.status.code().unwrap()
    }

    fn run_shell(&self, command: &[&str]) -> std::process::Output {
        let meta = self.published()["meta"][0].as_str().unwrap().to_owned();
        Command::new(PROGRAM)
            .args(["shell", "--json", "--meta", &meta])
            .args(command)
            .output()
            .unwrap()
    }

    /// As Ctrl-C does.
    pub(crate) fn stop(mut self) {
        send(self.process.id(), Signal::INT);
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Kills the onebox, and so every server with it.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Onebox {
    fn drop(&mut self) {
        // Has ended already if the test went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks until it is so.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        // Only so that asking leaves the servers some of the machine.
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Sends a signal to a server of onebox.json.
pub(crate) fn signal(server: &Value, signal: Signal) {
    send(server["pid"].as_u64().unwrap() as u32, signal);
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

/// Runs the program with arguments that cannot work: the one line that it says.
pub(crate) fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty());
    said
}

/// A Redis client of few words: inline commands, one-line answers.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// The reply's line; of a bulk the body, `(nil)` for none.
    pub(crate) fn say(&mut self, command: &str) -> String {
        write!(self.stream.get_mut(), "{command}\r\n").unwrap();
        self.reply()
    }

    /// All commands at once; the replies in order.
    pub(crate) fn say_all(&mut self, commands: &[String]) -> Vec<String> {
        let pipeline = commands.join("\r\n") + "\r\n";
        self.stream
            .get_mut()
            .write_all(pipeline.as_bytes())
            .unwrap();
        commands.iter().map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> String {
        let line = self.line();
        match line.strip_prefix('$') {
            None => line,
            Some("-1") => "(nil)".to_owned(),
            Some(length) => {
                let mut body = vec![0; length.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut body).unwrap();
                body.truncate(body.len() - 2);
                String::from_utf8(body).unwrap()
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
