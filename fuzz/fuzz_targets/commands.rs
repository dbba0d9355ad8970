//! Commands with arbitrary arguments, one after the other over a partition in memory: none panics, reading ones write nothing, refused
//! ones leave nothing, effects are whole and make of a replica what the primary is, objects stay consistent, and compaction changes
//! nothing that anybody can see. So do requests with ids: what was done is answered again, by the next primary too.
#![no_main]

mod partition;

use arbitrary::{Arbitrary, Unstructured};
use commands::requests::{Attempt, RequestId};
use libfuzzer_sys::fuzz_target;
use partition::Partition;
use types::Timestamp;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Command(u8, Vec<Argument<'a>>),
    /// As a client that sends again would send it.
    Request(Id, u8, Vec<Argument<'a>>),
    /// The SDK's ordered scan.
    Range(u8, &'a [u8], Option<&'a [u8]>, bool, u8),
    Time(u16),
    /// The expiry of something, or a whole life later.
    LongTime(u8),
    Compact,
    /// Another replica becomes primary.
    Takeover,
}

/// A request's place among those of its sender.
#[derive(Arbitrary, Debug)]
struct Id {
    client: u8,
    sequence: u8,
    /// From the top of all numbers, not from zero.
    high: bool,
    behind: u64,
    age: u32,
    again: bool,
}

impl Id {
    fn at(&self, now: Timestamp) -> RequestId {
        let sequence = u64::from(self.sequence);
        let sequence = if self.high {
            u64::MAX - sequence
        } else {
            sequence
        };
        RequestId {
            client: u64::from(self.client),
            sequence,
            first_incomplete: sequence.saturating_sub(self.behind),
            sent: Timestamp(now.0.saturating_sub(u64::from(self.age))),
            attempt: if self.again {
                Attempt::Again
            } else {
                Attempt::First
            },
        }
    }
}

/// Mostly words that mean something somewhere.
#[derive(Arbitrary, Debug)]
enum Argument<'a> {
    Key(u8),
    Field(u8),
    Number(u8),
    Small(i16),
    Option(u8),
    Bytes(&'a [u8]),
    Long(u16),
}

const NUMBERS: [&str; 20] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "10",
    "100",
    "1000000",
    "1000500",
    "-1000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854774808",
    "18446744073709551615",
    "536870912",
    "1.5",
    "-0.25e3",
    "1e4931",
    "nan",
    "inf",
];
const OPTIONS: [&str; 36] = [
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "PERSIST",
    "NX",
    "XX",
    "GT",
    "LT",
    "GET",
    "FNX",
    "FXX",
    "FIELDS",
    "MATCH",
    "COUNT",
    "TYPE",
    "NOVALUES",
    "WITHVALUES",
    "ASYNC",
    "SYNC",
    "string",
    "hash",
    "*",
    "f*",
    "[a-",
    "?",
    "\\",
    "encoding",
    "help",
    "countkeysinslot",
    "getkeysinslot",
    "freq",
    "idletime",
    "refcount",
    "",
];

impl Argument<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            // Two of them in one slot.
            Self::Key(number) => match number % 4 {
                0 => "a".into(),
                1 => "{a}b".into(),
                2 => "c".into(),
                _ => "{a}".into(),
            },
            Self::Field(number) => format!("f{}", number % 5).into(),
            Self::Number(number) => NUMBERS[usize::from(*number) % NUMBERS.len()].into(),
            Self::Small(number) => number.to_string().into(),
            Self::Option(number) => OPTIONS[usize::from(*number) % OPTIONS.len()].into(),
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Long(length) => vec![b'x'; usize::from(*length)],
        }
    }
}

/// Capitals stand for a key, a field, a time or a value.
const USUAL: [&str; 28] = [
    "set K V",
    "set K V px T",
    "getex K px T",
    "append K V",
    "incrby K V",
    "del K K",
    "expire K T",
    "pexpire K T gt",
    "pexpireat K T",
    "persist K",
    "rename K K",
    "renamenx K K",
    "hset K F V F V",
    "hset K F V",
    "hdel K F",
    "hincrby K F V",
    "hpexpire K T fields 1 F",
    "hpexpire K T fields 2 F F",
    "hpexpireat K T nx fields 1 F",
    "hpersist K fields 1 F",
    "hsetex K px T fields 1 F V",
    "hsetex K fxx keepttl fields 2 F V F V",
    "hgetex K px T fields 1 F",
    "hgetdel K fields 2 F F",
    "hgetall K",
    "hpttl K fields 2 F F",
    "hrandfield K 3 withvalues",
    "hscan K 0 count 2",
];
const TIMES: [&str; 8] = ["1", "5", "20", "100", "1000", "60000", "1000010", "1000500"];

fn usual(number: u8, choices: [u8; 6]) -> Vec<Vec<u8>> {
    let mut choices = choices.into_iter().map(usize::from);
    let template = USUAL[usize::from(number) % USUAL.len()];
    let word = |word: &str| {
        let mut choice = || choices.next().unwrap_or(0);
        match word {
            "K" => Argument::Key(choice() as u8).bytes(),
            "F" => Argument::Field(choice() as u8).bytes(),
            "T" => TIMES[choice() % TIMES.len()].into(),
            "V" => choice().to_string().into(),
            word => word.into(),
        }
    };
    template.split(' ').map(word).collect()
}

/// A command of the table with these arguments, or what they name themselves.
fn words(command: u8, arguments: &[Argument<'_>]) -> Vec<Vec<u8>> {
    let all = commands::table::all();
    let name = all.get(usize::from(command)).map(|spec| spec.name.into());
    name.into_iter()
        .chain(arguments.iter().map(Argument::bytes))
        .collect()
}

/// Commands that are as they should be, eight bytes each: so a change of a byte is a change of one thing.
fn usual_life(bytes: &[u8]) {
    let mut partition = Partition::default();
    let (steps, _) = bytes.as_chunks::<8>();
    for &[kind, number, choices @ ..] in steps.iter().take(60) {
        let time = u64::from(number);
        match kind {
            0..160 => partition.run(&usual(number, choices), None),
            160..208 => {
                let id = Id {
                    client: kind % 2,
                    sequence: kind / 2 % 8,
                    high: false,
                    behind: u64::from(kind / 16),
                    age: 0,
                    again: choices[5] > 127,
                };
                let id = id.at(partition.now());
                partition.run(&usual(number, choices), Some(id));
            }
            208..232 => partition.advance(time),
            232..236 => partition.advance(time * 60_000),
            236..246 => partition.compact(),
            246.. => partition.take_over(),
        }
    }
}

fn any_life(steps: &[Step<'_>]) {
    let mut partition = Partition::default();
    for step in steps.iter().take(40) {
        match step {
            Step::Command(command, arguments) => partition.run(&words(*command, arguments), None),
            Step::Request(id, command, arguments) => {
                let id = id.at(partition.now());
                partition.run(&words(*command, arguments), Some(id));
            }
            Step::Range(key, from, to, reverse, limit) => {
                partition.range(
                    &Argument::Key(*key).bytes(),
                    from,
                    *to,
                    *reverse,
                    usize::from(*limit),
                );
            }
            Step::Time(milliseconds) => partition.advance(u64::from(*milliseconds)),
            Step::LongTime(minutes) => partition.advance(u64::from(*minutes) * 60_000),
            Step::Compact => partition.compact(),
            Step::Takeover => partition.take_over(),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0..128, bytes)) => usual_life(bytes),
        Some((128.., bytes)) => {
            let mut source = Unstructured::new(bytes);
            any_life(&Vec::arbitrary(&mut source).unwrap_or_default());
        }
        None => {}
    }
});
