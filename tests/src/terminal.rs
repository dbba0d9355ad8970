//! A run of a program in a terminal of its own, so that what it does only there is seen; also one that is typed to.

use crate::poll::{PATIENCE, eventually};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What a run in a terminal left.
#[derive(Debug)]
pub struct Shown {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything that was sent to the terminal, stdout and stderr as they came, with its control sequences.
    pub text: String,
}

/// Runs a command that must end by itself, with a terminal of so many columns as its stdout and stderr.
pub fn run(mut command: Command, columns: u16) -> Shown {
    let (mut terminal, inside) = open(columns);
    let errors = inside.try_clone().expect("a file descriptor");
    let mut child = command
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(inside)
        .stderr(errors)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    // It holds the terminal's inner side: else the end of what is shown would never come.
    drop(command);
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // Ends with an error when nobody has the inner side any more.
        let _ = terminal.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("a program in a terminal does not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let text = reader.join().expect("reading does not panic");
    Shown { status, text }
}

/// A program that somebody types to. Dropping it ends it.
#[derive(Debug)]
pub struct Typist {
    terminal: File,
    shown: Arc<Mutex<String>>,
    child: Child,
}

impl Typist {
    /// Starts the program in a terminal of so many columns.
    pub fn start(mut command: Command, columns: u16) -> Self {
        let (terminal, inside) = open(columns);
        let another = || inside.try_clone().expect("a file descriptor");
        let child = command
            .env("TERM", "xterm")
            .stdin(another())
            .stdout(another())
            .stderr(another())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let shown = Arc::<Mutex<String>>::default();
        let mut reader = terminal.try_clone().expect("a file descriptor");
        let told = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Ends with an error when nobody has the inner side any more.
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..read]);
                told.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&text);
            }
        });
        Self {
            terminal,
            shown,
            child,
        }
    }

    /// Presses these keys.
    pub fn press(&mut self, keys: &str) {
        let typed = self.terminal.write_all(keys.as_bytes());
        typed.expect("the terminal takes what is typed");
    }

    /// Waits until this is shown; returns all that was until then, which counts no more the next time.
    pub fn sees(&self, text: &str) -> String {
        eventually(&format!("{text:?} is shown"), || {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            if shown.contains(text) {
                Ok(std::mem::take(&mut *shown))
            } else {
                Err(shown.clone())
            }
        })
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        // One that has ended by itself is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both sides of a new terminal.
fn open(columns: u16) -> (File, OwnedFd) {
    let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .expect("the system has terminals");
    grantpt(&outer).expect("a terminal of our own");
    unlockpt(&outer).expect("a terminal of our own");
    let name = ptsname(&outer, Vec::new()).expect("a terminal has a name");
    let inner = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().expect("its name is a path"))
        .expect("the inner side");
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&inner, size).expect("a terminal has a size");
    (outer.into(), inner.into())
}
