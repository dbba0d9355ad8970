//! A run from its seed to its end, budgets of runs, and what they print.

use crate::invariants::{Violation, availability, healed};
use crate::node::Power;
use crate::site::At;
use crate::swarm::{Opening, REPLICAS};
use crate::world::{Figures, MS, Trace, World};
use std::hash::{BuildHasher, RandomState};

/// Longer than any backoff and any lag, several times.
const HEALING: u64 = 60_000 * MS;
/// No run takes a tenth of it, unless two replicas answer each other for ever.
const MOST_STEPS: u64 = 2_000_000;

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) figures: Figures,
    pub(crate) virtual_time: u64,
    pub(crate) digest: u64,
    pub(crate) violation: Option<Violation>,
}

/// One run: an opening, faults, healing.
pub(crate) fn run(seed: u64, trace: Trace) -> Ended {
    let mut world = World::new(seed, trace);
    world.note(|| format!("seed {seed}"));
    play(&mut world);
    for site in world.nodes.iter().flat_map(|node| &node.sites) {
        let (released, carried) = site.disk.tidied();
        world.figures.released += released;
        world.figures.carried += carried;
    }
    Ended {
        figures: world.figures,
        virtual_time: world.now,
        digest: world.digest,
        violation: world.violation,
    }
}

fn play(world: &mut World) {
    let swarm = format!("{:?}", world.swarm);
    world.note(|| swarm);
    if !(open(world) && faults(world)) {
        return;
    }
    world.heal();
    let end = world.now + HEALING;
    loop {
        let next = world.now + 100 * MS;
        if !until(world, next) {
            return;
        }
        match healed::check(world) {
            Ok(()) => return,
            Err(reason) if world.now >= end => return world.violate(healed::NAME, reason),
            Err(_) => {}
        }
    }
}

/// Says no when something went wrong.
fn until(world: &mut World, end: u64) -> bool {
    while world.now < end && world.advance() {
        if world.figures.steps > MOST_STEPS {
            world.violate(healed::NAME, "messages without end".into());
        }
    }
    world.violation.is_none()
}

fn open(world: &mut World) -> bool {
    let born = (1..100).any(|tenth| {
        let on = until(world, tenth * 100 * MS);
        let mut partitions = world.partitions.iter();
        partitions.all(|partition| partition.stored.is_some()) || !on
    });
    let calm = world.now + 400 * MS;
    if !born {
        world.violate(healed::NAME, "a partition was never born".into());
    }
    if !until(world, calm) {
        return false;
    }
    let opening = world.swarm.opening;
    let (notice, well) = availability::patience(opening);
    match opening {
        Opening::Calm => return true,
        Opening::HandOvers => return hand_overs(world),
        Opening::HungDisk => {
            if let Some(primary) = world.partitions[0].primary() {
                // Longer than it is looked at.
                world.hang_disk(primary, notice + 2 * well);
            }
        }
        Opening::NoMeta => world.meta_down(notice + well),
        Opening::OneIsLeft => {
            let members = world.partitions[0].members();
            let secondary = members[1 + world.chance.index(REPLICAS - 1)];
            for node in [members[0], secondary] {
                world.crash(node, Power::Kept, notice + well);
            }
        }
    }
    let start = world.now;
    if !until(world, start + notice) {
        return false;
    }
    let since = availability::now(world);
    if !until(world, start + notice + well) {
        return false;
    }
    availability::check(world, &since);
    world.violation.is_none()
}

/// One partition's primary changes; the other's serves on.
fn hand_overs(world: &mut World) -> bool {
    let mut members = world.partitions[0].members();
    members.rotate_left(1);
    let neighbour = world.partitions[1].stored.clone();
    for node in members {
        world.hand_over(At { node, partition: 0 });
        let end = world.now + 300 * MS;
        while world.now < end && world.partitions[1].stored == neighbour {
            let next = world.now + 5 * MS;
            if !until(world, next) {
                return false;
            }
            availability::check_reads(world, 1);
        }
    }
    world.violation.is_none()
}

fn faults(world: &mut World) -> bool {
    world.begin_faults();
    let end = world.now + world.swarm.faults_for;
    until(world, end)
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

/// Where a budget of fresh seeds begins: nobody has seen them before.
pub(crate) fn fresh() -> u64 {
    RandomState::new().hash_one("seed") >> 24
}

/// The line that tells a run again.
pub(crate) fn replay(seed: u64) -> String {
    format!(
        "TULPAR_SIM_SEED={seed} cargo test --release -p replication --test simulator -- --nocapture no_fault"
    )
}

/// What a budget of runs came to.
#[derive(Default)]
pub(crate) struct Total {
    runs: u64,
    virtual_time: u64,
    figures: Figures,
}

impl Total {
    pub(crate) fn add(&mut self, ended: &Ended) {
        let (all, one) = (&mut self.figures, ended.figures);
        self.runs += 1;
        self.virtual_time += ended.virtual_time;
        all.writes += one.writes;
        all.reads += one.reads;
        all.stale_reads += one.stale_reads;
        all.faults += one.faults;
        all.takeovers += one.takeovers;
        all.learns += one.learns;
        all.terms += one.terms;
        all.released += one.released;
        all.carried += one.carried;
        all.recoveries += one.recoveries;
        all.steps += one.steps;
        all.neighbours += one.neighbours;
    }

    /// Prints what was done, at which rate, and how much faster than real time by the processor's time given.
    pub(crate) fn print(&self, processor_seconds: f64) {
        let seconds = self.virtual_time as f64 / 1e9;
        let all = &self.figures;
        println!(
            "{} seeds, {} of them with two partitions, {seconds:.0} virtual seconds: {} steps, {} writes, {} reads, {} at secondaries, {} faults, {} times a primary began to serve, {} learns ended, {} terms of meta leaders",
            self.runs,
            all.neighbours,
            all.steps,
            all.writes,
            all.reads,
            all.stale_reads,
            all.faults,
            all.takeovers,
            all.learns,
            all.terms
        );
        println!(
            "commit logs: {} recoveries, {} segments released, {} KiB copied forward",
            all.recoveries,
            all.released,
            all.carried >> 10
        );
        println!(
            "a virtual second: {:.0} operations, {:.1} faults; {:.0} times real time on one core",
            (all.writes + all.reads) as f64 / seconds,
            all.faults as f64 / seconds,
            seconds / processor_seconds
        );
    }

    /// Whether so much happened that a simulation without violations says something.
    pub(crate) fn says_something(&self) -> bool {
        let (seconds, all) = (self.virtual_time / 1_000_000_000, &self.figures);
        let operations = all.writes + all.reads >= 50 * seconds;
        let stale = 5 * all.stale_reads >= all.reads;
        let log = all.recoveries.min(all.released).min(all.carried) > 0;
        let meta = all.terms > 0;
        operations && stale && log && meta && 5 * all.faults >= seconds && all.takeovers > self.runs
    }
}
