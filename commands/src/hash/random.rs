//! HRANDFIELD: fields drawn at random, by walking over the hash to the ones drawn. O(size) until large objects have a counted tree.

use crate::arguments::{integer, is};
use crate::hash::reads::copied;
use crate::keyspace::{Args, Outcome, Reading, Stop};
use crate::reply::{Refusal, Reply};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use types::Slot;

/// With repetition a reply has no natural bound, so that it gets one: of fields, and of bytes.
const MOST_REPEATED: u64 = 1 << 20;
const MOST_REPEATED_BYTES: u64 = 64 << 20;
const TOO_LONG: Refusal =
    Refusal::new("ERR the reply would be larger than 64 MiB; ask for fewer fields at a time");

/// HRANDFIELD key [count [WITHVALUES]]: a field; `count` different ones, or `-count` that may repeat.
pub(crate) fn hrandfield(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let Some(count) = args.get(2) else {
        let drawn = draw(keys, args[1], (1, false), false)?;
        let field = drawn.into_iter().next();
        return Ok(field.map_or(Reply::Nil, |(name, _)| Reply::Bulk(name)));
    };
    let count = integer(count)?;
    if count == i64::MIN {
        return Err(Refusal::OUT_OF_RANGE.into());
    }
    let with_values = match &args[3..] {
        [] => false,
        [option] if is(option, "WITHVALUES") => true,
        _ => return Err(Refusal::SYNTAX.into()),
    };
    let repeating = count < 0;
    let count = count.unsigned_abs();
    if (with_values && count > i64::MAX as u64 / 2) || (repeating && count > MOST_REPEATED) {
        return Err(Refusal::OUT_OF_RANGE.into());
    }
    let drawn = draw(keys, args[1], (count, repeating), with_values)?.into_iter();
    Ok(if with_values {
        Reply::Pairs(
            drawn
                .map(|(name, value)| (Reply::Bulk(name), Reply::Bulk(value)))
                .collect(),
        )
    } else {
        Reply::Array(drawn.map(|(name, _)| Reply::Bulk(name)).collect())
    })
}

fn draw(
    keys: &mut Reading<'_>,
    key: &[u8],
    (count, repeating): (u64, bool),
    with_values: bool,
) -> Result<Vec<(Bytes, Bytes)>, Stop> {
    let slot = Slot::of(key);
    let Some(hash) = keys.load_hash(slot, key)? else {
        return Ok(Vec::new());
    };
    let size = keys.live_fields(slot, &hash)?;
    if size == 0 || count == 0 {
        return Ok(Vec::new());
    }
    let mut random = Random(keys.moment.random);
    let places = if repeating {
        (0..count).map(|_| random.below(size)).collect()
    } else {
        distinct(&mut random, count.min(size), size)
    };
    // How often each is wanted.
    let mut wanted = BTreeMap::<u64, u64>::new();
    for &place in &places {
        *wanted.entry(place).or_default() += 1;
    }
    let mut found = BTreeMap::new();
    let (mut place, mut bytes) = (0, 0);
    keys.each_field(slot, hash.id, &mut |field| {
        if let Some(times) = wanted.get(&place) {
            let (name, value) = if with_values {
                copied(&field)
            } else {
                (Bytes::copy_from_slice(field.name), Bytes::new())
            };
            bytes += times * (name.len() + value.len()) as u64;
            found.insert(place, (name, value));
        }
        place += 1;
        if found.len() == wanted.len() || (repeating && bytes > MOST_REPEATED_BYTES) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    if repeating && bytes > MOST_REPEATED_BYTES {
        return Err(TOO_LONG.into());
    }
    Ok(places
        .iter()
        .filter_map(|place| found.get(place).cloned())
        .collect())
}

/// Floyd's sampling: `count` different numbers below `size`.
fn distinct(random: &mut Random, count: u64, size: u64) -> Vec<u64> {
    if count == size {
        return (0..size).collect();
    }
    let mut chosen = BTreeSet::new();
    let mut places = Vec::new();
    for top in size - count..size {
        let place = random.below(top + 1);
        let place = if chosen.insert(place) { place } else { top };
        chosen.insert(place);
        places.push(place);
    }
    places
}

/// `SplitMix64`: as many numbers as are needed from the one that evaluation is given.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_places_are_distinct_and_in_range() {
        for seed in 0..50 {
            let mut random = Random(seed);
            let size = 1 + random.below(20);
            let count = random.below(size + 1);
            let places = distinct(&mut random, count, size);
            assert_eq!(places.len() as u64, count);
            assert_eq!(places.iter().collect::<BTreeSet<_>>().len() as u64, count);
            assert!(places.iter().all(|&place| place < size));
        }
    }
}
