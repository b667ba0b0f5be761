//! Whether any broker can be reached, for the log: one line when none can, one a minute while that lasts, one when it is over.
//! Must not know what the records are, and reads no clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Otherwise;
use crate::kafka::broker_clock::ClockReading;
use crate::log_limit::{LINE_EVERY, whole_seconds};

/// How long no broker is connected before that is said: a client that starts, or takes another's place, needs a moment.
const SAID_AFTER: Duration = Duration::from_secs(3);

/// Follows the connections of the present producer.
#[derive(Default)]
pub(super) struct OutageWatch {
    lost: Mutex<Option<ContactLost>>,
    /// Records that failed since the start.
    failed: AtomicU64,
}

struct ContactLost {
    since: ClockReading,
    /// When a line about it was logged last.
    last_line: Option<Instant>,
    /// How many records had failed before.
    failed: u64,
}

/// A line that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OutageLine {
    /// No broker is connected.
    Lasts {
        /// Since then, by our wall clock.
        since: Timestamp,
        /// Records that failed meanwhile.
        failed: u64,
    },
    /// A broker is connected again.
    Over {
        /// How long it lasted.
        after: Duration,
        /// Records that failed meanwhile.
        failed: u64,
    },
}

impl OutageWatch {
    /// So many brokers are connected now; which line is due.
    pub(super) fn connected(&self, brokers: usize, now: ClockReading) -> Option<OutageLine> {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if brokers > 0 {
            let ended = lost.take()?;
            let after = now.monotonic.saturating_duration_since(ended.since.monotonic);
            let failed = self.failed.load(Ordering::Relaxed).saturating_sub(ended.failed);
            return ended.last_line.map(|_| OutageLine::Over { after, failed });
        }
        let failed = self.failed.load(Ordering::Relaxed);
        let lost = lost.get_or_insert(ContactLost { since: now, last_line: None, failed });
        let since = |earlier: Instant| now.monotonic.saturating_duration_since(earlier);
        let is_due = match lost.last_line {
            None => since(lost.since.monotonic) >= SAID_AFTER,
            Some(logged_at) => since(logged_at) >= LINE_EVERY,
        };
        is_due.then(|| {
            lost.last_line = Some(now.monotonic);
            OutageLine::Lasts { since: lost.since.wall, failed: failed.saturating_sub(lost.failed) }
        })
    }

    /// Whether the log has said that no broker is connected.
    pub(super) fn is_on(&self) -> bool {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.as_ref().is_some_and(|lost| lost.last_line.is_some())
    }

    /// A record failed.
    pub(super) fn record_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl OutageLine {
    /// Logs it; `error` is what the client reported of its connections.
    pub(super) fn log(&self, error: &str, otherwise: Otherwise) {
        let follows = match otherwise {
            Otherwise::Refused => "webhooks are answered 503",
            Otherwise::Spooled => "webhooks go to the spool on disk",
        };
        match self {
            Self::Lasts { since, failed } => tracing::error!(
                since = %since.strftime("%Y-%m-%dT%H:%M:%SZ"),
                error,
                failed,
                "no Kafka broker can be reached; {follows}"
            ),
            Self::Over { after, failed } => {
                tracing::info!(after = whole_seconds(*after), failed, "a Kafka broker can be reached again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn an_outage_has_one_line_when_it_begins_one_a_minute_and_one_at_its_end() {
        let (start, epoch) = (Instant::now(), "2024-05-27T02:03:00Z".parse::<Timestamp>().unwrap());
        let watch = OutageWatch::default();
        let at = |seconds: i64| ClockReading {
            wall: epoch + SignedDuration::from_secs(seconds),
            monotonic: start + Duration::from_secs(seconds.unsigned_abs()),
        };
        let lasts = |failed| Some(OutageLine::Lasts { since: epoch + SignedDuration::from_secs(10), failed });
        watch.record_failed();
        assert_eq!((watch.connected(0, at(0)), watch.connected(1, at(2))), (None, None), "a moment is none");
        assert_eq!((watch.connected(0, at(10)), watch.is_on()), (None, false));
        watch.record_failed();
        assert_eq!((watch.connected(0, at(13)), watch.is_on()), (lasts(1), true));
        watch.record_failed();
        assert_eq!(watch.connected(0, at(72)), None);
        assert_eq!(watch.connected(0, at(73)), lasts(2));
        watch.record_failed();
        let over = OutageLine::Over { after: Duration::from_secs(90), failed: 3 };
        assert_eq!((watch.connected(3, at(100)), watch.is_on()), (Some(over), false));
        assert_eq!(watch.connected(3, at(101)), None);
    }
}
