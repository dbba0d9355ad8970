//! OBJECT: how a value would be held in Redis, for clients that look. Nothing here is held that way; the answers are derived.

use crate::arguments::parse_integer;
use crate::keyspace::{Args, Outcome, Reading};
use crate::reply::{Refusal, Reply};
use crate::rows::Entry;
use std::ops::ControlFlow;
use types::Slot;

/// Up to here Redis keeps a string together with its header.
const LONGEST_EMBEDDED: usize = 44;
/// Up to here Redis keeps a hash in a list: `hash-max-listpack-entries`, `hash-max-listpack-value`.
const MOST_LISTED: u64 = 512;
const LONGEST_LISTED: usize = 64;

/// OBJECT ENCODING key: the name that Redis would give; nil if absent. O(1) for strings and large hashes.
pub(crate) fn encoding(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let name = match keys.load(args[2])? {
        None => return Ok(Reply::Nil),
        Some(Entry::String { value, .. }) => {
            if parse_integer(&value).is_some() {
                "int"
            } else if value.len() <= LONGEST_EMBEDDED {
                "embstr"
            } else {
                "raw"
            }
        }
        Some(Entry::Hash(hash)) => {
            let mut listed = hash.size <= MOST_LISTED;
            if listed {
                keys.each_field(Slot::of(args[2]), hash.id, &mut |field| {
                    listed = field.name.len().max(field.value.len()) <= LONGEST_LISTED;
                    if listed {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                })?;
            }
            if listed { "listpack" } else { "hashtable" }
        }
    };
    Ok(Reply::bulk(name.as_bytes()))
}

/// OBJECT REFCOUNT key: 1; nil if absent. O(1).
pub(crate) fn refcount(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    Ok(keys
        .load(args[2])?
        .map_or(Reply::Nil, |_| Reply::Integer(1)))
}

/// OBJECT IDLETIME key: 0, since nothing is evicted and no access is noted; nil if absent. O(1).
pub(crate) fn idletime(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    Ok(keys
        .load(args[2])?
        .map_or(Reply::Nil, |_| Reply::Integer(0)))
}

/// OBJECT FREQ key: refused as by a Redis without an LFU policy; nil if absent. O(1).
pub(crate) fn freq(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    if keys.load(args[2])?.is_none() {
        return Ok(Reply::Nil);
    }
    let text = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between \
                policies at runtime LRU and LFU data will take some time to adjust.";
    Err(Refusal::new(text).into())
}

/// OBJECT HELP: the lines that Redis prints.
pub fn help() -> Reply {
    const LINES: [&str; 11] = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
    ];
    const REST: [&str; 4] = [
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        "HELP",
        "    Print this help.",
    ];
    Reply::Array(LINES.into_iter().chain(REST).map(Reply::Simple).collect())
}
