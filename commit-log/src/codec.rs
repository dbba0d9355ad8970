//! Records as bytes: little-endian, fixed fields, one length in front. Checksums and places are `batch`'s.
//!
//! ```text
//! length u32 (of what follows the 16 bytes) | kind u8 | flags u8 | 0 u16 | table u32 | index u32 | body
//! ```
//!
//! Reading trusts nothing: every field is taken from what is there, no memory is taken for what is only declared.

use crate::Position;
use crate::aligned::AlignedBuffer;
use bytes::Bytes;
use types::{
    Ballot, BootId, Configuration, Decree, Incarnation, LearnKind, LearnSignature, Member,
    Mutation, NodeId, PartitionId, Record, RecordBody, Timestamp,
};

/// Bytes in front of every body.
pub(crate) const PREFIX: usize = 16;
/// Bytes of a mutation's body before its effects.
pub(crate) const MUTATION: usize = 24;
/// Bytes of one partition in a segment's index.
pub(crate) const INDEX_ENTRY: usize = 40;

const RESTATED: u8 = 1;

/// How the segment before this one ended: the chain that recovery walks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    pub(crate) format: u32,
    /// Where the previous segment's valid part ends; `None` for the first segment of a log.
    pub(crate) previous: Option<Position>,
    /// Where in it its index lies; zero if it was cut rather than sealed.
    pub(crate) index: u32,
    /// Segments up to this sequence were released by then.
    pub(crate) released: u32,
}

/// What a sealed segment says of one of its partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IndexEntry {
    pub(crate) partition: PartitionId,
    pub(crate) records: u32,
    /// How many of them are no mutations.
    pub(crate) marks: u32,
    /// Lowest and highest decree; both zero without mutations.
    pub(crate) lowest: Decree,
    pub(crate) highest: Decree,
    pub(crate) bytes: u64,
}

/// Everything a batch may hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// A replica's record. `restated`: copied forward; a reset or truncate then cancels nothing, its effect is in what else was
    /// copied.
    Record { record: Record, restated: bool },
    /// First in every segment.
    Start(Start),
    /// Last in a sealed segment.
    Index(Vec<IndexEntry>),
    /// All segments up to this sequence hold nothing that counts.
    Released(u32),
    /// The partition lost records to damage (until a reset or a deletion).
    Quarantined(PartitionId),
}

mod kind {
    pub(super) const MUTATION: u8 = 1;
    pub(super) const BALLOT: u8 = 2;
    pub(super) const TRUNCATE: u8 = 3;
    pub(super) const RESET: u8 = 4;
    pub(super) const READY: u8 = 5;
    pub(super) const CONFIGURATION: u8 = 6;
    pub(super) const PROPOSED: u8 = 7;
    pub(super) const BOOT: u8 = 8;
    pub(super) const DELETED: u8 = 9;
    pub(super) const START: u8 = 32;
    pub(super) const INDEX: u8 = 33;
    pub(super) const RELEASED: u8 = 34;
    pub(super) const QUARANTINED: u8 = 35;
}

/// Bytes that `record` takes in a batch; near enough for other kinds than mutations.
pub(crate) fn encoded_size(record: &Record) -> usize {
    PREFIX
        + match &record.body {
            RecordBody::Mutation(mutation) => MUTATION + mutation.effects.len(),
            RecordBody::Configuration(configuration) => 18 + 32 * configuration.len(),
            _ => 48,
        }
}

/// Appends one record.
pub(crate) fn put_record(out: &mut AlignedBuffer, record: &Record, restated: bool) {
    let flags = if restated { RESTATED } else { 0 };
    let partition = record.partition;
    match &record.body {
        RecordBody::Mutation(mutation) => {
            let length = MUTATION + mutation.effects.len();
            let mut head = [0; PREFIX + MUTATION];
            head[..PREFIX].copy_from_slice(&prefix(length, kind::MUTATION, flags, partition));
            head[16..24].copy_from_slice(&mutation.ballot.0.to_le_bytes());
            head[24..32].copy_from_slice(&mutation.decree.0.to_le_bytes());
            head[32..40].copy_from_slice(&mutation.timestamp.0.to_le_bytes());
            out.extend(&head);
            out.extend(&mutation.effects);
        }
        RecordBody::Ballot(ballot) => put_words(out, kind::BALLOT, flags, partition, &[ballot.0]),
        RecordBody::Truncate { ballot, decree } => {
            put_words(out, kind::TRUNCATE, flags, partition, &[ballot.0, decree.0]);
        }
        RecordBody::Reset {
            signature,
            base,
            kind,
            epoch,
        } => {
            let kind = match kind {
                LearnKind::Log => 0,
                LearnKind::Checkpoint => 1,
            };
            let [ballot, incarnation, counter] = words(signature);
            let body = [ballot, incarnation, counter, base.0, kind, *epoch];
            put_words(out, kind::RESET, flags, partition, &body);
        }
        RecordBody::Ready { signature, decree } => {
            let [ballot, incarnation, counter] = words(signature);
            put_words(
                out,
                kind::READY,
                flags,
                partition,
                &[ballot, incarnation, counter, decree.0],
            );
        }
        RecordBody::Configuration(configuration) => {
            let mut body = vec![configuration.ballot.0, configuration.epoch];
            for member in configuration.members() {
                body.push(member.node.0);
                body.extend(words(&member.signature));
            }
            put_words(out, kind::CONFIGURATION, flags, partition, &body);
        }
        RecordBody::Proposed(ballot) => {
            put_words(out, kind::PROPOSED, flags, partition, &[ballot.0]);
        }
        RecordBody::Boot(BootId(id)) => {
            put_words(
                out,
                kind::BOOT,
                flags,
                partition,
                &[*id as u64, (id >> 64) as u64],
            );
        }
        // The same entry as the log's own: it is read back as such, whoever found the damage.
        RecordBody::Quarantined => put_words(out, kind::QUARANTINED, flags, partition, &[]),
        RecordBody::Deleted => put_words(out, kind::DELETED, flags, partition, &[]),
    }
}

/// Appends one of the log's own entries, or a record.
pub(crate) fn put(out: &mut AlignedBuffer, entry: &Entry) {
    let none = PartitionId::default();
    match entry {
        Entry::Record { record, restated } => put_record(out, record, *restated),
        Entry::Start(start) => {
            let previous = start.previous.map_or(u64::MAX, Position::raw);
            put_words(
                out,
                kind::START,
                0,
                none,
                &[
                    u64::from(start.format),
                    previous,
                    u64::from(start.index) | u64::from(start.released) << 32,
                ],
            );
        }
        Entry::Index(entries) => {
            out.extend(&prefix(entries.len() * INDEX_ENTRY, kind::INDEX, 0, none));
            for entry in entries {
                out.extend(&entry.partition.table.0.to_le_bytes());
                out.extend(&entry.partition.index.to_le_bytes());
                out.extend(&entry.records.to_le_bytes());
                out.extend(&entry.marks.to_le_bytes());
                out.extend(&entry.lowest.0.to_le_bytes());
                out.extend(&entry.highest.0.to_le_bytes());
                out.extend(&entry.bytes.to_le_bytes());
            }
        }
        Entry::Released(sequence) => {
            put_words(out, kind::RELEASED, 0, none, &[u64::from(*sequence)]);
        }
        Entry::Quarantined(partition) => put_words(out, kind::QUARANTINED, 0, *partition, &[]),
    }
}

/// Takes one entry off the front of `bytes`; `None` if they are not one.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<Entry> {
    let (head, rest) = bytes.split_at_checked(PREFIX)?;
    let mut head = Fields(head);
    let length = head.u32()? as usize;
    let kind_and_flags = head.u32()?;
    let (kind, flags) = (kind_and_flags as u8, (kind_and_flags >> 8) as u8);
    let partition = PartitionId::new(head.u32()?, head.u32()?);
    let (body, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    let mut fields = Fields(body);
    let own = match kind {
        kind::START => Entry::Start(Start {
            format: fields.u64()? as u32,
            previous: match fields.u64()? {
                u64::MAX => None,
                raw => Some(Position::from_raw(raw)),
            },
            index: fields.u32()?,
            released: fields.u32()?,
        }),
        kind::INDEX => Entry::Index(index_entries(fields)?),
        kind::RELEASED => Entry::Released(fields.u64()? as u32),
        kind::QUARANTINED => Entry::Quarantined(partition),
        _ => Entry::Record {
            record: Record {
                partition,
                body: record_body(kind, fields)?,
            },
            restated: flags & RESTATED != 0,
        },
    };
    Some(own)
}

/// Takes one entry off the front of `bytes`, and makes it a value only if it is a mutation of a partition that is wanted. The
/// outer `None`: no entry.
#[allow(clippy::option_option)]
pub(crate) fn take_mutation(
    bytes: &mut &[u8],
    wanted: impl Fn(PartitionId) -> bool,
) -> Option<Option<(PartitionId, Mutation)>> {
    let (head, rest) = bytes.split_at_checked(PREFIX)?;
    let mut head = Fields(head);
    let (length, kind) = (head.u32()? as usize, head.u32()? as u8);
    let partition = PartitionId::new(head.u32()?, head.u32()?);
    let (body, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    if kind != kind::MUTATION || !wanted(partition) {
        return Some(None);
    }
    match record_body(kind, Fields(body))? {
        RecordBody::Mutation(mutation) => Some(Some((partition, mutation))),
        _ => None,
    }
}

fn record_body(kind: u8, mut fields: Fields) -> Option<RecordBody> {
    Some(match kind {
        kind::MUTATION => RecordBody::Mutation(Mutation {
            ballot: Ballot(fields.u64()?),
            decree: Decree(fields.u64()?),
            timestamp: Timestamp(fields.u64()?),
            effects: Bytes::copy_from_slice(fields.0),
        }),
        kind::BALLOT => RecordBody::Ballot(Ballot(fields.u64()?)),
        kind::TRUNCATE => RecordBody::Truncate {
            ballot: Ballot(fields.u64()?),
            decree: Decree(fields.u64()?),
        },
        kind::RESET => RecordBody::Reset {
            signature: fields.signature()?,
            base: Decree(fields.u64()?),
            kind: match fields.u64()? {
                0 => LearnKind::Log,
                1 => LearnKind::Checkpoint,
                _ => return None,
            },
            epoch: fields.u64()?,
        },
        kind::READY => RecordBody::Ready {
            signature: fields.signature()?,
            decree: Decree(fields.u64()?),
        },
        kind::CONFIGURATION => {
            let (ballot, epoch) = (Ballot(fields.u64()?), fields.u64()?);
            let primary = fields.member()?;
            let secondaries = std::iter::from_fn(|| fields.member()).collect();
            RecordBody::Configuration(Configuration {
                ballot,
                epoch,
                primary,
                secondaries,
            })
        }
        kind::PROPOSED => RecordBody::Proposed(Ballot(fields.u64()?)),
        kind::BOOT => RecordBody::Boot(BootId(
            u128::from(fields.u64()?) | u128::from(fields.u64()?) << 64,
        )),
        kind::DELETED => RecordBody::Deleted,
        _ => return None,
    })
}

fn index_entries(mut fields: Fields) -> Option<Vec<IndexEntry>> {
    let mut entries = Vec::new();
    while !fields.0.is_empty() {
        entries.push(IndexEntry {
            partition: PartitionId::new(fields.u32()?, fields.u32()?),
            records: fields.u32()?,
            marks: fields.u32()?,
            lowest: Decree(fields.u64()?),
            highest: Decree(fields.u64()?),
            bytes: fields.u64()?,
        });
    }
    Some(entries)
}

fn prefix(length: usize, kind: u8, flags: u8, partition: PartitionId) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix[..4].copy_from_slice(&(length as u32).to_le_bytes());
    prefix[4] = kind;
    prefix[5] = flags;
    prefix[8..12].copy_from_slice(&partition.table.0.to_le_bytes());
    prefix[12..].copy_from_slice(&partition.index.to_le_bytes());
    prefix
}

fn put_words(out: &mut AlignedBuffer, kind: u8, flags: u8, partition: PartitionId, words: &[u64]) {
    out.extend(&prefix(words.len() * 8, kind, flags, partition));
    for word in words {
        out.extend(&word.to_le_bytes());
    }
}

fn words(signature: &LearnSignature) -> [u64; 3] {
    [
        signature.ballot.0,
        signature.incarnation.0,
        signature.counter,
    ]
}

/// Reads fields off the front; `None` when they run out.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*field))
    }

    fn u64(&mut self) -> Option<u64> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*field))
    }

    fn signature(&mut self) -> Option<LearnSignature> {
        Some(LearnSignature {
            ballot: Ballot(self.u64()?),
            incarnation: Incarnation(self.u64()?),
            counter: self.u64()?,
        })
    }

    fn member(&mut self) -> Option<Member> {
        Some(Member {
            node: NodeId(self.u64()?),
            signature: self.signature()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> LearnSignature {
        LearnSignature {
            ballot: Ballot(3),
            incarnation: Incarnation(4),
            counter: 5,
        }
    }

    fn samples() -> Vec<Entry> {
        let member = |node| Member {
            node: NodeId(node),
            signature: signature(),
        };
        let bodies = vec![
            RecordBody::Mutation(Mutation {
                ballot: Ballot(1),
                decree: Decree(2),
                timestamp: Timestamp(3),
                effects: Bytes::from_static(b"effects"),
            }),
            RecordBody::Ballot(Ballot(7)),
            RecordBody::Truncate {
                ballot: Ballot(8),
                decree: Decree(9),
            },
            RecordBody::Reset {
                signature: signature(),
                base: Decree(1),
                kind: LearnKind::Log,
                epoch: 2,
            },
            RecordBody::Reset {
                signature: signature(),
                base: Decree(1),
                kind: LearnKind::Checkpoint,
                epoch: 2,
            },
            RecordBody::Ready {
                signature: signature(),
                decree: Decree(6),
            },
            RecordBody::Configuration(Configuration {
                ballot: Ballot(1),
                epoch: 2,
                primary: member(1),
                secondaries: vec![member(2), member(3)],
            }),
            RecordBody::Proposed(Ballot(4)),
            RecordBody::Boot(BootId(u128::MAX - 5)),
            RecordBody::Deleted,
        ];
        let record = |body| Entry::Record {
            record: Record {
                partition: PartitionId::new(1, 2),
                body,
            },
            restated: true,
        };
        let index = IndexEntry {
            partition: PartitionId::new(3, 4),
            records: 5,
            marks: 6,
            lowest: Decree(7),
            highest: Decree(8),
            bytes: 9,
        };
        let own = [
            Entry::Start(Start {
                format: 1,
                previous: None,
                index: 0,
                released: 0,
            }),
            Entry::Start(Start {
                format: 1,
                previous: Some(Position::new(3, 4)),
                index: 7,
                released: 8,
            }),
            Entry::Index(vec![index, index]),
            Entry::Released(9),
            Entry::Quarantined(PartitionId::new(5, 6)),
        ];
        bodies.into_iter().map(record).chain(own).collect()
    }

    #[test]
    fn every_entry_reads_back_as_written() {
        let mut out = AlignedBuffer::default();
        for entry in samples() {
            put(&mut out, &entry);
        }
        let mut bytes = out.as_slice();
        for entry in samples() {
            assert_eq!(take(&mut bytes), Some(entry));
        }
        assert!(bytes.is_empty());
    }

    #[test]
    fn cut_or_arbitrary_bytes_are_refused_without_a_panic() {
        for entry in samples() {
            let mut out = AlignedBuffer::default();
            put(&mut out, &entry);
            for cut in 0..out.len() {
                assert_eq!(take(&mut &out.as_slice()[..cut]), None);
            }
            for at in 0..out.len() {
                let mut bytes = out.as_slice().to_vec();
                bytes[at] ^= 0xff;
                let _ = take(&mut bytes.as_slice());
            }
        }
        assert_eq!(take(&mut [0xff; 64].as_slice()), None);
    }
}
