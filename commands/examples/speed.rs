//! What evaluation costs apart from the view: nanoseconds per command, in the best of many batches, over a view that has one row in hand and forgets what it is given.
//!
//! `cargo run --release -p commands --example speed`

use bytes::Bytes;
use commands::effects::Effects;
use commands::{
    Direction, Interrupt, Limits, Moment, View, ViewMut, evaluate_read, evaluate_write, resolve,
};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use types::{Decree, SlotRange, Timestamp};

struct OneRow {
    metadata: Option<Bytes>,
    element: Option<Bytes>,
    effects: Effects,
}

impl View for OneRow {
    fn get(&mut self, row: &[u8]) -> Result<Option<Bytes>, Interrupt> {
        let metadata = row[2] == 1;
        Ok(if metadata {
            &self.metadata
        } else {
            &self.element
        }
        .clone())
    }

    fn scan(
        &mut self,
        _: &[u8],
        _: &[u8],
        _: Direction,
        _: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Interrupt> {
        Ok(())
    }
}

impl ViewMut for OneRow {
    fn put(&mut self, row: &[u8], value: &[&[u8]]) {
        self.effects.put(row, value);
    }

    fn delete(&mut self, row: &[u8]) {
        self.effects.delete(row);
    }

    fn clear(&mut self) {}
}

fn main() {
    const BATCHES: u32 = 2_000;
    const ROUNDS: u32 = 500;
    let value = "x".repeat(100);
    let string = Bytes::from(format!("\x10{value}"));
    let number = Bytes::from_static(b"\x1041");
    let mut hash = vec![0x11];
    hash.extend_from_slice(&[0; 19]);
    hash.push(5);
    let hash = Bytes::from(hash);
    let moment = Moment {
        now: Timestamp(1),
        decree: Decree(1),
        index: 0,
        random: 0,
        slots: SlotRange::ALL,
        default_ttl: None,
        limits: Limits::default(),
    };
    for (command, metadata) in [
        (format!("SET key:000000012345 {value}"), None),
        ("GET key:000000012345".into(), Some(string.clone())),
        ("INCR key:000000012345".into(), Some(number)),
        (
            format!("HSET key:000000012345 field {value}"),
            Some(hash.clone()),
        ),
        ("HGET key:000000012345 field".into(), Some(hash)),
    ] {
        let args = command.split(' ').map(str::as_bytes).collect::<Vec<_>>();
        let mut view = OneRow {
            metadata,
            element: Some(string.clone()),
            effects: Effects::with_capacity(1 << 20),
        };
        let mark = view.effects.mark();
        let mut best = Duration::MAX;
        for _ in 0..BATCHES {
            let begun = Instant::now();
            for _ in 0..ROUNDS {
                let args = black_box(&args);
                let Ok(spec) = resolve(args) else {
                    return;
                };
                let evaluated = if spec.is_write() {
                    evaluate_write(spec, args, &mut view, &moment)
                } else {
                    evaluate_read(spec, args, &mut view, &moment)
                };
                let _ = black_box(evaluated);
            }
            best = best.min(begun.elapsed());
            view.effects.rollback(mark);
        }
        let each = best.as_nanos() / u128::from(ROUNDS);
        println!("{:<5} {each} ns", args[0].escape_ascii());
    }
}
