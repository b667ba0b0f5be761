//! What the log says of one topic whose records fail: a line when they begin to, when the reason changes, once a minute, and
//! when they are acknowledged again. Nothing per record.
//! Must not know what the records are, and reads no clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Delivery, DeliveryFailure, Otherwise};
use crate::log_limit::{LINE_EVERY, whole_seconds};

/// How long after the last failure an acknowledged record means that the topic works again. Where one partition has no
/// leader, the records of the others succeed in between.
const WORKS_AFTER: Duration = Duration::from_secs(5);

/// Follows the records of one topic.
#[derive(Default)]
pub(super) struct TopicLog {
    is_failing: AtomicBool,
    failing: Mutex<Option<Failing>>,
}

struct Failing {
    began: Instant,
    last_failure: Instant,
    /// When a line gave each reason last. Partitions may fail for different ones.
    told: BTreeMap<&'static str, Instant>,
    failed: u64,
}

/// A line that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TopicLine {
    /// Records fail; so many until now.
    Fails(u64),
    /// They are acknowledged again: so long after the first failure the last one came, of so many.
    Works(Duration, u64),
}

impl TopicLog {
    /// A record is acknowledged.
    pub(super) fn acknowledged(&self, now: impl FnOnce() -> Instant) -> Option<TopicLine> {
        // Read first: the usual case must neither take the lock nor ask for the time.
        if !self.is_failing.load(Ordering::Relaxed) {
            return None;
        }
        let now = now();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = failing.take_if(|failing| now.saturating_duration_since(failing.last_failure) >= WORKS_AFTER)?;
        self.is_failing.store(false, Ordering::Relaxed);
        Some(TopicLine::Works(ended.last_failure.saturating_duration_since(ended.began), ended.failed))
    }

    /// A record failed.
    pub(super) fn failed(&self, reason: &'static str, now: Instant) -> Option<TopicLine> {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_failing.store(true, Ordering::Relaxed);
        let state =
            failing.get_or_insert_with(|| Failing { began: now, last_failure: now, told: BTreeMap::new(), failed: 0 });
        state.failed += 1;
        state.last_failure = now;
        let told = state.told.get(reason);
        let is_due = told.is_none_or(|told| now.saturating_duration_since(*told) >= LINE_EVERY);
        is_due.then(|| {
            state.told.insert(reason, now);
            TopicLine::Fails(state.failed)
        })
    }
}

impl TopicLine {
    /// Logs it.
    pub(super) fn log(&self, topic: &str, delivery: Delivery, error: &dyn std::fmt::Display, otherwise: Otherwise) {
        let follows = match otherwise {
            Otherwise::Refused => "their webhooks are answered 503",
            Otherwise::Spooled => "records on disk wait there; webhooks whose records are not on disk are answered 503",
        };
        match (self, delivery) {
            (Self::Works(after, failed), _) => {
                tracing::info!(topic, after = whole_seconds(*after), failed, "Kafka acknowledges records again");
            }
            (Self::Fails(failed), Delivery::Failed(DeliveryFailure::UnknownTopic)) => tracing::error!(
                topic,
                failed,
                "topic does not exist; its webhooks are answered 503; create it with `paybridge topics --create`"
            ),
            (Self::Fails(failed), _) => tracing::error!(
                topic,
                %error,
                failed,
                "Kafka does not acknowledge records; {follows}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_begin_another_reason_each_minute_and_the_end() {
        let (log, begin) = (TopicLog::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(log.acknowledged(|| at(0)), None);
        assert_eq!(log.failed("timed_out", at(1)), Some(TopicLine::Fails(1)));
        assert_eq!(log.failed("timed_out", at(2)), None);
        assert_eq!(log.acknowledged(|| at(3)), None, "another partition's");
        assert_eq!(log.failed("unknown_topic", at(4)), Some(TopicLine::Fails(3)));
        assert_eq!(log.failed("timed_out", at(5)), None, "reasons of two partitions take turns");
        assert_eq!(log.failed("unknown_topic", at(63)), None);
        assert_eq!(log.failed("unknown_topic", at(64)), Some(TopicLine::Fails(6)));
        assert_eq!(log.acknowledged(|| at(69)), Some(TopicLine::Works(Duration::from_secs(63), 6)));
        assert_eq!(log.acknowledged(|| at(70)), None);
        assert_eq!(log.failed("timed_out", at(71)), Some(TopicLine::Fails(1)));
    }
}
