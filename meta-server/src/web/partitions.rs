//! A table's page: its partitions, who has which, a page of them at a time.

use super::overview::encoded;
use super::page::{ROWS, Refresh, page, pager, part};
use crate::unwell::named;
use axum::response::Response;
use maud::html;
use proto::common::{Member, NodeAddress};
use proto::meta::TableRoutes;
use std::collections::BTreeMap;
use telemetry::axum;
use types::{NodeId, SlotRange};

/// The page. `alive` says whether a node is connected.
pub(super) fn render(
    routes: &TableRoutes,
    alive: impl Fn(NodeId) -> bool,
    asked: Option<usize>,
) -> Response {
    let Some(table) = &routes.table else {
        return page(
            "Tulpar",
            Refresh::No,
            &html! { h1 { "There is no such table" } },
        );
    };
    let nodes: BTreeMap<u64, &NodeAddress> = routes
        .nodes
        .iter()
        .map(|address| (address.node, address))
        .collect();
    let member = |member: &Member| {
        let name = named(nodes.get(&member.node).copied());
        let connected = alive(NodeId(member.node));
        html! { span class=[(!connected).then_some("bad")] { (name) @if !connected { " (away)" } } }
    };
    let at = part(asked, routes.partitions.len());
    let shown = routes.partitions.iter().skip((at.0 - 1) * ROWS).take(ROWS);
    let links = pager(at, |page| {
        format!("/table?name={}&page={page}", encoded(&table.name))
    });
    let body = html! {
        p { a href="/" { "Tulpar" } }
        h1 { "Table " (table.name) }
        ul.facts {
            li { b { (table.partitions) } "partitions" }
            li { b { (table.replicas) } "copies wanted" }
            li { b { (proto::durability(table.durability)) } "durability" }
        }
        (links)
        div.wide { table {
            thead { tr { th.n { "partition" } th { "slots" } th.n { "ballot" } th { "primary" } th { "secondaries" } th.n { "copies" } } }
            tbody { @for route in shown {
                @let slots = SlotRange::of_partition(route.index, table.partitions.max(1));
                tr {
                    td.n { (route.index) }
                    td.dim { (slots.first) "-" (slots.last) }
                    @if let Some(configuration) = &route.configuration {
                        @let copies = configuration.secondaries.len() + 1;
                        td.n { (configuration.ballot) }
                        td { @if let Some(primary) = &configuration.primary { (member(primary)) } }
                        td { @for (index, secondary) in configuration.secondaries.iter().enumerate() {
                            @if index > 0 { ", " } (member(secondary))
                        } }
                        td.n class=[(copies < table.replicas as usize).then_some("warn")] { (copies) " of " (table.replicas) }
                    } @else {
                        td.n {} td.warn { "not created yet" } td {} td.n { "0 of " (table.replicas) }
                    }
                }
            } }
        } }
        (links)
    };
    page(&format!("{} - Tulpar", table.name), Refresh::No, &body)
}
