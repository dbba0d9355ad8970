//! The list of commands, in families. Flags and key positions are Redis 7's; a test compares them.

use super::{Category, CommandSpec, Flags, Function, Gather, Group};
use crate::keyspace::{Args, Outcome, Reading, Writing};
use crate::{counters, strings, strings_range};

use Category::{Connection, Hashes, Keyspace, Server, Strings};

const fn command(
    category: Category,
    name: &'static str,
    arity: i32,
    flags: Flags,
    function: Function,
) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        first_key: 0,
        last_key: 0,
        step: 0,
        group: Group::Session,
        subcommands: &[],
        category,
        function,
    }
}

/// A command that a session answers by itself.
const fn session(category: Category, name: &'static str, arity: i32) -> CommandSpec {
    command(category, name, arity, Flags::NONE, Function::Elsewhere)
}

/// A command that reads one key.
const fn read(
    category: Category,
    name: &'static str,
    arity: i32,
    function: fn(&mut Reading<'_>, &Args<'_>) -> Outcome,
) -> CommandSpec {
    command(
        category,
        name,
        arity,
        Flags::READONLY,
        Function::Read(function),
    )
    .keys(1, 1, 1)
}

/// A command that writes one key.
const fn write(
    category: Category,
    name: &'static str,
    arity: i32,
    function: fn(&mut Writing<'_>, &Args<'_>) -> Outcome,
) -> CommandSpec {
    command(
        category,
        name,
        arity,
        Flags::WRITE,
        Function::Write(function),
    )
    .keys(1, 1, 1)
}

impl CommandSpec {
    const fn with(mut self, flags: Flags) -> Self {
        self.flags = self.flags.and(flags);
        self
    }

    const fn fast(self) -> Self {
        self.with(Flags::FAST)
    }

    const fn denyoom(self) -> Self {
        self.with(Flags::DENYOOM)
    }

    const fn keys(mut self, first: i32, last: i32, step: i32) -> Self {
        self.first_key = first;
        self.last_key = last;
        self.step = step;
        self.group = Group::Keyed;
        self
    }

    /// Keys to the end, `step` apart, each of which may be in a partition of its own.
    const fn scattered(self, step: i32, gather: Gather) -> Self {
        let mut spec = self.keys(1, -1, step);
        spec.group = Group::Scatter(gather);
        spec
    }

    /// No keys: every partition is asked.
    const fn everywhere(self, gather: Gather) -> Self {
        let mut spec = self.keys(0, 0, 0);
        spec.group = Group::Partitions(gather);
        spec
    }

    /// Chooses from `subcommands`.
    const fn choosing(mut self, subcommands: &'static [CommandSpec]) -> Self {
        self.subcommands = subcommands;
        self
    }
}

const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE);
const BEFORE_AUTH: Flags = ALWAYS
    .and(Flags::NOSCRIPT)
    .and(Flags::NO_AUTH)
    .and(Flags::ALLOW_BUSY);

pub(super) static COMMANDS: [CommandSpec; 37] = [
    session(Connection, "ping", -1).fast(),
    session(Connection, "echo", 2).with(ALWAYS).fast(),
    session(Connection, "select", 2).with(ALWAYS).fast(),
    session(Connection, "hello", -1).with(BEFORE_AUTH).fast(),
    session(Connection, "auth", -2).with(BEFORE_AUTH).fast(),
    session(Connection, "quit", -1).with(BEFORE_AUTH).fast(),
    session(Connection, "reset", 1).with(BEFORE_AUTH).fast(),
    session(Connection, "readonly", 1).with(ALWAYS).fast(),
    session(Connection, "readwrite", 1).with(ALWAYS).fast(),
    session(Connection, "asking", 1).fast(),
    session(Connection, "command", -1).with(ALWAYS),
    session(Server, "client", -2),
    session(Server, "cluster", -2),
    session(Server, "config", -2),
    session(Server, "info", -1).with(ALWAYS),
    session(Server, "time", 1).with(ALWAYS).fast(),
    //
    read(Strings, "get", 2, strings::get).fast(),
    read(Strings, "mget", -2, strings::mget)
        .fast()
        .scattered(1, Gather::Positions),
    read(Strings, "strlen", 2, strings_range::strlen).fast(),
    read(Strings, "getrange", 4, strings_range::getrange),
    read(Strings, "substr", 4, strings_range::getrange),
    write(Strings, "set", -3, strings::set).denyoom(),
    write(Strings, "setnx", 3, strings::setnx).denyoom().fast(),
    write(Strings, "setex", 4, strings::setex).denyoom(),
    write(Strings, "psetex", 4, strings::psetex).denyoom(),
    write(Strings, "getset", 3, strings::getset)
        .denyoom()
        .fast(),
    write(Strings, "getdel", 2, strings::getdel).fast(),
    write(Strings, "getex", -2, strings::getex).fast(),
    write(Strings, "mset", -3, strings::mset)
        .denyoom()
        .scattered(2, Gather::AllOk),
    write(Strings, "msetnx", -3, strings::msetnx)
        .denyoom()
        .keys(1, -1, 2),
    write(Strings, "append", 3, strings_range::append)
        .denyoom()
        .fast(),
    write(Strings, "setrange", 4, strings_range::setrange).denyoom(),
    write(Strings, "incr", 2, counters::incr).denyoom().fast(),
    write(Strings, "decr", 2, counters::decr).denyoom().fast(),
    write(Strings, "incrby", 3, counters::incrby)
        .denyoom()
        .fast(),
    write(Strings, "decrby", 3, counters::decrby)
        .denyoom()
        .fast(),
    write(Strings, "incrbyfloat", 3, counters::incrbyfloat)
        .denyoom()
        .fast(),
];
