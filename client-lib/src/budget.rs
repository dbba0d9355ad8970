//! The bound on what is unanswered: one semaphore that stands for requests and bytes at once.
//!
//! A request costs its bytes, but at least `bytes / requests` of the whole: so neither bound can be passed. Waiters are served in order.

use std::time::Instant;
use tokio::sync::Semaphore;

/// Bytes per permit.
const UNIT: usize = 64;

/// The permits of one client.
pub(crate) struct Budget {
    free: Semaphore,
    total: u32,
    least: u32,
}

impl Budget {
    pub(crate) fn new(requests: usize, bytes: usize) -> Self {
        let total = (bytes / UNIT).max(requests).min(u32::MAX as usize >> 1);
        Self {
            free: Semaphore::new(total),
            total: total as u32,
            least: (total / requests).max(1) as u32,
        }
    }

    /// What a request of so many bytes takes. One larger than everything takes everything.
    pub(crate) fn cost(&self, bytes: usize) -> u32 {
        bytes
            .div_ceil(UNIT)
            .clamp(self.least as usize, self.total as usize) as u32
    }

    pub(crate) fn try_reserve(&self, cost: u32) -> bool {
        self.free
            .try_acquire_many(cost)
            .map(tokio::sync::SemaphorePermit::forget)
            .is_ok()
    }

    /// Waits for room; false if there was none by the deadline.
    pub(crate) async fn reserve(&self, cost: u32, deadline: Instant) -> bool {
        if self.try_reserve(cost) {
            return true;
        }
        match tokio::time::timeout_at(deadline.into(), self.free.acquire_many(cost)).await {
            Ok(Ok(permit)) => {
                permit.forget();
                true
            }
            // the semaphore is never closed
            Ok(Err(_)) | Err(_) => false,
        }
    }

    pub(crate) fn release(&self, cost: usize) {
        if cost > 0 {
            self.free.add_permits(cost);
        }
    }

    /// Whether nothing is unanswered.
    pub(crate) fn is_idle(&self) -> bool {
        self.free.available_permits() == self.total as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_count_nor_the_bytes_can_be_passed() {
        let budget = Budget::new(10, 64 << 10);
        assert_eq!(
            (0..20)
                .filter(|_| budget.try_reserve(budget.cost(1)))
                .count(),
            10
        );
        budget.release(10 * budget.cost(1) as usize);
        // the unit rounds up, so a few bytes of the bound may stay unused
        assert_eq!(
            (0..20)
                .filter(|_| budget.try_reserve(budget.cost(20 << 10)))
                .count(),
            3
        );
    }

    #[test]
    fn a_request_larger_than_everything_waits_for_everything() {
        let budget = Budget::new(10, 64 << 10);
        assert!(budget.try_reserve(budget.cost(1)));
        assert!(!budget.try_reserve(budget.cost(1 << 30)));
        budget.release(budget.cost(1) as usize);
        assert!(budget.is_idle());
        assert!(budget.try_reserve(budget.cost(1 << 30)));
        assert!(!budget.is_idle());
    }
}
