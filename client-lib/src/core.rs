//! What all tables of a client share: options, budget, links to servers, the nodes' addresses, the driver.

use crate::budget::Budget;
use crate::conflict::Order;
use crate::driver::Driver;
use crate::link::{self, Link};
use crate::options::ClientOptions;
use crate::statistics::{Following, Troubles};
use proto::common::NodeAddress;
use proto::data::TableCredential;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tonic::transport::Channel;
use types::NodeId;

/// The shared part of a client. It ends when the last client and table are dropped and everything in flight is answered.
pub(crate) struct Core {
    pub(crate) options: ClientOptions,
    pub(crate) budget: Arc<Budget>,
    pub(crate) driver: Arc<Driver>,
    pub(crate) runtime: Handle,
    pub(crate) troubles: Troubles,
    driver_task: AbortHandle,
    epochs: AtomicU32,
    orders: AtomicU64,
    nodes: Mutex<HashMap<NodeId, Arc<str>>>,
    links: Mutex<Links>,
}

/// One connection per server; on it one stream without and one with each password in use, so that what one password unlocks is
/// unlocked for nobody else.
#[derive(Default)]
struct Links {
    channels: HashMap<Arc<str>, Channel>,
    links: HashMap<LinkKey, Arc<Link>>,
}

type LinkKey = (Arc<str>, Option<(u32, String)>);

/// What the lanes of one table share.
pub(crate) struct Home {
    pub(crate) core: Arc<Core>,
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) credential: Option<TableCredential>,
    /// Told when the routes may be out of date.
    pub(crate) refresh: Notify,
    pub(crate) following: Following,
    gone: AtomicBool,
}

impl Home {
    pub(crate) fn new(
        core: Arc<Core>,
        id: u32,
        name: String,
        credential: Option<TableCredential>,
    ) -> Arc<Self> {
        Arc::new(Self {
            core,
            id,
            name,
            credential,
            refresh: Notify::new(),
            following: Following::not_yet(),
            gone: AtomicBool::new(false),
        })
    }

    /// Whether the table was dropped.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Must be called on the runtime that is to carry the client's tasks.
    pub(crate) fn new(options: ClientOptions, runtime: Handle) -> Arc<Self> {
        let budget = Arc::new(Budget::new(options.max_requests, options.max_bytes));
        let driver = Arc::new(Driver::default());
        let task = runtime.spawn(Arc::clone(&driver).run(Arc::clone(&budget)));
        Arc::new(Self {
            options,
            budget,
            driver,
            runtime,
            troubles: Troubles::default(),
            driver_task: task.abort_handle(),
            epochs: AtomicU32::new(0),
            orders: AtomicU64::new(0),
            nodes: Mutex::default(),
            links: Mutex::default(),
        })
    }

    /// Epochs are drawn from one counter, so that a partition's never falls: not from stream to stream, and not when its table is
    /// forgotten and opened anew while a stream of old lives on.
    pub(crate) fn next_epoch(&self) -> u32 {
        self.epochs.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// One that nobody has. The first is that of all who have none of their own.
    pub(crate) fn next_order(&self) -> Order {
        Order(self.orders.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<Arc<str>> {
        lock(&self.nodes).get(&node).cloned()
    }

    pub(crate) fn learn_address(&self, address: &NodeAddress) {
        if !address.grpc.is_empty() {
            let mut nodes = lock(&self.nodes);
            let known = nodes
                .entry(NodeId(address.node))
                .or_insert_with(|| address.grpc.as_str().into());
            if **known != address.grpc {
                *known = address.grpc.as_str().into();
            }
        }
    }

    /// The link to a server for requests with a credential, new or existing.
    pub(crate) fn link(
        &self,
        address: &Arc<str>,
        credential: Option<&TableCredential>,
    ) -> Arc<Link> {
        let key = (
            Arc::clone(address),
            credential.map(|credential| (credential.table, credential.password.clone())),
        );
        let mut links = lock(&self.links);
        if let Some(link) = links.links.get(&key) {
            return Arc::clone(link);
        }
        // servers that moved or left do not pile up
        links.links.retain(|_, link| !link.is_idle());
        let Links { channels, links } = &mut *links;
        channels.retain(|address, _| links.keys().any(|(used, _)| used == address));
        let channel = channels
            .entry(Arc::clone(address))
            .or_insert_with(|| link::channel(address, &self.runtime))
            .clone();
        let link = Link::new(self, Arc::clone(address), channel, credential);
        links.insert(key, Arc::clone(&link));
        link
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.driver_task.abort();
        for link in lock(&self.links).links.values() {
            link.end();
        }
    }
}
