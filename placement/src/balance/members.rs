//! A partition's members in a picture, the primary first: a list in place, for there are hundreds of thousands.

use super::picture::Seat;
use std::ops::{Deref, DerefMut};

/// Members at most; a configuration with more is not looked at.
const MOST: usize = 16;

/// Some nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Members {
    seats: [Seat; MOST],
    count: u8,
}

impl Members {
    /// Those for which it holds.
    pub(super) fn retain(&mut self, holds: impl Fn(Seat) -> bool) {
        *self = self.iter().copied().filter(|&seat| holds(seat)).collect();
    }
}

impl Extend<Seat> for Members {
    fn extend<T: IntoIterator<Item = Seat>>(&mut self, seats: T) {
        for (place, seat) in self.seats[usize::from(self.count)..].iter_mut().zip(seats) {
            *place = seat;
            self.count += 1;
        }
    }
}

impl FromIterator<Seat> for Members {
    fn from_iter<T: IntoIterator<Item = Seat>>(seats: T) -> Self {
        let mut members = Self::default();
        members.extend(seats);
        members
    }
}

impl Deref for Members {
    type Target = [Seat];

    fn deref(&self) -> &[Seat] {
        &self.seats[..usize::from(self.count)]
    }
}

impl DerefMut for Members {
    fn deref_mut(&mut self) -> &mut [Seat] {
        &mut self.seats[..usize::from(self.count)]
    }
}
