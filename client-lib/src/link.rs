//! How a stream to a server comes about, and what happens when it ends: one link per server and password, opened when a lane wants it.
//!
//! A link never opens itself again: lanes that still have something to send ask for it, at their own pace.

use crate::budget::Budget;
use crate::codec::{BatchCodec, encode_hello};
use crate::completion::Deliveries;
use crate::core::Core;
use crate::driver::Driver;
use crate::lane::Lane;
use crate::stream::{InFlight, Lost, Stream, outgoing};
use bytes::Bytes;
use proto::data::{RequestBatch, Response, ResponseBatch, TableCredential, response};
use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that does not answer a ping for so long, while something is in flight, is taken for dead.
const PING_EVERY: Duration = Duration::from_millis(500);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
const WINDOW: u32 = 16 << 20;
/// Largest message taken from a server.
const MAX_RESPONSES: usize = 256 << 20;

/// The way to one server.
pub(crate) struct Link {
    address: Arc<str>,
    channel: Channel,
    hello: Bytes,
    /// A server that could not be reached is not tried again within this.
    rest: Duration,
    budget: Arc<Budget>,
    driver: Arc<Driver>,
    runtime: Handle,
    state: Mutex<State>,
}

enum State {
    Closed {
        failed: Option<(Instant, String)>,
    },
    Opening {
        task: Option<AbortHandle>,
        waiting: Vec<Arc<Lane>>,
    },
    Open {
        task: Option<AbortHandle>,
        stream: Arc<Stream>,
    },
}

/// What a lane gets that asks for a stream.
pub(crate) enum Acquired {
    Open(Arc<Stream>),
    /// The lane will be told.
    Opening,
    Failed(String),
}

/// A connection to a server, made when it is first used and again when it is lost.
pub(crate) fn channel(address: &str, runtime: &Handle) -> Channel {
    let _guard = runtime.enter();
    match endpoint(address) {
        Ok(endpoint) => endpoint,
        // a node gave an address that is none: an endpoint that cannot be reached says so whenever it is asked
        Err(_) => Endpoint::from_static("http://0.0.0.0:0"),
    }
    .connect_lazy()
}

pub(crate) fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(false))
}

/// The innermost reason of a status: "Connection refused" says more than "transport error".
pub(crate) fn reason(status: &Status) -> String {
    let mut source = status.source();
    let mut text = status.message().to_owned();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

impl Link {
    pub(crate) fn new(
        core: &Core,
        address: Arc<str>,
        channel: Channel,
        credential: Option<&TableCredential>,
    ) -> Arc<Self> {
        Arc::new(Self {
            address,
            channel,
            hello: encode_hello(&RequestBatch {
                protocol: proto::PROTOCOL,
                requests: Vec::new(),
                credentials: credential.into_iter().cloned().collect(),
            }),
            rest: core.options.backoff.0,
            budget: Arc::clone(&core.budget),
            driver: Arc::clone(&core.driver),
            runtime: core.runtime.clone(),
            state: Mutex::new(State::Closed { failed: None }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(*self.lock(), State::Closed { .. })
    }

    /// Ends its task; for a client that is dropped.
    pub(crate) fn end(&self) {
        if let State::Opening {
            task: Some(task), ..
        }
        | State::Open {
            task: Some(task), ..
        } = &*self.lock()
        {
            task.abort();
        }
    }

    pub(crate) fn acquire(self: &Arc<Self>, lane: &Arc<Lane>) -> Acquired {
        let mut state = self.lock();
        match &mut *state {
            State::Open { stream, .. } => return Acquired::Open(Arc::clone(stream)),
            State::Opening { waiting, .. } => waiting.push(Arc::clone(lane)),
            State::Closed {
                failed: Some((at, reason)),
            } if at.elapsed() < self.rest => return Acquired::Failed(reason.clone()),
            State::Closed { .. } => {
                // the state is locked, so the task waits until it is complete
                let task = self.runtime.spawn(Arc::clone(self).run()).abort_handle();
                *state = State::Opening {
                    task: Some(task),
                    waiting: vec![Arc::clone(lane)],
                };
            }
        }
        Acquired::Opening
    }

    async fn run(self: Arc<Self>) {
        let stream = Stream::new(self.hello.clone());
        let opened = match tokio::time::timeout(OPEN_TIMEOUT, self.open(&stream)).await {
            Ok(opened) => opened.map_err(|status| reason(&status)),
            Err(_) => Err("no answer".to_owned()),
        };
        match opened {
            Ok((incoming, first)) => {
                let mut answered = Vec::new();
                stream.answered(first, &mut answered);
                self.driver.look_at_stream(&stream);
                for lane in self.opened(&stream) {
                    lane.link_opened();
                }
                let reason = self.receive(&stream, incoming).await;
                *self.lock() = State::Closed { failed: None };
                tracing::debug!(address = %self.address, reason, "the stream to a replica server ended");
                self.settle_lost(
                    stream.close(),
                    &format!("the connection to {} was lost: {reason}", self.address),
                );
            }
            Err(reason) => {
                let reason = format!("{} cannot be reached: {reason}", self.address);
                tracing::debug!(reason, "no stream to a replica server");
                let failed = State::Closed {
                    failed: Some((Instant::now(), reason.clone())),
                };
                let State::Opening { waiting, .. } = std::mem::replace(&mut *self.lock(), failed)
                else {
                    return;
                };
                for lane in waiting {
                    lane.link_failed(&reason);
                }
            }
        }
    }

    fn opened(&self, stream: &Arc<Stream>) -> Vec<Arc<Lane>> {
        let mut state = self.lock();
        let State::Opening { task, waiting } = &mut *state else {
            return Vec::new();
        };
        let (task, waiting) = (task.take(), std::mem::take(waiting));
        *state = State::Open {
            task,
            stream: Arc::clone(stream),
        };
        waiting
    }

    /// A stream is open when the server has said what time it is there: requests are dated by that.
    async fn open(
        &self,
        stream: &Arc<Stream>,
    ) -> Result<(Streaming<ResponseBatch>, Vec<Response>), Status> {
        let mut grpc =
            tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_RESPONSES);
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(Box::new(error)))?;
        let path = PathAndQuery::from_static("/tulpar.data.v1.Data/Execute");
        let response = grpc
            .streaming(Request::new(outgoing(Arc::clone(stream))), path, BatchCodec)
            .await?;
        let mut incoming = response.into_inner();
        let first = incoming.message().await?.unwrap_or_default().responses;
        match first.first().and_then(|first| first.result.as_ref()) {
            Some(response::Result::Clock(_)) => Ok((incoming, first)),
            _ => Err(Status::unavailable(
                "the server did not begin with its clock",
            )),
        }
    }

    /// Takes in answers until the stream ends; says why it did.
    async fn receive(&self, stream: &Stream, mut incoming: Streaming<ResponseBatch>) -> String {
        let mut answered = Vec::new();
        let mut out = Deliveries::default();
        loop {
            let message = tokio::select! {
                message = incoming.message() => message,
                () = stream.end.notified() => return "it left requests unanswered".into(),
            };
            match message {
                Ok(Some(batch)) => self.settle(stream, batch.responses, &mut answered, &mut out),
                Ok(None) => return "the server ended it".into(),
                Err(status) => return reason(&status),
            }
        }
    }

    fn settle(
        &self,
        stream: &Stream,
        responses: Vec<Response>,
        answered: &mut Vec<(InFlight, Option<response::Result>)>,
        out: &mut Deliveries,
    ) {
        stream.answered(responses, answered);
        let mut answered = answered.drain(..).peekable();
        while let Some(first) = answered.next() {
            let lane = Arc::clone(&first.0.lane);
            lane.answered(
                first,
                || answered.next_if(|next| Arc::ptr_eq(&next.0.lane, &lane)),
                out,
            );
        }
        out.deliver(&self.budget);
    }

    fn settle_lost(&self, mut lost: Vec<Lost>, reason: &str) {
        // stable: within a lane the order stays
        lost.sort_by_key(|lost| Arc::as_ptr(&lost.request.lane));
        let mut out = Deliveries::default();
        while let Some(last) = lost.last() {
            let lane = Arc::clone(&last.request.lane);
            let start =
                lost.partition_point(|other| Arc::as_ptr(&other.request.lane) < Arc::as_ptr(&lane));
            lane.stream_lost(lost.split_off(start), reason, &mut out);
        }
        out.deliver(&self.budget);
    }
}
