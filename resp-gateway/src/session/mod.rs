//! What a connection is to the server: its table, its protocol, its name; and the commands that concern nothing else.
//!
//! `auth` (AUTH, HELLO, opening a table), `client` (CLIENT), `catalogue` (COMMAND), `config`, `info`, `slow_log`; what concerns data
//! goes to `route`, and from here to `cluster` what only tells of it.

mod auth;
mod catalogue;
mod client;
mod cluster;
mod config;
mod info;
mod slow_log;

use crate::backend::{Backend, Intent, OpenTableError};
use crate::clients::Client;
use crate::codec::Protocol;
use crate::outbox::Style;
use crate::route;
use crate::server::{Gateway, Mode};
use crate::sink::{Answer, Sink};
use auth::Opening;
use commands::table::{Flags, Group};
use commands::{CommandSpec, Reply};
use std::rc::Rc;
use std::task::Context;
use std::time::{SystemTime, UNIX_EPOCH};

/// Which Redis clients may take this for.
const REDIS_VERSION: &str = "7.0.15";

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It was started; the reply is there or will come.
    Done,
    /// It cannot be started now: it is to be given again when the table is open, or the commands before it are answered.
    Wait,
    /// As done, and the last.
    Close,
}

/// What a command of the session comes to.
enum Own {
    Reply(Reply),
    /// The reply, and the end.
    Last(Reply),
    /// No reply at all.
    Silent,
    /// The commands before it must be answered first.
    Wait,
    /// A table is being opened; the reply comes then.
    Opening,
}

/// Of which table the connection is.
enum Table<T> {
    Open(T),
    /// It wants a password.
    Locked,
    /// Not known yet, or could not be told: to be asked for when it is needed.
    Unknown,
    /// Asking on behalf of the command that now waits has failed.
    Failed(OpenTableError),
}

/// `CLIENT REPLY`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replies {
    On,
    Off,
    /// The next command's is left out.
    Skip,
}

/// A connection's session.
pub(crate) struct Session<B: Backend> {
    table: Table<B::Table>,
    opening: Option<Opening<B>>,
    replies: Replies,
    /// `READONLY` was said.
    stale_reads: bool,
}

impl<B: Backend> Session<B> {
    /// A new one, which begins by asking for the default table.
    pub(crate) fn new(gateway: &Rc<Gateway<B>>) -> Self {
        Self {
            table: Table::Unknown,
            opening: Some(Opening::of_default(gateway)),
            replies: Replies::On,
            stale_reads: false,
        }
    }

    /// Whether the connection's table is open, and with it the limits before AUTH lifted.
    pub(crate) fn has_table(&self) -> bool {
        matches!(self.table, Table::Open(_))
    }

    pub(crate) fn is_opening(&self) -> bool {
        self.opening.is_some()
    }

    /// Whether nothing is started until a table is open, or cannot be.
    pub(crate) fn awaits_table(&self) -> bool {
        self.opening.as_ref().is_some_and(|opening| opening.wanted)
    }

    /// Looks whether the table is open by now. Tells whether commands may be started.
    pub(crate) fn poll_opening(&mut self, client: &Client, context: &mut Context<'_>) -> bool {
        auth::poll(self, client, context)
    }

    /// The next command is only acceptable with a table: whether it is worth waiting for one.
    pub(crate) fn ask_for_table(&mut self, gateway: &Rc<Gateway<B>>) -> bool {
        match self.table {
            Table::Open(_) | Table::Locked | Table::Failed(_) => false,
            Table::Unknown => {
                self.opening
                    .get_or_insert_with(|| Opening::of_default(gateway))
                    .wanted = true;
                true
            }
        }
    }

    /// Starts the command `args`, number `sequence` of the connection.
    pub(crate) fn run(
        &mut self,
        gateway: &Rc<Gateway<B>>,
        client: &Client,
        sequence: u64,
        args: &[&[u8]],
    ) -> Step {
        let spec = match commands::resolve(args) {
            Ok(spec) => spec,
            Err(reply) => {
                self.answer(client, sequence, reply);
                return Step::Done;
            }
        };
        client.last_command.set(spec.name);
        if spec.group == Group::Session {
            return self.run_own(gateway, client, sequence, spec, args);
        }
        if !self.has_table() {
            return self.run_without_table(gateway, client, sequence);
        }
        let sink = self.sink(client, sequence, spec);
        if let Table::Open(table) = &self.table {
            let intent = match Intent::of(spec) {
                Intent::Read if self.stale_reads => Intent::StaleRead,
                intent => intent,
            };
            route::start(gateway, table, spec, args, intent, sink);
        }
        Step::Done
    }

    fn run_without_table(
        &mut self,
        gateway: &Rc<Gateway<B>>,
        client: &Client,
        sequence: u64,
    ) -> Step {
        if self.ask_for_table(gateway) {
            return Step::Wait;
        }
        let reply = match std::mem::replace(&mut self.table, Table::Unknown) {
            Table::Failed(error) => auth::no_table(&gateway.options.default_table, &error),
            other => {
                self.table = other;
                auth::locked()
            }
        };
        self.answer(client, sequence, reply);
        Step::Done
    }

    fn run_own(
        &mut self,
        gateway: &Rc<Gateway<B>>,
        client: &Client,
        sequence: u64,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Step {
        if matches!(self.table, Table::Locked) && !spec.flags.contains(Flags::NO_AUTH) {
            // HELLO says so itself, in more words.
            self.answer(client, sequence, auth::locked());
            return Step::Done;
        }
        let first = client.outbox.is_first(sequence);
        let name = commands::lookup(args[0]).map_or("", |container| container.name);
        let own = match name {
            "ping" => ping(args),
            "echo" => Own::Reply(Reply::bulk(args[1])),
            "select" => Own::Reply(select(args[1], gateway.options.mode)),
            "time" => Own::Reply(time()),
            "quit" => Own::Last(Reply::Ok),
            "readonly" => self.read_stale(true),
            "readwrite" => self.read_stale(false),
            "asking" => Own::Reply(Reply::Ok),
            "auth" | "hello" | "reset" if !first => Own::Wait,
            "auth" => auth::auth(self, gateway, sequence, args),
            "hello" => auth::hello(self, gateway, client, sequence, args),
            "reset" => self.reset(gateway, client),
            "client" => client::client(self, gateway, client, first, args),
            "command" => Own::Reply(catalogue::command(args)),
            "config" => Own::Reply(config::config(gateway, args)),
            "object" => Own::Reply(commands::object::help()),
            "info" => Own::Reply(info::info(gateway, args)),
            "slowlog" => {
                let Table::Open(table) = &self.table else {
                    return self.run_without_table(gateway, client, sequence);
                };
                Own::Reply(slow_log::slow_log(gateway, table, args))
            }
            "cluster" => {
                if !self.has_table() && cluster::needs_table(args) {
                    return self.run_without_table(gateway, client, sequence);
                }
                if cluster::needs_partition(args)
                    && let Some(partition) = self.slot_partition(gateway, args)
                {
                    let sink = self.sink(client, sequence, spec);
                    if let Table::Open(table) = &self.table {
                        route::start_at(gateway, table, partition, spec, args, Intent::Read, sink);
                    }
                    return Step::Done;
                }
                let table = match &self.table {
                    Table::Open(table) => Some(table),
                    _ => None,
                };
                Own::Reply(cluster::cluster(gateway, table, args))
            }
            _ => Own::Reply(Reply::error(format!(
                "ERR '{}' is not served here",
                spec.name
            ))),
        };
        match own {
            Own::Reply(reply) => self.answer(client, sequence, reply),
            Own::Last(reply) => {
                self.answer(client, sequence, reply);
                return Step::Close;
            }
            Own::Silent => {
                let style = Style {
                    muted: true,
                    flat_pairs: false,
                };
                client
                    .outbox
                    .answer(sequence, Answer::Reply(Reply::Ok), style);
            }
            Own::Wait => return Step::Wait,
            Own::Opening => {}
        }
        Step::Done
    }

    fn slot_partition(&self, gateway: &Gateway<B>, args: &[&[u8]]) -> Option<u32> {
        let Table::Open(table) = &self.table else {
            return None;
        };
        let slot = cluster::slot(args.get(2)?)?;
        Some(slot.partition(gateway.backend.partitions(table)))
    }

    fn read_stale(&mut self, stale: bool) -> Own {
        self.stale_reads = stale;
        Own::Reply(Reply::Ok)
    }

    fn reset(&mut self, gateway: &Rc<Gateway<B>>, client: &Client) -> Own {
        *self = Self::new(gateway);
        client.outbox.speak(Protocol::Resp2);
        client.name.borrow_mut().clear();
        client
            .table
            .borrow_mut()
            .clone_from(&gateway.options.default_table);
        Own::Reply(Reply::Simple("RESET"))
    }

    /// Whether the reply of the command that is being started is to be left out.
    fn muted(&mut self) -> bool {
        match self.replies {
            Replies::On => false,
            Replies::Off => true,
            Replies::Skip => {
                self.replies = Replies::On;
                true
            }
        }
    }

    fn answer(&mut self, client: &Client, sequence: u64, reply: Reply) {
        let style = Style {
            muted: self.muted(),
            flat_pairs: false,
        };
        client.outbox.answer(sequence, Answer::Reply(reply), style);
    }

    fn sink(&mut self, client: &Client, sequence: u64, spec: &CommandSpec) -> Sink {
        let style = Style {
            muted: self.muted(),
            flat_pairs: spec.name == "hrandfield",
        };
        Sink::of_connection(Rc::clone(&client.outbox), sequence, style)
    }
}

fn ping(args: &[&[u8]]) -> Own {
    Own::Reply(match args {
        [_] => Reply::Simple("PONG"),
        [_, text] => Reply::bulk(text),
        _ => commands::table::wrong_number_of_arguments("ping"),
    })
}

/// There is one database: a table.
fn select(index: &[u8], mode: Mode) -> Reply {
    match (integer(index), mode) {
        (None, _) => not_an_integer(),
        (Some(0), _) => Reply::Ok,
        (Some(_), Mode::Cluster) => Reply::error("ERR SELECT is not allowed in cluster mode"),
        (Some(_), Mode::Forward) => Reply::error("ERR DB index is out of range"),
    }
}

fn time() -> Reply {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Reply::Array(vec![
        Reply::digits(now.as_secs() as i64),
        Reply::digits(i64::from(now.subsec_micros())),
    ])
}

fn integer(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn not_an_integer() -> Reply {
    Reply::error("ERR value is not an integer or out of range")
}

fn syntax_error() -> Reply {
    Reply::error("ERR syntax error")
}

/// The bytes as they may stand in an error: a bounded piece of text.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(128)]).into_owned()
}

fn unknown_subcommand(container: &str, name: &[u8]) -> Reply {
    Reply::error(format!(
        "ERR unknown subcommand '{}'. Try {container} HELP.",
        shown(name)
    ))
}

/// A container's HELP.
fn help(container: &str, lines: &[&'static str]) -> Reply {
    let mut replies = vec![Reply::Bulk(
        format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:").into(),
    )];
    replies.extend(lines.iter().map(|line| Reply::Simple(line)));
    Reply::Array(replies)
}
