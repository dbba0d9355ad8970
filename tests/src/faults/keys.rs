//! The keys that clients use: few at a time, so that clients meet, each for a while, so that judging its history stays quick.

use crate::history::Outcome;
use rand::RngExt;
use rand::rngs::SmallRng;
use std::sync::{Mutex, PoisonError};

/// How many keys are in use at a time: half of them registers, half counters.
const OPEN: usize = 24;
/// A key is left after so many operations ...
const OPERATIONS: u32 = 400;
/// ... or after so many of unknown outcome: each of them doubles what may be true.
const UNKNOWN: u32 = 6;

/// What is done with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// GET, SET, DEL.
    Register,
    /// INCR, GET.
    Counter,
}

/// Shared by the clients of one round.
#[derive(Debug)]
pub struct Keys {
    prefix: String,
    open: Mutex<Vec<Open>>,
}

#[derive(Clone, Debug, Default)]
struct Open {
    generation: u32,
    operations: u32,
    unknown: u32,
}

/// A key for one operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// What may be done with it.
    pub usage: Use,
    place: usize,
    generation: u32,
}

impl Keys {
    /// Keys whose names begin with the prefix.
    pub fn new(prefix: String) -> Self {
        let open = Mutex::new(vec![Open::default(); OPEN]);
        Self { prefix, open }
    }

    /// One of them.
    pub fn choose(&self, random: &mut SmallRng) -> Chosen {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let place = random.random_range(0..open.len());
        let key = &mut open[place];
        key.operations += 1;
        if key.operations > OPERATIONS {
            key.renew();
        }
        let (usage, letter) = if place.is_multiple_of(2) {
            (Use::Register, 'r')
        } else {
            (Use::Counter, 'c')
        };
        Chosen {
            name: format!("{}:{letter}{place}:{}", self.prefix, key.generation),
            usage,
            place,
            generation: key.generation,
        }
    }

    /// Takes note of how an operation on the key ended.
    pub fn ended(&self, chosen: &Chosen, outcome: Outcome) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = &mut open[chosen.place];
        if outcome == Outcome::Unknown && key.generation == chosen.generation {
            key.unknown += 1;
            if key.unknown >= UNKNOWN {
                key.renew();
            }
        }
    }
}

impl Open {
    fn renew(&mut self) {
        *self = Self {
            generation: self.generation + 1,
            ..Self::default()
        };
    }
}
