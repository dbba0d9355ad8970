//! What can go wrong, and how it is drawn: the same seed draws the same faults for the same cluster.

use crate::fleet::proxy::{Behaviour, Direction};
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use std::fmt;
use std::time::Duration;

/// One thing done to the cluster, and undone after a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// `kill -9` of these; undone by starting them again.
    Kill(Vec<String>),
    /// SIGTERM; undone by starting it again.
    Restart(String),
    /// SIGSTOP; undone by SIGCONT.
    Pause(String),
    /// What the first sends does not reach the second.
    CutOneWay(String, String),
    /// Nothing passes between the two.
    Cut(String, String),
    /// Nothing passes between this one and any other server; clients still reach it.
    Isolate(String),
    /// The proxies before a server.
    Network(String, Behaviour),
    /// No room on its disk.
    FillDisk(String),
    /// Whatever it writes to its disk waits until that goes on.
    HangDisk(String),
    /// Killed, its files damaged; undone by starting it again. Never while another copy is missing.
    Damage(String),
    /// Its system clock is so many milliseconds before the right time; undone by letting it be right again.
    StepClock(String, i64),
}

/// What there is to be harmed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Targets {
    /// Replica servers.
    pub replicas: Vec<String>,
    /// Meta servers and gateways.
    pub others: Vec<String>,
    /// Those with proxies.
    pub proxied: Vec<String>,
    /// Whether links can be cut.
    pub links: bool,
    /// Whether disks can be filled and made to hang.
    pub disks: bool,
    /// Whether clocks can be stepped.
    pub clocks: bool,
}

/// A disk stays full for so long at least.
const FILLED: Duration = Duration::from_secs(2);

/// Draws what happens next and how long it lasts. Damage comes alone, other faults in ones and twos.
pub fn draw(random: &mut SmallRng, targets: &Targets) -> (Vec<Fault>, Duration) {
    let mut faults = vec![one(random, targets)];
    if !matches!(faults[0], Fault::Damage(_)) && random.random_range(0..3) == 0 {
        let second = one(random, targets);
        if !matches!(second, Fault::Damage(_)) && !second.same_kind(&faults[0]) {
            faults.push(second);
        }
    }
    // Around the times that matter to leases (500 ms), lag (3 s) and stalls (3 s).
    let span = *[100, 400, 700, 1500, 3500, 5000]
        .choose(random)
        .expect("not empty");
    let span = Duration::from_millis(random.random_range(span / 2..=span));
    // It takes a while before anybody wants room.
    let filled = faults
        .iter()
        .any(|fault| matches!(fault, Fault::FillDisk(_)));
    (faults, if filled { span.max(FILLED) } else { span })
}

fn one(random: &mut SmallRng, targets: &Targets) -> Fault {
    let replica = |random: &mut SmallRng| {
        targets
            .replicas
            .choose(random)
            .expect("there are some")
            .clone()
    };
    loop {
        let victim = replica(random);
        return match random.random_range(0..21) {
            0..4 => Fault::Kill(vec![victim]),
            4 => {
                let count = random.random_range(2..=targets.replicas.len());
                let mut victims = targets.replicas.clone();
                victims.shuffle(random);
                victims.truncate(count);
                Fault::Kill(victims)
            }
            5 => Fault::Kill([&targets.replicas[..], &targets.others].concat()),
            6 => Fault::Kill(targets.others.choose(random).into_iter().cloned().collect()),
            7 => Fault::Restart(victim),
            8..11 => Fault::Pause(victim),
            11 | 12 if targets.links => {
                let other = replica(random);
                if other == victim {
                    continue;
                }
                if random.random() {
                    Fault::CutOneWay(victim, other)
                } else {
                    Fault::Cut(victim, other)
                }
            }
            13 if targets.links => Fault::Isolate(victim),
            14..17 if !targets.proxied.is_empty() => {
                let victim = targets.proxied.choose(random).expect("not empty").clone();
                Fault::Network(victim, behaviour(random))
            }
            17 if targets.disks => Fault::FillDisk(victim),
            18 => Fault::Damage(victim),
            19 if targets.clocks => {
                // A moment, what the slew makes good in minutes, more than it ever will.
                let far = *[50, 900, 30_000, 7_200_000]
                    .choose(random)
                    .expect("not empty");
                let by = random.random_range(far / 2..=far);
                Fault::StepClock(victim, if random.random() { by } else { -by })
            }
            20 if targets.disks => Fault::HangDisk(victim),
            _ => continue,
        };
    }
}

fn behaviour(random: &mut SmallRng) -> Behaviour {
    match random.random_range(0..6) {
        0 => Behaviour::Stall(Direction::In),
        1 => Behaviour::Stall(Direction::Out),
        2 => Behaviour::Stall(Direction::Both),
        3 => Behaviour::Reset,
        4 => Behaviour::LoseReplies,
        _ => Behaviour::Delay(Duration::from_millis(random.random_range(1..200))),
    }
}

impl Fault {
    /// Two of a kind are not done at the same time: undoing one would undo the other.
    fn same_kind(&self, other: &Self) -> bool {
        let group = |fault: &Self| match fault {
            // A process that waits for its disk can not even be killed.
            Self::Kill(_)
            | Self::Restart(_)
            | Self::Pause(_)
            | Self::HangDisk(_)
            | Self::Damage(_) => 0,
            Self::CutOneWay(..) | Self::Cut(..) | Self::Isolate(_) => 1,
            Self::Network(..) => 2,
            Self::FillDisk(_) => 3,
            Self::StepClock(..) => 4,
        };
        group(self) == group(other)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(names) => write!(f, "kill -9 {}", names.join(" ")),
            Self::Restart(name) => write!(f, "restart {name}"),
            Self::Pause(name) => write!(f, "stop {name}"),
            Self::CutOneWay(from, to) => write!(f, "cut {from} -> {to}"),
            Self::Cut(one, other) => write!(f, "cut {one} <-> {other}"),
            Self::Isolate(name) => write!(f, "cut {name} from all servers"),
            Self::Network(name, behaviour) => write!(f, "{behaviour:?} at {name}"),
            Self::FillDisk(name) => write!(f, "fill the disk of {name}"),
            Self::HangDisk(name) => write!(f, "hang the disk of {name}"),
            Self::Damage(name) => write!(f, "damage files of {name}"),
            Self::StepClock(name, by) => write!(f, "step the clock of {name} by {by} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::BTreeSet;

    fn everything() -> Targets {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Targets {
            replicas: names(&["replica-1", "replica-2", "replica-3"]),
            others: names(&["meta-1", "gateway-1"]),
            proxied: names(&["replica-2"]),
            links: true,
            disks: true,
            clocks: true,
        }
    }

    fn drawn(targets: &Targets, seed: u64) -> Vec<(Vec<Fault>, Duration)> {
        let mut random = SmallRng::seed_from_u64(seed);
        (0..1000).map(|_| draw(&mut random, targets)).collect()
    }

    fn kinds(drawn: &[(Vec<Fault>, Duration)]) -> BTreeSet<String> {
        let faults = drawn.iter().flat_map(|(faults, _)| faults);
        let word = |fault: &Fault| {
            format!("{fault:?}")
                .split(['(', ' '])
                .next()
                .map(str::to_owned)
        };
        faults.filter_map(word).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_and_in_time_everything() {
        assert_eq!(drawn(&everything(), 1), drawn(&everything(), 1));
        assert_ne!(drawn(&everything(), 1), drawn(&everything(), 2));
        assert_eq!(kinds(&drawn(&everything(), 1)).len(), 11);
    }

    #[test]
    fn nothing_is_drawn_that_cannot_be_done() {
        let bare = Targets {
            proxied: Vec::new(),
            links: false,
            disks: false,
            clocks: false,
            ..everything()
        };
        let possible = ["Damage", "Kill", "Pause", "Restart"].map(str::to_owned);
        assert_eq!(kinds(&drawn(&bare, 1)), BTreeSet::from(possible));
    }

    #[test]
    fn files_are_damaged_while_nothing_else_is_wrong() {
        for (faults, _) in drawn(&everything(), 3) {
            let damaged = faults.iter().any(|fault| matches!(fault, Fault::Damage(_)));
            assert!(!damaged || faults.len() == 1, "{faults:?}");
        }
    }
}
