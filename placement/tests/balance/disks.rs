//! Partitions of unlike sizes: copies change places until disks are as full as each other, a few at a time, and then they stay.

use super::eager;
use crate::driver::*;
use crate::obedient::Obedient;
use placement::{Reason, Settings, Shift};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use types::NodeId;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Seconds without a change after which there are no more to come.
const STILL: u64 = 120;

/// What the balancer calls even.
fn are_even(cluster: &Obedient) -> bool {
    let disks = cluster.disks();
    let mean = disks.values().sum::<u64>() / disks.len() as u64;
    let apart = disks.values().max().unwrap() - disks.values().min().unwrap();
    apart <= GIB.max(mean / 5)
}

/// Replicas under way; panics if these are more than the settings allow.
fn under_way(cluster: &Obedient, settings: &Settings) -> usize {
    let mut of_nodes: BTreeMap<NodeId, usize> = BTreeMap::new();
    let status = cluster.driver.cluster.balance_status(cluster.driver.now);
    let mut replicas = 0;
    for moving in status.moves {
        if let Shift::Replica { from, to } = moving.step.shift {
            replicas += 1;
            for node in [from, to] {
                *of_nodes.entry(node).or_default() += 1;
            }
        }
    }
    let of_node = of_nodes.into_values().max().unwrap_or(0);
    assert!(replicas <= settings.moves_at_once, "{replicas} at once");
    assert!(of_node <= settings.moves_per_node, "{of_node} of one node");
    replicas
}

/// Runs until nothing changes any more; the most that was under way.
fn run_until_still(cluster: &mut Obedient, settings: &Settings) -> usize {
    let (mut most, mut still, mut seconds) = (0, 0, 0);
    while still < STILL {
        let before = cluster.changes;
        cluster.pass(1);
        let replicas = under_way(cluster, settings);
        most = most.max(replicas);
        still = if cluster.changes == before && replicas == 0 {
            still + 1
        } else {
            0
        };
        seconds += 1;
        assert!(seconds < 20_000, "it never ends: {:?}", cluster.disks());
    }
    most
}

/// A table on six nodes; what node 1 has is large, the rest is small.
fn skewed(settings: &Settings, seed: u64) -> Obedient {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut cluster = Obedient::new(settings.clone());
    cluster.learns_last = 7;
    cluster.join_all(1..=6, |_| String::new());
    cluster.create("t", 60, 3);
    cluster.run_until_still();
    for index in 0..60 {
        let large = cluster.configuration("t", index).contains(node(1));
        let bytes = if large { GIB } else { 10 * MIB };
        cluster.grow("t", index, bytes + rng.random_range(0..MIB));
    }
    assert!(!are_even(&cluster), "{:?}", cluster.disks());
    cluster.changes = 0;
    cluster
}

#[test]
fn disks_of_unlike_fullness_are_evened_out_within_the_budget_and_then_left_alone() {
    for (at_once, of_node) in [(16, 2), (4, 4), (1, 1), (2, 1), (16, 1)] {
        let settings = Settings {
            moves_at_once: at_once,
            moves_per_node: of_node,
            ..eager()
        };
        for seed in 0..5 {
            println!("{at_once} at once, {of_node} of one node, seed {seed}");
            let mut cluster = skewed(&settings, seed);
            let before = cluster.disks();
            let plan = cluster.driver.cluster.plan(usize::MAX);
            assert!(
                plan.iter().all(|step| step.reason >= Reason::Disks),
                "{plan:?}"
            );
            let most = run_until_still(&mut cluster, &settings);
            println!(
                "{} changes, {most} at once: from {before:?} to {:?}",
                cluster.changes,
                cluster.disks()
            );
            assert!(are_even(&cluster), "{:?}", cluster.disks());
            assert!(
                cluster.spread("t").replicas <= 1,
                "{:?}",
                cluster.spread("t")
            );
            assert_eq!(most, at_once.min(6 * of_node / 2), "the budget is used");
            assert_eq!(cluster.driver.cluster.plan(1), []);
        }
    }
}

#[test]
fn even_disks_stay_as_they_are_though_sizes_go_up_and_down() {
    let settings = eager();
    let mut cluster = skewed(&settings, 0);
    run_until_still(&mut cluster, &settings);
    let mut rng = SmallRng::seed_from_u64(1);
    let before = cluster.changes;
    let stored: Vec<u64> = (0..60).map(|index| cluster.bytes("t", index)).collect();
    for _ in 0..60 {
        for (index, bytes) in (0..).zip(&stored) {
            let now = bytes + rng.random_range(0..bytes / 20);
            cluster.grow("t", index, now);
        }
        cluster.pass(60);
    }
    assert_eq!(cluster.changes, before, "{:?}", cluster.disks());
}

#[test]
fn a_disk_that_nothing_can_make_emptier_is_left_alone() {
    let settings = eager();
    let mut cluster = Obedient::new(settings.clone());
    cluster.join_all(1..=3, |_| String::new());
    cluster.create("t", 9, 2);
    cluster.run_until_still();
    // Wherever its two copies are, they are the fullest disks.
    cluster.grow("t", 0, 50 * GIB);
    for index in 1..9 {
        cluster.grow("t", index, 10 * MIB);
    }
    cluster.changes = 0;
    run_until_still(&mut cluster, &settings);
    assert_eq!(cluster.changes, 0, "{:?}", cluster.disks());
    assert!(!are_even(&cluster));
}
