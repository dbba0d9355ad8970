//! The connection to the meta server that leads: found from any of them, and found again when another leads.

use proto::NotLeading;
use proto::common::Durability as WireDurability;
use proto::meta::admin_client::AdminClient;
use proto::meta::{
    AlterTableRequest, BalanceRequest, BalanceResponse, CreateTableRequest, Done, DrainRequest,
    ForgetRequest, HealthRequest, HealthResponse, ListNodesRequest, ListTablesRequest, MoveRequest,
    Node, RebuildRequest, RebuildResponse, RenameTableRequest, RescueRequest, RescueResponse,
    SetBalancingRequest, Table, TableName, TableRoutes,
};
use std::time::{Duration, Instant};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tulpar_client::MetaServers;
use types::Durability;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A table of many thousands of partitions takes seconds to create.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// A server that shows none for twice as long is left, however long a call may take: its system accepts connections also while it hangs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// How long to ask again while meta servers answer that none of them leads: an election is over before.
const ELECTION_PATIENCE: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// The metadata key that carries the cluster's admin secret.
pub(crate) const SECRET_KEY: &str = "admin-secret";
/// A table's routes are some hundred bytes a partition.
const LARGEST_ANSWER: usize = 16 << 20;

/// Why an administrative request was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Worth another try: no meta server answered.
    #[error("no meta server answers at {addresses}: {reason}")]
    Unreachable {
        /// Which were tried.
        addresses: String,
        /// What the last of them, or the network, said.
        reason: String,
    },
    /// A table (or whatever was named) does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Not in this form; the text is the meta server's.
    #[error("{0}")]
    Refused(String),
}

/// A client of the meta servers' administration.
pub struct Admin {
    servers: MetaServers,
    secret: Option<MetadataValue<Ascii>>,
    /// The last connection that was good, and to whom.
    current: Option<(String, AdminClient<Channel>)>,
}

/// What [`Admin::create_table`] needs to know.
#[derive(Debug, Clone, Default)]
pub struct NewTable {
    /// Its name.
    pub name: String,
    /// Parts that it is divided into.
    pub partitions: u32,
    /// Copies of each part.
    pub replicas: u32,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Clients must give it; empty: none.
    pub password: String,
    /// Writes are refused below so many copies; 0: the usual majority.
    pub min_replicas: u32,
    /// What commands on it must obey; 0: nothing.
    pub rules: proto::meta::TableRules,
}

macro_rules! call {
    ($admin:expr, $method:ident, $message:expr) => {{
        let message = $message;
        let patient_until = Instant::now() + ELECTION_PATIENCE;
        loop {
            let mut last = "no address given".to_owned();
            let mut election = false;
            let mut round = $admin.servers.round().await;
            while let Some(address) = round.next_address() {
                // A connection that broke since the last call is worth a new one to the same server.
                for connection in [Connection::Kept, Connection::New] {
                    let mut client = match $admin.client(&address, connection).await {
                        Some(Ok(client)) => client,
                        Some(Err(reason)) => {
                            round.refused(&address, None);
                            last = reason;
                            break;
                        }
                        None => continue,
                    };
                    match client.$method($admin.request(message.clone())).await {
                        Ok(answer) => {
                            $admin.current = Some((address.clone(), client));
                            round.answered(&address);
                            return Ok(answer.into_inner());
                        }
                        Err(status) if status.code() == Code::Unavailable => {
                            let said = NotLeading::from_status(&status);
                            election |= said.is_some();
                            round.refused(&address, said);
                            last = status.message().to_owned();
                        }
                        Err(status) => return Err(refused(&status)),
                    }
                }
            }
            if !election || Instant::now() > patient_until {
                return Err($admin.unreachable(&last));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }};
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    Kept,
    New,
}

impl Admin {
    /// Nothing is sent yet. An address is `host:port`.
    pub fn new(addresses: Vec<String>, secret: Option<&str>) -> Result<Self, AdminError> {
        let secret = secret
            .map(str::parse)
            .transpose()
            .map_err(|_| AdminError::Refused("the admin secret must be printable ASCII".into()))?;
        Ok(Self {
            servers: MetaServers::new(addresses),
            secret,
            current: None,
        })
    }

    /// Another client of the same servers, for questions while this one waits.
    pub(crate) fn beside(&self) -> Self {
        Self {
            servers: MetaServers::new(self.servers.names().to_vec()),
            secret: self.secret.clone(),
            current: None,
        }
    }

    pub(crate) fn secret(&self) -> Option<&MetadataValue<Ascii>> {
        self.secret.as_ref()
    }

    /// Creates a table and waits until every partition has its first configuration.
    pub async fn create_table(&mut self, table: NewTable) -> Result<Table, AdminError> {
        let request = CreateTableRequest {
            name: table.name,
            partitions: table.partitions,
            replicas: table.replicas,
            durability: WireDurability::from(table.durability).into(),
            password: table.password,
            min_replicas: table.min_replicas,
            rules: Some(table.rules),
        };
        call!(self, create_table, request)
    }

    /// Drops a table; it can be recalled until its retention ends.
    pub async fn drop_table(&mut self, name: &str) -> Result<Table, AdminError> {
        call!(
            self,
            drop_table,
            TableName {
                name: name.to_owned()
            }
        )
    }

    /// Brings a dropped table back.
    pub async fn recall_table(&mut self, name: &str) -> Result<Table, AdminError> {
        call!(
            self,
            recall_table,
            TableName {
                name: name.to_owned()
            }
        )
    }

    /// Changes a table in service; what is `None` stays.
    pub async fn alter_table(&mut self, changes: AlterTableRequest) -> Result<Table, AdminError> {
        call!(self, alter_table, changes)
    }

    /// Calls a table something else.
    pub async fn rename_table(&mut self, name: &str, to: &str) -> Result<Table, AdminError> {
        let request = RenameTableRequest {
            name: name.to_owned(),
            to: to.to_owned(),
        };
        call!(self, rename_table, request)
    }

    /// What the balancer does, and would do next, in so many steps at most.
    pub async fn balance(&mut self, steps: u32) -> Result<BalanceResponse, AdminError> {
        call!(self, balance, BalanceRequest { steps })
    }

    /// Lets the balancer work, or not.
    pub async fn set_balancing(&mut self, paused: bool) -> Result<Done, AdminError> {
        call!(self, set_balancing, SetBalancingRequest { paused })
    }

    /// Has a node emptied, or lets it take its share again.
    pub async fn drain(&mut self, node: u64, drain: bool) -> Result<Done, AdminError> {
        call!(self, drain, DrainRequest { node, drain })
    }

    /// Has a node forgotten that is gone for good.
    pub async fn forget(&mut self, node: u64) -> Result<Done, AdminError> {
        call!(self, forget, ForgetRequest { node })
    }

    /// Moves a replica.
    pub async fn move_replica(&mut self, request: MoveRequest) -> Result<Done, AdminError> {
        call!(self, move_replica, request)
    }

    /// Moves a lead.
    pub async fn move_primary(&mut self, request: MoveRequest) -> Result<Done, AdminError> {
        call!(self, move_primary, request)
    }

    /// Partitions that are not as they should be; of all tables if it is given none.
    pub async fn health(&mut self, table: &str) -> Result<HealthResponse, AdminError> {
        let request = HealthRequest {
            table: table.to_owned(),
            limit: 0,
        };
        call!(self, health, request)
    }

    /// What can be done for a partition whose members are lost; with a choice and its word, does it.
    pub async fn rescue(&mut self, request: RescueRequest) -> Result<RescueResponse, AdminError> {
        call!(self, rescue, request)
    }

    /// What the nodes make of an empty store; with the word for it, writes it.
    pub async fn rebuild(
        &mut self,
        request: RebuildRequest,
    ) -> Result<RebuildResponse, AdminError> {
        call!(self, rebuild, request)
    }

    /// All tables.
    pub async fn list_tables(&mut self, include_dropped: bool) -> Result<Vec<Table>, AdminError> {
        self.tables(include_dropped)
            .await
            .map(|answer| answer.tables)
    }

    async fn tables(
        &mut self,
        include_dropped: bool,
    ) -> Result<proto::meta::ListTablesResponse, AdminError> {
        call!(self, list_tables, ListTablesRequest { include_dropped })
    }

    /// A table, its partitions' configurations and the nodes they name.
    pub async fn show_table(&mut self, name: &str) -> Result<TableRoutes, AdminError> {
        call!(
            self,
            show_table,
            TableName {
                name: name.to_owned()
            }
        )
    }

    /// The number of the table in use of that name.
    pub async fn table_number(&mut self, name: &str) -> Result<u32, AdminError> {
        let tables = self.list_tables(false).await?;
        let named = tables.iter().find(|table| table.name == name);
        named
            .map(|table| table.id)
            .ok_or_else(|| AdminError::NotFound(format!("there is no table '{name}'")))
    }

    /// All replica servers ever seen.
    pub async fn list_nodes(&mut self) -> Result<Vec<Node>, AdminError> {
        self.nodes().await.map(|answer| answer.nodes)
    }

    async fn nodes(&mut self) -> Result<proto::meta::ListNodesResponse, AdminError> {
        call!(self, list_nodes, ListNodesRequest {})
    }

    /// A client of one server; `None` if no connection to it was kept.
    async fn client(
        &mut self,
        address: &str,
        connection: Connection,
    ) -> Option<Result<AdminClient<Channel>, String>> {
        if connection == Connection::Kept {
            let (_, client) = self.current.take_if(|(kept, _)| kept == address)?;
            return Some(Ok(client));
        }
        let connected = connect(address, CALL_TIMEOUT).await;
        Some(
            connected
                .map(|channel| AdminClient::new(channel).max_decoding_message_size(LARGEST_ANSWER)),
        )
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(secret) = &self.secret {
            request.metadata_mut().insert(SECRET_KEY, secret.clone());
        }
        request
    }

    fn unreachable(&self, reason: &str) -> AdminError {
        AdminError::Unreachable {
            addresses: self.servers.names().join(", "),
            reason: reason.to_owned(),
        }
    }
}

/// Connects to a gRPC server at `host:port`; an error is one line for people.
pub(crate) async fn connect(address: &str, call_timeout: Duration) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| format!("'{address}' is no HOST:PORT"))?;
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(call_timeout)
        .http2_keep_alive_interval(SIGN_OF_LIFE)
        .keep_alive_timeout(SIGN_OF_LIFE)
        .connect()
        .await
        .map_err(|error| innermost(&error))
}

/// The cause at the bottom: the layers above it say only that something failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn refused(status: &Status) -> AdminError {
    match status.code() {
        Code::NotFound => AdminError::NotFound(status.message().to_owned()),
        Code::DeadlineExceeded | Code::Cancelled => AdminError::Refused(format!(
            "the meta server took too long: {}",
            status.message()
        )),
        _ => AdminError::Refused(status.message().to_owned()),
    }
}
