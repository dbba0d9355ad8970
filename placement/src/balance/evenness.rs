//! As many replicas on every node, of each table and altogether, and as many bytes on every disk.

use super::picture::{Picture, Placed};
use super::step::{Reason, Step};
use types::{NodeId, TableId};

/// Disks differ by less than this, or by less than a fifth of the mean: then they are even.
const BYTES_APART: u64 = 1 << 30;

/// Nodes with the least that are tried for one replica.
const TARGETS: usize = 16;

/// A replica of the table that may leave `from`, rather one that does not lead, and where it may go.
fn leaving<'a>(
    picture: &'a Picture,
    table: TableId,
    from: NodeId,
    order: &[NodeId],
    fits: impl Fn(NodeId) -> bool,
) -> Option<(&'a Placed, NodeId)> {
    let all = picture.tables.get(&table)?;
    for leads in [false, true] {
        for placed in all {
            let is_primary = placed.members.first() == Some(&from);
            if placed.locked || is_primary != leads || !placed.members.contains(&from) {
                continue;
            }
            // What crowds a zone does so on each of its nodes.
            let mut full: Vec<&str> = Vec::new();
            for &to in order.iter().take_while(|&&to| fits(to)).take(TARGETS) {
                let zone = picture.zone(to);
                if !placed.may_take(to) || full.contains(&zone) {
                    continue;
                }
                if picture.may_move(placed, from, to) {
                    return Some((placed, to));
                }
                full.push(zone);
            }
        }
    }
    None
}

/// From nodes with most replicas of a table to those with least.
pub(super) fn replicas_of_tables(picture: &Picture) -> Vec<Step> {
    for &table in picture.tables.keys() {
        let order = picture.takers_for(table);
        let count = |node| picture.load_of(table, node).replicas;
        let Some(&least) = order.first() else {
            continue;
        };
        for &from in order.iter().rev() {
            if count(from) < count(least) + 2 {
                break;
            }
            let fits = |to| count(from) >= count(to) + 2;
            if let Some((placed, to)) = leaving(picture, table, from, &order, fits) {
                return vec![Step::replica(placed, from, to, Reason::Replicas)];
            }
        }
    }
    vec![]
}

/// The same for all tables together, where it leaves each table as even as it is.
pub(super) fn replicas(picture: &Picture) -> Vec<Step> {
    let mut order = picture.takers();
    order.sort_by_key(|&node| (picture.load(node).replicas, node));
    let count = |node| picture.load(node).replicas;
    let Some(&least) = order.first() else {
        return vec![];
    };
    for &from in order.iter().rev() {
        if count(from) < count(least) + 2 {
            break;
        }
        for &table in picture.tables.keys() {
            let of_table = |node| picture.load_of(table, node).replicas;
            // Where it goes there are fewer of its table too: the table stays as even as it is.
            let better: Vec<NodeId> = order
                .iter()
                .copied()
                .filter(|&to| count(from) >= count(to) + 2 && of_table(from) > of_table(to))
                .collect();
            if better.is_empty() || of_table(from) == 0 {
                continue;
            }
            if let Some((placed, to)) = leaving(picture, table, from, &better, |_| true) {
                return vec![Step::replica(placed, from, to, Reason::Replicas)];
            }
        }
    }
    vec![]
}

/// The fullest disk gives a large replica to the emptiest, and takes a small one of the same table for it.
pub(super) fn disks(picture: &Picture) -> Vec<Step> {
    let takers = picture.takers();
    let bytes = |node: NodeId| picture.load(node).bytes;
    let (Some(&from), Some(&to)) = (
        takers.iter().max_by_key(|&&node| bytes(node)),
        takers.iter().min_by_key(|&&node| bytes(node)),
    ) else {
        return vec![];
    };
    let mean = takers.iter().map(|&node| bytes(node)).sum::<u64>() / takers.len() as u64;
    let apart = bytes(from) - bytes(to);
    if apart <= BYTES_APART.max(mean / 5) {
        return vec![];
    }
    let mut best: Option<(u64, &Placed, &Placed)> = None;
    for all in picture.tables.values() {
        let back = all
            .iter()
            .filter(|placed| picture.may_move(placed, to, from))
            .min_by_key(|placed| placed.bytes);
        let Some(back) = back else { continue };
        for placed in all
            .iter()
            .filter(|placed| picture.may_move(placed, from, to))
        {
            let gain = placed.bytes.saturating_sub(back.bytes);
            let helps = gain > 0 && gain < apart && gain * 20 > apart;
            // What leaves the two disks closest to each other.
            let rest = apart.abs_diff(2 * gain);
            if helps && best.is_none_or(|(least, ..)| rest < least) {
                best = Some((rest, placed, back));
            }
        }
    }
    let Some((_, large, small)) = best else {
        return vec![];
    };
    vec![
        Step::replica(large, from, to, Reason::Disks),
        Step::replica(small, to, from, Reason::Disks),
    ]
}
