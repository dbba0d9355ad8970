//! Request ids: what makes a retried write take effect once. One client numbers its requests; which of them a partition has seen is
//! part of its data, as the rows are that a server writes with the effects.

use types::Mutation;

/// How far back a partition remembers.
const WINDOW: u64 = 64;

/// The requests that have taken effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Requests {
    highest: u64,
    /// Bit `n` is the request `n` below the highest.
    recent: u64,
}

/// What a partition knows of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    New,
    Done,
    /// Too old to tell: it is refused.
    Forgotten,
}

impl Requests {
    pub(crate) fn take(&mut self, id: u64) {
        if id > self.highest {
            let older = u32::try_from(id - self.highest).ok();
            self.recent = older
                .and_then(|by| self.recent.checked_shl(by))
                .unwrap_or(0)
                | 1;
            self.highest = id;
        } else if self.highest - id < WINDOW {
            self.recent |= 1 << (self.highest - id);
        }
    }

    pub(crate) fn find(&self, id: u64) -> Request {
        match self.highest.checked_sub(id) {
            Some(WINDOW..) => Request::Forgotten,
            Some(age) if self.recent >> age & 1 == 1 => Request::Done,
            None | Some(_) => Request::New,
        }
    }
}

/// The request that a mutation carries out: its effects begin with it.
pub(crate) fn id_of(mutation: &Mutation) -> u64 {
    let digits = mutation
        .effects
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |id, digit| id * 10 + u64::from(digit - b'0'))
}
