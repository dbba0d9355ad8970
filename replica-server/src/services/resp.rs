//! The RESP port's backend: commands run here where this node is the primary, and go through the client library where it is not.
//!
//! Order is kept across a change of the primary: while a command for a partition is under way elsewhere, later ones follow it there.

use crate::cluster;
use crate::remote::RemoteBackend;
use crate::services::data::same_secret;
use crate::worker::Worker;
use crate::worker::reply::{Command, ReplyTo};
use commands::Reply;
use hashbrown::HashMap;
use replication::RoleKind;
use resp_gateway::{Answer, Backend, InfoSection, OpenTableError, Request, Sink};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use types::{NodeId, PartitionId, TableId};

/// The backend of one replica server.
pub(crate) struct LocalBackend {
    worker: Rc<Worker>,
    remote: Rc<RemoteBackend>,
    tables: RefCell<HashMap<TableId, Rc<LocalTable>>>,
}

/// A table that connections have opened.
pub(crate) struct LocalTable {
    id: TableId,
    name: String,
    password: String,
    partitions: u32,
    elsewhere: RefCell<Elsewhere>,
    /// Commands of each partition that are under way elsewhere.
    forwarded: Vec<Cell<u32>>,
}

/// The way to the other primaries.
enum Elsewhere {
    Closed,
    /// Commands that came while the table is being opened.
    Opening(Vec<(u32, Command, Sink)>),
    Open(tulpar_client::Table),
}

impl LocalBackend {
    pub(crate) fn new(worker: Rc<Worker>, remote: Rc<RemoteBackend>) -> Rc<Self> {
        Rc::new(Self {
            worker,
            remote,
            tables: RefCell::default(),
        })
    }

    fn table(&self, id: TableId, known: &cluster::Table) -> Rc<LocalTable> {
        let mut tables = self.tables.borrow_mut();
        let fresh = || {
            Rc::new(LocalTable {
                id,
                name: known.name.clone(),
                password: known.password.clone(),
                partitions: known.partitions,
                elsewhere: RefCell::new(Elsewhere::Closed),
                forwarded: (0..known.partitions).map(|_| Cell::new(0)).collect(),
            })
        };
        let table = tables.entry(id).or_insert_with(fresh);
        if table.password != known.password || table.name != known.name {
            *table = fresh();
        }
        table.clone()
    }

    fn forward(&self, table: &Rc<LocalTable>, request: Request<'_>, sink: Sink) {
        let under_way = &table.forwarded[request.partition as usize];
        under_way.set(under_way.get() + 1);
        let (counted, partition) = (table.clone(), request.partition as usize);
        let sink = Sink::new(move |answer: Answer| {
            let under_way = &counted.forwarded[partition];
            under_way.set(under_way.get() - 1);
            sink.answer(answer);
        });
        let mut elsewhere = table.elsewhere.borrow_mut();
        match &mut *elsewhere {
            Elsewhere::Open(open) => {
                let open = open.clone();
                drop(elsewhere);
                self.remote.forward(&open, request, sink);
            }
            Elsewhere::Opening(waiting) => {
                waiting.push((
                    request.partition,
                    Command::of(request.spec, request.args),
                    sink,
                ));
            }
            Elsewhere::Closed => {
                let command = Command::of(request.spec, request.args);
                *elsewhere = Elsewhere::Opening(vec![(request.partition, command, sink)]);
                tokio::task::spawn_local(open(self.remote.clone(), table.clone()));
            }
        }
    }
}

/// Opens the way to the other primaries, and sends what waits for it.
async fn open(remote: Rc<RemoteBackend>, table: Rc<LocalTable>) {
    let password = (!table.password.is_empty()).then_some(table.password.as_bytes());
    let opened = remote.open(table.name.as_bytes(), password).await;
    let next = match &opened {
        Ok(open) => Elsewhere::Open(open.clone()),
        Err(_) => Elsewhere::Closed,
    };
    let Elsewhere::Opening(waiting) = std::mem::replace(&mut *table.elsewhere.borrow_mut(), next)
    else {
        return;
    };
    for (partition, command, sink) in waiting {
        match &opened {
            Ok(open) => {
                let args: SmallVec<[&[u8]; 8]> = command.args.iter().map(|arg| &arg[..]).collect();
                remote.forward(
                    open,
                    Request {
                        partition,
                        spec: command.spec,
                        args: &args,
                    },
                    sink,
                );
            }
            Err(error) => sink.reply(Reply::error(format!(
                "TRYAGAIN {error}; nothing took effect"
            ))),
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
        let known = self.worker.known.borrow();
        let Some((id, table)) = known.named(name) else {
            return Err(if self.worker.meta.is_up() || !known.tables.is_empty() {
                OpenTableError::NoSuchTable
            } else {
                OpenTableError::Unavailable("this server has not joined the cluster yet".into())
            });
        };
        match password.map(str::from_utf8) {
            _ if table.password.is_empty() => {}
            None => return Err(OpenTableError::PasswordRequired),
            Some(Ok(given)) if same_secret(given, &table.password) => {}
            Some(_) => return Err(OpenTableError::WrongPassword),
        }
        Ok(self.table(id, table))
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
        if known.table(table.id).is_none_or(|known| known.dropped) {
            drop(known);
            return sink.reply(Reply::error(format!(
                "ERR there is no table '{}' any more",
                table.name
            )));
        }
        drop(known);
        if table.forwarded[request.partition as usize].get() == 0
            && let Some(hosted) = self.worker.find(id)
        {
            let here = {
                let h = hosted.borrow();
                h.serves() || h.role == RoleKind::Reconciling && h.broken.is_none()
            };
            if here {
                return self.worker.execute(
                    &hosted,
                    request.spec,
                    request.args,
                    ReplyTo::Resp(sink),
                );
            }
        }
        self.forward(table, request, sink);
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

    fn node_id(&self) -> Option<NodeId> {
        Some(self.worker.directory.node)
    }
}
