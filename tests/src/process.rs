//! What the kernel says of a process: whether it lives, how much memory it holds, what its threads do. And signals to it.

use crate::poll::until;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::time::Duration;

fn pid(number: u32) -> Pid {
    Pid::from_raw(number as i32).expect("a process id is not zero")
}

/// Sends SIGKILL, as `kill -9` does. A process that is gone already is as good.
pub fn kill(number: u32) {
    let _ = kill_process(pid(number), Signal::KILL);
}

/// Sends SIGINT, as Ctrl-C does.
pub fn interrupt(number: u32) {
    kill_process(pid(number), Signal::INT).expect("the process is there to be interrupted");
}

/// Sends SIGTERM, as whoever runs services does to stop one.
pub fn terminate(number: u32) {
    kill_process(pid(number), Signal::TERM).expect("the process is there to be stopped");
}

/// Sends SIGSTOP: the process does nothing more until [`go_on`].
pub fn stop(number: u32) {
    kill_process(pid(number), Signal::STOP).expect("the process is there to be stopped");
    // One of its threads has to take the signal; until that one has its turn the others go on.
    until("all threads are stopped", || {
        let threads =
            std::fs::read_dir(format!("/proc/{number}/task")).expect("the process is there");
        threads.flatten().all(|thread| {
            std::fs::read_to_string(thread.path().join("stat"))
                .is_ok_and(|stat| stat.rsplit(')').next().unwrap_or("").starts_with(" T"))
        })
    });
}

/// Sends SIGCONT.
pub fn go_on(number: u32) {
    kill_process(pid(number), Signal::CONT).expect("the process is there to go on");
}

/// Whether the process is there and not a zombie.
pub fn lives(number: u32) -> bool {
    test_kill_process(pid(number)).is_ok()
        && std::fs::read_to_string(format!("/proc/{number}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

/// The resident memory in bytes.
pub fn resident(number: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{number}/status"))
        .unwrap_or_else(|error| panic!("process {number} is gone: {error}"));
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("a living process has resident memory");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("VmRSS is a number of kB");
    kib * 1024
}

/// A thread of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thread {
    /// As the program called it.
    pub name: String,
    /// The processor time it has used.
    pub used: Duration,
}

/// The threads of a process; none if it is gone.
pub fn threads(number: u32) -> Vec<Thread> {
    let tasks = std::fs::read_dir(format!("/proc/{number}/task"));
    let read = |task: std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        // "schedstat" counts nanoseconds, "stat" hundredths of a second.
        let used = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some(Thread {
            name: name.trim_end().to_owned(),
            used: Duration::from_nanos(used.split_whitespace().next()?.parse().ok()?),
        })
    };
    tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(read)
        .collect()
}

/// The processor time that all threads of a process have used so far, those that are gone left out.
pub fn used(number: u32) -> Duration {
    threads(number).iter().map(|thread| thread.used).sum()
}
