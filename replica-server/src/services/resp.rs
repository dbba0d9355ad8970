//! The RESP port's backend: commands run here where this node is the primary, and go through the client library where it is not.
//!
//! Order is kept across a change of the primary: while a command for a partition is under way elsewhere, later ones follow it there.

use crate::cluster;
use crate::remote::RemoteBackend;
use crate::worker::Worker;
use crate::worker::reply::{Command, Elsewhere, ReplyTo};
use commands::Reply;
use commands::requests::RequestId;
use hashbrown::HashMap;
use replication::RoleKind;
use resp_gateway::{
    Answer, Backend, InfoSection, Intent, OpenTableError, Request, Sink, SlowCommand,
};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use types::{NodeId, PartitionId, TableId};

/// The backend of one replica server.
pub(crate) struct LocalBackend {
    worker: Rc<Worker>,
    remote: Rc<RemoteBackend>,
    /// How old may be what a connection reads that said `READONLY`.
    readonly_staleness: Duration,
    tables: RefCell<HashMap<TableId, Rc<LocalTable>>>,
}

/// A table that connections have opened.
pub(crate) struct LocalTable {
    remote: Rc<RemoteBackend>,
    id: TableId,
    name: String,
    /// What is kept of its password, and what was given and fits it.
    kept: String,
    password: String,
    partitions: u32,
    way: RefCell<Way>,
    /// Commands of each partition that are under way elsewhere.
    forwarded: Vec<Cell<u32>>,
}

/// The way to the other primaries.
enum Way {
    Closed,
    /// Commands that came while the table is being opened.
    Opening(Vec<(u32, Command, Option<RequestId>, Sink)>),
    Open(tulpar_client::Table),
}

impl LocalBackend {
    pub(crate) fn new(
        worker: Rc<Worker>,
        remote: Rc<RemoteBackend>,
        readonly_staleness: Duration,
    ) -> Rc<Self> {
        Rc::new(Self {
            worker,
            remote,
            readonly_staleness,
            tables: RefCell::default(),
        })
    }

    fn table(&self, id: TableId, known: &cluster::Table, given: &str) -> Rc<LocalTable> {
        let mut tables = self.tables.borrow_mut();
        let fresh = || {
            Rc::new(LocalTable {
                remote: self.remote.clone(),
                id,
                name: known.name.clone(),
                kept: known.password.clone(),
                password: given.to_owned(),
                partitions: known.partitions,
                way: RefCell::new(Way::Closed),
                forwarded: (0..known.partitions).map(|_| Cell::new(0)).collect(),
            })
        };
        let table = tables.entry(id).or_insert_with(fresh);
        if table.kept != known.password || table.name != known.name {
            *table = fresh();
        }
        table.clone()
    }
}

impl LocalTable {
    /// Sends a command to the partition's primary; under an id, if it was evaluated here with it.
    fn forward(self: &Rc<Self>, request: Request<'_>, id: Option<&RequestId>, sink: Sink) {
        let under_way = &self.forwarded[request.partition as usize];
        under_way.set(under_way.get() + 1);
        let (counted, partition) = (self.clone(), request.partition as usize);
        let sink = Sink::new(move |answer: Answer| {
            let under_way = &counted.forwarded[partition];
            under_way.set(under_way.get() - 1);
            sink.answer(answer);
        });
        let mut way = self.way.borrow_mut();
        match &mut *way {
            Way::Open(open) => {
                let open = open.clone();
                drop(way);
                self.remote.forward(&open, request, id, sink);
            }
            Way::Opening(waiting) => {
                let command = Command::of(request.spec, request.args);
                waiting.push((request.partition, command, id.copied(), sink));
            }
            Way::Closed => {
                let command = Command::of(request.spec, request.args);
                *way = Way::Opening(vec![(request.partition, command, id.copied(), sink)]);
                tokio::task::spawn_local(open(self.clone()));
            }
        }
    }
}

impl Elsewhere for LocalTable {
    fn ask(
        self: Rc<Self>,
        partition: PartitionId,
        command: &Command,
        id: Option<&RequestId>,
        sink: Sink,
    ) {
        let args: SmallVec<[&[u8]; 8]> = command.args.iter().map(|arg| &arg[..]).collect();
        let request = Request {
            partition: partition.index,
            spec: command.spec,
            args: &args,
            intent: Intent::of(command.spec),
        };
        self.forward(request, id, sink);
    }
}

/// Opens the way to the other primaries, and sends what waits for it.
async fn open(table: Rc<LocalTable>) {
    let remote = &table.remote;
    let password = (!table.kept.is_empty()).then_some(table.password.as_bytes());
    let opened = remote.open(table.name.as_bytes(), password).await;
    let next = match &opened {
        Ok(open) => Way::Open(open.clone()),
        Err(_) => Way::Closed,
    };
    let Way::Opening(waiting) = std::mem::replace(&mut *table.way.borrow_mut(), next) else {
        return;
    };
    for (partition, command, id, sink) in waiting {
        match &opened {
            Ok(open) => {
                let args: SmallVec<[&[u8]; 8]> = command.args.iter().map(|arg| &arg[..]).collect();
                remote.forward(
                    open,
                    Request {
                        partition,
                        spec: command.spec,
                        args: &args,
                        intent: Intent::of(command.spec),
                    },
                    id.as_ref(),
                    sink,
                );
            }
            Err(error) if id.is_none() => sink.reply(Reply::error(format!(
                "TRYAGAIN {error}; nothing took effect"
            ))),
            Err(error) => sink.reply(Reply::error(format!("ERR the outcome is unknown: {error}"))),
        }
    }
}

impl Backend for LocalBackend {
    type Table = Rc<LocalTable>;

    async fn open_table(
        &self,
        name: &[u8],
        password: Option<&[u8]>,
    ) -> Result<Self::Table, OpenTableError> {
        let found = {
            let known = self.worker.known.borrow();
            known
                .named(name)
                .map(|(id, table)| (id, table.clone()))
                .ok_or_else(|| {
                    if self.worker.meta.is_up() || !known.tables.is_empty() {
                        OpenTableError::NoSuchTable
                    } else {
                        let text = "this server has not joined the cluster yet";
                        OpenTableError::Unavailable(text.into())
                    }
                })
        };
        let (id, table) = found?;
        if let Some(reason) = self.worker.closed_to_others(&table) {
            return Err(OpenTableError::Denied(reason));
        }
        if table.password.is_empty() {
            return Ok(self.table(id, &table, ""));
        }
        let given = match password.map(str::from_utf8) {
            None => return Err(OpenTableError::PasswordRequired),
            Some(Err(_)) => return Err(OpenTableError::WrongPassword),
            Some(Ok(given)) => given,
        };
        let (asked, kept) = (given.to_owned(), table.password.clone());
        if !self.worker.passwords.fit(None, asked, kept).await {
            return Err(OpenTableError::WrongPassword);
        }
        Ok(self.table(id, &table, given))
    }

    fn partitions(&self, table: &Self::Table) -> u32 {
        table.partitions
    }

    fn execute(&self, table: &Self::Table, request: Request<'_>, sink: Sink) {
        let id = PartitionId {
            table: table.id,
            index: request.partition,
        };
        let known = self.worker.known.borrow();
        if known.table(table.id).is_none_or(cluster::Table::is_dropped) {
            drop(known);
            return sink.reply(Reply::error(format!(
                "ERR there is no table '{}' any more",
                table.name
            )));
        }
        drop(known);
        let age = (request.intent == Intent::StaleRead).then_some(self.readonly_staleness);
        if let Some(hosted) = self.worker.find(id) {
            let here = {
                let h = hosted.borrow();
                let leads = h.serves() || h.role == RoleKind::Reconciling && h.broken.is_none();
                let in_order = table.forwarded[request.partition as usize].get() == 0;
                // What may be old has no order among what goes to the primary.
                leads && in_order || age.is_some() && h.follows()
            };
            if here {
                return self.worker.execute(
                    &hosted,
                    request.spec,
                    request.args,
                    ReplyTo::Resp(sink, table.clone(), age),
                );
            }
        }
        table.forward(request, None, sink);
    }

    fn info(&self) -> Vec<InfoSection> {
        let mut roles = [0u32; 3];
        for hosted in self.worker.hosted_all() {
            match hosted.borrow().role {
                RoleKind::Serving | RoleKind::Reconciling => roles[0] += 1,
                RoleKind::Secondary => roles[1] += 1,
                RoleKind::Learner | RoleKind::Inactive => roles[2] += 1,
            }
        }
        let stale = &self.worker.stale_reads;
        let field = |name: &str, value: String| (name.to_owned(), value);
        let logs = [
            self.worker.logs.sync.stats(),
            self.worker.logs.buffered.stats(),
        ];
        vec![
            InfoSection {
                name: "Replication",
                fields: vec![
                    field("role", "master".into()),
                    field("node_id", self.worker.directory.node.to_string()),
                    field("primaries", roles[0].to_string()),
                    field("secondaries", roles[1].to_string()),
                    field("others", roles[2].to_string()),
                    field("stale_reads_answered", stale.answered.get().to_string()),
                    field("stale_reads_passed_on", stale.passed_on.get().to_string()),
                    field(
                        "meta_server_connected",
                        u8::from(self.worker.meta.is_up()).to_string(),
                    ),
                ],
            },
            InfoSection {
                name: "Persistence",
                fields: vec![
                    field("log_sync", format!("{:?}", logs[0])),
                    field("log_buffered", format!("{:?}", logs[1])),
                    field("engine", format!("{:?}", self.worker.engine.stats())),
                ],
            },
        ]
    }

    fn slow_commands(&self, table: &Self::Table, most: usize) -> Option<Vec<SlowCommand>> {
        Some(self.worker.slow_commands.of_table(table.id, most))
    }

    fn forget_slow_commands(&self, table: &Self::Table) {
        self.worker.slow_commands.forget_table(table.id);
    }

    fn node_id(&self) -> Option<NodeId> {
        Some(self.worker.directory.node)
    }
}
