//! What can be set: on the client, on a write, on a scan.

use std::collections::HashMap;
use std::time::Duration;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(crate) meta: Vec<String>,
    pub(crate) deadline: Duration,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) cached_tables: usize,
    pub(crate) max_requests: usize,
    pub(crate) max_bytes: usize,
    pub(crate) passwords: HashMap<String, String>,
    pub(crate) fail_early: bool,
}

impl ClientOptions {
    /// The meta servers' addresses, `HOST:PORT`. Any one of them that answers will do.
    pub fn new(meta: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            meta: meta.into_iter().map(Into::into).collect(),
            deadline: Duration::from_secs(5),
            backoff: (Duration::from_millis(5), Duration::from_millis(250)),
            cached_tables: 1024,
            max_requests: 65_536,
            max_bytes: 256 << 20,
            passwords: HashMap::new(),
            fail_early: false,
        }
    }

    /// How long an operation may take, retries included. Default: 5 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Bounds of the pause before a refused request is sent again; it doubles from the first to the second, less a random part.
    /// Default: 5 ms to 250 ms.
    #[must_use]
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = (min.max(Duration::from_millis(1)), max.max(min));
        self
    }

    /// Of how many tables the routes are kept (at least 1). The least recently opened is forgotten first; a [`Table`](crate::Table) in
    /// use keeps its own. Default: 1024.
    #[must_use]
    pub fn cached_tables(mut self, tables: usize) -> Self {
        self.cached_tables = tables.max(1);
        self
    }

    /// How many requests, and how many bytes of requests, may be unanswered at a time. Calls beyond wait; requests
    /// [submitted](crate::Table::submit) beyond are refused. Default: 65536 and 256 MiB.
    #[must_use]
    pub fn max_in_flight(mut self, requests: usize, bytes: usize) -> Self {
        self.max_requests = requests.clamp(1, 1 << 20);
        self.max_bytes = bytes.max(1 << 10);
        self
    }

    /// What a partition cannot do for now (too few copies of it are alive, a disk is full, a table's share is used up) ends at once as
    /// [`Error::Unavailable`](crate::Error::Unavailable), with the text that Redis' clients know (`NOREPLICAS ...`, `MISCONF ...`, `THROTTLED ...`).
    /// Default: it is sent again until the deadline.
    #[must_use]
    pub fn fail_early(mut self) -> Self {
        self.fail_early = true;
        self
    }

    /// The password that [`Client::table`](crate::Client::table) uses for a table.
    #[must_use]
    pub fn password(mut self, table: impl Into<String>, password: impl Into<String>) -> Self {
        self.passwords.insert(table.into(), password.into());
        self
    }
}

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetOptions {
    ttl: Option<Duration>,
}

impl SetOptions {
    /// A plain write: it lives until it is overwritten or deleted.
    pub fn new() -> Self {
        Self::default()
    }

    /// It expires after this long (counted in milliseconds, at least one).
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// As the protocol has it: milliseconds, 0 for ever.
    pub(crate) fn milliseconds(self) -> u64 {
        self.ttl.map_or(0, |ttl| {
            u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
        })
    }
}

/// How a hash key is scanned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScanOptions {
    pub(crate) reverse: bool,
    pub(crate) page: u32,
    pub(crate) limit: Option<u64>,
}

impl ScanOptions {
    /// From the lowest sort key to the highest, all of them, in pages of the server's size.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the highest sort key to the lowest.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// At most so many entries a page.
    #[must_use]
    pub fn page(mut self, entries: u32) -> Self {
        self.page = entries;
        self
    }

    /// At most so many entries in all.
    #[must_use]
    pub fn limit(mut self, entries: u64) -> Self {
        self.limit = Some(entries);
        self
    }
}
