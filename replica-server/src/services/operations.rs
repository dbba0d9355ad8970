//! Typed operations are Redis commands in another dress: one evaluation serves both doors.

use bytes::Bytes;
use commands::{CommandSpec, Reply};
use proto::data::{self, request::Operation, response};
use smallvec::SmallVec;

/// Arguments made for an operation, its own bytes among them.
pub(crate) type Arguments = SmallVec<[Bytes; 8]>;

/// What a response is made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    Resp,
    /// `Value`: found or not.
    Value,
    /// `Count`: a number, or 1 for OK.
    Count,
    Values,
    Integer,
    Page,
}

/// The command that does what `operation` says. An error is for the user, in Redis' form.
pub(crate) fn command(
    operation: Operation,
) -> Result<(&'static CommandSpec, Arguments, Shape), Reply> {
    let ordered_scan = matches!(operation, Operation::HashScan(_));
    let (args, shape) = arguments(operation)?;
    if ordered_scan {
        return Ok((&commands::table::HASH_RANGE, args, shape));
    }
    let slices: SmallVec<[&[u8]; 8]> = args.iter().map(|arg| &arg[..]).collect();
    let spec = commands::resolve(&slices)?;
    drop(slices);
    if spec.group == commands::table::Group::Session {
        return Err(Reply::error(
            "ERR this command is the gateway's own; it has no meaning at a partition",
        ));
    }
    Ok((spec, args, shape))
}

fn arguments(operation: Operation) -> Result<(Arguments, Shape), Reply> {
    let word = Bytes::from_static;
    let mut args = Arguments::new();
    let shape = match operation {
        Operation::Command(command) => {
            if command.arguments.is_empty() {
                return Err(Reply::error("ERR empty command"));
            }
            args.extend(command.arguments);
            Shape::Resp
        }
        Operation::Get(get) => {
            args.extend([word(b"get"), get.key]);
            Shape::Value
        }
        Operation::Set(set) => {
            args.extend([word(b"set"), set.key, set.value]);
            if set.ttl > 0 {
                args.extend([word(b"px"), number(set.ttl)]);
            }
            Shape::Count
        }
        Operation::Delete(delete) => {
            args.extend([word(b"del"), delete.key]);
            Shape::Count
        }
        Operation::HashSet(set) if set.ttl == 0 => {
            args.extend([word(b"hset"), set.hash_key]);
            for entry in set.entries {
                args.extend([entry.sort_key, entry.value]);
            }
            Shape::Count
        }
        Operation::HashSet(set) => {
            let count = number(set.entries.len() as u64);
            args.extend([
                word(b"hsetex"),
                set.hash_key,
                word(b"px"),
                number(set.ttl),
                word(b"fields"),
                count,
            ]);
            for entry in set.entries {
                args.extend([entry.sort_key, entry.value]);
            }
            Shape::Count
        }
        Operation::HashGet(get) => {
            args.extend([word(b"hmget"), get.hash_key]);
            args.extend(get.sort_keys);
            Shape::Values
        }
        Operation::HashDelete(delete) => {
            args.extend([word(b"hdel"), delete.hash_key]);
            args.extend(delete.sort_keys);
            Shape::Count
        }
        Operation::HashIncrement(increment) => {
            let by = Bytes::from(increment.by.to_string());
            args.extend([word(b"hincrby"), increment.hash_key, increment.sort_key, by]);
            Shape::Integer
        }
        Operation::HashScan(scan) => {
            args.extend([word(b"hrange"), scan.hash_key, scan.from]);
            args.push(if scan.has_to { scan.to } else { Bytes::new() });
            args.push(word(if scan.has_to { b"1" } else { b"0" }));
            args.push(word(if scan.reverse { b"1" } else { b"0" }));
            args.push(number(u64::from(scan.limit)));
            Shape::Page
        }
    };
    Ok((args, shape))
}

fn number(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}

/// The reply as the operation's response has it.
pub(crate) fn result(shape: Shape, reply: Reply) -> response::Result {
    if shape == Shape::Resp {
        return response::Result::Resp(resp_gateway::encode_resp3(&reply));
    }
    if let Reply::Error(text) = &reply {
        return rejected(&String::from_utf8_lossy(text));
    }
    match (shape, reply) {
        (Shape::Value, Reply::Bulk(value)) => {
            response::Result::Value(data::Value { found: true, value })
        }
        (Shape::Value, Reply::Nil) => response::Result::Value(data::Value::default()),
        (Shape::Count, Reply::Ok) => response::Result::Count(1),
        (Shape::Count, Reply::Integer(count)) => response::Result::Count(count as u64),
        (Shape::Integer, Reply::Integer(integer)) => response::Result::Integer(integer),
        (Shape::Values, Reply::Array(values)) => response::Result::Values(data::Values {
            values: values.into_iter().map(value).collect(),
        }),
        (Shape::Page, Reply::Array(parts)) => page(parts),
        (shape, reply) => {
            tracing::error!(
                ?shape,
                ?reply,
                "a command's reply does not fit the operation it was made from"
            );
            rejected("ERR internal: the reply does not fit the operation")
        }
    }
}

pub(crate) fn rejected(message: &str) -> response::Result {
    response::Result::Refusal(data::Refusal {
        kind: data::refusal::Kind::Rejected.into(),
        message: message.into(),
        ..data::Refusal::default()
    })
}

fn value(reply: Reply) -> data::Value {
    match reply {
        Reply::Bulk(value) => data::Value { found: true, value },
        _ => data::Value::default(),
    }
}

/// `[more, field, value, field, value ...]`.
fn page(parts: Vec<Reply>) -> response::Result {
    let mut parts = parts.into_iter();
    let more = matches!(parts.next(), Some(Reply::Integer(1)));
    let mut entries = Vec::new();
    while let (Some(Reply::Bulk(sort_key)), Some(Reply::Bulk(value))) = (parts.next(), parts.next())
    {
        entries.push(data::Entry { sort_key, value });
    }
    response::Result::Page(data::Page { entries, more })
}
