//! The replies of one connection: in the order of its commands, in the bytes of its protocol, bounded.
//!
//! A reply that comes when it is its turn is encoded at once into the bytes to be sent; one that comes early waits as a value. The
//! outbox does not write to the socket: it wakes the connection, which writes everything that is ready at once.

use crate::codec::{Protocol, encode, transcode};
use crate::limits::Limits;
use crate::sink::Answer;
use commands::Reply;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

/// What the connection expects of a reply, known when its command is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Style {
    /// The client does not want it (`CLIENT REPLY`).
    pub(crate) muted: bool,
    /// Arrays of pairs are flat in RESP2.
    pub(crate) flat_pairs: bool,
}

/// Shared by a connection and the sinks of its commands.
pub(crate) struct Outbox {
    inner: RefCell<Inner>,
    waker: RefCell<Option<Waker>>,
    /// Set while the connection is at work or was woken: no need to wake it (again).
    awake: Cell<bool>,
    killed: Cell<bool>,
    client: Option<SocketAddr>,
}

struct Inner {
    /// Bytes to be sent, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    protocol: Protocol,
    /// The oldest command without a reply in `out`, and the one to be started next.
    head: u64,
    next: u64,
    /// From `head` on, as far as something has come: replies before their turn.
    early: VecDeque<Option<(Answer, Style)>>,
    early_bytes: usize,
    /// Of recent replies, the larger ones weighing more: so many bytes each command in flight is expected to bring.
    expected_reply: usize,
    soft: usize,
    hard: usize,
    max_in_flight: u64,
    /// Number and bytes of those commands in flight that are large: the backend may hold on to them until they are answered.
    large: VecDeque<(u64, usize)>,
    large_bytes: usize,
    max_large_bytes: usize,
    overflowed: bool,
    closed: bool,
}

/// Expected of the first replies: 64 commands in flight with the default limits, until their replies show what they are like.
const FIRST_REPLIES: usize = 16 << 10;
/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_CAPACITY: usize = 4 << 10;
/// Smaller commands are bounded well enough by their number.
const LARGE_COMMAND: usize = 4 << 10;

impl Outbox {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            inner: RefCell::new(Inner {
                out: Vec::new(),
                sent: 0,
                protocol: Protocol::Resp2,
                head: 0,
                next: 0,
                early: VecDeque::new(),
                early_bytes: 0,
                expected_reply: FIRST_REPLIES,
                soft: limits.output_soft,
                hard: limits.output_hard,
                max_in_flight: limits.max_in_flight as u64,
                large: VecDeque::new(),
                large_bytes: 0,
                max_large_bytes: limits.max_in_flight_bytes,
                overflowed: false,
                closed: false,
            }),
            waker: RefCell::new(None),
            awake: Cell::new(false),
            killed: Cell::new(false),
            client: None,
        }
    }

    /// The same, of a client.
    pub(crate) fn of_client(limits: &Limits, client: SocketAddr) -> Self {
        Self {
            client: Some(client),
            ..Self::new(limits)
        }
    }

    /// Whose replies these are.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        self.client
    }

    /// The number of a new command of so many bytes, unless the client must first take replies, or the backend give some.
    pub(crate) fn start(&self, length: usize) -> Option<u64> {
        let inner = &mut *self.inner.borrow_mut();
        if !inner.has_room(length) {
            return None;
        }
        if length >= LARGE_COMMAND {
            inner.large.push_back((inner.next, length));
            inner.large_bytes += length;
        }
        inner.next += 1;
        Some(inner.next - 1)
    }

    /// The number of a command that is answered at once and is the last.
    pub(crate) fn start_last(&self) -> u64 {
        let mut inner = self.inner.borrow_mut();
        inner.next += 1;
        inner.next - 1
    }

    /// Grows with every reply whose turn it was.
    pub(crate) fn progress(&self) -> u64 {
        self.inner.borrow().head
    }

    /// Takes back a command that [`Self::start`] has just numbered: it is not to be started after all.
    pub(crate) fn unstart(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.next -= 1;
        let next = inner.next;
        if let Some((_, length)) = inner.large.pop_back_if(|(number, _)| *number == next) {
            inner.large_bytes -= length;
        }
    }

    /// Whether commands were started before number `sequence` that are not answered yet.
    pub(crate) fn is_first(&self, sequence: u64) -> bool {
        self.inner.borrow().head == sequence
    }

    /// Whether every command started is answered, and whether everything is sent.
    pub(crate) fn is_idle(&self) -> bool {
        let inner = self.inner.borrow();
        inner.head == inner.next && inner.out.is_empty()
    }

    /// Bytes that wait to be sent or for their turn.
    pub(crate) fn backlog(&self) -> usize {
        self.inner.borrow().backlog()
    }

    /// Changes what is spoken from the next reply on. No command is in flight but the one that asks for it.
    pub(crate) fn speak(&self, protocol: Protocol) {
        self.inner.borrow_mut().protocol = protocol;
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.inner.borrow().protocol
    }

    /// The answer to command number `sequence`.
    pub(crate) fn answer(&self, sequence: u64, answer: Answer, style: Style) {
        if self.inner.borrow_mut().answer(sequence, answer, style) {
            self.wake();
        }
    }

    /// Asks the connection to end, whatever it is doing.
    pub(crate) fn kill(&self) {
        self.killed.set(true);
        self.wake();
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.get()
    }

    /// Whether the client left so many replies untaken that it is to be closed.
    pub(crate) fn is_overflowed(&self) -> bool {
        self.inner.borrow().overflowed
    }

    /// The connection is at work: it will look at the outbox before it rests.
    pub(crate) fn attend(&self, context: &Context<'_>) {
        self.awake.set(true);
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    /// The connection rests until it is woken.
    pub(crate) fn rest(&self) {
        self.awake.set(false);
    }

    pub(crate) fn wake(&self) {
        if !self.awake.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Gives what is ready to `write`, until all is sent or `write` cannot take more.
    pub(crate) fn send(
        &self,
        mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner.borrow_mut();
        while inner.sent < inner.out.len() {
            match write(&inner.out[inner.sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) => inner.sent += sent,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        inner.sent = 0;
        inner.out.clear();
        if inner.out.capacity() > KEPT_CAPACITY {
            inner.out = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// The connection is gone: what still comes is dropped.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.closed = true;
        inner.drop_replies();
        self.waker.borrow_mut().take();
    }
}

impl Inner {
    fn backlog(&self) -> usize {
        self.out.len() - self.sent + self.early_bytes
    }

    fn has_room(&self, length: usize) -> bool {
        let backlog = self.backlog();
        let in_flight = self.next - self.head;
        if in_flight == 0 {
            return backlog < self.soft;
        }
        backlog + in_flight as usize * self.expected_reply < self.soft
            && in_flight < self.max_in_flight
            && (length < LARGE_COMMAND || self.large_bytes + length <= self.max_large_bytes)
    }

    /// The next reply is that of the command after.
    fn advance(&mut self) {
        self.early.pop_front();
        let head = self.head;
        if let Some((_, length)) = self.large.pop_front_if(|(number, _)| *number == head) {
            self.large_bytes -= length;
        }
        self.head += 1;
    }

    /// Tells whether there is something new to send.
    fn answer(&mut self, sequence: u64, answer: Answer, style: Style) -> bool {
        if self.closed || self.overflowed {
            return false;
        }
        if sequence != self.head {
            self.keep_early(sequence, answer, style);
            return self.overflowed;
        }
        self.emit(answer, style);
        self.advance();
        while let Some(slot) = self.early.front_mut() {
            let Some((answer, style)) = slot.take() else {
                break;
            };
            self.early_bytes -= size(&answer);
            self.emit(answer, style);
            self.advance();
        }
        self.check_overflow();
        true
    }

    fn keep_early(&mut self, sequence: u64, answer: Answer, style: Style) {
        // At most `max_in_flight`: sequences come from `start`, and each is answered once.
        let place = (sequence - self.head) as usize;
        if self.early.len() <= place {
            self.early.resize_with(place + 1, || None);
        }
        self.early_bytes += size(&answer);
        self.early[place] = Some((answer, style));
        self.check_overflow();
    }

    fn emit(&mut self, answer: Answer, style: Style) {
        if style.muted {
            return;
        }
        let before = self.out.len();
        match answer {
            Answer::Reply(reply) => encode(&reply, self.protocol, &mut self.out),
            Answer::Encoded(resp3) => {
                if let Err(malformed) =
                    transcode(&resp3, self.protocol, style.flat_pairs, &mut self.out)
                {
                    tracing::error!(bytes = resp3.len(), "{malformed}");
                    let reply = Reply::error(format!("ERR {malformed}"));
                    encode(&reply, self.protocol, &mut self.out);
                }
            }
        }
        let size = self.out.len() - before;
        self.expected_reply = if size > self.expected_reply {
            size
        } else {
            self.expected_reply - (self.expected_reply - size) / 8
        };
    }

    fn check_overflow(&mut self) {
        if self.backlog() > self.hard {
            self.overflowed = true;
            self.drop_replies();
        }
    }

    fn drop_replies(&mut self) {
        self.out = Vec::new();
        self.sent = 0;
        self.early = VecDeque::new();
        self.early_bytes = 0;
    }
}

/// About how many bytes an answer holds while it waits.
fn size(answer: &Answer) -> usize {
    match answer {
        Answer::Reply(reply) => reply_size(reply),
        Answer::Encoded(resp3) => resp3.len() + size_of::<Reply>(),
    }
}

fn reply_size(reply: &Reply) -> usize {
    size_of::<Reply>()
        + match reply {
            Reply::Error(text) | Reply::Bulk(text) | Reply::Text(text) => text.len(),
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
                items.iter().map(reply_size).sum()
            }
            Reply::Map(pairs) | Reply::Pairs(pairs) => pairs
                .iter()
                .map(|(first, second)| reply_size(first) + reply_size(second))
                .sum(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests;
