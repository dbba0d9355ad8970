//! The built `tulpar`: where it is, and one run of it from start to end; and what a test says that finds no way to run what it needs.

use crate::poll::PATIENCE;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

/// The binary under test: `TULPAR_BIN`, or the one beside the test executables.
pub fn path() -> PathBuf {
    if let Some(named) = std::env::var_os("TULPAR_BIN") {
        let path = PathBuf::from(named);
        assert!(
            path.is_file(),
            "TULPAR_BIN names {}, which is no file",
            path.display()
        );
        return path;
    }
    // A program is target/release/NAME, a test target/release/deps/NAME-HASH.
    let executable = std::env::current_exe().expect("a program knows its executable");
    let folder = executable.parent().expect("an executable is in a folder");
    let profile = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    let path = profile.join("tulpar");
    assert!(
        path.is_file(),
        "there is no {}: build it with `cargo build --release --bins`, or name one in TULPAR_BIN",
        path.display()
    );
    path
}

/// `tulpar` with the arguments, and without the tester's own settings.
pub fn command<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TULPAR_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// What a run left.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
}

/// Runs a command that must end by itself.
pub fn run(command: &mut Command) -> Ended {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let end = Instant::now() + PATIENCE;
    let reader = child.stdout.take().map(reading);
    let errors = child.stderr.take().map(reading);
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let text = |thread: Option<std::thread::JoinHandle<String>>| {
        thread.map_or_else(String::new, |thread| {
            thread.join().expect("reading does not panic")
        })
    };
    Ended {
        status,
        stdout: text(reader),
        stderr: text(errors),
    }
}

fn reading(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Runs a start that must be refused: exit code 2 and one line on stderr, which is returned.
pub fn refused(command: &mut Command) -> String {
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(2), "{command:?}: {ended:?}");
    let line = ended.stderr.trim_end();
    assert!(
        !line.is_empty() && !line.contains('\n'),
        "one line, not: {}",
        ended.stderr
    );
    line.to_owned()
}

/// Says that nothing is shown here, because this machine has not what a test needs. Where everything must be shown (`CI` is set, as `.ci/run`
/// does) that is a failure.
pub fn shows_nothing(of: &str, reason: &str) {
    let must = std::env::var_os("CI").is_some_and(|set| !set.is_empty());
    assert!(!must, "nothing is shown of {of}: {reason}");
    println!("SKIPPED: nothing is shown of {of}: {reason}");
}
