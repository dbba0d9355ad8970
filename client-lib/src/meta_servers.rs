//! Which meta server to ask next. Names are resolved again in every round, so that one DNS name may stand for all of them and change; the
//! one that answered last comes first, and whom another one names as the leader next.
//!
//! Nothing is sent here: whoever asks says what came of it.

use proto::NotLeading;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a name may take to be resolved. Then it is tried as it is, to learn what is wrong with it.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Servers asked in one round at most, whatever names they come up with.
const MOST_ASKED: usize = 64;

/// The meta servers of a cluster, as somebody was told of them.
#[derive(Clone, Debug)]
pub struct MetaServers {
    names: Arc<[String]>,
    answering: Answering,
}

/// The one that answered last.
type Answering = Arc<Mutex<Option<String>>>;

/// Each of them once, and each whom they name.
#[derive(Debug)]
pub struct Round {
    waiting: VecDeque<String>,
    asked: Vec<String>,
    answering: Answering,
}

fn set(answering: &Answering, address: Option<String>) {
    *answering.lock().unwrap_or_else(PoisonError::into_inner) = address;
}

impl MetaServers {
    /// Names are `HOST:PORT`; a host may have several addresses.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            names: names.into_iter().collect(),
            answering: Answering::default(),
        }
    }

    /// The names, for people.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Begins with none in particular the next time.
    pub fn forget(&self) {
        set(&self.answering, None);
    }

    /// Whom to ask, in order.
    pub async fn round(&self) -> Round {
        let mut waiting: VecDeque<String> = self
            .answering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect();
        for name in &self.names[..] {
            let resolving = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(name));
            match resolving.await {
                Ok(Ok(addresses)) => waiting.extend(addresses.map(|address| address.to_string())),
                Ok(Err(_)) | Err(_) => waiting.push_back(name.clone()),
            }
        }
        Round {
            waiting,
            asked: Vec::new(),
            answering: Arc::clone(&self.answering),
        }
    }
}

impl Round {
    /// The next one's address; `None`: all were asked.
    pub fn next_address(&mut self) -> Option<String> {
        while let Some(address) = self.waiting.pop_front() {
            if !self.asked.contains(&address) && self.asked.len() < MOST_ASKED {
                self.asked.push(address.clone());
                return Some(address);
            }
        }
        None
    }

    /// This one answered as the leader does.
    pub fn answered(&self, address: &str) {
        set(&self.answering, Some(address.to_owned()));
    }

    /// This one did not; it may have said who leads.
    pub fn refused(&mut self, address: &str, said: Option<NotLeading>) {
        let mut answering = self
            .answering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        answering.take_if(|known| known == address);
        if let Some(leader) = said.and_then(|said| said.leader) {
            self.waiting.push_front(leader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(names: &[&str]) -> MetaServers {
        MetaServers::new(names.iter().map(|&name| name.to_owned()))
    }

    fn named(leader: &str) -> NotLeading {
        NotLeading {
            leader: Some(leader.to_owned()),
        }
    }

    #[tokio::test]
    async fn whom_another_names_is_asked_next_and_first_in_the_next_round() {
        let servers = servers(&["127.0.0.1:1", "127.0.0.1:2"]);
        let mut round = servers.round().await;
        let first = round.next_address().unwrap();
        assert_eq!(first, "127.0.0.1:1");
        round.refused(&first, Some(named("127.0.0.1:3")));
        let third = round.next_address().unwrap();
        assert_eq!(third, "127.0.0.1:3");
        round.answered(&third);
        assert_eq!(servers.round().await.next_address().unwrap(), third);
        servers.round().await.refused(&third, None);
        assert_eq!(servers.round().await.next_address().unwrap(), first);
    }

    #[tokio::test]
    async fn servers_that_name_each_other_are_asked_once() {
        let servers = servers(&["127.0.0.1:1", "127.0.0.1:2"]);
        let mut round = servers.round().await;
        let mut asked = Vec::new();
        while let Some(address) = round.next_address() {
            let other = if address.ends_with('1') { 2 } else { 1 };
            round.refused(&address, Some(named(&format!("127.0.0.1:{other}"))));
            asked.push(address);
        }
        assert_eq!(asked, ["127.0.0.1:1", "127.0.0.1:2"]);
    }

    #[tokio::test]
    async fn a_server_that_invents_names_does_not_keep_anybody() {
        let servers = servers(&["127.0.0.1:1"]);
        let mut round = servers.round().await;
        let mut asked = 0;
        while let Some(address) = round.next_address() {
            asked += 1;
            round.refused(&address, Some(named(&format!("127.0.0.1:{}", asked + 1))));
        }
        assert_eq!(asked, MOST_ASKED);
    }

    #[tokio::test]
    async fn a_name_stands_for_all_its_addresses() {
        let mut round = servers(&["localhost:7"]).round().await;
        let first = round.next_address().unwrap();
        assert!(first == "127.0.0.1:7" || first == "[::1]:7", "{first}");
    }
}
