//! SLOWLOG: the slow commands that this server remembers, of the connection's own table: what others asked of theirs is not its business.

use super::{help, integer, not_an_integer, unknown_subcommand};
use crate::backend::{Backend, SlowCommand};
use crate::server::Gateway;
use commands::Reply;
use commands::table::wrong_number_of_arguments;

const HELP: [&str; 10] = [
    "GET [<count>]",
    "    Return the latest slow commands of this server on this table (10 if no count is given, -1: all), each with",
    "    its id, time (seconds since 1970), duration (microseconds), arguments, and the client's address.",
    "    The duration includes waiting for the commit, a lease, or rows from the disk.",
    "LEN",
    "    Return how many there are.",
    "RESET",
    "    Forget them.",
    "HELP",
    "    Print this help.",
];

/// Without a count.
const USUAL: usize = 10;

/// `SLOWLOG subcommand ...`.
pub(super) fn slow_log<B: Backend>(
    gateway: &Gateway<B>,
    table: &B::Table,
    args: &[&[u8]],
) -> Reply {
    let latest = |most| {
        let commands = gateway.backend.slow_commands(table, most);
        commands.ok_or_else(|| {
            Reply::error(
                "ERR nothing is evaluated here: each replica server has a slow log of its own",
            )
        })
    };
    let told = match (&args[1].to_ascii_lowercase()[..], &args[2..]) {
        (b"get", []) => latest(USUAL).map(all),
        (b"get", [count]) => match integer(count) {
            Some(-1) => latest(usize::MAX).map(all),
            Some(count @ 0..) => latest(usize::try_from(count).unwrap_or(usize::MAX)).map(all),
            Some(_) => Err(Reply::error(
                "ERR count should be greater than or equal to -1",
            )),
            None => Err(not_an_integer()),
        },
        (b"len", []) => latest(usize::MAX).map(|all| Reply::Integer(all.len() as i64)),
        (b"reset", []) => latest(0).map(|_| {
            gateway.backend.forget_slow_commands(table);
            Reply::Ok
        }),
        (b"help", []) => Ok(help("SLOWLOG", &HELP)),
        (name @ (b"get" | b"len" | b"reset" | b"help"), _) => Err(wrong_number_of_arguments(
            &format!("slowlog|{}", String::from_utf8_lossy(name)),
        )),
        _ => Err(unknown_subcommand("SLOWLOG", args[1])),
    };
    told.unwrap_or_else(|refused| refused)
}

fn all(commands: Vec<SlowCommand>) -> Reply {
    Reply::Array(commands.into_iter().map(one).collect())
}

/// As Redis has them. The connection's name is not known where commands are evaluated.
fn one(command: SlowCommand) -> Reply {
    let client = command
        .client
        .map_or_else(String::new, |client| client.to_string());
    Reply::Array(vec![
        Reply::Integer(command.id as i64),
        Reply::Integer((command.at.0 / 1000) as i64),
        Reply::Integer(command.took.as_micros() as i64),
        Reply::Array(command.args.into_iter().map(Reply::Bulk).collect()),
        Reply::bulk(client.as_bytes()),
        Reply::bulk(b""),
    ])
}
