//! Which meta server leads, as each of them says when it is asked alone; and requests that are not passed on to another.

use crate::doors::runtime;
use proto::meta::admin_client::AdminClient;
use proto::meta::routes_client::RoutesClient;
use proto::meta::{CreateTableRequest, QueryRequest, Table};
use std::fmt::Write;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// A server that was stopped does not answer.
const ANSWER: Duration = Duration::from_millis(500);

async fn connect(address: &str) -> Result<Channel, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    let connecting = tokio::time::timeout(ANSWER, endpoint.connect()).await;
    connecting
        .map_err(|_| Status::deadline_exceeded("no connection"))?
        .map_err(|error| Status::unavailable(error.to_string()))
}

/// The only one that answers as the leader does, or what all of them say.
pub fn leader(metas: &[String]) -> Result<String, String> {
    runtime().block_on(async {
        let (mut leading, mut said) = (Vec::new(), String::new());
        for address in metas {
            let asked = async {
                let request = QueryRequest {
                    protocol: proto::PROTOCOL,
                    table: "no table has this name".into(),
                };
                RoutesClient::new(connect(address).await?)
                    .query(request)
                    .await
            };
            let answer = tokio::time::timeout(ANSWER, asked).await;
            match answer {
                Ok(Err(status)) if status.code() == Code::NotFound => leading.push(address.clone()),
                answer => {
                    let _ = write!(said, "{address}: {answer:?}; ");
                }
            }
        }
        match &leading[..] {
            [leader] => Ok(leader.clone()),
            _ => Err(format!("{leading:?} lead; {said}")),
        }
    })
}

/// Asks one meta server, and no other, for a table of one partition with one copy.
pub fn create_table(address: &str, name: &str) -> Result<Table, Status> {
    runtime().block_on(async {
        let request = CreateTableRequest {
            name: name.into(),
            partitions: 1,
            replicas: 1,
            ..CreateTableRequest::default()
        };
        // The system makes the connection, also to a process that is stopped.
        let answer = AdminClient::new(connect(address).await?)
            .create_table(request)
            .await?;
        Ok(answer.into_inner())
    })
}
