//! A process that was started here: it ends with its owner, politely, then not.

use rustix::process::{Pid, Signal, kill_process};
use std::ops::{Deref, DerefMut};
use std::process::Child;
use std::time::{Duration, Instant};

/// How long a process may take to end when asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How often an owner looks whether something has happened. It is no part of what is measured.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Ends its process when dropped.
#[derive(Debug)]
pub(crate) struct OwnedChild(pub(crate) Child);

impl Deref for OwnedChild {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for OwnedChild {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.0.try_wait() {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.0.id() as i32) {
            // Gone already is as good.
            let _ = kill_process(pid, Signal::INT);
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
