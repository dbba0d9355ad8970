//! The client: opens tables and keeps the routes of those in use.

use crate::Error;
use crate::conflict::Order;
use crate::core::{Core, Home};
use crate::lane::Lane;
use crate::meta::Meta;
use crate::options::ClientOptions;
use crate::request_id::Retry;
use crate::statistics::{Followed, Statistics};
use crate::table::{Shared, Table};
use crate::watch::Watch;
use lru::LruCache;
use proto::data::TableCredential;
use proto::meta::TableRoutes;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use tokio::runtime::Handle;

/// A client of one cluster. Cheap to clone; all clones share connections and routes.
///
/// Its tasks run on the tokio runtime on which it was made (of either flavour) and end when the last clone and the last
/// [`Table`] are dropped and everything in flight is answered. It may be used from any thread.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    meta: Arc<Meta>,
    tables: Mutex<Tables>,
}

/// A table as it was opened: by name, and password if any.
type TableKey = (String, Option<String>);

struct Tables {
    /// Tables kept for their routes.
    cached: LruCache<TableKey, Arc<Shared>>,
    /// All tables in use, cached or not: there must not be two sets of lanes for one table, or nothing would order them.
    live: HashMap<TableKey, Weak<Shared>>,
}

impl Tables {
    fn find(&mut self, key: &TableKey) -> Option<Table> {
        let shared = match self.cached.get(key) {
            Some(shared) => Arc::clone(shared),
            None => self.live.get(key)?.upgrade()?,
        };
        if shared.home.is_gone() {
            // there may be a new table of this name
            self.cached.pop(key);
            self.live.remove(key);
            return None;
        }
        self.cached.put(key.clone(), Arc::clone(&shared));
        Some(Table {
            shared,
            retry: Retry::ById,
            staleness: None,
            order: Order(0),
        })
    }

    fn add(&mut self, key: TableKey, shared: &Arc<Shared>) {
        self.live.retain(|_, shared| shared.strong_count() > 0);
        self.live.insert(key.clone(), Arc::downgrade(shared));
        self.cached.put(key, Arc::clone(shared));
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("meta", &self.inner.core.options.meta)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the cluster of these meta servers. Fails with [`Error::Unavailable`] if none of them can be reached within the
    /// deadline.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tulpar_client::{Client, ClientOptions, Error};
    /// # async fn example() -> Result<(), Error> {
    /// let options = ClientOptions::new(["10.0.0.1:34601", "10.0.0.2:34601"])
    ///     .deadline(Duration::from_secs(2))
    ///     .password("orders", "secret");
    /// let orders = Client::connect(options).await?.table("orders").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(options: ClientOptions) -> Result<Self, Error> {
        let deadline = Instant::now() + options.deadline;
        let pause = options.backoff.1;
        let client = Self::lazy(options)?;
        client.inner.meta.reachable(deadline, pause).await?;
        Ok(client)
    }

    /// A client that asks for its meta servers only when a table is opened. Fails only if an address is none. Must be called inside a
    /// tokio runtime.
    pub fn lazy(options: ClientOptions) -> Result<Self, Error> {
        let runtime = Handle::try_current()
            .map_err(|_| Error::Rejected("ERR a client is made inside a tokio runtime".into()))?;
        let meta = Arc::new(Meta::new(&options.meta)?);
        let cached = NonZeroUsize::new(options.cached_tables).unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            inner: Arc::new(Inner {
                core: Core::new(options, runtime),
                meta,
                tables: Mutex::new(Tables {
                    cached: LruCache::sparse(cached),
                    live: HashMap::new(),
                }),
            }),
        })
    }

    /// What went wrong so far, and how old the routes may be.
    pub fn statistics(&self) -> Statistics {
        let live: Vec<Arc<Shared>> = self
            .tables()
            .live
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        let mut tables: Vec<Followed> = live
            .iter()
            .map(|shared| Followed {
                table: shared.home.name.clone(),
                unfollowed_for: shared.home.following.ended_for(),
            })
            .collect();
        // One for each password in use: the oldest routes are what matters.
        tables.sort_by(|a, b| (&a.table, b.unfollowed_for).cmp(&(&b.table, a.unfollowed_for)));
        tables.dedup_by(|later, first| later.table == first.table);
        self.inner.core.troubles.statistics(tables)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.inner
            .tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a table, with the password that the options have for it, if any.
    pub async fn table(&self, name: &str) -> Result<Table, Error> {
        let password = self.inner.core.options.passwords.get(name).cloned();
        self.open(name, password).await
    }

    /// Opens a table with a password, which one of its servers checks at once: a wrong one is [`Error::Unauthorized`]. A table without
    /// a password takes any.
    pub async fn table_with_password(&self, name: &str, password: &str) -> Result<Table, Error> {
        self.open(name, Some(password.to_owned())).await
    }

    async fn open(&self, name: &str, password: Option<String>) -> Result<Table, Error> {
        let key = (name.to_owned(), password);
        let found = self.tables().find(&key);
        if let Some(table) = found {
            if key.1.is_some() {
                // it may have another one by now; a partition that does not answer says nothing of that
                let checked = table.check_password().await;
                if let Err(error @ (Error::Unauthorized(_) | Error::NoSuchTable(_))) = checked {
                    return Err(error);
                }
            }
            return Ok(table);
        }
        let options = &self.inner.core.options;
        let deadline = Instant::now() + options.deadline;
        let routes = self
            .inner
            .meta
            .query(name, deadline, options.backoff.1)
            .await?;
        let described = routes.table.as_ref().ok_or_else(|| malformed(name))?;
        if described.dropped_at != 0 {
            return Err(Error::NoSuchTable(name.to_owned()));
        }
        let key = match (described.has_password, key.1) {
            (true, None) => {
                return Err(Error::Unauthorized(format!(
                    "table '{name}' needs a password"
                )));
            }
            (true, password) => (key.0, password),
            (false, _) => (key.0, None),
        };
        if !described.has_password {
            return self.add(key, routes);
        }
        if let Some(table) = self.tables().find(&key) {
            return Ok(table);
        }
        // checked before it is cached: a table with a wrong password is never opened
        let table = Table {
            shared: self.shared(&key, routes)?,
            retry: Retry::ById,
            staleness: None,
            order: Order(0),
        };
        table.check_password().await?;
        let mut tables = self.tables();
        if let Some(table) = tables.find(&key) {
            return Ok(table);
        }
        tables.add(key, &table.shared);
        Ok(table)
    }

    fn add(&self, key: TableKey, routes: TableRoutes) -> Result<Table, Error> {
        let mut tables = self.tables();
        if let Some(table) = tables.find(&key) {
            // opened twice at a time
            return Ok(table);
        }
        let shared = self.shared(&key, routes)?;
        tables.add(key, &shared);
        Ok(Table {
            shared,
            retry: Retry::ById,
            staleness: None,
            order: Order(0),
        })
    }

    fn shared(
        &self,
        (name, password): &TableKey,
        routes: TableRoutes,
    ) -> Result<Arc<Shared>, Error> {
        let described = routes.table.ok_or_else(|| malformed(name))?;
        if described.partitions == 0 || described.partitions > u32::from(types::SLOTS) {
            return Err(malformed(name));
        }
        let credential = password.as_ref().map(|password| TableCredential {
            table: described.id,
            password: password.clone(),
        });
        let core = &self.inner.core;
        let home = Home::new(Arc::clone(core), described.id, name.clone(), credential);
        let lanes: Vec<_> = (0..described.partitions)
            .map(|index| Lane::new(Arc::clone(&home), index))
            .collect();
        let watch = Watch {
            meta: Arc::clone(&self.inner.meta),
            home: Arc::clone(&home),
            lanes: lanes.clone(),
        };
        watch.apply(&routes.nodes, routes.partitions);
        let watch = core.runtime.spawn(watch.run()).abort_handle();
        Ok(Arc::new(Shared { home, lanes, watch }))
    }
}

fn malformed(name: &str) -> Error {
    Error::Unavailable(format!(
        "a meta server describes table '{name}' in a way that cannot be"
    ))
}
