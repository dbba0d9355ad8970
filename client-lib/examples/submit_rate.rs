//! How many requests a second the client itself can carry: its own end on one thread, against a server on another that answers
//! everything with a fixed value and does nothing else.
//!
//! ```text
//! cargo run --release -p tulpar-client --example submit_rate -- [SECONDS] [IN_FLIGHT]
//! ```

use proto::common::{Configuration, LearnSignature, Member, NodeAddress};
use proto::data::data_server::{Data, DataServer};
use proto::data::{
    Get, RequestBatch, Response as DataResponse, ResponseBatch, Set, Value, request::Operation,
    response,
};
use proto::meta::routes_server::{Routes, RoutesServer};
use proto::meta::{PartitionRoute, QueryRequest, RoutesUpdate, Table as TableInfo, TableRoutes};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};
use tulpar_client::{Client, ClientOptions, Completion, CompletionQueue, Kind};

type Boxed<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

const PARTITIONS: u32 = 8;
const VALUE: [u8; 100] = [b'x'; 100];

struct Answering(String);

#[tonic::async_trait]
impl Data for Answering {
    type ExecuteStream = Boxed<ResponseBatch>;

    async fn execute(
        &self,
        request: Request<Streaming<RequestBatch>>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let value = bytes::Bytes::from_static(&VALUE);
        let answers = request.into_inner().map(move |batch| {
            let answer = |request: proto::data::Request| DataResponse {
                id: request.id,
                result: Some(response::Result::Value(Value {
                    found: true,
                    value: value.clone(),
                })),
            };
            Ok(ResponseBatch {
                responses: batch?.requests.into_iter().map(answer).collect(),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tonic::async_trait]
impl Routes for Answering {
    type WatchStream = Boxed<RoutesUpdate>;

    async fn query(&self, _: Request<QueryRequest>) -> Result<Response<TableRoutes>, Status> {
        let configuration = Configuration {
            ballot: 1,
            epoch: 0,
            primary: Some(Member {
                node: 1,
                signature: Some(LearnSignature::default()),
            }),
            secondaries: Vec::new(),
        };
        let route = |index| PartitionRoute {
            index,
            configuration: Some(configuration.clone()),
        };
        Ok(Response::new(TableRoutes {
            table: Some(TableInfo {
                id: 1,
                name: "t".into(),
                partitions: PARTITIONS,
                ..TableInfo::default()
            }),
            partitions: (0..PARTITIONS).map(route).collect(),
            nodes: vec![NodeAddress {
                node: 1,
                grpc: self.0.clone(),
                ..NodeAddress::default()
            }],
        }))
    }

    async fn watch(&self, _: Request<QueryRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }
}

fn single_threaded() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments
        .next()
        .map_or(Ok(2), |argument| argument.parse())?;
    let in_flight: u64 = arguments
        .next()
        .map_or(Ok(500), |argument| argument.parse())?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?.to_string();
    let served = address.clone();
    std::thread::spawn(move || {
        single_threaded().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            // tonic sets it only on connections that it accepts itself; without it batches wait for acknowledgements
            let connections = TcpListenerStream::new(listener).map(|connection| {
                let connection = connection?;
                connection.set_nodelay(true)?;
                Ok::<_, std::io::Error>(connection)
            });
            tonic::transport::Server::builder()
                .add_service(DataServer::new(Answering(served.clone())))
                .add_service(RoutesServer::new(Answering(served)))
                .serve_with_incoming(connections)
                .await
        })
    });
    single_threaded().block_on(async {
        let client = Client::connect(ClientOptions::new([address])).await?;
        let table = client.table("t").await?;
        for (name, write) in [("get", false), ("set of 100 bytes", true)] {
            let queue = CompletionQueue::new();
            let mut outcomes = Vec::new();
            let (mut submitted, mut done) = (0_u64, 0_u64);
            let start = Instant::now();
            let cpu = thread_time();
            while start.elapsed() < Duration::from_secs(seconds) {
                while submitted - done < in_flight {
                    let key = bytes::Bytes::copy_from_slice(&submitted.to_le_bytes());
                    let (kind, operation) = if write {
                        (Kind::Write, Operation::Set(Set { key, value: bytes::Bytes::from_static(&VALUE), ttl: 0 }))
                    } else {
                        (Kind::Read, Operation::Get(Get { key }))
                    };
                    let completion = Completion::Queue { token: submitted, queue: Arc::clone(&queue) };
                    table.submit(submitted as u32 % PARTITIONS, operation, kind, completion);
                    submitted += 1;
                }
                queue.ready().await;
                queue.drain(&mut outcomes);
                for (_, outcome) in outcomes.drain(..) {
                    outcome?;
                    done += 1;
                }
            }
            let cpu = thread_time().saturating_sub(cpu).as_nanos() as f64;
            let rate = done as f64 / start.elapsed().as_secs_f64();
            println!("{name}: {rate:.0} a second with {in_flight} in flight, {:.0} ns of the client's thread each", cpu / done as f64);
        }
        Ok(())
    })
}

/// What this thread has used of its processor.
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}
