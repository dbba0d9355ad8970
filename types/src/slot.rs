//! Slots: CRC16 of the hash key mod 16384 with Redis' hash-tag rule, and how a table's partitions divide them.
//!
//! Source: Redis cluster specification, "Keys distribution model" and "Hash tags".

use std::fmt;

/// How many slots there are.
pub const SLOTS: u16 = 16384;

/// One of the 16384 slots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot of a Redis key, which is a hash key of the SDK: of the part between the first `{` and the next `}` if that is
    /// not empty, else of the whole key.
    pub fn of(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) % SLOTS)
    }

    /// The index of the partition that holds this slot in a table of `partitions` equal ranges.
    pub fn partition(self, partitions: u32) -> u32 {
        u32::from(self.0) * partitions / u32::from(SLOTS)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A contiguous range of slots, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotRange {
    /// The lowest slot.
    pub first: Slot,
    /// The highest slot.
    pub last: Slot,
}

impl SlotRange {
    /// All slots.
    pub const ALL: Self = Self {
        first: Slot(0),
        last: Slot(SLOTS - 1),
    };

    /// What partition `index` of a table of `partitions` (1 to 16384) holds: the slots for which [`Slot::partition`] says so.
    pub fn of_partition(index: u32, partitions: u32) -> Self {
        let boundary = |i: u32| (i * u32::from(SLOTS)).div_ceil(partitions) as u16;
        Self {
            first: Slot(boundary(index)),
            last: Slot(boundary(index + 1) - 1),
        }
    }

    /// Whether `slot` is inside.
    pub fn contains(self, slot: Slot) -> bool {
        self.first <= slot && slot <= self.last
    }
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else {
        return key;
    };
    match key[open + 1..].iter().position(|&b| b == b'}') {
        None | Some(0) => key,
        Some(length) => &key[open + 1..open + 1 + length],
    }
}

/// CRC16-CCITT (XMODEM): polynomial 0x1021, start 0, as the cluster specification names it. `[k][b]` is that of byte `b` with `k` zero
/// bytes behind it, so that eight bytes take eight lookups that do not wait for each other: every command needs the slot of its key.
const fn crc16_tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < 8 {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 != 0 {
                    (crc << 1) ^ 0x1021
                } else {
                    crc << 1
                };
                bit += 1;
            }
            tables[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    tables
}

static CRC16: [[u16; 256]; 8] = crc16_tables();

fn crc16(bytes: &[u8]) -> u16 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let crc = chunks.iter().fold(0u16, |crc, chunk| {
        let mut chunk = *chunk;
        let [high, low] = crc.to_be_bytes();
        chunk[0] ^= high;
        chunk[1] ^= low;
        (0..8).fold(0, |sum, at| sum ^ CRC16[7 - at][usize::from(chunk[at])])
    });
    rest.iter().fold(crc, |crc, &byte| {
        (crc << 8) ^ CRC16[0][usize::from((crc >> 8) as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        let bitwise = |bytes: &[u8]| {
            bytes.iter().fold(0u16, |crc, &byte| {
                (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
                    (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
                })
            })
        };
        let bytes: Vec<u8> = (0..40).map(|i| (i * 151 % 256) as u8).collect();
        for length in 0..=bytes.len() {
            assert_eq!(
                crc16(&bytes[..length]),
                bitwise(&bytes[..length]),
                "{length}"
            );
        }
        assert_eq!(Slot::of(b"foo"), Slot(12182));
        assert_eq!(
            Slot::of(b"{user1000}.following"),
            Slot::of(b"{user1000}.followers")
        );
        assert_eq!(Slot::of(b"foo{}{bar}"), Slot(crc16(b"foo{}{bar}") % SLOTS));
        assert_eq!(Slot::of(b"foo{{bar}}zap"), Slot::of(b"{bar"));
        assert_eq!(Slot::of(b"foo{bar}{zap}"), Slot::of(b"bar"));
    }

    #[test]
    fn partitions_divide_the_slots_without_gap_or_overlap() {
        for partitions in [1, 2, 3, 7, 8, 1000, 10_000, 16_384] {
            let mut next = 0;
            for index in 0..partitions {
                let range = SlotRange::of_partition(index, partitions);
                assert_eq!(u32::from(range.first.0), next);
                assert!(range.first <= range.last, "{partitions} {index}");
                assert_eq!(range.first.partition(partitions), index);
                assert_eq!(range.last.partition(partitions), index);
                next = u32::from(range.last.0) + 1;
            }
            assert_eq!(next, u32::from(SLOTS));
        }
    }
}
