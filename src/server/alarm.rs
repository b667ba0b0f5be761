//! The one timer of a connection's task. It is set anew only when it would ring too late, so that a busy connection, whose
//! time is put off with each request, leaves it alone until it rings for what is over by then.
//! Must not know what it rings for.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is kept for a connection's whole life.
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// When it rings; `None`: it does not.
    at: Option<Instant>,
}

impl Alarm {
    /// One that does not ring.
    pub(super) fn new() -> Self {
        Self { sleep: Box::pin(sleep_until(Instant::now())), at: None }
    }

    /// When it rings next.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// It shall ring no later than at `time`.
    pub(super) fn cover(&mut self, time: Option<Instant>) {
        match time {
            Some(time) if self.at.is_none_or(|at| time < at) => self.set(time),
            Some(_) | None => {}
        }
    }

    /// It shall ring at `time`, and not before.
    pub(super) fn set(&mut self, time: Instant) {
        if self.at != Some(time) {
            self.sleep.as_mut().reset(time);
            self.at = Some(time);
        }
    }

    /// Returns when it rings, which it then does no more until it is set again.
    pub(super) async fn rings(&mut self) {
        match self.at {
            None => std::future::pending().await,
            Some(_) => self.sleep.as_mut().await,
        }
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rings_at_the_earliest_time_that_it_was_given_and_once() {
        let (mut alarm, start) = (Alarm::new(), Instant::now());
        let after = |seconds| Some(start + Duration::from_secs(seconds));
        alarm.cover(None);
        assert_eq!(alarm.at(), None);
        alarm.cover(after(5));
        alarm.cover(after(3));
        alarm.cover(after(4));
        assert_eq!(alarm.at(), after(3));
        alarm.rings().await;
        assert_eq!(Some(Instant::now()), after(3));
        assert_eq!(alarm.at(), None);
        let again = tokio::time::timeout(Duration::from_mins(1), alarm.rings()).await;
        assert!(again.is_err());
        alarm.cover(after(1));
        alarm.set(start + Duration::from_secs(70));
        alarm.rings().await;
        assert_eq!(Some(Instant::now()), after(70));
    }
}
