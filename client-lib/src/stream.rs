//! One `Data.Execute` stream: what is in flight on it, and the batch that is being filled.
//!
//! It decides nothing: lanes push into it, the transport pulls from it, and what comes back is handed to the lanes by `link`.

use crate::Error;
use crate::codec::{Address, encode_request};
use crate::completion::Deliveries;
use crate::lane::{Aside, Kind, Lane, Name, Op};
use bytes::{Bytes, BytesMut};
use proto::data::{RequestId, Response, response};
use slab::Slab;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A batch is closed when it has so many bytes or requests.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_REQUESTS: u32 = 1024;

/// A request id is its place in the table of requests in flight, and above these bits a part of its serial number: an answer that comes
/// twice is then taken for no other request.
const PLACE_BITS: u32 = 22;
const SERIAL_MASK: u64 = 0xFFF;

/// A request unanswered for so long after its deadline shows that the server has forgotten it: the stream is given up.
const OVERDUE: Duration = Duration::from_secs(10);

/// One stream to one server.
pub(crate) struct Stream {
    state: Mutex<State>,
    /// Told when the stream must end.
    pub(crate) end: Notify,
}

struct State {
    open: bool,
    hello: Option<Bytes>,
    filling: BytesMut,
    filling_requests: u32,
    /// Full batches with the serial number of their last request.
    full: VecDeque<(Bytes, u64)>,
    /// Of the last request pushed.
    serial: u64,
    /// Of the last request that the transport has taken: up to it a request may have been sent.
    taken: u64,
    in_flight: Slab<InFlight>,
    /// No request in flight needs looking at before this.
    look_at: Option<Instant>,
    waker: Option<Waker>,
    clock: Clock,
}

/// The server's clock: what it said last, and when that came.
#[derive(Clone, Copy)]
struct Clock {
    said: u64,
    at: Instant,
}

/// A request that waits for its answer.
pub(crate) struct InFlight {
    pub(crate) lane: Arc<Lane>,
    /// The lane's term when it was pushed.
    pub(crate) term: u32,
    serial: u64,
    pub(crate) op: Op,
}

/// A request whose stream is gone.
pub(crate) struct Lost {
    pub(crate) request: InFlight,
    /// Whether the server may have got it.
    pub(crate) sent: bool,
}

impl Stream {
    pub(crate) fn new(hello: Bytes) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                open: true,
                hello: Some(hello),
                filling: BytesMut::new(),
                filling_requests: 0,
                full: VecDeque::new(),
                serial: 0,
                taken: 0,
                in_flight: Slab::new(),
                look_at: None,
                waker: None,
                clock: Clock {
                    said: 0,
                    at: Instant::now(),
                },
            }),
            end: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For pushing several requests under one lock.
    pub(crate) fn pusher(&self) -> Pusher<'_> {
        Pusher {
            state: self.lock(),
            end: &self.end,
            now: None,
        }
    }

    /// Takes the answered requests out; an answer to none in flight is ignored.
    pub(crate) fn answered(
        &self,
        responses: Vec<Response>,
        into: &mut Vec<(InFlight, Option<response::Result>)>,
    ) {
        let mut state = self.lock();
        for response in responses {
            if let Some(response::Result::Clock(said)) = response.result {
                state.clock = Clock {
                    said,
                    at: Instant::now(),
                };
                continue;
            }
            let place = (response.id & ((1 << PLACE_BITS) - 1)) as usize;
            let known = state.in_flight.get(place).is_some_and(|request| {
                request.serial & SERIAL_MASK == response.id >> PLACE_BITS
                    && request.serial <= state.taken
            });
            if known {
                into.push((state.in_flight.remove(place), response.result));
            }
        }
    }

    /// Takes out what can be sent again of a lane that no longer waits for this server. Other writes stay: their answers are still worth
    /// having.
    pub(crate) fn take_repeatable(&self, lane: &Arc<Lane>, into: &mut Vec<Op>) {
        let mut state = self.lock();
        let repeatable: Vec<usize> = state
            .in_flight
            .iter()
            .filter(|(_, request)| {
                (request.op.kind == Kind::Read || request.op.name.is_some())
                    && request.op.aside.is_none()
                    && Arc::ptr_eq(&request.lane, lane)
            })
            .map(|(place, _)| place)
            .collect();
        into.extend(
            repeatable
                .into_iter()
                .map(|place| state.in_flight.remove(place).op),
        );
    }

    /// The writes of a lane in flight here.
    pub(crate) fn each_write(&self, lane: &Arc<Lane>, mut visit: impl FnMut(&Op)) {
        for (_, request) in &self.lock().in_flight {
            if request.op.kind == Kind::Write && Arc::ptr_eq(&request.lane, lane) {
                visit(&request.op);
            }
        }
    }

    /// Ends the waiting of requests past their deadline. They stay in flight without a waiter, for their lanes count on an answer.
    pub(crate) fn expire(&self, now: Instant, out: &mut Deliveries) {
        let mut state = self.lock();
        if state.look_at.is_none_or(|at| now < at) {
            return;
        }
        let mut look_at = None;
        let mut overdue = false;
        for (_, request) in &mut state.in_flight {
            let op = &mut request.op;
            if op.deadline <= now
                && let Some(completion) = op.completion.take()
            {
                // also one that only waits in the batch: it can still be sent
                let error = match op.kind {
                    Kind::Write => Error::OutcomeUnknown("no answer before the deadline".into()),
                    Kind::Read => Error::Timeout("no answer".into()),
                };
                out.settle(completion, op.cost, Err(error));
            }
            let next = if op.completion.is_some() {
                op.deadline
            } else {
                op.deadline + OVERDUE
            };
            overdue |= next <= now;
            look_at = Some(look_at.map_or(next, |at: Instant| at.min(next)));
        }
        state.look_at = look_at;
        if overdue {
            self.end.notify_one();
        }
    }

    /// Ends the stream: nothing can be pushed any more; gives back what was in flight, in the order pushed.
    pub(crate) fn close(&self) -> Vec<Lost> {
        let mut state = self.lock();
        state.open = false;
        state.full.clear();
        state.filling = BytesMut::new();
        state.look_at = None;
        let taken = state.taken;
        let mut lost: Vec<Lost> = std::mem::take(&mut state.in_flight)
            .into_iter()
            .map(|(_, request)| Lost {
                sent: request.serial <= taken,
                request,
            })
            .collect();
        lost.sort_by_key(|lost| lost.request.serial);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        lost
    }
}

/// A stream locked for pushing. Wakes the transport when it is dropped.
pub(crate) struct Pusher<'a> {
    state: MutexGuard<'a, State>,
    end: &'a Notify,
    /// By the server's clock; read when it is first needed.
    now: Option<u64>,
}

impl Pusher<'_> {
    /// Whether the stream has not ended and has room for a request.
    pub(crate) fn is_open(&self) -> bool {
        let room = self.state.in_flight.vacant_key() >> PLACE_BITS == 0;
        if !room {
            // four million requests without an answer
            self.end.notify_one();
        }
        room && self.state.open
    }

    /// Puts a request behind all others. The stream is open.
    pub(crate) fn push(
        &mut self,
        lane: &Arc<Lane>,
        term: u32,
        epoch: u32,
        first_incomplete: u64,
        mut op: Op,
    ) {
        let id = self.id(lane, first_incomplete, &mut op);
        let state = &mut *self.state;
        let place = state.in_flight.vacant_key();
        state.serial += 1;
        let serial = state.serial;
        let address = Address {
            id: (serial & SERIAL_MASK) << PLACE_BITS | place as u64,
            table: lane.table(),
            partition: lane.partition,
            epoch,
            staleness: op.aside.as_ref().map_or(0, Aside::milliseconds),
            ordered: lane.is_ordered(&op),
        };
        if state.filling_requests >= BATCH_REQUESTS || state.filling.len() + op.len > BATCH_BYTES {
            state.seal(serial - 1);
        }
        encode_request(address, &op.operation, op.len, id, &mut state.filling);
        state.filling_requests += 1;
        if state.look_at.is_none_or(|at| op.deadline < at) {
            state.look_at = Some(op.deadline);
        }
        state.in_flight.insert(InFlight {
            lane: Arc::clone(lane),
            term,
            serial,
            op,
        });
    }
}

impl Pusher<'_> {
    /// The request id that goes with a write; its first time of sending is drawn here.
    fn id(&mut self, lane: &Lane, first_incomplete: u64, op: &mut Op) -> Option<RequestId> {
        let again = op.is_again();
        Some(match op.name.as_mut()? {
            Name::Own { sequence, sent } => RequestId {
                client: lane.client,
                sequence: *sequence,
                behind: sequence.saturating_sub(first_incomplete),
                sent: *sent.get_or_insert_with(|| {
                    let Clock { said, at } = self.state.clock;
                    let now = &mut self.now;
                    *now.get_or_insert_with(|| said + at.elapsed().as_millis() as u64)
                }),
                again,
            },
            Name::Given(id) => RequestId {
                client: id.client,
                sequence: id.sequence,
                behind: id.sequence.saturating_sub(id.first_incomplete),
                sent: id.made,
                again,
            },
        })
    }
}

impl Drop for Pusher<'_> {
    fn drop(&mut self) {
        if self.state.filling_requests > 0
            && let Some(waker) = self.state.waker.take()
        {
            waker.wake();
        }
    }
}

impl State {
    fn seal(&mut self, last: u64) {
        if self.filling_requests > 0 {
            self.filling_requests = 0;
            let batch = self.filling.split().freeze();
            self.full.push_back((batch, last));
        }
    }
}

/// The transport's end of a stream: batches as it is ready to send them.
pub(crate) fn outgoing(stream: Arc<Stream>) -> impl futures::Stream<Item = Bytes> + Send {
    futures::stream::unfold(stream, |stream| async move {
        let next = poll_fn(|context| stream.poll_next(context)).await;
        if next == Next::Filling {
            // Whoever else can push now does so first: the cost of a message hardly depends on how many requests it carries.
            tokio::task::yield_now().await;
        }
        stream.take().map(|batch| (batch, stream))
    })
}

/// What there is to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A batch to which more can be added.
    Filling,
    /// A whole one, or the end.
    Whole,
}

impl Stream {
    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.lock();
        if !state.open || state.hello.is_some() || !state.full.is_empty() {
            return Poll::Ready(Next::Whole);
        }
        if state.filling_requests > 0 {
            return Poll::Ready(Next::Filling);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// The next batch; nothing when the stream has ended.
    fn take(&self) -> Option<Bytes> {
        let mut state = self.lock();
        if !state.open {
            return None;
        }
        if let Some(hello) = state.hello.take() {
            return Some(hello);
        }
        if state.full.is_empty() {
            let last = state.serial;
            state.seal(last);
        }
        let (batch, last) = state.full.pop_front()?;
        state.taken = last;
        Some(batch)
    }
}
