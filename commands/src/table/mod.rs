//! The command table: what every command is called, what it takes, where its keys are and which function evaluates it.
//!
//! `list` has the commands, `describe` their description for COMMAND. Sessions, routing and merging are the gateway's; the table
//! only says by [`Group`] what there is to do.

mod describe;
mod list;

pub use list::HASH_RANGE;

use crate::arguments::printable;
use crate::keyspace::{Args, Outcome, Reading, Writing};
use crate::reply::{Refusal, Reply};

/// One command.
#[derive(Debug)]
pub struct CommandSpec {
    /// In lower case.
    pub name: &'static str,
    /// How many arguments it takes, its name included; at least `-arity` if negative.
    pub arity: i32,
    /// What kind of command it is.
    pub flags: Flags,
    /// Where its first key is; 0 if it has none.
    pub first_key: i32,
    /// Where its last key is, from the end if negative.
    pub last_key: i32,
    /// How far apart keys are.
    pub step: i32,
    /// Who executes it.
    pub group: Group,
    /// If it is a container: the commands that its second argument chooses from.
    pub subcommands: &'static [CommandSpec],
    pub(crate) category: Category,
    pub(crate) function: Function,
}

/// Who executes a command, and over how many partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// The gateway, without any partition.
    Session,
    /// The partition of its keys, which are all in one slot.
    Keyed,
    /// The partitions of its keys, each with its own; the gateway gathers the replies.
    Scatter(Gather),
    /// Every partition of the table; the gateway gathers the replies.
    Partitions(Gather),
}

/// How replies of several partitions become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gather {
    /// Integers are added.
    Sum,
    /// OK if all are.
    AllOk,
    /// Arrays are put together in the order of the keys.
    Positions,
    /// Arrays are joined.
    Concatenate,
    /// Any one that is not nil.
    AnyOne,
    /// Partitions are gone through one after the other, by cursor.
    Cursor,
}

/// Properties of a command, as COMMAND names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(u16);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// May change data.
    pub const WRITE: Self = Self(1);
    /// Does not change data.
    pub const READONLY: Self = Self(1 << 1);
    /// May make data larger.
    pub const DENYOOM: Self = Self(1 << 2);
    /// Not for scripts.
    pub const NOSCRIPT: Self = Self(1 << 3);
    /// Allowed while loading.
    pub const LOADING: Self = Self(1 << 4);
    /// Allowed on stale data.
    pub const STALE: Self = Self(1 << 5);
    /// Constant or logarithmic time.
    pub const FAST: Self = Self(1 << 6);
    /// Allowed before AUTH.
    pub const NO_AUTH: Self = Self(1 << 7);
    /// Allowed while a script runs.
    pub const ALLOW_BUSY: Self = Self(1 << 8);

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As COMMAND prints them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Flags, &str); 9] = [
            (Flags::WRITE, "write"),
            (Flags::READONLY, "readonly"),
            (Flags::DENYOOM, "denyoom"),
            (Flags::NOSCRIPT, "noscript"),
            (Flags::LOADING, "loading"),
            (Flags::STALE, "stale"),
            (Flags::FAST, "fast"),
            (Flags::NO_AUTH, "no_auth"),
            (Flags::ALLOW_BUSY, "allow_busy"),
        ];
        NAMES
            .into_iter()
            .filter(move |&(flag, _)| self.contains(flag))
            .map(|(_, name)| name)
    }
}

/// What a command is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Category {
    Keyspace,
    Strings,
    Hashes,
    Connection,
    Server,
}

/// What evaluates a command.
#[derive(Clone, Copy)]
pub(crate) enum Function {
    Read(fn(&mut Reading<'_>, &Args<'_>) -> Outcome),
    Write(fn(&mut Writing<'_>, &Args<'_>) -> Outcome),
    /// Nothing here: the gateway, or a function of its own in `scan`.
    Elsewhere,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read(_) => "Read",
            Self::Write(_) => "Write",
            Self::Elsewhere => "Elsewhere",
        })
    }
}

impl CommandSpec {
    /// Whether it may change data.
    pub fn is_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }

    /// Where the keys are among `count` arguments.
    pub fn key_positions(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.first_key as usize;
        let end = if self.first_key == 0 {
            first
        } else if self.last_key < 0 {
            (count + 1).saturating_sub(self.last_key.unsigned_abs() as usize)
        } else {
            count.min(self.last_key as usize + 1)
        };
        (first..end).step_by(self.step.max(1) as usize)
    }

    fn accepts(&self, count: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 {
            count >= wanted
        } else {
            count == wanted
        }
    }
}

/// All commands.
pub fn all() -> &'static [CommandSpec] {
    &list::COMMANDS
}

/// The command of that name, in whatever case.
pub fn lookup(name: &[u8]) -> Option<&'static CommandSpec> {
    let mut at = hash(name);
    loop {
        let spec = list::COMMANDS.get(usize::from(INDEX[at]))?;
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(spec);
        }
        at = (at + 1) % INDEX_SIZE;
    }
}

/// The command that `args` name, if they are as many as it takes; else what Redis answers.
pub fn resolve(args: &Args<'_>) -> Result<&'static CommandSpec, Reply> {
    let Some(spec) = args.first().and_then(|name| lookup(name)) else {
        return Err(unknown_command(args));
    };
    if !spec.accepts(args.len()) {
        return Err(wrong_number_of_arguments(spec.name));
    }
    if spec.subcommands.is_empty() {
        return Ok(spec);
    }
    let name = args.get(1).copied().unwrap_or_default();
    let Some(subcommand) = spec
        .subcommands
        .iter()
        .find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
    else {
        let shown = printable(name);
        let container = spec.name.to_ascii_uppercase();
        return Err(Reply::error(format!(
            "ERR unknown subcommand '{shown}'. Try {container} HELP."
        )));
    };
    if !subcommand.accepts(args.len()) {
        let name = format!("{}|{}", spec.name, subcommand.name);
        return Err(wrong_number_of_arguments(&name));
    }
    Ok(subcommand)
}

/// What Redis answers to a wrong number of arguments.
pub fn wrong_number_of_arguments(name: &str) -> Reply {
    Refusal::arity(name).into()
}

fn unknown_command(args: &Args<'_>) -> Reply {
    /// Redis shows about so much of the arguments.
    const SHOWN: usize = 128;
    let name = printable(args.first().copied().unwrap_or_default());
    let mut text = format!("ERR unknown command '{name}', with args beginning with: ");
    let mut room = SHOWN;
    for arg in args.iter().skip(1) {
        if room == 0 {
            break;
        }
        let shown = printable(&arg[..arg.len().min(room)]);
        room = room.saturating_sub(shown.len() + 3);
        text.extend(["'", &shown, "' "]);
    }
    Reply::error(text)
}

const INDEX_SIZE: usize = 512;
const NOBODY: u8 = u8::MAX;
/// Open addressing over the names' hashes.
static INDEX: [u8; INDEX_SIZE] = index();

/// FNV-1a of the lower-case name, folded.
const fn hash(name: &[u8]) -> usize {
    let mut hash = 0x811C_9DC5u32;
    let mut at = 0;
    while at < name.len() && at < 24 {
        hash = (hash ^ (name[at] | 0x20) as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 15)) as usize % INDEX_SIZE
}

const fn index() -> [u8; INDEX_SIZE] {
    let mut index = [NOBODY; INDEX_SIZE];
    let commands = &list::COMMANDS;
    assert!(commands.len() < NOBODY as usize);
    let mut number = 0;
    while number < commands.len() {
        let mut at = hash(commands[number].name.as_bytes());
        while index[at] != NOBODY {
            at = (at + 1) % INDEX_SIZE;
        }
        index[at] = number as u8;
        number += 1;
    }
    index
}
