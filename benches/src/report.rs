//! What people read: the machine, the table of ratios beside what each is to reach, and behind it where each ratio comes from.

use crate::load::{CONNECTIONS, KEYS, Load, VALUE};
use crate::measure::{Cell, Measured, Side};
use crate::plan::{Depth, Door, Row, Subject};
use anyhow::Context;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// With more than that to do already, the machine measures the others' work too.
const BUSY: f64 = 0.5;

/// Where and with what it was measured.
#[derive(Debug)]
pub(crate) struct Machine {
    versions: String,
    cores: usize,
    processor: String,
    load_average: String,
    directory: PathBuf,
}

impl Machine {
    pub(crate) fn look(tulpar: &Path, directory: &Path) -> anyhow::Result<Self> {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, it)| it);
        let load_average =
            fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
        Ok(Machine {
            versions: format!(
                "{}, {}, {}",
                version(tulpar.as_os_str().as_ref())?,
                version("redis-server".as_ref())?,
                version("redis-benchmark".as_ref())?
            ),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: processor.to_owned(),
            load_average: load_average
                .split_ascii_whitespace()
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
            directory: directory.to_owned(),
        })
    }

    fn busy(&self) -> bool {
        self.load_average
            .split(' ')
            .next()
            .and_then(|one| one.parse::<f64>().ok())
            .is_some_and(|load| load > BUSY)
    }
}

/// The first words of what a program says about its version.
fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    // "Redis server v=7.0.15 sha=..."; the others say no more than name and version.
    Ok(said
        .split(" sha=")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.versions)?;
        writeln!(
            f,
            "{} cores ({}), load average {} at the start, data in {}",
            self.cores,
            self.processor,
            self.load_average,
            self.directory.parent().unwrap_or(&self.directory).display()
        )?;
        if self.busy() {
            writeln!(
                f,
                "The machine was busy with something else when this began: ratios at -P 1 are the ones that suffer."
            )?;
        }
        Ok(())
    }
}

/// One line of progress.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -P {}: ", self.row, self.depth.commands())?;
        match &self.outcome {
            Ok(measured) => write!(
                f,
                "{:.2} ({:.0} to {:.0} a second)",
                measured.ratio(),
                measured.subject.median_per_second(),
                measured.redis.median_per_second()
            ),
            Err(error) => write!(f, "failed: {error:#}"),
        }
    }
}

/// The whole result.
pub(crate) struct Report<'a> {
    machine: &'a Machine,
    load: &'a Load,
    cells: &'a [Cell],
}

impl<'a> Report<'a> {
    pub(crate) fn new(machine: &'a Machine, load: &'a Load, cells: &'a [Cell]) -> Self {
        Report {
            machine,
            load,
            cells,
        }
    }

    fn rows(&self, wanted: Section) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .cells
            .iter()
            .map(|cell| cell.row)
            .filter(|row| Section::of(*row) == wanted)
            .collect();
        rows.dedup();
        rows
    }

    fn ratios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for section in [Section::Primary, Section::Gateway, Section::Redis] {
            let rows = self.rows(section);
            if rows.is_empty() {
                continue;
            }
            writeln!(
                f,
                "| {} | -P 1 | to reach | -P 16 | to reach |",
                section.title()
            )?;
            writeln!(f, "|---|---|---|---|---|")?;
            for row in rows {
                write!(f, "| {row} |")?;
                for depth in [Depth::One, Depth::Sixteen] {
                    let cell = self
                        .cells
                        .iter()
                        .find(|cell| cell.row == row && cell.depth == depth);
                    let ratio = cell.map_or_else(String::new, |cell| match &cell.outcome {
                        Ok(measured) => format!("{:.2}", measured.ratio()),
                        Err(_) => "failed".to_owned(),
                    });
                    let reach = row
                        .reach(depth)
                        .map_or_else(String::new, |reach| format!("{reach:.2}"));
                    write!(f, " {ratio} | {reach} |")?;
                }
                writeln!(f)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn origins(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Operations a second are medians; processor time is microseconds an operation, with what is done after the last answer."
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "| | -P | ratio of each pair | Redis /s | peer /s | Redis µs | peer µs |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for cell in self.cells {
            let Ok(measured) = &cell.outcome else {
                continue;
            };
            let operations = self.load.operations(cell.depth) * measured.ratios.len() as u64;
            writeln!(
                f,
                "| {} | {} | {}{} | {:.0} | {:.0} | {} | {} |",
                cell.row,
                cell.depth.commands(),
                pairs(measured),
                if measured.primary_moved {
                    " (the primary moved)"
                } else {
                    ""
                },
                measured.redis.median_per_second(),
                measured.subject.median_per_second(),
                processor(&measured.redis, operations),
                processor(&measured.subject, operations),
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "Ratios to Redis without persistence, medians of {} pairs: {CONNECTIONS} connections, {VALUE}-byte values, {KEYS} random keys;",
            self.load.pairs
        )?;
        for &depth in &self.load.depths {
            writeln!(
                f,
                "-P {}: {} operations a run.",
                depth.commands(),
                self.load.operations(depth)
            )?;
        }
        writeln!(f)?;
        self.ratios(f)?;
        self.origins(f)?;
        for cell in self.cells {
            match &cell.outcome {
                Ok(measured) => {
                    for failure in &measured.failures {
                        writeln!(f, "{cell}, but a pair had to be made again: {failure}")?;
                    }
                }
                Err(_) => writeln!(f, "{cell}")?,
            }
        }
        Ok(())
    }
}

fn pairs(measured: &Measured) -> String {
    measured
        .ratios
        .iter()
        .map(|ratio| format!("{ratio:.2}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn processor(side: &Side, operations: u64) -> String {
    let of_role = |(role, used): &(&str, std::time::Duration)| {
        let each = used.as_secs_f64() * 1e6 / operations as f64;
        // An idle server would only be noise.
        (each >= 0.05).then(|| format!("{role} {each:.1}"))
    };
    side.processor
        .iter()
        .filter_map(of_role)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The parts of the table of ratios.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Primary,
    Gateway,
    Redis,
}

impl Section {
    fn of(row: Row) -> Self {
        match row.subject {
            Subject::Tulpar(setting) => match setting.door {
                Door::Primary => Section::Primary,
                Door::Gateway => Section::Gateway,
            },
            Subject::RedisAppendOnly => Section::Redis,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Section::Primary => "at the primary's own port, one partition",
            Section::Gateway => "through the gateway, eight partitions",
            Section::Redis => "for orientation",
        }
    }
}
