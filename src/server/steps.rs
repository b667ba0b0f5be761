//! How far a server's end is: one number that every connection reads without a lock, and one word to each task when it moves.
//! Must not know sockets, hyper, or what a step means to a connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// A step of the end. It holds what those before it ask for, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step(u8);

impl Step {
    /// Each connection ends with its next answer.
    pub(super) const DRAIN: Self = Self(1);
    /// Take no more requests.
    pub(super) const STOP: Self = Self(2);
    /// Drop the handlers; their requests are answered 503.
    pub(super) const HURRY: Self = Self(3);
    /// Drop everything.
    pub(super) const KILL: Self = Self(4);
}

/// The last step that a server has reached: none at first.
#[derive(Debug, Default)]
pub(super) struct Steps {
    last: AtomicU8,
    moved: Notify,
    /// Held while the step and the word of it go out, and by a task that begins to listen: between the two, the word of
    /// the step that it has seen would be taken for the next, and the next be missed.
    moving: Mutex<()>,
}

/// What [`Steps::attend`] was woken by.
enum Woken {
    Ended,
    Moved,
}

impl Steps {
    /// Goes on to `step`, if it is not there yet, and wakes whoever waits for a step.
    pub(super) fn reach(&self, step: Step) {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        if self.last.fetch_max(step.0, Ordering::Release) < step.0 {
            self.moved.notify_waiters();
        }
    }

    /// The end is as far as `step`, or farther.
    pub(super) fn has_reached(&self, step: Step) -> bool {
        self.last.load(Ordering::Acquire) >= step.0
    }

    /// Runs the future of a whole task until it ends or everything is to be dropped, and polls it again at each step. So what
    /// is inside waits by [`Steps::seen`], and the lock that all tasks share is taken once a step, not once a poll.
    pub(super) async fn attend(&self, mut task: Pin<&mut impl Future<Output = ()>>) {
        loop {
            let (last, moved) = self.listen();
            let mut moved = pin!(moved);
            if last >= Step::KILL.0 {
                return;
            }
            let mut is_listed = false;
            let woken = poll_fn(|context| {
                if task.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Woken::Ended);
                }
                if self.last.load(Ordering::Acquire) != last {
                    return Poll::Ready(Woken::Moved);
                }
                // Once is enough: a task's waker is the same for its whole life.
                if !is_listed && moved.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Woken::Moved);
                }
                is_listed = true;
                Poll::Pending
            });
            match woken.await {
                Woken::Ended => return,
                Woken::Moved => {}
            }
        }
    }

    /// The last step, and the word of the next one.
    fn listen(&self) -> (u8, Notified<'_>) {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        (self.last.load(Ordering::Acquire), self.moved.notified())
    }

    /// Returns when `step` is reached. For what runs within [`Steps::attend`], which wakes it.
    pub(super) async fn seen(&self, step: Step) {
        poll_fn(|_| if self.has_reached(step) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Returns when `step` is reached. For any task.
    pub(super) async fn reached(&self, step: Step) {
        loop {
            let moved = self.moved.notified();
            if self.has_reached(step) {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn a_task_sees_each_step_and_is_dropped_at_the_last() {
        let (steps, seen) = (Arc::new(Steps::default()), Arc::new(AtomicUsize::new(0)));
        let (inside, counter) = (Arc::clone(&steps), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let work = pin!(async {
                for step in [Step::DRAIN, Step::STOP, Step::HURRY, Step::KILL] {
                    inside.seen(step).await;
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                std::future::pending::<()>().await;
            });
            inside.attend(work).await;
        });
        for (step, expect) in [(Step::DRAIN, 1), (Step::STOP, 2), (Step::DRAIN, 2), (Step::HURRY, 3)] {
            steps.reach(step);
            for _ in 0..10 {
                yield_now().await;
            }
            assert_eq!(seen.load(Ordering::SeqCst), expect);
            assert!(!task.is_finished());
        }
        steps.reach(Step::KILL);
        task.await.unwrap();
        assert_eq!(Arc::strong_count(&steps), 1);
    }

    #[tokio::test]
    async fn a_step_holds_those_before_it_and_is_never_taken_back() {
        let steps = Steps::default();
        assert!(!steps.has_reached(Step::DRAIN));
        steps.reach(Step::STOP);
        steps.reach(Step::DRAIN);
        assert!(steps.has_reached(Step::DRAIN) && steps.has_reached(Step::STOP) && !steps.has_reached(Step::HURRY));
        steps.reached(Step::STOP).await;
        steps.seen(Step::DRAIN).await;
    }
}
