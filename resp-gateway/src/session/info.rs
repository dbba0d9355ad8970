//! INFO: the gateway's own sections, then the backend's.

use super::REDIS_VERSION;
use crate::backend::{Backend, InfoSection};
use crate::server::{Gateway, Mode};
use commands::Reply;
use std::fmt::Write;

/// `INFO [section ...]`.
pub(super) fn info<B: Backend>(gateway: &Gateway<B>, args: &[&[u8]]) -> Reply {
    let wanted = |section: &InfoSection| {
        let names = &args[1..];
        names.is_empty()
            || names.iter().any(|name| {
                [section.name, "default", "all", "everything"]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            })
    };
    let mut text = String::new();
    let own = [
        server(gateway),
        clients(gateway),
        statistics(gateway),
        cluster(gateway),
    ];
    for section in own.into_iter().chain(gateway.backend.info()) {
        if !wanted(&section) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _ = write!(text, "# {}\r\n", section.name);
        for (field, value) in section.fields {
            let _ = write!(text, "{field}:{value}\r\n");
        }
    }
    Reply::Text(text.into())
}

fn section(name: &'static str, fields: &[(&str, &dyn ToString)]) -> InfoSection {
    InfoSection {
        name,
        fields: fields
            .iter()
            .map(|(field, value)| ((*field).to_owned(), value.to_string()))
            .collect(),
    }
}

fn server<B: Backend>(gateway: &Gateway<B>) -> InfoSection {
    let mode = match gateway.options.mode {
        Mode::Forward => "standalone",
        Mode::Cluster => "cluster",
    };
    let uptime = gateway.started.elapsed().as_secs();
    section(
        "Server",
        &[
            ("redis_version", &REDIS_VERSION),
            ("tulpar_version", &env!("CARGO_PKG_VERSION")),
            ("redis_mode", &mode),
            ("os", &std::env::consts::OS),
            ("arch_bits", &usize::BITS),
            ("process_id", &std::process::id()),
            ("tcp_port", &gateway.address.port()),
            ("uptime_in_seconds", &uptime),
            ("uptime_in_days", &(uptime / 86400)),
        ],
    )
}

fn clients<B: Backend>(gateway: &Gateway<B>) -> InfoSection {
    section(
        "Clients",
        &[
            ("connected_clients", &gateway.clients.len()),
            ("maxclients", &gateway.options.limits.max_clients),
            ("blocked_clients", &0),
            ("scan_cursors", &gateway.cursors.len()),
        ],
    )
}

fn statistics<B: Backend>(gateway: &Gateway<B>) -> InfoSection {
    let counted = &gateway.options.statistics;
    section(
        "Stats",
        &[
            ("total_connections_received", &counted.connections()),
            ("total_commands_processed", &counted.commands()),
            ("rejected_connections", &counted.rejected()),
        ],
    )
}

fn cluster<B: Backend>(gateway: &Gateway<B>) -> InfoSection {
    let enabled = u8::from(gateway.options.mode == Mode::Cluster);
    section("Cluster", &[("cluster_enabled", &enabled)])
}
