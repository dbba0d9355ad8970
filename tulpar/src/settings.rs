//! Where a server's settings come from: its section of a TOML file, then environment variables `TULPAR__SECTION__KEY`.
//!
//! What the keys mean is said at the structs they end up in (`MetaConfig`, `ReplicaConfig`, `GatewayConfig`, [`LogConfig`]).
//! A key that none of them knows is refused: a misspelt setting must not silently keep its default.

use anyhow::{Context, anyhow, bail};
use config::{Config, ConfigError, File, FileFormat, Map, Value, ValueKind};
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use std::path::Path;

/// Which server a process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Meta,
    Replica,
    Gateway,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Replica => "replica",
            Self::Gateway => "gateway",
        }
    }
}

const SECTIONS: [&str; 4] = ["meta", "replica", "gateway", LOG];
const LOG: &str = "log";
const PREFIX: &str = "TULPAR__";
/// Keys whose value is a list; in an environment variable its items are separated by commas.
const LISTS: [&str; 1] = ["meta"];

/// The merged settings of one process, not yet read into a struct.
pub(crate) struct Settings {
    role: Role,
    merged: Config,
}

/// What is logged, and where to. Section `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// What to log: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module (`info,replica_server=debug`).
    pub(crate) level: String,
    /// A file to log to instead of stderr.
    pub(crate) file: Option<std::path::PathBuf>,
    /// The file is renamed to FILE.1 (FILE.1 to FILE.2, ...) when it is larger than this.
    #[serde(deserialize_with = "size")]
    pub(crate) rotate_at: types::ByteSize,
    /// How many renamed files are kept.
    pub(crate) keep: u32,
}

/// Reads a size: a whole number of bytes, or one with `KiB`, `MiB` or `GiB` behind it. A number in the file arrives here as text too.
pub(crate) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<types::ByteSize, D::Error> {
    String::deserialize(from)?
        .parse()
        .map_err(de::Error::custom)
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            file: None,
            rotate_at: types::ByteSize::mib(64),
            keep: 4,
        }
    }
}

impl Settings {
    /// Merges file and environment.
    pub(crate) fn load(role: Role, file: Option<&Path>) -> anyhow::Result<Self> {
        Self::merge(role, file, std::env::vars())
    }

    fn merge(
        role: Role,
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let mut builder = Config::builder();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let parsed = Config::builder()
                .add_source(File::from_str(&text, FileFormat::Toml))
                .build()
                .map_err(|error| anyhow!("{}: {}", path.display(), reason(&error)))?;
            refuse_unknown_sections(&parsed)
                .with_context(|| format!("wrong key in {}", path.display()))?;
            builder = builder.add_source(parsed);
        }
        for (variable, value) in environment {
            let Some(key) = variable.strip_prefix(PREFIX) else {
                continue;
            };
            let key = key.to_ascii_lowercase().replace("__", ".");
            let section = key.split('.').next().unwrap_or_default();
            if !SECTIONS.contains(&section) {
                bail!(
                    "{variable}: no section '{section}'; there are {}",
                    SECTIONS.join(", ")
                );
            }
            if section == role.name() || section == LOG {
                builder = builder
                    .set_override(&key, environment_value(&variable, &key, value))
                    .map_err(|error| anyhow!("{variable}: {}", reason(&error)))?;
            }
        }
        let merged = builder
            .build()
            .map_err(|error| anyhow!("{}", reason(&error)))?;
        Ok(Self { role, merged })
    }

    /// The server's own section.
    pub(crate) fn server<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        self.section(self.role.name())
    }

    /// Section `[log]`.
    pub(crate) fn log(&self) -> anyhow::Result<LogConfig> {
        self.section(LOG)
    }

    fn section<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let value = match self.merged.get::<Value>(name) {
            Ok(value) => value,
            Err(ConfigError::NotFound(_)) => Value::from(Map::<String, Value>::new()),
            Err(error) => bail!("section [{name}]: {}", reason(&error)),
        };
        value
            .try_deserialize()
            .map_err(|error| anyhow!("section [{name}]: {}", reason(&error)))
    }
}

fn refuse_unknown_sections(parsed: &Config) -> anyhow::Result<()> {
    let ValueKind::Table(table) = &parsed.cache.kind else {
        return Ok(());
    };
    for key in table.keys() {
        if !SECTIONS.contains(&key.as_str()) {
            bail!("no section '{key}'; there are {}", SECTIONS.join(", "));
        }
    }
    Ok(())
}

fn environment_value(variable: &str, key: &str, value: String) -> Value {
    let origin = variable.to_owned();
    let last = key.rsplit('.').next().unwrap_or_default();
    if key.contains('.') && LISTS.contains(&last) {
        let items: Vec<Value> = value
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(Value::from)
            .collect();
        Value::new(Some(&origin), items)
    } else {
        Value::new(Some(&origin), value)
    }
}

/// The error on one line; the TOML parser draws pictures.
fn reason(error: &ConfigError) -> String {
    let text = match error {
        ConfigError::FileParse { cause, .. } => cause.to_string(),
        other => other.to_string(),
    };
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| {
            !line.is_empty()
                && !line.starts_with('|')
                && !line.starts_with(|c: char| c.is_ascii_digit())
        })
        .collect();
    lines.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::ByteSize;

    #[derive(Debug, PartialEq, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        listen: String,
        secret: String,
        meta: Vec<String>,
        clients: u32,
        open: bool,
        budgets: Budgets,
    }

    #[derive(Debug, PartialEq, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Budgets {
        #[serde(deserialize_with = "size")]
        rows: ByteSize,
    }

    fn load(text: &str, environment: &[(&str, &str)]) -> anyhow::Result<Sample> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("tulpar.toml");
        std::fs::write(&path, text)?;
        let environment = environment
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()));
        Settings::merge(Role::Replica, Some(&path), environment)?.server()
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let sample = load(
            "[replica]\nlisten = \"a:1\"\nmeta = [\"m:1\"]\n[replica.budgets]\nrows = \"1MiB\"\n[gateway]\nlisten = \"z\"\n",
            &[
                ("TULPAR__REPLICA__META", "x:1, y:2"),
                ("TULPAR__REPLICA__BUDGETS__ROWS", "2MiB"),
                ("TULPAR__REPLICA__CLIENTS", "7"),
                ("TULPAR__REPLICA__OPEN", "true"),
                ("TULPAR__REPLICA__SECRET", "0123"),
                ("TULPAR__GATEWAY__NONSENSE", "not this server's business"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
        assert_eq!(
            sample,
            Sample {
                listen: "a:1".into(),
                secret: "0123".into(),
                meta: vec!["x:1".into(), "y:2".into()],
                clients: 7,
                open: true,
                budgets: Budgets {
                    rows: ByteSize::mib(2)
                },
            }
        );
    }

    #[test]
    fn a_wrong_key_is_refused_in_one_line_that_names_it() {
        for (text, environment, named) in [
            ("[replica]\nlisen = \"a\"", vec![], "lisen"),
            ("[replica.budgets]\nrow = 1", vec![], "row"),
            ("[replca]\nlisten = \"a\"", vec![], "replca"),
            ("listen = \"a\"", vec![], "listen"),
            ("[replica]\nlisten = ", vec![], "line 2"),
            ("[replica.budgets]\nrows = \"5 parsecs\"", vec![], "parsecs"),
            ("[replica]\nclients = \"many\"", vec![], "clients"),
            ("", vec![("TULPAR__REPLICA__LISEN", "a")], "lisen"),
            (
                "",
                vec![("TULPAR__REPLCA__LISTEN", "a")],
                "TULPAR__REPLCA__LISTEN",
            ),
        ] {
            let error = crate::one_line(&load(text, &environment).unwrap_err());
            assert!(error.contains(named), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
