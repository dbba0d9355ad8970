//! The first page: how the cluster is, what is unwell and what is being done, the last hour, the nodes, the tables.

use super::history::{History, STEP, Totals, step};
use super::page::{ROWS, Refresh, page, pager, part};
use super::plot::{plot, spark};
use super::words;
use crate::unwell::{self, named};
use axum::response::Response;
use maud::{Markup, html};
use placement::{Ailment, Condition, Health};
use proto::meta;
use std::collections::BTreeMap;
use std::time::Duration;
use telemetry::{Counts, axum};
use types::NodeId;

/// What the page is made from.
pub(super) struct Overview<'a> {
    pub(super) health: &'a Health,
    pub(super) nodes: Vec<meta::Node>,
    pub(super) tables: Vec<meta::Table>,
    pub(super) history: &'a History,
    /// Now, as the history counts.
    pub(super) now: Duration,
    /// Which pages of the lists are asked for.
    pub(super) nodes_page: Option<usize>,
    pub(super) tables_page: Option<usize>,
}

impl Overview<'_> {
    pub(super) fn render(&self) -> Response {
        let body = html! {
            h1 { "Tulpar" }
            (self.facts())
            (self.unwell())
            h2 { "The last hour" }
            (self.plots())
            (self.nodes())
            (self.tables())
            p.dim { "Metrics: " a href="/metrics" { "/metrics" } ". Changes are made with " code { "tulpar shell" } "." }
        };
        page("Tulpar", Refresh::Yes, &body)
    }

    fn facts(&self) -> Markup {
        let health = self.health;
        let unwell: usize = health.unwell.iter().sum();
        let (alive, known) = health.nodes;
        let last = self.history.cluster.last(step(self.now));
        let rate = last.map_or(0.0, |totals| {
            (totals.reads + totals.writes) as f64 / STEP.as_secs_f64()
        });
        let p99 = last.and_then(|totals| totals.commits.quantile(0.99));
        html! {
            ul.facts {
                li { b class=(if alive == known { "good" } else { "bad" }) { (alive) " of " (known) } "servers connected" }
                li { b { (health.tables) } "tables" }
                li { b { (health.partitions) } "partitions" }
                li { b class=(if unwell == 0 { "good" } else { "bad" }) { (unwell) } "unwell" }
                li { b { (health.learns) } "copies on their way" }
                li { b { (words::count(rate)) "/s" } "commands" }
                @if let Some(p99) = p99 {
                    li { b { (words::milliseconds(p99.as_secs_f64() * 1000.0)) } "99 % of commits" }
                }
                li { b { (health.epoch) } "leader's term" }
            }
        }
    }

    fn unwell(&self) -> Markup {
        let health = self.health;
        let names: BTreeMap<NodeId, String> = self
            .nodes
            .iter()
            .filter_map(|node| node.address.as_ref())
            .map(|address| (NodeId(address.node), named(Some(address))))
            .collect();
        let name = |node| {
            names
                .get(&node)
                .cloned()
                .unwrap_or_else(|| node.to_string())
        };
        let unwell: usize = health.unwell.iter().sum();
        html! {
            h2 { "What is unwell" }
            @for node in self.nodes.iter().filter(|node| !node.alive) {
                p.bad {
                    "Server " b { (named(node.address.as_ref())) } " is not connected. "
                    span.dim {
                        "Its partitions are served by their other copies; if it stays away, other servers get copies of what it had."
                    }
                }
            }
            @if unwell == 0 {
                p.good { "No partition." }
            } @else {
                ul {
                    @for (condition, count) in Condition::ALL.iter().zip(health.unwell) {
                        @if count > 0 {
                            @let (what, meaning) = unwell::condition(*condition);
                            li { b { (count) " " (what) } ": " (meaning) }
                        }
                    }
                }
                div.wide { table {
                    thead { tr { th { "partition" } th { "what is wrong" } th.n { "copies" } th { "what is being done" } } }
                    tbody {
                        @for ailment in &health.ailments {
                            (self.ailment(ailment, &name))
                        }
                    }
                } }
                @if unwell > health.ailments.len() {
                    p.dim { "and " (unwell - health.ailments.len()) " more" }
                }
            }
        }
    }

    fn ailment(&self, ailment: &Ailment, name: &impl Fn(NodeId) -> String) -> Markup {
        let id = ailment.partition;
        let table = self.tables.iter().find(|table| table.id == id.table.0);
        let table = table.map_or_else(|| id.table.0.to_string(), |table| table.name.clone());
        let worst = matches!(ailment.condition, Condition::LostQuorum);
        let (members, wanted) = ailment.members;
        html! {
            tr {
                td { (table) " " (id.index) }
                td class=(if worst { "bad" } else { "warn" }) { (unwell::condition(ailment.condition).0) }
                td.n { (members) " of " (wanted) }
                td { (unwell::cure(&ailment.cure, name)) }
            }
        }
    }

    fn plots(&self) -> Markup {
        let now = step(self.now);
        let seconds = STEP.as_secs_f64();
        let of = |value: &dyn Fn(&Totals) -> f64| self.history.cluster.values(now, value);
        let quantile = |counts: &Counts, share| {
            let found = counts.quantile(share);
            found.map_or(f64::NAN, |found| found.as_secs_f64() * 1000.0)
        };
        html! {
            div.plots {
                (plot("Commands a second", &[
                    ("reads", of(&|totals| totals.reads as f64 / seconds)),
                    ("writes", of(&|totals| totals.writes as f64 / seconds)),
                    ("refused", of(&|totals| totals.refused as f64 / seconds)),
                ], words::count))
                (plot("Commits take", &[
                    ("half", of(&|totals| quantile(&totals.commits, 0.5))),
                    ("99 %", of(&|totals| quantile(&totals.commits, 0.99))),
                ], words::milliseconds))
                (plot("The logs' disks take", &[
                    ("half", of(&|totals| quantile(&totals.disk, 0.5))),
                    ("99 %", of(&|totals| quantile(&totals.disk, 0.99))),
                ], words::milliseconds))
                (plot("Bytes written a second, each once", &[
                    ("effects", of(&|totals| totals.written_bytes as f64 / seconds)),
                ], words::bytes))
            }
        }
    }

    fn nodes(&self) -> Markup {
        let now = step(self.now);
        let at = part(self.nodes_page, self.nodes.len());
        let shown = self.nodes.iter().skip((at.0 - 1) * ROWS).take(ROWS);
        html! {
            h2 id="nodes" { "Servers" }
            div.wide { table {
                thead { tr {
                    th { "server" } th { "address" } th { "state" } th.n { "primaries" } th.n { "secondaries" } th.n { "learners" }
                    th.n { "disk" } th.n { "memory" } th.n { "commands/s" } th { "last hour" } th { "version" }
                } }
                tbody { @for node in shown {
                    @let id = node.address.as_ref().map_or(NodeId(0), |address| NodeId(address.node));
                    @let past = self.history.nodes.get(&id);
                    tr {
                        td { (named(node.address.as_ref())) }
                        td.dim { (node.address.as_ref().map_or("", |address| &address.grpc)) }
                        @if node.alive { td.good { "connected" } } @else { td.bad { "away" } }
                        td.n { (node.primaries) } td.n { (node.secondaries) } td.n { (node.learners) }
                        td.n { @if node.alive { (words::bytes(node.disk_bytes as f64)) } }
                        @if let Some(past) = past {
                            td.n { (words::bytes(past.resident_bytes as f64)) }
                            td.n { (words::count(past.traffic.last(now).map_or(0.0, |brief| brief.rate()))) }
                            td { (spark(&past.traffic.values(now, |brief| brief.rate()))) }
                            td.dim { (past.version) }
                        } @else {
                            td.n {} td.n {} td {} td {}
                        }
                    }
                } }
            } }
            (pager(at, |page| format!("/?nodes={page}#nodes")))
        }
    }

    fn tables(&self) -> Markup {
        let now = step(self.now);
        let at = part(self.tables_page, self.tables.len());
        let shown = self.tables.iter().skip((at.0 - 1) * ROWS).take(ROWS);
        html! {
            h2 id="tables" { "Tables" }
            div.wide { table {
                thead { tr {
                    th { "table" } th.n { "partitions" } th.n { "copies" } th { "durability" } th { "password" }
                    th.n { "commands/s" } th { "last hour" } th { "state" }
                } }
                tbody { @for table in shown {
                    @let past = self.history.tables.get(&table.id);
                    tr {
                        td { @if table.dropped_at == 0 { a href={ "/table?name=" (encoded(&table.name)) } { (table.name) } } @else { (table.name) } }
                        td.n { (table.partitions) } td.n { (table.replicas) }
                        td { (proto::durability(table.durability)) }
                        td { @if table.has_password { "yes" } @else { "no" } }
                        @if let Some(past) = past {
                            td.n { (words::count(past.traffic.last(now).map_or(0.0, |brief| brief.rate()))) }
                            td { (spark(&past.traffic.values(now, |brief| brief.rate()))) }
                        } @else {
                            td.n { "0" } td {}
                        }
                        @if table.dropped_at == 0 { td.good { "in service" } } @else { td.warn { "dropped; can be recalled" } }
                    }
                } }
            } }
            (pager(at, |page| format!("/?tables={page}#tables")))
        }
    }
}

/// A name in an address.
pub(super) fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = std::fmt::Write::write_fmt(&mut text, format_args!("%{byte:02X}"));
        }
    }
    text
}
