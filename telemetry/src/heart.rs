//! The pulse of a thread: it says now and then that it moves, others see for how long it has not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a thread that moves says so.
const BEAT: Duration = Duration::from_millis(500);

/// Shared between the thread and those who watch it.
#[derive(Clone, Debug)]
pub struct Heart {
    origin: Instant,
    /// The last beat, in milliseconds since `origin`.
    last: Arc<AtomicU64>,
}

impl Heart {
    /// One that has just beaten.
    #[expect(clippy::new_without_default, reason = "it reads the clock")]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            last: Arc::default(),
        }
    }

    /// Beats for as long as the runtime has turns to give, for ever.
    pub async fn keep_beating(self) {
        let mut beats = tokio::time::interval(BEAT);
        loop {
            beats.tick().await;
            self.last.store(self.elapsed(), Ordering::Relaxed);
        }
    }

    /// How long ago it last beat.
    pub fn still_for(&self) -> Duration {
        let last = self.last.load(Ordering::Relaxed);
        Duration::from_millis(self.elapsed().saturating_sub(last))
    }

    fn elapsed(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }
}
