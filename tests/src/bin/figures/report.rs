//! Lines for docs/faults.md.

use std::time::Duration;

/// Spans, sorted.
pub(crate) struct Spans(Vec<Duration>);

impl Spans {
    pub(crate) fn new(mut spans: Vec<Duration>) -> Self {
        spans.sort_unstable();
        Self(spans)
    }

    /// The smallest span that so many per cent of all do not exceed.
    fn percentile(&self, percent: usize) -> Duration {
        let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Spans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, high, most] =
            [50, 99, 100].map(|percent| self.percentile(percent).as_secs_f64() * 1000.0);
        write!(
            f,
            "p50 {median:.0} ms, p99 {high:.0} ms, longest {most:.0} ms of {}",
            self.0.len()
        )
    }
}

/// One line of the table.
pub(crate) fn line(what: &str, result: &str) {
    println!("| {what} | {result} |");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_that_were_measured() {
        let spans = |count: u64| Spans::new((1..=count).rev().map(Duration::from_millis).collect());
        assert_eq!(
            spans(200).to_string(),
            "p50 100 ms, p99 198 ms, longest 200 ms of 200"
        );
        assert_eq!(
            spans(1).to_string(),
            "p50 1 ms, p99 1 ms, longest 1 ms of 1"
        );
        assert_eq!(
            spans(0).to_string(),
            "p50 0 ms, p99 0 ms, longest 0 ms of 0"
        );
    }
}
