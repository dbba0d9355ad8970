//! COMMAND: which commands there are, and where their keys stand.

use super::{help, syntax_error, unknown_subcommand};
use commands::table::{Group, all, wrong_number_of_arguments};
use commands::{CommandSpec, Reply, lookup};

const HELP: [&str; 14] = [
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "LIST [FILTERBY (ACLCAT <cat>|PATTERN <pattern>|MODULE <name>)]",
    "    Return a list of all commands in this server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple commands.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
    "HELP",
    "    Print this help.",
];

/// `COMMAND [subcommand ...]`.
pub(super) fn command(args: &[&[u8]]) -> Reply {
    let Some(subcommand) = args.get(1) else {
        return Reply::Array(all().iter().map(CommandSpec::describe).collect());
    };
    match (&subcommand.to_ascii_lowercase()[..], &args[2..]) {
        (b"count", []) => Reply::Integer(all().len() as i64),
        (b"list", []) => Reply::Array(names(|_| true)),
        (b"list", [by, kind, filter]) if by.eq_ignore_ascii_case(b"FILTERBY") => {
            match &kind.to_ascii_lowercase()[..] {
                b"pattern" => Reply::Array(names(|name| {
                    commands::glob::matches(filter, name.as_bytes())
                })),
                b"module" => Reply::Array(Vec::new()),
                _ => syntax_error(),
            }
        }
        (b"list", _) => syntax_error(),
        (b"info", []) => Reply::Array(all().iter().map(CommandSpec::describe).collect()),
        (b"info", names) => Reply::Array(
            names
                .iter()
                .map(|name| lookup(name).map_or(Reply::Nil, CommandSpec::describe))
                .collect(),
        ),
        (b"docs", []) => Reply::Map(all().iter().map(documentation).collect()),
        (b"docs", names) => Reply::Map(
            names
                .iter()
                .filter_map(|name| lookup(name).map(documentation))
                .collect(),
        ),
        (b"getkeys", call) if call.len() > 1 => keys(call),
        (b"help", []) => help("COMMAND", &HELP),
        (name @ (b"count" | b"getkeys" | b"help"), _) => {
            wrong_number_of_arguments(&format!("command|{}", String::from_utf8_lossy(name)))
        }
        _ => unknown_subcommand("COMMAND", subcommand),
    }
}

fn names(wanted: impl Fn(&str) -> bool) -> Vec<Reply> {
    all()
        .iter()
        .filter(|spec| wanted(spec.name))
        .map(|spec| Reply::bulk(spec.name.as_bytes()))
        .collect()
}

/// As much as there is to tell without a manual: to which group the command belongs, and whether it has subcommands.
fn documentation(spec: &CommandSpec) -> (Reply, Reply) {
    let text = |text: &str| Reply::bulk(text.as_bytes());
    let group = match spec.group {
        Group::Session => "connection",
        _ if spec.name.starts_with('h') => "hash",
        _ => "generic",
    };
    (
        text(spec.name),
        Reply::Map(vec![
            (text("summary"), text("See Redis' documentation.")),
            (text("since"), text("1.0.0")),
            (text("group"), text(group)),
        ]),
    )
}

fn keys(call: &[&[u8]]) -> Reply {
    if lookup(call[0]).is_none() {
        return Reply::error("ERR Invalid command specified");
    }
    let Ok(spec) = commands::resolve(call) else {
        return Reply::error("ERR Invalid number of arguments specified for command");
    };
    let keys: Vec<Reply> = spec
        .key_positions(call.len())
        .filter_map(|position| call.get(position).map(|key| Reply::bulk(key)))
        .collect();
    if keys.is_empty() {
        return Reply::error("ERR The command has no key arguments");
    }
    Reply::Array(keys)
}
