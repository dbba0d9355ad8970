//! How much processor time processes used, read from /proc.

use std::time::{Duration, Instant};

/// A server is quiet when it uses at most a twentieth of a core for that long.
const QUIET_FOR: Duration = Duration::from_millis(200);
const QUIET_SHARE: f64 = 0.05;
/// A server that is still busy after that is measured as it is.
const QUIET_PATIENCE: Duration = Duration::from_secs(30);
/// Linux shows times to programs in hundredths of a second, whatever it counts in itself (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A server's process and what it does for the peer it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) role: &'static str,
    pub(crate) pid: u32,
}

/// Processor time of each role so far, user and system, in the order in which the roles first appear.
pub(crate) fn used(processes: &[Process]) -> Vec<(&'static str, Duration)> {
    let mut roles: Vec<(&'static str, Duration)> = Vec::new();
    for process in processes {
        // A process that ended in between counts as none: the figure is an explanation, not a result.
        let used = of(process.pid).unwrap_or_default();
        match roles.iter_mut().find(|(role, _)| *role == process.role) {
            Some((_, sum)) => *sum += used,
            None => roles.push((process.role, used)),
        }
    }
    roles
}

/// Waits until the processes have done what they put off, so that it neither disturbs the other peer's run nor goes uncounted.
pub(crate) fn wait_until_quiet(processes: &[Process]) {
    let total = || {
        used(processes)
            .iter()
            .map(|(_, used)| *used)
            .sum::<Duration>()
    };
    let deadline = Instant::now() + QUIET_PATIENCE;
    while Instant::now() < deadline {
        let (before, began) = (total(), Instant::now());
        std::thread::sleep(QUIET_FOR);
        if total().saturating_sub(before) <= began.elapsed().mul_f64(QUIET_SHARE) {
            return;
        }
    }
}

fn of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    TICK.checked_mul(ticks(&stat)?)
}

/// User and system time of one line of /proc/PID/stat. The second field, the name, may hold blanks and parentheses.
fn ticks(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_with_blanks_and_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 120 34 0 0 20 0 5 0 100 1000 50";
        assert_eq!(ticks(stat), Some(154));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn the_roles_of_several_processes_are_summed_and_one_that_is_gone_counts_as_none() {
        let own = std::process::id();
        let process = |role, pid| Process { role, pid };
        let roles = used(&[
            process("b", own),
            process("a", u32::MAX),
            process("b", u32::MAX),
        ]);
        assert_eq!(
            roles.iter().map(|(role, _)| *role).collect::<Vec<_>>(),
            ["b", "a"]
        );
        assert_eq!(roles[1].1, Duration::ZERO);
    }
}
