//! Reads that go on from a position: SCAN, HSCAN and the SDK's ordered scan. Cursors are the gateway's; here a position comes in as an
//! argument and the next one goes out in the reply. All other reads are the engine's.

use bytes::Bytes;
use commands::hash::range::{Range, range};
use commands::scan::{Page, ScanRequest, scan_fields, scan_keys};
use commands::{CommandSpec, Direction, Interrupt, Moment, Reply, View};
use engine::{Partition, Read};
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
    type Evaluate = fn(&[&[u8]], &mut dyn View, &Moment) -> Result<(Reply, bool), Interrupt>;
    let evaluate: Evaluate = match spec.name {
        "scan" => keys,
        "hscan" => fields,
        "hrange" => ordered,
        _ => return storage.read(spec, args, now, rand::random()),
    };
    let ((reply, depends_on_expiry), seen) =
        storage.view(now, rand::random(), |view, moment| {
            evaluate(args, view, moment)
        })?;
    Ok(Read {
        reply,
        seen,
        depends_on_expiry,
    })
}

/// SCAN position [MATCH ...]...
fn keys(args: &[&[u8]], view: &mut dyn View, moment: &Moment) -> Result<(Reply, bool), Interrupt> {
    let position = args[1];
    let mut args = args.to_vec();
    args[1] = b"0";
    let request = match ScanRequest::keys(&args) {
        Ok(request) => request,
        Err(refusal) => return Ok((refusal, false)),
    };
    let from = (!position.is_empty()).then_some(position);
    let page = scan_keys(from, &request, view, moment)?;
    Ok((reply(page), false))
}

/// HSCAN key position [MATCH ...]...
fn fields(
    args: &[&[u8]],
    view: &mut dyn View,
    moment: &Moment,
) -> Result<(Reply, bool), Interrupt> {
    let position = args[2];
    let mut args = args.to_vec();
    args[2] = b"0";
    let request = match ScanRequest::fields(&args) {
        Ok(request) => request,
        Err(refusal) => return Ok((refusal, false)),
    };
    let from = (!position.is_empty()).then_some(position);
    match scan_fields(args[1], from, &request, view, moment)? {
        Ok(page) => {
            let depends = page.depends_on_expiry;
            Ok((reply(page), depends))
        }
        Err(refusal) => Ok((refusal, false)),
    }
}

/// `[next position (empty at the end), items]`
fn reply(page: Page) -> Reply {
    let next = Reply::Bulk(page.next.unwrap_or_else(Bytes::new));
    Reply::Array(vec![next, Reply::Array(page.items)])
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
