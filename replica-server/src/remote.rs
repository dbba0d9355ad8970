//! A gateway's backend over the client library: commands go to the partition's primary, wherever it is.
//!
//! Order, retries, deadlines and routes are the client library's. Here commands become its operations and their outcomes
//! replies. A stand-alone gateway has nothing but this; a replica server uses it for partitions whose primary is elsewhere.

use bytes::{BufMut, Bytes, BytesMut};
use commands::Reply;
use commands::requests::RequestId;
use resp_gateway::{Backend, Intent, OpenTableError, Request, Sink};
use slab::Slab;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tulpar_client::wire::{self, request::Operation, response};
use tulpar_client::{Client, Completion, CompletionQueue, Error, Kind, Outcome, Table};

/// Forwards every command. Lives on one single-threaded runtime, on which [`RemoteBackend::answer`] must run.
pub struct RemoteBackend {
    client: Client,
    outcomes: Arc<CompletionQueue>,
    waiting: RefCell<Slab<Sink>>,
    /// How old may be what a connection reads that said `READONLY`.
    readonly_staleness: Duration,
}

impl RemoteBackend {
    /// Nothing is sent before the first command.
    pub fn new(client: Client, readonly_staleness: Duration) -> Rc<Self> {
        Rc::new(Self {
            client,
            outcomes: CompletionQueue::new(),
            waiting: RefCell::default(),
            readonly_staleness,
        })
    }

    /// Takes outcomes to those who wait for them, for ever. Without it no command is answered.
    pub async fn answer(self: Rc<Self>) {
        let mut arrived = Vec::new();
        loop {
            self.outcomes.ready().await;
            self.outcomes.drain(&mut arrived);
            for (token, outcome) in arrived.drain(..) {
                // Taken out before it is used: replying may start the connection's next command.
                let sink = self.waiting.borrow_mut().try_remove(token as usize);
                if let Some(sink) = sink {
                    reply(sink, outcome);
                }
            }
        }
    }

    /// Sends a command to its partition's primary; the reply goes to `sink`. With an id: it may have been done before.
    pub fn forward(&self, table: &Table, request: Request<'_>, id: Option<&RequestId>, sink: Sink) {
        let token = self.waiting.borrow_mut().insert(sink) as u64;
        let kind = if request.spec.is_write() {
            Kind::Write
        } else {
            Kind::Read
        };
        let completion = Completion::Queue {
            token,
            queue: Arc::clone(&self.outcomes),
        };
        let operation = operation(&request);
        match id {
            None => table.submit(request.partition, operation, kind, completion),
            Some(id) => {
                let id = tulpar_client::RequestId {
                    client: id.client,
                    sequence: id.sequence,
                    first_incomplete: id.first_incomplete,
                    made: id.sent.0,
                };
                table.submit_as(request.partition, operation, id, completion);
            }
        }
    }

    /// Opens a table for a connection.
    pub async fn open(
        &self,
        name: &[u8],
        password: Option<&[u8]>,
    ) -> Result<Table, OpenTableError> {
        // Names and passwords of tables are text.
        let name = str::from_utf8(name).map_err(|_| OpenTableError::NoSuchTable)?;
        let opened = match password.map(str::from_utf8) {
            None => self.client.table(name).await,
            Some(Ok(password)) => self.client.table_with_password(name, password).await,
            Some(Err(_)) => return Err(OpenTableError::WrongPassword),
        };
        opened
            .map(|table| table.with_own_order())
            .map_err(|error| match error {
                Error::Unauthorized(_) if password.is_none() => OpenTableError::PasswordRequired,
                Error::Unauthorized(_) => OpenTableError::WrongPassword,
                Error::NoSuchTable(_) => OpenTableError::NoSuchTable,
                other => OpenTableError::Unavailable(other.to_string()),
            })
    }
}

impl Backend for RemoteBackend {
    type Table = Table;

    async fn open_table(
        &self,
        name: &[u8],
        password: Option<&[u8]>,
    ) -> Result<Table, OpenTableError> {
        self.open(name, password).await
    }

    fn partitions(&self, table: &Table) -> u32 {
        table.partitions()
    }

    fn execute(&self, table: &Table, request: Request<'_>, sink: Sink) {
        if request.intent == Intent::StaleRead {
            let table = table.with_staleness(self.readonly_staleness);
            return self.forward(&table, request, None, sink);
        }
        self.forward(table, request, None, sink);
    }
}

/// The command as the protocol has it. The two commonest have messages of their own, which are smaller and need no parsing on
/// the way back.
fn operation(request: &Request<'_>) -> Operation {
    match (request.spec.name, request.args) {
        ("get", [_, key]) => Operation::Get(wire::Get {
            key: Bytes::copy_from_slice(key),
        }),
        ("set", [_, key, value]) => Operation::Set(wire::Set {
            key: Bytes::copy_from_slice(key),
            value: Bytes::copy_from_slice(value),
            ttl: 0,
        }),
        (_, args) => {
            // One buffer for all arguments.
            let mut all = BytesMut::with_capacity(args.iter().map(|arg| arg.len()).sum());
            let arguments = args
                .iter()
                .map(|arg| {
                    all.put_slice(arg);
                    all.split().freeze()
                })
                .collect();
            Operation::Command(wire::Command { arguments })
        }
    }
}

fn reply(sink: Sink, outcome: Outcome) {
    match outcome {
        Ok(response::Result::Resp(encoded)) => sink.reply_encoded(encoded),
        Ok(response::Result::Value(wire::Value { found: true, value })) => {
            sink.reply(Reply::Bulk(value));
        }
        Ok(response::Result::Value(_)) => sink.reply(Reply::Nil),
        // Only SET is answered by a count.
        Ok(response::Result::Count(_)) => sink.reply(Reply::Ok),
        Ok(_) => sink.reply(Reply::error(
            "ERR a replica server's answer does not fit the command",
        )),
        Err(error) => sink.reply(Reply::error(text(&error))),
    }
}

/// What a Redis client is told, with the code that makes it do the right thing: client libraries try again after TRYAGAIN.
fn text(error: &Error) -> String {
    let text = match error {
        Error::Rejected(text) => text.clone(),
        Error::OutcomeUnknown(_) | Error::NoSuchTable(_) => format!("ERR {error}"),
        Error::Unauthorized(_) => format!("NOAUTH {error}"),
        Error::Unavailable(text) if is_redis_error(text) => text.clone(),
        Error::Timeout(_) | Error::Unavailable(_) => format!("TRYAGAIN {error}"),
    };
    text.replace(['\r', '\n'], " ")
}

/// Whether a server's reason not to take writes is in Redis' form already.
fn is_redis_error(text: &str) -> bool {
    ["NOREPLICAS ", "MISCONF ", "THROTTLED "]
        .iter()
        .any(|code| text.starts_with(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(args: &[&[u8]]) -> Operation {
        let spec = commands::resolve(args).unwrap();
        operation(&Request {
            partition: 0,
            spec,
            args,
            intent: Intent::of(spec),
        })
    }

    #[test]
    fn plain_get_and_set_have_messages_of_their_own_and_all_else_is_a_command() {
        assert!(
            matches!(made_of(&[b"GET", b"k"]), Operation::Get(wire::Get { key }) if key == "k")
        );
        assert!(
            matches!(made_of(&[b"set", b"k", b"v"]), Operation::Set(set) if set.value == "v" && set.ttl == 0)
        );
        let Operation::Command(command) = made_of(&[b"SET", b"k", b"", b"NX"]) else {
            panic!("SET with options is a generic command");
        };
        assert_eq!(command.arguments, ["SET", "k", "", "NX"]);
    }

    #[test]
    fn errors_are_one_line_and_name_what_to_do() {
        let said = |error| text(&error);
        assert_eq!(said(Error::Rejected("WRONGTYPE no".into())), "WRONGTYPE no");
        assert_eq!(
            said(Error::OutcomeUnknown("lost\r\nit".into())),
            "ERR the outcome is unknown: lost  it"
        );
        assert!(said(Error::Unavailable("no primary".into())).starts_with("TRYAGAIN "));
        let unable = "NOREPLICAS 1 of 2";
        assert_eq!(said(Error::Unavailable(unable.into())), unable);
        assert!(said(Error::Unauthorized("no".into())).starts_with("NOAUTH "));
    }
}
