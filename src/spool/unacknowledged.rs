//! The records that the producer has and Kafka has not acknowledged, so that it is seen when Kafka takes too long.
//! Must not know what is done about it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::kafka::publisher::{Delivery, DeliveryFailure};
use crate::provider::EventId;

/// Records that were sent, by their sequence.
#[derive(Default)]
pub(super) struct Unacknowledged {
    next: AtomicU64,
    sent: Mutex<BTreeMap<u64, SentRecord>>,
    queue_was_full: AtomicBool,
}

/// A record on its way.
pub(super) struct SentRecord {
    since: Instant,
    topic: Arc<str>,
    /// The event that it is.
    pub(super) event_id: Option<EventId>,
}

impl Unacknowledged {
    /// A record is about to be sent; its sequence.
    pub(super) fn sent(&self, topic: &Arc<str>, event_id: Option<EventId>) -> u64 {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let record = SentRecord { since: Instant::now(), topic: Arc::clone(topic), event_id };
        self.inside().insert(sequence, record);
        sequence
    }

    /// A record's fate is told.
    pub(super) fn reported(&self, sequence: u64, delivery: Delivery) {
        self.taken_back(sequence);
        if delivery == Delivery::Failed(DeliveryFailure::QueueFull) {
            self.queue_was_full.store(true, Ordering::Relaxed);
        }
    }

    /// A record is not on its way any more.
    pub(super) fn taken_back(&self, sequence: u64) -> Option<SentRecord> {
        self.inside().remove(&sequence)
    }

    /// Whether the producer's queue was full since this was asked last.
    pub(super) fn queue_was_full(&self) -> bool {
        self.queue_was_full.swap(false, Ordering::Relaxed)
    }

    /// For how long the oldest record of those topics that count has been on its way.
    pub(super) fn oldest(&self, now: Instant, counts: impl Fn(&str) -> bool) -> Option<Duration> {
        let sent = self.inside();
        let oldest = sent.values().find(|record| counts(&record.topic))?;
        Some(now.saturating_duration_since(oldest.since))
    }

    fn inside(&self) -> MutexGuard<'_, BTreeMap<u64, SentRecord>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_oldest_record_of_a_topic_that_counts() {
        let unacknowledged = Unacknowledged::default();
        let [missing, shop]: [Arc<str>; 2] = ["missing".into(), "shop".into()];
        let first = unacknowledged.sent(&missing, None);
        let second = unacknowledged.sent(&shop, None);
        let later = Instant::now() + Duration::from_secs(5);
        let oldest = |topic: &'static str| unacknowledged.oldest(later, move |name| name != topic);
        assert!(oldest("none") >= oldest("missing") && oldest("missing") > Some(Duration::from_secs(4)));
        unacknowledged.reported(second, Delivery::Acknowledged);
        assert_eq!(oldest("missing"), None);
        assert!(unacknowledged.taken_back(first).is_some() && unacknowledged.taken_back(first).is_none());
        assert!(!unacknowledged.queue_was_full());
        unacknowledged.reported(first, Delivery::Failed(DeliveryFailure::QueueFull));
        assert!(unacknowledged.queue_was_full() && !unacknowledged.queue_was_full());
    }
}
