//! Waiting for what must come true, with an end.
//!
//! The bounds are there so that a test which would hang says what it waited for. They are not claims about speed.

use std::time::{Duration, Instant};

/// How long anything at all may take before a test gives up; generous, because machines that test are busy.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Asks `answer` until it gives something. Its errors are what the panic shows when [`PATIENCE`] is over.
pub fn eventually<T>(what: &str, mut answer: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match answer() {
            Ok(value) => return value,
            Err(last) if Instant::now() > end => {
                panic!("waited in vain until {what}; last: {last}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Asks `holds` until it does.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || {
        holds().then_some(()).ok_or_else(|| "not yet".to_owned())
    });
}
