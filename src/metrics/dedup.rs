//! The metrics of dedup across replicas.
//! Must not know what an entry is.

use metrics::{Counter, Gauge, counter, gauge};

use super::{Metrics, catalogue, zeroed};

/// Of the topic that replicas share.
pub struct SharedDedupMetrics {
    /// Entries that Kafka took.
    pub written: Counter,
    /// Entries that it did not take.
    pub failed: Counter,
    /// Entries that were copied from another cluster.
    pub of_another_cluster: Counter,
    /// Entries that are none.
    pub unreadable: Counter,
    following: Gauge,
    lag: Gauge,
}

impl Metrics {
    /// The metrics of dedup across replicas, zeroed.
    pub fn shared_dedup(&self) -> SharedDedupMetrics {
        metrics::with_local_recorder(&*self.recorder, || {
            let entries = |result: &'static str| zeroed(counter!(catalogue::DEDUP_WRITTEN, "result" => result));
            let ignored = |reason: &'static str| zeroed(counter!(catalogue::DEDUP_IGNORED, "reason" => reason));
            SharedDedupMetrics {
                written: entries("written"),
                failed: entries("failed"),
                of_another_cluster: ignored("other_cluster"),
                unreadable: ignored("unreadable"),
                following: gauge!(catalogue::DEDUP_FOLLOWING),
                lag: gauge!(catalogue::DEDUP_LAG),
            }
        })
    }
}

impl SharedDedupMetrics {
    /// The topic is read, and so many entries are to come.
    pub fn lag(&self, records: u64) {
        self.following.set(1.0);
        self.lag.set(f64::from(u32::try_from(records).unwrap_or(u32::MAX)));
    }

    /// The topic is not read.
    pub fn not_read(&self) {
        self.following.set(0.0);
    }
}
