//! A backend over rows in memory, for tests and to measure the gateway alone: every partition is an ordered map, every command is
//! evaluated and answered at once, unless it is told to hold its answers back or to fail.

use commands::memory::MemoryView;
use commands::{Limits, Moment, Reply, evaluate_read, evaluate_write};
use resp_gateway::{
    Address, Backend, ClusterNode, InfoSection, Intent, OpenTableError, Request, Shard, Sink,
    Topology, pages,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};
use types::{Decree, NodeId, SlotRange, Timestamp};

/// See the module.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) tables: Vec<(String, Option<String>, Rc<Table>)>,
    /// Commands on these partitions fail, each with its error.
    pub(crate) failing: RefCell<Vec<(u32, &'static str)>>,
    /// Answers are kept in `held` until somebody lets them out.
    pub(crate) holding: Cell<bool>,
    pub(crate) held: RefCell<Vec<(Sink, Reply)>>,
    /// Answers go out as the RESP3 bytes of another process would.
    pub(crate) encoding: Cell<bool>,
    /// No table can be opened.
    pub(crate) down: Cell<bool>,
    /// In mode `cluster`: these partitions are another server's.
    pub(crate) moved: RefCell<Vec<u32>>,
    pub(crate) started: Cell<u64>,
}

pub(crate) struct Table {
    partitions: RefCell<Vec<MemoryView>>,
    decree: Cell<u64>,
}

impl Memory {
    pub(crate) fn with_table(
        mut self,
        name: &str,
        password: Option<&str>,
        partitions: usize,
    ) -> Self {
        let table = Table {
            partitions: RefCell::new((0..partitions).map(|_| MemoryView::new()).collect()),
            decree: Cell::new(0),
        };
        let password = password.map(str::to_owned);
        self.tables.push((name.into(), password, Rc::new(table)));
        self
    }

    /// Lets out what is held, the youngest first.
    pub(crate) fn release(&self) {
        while let Some((sink, reply)) = { self.held.borrow_mut().pop() } {
            self.give(sink, reply);
        }
    }

    fn give(&self, sink: Sink, reply: Reply) {
        if self.encoding.get() {
            sink.reply_encoded(resp_gateway::encode_resp3(&reply));
        } else {
            sink.reply(reply);
        }
    }

    fn evaluate(table: &Table, request: &Request<'_>) -> Reply {
        let mut partitions = table.partitions.borrow_mut();
        let count = partitions.len() as u32;
        let view = &mut partitions[request.partition as usize];
        let decree = table.decree.get() + 1;
        table.decree.set(decree);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let moment = Moment {
            now: Timestamp(now.as_millis() as u64),
            decree: Decree(decree),
            index: 0,
            random: decree.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            slots: SlotRange::of_partition(request.partition, count),
            default_ttl: None,
            limits: Limits::default(),
        };
        let (spec, args) = (request.spec, request.args);
        let reply = if pages::concerns(spec) {
            pages::answer(spec, args, view, &moment).map(|answered| answered.reply)
        } else if spec.is_write() {
            evaluate_write(spec, args, view, &moment).map(|evaluated| evaluated.reply)
        } else {
            evaluate_read(spec, args, view, &moment).map(|evaluated| evaluated.reply)
        };
        reply.unwrap_or_else(|interrupt| Reply::error(format!("ERR {interrupt:?}")))
    }
}

impl Backend for Memory {
    type Table = Rc<Table>;

    async fn open_table(
        &self,
        name: &[u8],
        password: Option<&[u8]>,
    ) -> Result<Self::Table, OpenTableError> {
        if self.down.get() {
            return Err(OpenTableError::Unavailable("no meta server answers".into()));
        }
        let (_, wanted, table) = self
            .tables
            .iter()
            .find(|(known, ..)| known.as_bytes() == name)
            .ok_or(OpenTableError::NoSuchTable)?;
        match (wanted, password) {
            (None, _) => Ok(Rc::clone(table)),
            (Some(_), None) => Err(OpenTableError::PasswordRequired),
            (Some(wanted), Some(given)) if wanted.as_bytes() == given => Ok(Rc::clone(table)),
            (Some(_), Some(_)) => Err(OpenTableError::WrongPassword),
        }
    }

    fn partitions(&self, table: &Self::Table) -> u32 {
        table.partitions.borrow().len() as u32
    }

    fn execute(&self, table: &Self::Table, request: Request<'_>, sink: Sink) {
        self.started.set(self.started.get() + 1);
        let failing = self.failing.borrow();
        let error = failing.iter().find(|(at, _)| *at == request.partition);
        let reply = match error {
            Some((_, error)) => Reply::error(*error),
            None => Self::evaluate(table, &request),
        };
        drop(failing);
        if self.holding.get() {
            self.held.borrow_mut().push((sink, reply));
        } else {
            self.give(sink, reply);
        }
    }

    fn info(&self) -> Vec<InfoSection> {
        vec![InfoSection {
            name: "Memory",
            fields: vec![("rows".into(), "some".into())],
        }]
    }

    fn node_id(&self) -> Option<NodeId> {
        Some(NodeId(1))
    }

    fn topology(&self, table: &Self::Table) -> Topology {
        let count = self.partitions(table);
        let moved = self.moved.borrow();
        Topology {
            nodes: [1, 2]
                .map(|id| ClusterNode {
                    id: NodeId(id),
                    address: address(id),
                    alive: true,
                })
                .into(),
            shards: (0..count)
                .map(|partition| {
                    let primary = usize::from(moved.contains(&partition));
                    Shard {
                        slots: SlotRange::of_partition(partition, count),
                        ballot: 7,
                        primary,
                        secondaries: vec![1 - primary],
                    }
                })
                .collect(),
        }
    }

    fn redirect(&self, _: &Self::Table, partition: u32, intent: Intent) -> Option<Address> {
        let moved = self.moved.borrow().contains(&partition) && intent != Intent::StaleRead;
        moved.then(|| address(2))
    }
}

fn address(id: u64) -> Address {
    Address {
        host: "127.0.0.1".into(),
        port: 7000 + id as u16,
    }
}
