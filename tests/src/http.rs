//! What servers show over HTTP, fetched with curl as whoever watches them would.

use crate::program::run;
use std::collections::BTreeSet;
use std::process::Command;

/// Status and body of a GET; an error if nobody answers.
pub fn try_get(address: &str, path: &str) -> Result<(u16, String), String> {
    let url = format!("http://{address}{path}");
    let ended =
        run(Command::new("curl").args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", &url]));
    if !ended.status.success() {
        return Err(ended.stderr);
    }
    let (body, status) = ended.stdout.rsplit_once('\n').ok_or("no status")?;
    let status = status.parse().map_err(|_| format!("status {status}"))?;
    Ok((status, body.to_owned()))
}

/// The same where somebody must answer.
pub fn get(address: &str, path: &str) -> (u16, String) {
    try_get(address, path).unwrap_or_else(|error| panic!("http://{address}{path}: {error}"))
}

/// The metrics of one server, as Prometheus gets them.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Asks for them.
    pub fn of(address: &str) -> Self {
        let (status, text) = get(address, "/metrics");
        assert_eq!(status, 200, "{text}");
        assert!(text.ends_with("# EOF\n"), "it is whole: {text}");
        Self(text)
    }

    /// The names under which Prometheus stores them. Of a histogram the base, without `_bucket` and the like.
    pub fn names(&self) -> BTreeSet<String> {
        let types = self
            .0
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "));
        let name = |line: &str| match line.split_once(' ') {
            Some((name, "counter")) => format!("{name}_total"),
            Some((name, _)) => name.to_owned(),
            None => panic!("no type: {line}"),
        };
        types.map(name).collect()
    }

    /// The sum of all samples of a name whose labels contain `labels`.
    pub fn sum(&self, name: &str, labels: &str) -> f64 {
        let samples = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (of, value) = rest.rsplit_once(' ')?;
            let same = of.is_empty() || of.starts_with('{');
            (same && of.contains(labels)).then(|| value.parse::<f64>())
        });
        samples
            .map(|value| value.expect("a value is a number"))
            .sum()
    }
}
