//! Partitions whose records only time out, and the brokers that the producer takes for their leaders. Where Kafka has other leaders,
//! the producer is stuck: librdkafka takes the leaders of a topic that was deleted and made again for older ones than those that
//! it knew, and sends records to the old ones for ever (its issue 4898).
//! Must not ask Kafka for leaders.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::statistics;

use super::{Delivery, DeliveryFailure};

/// From the first record that times out to the last. A leader that fails has a successor before.
const STUCK_AFTER: Duration = Duration::from_secs(15);

/// A partition whose records have only timed out for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckPartition {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The broker that its records are sent to, or -1.
    pub sent_to: i32,
}

/// What is known of a partition since a record of it timed out, with none acknowledged since.
struct TimedOut {
    first: Instant,
    last: Instant,
    sent_to: Option<i32>,
}

/// Partitions with records that timed out.
#[derive(Default)]
pub(super) struct StuckPartitions {
    /// Whether there is one: delivery reports are many. Written under the lock.
    is_any: AtomicBool,
    timed_out: Mutex<BTreeMap<(String, i32), TimedOut>>,
}

impl StuckPartitions {
    /// A record's fate is known. One that never got a partition has a negative one.
    pub(super) fn reported(&self, topic: &str, partition: i32, delivery: Delivery, now: Instant) {
        match delivery {
            Delivery::Failed(DeliveryFailure::TimedOut) if partition >= 0 => {
                let mut timed_out = self.inside();
                let begun = || TimedOut { first: now, last: now, sent_to: None };
                timed_out.entry((topic.to_owned(), partition)).or_insert_with(begun).last = now;
                self.is_any.store(true, Ordering::Relaxed);
            }
            Delivery::Acknowledged if self.is_any.load(Ordering::Relaxed) => {
                let mut timed_out = self.inside();
                timed_out.remove(&(topic.to_owned(), partition));
                self.is_any.store(!timed_out.is_empty(), Ordering::Relaxed);
            }
            Delivery::Acknowledged | Delivery::Spooled | Delivery::TooLarge | Delivery::Failed(_) => {}
        }
    }

    /// Learns from the producer's statistics where it sends records.
    pub(super) fn learn(&self, topics: &HashMap<String, statistics::Topic>) {
        for ((topic, partition), timed_out) in self.inside().iter_mut() {
            let told = topics.get(topic).and_then(|topic| topic.partitions.get(partition));
            timed_out.sent_to = told.map(|told| told.leader);
        }
    }

    /// Those whose records have only timed out for long.
    pub(super) fn list(&self) -> Vec<StuckPartition> {
        let inside = self.inside();
        let stuck = inside.iter().filter(|(_, timed_out)| timed_out.last - timed_out.first >= STUCK_AFTER);
        stuck
            .filter_map(|((topic, partition), timed_out)| {
                let sent_to = timed_out.sent_to?;
                Some(StuckPartition { topic: topic.clone(), partition: *partition, sent_to })
            })
            .collect()
    }

    /// Another producer has taken over.
    pub(super) fn clear(&self) {
        let mut timed_out = self.inside();
        timed_out.clear();
        self.is_any.store(false, Ordering::Relaxed);
    }

    fn inside(&self) -> MutexGuard<'_, BTreeMap<(String, i32), TimedOut>> {
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
        for partition in [-1, 0, 1, 2] {
            stuck.reported("orders", partition, TIMED_OUT, begun);
        }
        stuck.reported("orders", 1, Delivery::Acknowledged, begun);
        for partition in [-1, 0, 1] {
            stuck.reported("orders", partition, TIMED_OUT, begun + STUCK_AFTER);
        }
        stuck.reported("orders", 2, TIMED_OUT, begun + STUCK_AFTER / 2);
        stuck.reported("orders", 2, Delivery::Failed(DeliveryFailure::Purged), begun + STUCK_AFTER);
        assert_eq!(stuck.list(), [], "nothing is known of leaders");
        let partitions = (0..3).map(|partition| (partition, with_leader(partition + 7))).collect();
        let topic = statistics::Topic { partitions, ..statistics::Topic::default() };
        stuck.learn(&HashMap::from([("orders".to_owned(), topic)]));
        assert_eq!(stuck.list(), [StuckPartition { topic: "orders".to_owned(), partition: 0, sent_to: 7 }]);
        stuck.clear();
        assert_eq!(stuck.list(), []);
    }

    fn with_leader(leader: i32) -> statistics::Partition {
        statistics::Partition { leader, ..statistics::Partition::default() }
    }
}
