//! What a meta server can be told, with the defaults.

use serde::{Deserialize, Deserializer};
use std::path::PathBuf;
use std::time::Duration;

/// Configuration of one meta server.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetaConfig {
    /// Where to listen, host:port; port 0 lets the system choose. Other than loopback needs both secrets, or `allow_unauthenticated`.
    pub listen: String,
    /// Where the cluster's configuration is kept. Table passwords are in it as they are given: it is created readable by its owner only.
    pub data_dir: PathBuf,
    /// Administration needs it, in the gRPC metadata key `admin-secret`. Empty: none is needed.
    pub admin_secret: String,
    /// Replica servers need it to join. Empty: none is needed.
    pub cluster_secret: String,
    /// Listen beyond loopback although a secret is missing: whoever reaches the port may administer the cluster or join it.
    pub allow_unauthenticated: bool,
    /// How long a partition stays short of a copy before another node gets one, if the one that had it does not come back.
    #[serde(deserialize_with = "duration")]
    pub repair_delay: Duration,
    /// How long a dropped table can be recalled.
    #[serde(deserialize_with = "duration")]
    pub drop_retention: Duration,
    /// A replica server that sent nothing for so long is disconnected. Changes no configuration by itself.
    #[serde(deserialize_with = "duration")]
    pub beat_timeout: Duration,
    /// Replicas that are brought in on one node at a time.
    pub learns_per_node: usize,
}

impl Default for MetaConfig {
    fn default() -> Self {
        let settings = placement::Settings::default();
        Self {
            listen: "127.0.0.1:34601".into(),
            data_dir: "data/meta".into(),
            admin_secret: String::new(),
            cluster_secret: String::new(),
            allow_unauthenticated: false,
            repair_delay: settings.repair_delay,
            drop_retention: settings.drop_retention,
            beat_timeout: settings.beat_timeout,
            learns_per_node: settings.learns_per_node,
        }
    }
}

impl MetaConfig {
    /// What of it the cluster's brain wants to know.
    pub(crate) fn settings(&self) -> placement::Settings {
        placement::Settings {
            repair_delay: self.repair_delay,
            drop_retention: self.drop_retention,
            beat_timeout: self.beat_timeout,
            learns_per_node: self.learns_per_node.max(1),
            ..placement::Settings::default()
        }
    }
}

/// Reads `500ms`, `5s`, `5min`, `24h`, `7d`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "a duration is a whole number with ms, s, min, h or d behind it, not '{text}'"
        ))
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let milliseconds = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_millis(number.checked_mul(milliseconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("5s", 5000),
            ("5 min", 300_000),
            ("24h", 86_400_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "1.5s",
            "5 fortnights",
            "99999999999999999999s",
            "99999999999999999d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = serde_json::from_str::<MetaConfig>(r#"{"lisden": "x"}"#).unwrap_err();
        assert!(error.to_string().contains("lisden"), "{error}");
    }
}
