//! What every process says of itself: the metrics that Prometheus' own libraries call `process_*`, and which program it is.

use crate::{Exposition, Role};
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs;

pub(crate) fn describe(role: Role, started: f64, into: &mut Exposition) {
    into.gauges(
        "tulpar_build_info",
        "Always 1; the labels say which program this is.",
    )
    .sample(
        &[
            ("role", role.name()),
            ("version", env!("CARGO_PKG_VERSION")),
        ],
        1.0,
    );
    into.gauge(
        "process_start_time_seconds",
        "When the process started, in Unix time.",
        started,
    );
    let used = clock_gettime(ClockId::ProcessCPUTime);
    into.counter(
        "process_cpu_seconds",
        "Processor time used by all threads.",
        used.tv_sec as f64 + used.tv_nsec as f64 / 1e9,
    );
    if let Some((virtual_bytes, resident_bytes)) = memory() {
        into.gauge(
            "process_virtual_memory_bytes",
            "Address space in use.",
            virtual_bytes as f64,
        );
        into.gauge(
            "process_resident_memory_bytes",
            "Memory in use.",
            resident_bytes as f64,
        );
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the reading of the directory.
        let open = open.count().saturating_sub(1);
        into.gauge("process_open_fds", "Open files and sockets.", open as f64);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        into.gauge("process_max_fds", "How many may be open.", most as f64);
    }
}

/// Address space and resident memory, in bytes.
fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split(' ').map(str::parse::<u64>);
    let size = page_size() as u64;
    Some((pages.next()?.ok()? * size, pages.next()?.ok()? * size))
}

/// Memory in use, in bytes; 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    memory().map_or(0, |(_, resident)| resident)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_says_which_program_it_is_and_what_it_uses() {
        let mut exposition = Exposition::default();
        describe(Role::Gateway, 1.5, &mut exposition);
        let text = exposition.text();
        assert!(text.contains("tulpar_build_info{role=\"gateway\",version=\""));
        for name in [
            "process_resident_memory_bytes",
            "process_cpu_seconds_total",
            "process_open_fds",
        ] {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name} ")));
            let value: f64 = value
                .unwrap_or_else(|| panic!("{name} in {text}"))
                .parse()
                .unwrap();
            assert!(value > 0.0, "{name}");
        }
    }
}
