//! The sequences of a lane's writes: which is next, and which is the first that may still be asked again.

use std::collections::VecDeque;

/// See the module.
pub(super) struct Sequences {
    first: u64,
    /// From `first` on: whether it has ended.
    ended: VecDeque<bool>,
}

impl Sequences {
    pub(super) fn new() -> Self {
        Self {
            first: 1,
            ended: VecDeque::new(),
        }
    }

    pub(super) fn begin(&mut self) -> u64 {
        self.ended.push_back(false);
        self.first + self.ended.len() as u64 - 1
    }

    /// It will not be asked again.
    pub(super) fn end(&mut self, sequence: u64) {
        let place = sequence
            .checked_sub(self.first)
            .and_then(|place| self.ended.get_mut(place as usize));
        if let Some(ended) = place {
            *ended = true;
        }
        while self.ended.front() == Some(&true) {
            self.ended.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn first_incomplete(&self) -> u64 {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_incomplete_sequence_is_the_lowest_that_has_not_ended() {
        let mut sequences = Sequences::new();
        assert_eq!(
            (1..=4).map(|_| sequences.begin()).collect::<Vec<_>>(),
            [1, 2, 3, 4]
        );
        let mut first_after = |ended| {
            sequences.end(ended);
            sequences.first_incomplete()
        };
        assert_eq!([2, 1, 1, 4].map(&mut first_after), [1, 3, 3, 3]);
        assert_eq!(first_after(3), 5);
        assert_eq!(sequences.begin(), 5);
    }
}
