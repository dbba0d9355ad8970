//! Reads that go on from a position: the SDK's ordered scan, and what the gateway's `pages` answer (SCAN and its like, with a position in
//! the cursor's place). All other reads are the engine's.

use commands::hash::range::{Range, range};
use commands::{CommandSpec, Direction, Interrupt, Moment, Reply, View};
use engine::{Partition, Read};
use resp_gateway::pages;
use std::ops::Bound;
use types::Timestamp;

/// A page of the ordered scan has at most so many fields.
const MOST_FIELDS: usize = 10_000;

/// Evaluates any read.
pub(crate) fn read(
    storage: &mut Partition,
    spec: &'static CommandSpec,
    args: &[&[u8]],
    now: Timestamp,
) -> Result<Read, Interrupt> {
    let random = rand::random();
    let ((reply, depends_on_expiry), seen) = if spec.name == "hrange" {
        storage.view(now, random, |view, moment| ordered(args, view, moment))?
    } else if pages::concerns(spec) {
        storage.view(now, random, |view, moment| {
            let answered = pages::answer(spec, args, view, moment)?;
            Ok((answered.reply, answered.depends_on_expiry))
        })?
    } else {
        return storage.read(spec, args, now, random);
    };
    Ok(Read {
        reply,
        seen,
        depends_on_expiry,
    })
}

/// HRANGE key from to has-to reverse limit: `[more, field, value ...]`
fn ordered(
    args: &[&[u8]],
    view: &mut dyn View,
    moment: &Moment,
) -> Result<(Reply, bool), Interrupt> {
    let &[_, key, from, to, has_to, reverse, limit] = args else {
        return Ok((Reply::error("ERR malformed scan"), false));
    };
    let limit = str::from_utf8(limit)
        .ok()
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(0);
    let range_wanted = Range {
        from: Bound::Included(from),
        to: if has_to == b"1" {
            Bound::Excluded(to)
        } else {
            Bound::Unbounded
        },
        direction: if reverse == b"1" {
            Direction::Backward
        } else {
            Direction::Forward
        },
        limit: if limit == 0 {
            MOST_FIELDS
        } else {
            MOST_FIELDS.min(limit)
        },
    };
    match range(key, &range_wanted, view, moment)? {
        Ok(page) => {
            let mut parts = vec![Reply::Integer(i64::from(page.next.is_some()))];
            for item in page.items {
                parts.extend([Reply::Bulk(item.field), Reply::Bulk(item.value)]);
            }
            Ok((Reply::Array(parts), page.depends_on_expiry))
        }
        Err(refusal) => Ok((refusal, false)),
    }
}
