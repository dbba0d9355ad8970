//! Clients' streams: requests in, responses out, both in batches.
//!
//! A stream's requests for a partition take effect in order, also around refusals: after a refused request, later ones of the same
//! epoch are refused too, so that a retried one is never overtaken (see data.proto).

use crate::clock;
use crate::services::operations::{self, Shape};
use crate::services::remembered::{Passwords, Refusals};
use crate::stream_queue::{Batch, Messages, Queue};
use crate::worker::Worker;
use crate::worker::reply::{Age, Outcome, Refused, ReplyTo};
use commands::requests::{Attempt, RequestId};
use prost::Message;
use proto::data::data_server::Data;
use proto::data::{self, RequestBatch, ResponseBatch, refusal::Kind, response};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};
use types::{Instant, PartitionId, TableId, Timestamp};

/// Requests of one stream that may wait for their answers, and bytes of responses that may wait to be taken: beyond, the stream is
/// not read on.
const MOST_IN_FLIGHT: usize = 100_000;
const MOST_BACKLOG: usize = 64 << 20;
/// How often a client is told what time it is here.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

impl Batch for ResponseBatch {
    type Item = data::Response;

    fn size(item: &data::Response) -> usize {
        item.encoded_len() + 4
    }

    fn of(responses: Vec<data::Response>) -> Self {
        Self { responses }
    }
}

/// A stream on its way to the worker.
pub(crate) struct Arrived {
    requests: Streaming<RequestBatch>,
    responses: Queue<ResponseBatch>,
    last_word: LastWord,
    client: Option<SocketAddr>,
}

/// Why a stream is ended, if not because the client ended it.
pub(crate) type LastWord = Arc<OnceLock<Status>>;

/// The responses of a stream, and then perhaps the last word.
pub(crate) struct Responses {
    messages: Messages<ResponseBatch>,
    last_word: LastWord,
    ended: bool,
}

impl futures::Stream for Responses {
    type Item = Result<ResponseBatch, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.messages).poll_next(context) {
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(self.last_word.get().cloned().map(Err))
            }
            other => other.map(|next| next.map(Ok)),
        }
    }
}

/// The gRPC side: hands streams to the worker, which lives on the same thread but is not `Send`.
pub(crate) struct DataService(pub(crate) mpsc::UnboundedSender<Arrived>);

#[tonic::async_trait]
impl Data for DataService {
    type ExecuteStream = Responses;

    async fn execute(
        &self,
        request: Request<Streaming<RequestBatch>>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let (queue, messages) = Queue::new();
        let last_word = LastWord::default();
        let arrived = Arrived {
            client: request.remote_addr(),
            requests: request.into_inner(),
            responses: queue,
            last_word: last_word.clone(),
        };
        self.0
            .send(arrived)
            .map_err(|_| Status::unavailable("the server is stopping"))?;
        Ok(Response::new(Responses {
            messages,
            last_word,
            ended: false,
        }))
    }
}

/// A stream of messages as tonic wants it: each a `Result`, none an error.
pub(crate) struct Unfailing<S>(pub(crate) S);

impl<S: futures::Stream + Unpin> futures::Stream for Unfailing<S> {
    type Item = Result<S::Item, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0)
            .poll_next(context)
            .map(|next| next.map(Ok))
    }
}

/// One client's stream, on the worker.
pub(crate) struct Stream {
    client: Option<SocketAddr>,
    responses: Queue<ResponseBatch>,
    in_flight: Cell<usize>,
    refused: RefCell<Refusals>,
    passwords: RefCell<Passwords>,
}

/// The answer to one request of a stream.
pub(crate) struct StreamReply {
    stream: Rc<Stream>,
    id: u64,
    partition: PartitionId,
    epoch: u32,
    ordered: bool,
    request_id: Option<RequestId>,
    age: Age,
    shape: Shape,
}

/// Serves one stream until either side ends it.
pub(crate) async fn serve(worker: Rc<Worker>, arrived: Arrived) {
    let (mut requests, last_word) = (arrived.requests, arrived.last_word);
    let stream = Rc::new(Stream {
        client: arrived.client,
        responses: arrived.responses,
        in_flight: Cell::new(0),
        refused: RefCell::default(),
        passwords: RefCell::default(),
    });
    let mut first = true;
    let mut clock_said = Instant::default();
    loop {
        stream.responses.below(MOST_BACKLOG).await;
        let batch = match requests.message().await {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(status) => {
                tracing::debug!(%status, "a client's stream ended");
                let _ = last_word.set(status);
                break;
            }
        };
        if first && batch.protocol != proto::PROTOCOL {
            let (theirs, ours) = (batch.protocol, proto::PROTOCOL);
            let text = format!("this server speaks protocol version {ours}, not {theirs}");
            let _ = last_word.set(Status::failed_precondition(text));
            break;
        }
        let now = clock::now();
        if first || now.since(clock_said) >= CLOCK_EVERY {
            clock_said = now;
            let wall = worker.wall.at(now);
            stream.send(0, response::Result::Clock(wall.0));
        }
        first = false;
        if let Err(status) = stream.take(&worker, batch).await {
            let _ = last_word.set(status);
            break;
        }
    }
    stream.responses.close();
}

impl Stream {
    /// Starts what came, or says why the stream is ended.
    async fn take(self: &Rc<Self>, worker: &Rc<Worker>, batch: RequestBatch) -> Result<(), Status> {
        for credential in batch.credentials {
            self.take_password(worker, credential).await?;
        }
        for request in batch.requests {
            self.start(worker, request);
            self.refused.borrow().check()?;
        }
        Ok(())
    }

    fn start(self: &Rc<Self>, worker: &Rc<Worker>, request: data::Request) {
        let partition = PartitionId::new(request.table, request.partition);
        let table = worker
            .known
            .borrow()
            .table(partition.table)
            .map(|table| table.partitions);
        if table.is_some_and(|partitions| partition.index >= partitions) {
            let text = format!("ERR there is no partition {partition}");
            return self.send(request.id, operations::rejected(&text));
        }
        if self.in_flight.get() >= MOST_IN_FLIGHT {
            return self.refuse_unasked(&request, table);
        }
        let age =
            (request.staleness > 0).then(|| Duration::from_millis(u64::from(request.staleness)));
        let reply = |shape| {
            self.in_flight.set(self.in_flight.get() + 1);
            worker.unanswered.set(worker.unanswered.get() + 1);
            StreamReply {
                stream: self.clone(),
                id: request.id,
                partition,
                epoch: request.epoch,
                ordered: request.ordered,
                request_id: request.request_id.as_ref().map(request_id),
                age,
                shape,
            }
        };
        if let Some(refusal) = self.locked(worker, partition.table) {
            if age.is_none() {
                self.remember_refusal(table, partition, request.epoch);
            }
            return self.send(request.id, response::Result::Refusal(refusal));
        }
        if age.is_none() && self.refused.borrow().cover(partition, request.epoch) {
            let text =
                "an earlier request for the partition was refused; ask for both again, in order";
            return self.send(request.id, refusal(Kind::Busy, text));
        }
        let Some(operation) = request.operation else {
            return self.send(
                request.id,
                operations::rejected("ERR a request without an operation"),
            );
        };
        let (spec, args, shape) = match operations::command(operation) {
            Ok(command) => command,
            Err(error) => {
                let shape = Shape::Resp;
                return reply(shape).send(Outcome::Reply(error), worker);
            }
        };
        let slices: SmallVec<[&[u8]; 8]> = args.iter().map(|arg| &arg[..]).collect();
        if !worker.known.borrow().holds(partition, spec, &slices) {
            let text =
                format!("CROSSSLOT a key of the request does not belong to partition {partition}");
            return self.send(request.id, operations::rejected(&text));
        }
        match worker.find(partition) {
            Some(hosted) => worker.execute(&hosted, spec, &slices, ReplyTo::Stream(reply(shape))),
            None => reply(shape).send(Outcome::Refused(Refused::NotPrimary(None)), worker),
        }
    }

    /// Notes a password, and whether it is the table's.
    async fn take_password(
        &self,
        worker: &Worker,
        credential: data::TableCredential,
    ) -> Result<(), Status> {
        let (id, password) = (TableId(credential.table), credential.password);
        self.passwords.borrow().check(id, &password)?;
        let known = worker
            .known
            .borrow()
            .table(id)
            .map(|table| table.password.clone());
        let checked = match known {
            Some(kept) => {
                let (given, of) = (password.clone(), kept.clone());
                let source = self.client.map(|client| client.ip());
                let fits = worker.passwords.fit(source, given, of).await;
                Some((kept, fits))
            }
            None => None,
        };
        self.passwords.borrow_mut().take(id, password, checked);
        Ok(())
    }

    /// Why the stream may not use the table.
    fn locked(&self, worker: &Worker, table: TableId) -> Option<data::Refusal> {
        let known = worker.known.borrow();
        let Some(table_known) = known.table(table).filter(|table| !table.is_dropped()) else {
            // Until the meta leader has told of the tables, one that is not known here may exist all the same.
            let (kind, message) = if worker.meta.is_up() {
                (
                    Kind::NoSuchTable,
                    format!("there is no table number {table}"),
                )
            } else {
                (
                    Kind::Busy,
                    "this server has not joined the cluster yet".into(),
                )
            };
            return Some(data::Refusal {
                kind: kind.into(),
                message,
                ..data::Refusal::default()
            });
        };
        let mut given = self.passwords.borrow_mut();
        let kept = &table_known.password;
        let open = kept.is_empty() || given.fit(table, kept);
        let message = if open {
            worker.closed_to_others(table_known)?
        } else {
            let name = &table_known.name;
            format!("table '{name}' wants a password, or another one")
        };
        Some(data::Refusal {
            kind: Kind::Unauthorized.into(),
            message,
            ..data::Refusal::default()
        })
    }

    fn refuse_unasked(&self, request: &data::Request, table: Option<u32>) {
        let partition = PartitionId::new(request.table, request.partition);
        if request.staleness == 0 {
            self.remember_refusal(table, partition, request.epoch);
        }
        self.send(
            request.id,
            refusal(Kind::Busy, "too many requests of this stream are in flight"),
        );
    }

    /// Remembers that a request was refused; of a table without partitions here it is not known whether there is one.
    fn remember_refusal(&self, table: Option<u32>, partition: PartitionId, epoch: u32) {
        let mut refused = self.refused.borrow_mut();
        match table {
            Some(_) => refused.remember(partition, epoch),
            None => refused.remember_unknown(partition, epoch),
        }
    }

    fn send(&self, id: u64, result: response::Result) {
        self.responses.push(data::Response {
            id,
            result: Some(result),
        });
    }
}

impl StreamReply {
    /// Whether the stream had a request of this epoch refused for the partition.
    pub(crate) fn refused_before(&self) -> bool {
        self.age.is_none()
            && self
                .stream
                .refused
                .borrow()
                .cover(self.partition, self.epoch)
    }

    pub(crate) fn client(&self) -> Option<SocketAddr> {
        self.stream.client
    }

    pub(crate) fn age(&self) -> Age {
        self.age
    }

    pub(crate) fn request_id(&self) -> Option<&RequestId> {
        self.request_id.as_ref()
    }

    /// Tells apart the streams that have something unanswered.
    pub(crate) fn stream(&self) -> usize {
        Rc::as_ptr(&self.stream).addr()
    }

    /// If it will be sent again, those behind it are not to overtake it.
    pub(crate) fn will_be_refused(&self, refused: &Refused) {
        match refused {
            // Reads that allow for an age have no order among the others.
            _ if self.age.is_some() => {}
            Refused::Unable(_) if !self.ordered => {}
            Refused::Busy(_)
            | Refused::NotPrimary(_)
            | Refused::NotFresh
            | Refused::Unknown(_)
            | Refused::Unable(_) => {
                let mut refused = self.stream.refused.borrow_mut();
                refused.remember(self.partition, self.epoch);
            }
            Refused::TooLate(_) => {}
        }
    }

    /// Sends the answer; a refusal names the primary, as far as it is known here.
    pub(crate) fn send(self, outcome: Outcome, worker: &Worker) {
        self.stream.in_flight.set(self.stream.in_flight.get() - 1);
        worker.unanswered.set(worker.unanswered.get() - 1);
        if let Outcome::Refused(refused) = &outcome {
            self.will_be_refused(refused);
        }
        let result = match outcome {
            Outcome::Reply(reply) => operations::result(self.shape, reply),
            Outcome::Refused(Refused::Unable(text)) => refusal(Kind::Unable, &text),
            Outcome::Refused(Refused::Unknown(text)) => refusal(Kind::OutcomeUnknown, &text),
            Outcome::Refused(Refused::NotFresh) => {
                let text = "this secondary's copy may be older than the read allows";
                refusal(Kind::NotFresh, text)
            }
            Outcome::Refused(Refused::TooLate(text)) => refusal(Kind::TooLate, text),
            Outcome::Refused(Refused::Busy(text)) => refusal(Kind::Busy, &text),
            Outcome::Refused(Refused::NotPrimary(configuration)) => {
                let known = worker.known.borrow();
                let primary = configuration
                    .as_ref()
                    .and_then(|configuration| {
                        let node = configuration.primary.node;
                        Some((node, known.address(node)?))
                    })
                    .map(|(node, address)| proto::common::NodeAddress {
                        node: node.0,
                        name: address.name.clone(),
                        grpc: address.grpc.clone(),
                        redis: address.redis.clone(),
                        zone: String::new(),
                    });
                response::Result::Refusal(data::Refusal {
                    kind: Kind::NotPrimary.into(),
                    message: format!("partition {} is served elsewhere", self.partition),
                    configuration: configuration.as_ref().map(Into::into),
                    primary,
                })
            }
        };
        self.stream.send(self.id, result);
    }
}

fn request_id(id: &data::RequestId) -> RequestId {
    RequestId {
        client: id.client,
        sequence: id.sequence,
        first_incomplete: id.sequence.saturating_sub(id.behind),
        sent: Timestamp(id.sent),
        attempt: if id.again {
            Attempt::Again
        } else {
            Attempt::First
        },
    }
}

fn refusal(kind: Kind, message: &str) -> response::Result {
    response::Result::Refusal(data::Refusal {
        kind: kind.into(),
        message: message.into(),
        ..data::Refusal::default()
    })
}
