//! What a meta server can be told, with the defaults.

use serde::Deserialize;
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
    #[serde(with = "humantime_serde")]
    pub repair_delay: Duration,
    /// How long a dropped table can be recalled.
    #[serde(with = "humantime_serde")]
    pub drop_retention: Duration,
    /// A replica server that sent nothing for so long is disconnected. Changes no configuration by itself.
    #[serde(with = "humantime_serde")]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = serde_json::from_str::<MetaConfig>(r#"{"lisden": "x"}"#).unwrap_err();
        assert!(error.to_string().contains("lisden"), "{error}");
    }
}
