//! A server's configuration as operators are shown it: every key as in the file, and no secret.

use crate::config::ReplicaConfig;
use proto::inspect::Setting;
use serde_json::Value;

impl ReplicaConfig {
    /// Every key with what it is set to; of secrets only whether they are.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        // Texts, numbers and tables with text keys: there is a value of each.
        let value = serde_json::to_value(self).unwrap_or_default();
        flatten("", value, &mut settings);
        settings
    }
}

/// What is shown of a secret that there is.
const MASK: &str = "(set)";

/// The keys below a value, in order, each with what it is set to as JSON.
fn flatten(path: &str, value: Value, into: &mut Vec<Setting>) {
    let value = match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = match path {
                    "" => key,
                    path => format!("{path}.{key}"),
                };
                flatten(&path, value, into);
            }
            return;
        }
        Value::String(secret) if path.ends_with("secret") && !secret.is_empty() => MASK.into(),
        value => value,
    };
    into.push(Setting {
        key: path.to_owned(),
        value: value.to_string(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_shown_as_it_would_be_written_and_no_secret() {
        let config = ReplicaConfig {
            cluster_secret: "open sesame".into(),
            zone: "rack-7".into(),
            ..ReplicaConfig::default()
        };
        let settings = config.settings();
        let shown = |key: &str| {
            let mut found = settings.iter().filter(|setting| setting.key == key);
            found.next().map(|setting| &setting.value[..])
        };
        assert_eq!(shown("zone"), Some("\"rack-7\""));
        assert_eq!(shown("budgets.row_cache"), Some("\"256MiB\""));
        assert_eq!(shown("leases.beacon"), Some("\"100ms\""));
        assert_eq!(shown("budgets.open_partitions"), Some("512"));
        assert_eq!(shown("meta"), Some("[\"127.0.0.1:34601\"]"));
        assert_eq!(shown("cluster_secret"), Some("\"(set)\""));
        assert_eq!(shown("http_secret"), Some("\"\""));
        assert!(
            settings
                .iter()
                .all(|setting| !setting.value.contains("sesame"))
        );
    }
}
