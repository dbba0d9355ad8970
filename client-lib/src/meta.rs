//! The meta servers: any one of them that answers will do.

use crate::Error;
use crate::link::{endpoint, reason};
use proto::meta::routes_client::RoutesClient;
use proto::meta::{QueryRequest, RoutesUpdate, TableRoutes};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

/// How long one meta server may take before the next is asked.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// The meta servers that a client was given.
pub(crate) struct Meta {
    servers: Vec<Server>,
    /// The one that answered last.
    preferred: AtomicUsize,
}

struct Server {
    address: String,
    endpoint: Endpoint,
    routes: RoutesClient<Channel>,
}

/// Why there are no routes.
pub(crate) enum NoRoutes {
    NoSuchTable,
    Unavailable(String),
}

impl Meta {
    /// Connects to none of them yet. Must be called inside a runtime.
    pub(crate) fn new(addresses: &[String]) -> Result<Self, Error> {
        if addresses.is_empty() {
            return Err(Error::Rejected(
                "ERR a client needs the address of a meta server".into(),
            ));
        }
        let servers = addresses.iter().map(|address| {
            let endpoint = endpoint(address)
                .map_err(|_| Error::Rejected(format!("ERR '{address}' is not HOST:PORT")))?;
            let routes = RoutesClient::new(endpoint.connect_lazy())
                .max_decoding_message_size(proto::MAX_MESSAGE);
            Ok(Server {
                address: address.clone(),
                endpoint,
                routes,
            })
        });
        Ok(Self {
            servers: servers.collect::<Result<_, Error>>()?,
            preferred: AtomicUsize::new(0),
        })
    }

    /// Waits until one of them can be connected to.
    pub(crate) async fn reachable(&self, deadline: Instant, pause: Duration) -> Result<(), Error> {
        loop {
            let mut last = String::new();
            for (index, server) in self.servers.iter().enumerate() {
                match tokio::time::timeout(ASK_TIMEOUT, server.endpoint.connect()).await {
                    Ok(Ok(_)) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(());
                    }
                    Ok(Err(error)) => {
                        last = format!(
                            "{}: {}",
                            server.address,
                            reason(&Status::from_error(Box::new(error)))
                        );
                    }
                    Err(_) => last = format!("{}: no answer", server.address),
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

    /// The next time another one is asked first.
    pub(crate) fn prefer_another(&self) {
        self.preferred.fetch_add(1, Ordering::Relaxed);
    }

    async fn ask_each<T, F>(&self, ask: impl Fn(RoutesClient<Channel>) -> F) -> Result<T, NoRoutes>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = String::new();
        for turn in 0..self.servers.len() {
            let index = (first + turn) % self.servers.len();
            let server = &self.servers[index];
            match tokio::time::timeout(ASK_TIMEOUT, ask(server.routes.clone())).await {
                Ok(Ok(answer)) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) if status.code() == Code::NotFound => {
                    return Err(NoRoutes::NoSuchTable);
                }
                Ok(Err(status)) => last = format!("{}: {}", server.address, reason(&status)),
                Err(_) => last = format!("{}: no answer", server.address),
            }
        }
        Err(NoRoutes::Unavailable(last))
    }
}

fn request(table: &str) -> QueryRequest {
    QueryRequest {
        protocol: proto::PROTOCOL,
        table: table.to_owned(),
    }
}
