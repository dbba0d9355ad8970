//! CONFIG: what clients and benchmarks ask for on connecting. Settings themselves are in the server's configuration file.

use super::{help, unknown_subcommand};
use crate::backend::Backend;
use crate::server::{Gateway, Mode};
use commands::table::wrong_number_of_arguments;
use commands::{Reply, glob};

const HELP: [&str; 6] = [
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "HELP",
    "    Print this help.",
];

/// `CONFIG subcommand ...`.
pub(super) fn config<B: Backend>(gateway: &Gateway<B>, args: &[&[u8]]) -> Reply {
    match (&args[1].to_ascii_lowercase()[..], &args[2..]) {
        (b"get", patterns) if !patterns.is_empty() => Reply::Map(
            parameters(gateway)
                .into_iter()
                .filter(|(name, _)| {
                    patterns.iter().any(|pattern| {
                        glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes())
                    })
                })
                .map(|(name, value)| (Reply::bulk(name.as_bytes()), Reply::Bulk(value.into())))
                .collect(),
        ),
        (b"resetstat", []) => {
            gateway.options.statistics.reset();
            Reply::Ok
        }
        (b"set" | b"rewrite", _) => Reply::error(
            "ERR settings are changed in the server's configuration file, not by CONFIG",
        ),
        (b"help", []) => help("CONFIG", &HELP),
        (name @ (b"get" | b"resetstat" | b"help"), _) => {
            wrong_number_of_arguments(&format!("config|{}", String::from_utf8_lossy(name)))
        }
        _ => unknown_subcommand("CONFIG", args[1]),
    }
}

/// By Redis' names, what holds here.
fn parameters<B: Backend>(gateway: &Gateway<B>) -> Vec<(&'static str, String)> {
    let limits = &gateway.options.limits;
    let address = gateway.address;
    let cluster = match gateway.options.mode {
        Mode::Forward => "no",
        Mode::Cluster => "yes",
    };
    let buffer = format!(
        "normal {hard} 0 0 slave {hard} 0 0 pubsub {hard} 0 0",
        hard = limits.output_hard
    );
    let idle = limits.idle_timeout.map_or(0, |longest| longest.as_secs());
    vec![
        ("appendonly", "no".into()),
        ("bind", address.ip().to_string()),
        ("client-output-buffer-limit", buffer),
        ("client-query-buffer-limit", limits.max_query.to_string()),
        ("cluster-enabled", cluster.into()),
        ("databases", "1".into()),
        ("maxclients", limits.max_clients.to_string()),
        ("maxmemory", "0".into()),
        ("maxmemory-policy", "noeviction".into()),
        ("notify-keyspace-events", String::new()),
        ("port", address.port().to_string()),
        ("proto-max-bulk-len", limits.max_bulk.to_string()),
        ("save", String::new()),
        ("timeout", idle.to_string()),
    ]
}
