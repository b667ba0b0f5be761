//! Partitions whose records only time out. Where Kafka has a leader for them, and the producer is connected, it may be the producer
//! that knows no better: librdkafka takes the leaders of a topic that was deleted and made again for older ones than those that it
//! knew, and sends records to the old ones for ever (its issue 4898).
//! Must not ask Kafka for leaders.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Delivery, DeliveryFailure};

/// From the first record that times out to the last. A leader that fails has a successor before.
const STUCK_AFTER: Duration = Duration::from_secs(15);

/// A topic and the number of one of its partitions.
pub type Partition = (String, i32);

/// The first and the last record of each partition that timed out since one was acknowledged.
#[derive(Default)]
pub(super) struct StuckPartitions {
    /// Whether there is one: delivery reports are many.
    is_any: AtomicBool,
    timed_out: Mutex<BTreeMap<Partition, (Instant, Instant)>>,
}

impl StuckPartitions {
    /// A record's fate is known.
    pub(super) fn reported(&self, topic: &str, partition: i32, delivery: Delivery, now: Instant) {
        match delivery {
            Delivery::Failed(DeliveryFailure::TimedOut) => {
                self.is_any.store(true, Ordering::Relaxed);
                self.inside().entry((topic.to_owned(), partition)).or_insert((now, now)).1 = now;
            }
            Delivery::Acknowledged if self.is_any.load(Ordering::Relaxed) => {
                let mut timed_out = self.inside();
                timed_out.remove(&(topic.to_owned(), partition));
                self.is_any.store(!timed_out.is_empty(), Ordering::Relaxed);
            }
            Delivery::Acknowledged | Delivery::Spooled | Delivery::TooLarge | Delivery::Failed(_) => {}
        }
    }

    /// Those whose records have only timed out for long.
    pub(super) fn list(&self) -> Vec<Partition> {
        let inside = self.inside();
        let stuck = inside.iter().filter(|(_, (first, last))| last.duration_since(*first) >= STUCK_AFTER);
        stuck.map(|(partition, _)| partition.clone()).collect()
    }

    /// Another producer has taken over.
    pub(super) fn clear(&self) {
        self.inside().clear();
    }

    fn inside(&self) -> MutexGuard<'_, BTreeMap<Partition, (Instant, Instant)>> {
        self.timed_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMED_OUT: Delivery = Delivery::Failed(DeliveryFailure::TimedOut);

    #[test]
    fn a_partition_is_stuck_when_its_records_only_time_out_for_long() {
        let (stuck, begun) = (StuckPartitions::default(), Instant::now());
        for partition in [0, 1, 2] {
            stuck.reported("orders", partition, TIMED_OUT, begun);
        }
        assert!(stuck.list().is_empty(), "one record may have been unlucky");
        stuck.reported("orders", 1, Delivery::Acknowledged, begun);
        for partition in [0, 1] {
            stuck.reported("orders", partition, TIMED_OUT, begun + STUCK_AFTER);
        }
        stuck.reported("orders", 2, TIMED_OUT, begun + STUCK_AFTER / 2);
        stuck.reported("orders", 2, Delivery::Failed(DeliveryFailure::Purged), begun + STUCK_AFTER);
        assert_eq!(stuck.list(), [("orders".to_owned(), 0)]);
        stuck.clear();
        assert!(stuck.list().is_empty());
    }
}
