//! What a meta server can be told, with the defaults.

use crate::store::{InvalidEnsemble, ZooKeeperOptions};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use telemetry::PortOptions;

/// Configuration of one meta server.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetaConfig {
    /// Where to listen, host:port; port 0 lets the system choose. Other than loopback needs both secrets, or `allow_unauthenticated`.
    pub listen: String,
    /// Where clients, replica servers and the other meta servers' answers find this one, host:port, if that is not `listen`.
    pub advertise: Option<String>,
    /// The ensemble that keeps the cluster's configuration, and the cluster's path in it: host:port,host:port,.../PATH. All meta servers of a
    /// cluster have the same. Empty: `data_dir` keeps it, for one meta server alone.
    pub zookeeper: String,
    /// Whoever else uses the ensemble can neither read nor change what this user wrote. Empty: anybody can.
    pub zookeeper_user: String,
    /// The user's password, by ZooKeeper's digest scheme.
    pub zookeeper_password: String,
    /// How long ZooKeeper waits for a meta server that fell silent before another leads. ZooKeeper's own bounds hold too.
    #[serde(with = "humantime_serde")]
    pub zookeeper_session_timeout: Duration,
    /// Where health, metrics and the page of the cluster are shown (HTTP), host:port; port 0 lets the system choose. Empty: nowhere.
    pub http: String,
    /// What must be shown to read metrics and page. Empty: nothing.
    pub http_secret: String,
    /// Where the cluster's configuration is kept if not in ZooKeeper. It is created readable by its owner only.
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
    /// How long a server that gets a copy may take before another one with an older copy has its turn, if there is one.
    #[serde(with = "humantime_serde")]
    pub learn_patience: Duration,
    /// How replicas are moved so that nodes bear alike.
    pub balance: BalanceConfig,
}

/// When the balancer works, and how much it may do at a time.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BalanceConfig {
    /// How long no node and no copy has come or gone before replicas are moved.
    #[serde(with = "humantime_serde")]
    pub after: Duration,
    /// Replicas moved at a time, from drained nodes too; as many primaries. 0: none.
    pub moves: usize,
    /// Replicas moved to or from one node at a time.
    pub moves_per_node: usize,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        let settings = placement::Settings::default();
        Self {
            after: settings.balance_after,
            moves: settings.moves_at_once,
            moves_per_node: settings.moves_per_node,
        }
    }
}

impl Default for MetaConfig {
    fn default() -> Self {
        let settings = placement::Settings::default();
        Self {
            listen: "127.0.0.1:34601".into(),
            advertise: None,
            zookeeper: String::new(),
            zookeeper_user: String::new(),
            zookeeper_password: String::new(),
            zookeeper_session_timeout: Duration::from_secs(2),
            http: "127.0.0.1:34701".into(),
            http_secret: String::new(),
            data_dir: "data/meta".into(),
            admin_secret: String::new(),
            cluster_secret: String::new(),
            allow_unauthenticated: false,
            repair_delay: settings.repair_delay,
            drop_retention: settings.drop_retention,
            beat_timeout: settings.beat_timeout,
            learns_per_node: settings.learns_per_node,
            learn_patience: settings.learn_patience,
            balance: BalanceConfig::default(),
        }
    }
}

impl MetaConfig {
    /// Where in which ensemble the configuration is; `None`: in `data_dir`.
    pub(crate) fn ensemble(&self) -> Result<Option<ZooKeeperOptions>, InvalidEnsemble> {
        if self.zookeeper.is_empty() {
            return Ok(None);
        }
        ZooKeeperOptions::new(
            &self.zookeeper,
            &self.zookeeper_user,
            &self.zookeeper_password,
            self.zookeeper_session_timeout,
        )
        .map(Some)
    }

    /// The HTTP port.
    pub(crate) fn http(&self) -> PortOptions {
        PortOptions {
            listen: self.http.clone(),
            secret: self.http_secret.clone(),
            allow_unauthenticated: self.allow_unauthenticated,
        }
    }

    /// What of it the cluster's brain wants to know.
    pub(crate) fn settings(&self) -> placement::Settings {
        placement::Settings {
            repair_delay: self.repair_delay,
            drop_retention: self.drop_retention,
            beat_timeout: self.beat_timeout,
            learns_per_node: self.learns_per_node.max(1),
            learn_patience: self.learn_patience,
            balance_after: self.balance.after,
            moves_at_once: self.balance.moves,
            moves_per_node: self.balance.moves_per_node,
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
