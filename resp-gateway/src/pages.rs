//! What a backend answers to the few commands that a partition's evaluation does not know as a client writes them: SCAN and HSCAN,
//! whose cursors the gateway has replaced by positions, and what CLUSTER asks of a slot.
//!
//! It stands here because it is the other half of the gateway's routing; it is the server that calls it, over its own view.

use commands::scan::{Page, ScanRequest, count_keys, keys_in_slot, scan_fields, scan_keys};
use commands::{CommandSpec, Interrupt, Moment, Reply, View};
use types::{SLOTS, Slot, SlotRange};

/// The answer to such a command.
#[derive(Clone, PartialEq, Debug)]
pub struct Answered {
    /// The reply.
    pub reply: Reply,
    /// As in `commands::Evaluated` (rule R7).
    pub depends_on_expiry: bool,
}

impl Answered {
    fn plainly(reply: Reply) -> Self {
        Self {
            reply,
            depends_on_expiry: false,
        }
    }
}

/// Whether the command is one for [`answer`]; all others are for `commands::evaluate_read` and `evaluate_write`.
pub fn concerns(spec: &CommandSpec) -> bool {
    matches!(spec.name, "scan" | "hscan" | "cluster")
}

/// Answers `SCAN position ...`, `HSCAN key position ...`, `CLUSTER COUNTKEYSINSLOT slot` or `CLUSTER GETKEYSINSLOT slot count`.
pub fn answer<'a>(
    spec: &CommandSpec,
    args: &[&[u8]],
    view: &'a mut dyn View,
    moment: &'a Moment,
) -> Result<Answered, Interrupt> {
    match (spec.name, args) {
        ("scan", [_, position, ..]) => {
            // Parsed as if it came from a client: with some cursor in the position's place.
            let mut parsed = args.to_vec();
            parsed[1] = b"0";
            let request = match ScanRequest::keys(&parsed) {
                Ok(request) => request,
                Err(reply) => return Ok(Answered::plainly(reply)),
            };
            let position = Some(*position).filter(|position| !position.is_empty());
            Ok(page(scan_keys(position, &request, view, moment)?))
        }
        ("hscan", [_, key, position, ..]) => {
            let mut parsed = args.to_vec();
            parsed[2] = b"0";
            let request = match ScanRequest::fields(&parsed) {
                Ok(request) => request,
                Err(reply) => return Ok(Answered::plainly(reply)),
            };
            let position = Some(*position).filter(|position| !position.is_empty());
            Ok(match scan_fields(key, position, &request, view, moment)? {
                Ok(found) => page(found),
                Err(reply) => Answered::plainly(reply),
            })
        }
        ("cluster", [_, _, slot]) => {
            let Some(slot) = number(slot).and_then(in_range) else {
                return Ok(Answered::plainly(invalid_slot()));
            };
            let slots = SlotRange {
                first: slot,
                last: slot,
            };
            let count = count_keys(slots, view, moment)?;
            Ok(Answered::plainly(Reply::Integer(count.keys as i64)))
        }
        ("cluster", [_, _, slot, most]) => {
            let (Some(slot), Some(most)) = (number(slot).and_then(in_range), number(most)) else {
                return Ok(Answered::plainly(invalid_slot()));
            };
            let keys = keys_in_slot(slot, most as usize, view, moment)?;
            let keys = keys.into_iter().map(Reply::Bulk).collect();
            Ok(Answered::plainly(Reply::Array(keys)))
        }
        _ => Ok(Answered::plainly(Reply::error("ERR syntax error"))),
    }
}

/// `[next position, items]`; the position is empty at the end.
fn page(page: Page) -> Answered {
    Answered {
        reply: Reply::Array(vec![
            Reply::Bulk(page.next.unwrap_or_default()),
            Reply::Array(page.items),
        ]),
        depends_on_expiry: page.depends_on_expiry,
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn in_range(slot: u32) -> Option<Slot> {
    u16::try_from(slot)
        .ok()
        .filter(|&slot| slot < SLOTS)
        .map(Slot)
}

fn invalid_slot() -> Reply {
    Reply::error("ERR Invalid slot")
}
