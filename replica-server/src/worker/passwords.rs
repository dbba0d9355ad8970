//! Passwords are checked beside the worker's thread, one at a time, and those who ask take turns by where they ask from: whoever guesses
//! a thousand times from one machine holds up nobody on another by more than one guess.
//!
//! What fitted once is known again without a turn: clients that come back in crowds need no hash each.

use proto::secret::same;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use tokio::sync::oneshot;

/// From where a password came. The connections of this server's own RESP port are not told apart.
pub(crate) type Source = Option<IpAddr>;

/// See the module.
#[derive(Default)]
pub(crate) struct Passwords {
    turns: Rc<Turns>,
    /// What fitted last, by what is kept of it. Of tables that are gone it is left behind.
    fitting: RefCell<HashMap<String, String>>,
}

impl Passwords {
    /// Whether `given` is the password of which `kept` is kept.
    pub(crate) async fn fit(&self, source: Source, given: String, kept: String) -> bool {
        if self.known_to_fit(&given, &kept) {
            return true;
        }
        let _turn = self.turns.clone().turn(source).await;
        // Somebody else may have shown it meanwhile.
        if self.known_to_fit(&given, &kept) {
            return true;
        }
        let (asked, of) = (given.clone(), kept.clone());
        let fits = tokio::task::spawn_blocking(move || proto::password::fits(&asked, &of));
        let fits = fits.await.unwrap_or(false);
        if fits {
            self.fitting.borrow_mut().insert(kept, given);
        }
        fits
    }

    fn known_to_fit(&self, given: &str, kept: &str) -> bool {
        let fitting = self.fitting.borrow();
        let known = fitting.get(kept);
        known.is_some_and(|known| same(given.as_bytes(), known.as_bytes()))
    }
}

/// Who waits, by source; the first source is next.
#[derive(Default)]
struct Turns {
    taken: Cell<bool>,
    waiting: RefCell<VecDeque<(Source, VecDeque<oneshot::Sender<Turn>>)>>,
}

/// Passed on when it is dropped.
struct Turn(Rc<Turns>);

impl Turns {
    async fn turn(self: Rc<Self>, source: Source) -> Turn {
        if !self.taken.replace(true) {
            return Turn(self);
        }
        let (sender, turn) = oneshot::channel();
        {
            let mut waiting = self.waiting.borrow_mut();
            match waiting.iter_mut().find(|(of, _)| *of == source) {
                Some((_, queue)) => queue.push_back(sender),
                None => waiting.push_back((source, VecDeque::from([sender]))),
            }
        }
        // It comes for certain: a turn is always passed on.
        turn.await.unwrap_or_else(|_| Turn(self))
    }

    /// Who is next; its source has to wait for the others then.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut waiting = self.waiting.borrow_mut();
        let (source, mut queue) = waiting.pop_front()?;
        let next = queue.pop_front();
        if !queue.is_empty() {
            waiting.push_back((source, queue));
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        while let Some(next) = self.0.next() {
            if !next.is_closed() {
                drop(next.send(Turn(self.0.clone())));
                return;
            }
        }
        self.0.taken.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::task::{LocalSet, spawn_local};

    /// The order in which sources get their turns that ask in this order while somebody has one. Negative ones give up before.
    async fn order(asked: &[i16]) -> Vec<i16> {
        let turns = Rc::<Turns>::default();
        let first = turns.clone().turn(None).await;
        let had = Rc::<RefCell<Vec<i16>>>::default();
        let mut tasks = Vec::new();
        for &from in asked {
            let source = Some(Ipv4Addr::from(u32::from(from.unsigned_abs())).into());
            let (turns, had) = (turns.clone(), had.clone());
            let task = spawn_local(async move {
                let _turn = turns.turn(source).await;
                had.borrow_mut().push(from);
            });
            tokio::task::yield_now().await;
            if from < 0 {
                task.abort();
                let _ = task.await;
            } else {
                tasks.push(task);
            }
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        // It is free again.
        let _turn = turns.clone().turn(None).await;
        had.take()
    }

    #[tokio::test]
    async fn who_asks_once_waits_for_one_of_who_asks_without_end() {
        let local = LocalSet::new();
        let had = local.run_until(order(&[1, 1, 1, 1, 2, 1, 3, 3])).await;
        assert_eq!(had, [1, 2, 3, 1, 3, 1, 1, 1]);
        let had = local.run_until(order(&[-1, 1, -1, 2, -2])).await;
        assert_eq!(had, [2, 1]);
    }

    #[tokio::test]
    async fn what_fitted_is_known_again() {
        let passwords = Passwords::default();
        let kept = proto::password::kept("p", [7; proto::password::SALT]);
        let fit = |given: &str| passwords.fit(None, given.into(), kept.clone());
        assert!(!fit("q").await);
        assert!(!passwords.known_to_fit("p", &kept));
        assert!(fit("p").await);
        assert!(passwords.known_to_fit("p", &kept) && !passwords.known_to_fit("q", &kept));
        assert!(fit("p").await && !fit("q").await);
    }
}
