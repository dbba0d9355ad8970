//! Reads at secondaries: how one learns that its copy is no older than somebody wants, and when it may answer.
//!
//! ```text
//!   a reader ──► secondary: asks, with its clock ──► primary, if it could answer a read now
//!   a reader ◄── secondary: age = now - that clock ◄── up to where it has committed
//! ```
//!
//! Whatever was acknowledged before the secondary asked, a primary that holds its leases after that has committed; so a copy that has
//! committed as much is no older than the asking. That stays true whatever becomes of the primary, its ballot or its leases afterwards: the
//! copy only ages. It is asked for when somebody reads, never by a timer.
//!
//! Not here: evaluating, and what becomes of a read that may not be answered yet (the shell's).

use crate::planted::{Bug, planted};
use crate::replica::{Replica, Role};
use crate::{Action, Leases, Message, Refusal};
use std::time::Duration;
use types::{Ballot, Decree, Incarnation, Instant, NodeId, Timestamp};

/// A secondary's question, which comes back with the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The ballot under which it follows.
    pub ballot: Ballot,
    /// The life of its node: a clock that was read in another one says nothing in this.
    pub incarnation: Incarnation,
    /// Its clock. The primary only echoes it.
    pub at: Instant,
}

/// What a secondary knows of how fresh its copy is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Freshness {
    /// When the primary was asked last, if it has not answered that.
    asked: Option<Instant>,
    echo: Option<Echo>,
}

/// A primary's answer.
#[derive(Clone, Copy, Debug)]
struct Echo {
    asked: Instant,
    /// Up to where everything was committed that was acknowledged before the asking.
    committed: Decree,
    /// The time at which the primary would have evaluated a read.
    time: Timestamp,
}

/// How many times within a bound a busy reader has the primary asked.
const RENEWALS: u32 = 3;

impl Replica {
    /// Whether a read that wants a copy no older than `bound` is a reason to ask the primary (`Event::FreshnessWanted`).
    pub fn wants_freshness(&self, now: Instant, bound: Duration) -> bool {
        let Role::Follower(follower) = &self.role else {
            return false;
        };
        let Freshness { asked, echo } = follower.freshness;
        let waits = asked.is_some_and(|asked| now.since(asked) < self.settings.resend);
        let fresh = echo.is_some_and(|echo| now.since(echo.asked) < bound / RENEWALS);
        self.is_member() && !waits && !fresh
    }

    /// Whether a read may be answered from what is committed here, as no older than `bound`; and the time at which it is to be evaluated. To
    /// be asked with a reading of the clock that was taken after the read came. Only members answer: of no other copy is it known
    /// that it is whole.
    pub fn may_serve_stale(
        &self,
        now: Instant,
        bound: Duration,
        leases: &Leases,
    ) -> Result<Timestamp, Refusal> {
        let follower = match &self.role {
            Role::Follower(follower) if self.is_member() => follower,
            _ => {
                let known = self.configuration.clone();
                return Err(Refusal::NotPrimary { known });
            }
        };
        let fresh = follower.freshness.echo.filter(|echo| {
            let age = leases.longest(now.since(echo.asked));
            let reached = echo.committed <= self.committed() || planted(Bug::EchoOvertakes);
            age <= bound && reached
        });
        fresh.map(|echo| echo.time).ok_or(Refusal::NotFresh)
    }

    /// Somebody reads here.
    pub(crate) fn ask_freshness(
        &mut self,
        now: Instant,
        bound: Duration,
        actions: &mut Vec<Action>,
    ) {
        if !self.wants_freshness(now, bound) {
            return;
        }
        let asked = Asked {
            ballot: self.ballot(),
            incarnation: self.identity.incarnation,
            at: now,
        };
        if let Role::Follower(follower) = &mut self.role {
            follower.freshness.asked = Some(now);
            let (to, message) = (follower.primary, Message::AskFreshness(asked));
            actions.push(Action::Send { to, message });
        }
    }

    /// A primary answers if it could answer a read (R1), for then nobody else can have acknowledged anything that it does not have.
    pub(crate) fn on_ask_freshness(
        &self,
        now: Instant,
        from: NodeId,
        asked: Asked,
        leases: &Leases,
        actions: &mut Vec<Action>,
    ) {
        if asked.ballot < self.ballot() {
            return self.send_stale(from, actions);
        }
        let careless = planted(Bug::EchoesWithoutLease) && matches!(self.role, Role::Primary(_));
        let may = self.may_serve_read(now, leases).is_ok() || careless;
        if asked.ballot == self.ballot() && may {
            actions.push(Action::Echo {
                to: from,
                asked,
                committed: self.committed(),
            });
        }
    }

    /// The primary's answer. It tells of commits, too, so that nobody has to wait for the next prepare.
    pub(crate) fn on_fresh(
        &mut self,
        now: Instant,
        from: NodeId,
        asked: Asked,
        (committed, time): (Decree, Timestamp),
        actions: &mut Vec<Action>,
    ) {
        let mine = asked.incarnation == self.identity.incarnation || planted(Bug::EchoOfAnyLife);
        if !mine || !self.follows(from, asked.ballot, actions) {
            return;
        }
        if !planted(Bug::EchoOvertakes) {
            self.follow_commit(committed, actions);
        }
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        let freshness = &mut follower.freshness;
        if freshness.asked.is_some_and(|last| last <= asked.at) {
            freshness.asked = None;
        }
        if freshness.echo.is_none_or(|echo| echo.asked < asked.at) {
            let at = if planted(Bug::AgesFromReceipt) {
                now
            } else {
                asked.at
            };
            freshness.echo = Some(Echo {
                asked: at,
                committed,
                time,
            });
            actions.push(Action::Refreshed);
        }
    }
}
