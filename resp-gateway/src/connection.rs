//! One socket: reads, starts what it has read, sends what is ready, and rests when none of it can go on.
//!
//! What a command means is not known here: `session` and `route` do it. This file decides only when to read, when to stop reading
//! (too much unanswered or unsent), whose turn it is, and when the connection ends.

use crate::backend::Backend;
use crate::clients::Client;
use crate::codec::{Bounds, ProtocolError, RequestReader};
use crate::outbox::{Outbox, Style};
use crate::server::Gateway;
use crate::session::{Session, Step};
use crate::sink::Answer;
use bytes::{Buf, BytesMut};
use commands::Reply;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Read at once, and the least by which a buffer grows.
const READ_SIZE: usize = 64 << 10;
/// The reader counts in 32 bits.
const LARGEST_QUERY: usize = 2 << 30;
/// How much, and how long, is still read from a client that was told why its connection ends: closing before it has sent everything
/// would reset the connection, and it might never see the reason.
const FAREWELL_BYTES: usize = 1 << 20;
const FAREWELL: Duration = Duration::from_secs(1);
/// A buffer larger than this is given back when it is empty.
const KEPT_CAPACITY: usize = 4 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("done")]
    Done,
    #[error("killed")]
    Killed,
    #[error("it left more replies untaken than allowed")]
    Overflowed,
    #[error(transparent)]
    Socket(#[from] io::Error),
}

pub(crate) struct Connection<B: Backend> {
    gateway: Rc<Gateway<B>>,
    stream: TcpStream,
    client: Rc<Client>,
    outbox: Rc<Outbox>,
    session: Session<B>,
    reader: RequestReader,
    /// What was read and not started yet.
    buffer: BytesMut,
    /// A whole command waits in `buffer` for something other than bytes.
    blocked: bool,
    /// Nothing more is started; what was is answered.
    closing: bool,
    /// The client sends no more.
    ended: bool,
}

impl<B: Backend> Connection<B> {
    pub(crate) fn new(gateway: Rc<Gateway<B>>, stream: TcpStream, peer: SocketAddr) -> Self {
        let outbox = Rc::new(Outbox::of_client(&gateway.options.limits, peer));
        let now = Instant::now();
        let client = Rc::new(Client {
            id: gateway.clients.next_id(),
            peer,
            local: stream.local_addr().unwrap_or(gateway.address),
            connected: now,
            active: Cell::new(now),
            name: String::new().into(),
            made_with: (String::new(), String::new()).into(),
            table: gateway.options.default_table.clone().into(),
            last_command: Cell::new("NULL"),
            unread: Cell::new(0),
            outbox: Rc::clone(&outbox),
        });
        gateway.clients.add(Rc::clone(&client));
        gateway.count_clients();
        Self {
            session: Session::new(&gateway),
            gateway,
            stream,
            client,
            outbox,
            reader: RequestReader::default(),
            buffer: BytesMut::new(),
            blocked: false,
            closing: false,
            ended: false,
        }
    }

    /// Lives until the connection ends.
    pub(crate) async fn run(mut self) {
        let end = poll_fn(|context| {
            self.outbox.attend(context);
            let end = self.turn(context);
            self.outbox.rest();
            end
        })
        .await;
        match end {
            End::Done if self.closing => self.farewell().await,
            End::Done | End::Killed => {}
            End::Overflowed => {
                tracing::warn!(client = self.client.id, peer = %self.client.peer, "closing a connection: {end}");
            }
            End::Socket(error) => {
                tracing::debug!(client = self.client.id, peer = %self.client.peer, %error, "a connection broke");
            }
        }
    }

    async fn farewell(&mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let stream = &mut self.stream;
        let reading = async move {
            let mut scratch = vec![0; READ_SIZE];
            let mut left = FAREWELL_BYTES;
            while let Ok(read @ 1..) = stream.read(&mut scratch).await
                && read < left
            {
                left -= read;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, reading).await;
    }

    /// Does what can be done now. Pending: everything that could let it go on wakes the task.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let mut left = self.gateway.options.limits.turn;
        loop {
            if !self.buffer.is_empty() || self.session.is_opening() {
                self.start_buffered(&mut left, context);
            }
            let answered = self.outbox.progress();
            self.gateway.backend.flush();
            let sent = match self.send(context) {
                Ok(sent) => sent,
                Err(error) => return Poll::Ready(End::Socket(error)),
            };
            if self.outbox.is_killed() {
                return Poll::Ready(End::Killed);
            }
            if self.outbox.is_overflowed() {
                return Poll::Ready(End::Overflowed);
            }
            if self.is_done() {
                return Poll::Ready(End::Done);
            }
            if left == 0 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.blocked {
                // Sending, or flushing the backend, may just have ended what it waits for.
                if sent || self.outbox.progress() != answered {
                    continue;
                }
                return Poll::Pending;
            }
            if self.closing || self.ended {
                return Poll::Pending;
            }
            match ready!(self.read(&mut left, context)) {
                Ok(0) => self.ended = true,
                Ok(_) => self.client.active.set(Instant::now()),
                Err(error) => return Poll::Ready(End::Socket(error)),
            }
        }
    }

    /// Whether nothing more is to be expected from here or from there.
    fn is_done(&self) -> bool {
        let no_more = self.closing || self.gateway.stopping.get() || (self.ended && !self.blocked);
        no_more && self.outbox.is_idle()
    }

    /// Tells whether anything was sent.
    fn send(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut sent = false;
        let stream = &mut self.stream;
        let done = self.outbox.send(|bytes| {
            let written = Pin::new(&mut *stream).poll_write(context, bytes);
            sent |= written.is_ready();
            written
        });
        match done {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(sent),
        }
    }

    /// Reads once and starts what is whole; how many bytes came.
    fn read(&mut self, left: &mut usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.buffer.is_empty() {
            // By what the command in work still wants, but never by more than what has come already: nobody reserves by declaring.
            let wanted = self.reader.wanted().saturating_sub(self.buffer.len());
            let most = self.buffer.len().max(READ_SIZE);
            self.buffer.reserve(wanted.clamp(READ_SIZE / 4, most));
            return pin!(self.stream.read_buf(&mut self.buffer)).poll(context);
        }
        let mut scratch = self.gateway.scratch.take();
        scratch.clear();
        scratch.reserve(READ_SIZE);
        let read = pin!(self.stream.read_buf(&mut scratch)).poll(context);
        if let Poll::Ready(Ok(1..)) = read {
            let started = self.start(&scratch, left, context);
            self.buffer.extend_from_slice(&scratch[started..]);
            self.client.unread.set(self.buffer.len());
        }
        self.gateway.scratch.replace(scratch);
        read
    }

    fn start_buffered(&mut self, left: &mut usize, context: &mut Context<'_>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let started = self.start(&buffer, left, context);
        buffer.advance(started);
        if !buffer.is_empty() || buffer.capacity() <= KEPT_CAPACITY {
            self.buffer = buffer;
        }
        self.client.unread.set(self.buffer.len());
    }

    /// Starts the commands that are whole in `bytes`, at most `left`; how many bytes they took.
    fn start(&mut self, bytes: &[u8], left: &mut usize, context: &mut Context<'_>) -> usize {
        let mut taken = 0;
        self.blocked = false;
        while *left > 0 && !self.closing {
            if self.session.is_opening() && !self.session.poll_opening(&self.client, context) {
                self.blocked = true;
                break;
            }
            let rest = &bytes[taken..];
            if rest.is_empty() {
                break;
            }
            let bounds = self.bounds();
            let length = match self.reader.read(rest, &bounds) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(error) => {
                    if !self.refuse(error) {
                        continue;
                    }
                    break;
                }
            };
            let args = self.reader.args(rest);
            if !args.is_empty() {
                let Some(sequence) = self.outbox.start(length) else {
                    self.blocked = true;
                    break;
                };
                match self
                    .session
                    .run(&self.gateway, &self.client, sequence, &args)
                {
                    Step::Done => {}
                    Step::Close => self.closing = true,
                    Step::Wait => {
                        self.outbox.unstart();
                        // Either the next look at `opening` ends the wait, or a reply to an earlier command does.
                        if self.session.awaits_table() {
                            continue;
                        }
                        self.blocked = true;
                        break;
                    }
                }
                *left -= 1;
                self.gateway.options.statistics.command();
            }
            drop(args);
            taken += length;
            self.reader.next();
        }
        taken
    }

    fn bounds(&self) -> Bounds {
        let limits = &self.gateway.options.limits;
        Bounds {
            max_args: limits.max_args,
            max_bulk: limits.max_bulk,
            max_inline: limits.max_inline,
            max_query: limits.max_query.min(LARGEST_QUERY),
            before_auth: if self.session.has_table() {
                None
            } else {
                Some(limits.before_auth)
            },
        }
    }

    /// The bytes are no command: says so and ends the connection, unless they may yet prove to be one. Whether it has ended.
    fn refuse(&mut self, error: ProtocolError) -> bool {
        self.reader.next();
        if error.is_for_want_of_auth() && self.session.ask_for_table(&self.gateway) {
            return false;
        }
        tracing::debug!(client = self.client.id, peer = %self.client.peer, %error, "not the Redis protocol");
        self.closing = true;
        // It may exceed the bounds on what is in flight by one.
        let sequence = self.outbox.start_last();
        let reply = Reply::error(format!("ERR Protocol error: {error}"));
        self.outbox
            .answer(sequence, Answer::Reply(reply), Style::default());
        true
    }
}

impl<B: Backend> Drop for Connection<B> {
    fn drop(&mut self) {
        self.outbox.close();
        self.gateway.clients.remove(self.client.id);
        self.gateway.count_clients();
    }
}
