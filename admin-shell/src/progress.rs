//! What is shown while a command waits: on stderr, if that is a terminal, and wiped away when the answer comes.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often it moves by itself, so that it is seen to live.
const TICK: Duration = Duration::from_millis(250);

/// Gone when dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// So many of something are to be done: `what` as in "partitions counted".
    pub(crate) fn counting(of: u64, what: &'static str) -> Self {
        Self::shown(
            ProgressBar::new(of),
            "{bar:30} {pos} of {len} {msg}, {elapsed}",
            what,
        )
    }

    /// Nobody knows how long it takes: `what` as in "the store is read".
    pub(crate) fn waiting(what: &'static str) -> Self {
        Self::shown(
            ProgressBar::new_spinner(),
            "{spinner} {msg}, {elapsed}",
            what,
        )
    }

    fn shown(bar: ProgressBar, template: &str, what: &'static str) -> Self {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Whether anybody sees it.
    pub(crate) fn is_seen(&self) -> bool {
        !self.0.is_hidden()
    }

    /// One more is done.
    pub(crate) fn one(&self) {
        self.0.inc(1);
    }

    /// So many of so many are done by now.
    pub(crate) fn done(&self, done: u64, of: u64) {
        self.0.set_length(of);
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
