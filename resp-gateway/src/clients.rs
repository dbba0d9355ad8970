//! Everybody who is connected: for CLIENT LIST and KILL, the bound on connections, and the one sweep for idle ones.

use crate::codec::Protocol;
use crate::outbox::Outbox;
use hashbrown::HashMap;
use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What is known of one connection from outside of it.
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) connected: Instant,
    /// When it last sent something.
    pub(crate) active: Cell<Instant>,
    pub(crate) name: RefCell<String>,
    /// Name and version of the library that it was made with, as it says.
    pub(crate) made_with: RefCell<(String, String)>,
    pub(crate) table: RefCell<String>,
    pub(crate) last_command: Cell<&'static str>,
    /// Bytes it has sent of commands that are not started yet.
    pub(crate) unread: Cell<usize>,
    pub(crate) outbox: Rc<Outbox>,
}

impl Client {
    /// Its line of CLIENT LIST, without an end.
    pub(crate) fn describe(&self, now: Instant) -> String {
        let mut line = String::new();
        let (library, version) = &*self.made_with.borrow();
        let resp = match self.outbox.protocol() {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        let _ = write!(
            line,
            "id={} addr={} laddr={} name={} age={} idle={} flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf={} omem={} events=r cmd={} user={} redir=-1 resp={resp} lib-name={library} lib-ver={version}",
            self.id,
            self.peer,
            self.local,
            self.name.borrow(),
            now.duration_since(self.connected).as_secs(),
            now.saturating_duration_since(self.active.get()).as_secs(),
            self.unread.get(),
            self.outbox.backlog(),
            self.last_command.get(),
            self.table.borrow(),
        );
        line
    }
}

/// All connections of a listener.
#[derive(Default)]
pub(crate) struct Clients {
    clients: RefCell<HashMap<u64, Rc<Client>, foldhash::fast::RandomState>>,
    last_id: Cell<u64>,
}

impl Clients {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.borrow().len()
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.set(self.last_id.get() + 1);
        self.last_id.get()
    }

    pub(crate) fn add(&self, client: Rc<Client>) {
        self.clients.borrow_mut().insert(client.id, client);
    }

    pub(crate) fn remove(&self, id: u64) {
        self.clients.borrow_mut().remove(&id);
    }

    /// In the order in which they came.
    pub(crate) fn all(&self) -> Vec<Rc<Client>> {
        let mut all: Vec<_> = self.clients.borrow().values().cloned().collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// Closes those who have sent nothing for `longest` and wait for nothing.
    pub(crate) fn close_idle(&self, now: Instant, longest: Duration) {
        for client in self.clients.borrow().values() {
            let idle = now.saturating_duration_since(client.active.get());
            if idle >= longest && client.outbox.is_idle() {
                tracing::debug!(client = client.id, peer = %client.peer, "closing an idle connection");
                client.outbox.kill();
            }
        }
    }
}
