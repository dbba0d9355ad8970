//! Metrics of whatever stands between clients and partitions: the RESP port and the client library behind it. Gateways have them too.

use resp_gateway::Statistics;
use telemetry::Exposition;

/// The RESP port's own.
pub fn describe_resp(counted: &Statistics, into: &mut Exposition) {
    into.gauge(
        "tulpar_resp_connections",
        "Redis clients connected.",
        counted.connected() as f64,
    );
    into.counter(
        "tulpar_resp_connections_accepted",
        "Connections of Redis clients since the start.",
        counted.connections() as f64,
    );
    into.counter(
        "tulpar_resp_connections_rejected",
        "Connections refused because there were too many (max_clients).",
        counted.rejected() as f64,
    );
    into.counter(
        "tulpar_resp_commands",
        "Commands of Redis clients begun.",
        counted.commands() as f64,
    );
}

/// Of the way to partitions that are led elsewhere.
pub fn describe_routes(client: &tulpar_client::Statistics, into: &mut Exposition) {
    let stale = into.gauges(
        "tulpar_routes_unfollowed_seconds",
        "How long no meta server has told of changes of the table's routes; 0: one does. Servers' refusals correct routes all the same.",
    );
    for table in &client.tables {
        let seconds = table.unfollowed_for.unwrap_or_default().as_secs_f64();
        stale.sample(&[("table", &table.table)], seconds);
    }
    into.counter(
        "tulpar_routes_misdirected",
        "Attempts that a server refused because another one is the primary.",
        client.misdirected as f64,
    );
    into.counter(
        "tulpar_forwarded_refused",
        "Attempts at other servers that were refused for a reason that passes.",
        client.refused as f64,
    );
    into.counter(
        "tulpar_forwarded_lost",
        "Attempts at other servers whose answer was lost with the connection.",
        client.lost as f64,
    );
    into.counter(
        "tulpar_forwarded_unknown",
        "Requests at other servers that ended with an unknown outcome.",
        client.unknown as f64,
    );
}
