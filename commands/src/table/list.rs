//! The list of commands, in families. Flags and key positions are Redis 7's; a test compares them.

use super::{Category, CommandSpec, Flags, Function, Gather, Group};
use crate::hash::{expiry, numbers, random, reads, with_expiry, writes};
use crate::keyspace::{Args, Outcome, Reading, Writing};
use crate::{counters, expire, keys, object, rename, scan, strings, strings_range};

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

/// A command that goes on from a cursor: the server turns that into a position for the functions in `scan`.
const fn positioned(category: Category, name: &'static str, arity: i32) -> CommandSpec {
    command(category, name, arity, Flags::READONLY, Function::Elsewhere)
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

pub(super) static COMMANDS: [CommandSpec; 90] = [
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
    session(Server, "slowlog", -2),
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
    //
    write(Keyspace, "del", -2, keys::del).scattered(1, Gather::Sum),
    write(Keyspace, "unlink", -2, keys::del)
        .fast()
        .scattered(1, Gather::Sum),
    read(Keyspace, "exists", -2, keys::exists)
        .fast()
        .scattered(1, Gather::Sum),
    read(Keyspace, "touch", -2, keys::exists)
        .fast()
        .scattered(1, Gather::Sum),
    read(Keyspace, "type", 2, keys::type_of).fast(),
    write(Keyspace, "expire", -3, expire::expire).fast(),
    write(Keyspace, "pexpire", -3, expire::pexpire).fast(),
    write(Keyspace, "expireat", -3, expire::expireat).fast(),
    write(Keyspace, "pexpireat", -3, expire::pexpireat).fast(),
    write(Keyspace, "persist", 2, expire::persist).fast(),
    read(Keyspace, "ttl", 2, expire::ttl).fast(),
    read(Keyspace, "pttl", 2, expire::pttl).fast(),
    read(Keyspace, "expiretime", 2, expire::expiretime).fast(),
    read(Keyspace, "pexpiretime", 2, expire::pexpiretime).fast(),
    write(Keyspace, "rename", 3, rename::rename).keys(1, 2, 1),
    write(Keyspace, "renamenx", 3, rename::renamenx)
        .fast()
        .keys(1, 2, 1),
    write(Keyspace, "copy", -3, rename::copy)
        .denyoom()
        .keys(1, 2, 1),
    read(Keyspace, "keys", 2, scan::keys).everywhere(Gather::Concatenate),
    read(Keyspace, "dbsize", 1, scan::dbsize)
        .fast()
        .everywhere(Gather::Sum),
    read(Keyspace, "randomkey", 1, scan::randomkey).everywhere(Gather::AnyOne),
    positioned(Keyspace, "scan", -2).everywhere(Gather::Cursor),
    write(Keyspace, "flushdb", -1, keys::flush).everywhere(Gather::AllOk),
    write(Keyspace, "flushall", -1, keys::flush).everywhere(Gather::AllOk),
    session(Keyspace, "object", -2).choosing(&OBJECT),
    //
    read(Hashes, "hget", 3, reads::hget).fast(),
    read(Hashes, "hmget", -3, reads::hmget).fast(),
    read(Hashes, "hgetall", 2, reads::hgetall),
    read(Hashes, "hkeys", 2, reads::hkeys),
    read(Hashes, "hvals", 2, reads::hvals),
    read(Hashes, "hlen", 2, reads::hlen).fast(),
    read(Hashes, "hexists", 3, reads::hexists).fast(),
    read(Hashes, "hstrlen", 3, reads::hstrlen).fast(),
    read(Hashes, "hrandfield", -2, random::hrandfield),
    positioned(Hashes, "hscan", -3).keys(1, 1, 1),
    write(Hashes, "hset", -4, writes::hset).denyoom().fast(),
    write(Hashes, "hmset", -4, writes::hmset).denyoom().fast(),
    write(Hashes, "hsetnx", 4, writes::hsetnx).denyoom().fast(),
    write(Hashes, "hdel", -3, writes::hdel).fast(),
    write(Hashes, "hincrby", 4, numbers::hincrby)
        .denyoom()
        .fast(),
    write(Hashes, "hincrbyfloat", 4, numbers::hincrbyfloat)
        .denyoom()
        .fast(),
    write(Hashes, "hexpire", -6, expiry::hexpire)
        .denyoom()
        .fast(),
    write(Hashes, "hpexpire", -6, expiry::hpexpire)
        .denyoom()
        .fast(),
    write(Hashes, "hexpireat", -6, expiry::hexpireat)
        .denyoom()
        .fast(),
    write(Hashes, "hpexpireat", -6, expiry::hpexpireat)
        .denyoom()
        .fast(),
    write(Hashes, "hpersist", -5, expiry::hpersist).fast(),
    read(Hashes, "httl", -5, expiry::httl).fast(),
    read(Hashes, "hpttl", -5, expiry::hpttl).fast(),
    read(Hashes, "hexpiretime", -5, expiry::hexpiretime).fast(),
    read(Hashes, "hpexpiretime", -5, expiry::hpexpiretime).fast(),
    write(Hashes, "hgetdel", -5, with_expiry::hgetdel).fast(),
    write(Hashes, "hgetex", -5, with_expiry::hgetex).fast(),
    write(Hashes, "hsetex", -6, with_expiry::hsetex)
        .denyoom()
        .fast(),
];

static OBJECT: [CommandSpec; 5] = [
    read(Keyspace, "encoding", 3, object::encoding).keys(2, 2, 1),
    read(Keyspace, "refcount", 3, object::refcount).keys(2, 2, 1),
    read(Keyspace, "idletime", 3, object::idletime).keys(2, 2, 1),
    read(Keyspace, "freq", 3, object::freq).keys(2, 2, 1),
    session(Keyspace, "help", 2).with(ALWAYS),
];

/// The SDK's ordered scan as a command, which no Redis client can name: HRANGE key from to has-to reverse limit.
pub static HASH_RANGE: CommandSpec = positioned(Hashes, "hrange", 7).keys(1, 1, 1);
