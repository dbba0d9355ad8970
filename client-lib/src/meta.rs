//! Asking the meta servers for routes: the one that leads answers.

use crate::Error;
use crate::link::{endpoint, reason};
use crate::meta_servers::MetaServers;
use proto::NotLeading;
use proto::meta::routes_client::RoutesClient;
use proto::meta::{QueryRequest, RoutesUpdate, TableRoutes};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// How long one meta server may take before the next is asked.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections kept for the next question. More are only there when names change their addresses all the time.
const MOST_CONNECTIONS: usize = 64;

/// The meta servers that a client was given.
pub(crate) struct Meta {
    servers: MetaServers,
    connections: Mutex<HashMap<String, RoutesClient<Channel>>>,
}

/// Why there are no routes.
pub(crate) enum NoRoutes {
    NoSuchTable,
    Unavailable(String),
}

impl Meta {
    /// Connects to none of them yet.
    pub(crate) fn new(addresses: &[String]) -> Result<Self, Error> {
        if addresses.is_empty() {
            return Err(Error::Rejected(
                "ERR a client needs the address of a meta server".into(),
            ));
        }
        for address in addresses {
            endpoint(address)
                .map_err(|_| Error::Rejected(format!("ERR '{address}' is not HOST:PORT")))?;
        }
        Ok(Self {
            servers: MetaServers::new(addresses.iter().cloned()),
            connections: Mutex::default(),
        })
    }

    /// Waits until one of them can be connected to.
    pub(crate) async fn reachable(&self, deadline: Instant, pause: Duration) -> Result<(), Error> {
        loop {
            let mut last = String::new();
            let mut round = self.servers.round().await;
            while let Some(address) = round.next_address() {
                let Ok(endpoint) = endpoint(&address) else {
                    continue;
                };
                match tokio::time::timeout(ASK_TIMEOUT, endpoint.connect()).await {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(error)) => {
                        let status = Status::from_error(Box::new(error));
                        last = format!("{address}: {}", reason(&status));
                    }
                    Err(_) => last = format!("{address}: no answer"),
                }
            }
            if Instant::now() + pause >= deadline {
                return Err(Error::Unavailable(format!(
                    "no meta server can be reached; {last}"
                )));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The routes of a table, from whichever meta server gives them by the deadline.
    pub(crate) async fn query(
        &self,
        table: &str,
        deadline: Instant,
        pause: Duration,
    ) -> Result<TableRoutes, Error> {
        loop {
            match self.query_once(table).await {
                Ok(routes) => return Ok(routes),
                Err(NoRoutes::NoSuchTable) => return Err(Error::NoSuchTable(table.to_owned())),
                Err(NoRoutes::Unavailable(reason)) if Instant::now() + pause >= deadline => {
                    return Err(Error::Unavailable(format!(
                        "no meta server gives the routes of table '{table}'; {reason}"
                    )));
                }
                Err(NoRoutes::Unavailable(_)) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// Asks each of them once.
    pub(crate) async fn query_once(&self, table: &str) -> Result<TableRoutes, NoRoutes> {
        let ask =
            |mut routes: RoutesClient<Channel>| async move { routes.query(request(table)).await };
        self.ask_each(ask).await
    }

    /// Follows a table's routes at whichever answers.
    pub(crate) async fn watch(&self, table: &str) -> Result<Streaming<RoutesUpdate>, NoRoutes> {
        let ask =
            |mut routes: RoutesClient<Channel>| async move { routes.watch(request(table)).await };
        self.ask_each(ask).await
    }

    /// The next time no one in particular is asked first.
    pub(crate) fn prefer_another(&self) {
        self.servers.forget();
    }

    async fn ask_each<T, F>(&self, ask: impl Fn(RoutesClient<Channel>) -> F) -> Result<T, NoRoutes>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut last = String::new();
        let mut round = self.servers.round().await;
        while let Some(address) = round.next_address() {
            let Some(connection) = self.connection(&address) else {
                continue;
            };
            match tokio::time::timeout(ASK_TIMEOUT, ask(connection)).await {
                Ok(Ok(answer)) => {
                    round.answered(&address);
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) if status.code() == Code::NotFound => {
                    round.answered(&address);
                    return Err(NoRoutes::NoSuchTable);
                }
                Ok(Err(status)) => {
                    last = format!("{address}: {}", reason(&status));
                    round.refused(&address, NotLeading::from_status(&status));
                }
                Err(_) => {
                    last = format!("{address}: no answer");
                    round.refused(&address, None);
                    // Whoever hangs may do so for ever, and another process may be there by then.
                    self.disconnect(&address);
                }
            }
        }
        Err(NoRoutes::Unavailable(last))
    }

    /// The connection to a server, which is made when it is first used; `None` if what it is called is no address.
    fn connection(&self, address: &str) -> Option<RoutesClient<Channel>> {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.get(address) {
            return Some(connection.clone());
        }
        if connections.len() >= MOST_CONNECTIONS {
            connections.clear();
        }
        let channel = endpoint(address).ok()?.connect_lazy();
        let connection = RoutesClient::new(channel).max_decoding_message_size(proto::MAX_MESSAGE);
        connections.insert(address.to_owned(), connection.clone());
        Some(connection)
    }

    fn disconnect(&self, address: &str) {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(address);
    }
}

fn request(table: &str) -> QueryRequest {
    QueryRequest {
        protocol: proto::PROTOCOL,
        table: table.to_owned(),
    }
}
