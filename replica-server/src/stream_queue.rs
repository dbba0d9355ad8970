//! The sending end of a gRPC stream: what is queued while the connection is busy goes out as one batch.
//!
//! Bounded by who fills it ([`Queue::backlog`]); it never drops or reorders by itself.

use futures::Stream;
use futures::task::AtomicWaker;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// One message of a stream, made of the items that were waiting.
pub(crate) trait Batch: Send + 'static {
    type Item: Send + 'static;

    /// How much of the message an item takes.
    fn size(item: &Self::Item) -> usize;
    fn of(items: Vec<Self::Item>) -> Self;
}

/// A message larger than this is closed, so that a receiver begins its work early.
const MESSAGE_BYTES: usize = 1 << 20;

/// Where items are put. Clones put into the same stream.
pub(crate) struct Queue<B: Batch>(Arc<Shared<B>>);

impl<B: Batch> Clone for Queue<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<B: Batch> {
    items: Mutex<Waiting<B::Item>>,
    bytes: AtomicUsize,
    closed: AtomicBool,
    reader: AtomicWaker,
    /// Whoever waits for the backlog to shrink.
    writer: AtomicWaker,
}

struct Waiting<T> {
    items: Vec<T>,
}

impl<B: Batch> Queue<B> {
    /// A queue and the stream of messages that it becomes. The stream ends after [`Queue::close`].
    pub(crate) fn new() -> (Self, Messages<B>) {
        let shared = Arc::new(Shared {
            items: Mutex::new(Waiting { items: Vec::new() }),
            bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        });
        (Self(shared.clone()), Messages(shared))
    }

    pub(crate) fn push(&self, item: B::Item) {
        if self.is_closed() {
            return;
        }
        self.0.bytes.fetch_add(B::size(&item), Ordering::Relaxed);
        let first = {
            let mut waiting = self.0.items.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.items.push(item);
            waiting.items.len() == 1
        };
        if first {
            self.0.reader.wake();
        }
    }

    /// Bytes that wait to be taken by the connection.
    pub(crate) fn backlog(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Returns when the backlog is below `bytes`, or nobody reads any more.
    pub(crate) async fn below(&self, bytes: usize) {
        std::future::poll_fn(|context| {
            if self.backlog() < bytes || self.is_closed() {
                return Poll::Ready(());
            }
            self.0.writer.register(context.waker());
            if self.backlog() < bytes || self.is_closed() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.reader.wake();
        self.0.writer.wake();
    }

    /// Whether the connection is gone, or about to be.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }
}

/// The stream that tonic sends.
pub(crate) struct Messages<B: Batch>(Arc<Shared<B>>);

impl<B: Batch> Messages<B> {
    fn take(&self) -> Option<B> {
        let mut waiting = self.0.items.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.items.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fit = waiting.items.iter().position(|item| {
            let full = bytes >= MESSAGE_BYTES;
            bytes += B::size(item);
            full
        });
        let taken = match fit {
            None => std::mem::take(&mut waiting.items),
            Some(count) => {
                let rest = waiting.items.split_off(count);
                std::mem::replace(&mut waiting.items, rest)
            }
        };
        drop(waiting);
        let size: usize = taken.iter().map(B::size).sum();
        self.0.bytes.fetch_sub(size, Ordering::Relaxed);
        self.0.writer.wake();
        Some(B::of(taken))
    }
}

impl<B: Batch> Stream for Messages<B> {
    type Item = B;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<B>> {
        if let Some(batch) = self.take() {
            return Poll::Ready(Some(batch));
        }
        self.0.reader.register(context.waker());
        if let Some(batch) = self.take() {
            return Poll::Ready(Some(batch));
        }
        if self.0.closed.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

impl<B: Batch> Drop for Messages<B> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.writer.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    struct Numbers(Vec<usize>);

    impl Batch for Numbers {
        type Item = usize;

        fn size(item: &usize) -> usize {
            *item
        }

        fn of(items: Vec<usize>) -> Self {
            Self(items)
        }
    }

    fn next(messages: &mut Messages<Numbers>) -> Poll<Option<Vec<usize>>> {
        let next = messages.next().now_or_never();
        next.map_or(Poll::Pending, |next| {
            Poll::Ready(next.map(|numbers| numbers.0))
        })
    }

    #[test]
    fn what_waits_goes_out_as_one_message_in_order_until_the_queue_is_closed() {
        let (queue, mut messages) = Queue::<Numbers>::new();
        assert_eq!(next(&mut messages), Poll::Pending);
        for number in [1, 2, 3] {
            queue.push(number);
        }
        assert_eq!(queue.backlog(), 6);
        assert_eq!(next(&mut messages), Poll::Ready(Some(vec![1, 2, 3])));
        assert_eq!(queue.backlog(), 0);
        queue.push(4);
        queue.close();
        queue.push(5);
        assert_eq!(
            next(&mut messages),
            Poll::Ready(Some(vec![4])),
            "what was there before the end is sent"
        );
        assert_eq!(next(&mut messages), Poll::Ready(None));
    }

    #[test]
    fn a_message_ends_behind_the_item_that_fills_it() {
        let (queue, mut messages) = Queue::<Numbers>::new();
        for number in [MESSAGE_BYTES - 1, 1, 7, 8] {
            queue.push(number);
        }
        assert_eq!(
            next(&mut messages),
            Poll::Ready(Some(vec![MESSAGE_BYTES - 1, 1]))
        );
        assert_eq!(next(&mut messages), Poll::Ready(Some(vec![7, 8])));
    }

    #[test]
    fn who_waits_for_room_goes_on_when_messages_are_taken_or_nobody_takes_them_any_more() {
        let (queue, mut messages) = Queue::<Numbers>::new();
        queue.push(10);
        assert_eq!(queue.below(10).now_or_never(), None);
        assert!(next(&mut messages).is_ready());
        assert_eq!(queue.below(10).now_or_never(), Some(()));
        queue.push(10);
        drop(messages);
        assert_eq!(queue.below(10).now_or_never(), Some(()));
    }
}
