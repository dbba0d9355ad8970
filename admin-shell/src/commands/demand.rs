//! What one replica server is set to, and what it measures.

use super::Failure;
use super::servers::{Client, ask_one};
use crate::admin::Admin;
use crate::answer::Answer;
use crate::grid::Grid;
use proto::inspect::{ConfigRequest, ConfigResponse, MetricsRequest, MetricsResponse};
use serde_json::{Map, Value, json};

/// What is set at a server; only keys with `filter` in them, if one is given.
pub(super) async fn config(
    admin: &mut Admin,
    node: &str,
    filter: Option<&str>,
) -> Result<Answer, Failure> {
    let ask = |mut client: Client, request| async move { client.config(request).await };
    let (_, answer): (_, ConfigResponse) = ask_one(admin, node, ConfigRequest {}, ask).await?;
    let mut lines = Grid::new(&["key", "value"]);
    let mut values = Map::new();
    for setting in answer.settings {
        if !wanted(&setting.key, filter) {
            continue;
        }
        let value: Value = serde_json::from_str(&setting.value)
            .map_err(|error| Failure::Other(format!("{}: {error}", setting.key)))?;
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        lines.add_row([setting.key.clone(), text]);
        values.insert(setting.key, value);
    }
    Ok(Answer::new(Value::Object(values), lines.to_string()))
}

/// What a server measures; only what has `filter` in its name or labels, if one is given. Buckets of histograms only if they are asked for.
pub(super) async fn metrics(
    admin: &mut Admin,
    node: &str,
    filter: Option<&str>,
) -> Result<Answer, Failure> {
    let ask = |mut client: Client, request| async move { client.metrics(request).await };
    let (_, answer): (_, MetricsResponse) = ask_one(admin, node, MetricsRequest {}, ask).await?;
    let buckets = filter.is_some_and(|filter| filter.contains("bucket"));
    let mut lines = Grid::new(&["metric", "labels", "value"]);
    let mut values = Vec::new();
    for sample in answer.text.lines().filter_map(Sample::parse) {
        let called = format!("{}{{{}}}", sample.name, sample.labels);
        if !wanted(&called, filter) || sample.name.ends_with("_bucket") && !buckets {
            continue;
        }
        lines.add_row([
            sample.name.to_owned(),
            sample.labels.to_owned(),
            sample.value.to_owned(),
        ]);
        values.push(json!({
            "name": sample.name,
            "labels": sample.labels(),
            "value": sample.number(),
        }));
    }
    Ok(Answer::new(Value::Array(values), lines.to_string()))
}

fn wanted(text: &str, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| text.to_lowercase().contains(&filter.to_lowercase()))
}

/// A line of the `OpenMetrics` text format: `name{label="value",...} number`.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: &'a str,
}

impl<'a> Sample<'a> {
    /// Nothing for a comment.
    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (called, value) = line.rsplit_once(' ')?;
        let (name, labels) = called.split_once('{').unwrap_or((called, "}"));
        Some(Self {
            name,
            labels: labels.strip_suffix('}')?,
            value,
        })
    }

    fn labels(&self) -> Map<String, Value> {
        let mut labels = Map::new();
        let mut rest = self.labels;
        while let Some((label, after)) = rest.split_once("=\"") {
            let mut value = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                match characters.next() {
                    None => break after.len(),
                    Some((at, '"')) => break at + 1,
                    Some((_, '\\')) => match characters.next() {
                        Some((_, 'n')) => value.push('\n'),
                        Some((_, escaped)) => value.push(escaped),
                        None => {}
                    },
                    Some((_, plain)) => value.push(plain),
                }
            };
            labels.insert(label.trim_start_matches(',').to_owned(), value.into());
            rest = &after[end..];
        }
        labels
    }

    /// As JSON has numbers; what it has not, as infinity, stays text.
    fn number(&self) -> Value {
        let number = self.value.parse().ok();
        let number = number.and_then(serde_json::Number::from_f64);
        number.map_or_else(|| Value::from(self.value), Value::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_as_they_are_written() {
        let sample = Sample::parse(r#"a_total{table="x \"y\", {z}",kind="q"} 3.5"#).unwrap();
        assert_eq!(sample.name, "a_total");
        assert_eq!(
            Value::Object(sample.labels()),
            json!({ "table": "x \"y\", {z}", "kind": "q" })
        );
        assert_eq!(sample.number(), json!(3.5));
        let plain = Sample::parse("b +Inf").unwrap();
        assert_eq!((plain.name, plain.labels), ("b", ""));
        assert_eq!(plain.number(), json!("+Inf"));
        assert!(Sample::parse("# TYPE b gauge").is_none());
    }
}
