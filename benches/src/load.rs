//! The load: redis-benchmark, and what comes before a run (an empty peer, or one with every key).
//!
//! Whose port it is, and what is done with the figure, is not its business.

use crate::child::{LOOK, OwnedChild};
use crate::plan::{Depth, Operation};
use anyhow::{Context, bail};
use redis::Connection;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Connections of redis-benchmark.
pub(crate) const CONNECTIONS: u32 = 50;
/// Bytes of a value.
pub(crate) const VALUE: usize = 100;
/// Random keys, or fields of the one hash.
pub(crate) const KEYS: u32 = 100_000;

/// Commands of one batch when every key is written before reads.
const FILL_BATCH: u32 = 1_000;
/// How long a peer may take for one answer outside the runs.
const ANSWER_PATIENCE: Duration = Duration::from_mins(1);
/// A run that is slower than this hangs.
const SLOWEST_PER_SECOND: u64 = 1_000;

/// Whether a run waits for what the run before it put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settling {
    Awaited,
    /// Saves most of the time of runs that measure nothing anyway.
    Ignored,
}

/// How much load each run is, and how many runs there are.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) depths: Vec<Depth>,
    pub(crate) operations_at_one: u64,
    pub(crate) operations_at_sixteen: u64,
    pub(crate) pairs: usize,
    pub(crate) settling: Settling,
}

impl Load {
    pub(crate) fn operations(&self, depth: Depth) -> u64 {
        match depth {
            Depth::One => self.operations_at_one,
            Depth::Sixteen => self.operations_at_sixteen,
        }
    }
}

/// A connection for what is not measured.
pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Connection> {
    let client = redis::Client::open(format!("redis://{address}/"))?;
    let connection = client
        .get_connection_with_timeout(ANSWER_PATIENCE)
        .with_context(|| format!("cannot connect to {address}"))?;
    connection.set_read_timeout(Some(ANSWER_PATIENCE))?;
    connection.set_write_timeout(Some(ANSWER_PATIENCE))?;
    Ok(connection)
}

/// Empties the peer; for reads, writes every key that redis-benchmark will ask for.
pub(crate) fn prepare(address: SocketAddr, operation: Operation) -> anyhow::Result<()> {
    let mut connection = connect(address)?;
    redis::cmd("FLUSHALL")
        .exec(&mut connection)
        .context("FLUSHALL")?;
    if operation != Operation::Get {
        return Ok(());
    }
    let value = [b'x'; VALUE];
    for first in (0..KEYS).step_by(FILL_BATCH as usize) {
        let mut batch = redis::pipe();
        for key in first..KEYS.min(first + FILL_BATCH) {
            batch
                .cmd("SET")
                .arg(format!("key:{key:012}"))
                .arg(&value)
                .ignore();
        }
        batch
            .exec(&mut connection)
            .context("writing the keys to be read")?;
    }
    let kept: u32 = redis::cmd("DBSIZE")
        .query(&mut connection)
        .context("DBSIZE")?;
    if kept != KEYS {
        bail!("{KEYS} keys were written, the peer has {kept}");
    }
    Ok(())
}

/// Runs redis-benchmark once and says how many operations a second it counted. An error in place of an answer is no operation:
/// a run with one fails.
pub(crate) fn run(
    address: SocketAddr,
    operation: Operation,
    depth: Depth,
    operations: u64,
) -> anyhow::Result<f64> {
    let mut benchmark = OwnedChild(
        Command::new("redis-benchmark")
            .args([
                "-h",
                &address.ip().to_string(),
                "-p",
                &address.port().to_string(),
            ])
            .args([
                "-c",
                &CONNECTIONS.to_string(),
                "-d",
                &VALUE.to_string(),
                "-r",
                &KEYS.to_string(),
            ])
            .args([
                "-n",
                &operations.to_string(),
                "-P",
                &depth.commands().to_string(),
            ])
            .args(["-t", &operation.name().to_lowercase(), "--csv"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start redis-benchmark (Debian's package redis-tools has it)")?,
    );
    let deadline =
        Instant::now() + ANSWER_PATIENCE + Duration::from_secs(operations / SLOWEST_PER_SECOND);
    let status = loop {
        if let Some(status) = benchmark.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            bail!("redis-benchmark hangs");
        }
        std::thread::sleep(LOOK);
    };
    let mut said = String::new();
    benchmark
        .stdout
        .take()
        .context("no stdout")?
        .read_to_string(&mut said)?;
    benchmark
        .stderr
        .take()
        .context("no stderr")?
        .read_to_string(&mut said)?;
    // It ends at the first error.
    if !status.success() || said.contains("Error") {
        let reason = said
            .lines()
            .find(|line| line.contains("Error"))
            .unwrap_or(&said);
        bail!("redis-benchmark: {}", reason.trim());
    }
    per_second(&said, operation)
        .with_context(|| format!("redis-benchmark said no figure but: {said}"))
}

/// The figure in redis-benchmark's `--csv`: `"SET","114025.09",...`.
fn per_second(csv: &str, operation: Operation) -> Option<f64> {
    csv.lines().find_map(|line| {
        let mut fields = line.split(',').map(|field| field.trim_matches('"'));
        (fields.next()? == operation.name())
            .then(|| fields.next()?.parse().ok())
            .flatten()
    })
}

/// That the writes of a run are there: nearly every key (or field) was drawn, and what was drawn exists.
pub(crate) fn check_written(
    address: SocketAddr,
    operation: Operation,
    operations: u64,
) -> anyhow::Result<()> {
    let mut connection = connect(address)?;
    let kept: u64 = match operation {
        Operation::Get => return Ok(()),
        Operation::Set | Operation::Incr => redis::cmd("DBSIZE").query(&mut connection)?,
        Operation::Hset => redis::cmd("HLEN").arg("myhash").query(&mut connection)?,
    };
    let expected = different(operations);
    if (kept as f64) < expected * 0.97 {
        bail!(
            "{operations} {}s left {kept} keys or fields, where {expected:.0} were to be expected",
            operation.name()
        );
    }
    Ok(())
}

/// How many different keys so many random draws hit, on average.
fn different(draws: u64) -> f64 {
    let keys = f64::from(KEYS);
    keys * (1.0 - (-(draws as f64) / keys).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_is_found_in_the_line_of_the_command() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\"SET\",\"114025.09\",\"6.243\"\n";
        assert_eq!(per_second(csv, Operation::Set), Some(114_025.09));
        assert_eq!(per_second(csv, Operation::Get), None);
        assert_eq!(
            per_second("WARNING: could not fetch\n\"GET\",\"7\"", Operation::Get),
            Some(7.0)
        );
    }

    #[test]
    fn as_many_draws_as_keys_hit_about_two_thirds_of_them() {
        assert!((different(u64::from(KEYS)) - 63_212.0).abs() < 1.0);
        assert!(different(5_000_000) > 99_999.0);
    }
}
