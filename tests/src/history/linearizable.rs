//! Is there an order of a key's operations in which each reply is true and which contradicts no clock?
//!
//! Wing and Gong's search with Lowe's memory: operations are put in order one at a time, and a set of ordered operations that has led
//! to a state once is not tried again. An operation of unknown outcome may be put anywhere after it was sent, or nowhere. The search
//! is exact; it stays short because a key has few operations at a time and few of unknown outcome (clients change keys for that).

use super::object::{self, State};
use super::operation::{Nanos, Operation, Outcome};
use std::collections::HashSet;
use std::fmt;

/// A history that no order explains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The longest order found, as places in the history.
    pub explained: Vec<usize>,
    /// The operation that had to come next by the clock, and could not.
    pub stuck_at: Operation,
    /// What the key held there.
    pub state: State,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "after {} operations the key can be {:?}, which does not allow {:?}",
            self.explained.len(),
            self.state,
            self.stuck_at
        )
    }
}

/// Looks for an order, beginning with a key that does not exist.
pub fn check(history: &[Operation]) -> Result<(), Violation> {
    Search::new(history).run()
}

/// The start or the end of an operation, in a list in the order of the clock from which pairs are lifted out and put back.
#[derive(Clone, Copy)]
struct Event {
    operation: usize,
    kind: Kind,
    previous: usize,
    next: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Head,
    /// With the place of the return in the list; an operation of unknown outcome never returns.
    Call {
        returned: Option<usize>,
    },
    Return,
}

const HEAD: usize = 0;

struct Search<'a> {
    history: &'a [Operation],
    events: Vec<Event>,
    /// Answered operations not yet put in order.
    missing: usize,
    /// Calls put in order, each with the state before it.
    order: Vec<(usize, State)>,
    state: State,
    taken: Vec<u64>,
    seen: HashSet<(Vec<u64>, State)>,
    best: Option<Violation>,
}

impl<'a> Search<'a> {
    fn new(history: &'a [Operation]) -> Self {
        let events = list(history);
        let missing = events
            .iter()
            .filter(|event| event.kind == Kind::Return)
            .count();
        Self {
            history,
            events,
            missing,
            order: Vec::new(),
            state: None,
            taken: vec![0; history.len().div_ceil(64)],
            seen: HashSet::new(),
            best: None,
        }
    }

    fn run(mut self) -> Result<(), Violation> {
        let mut at = self.events[HEAD].next;
        while self.missing > 0 {
            let kind = self.events[at].kind;
            match kind {
                Kind::Call { .. } if self.try_next(at) => at = self.events[HEAD].next,
                Kind::Call { .. } => at = self.events[at].next,
                // This operation had ended before anything further began, and nothing tried so far lets it be next.
                Kind::Return => {
                    self.remember(at);
                    match self.undo() {
                        Some(call) => at = self.events[call].next,
                        None => return Err(self.best.expect("a dead end was remembered")),
                    }
                }
                Kind::Head => {
                    unreachable!("an operation without an order has its return in the list")
                }
            }
        }
        Ok(())
    }

    /// Puts the call next in the order, if its reply allows it and this has not been tried.
    fn try_next(&mut self, at: usize) -> bool {
        let operation = self.events[at].operation;
        let (after, reply) = object::apply(self.state, self.history[operation].call);
        if let Outcome::Replied(said) = self.history[operation].outcome
            && said != reply
        {
            return false;
        }
        self.taken[operation / 64] |= 1 << (operation % 64);
        if !self.seen.insert((self.taken.clone(), after)) {
            self.taken[operation / 64] &= !(1 << (operation % 64));
            return false;
        }
        self.order.push((at, self.state));
        self.state = after;
        self.lift(at);
        if let Kind::Call {
            returned: Some(returned),
        } = self.events[at].kind
        {
            self.lift(returned);
            self.missing -= 1;
        }
        true
    }

    /// Takes the last call out of the order again.
    fn undo(&mut self) -> Option<usize> {
        let (at, before) = self.order.pop()?;
        self.state = before;
        let operation = self.events[at].operation;
        self.taken[operation / 64] &= !(1 << (operation % 64));
        if let Kind::Call {
            returned: Some(returned),
        } = self.events[at].kind
        {
            self.put_back(returned);
            self.missing += 1;
        }
        self.put_back(at);
        Some(at)
    }

    fn remember(&mut self, at: usize) {
        let longest = self.best.as_ref().map(|best| best.explained.len());
        if longest.is_none_or(|longest| self.order.len() > longest) {
            let place = |&(call, _): &(usize, State)| self.events[call].operation;
            self.best = Some(Violation {
                explained: self.order.iter().map(place).collect(),
                stuck_at: self.history[self.events[at].operation],
                state: self.state,
            });
        }
    }

    fn lift(&mut self, at: usize) {
        let Event { previous, next, .. } = self.events[at];
        self.events[previous].next = next;
        self.events[next].previous = previous;
    }

    fn put_back(&mut self, at: usize) {
        let Event { previous, next, .. } = self.events[at];
        self.events[previous].next = at;
        self.events[next].previous = at;
    }
}

/// The events in the order of the clock, in a ring that begins and ends at [`HEAD`].
fn list(history: &[Operation]) -> Vec<Event> {
    // At equal times calls come first: what might have overlapped is taken to have overlapped.
    let mut moments: Vec<(Nanos, bool, usize)> = Vec::new();
    for (operation, told) in history.iter().enumerate() {
        if told.counts() {
            moments.push((told.invoked, false, operation));
            if matches!(told.outcome, Outcome::Replied(_)) {
                moments.push((told.returned, true, operation));
            }
        }
    }
    moments.sort_unstable();
    let ring = moments.len() + 1;
    let mut events = vec![Event {
        operation: usize::MAX,
        kind: Kind::Head,
        previous: ring - 1,
        next: 1 % ring,
    }];
    let mut calls = vec![HEAD; history.len()];
    for (place, (_, returns, operation)) in (1..).zip(moments) {
        let kind = if returns {
            let call: &mut Event = &mut events[calls[operation]];
            call.kind = Kind::Call {
                returned: Some(place),
            };
            Kind::Return
        } else {
            calls[operation] = place;
            Kind::Call { returned: None }
        };
        events.push(Event {
            operation,
            kind,
            previous: place - 1,
            next: (place + 1) % ring,
        });
    }
    events
}

#[cfg(test)]
mod tests {
    use super::super::operation::{Call, Reply};
    use super::*;
    use proptest::prelude::*;

    fn replied(call: Call, reply: Reply, invoked: Nanos, returned: Nanos) -> Operation {
        let outcome = Outcome::Replied(reply);
        Operation {
            client: 0,
            call,
            invoked,
            returned,
            outcome,
        }
    }

    fn set(value: i64, invoked: Nanos, returned: Nanos) -> Operation {
        replied(Call::Set(value), Reply::Done, invoked, returned)
    }

    fn get(value: Option<i64>, invoked: Nanos, returned: Nanos) -> Operation {
        replied(Call::Get, Reply::Value(value), invoked, returned)
    }

    fn incr(number: i64, invoked: Nanos, returned: Nanos) -> Operation {
        replied(Call::Increment, Reply::Number(number), invoked, returned)
    }

    fn ended(operation: Operation, outcome: Outcome) -> Operation {
        Operation {
            outcome,
            ..operation
        }
    }

    fn unknown(operation: Operation) -> Operation {
        ended(operation, Outcome::Unknown)
    }

    #[test]
    fn reads_of_what_was_written_last_or_is_being_written_are_right() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(
            check(&[get(None, 0, 1), set(1, 2, 3), get(Some(1), 4, 5)]),
            Ok(())
        );
        let during = [
            set(1, 0, 1),
            set(2, 2, 9),
            get(Some(1), 3, 4),
            get(Some(2), 5, 6),
        ];
        assert_eq!(check(&during), Ok(()));
    }

    #[test]
    fn a_lost_write_is_found() {
        let violation = check(&[set(1, 0, 1), get(None, 2, 3)]).unwrap_err();
        assert_eq!(violation.stuck_at, get(None, 2, 3));
        assert_eq!((violation.explained, violation.state), (vec![0], Some(1)));
        assert!(check(&[set(1, 0, 1), set(2, 2, 3), get(Some(1), 4, 5)]).is_err());
    }

    #[test]
    fn a_stale_read_is_found_though_the_write_was_still_under_way() {
        let history = [
            set(1, 0, 1),
            set(2, 2, 9),
            get(Some(2), 3, 4),
            get(Some(1), 5, 6),
        ];
        assert!(check(&history).is_err());
    }

    #[test]
    fn a_value_that_nobody_wrote_is_found() {
        assert!(check(&[set(1, 0, 1), get(Some(7), 2, 3)]).is_err());
    }

    #[test]
    fn an_unknown_write_may_take_effect_late_or_never_but_only_once_and_not_before_it_was_sent() {
        let lost = unknown(set(2, 2, 3));
        let end = |read: &[Operation]| {
            let mut history = vec![set(1, 0, 1), lost];
            history.extend(read);
            check(&history)
        };
        assert_eq!(end(&[get(Some(1), 4, 5), get(Some(1), 6, 7)]), Ok(()));
        assert_eq!(end(&[get(Some(1), 4, 5), get(Some(2), 6, 7)]), Ok(()));
        assert!(end(&[get(Some(2), 4, 5), get(Some(1), 6, 7)]).is_err());
        assert!(end(&[get(Some(2), 4, 5), set(3, 6, 7), get(Some(2), 8, 9)]).is_err());
        assert!(check(&[set(1, 0, 1), get(Some(2), 2, 3), unknown(set(2, 4, 5))]).is_err());
    }

    #[test]
    fn a_refused_write_must_leave_no_trace() {
        let refused = ended(set(2, 2, 3), Outcome::Refused);
        assert_eq!(check(&[set(1, 0, 1), refused, get(Some(1), 4, 5)]), Ok(()));
        assert!(check(&[set(1, 0, 1), refused, get(Some(2), 4, 5)]).is_err());
    }

    #[test]
    fn a_lost_and_a_repeated_increment_are_found() {
        assert_eq!(
            check(&[incr(1, 0, 5), incr(2, 0, 5), get(Some(2), 6, 7)]),
            Ok(())
        );
        assert!(check(&[incr(1, 0, 1), incr(1, 2, 3)]).is_err());
        assert!(check(&[incr(1, 0, 1), incr(3, 2, 3)]).is_err());
        let unknown = unknown(incr(0, 2, 3));
        assert_eq!(check(&[incr(1, 0, 1), unknown, incr(3, 4, 5)]), Ok(()));
        assert!(check(&[incr(1, 0, 1), unknown, incr(4, 4, 5)]).is_err());
    }

    #[test]
    fn a_delete_says_truly_whether_there_was_anything() {
        let delete = |was: bool, invoked, returned| {
            replied(Call::Delete, Reply::Deleted(was), invoked, returned)
        };
        let history = [
            set(1, 0, 1),
            delete(true, 2, 3),
            delete(false, 4, 5),
            get(None, 6, 7),
        ];
        assert_eq!(check(&history), Ok(()));
        assert!(check(&[set(1, 0, 1), delete(false, 2, 3)]).is_err());
        assert!(check(&[set(1, 0, 1), delete(true, 2, 3), get(Some(1), 4, 5)]).is_err());
    }

    #[test]
    fn many_unknown_increments_do_not_make_the_search_endless() {
        let mut history: Vec<Operation> = (0..8).map(|n| unknown(incr(0, n, n))).collect();
        history.extend((0..300).map(|n| incr(n + 5, 100 + 2 * n as Nanos, 101 + 2 * n as Nanos)));
        assert_eq!(check(&history), Ok(()));
        history.push(incr(9, 2000, 2001));
        assert!(check(&history).is_err());
    }

    fn calls() -> impl Strategy<Value = Call> {
        prop_oneof![
            Just(Call::Get),
            (0..9i64).prop_map(Call::Set),
            Just(Call::Delete),
            Just(Call::Increment),
        ]
    }

    /// A history that is right by construction: each operation takes effect at its place, within a span around it.
    fn true_history() -> impl Strategy<Value = Vec<Operation>> {
        let one = (calls(), 0..25u64, 0..25u64, 0..10u32);
        proptest::collection::vec(one, 1..60).prop_map(|drawn| {
            let mut state = None;
            let mut history = Vec::new();
            for (place, (call, before, after, fate)) in (1u64..).zip(drawn) {
                let effect = 100 + place * 10;
                let (next, reply) = object::apply(state, call);
                let mut operation = replied(call, reply, effect - before, effect + after);
                if fate == 0 {
                    operation = ended(operation, Outcome::Refused);
                } else {
                    state = next;
                    if fate == 1 {
                        operation = unknown(operation);
                    }
                }
                history.push(operation);
            }
            history
        })
    }

    /// The definition, without cleverness: all orders.
    fn by_brute_force(history: &[Operation], state: State) -> bool {
        let answered = |o: &&Operation| matches!(o.outcome, Outcome::Replied(_));
        let Some(first_end) = history.iter().filter(answered).map(|o| o.returned).min() else {
            return true;
        };
        (0..history.len()).any(|place| {
            let operation = history[place];
            if operation.invoked > first_end {
                return false;
            }
            let (next, reply) = object::apply(state, operation.call);
            let rest = || [&history[..place], &history[place + 1..]].concat();
            match operation.outcome {
                Outcome::Replied(said) => said == reply && by_brute_force(&rest(), next),
                Outcome::Refused | Outcome::Unknown => by_brute_force(&rest(), next),
            }
        })
    }

    proptest! {
        #[test]
        fn whatever_really_happened_is_accepted(history in true_history()) {
            prop_assert_eq!(check(&history), Ok(()));
        }

        #[test]
        fn the_verdict_is_that_of_trying_all_orders(
            history in true_history(),
            lie in any::<proptest::sample::Index>(),
            number in 0..4i64,
        ) {
            let mut history: Vec<Operation> = history.into_iter().filter(Operation::counts).take(7).collect();
            prop_assume!(!history.is_empty());
            let told = lie.get(&history).call;
            let place = lie.index(history.len());
            history[place].outcome = Outcome::Replied(match told {
                Call::Get => Reply::Value(Some(number)),
                Call::Set(_) => Reply::Done,
                Call::Delete => Reply::Deleted(number % 2 == 0),
                Call::Increment => Reply::Number(number),
            });
            prop_assert_eq!(check(&history).is_ok(), by_brute_force(&history, None));
        }
    }
}
