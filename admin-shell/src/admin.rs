//! The connection to the meta servers: the first that answers is used, and the next one when it stops.

use proto::common::Durability as WireDurability;
use proto::meta::admin_client::AdminClient;
use proto::meta::{
    CreateTableRequest, ListNodesRequest, ListTablesRequest, Node, Table, TableName, TableRoutes,
};
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use types::Durability;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A table of many thousands of partitions takes seconds to create.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
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
    addresses: Vec<String>,
    secret: Option<MetadataValue<Ascii>>,
    current: Option<AdminClient<Channel>>,
}

/// What [`Admin::create_table`] needs to know.
#[derive(Debug, Clone)]
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
}

macro_rules! call {
    ($admin:expr, $method:ident, $message:expr) => {{
        let message = $message;
        let mut last = None;
        // A connection that broke since the last call is worth a second round.
        for _ in 0..=$admin.addresses.len() {
            let mut client = match $admin.client().await {
                Ok(client) => client,
                Err(error) => {
                    last = Some(error);
                    break;
                }
            };
            match client.$method($admin.request(message.clone())).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if status.code() == Code::Unavailable => {
                    $admin.leave();
                    last = Some($admin.unreachable(status.message()));
                }
                Err(status) => return Err(refused(&status)),
            }
        }
        Err(last.unwrap_or_else(|| $admin.unreachable("no address given")))
    }};
}

impl Admin {
    /// Nothing is sent yet. An address is `host:port`.
    pub fn new(addresses: Vec<String>, secret: Option<&str>) -> Result<Self, AdminError> {
        let secret = secret
            .map(str::parse)
            .transpose()
            .map_err(|_| AdminError::Refused("the admin secret must be printable ASCII".into()))?;
        Ok(Self {
            addresses,
            secret,
            current: None,
        })
    }

    pub(crate) fn secret(&self) -> Option<&MetadataValue<Ascii>> {
        self.secret.as_ref()
    }

    /// Creates a table and waits until every partition has its first configuration.
    pub async fn create_table(&mut self, table: NewTable) -> Result<Table, AdminError> {
        let durability = match table.durability {
            Durability::Sync => WireDurability::Sync,
            Durability::Buffered => WireDurability::Buffered,
        };
        let request = CreateTableRequest {
            name: table.name,
            partitions: table.partitions,
            replicas: table.replicas,
            durability: durability.into(),
            password: table.password,
            min_replicas: table.min_replicas,
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

    /// All replica servers ever seen.
    pub async fn list_nodes(&mut self) -> Result<Vec<Node>, AdminError> {
        self.nodes().await.map(|answer| answer.nodes)
    }

    async fn nodes(&mut self) -> Result<proto::meta::ListNodesResponse, AdminError> {
        call!(self, list_nodes, ListNodesRequest {})
    }

    async fn client(&mut self) -> Result<AdminClient<Channel>, AdminError> {
        if let Some(client) = &self.current {
            return Ok(client.clone());
        }
        let mut reason = "no address given".to_owned();
        for address in &self.addresses {
            match connect(address, CALL_TIMEOUT).await {
                Ok(channel) => {
                    let client =
                        AdminClient::new(channel).max_decoding_message_size(LARGEST_ANSWER);
                    return Ok(self.current.insert(client).clone());
                }
                Err(why) => reason = why,
            }
        }
        Err(self.unreachable(&reason))
    }

    /// Forgets a meta server that stopped answering; the others come first from now on.
    fn leave(&mut self) {
        self.current = None;
        if !self.addresses.is_empty() {
            self.addresses.rotate_left(1);
        }
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
            addresses: self.addresses.join(", "),
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
