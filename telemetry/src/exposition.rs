//! The metrics of one answer, gathered by name and written in the `OpenMetrics` text format, which Prometheus reads.

use crate::latency::{BOUNDS, Counts};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// What its `Content-Type` is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics under way to whoever asked for them.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<Family>,
}

/// All samples of one name.
#[derive(Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Vec<(&'static str, String)>, Value)>,
}

/// One sample's value.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a gauge or a counter.
    Number(f64),
    /// Of a histogram of seconds. (Boxed: the others are small.)
    Seconds(Box<Counts>),
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Counts> for Value {
    fn from(counts: Counts) -> Self {
        Self::Seconds(Box::new(counts))
    }
}

impl Exposition {
    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.gauges(name, help).sample(&[], value);
    }

    /// The same with labels: the samples are added to what is returned.
    pub fn gauges(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, MetricType::Gauge)
    }

    /// A number that only grows while the process lives. In the text, and in queries, its name ends with `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.counters(name, help).sample(&[], value);
    }

    /// The same with labels.
    pub fn counters(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, MetricType::Counter)
    }

    /// Durations, in seconds.
    pub fn histogram(&mut self, name: &'static str, help: &'static str, counts: Counts) {
        self.histograms(name, help).sample(&[], counts);
    }

    /// The same with labels.
    pub fn histograms(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, MetricType::Histogram)
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: MetricType) -> &mut Family {
        self.families.push(Family {
            name,
            help,
            kind,
            samples: Vec::new(),
        });
        let last = self.families.len() - 1;
        &mut self.families[last]
    }

    /// All of it, in the text format.
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        if let Err(error) = text::encode(&mut text, &registry) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

impl Family {
    /// Adds one.
    pub fn sample(&mut self, labels: &[(&'static str, &str)], value: impl Into<Value>) {
        let labels = labels
            .iter()
            .map(|&(label, value)| (label, value.to_owned()))
            .collect();
        self.samples.push((labels, value.into()));
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (labels, value) in &self.samples {
            if labels.is_empty() {
                self.encode_value(&mut metric, value)?;
            } else {
                self.encode_value(&mut metric.encode_family(labels)?, value)?;
            }
        }
        Ok(())
    }

    fn encode_value(&self, metric: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
        match value {
            Value::Number(number) if matches!(self.kind, MetricType::Counter) => {
                metric.encode_counter::<NoLabelSet, _, f64>(number, None)
            }
            Value::Number(number) => metric.encode_gauge(number),
            Value::Seconds(counts) => {
                let bounds = BOUNDS.iter().map(std::time::Duration::as_secs_f64);
                let buckets: Vec<(f64, u64)> =
                    bounds.chain([f64::INFINITY]).zip(counts.buckets).collect();
                let sum = counts.sum.as_secs_f64();
                metric.encode_histogram::<NoLabelSet>(sum, counts.total(), &buckets, None)
            }
        }
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.families
            .iter()
            .try_for_each(|family| family.encode(&mut encoder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Latencies;
    use std::time::Duration;

    #[test]
    fn metrics_are_written_as_prometheus_reads_them() {
        let mut exposition = Exposition::default();
        exposition.gauge("a", "An a.", 1.5);
        exposition
            .counters("b", "Many b.")
            .sample(&[("table", "a \"b\"\n")], 3.0);
        exposition.gauges("none", "No sample.");
        let latencies = Latencies::default();
        latencies.record(Duration::from_micros(60));
        latencies.record(Duration::from_mins(1));
        exposition
            .histograms("c_seconds", "How long.")
            .sample(&[("durability", "sync")], latencies.counts());
        let text = exposition.text();
        for line in [
            "# HELP a An a.",
            "# TYPE a gauge",
            "a 1.5",
            "# TYPE b counter",
            r#"b_total{table="a \"b\"\n"} 3.0"#,
            "# TYPE none gauge",
            "# TYPE c_seconds histogram",
            r#"c_seconds_bucket{le="0.00005",durability="sync"} 0"#,
            r#"c_seconds_bucket{le="0.0001",durability="sync"} 1"#,
            r#"c_seconds_bucket{le="3.2768",durability="sync"} 1"#,
            r#"c_seconds_bucket{le="+Inf",durability="sync"} 2"#,
            r#"c_seconds_count{durability="sync"} 2"#,
            r#"c_seconds_sum{durability="sync"} 60.00006"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
