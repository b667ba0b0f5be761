//! Whether a client still knows a broker. librdkafka may forget all of them for ever (its issue 5301): where Kafka answers with topics
//! and no brokers, as it does while all of them are fenced, it gives up those that it knows; that starts another look at
//! `bootstrap.servers`, which the end of that same answer may stop. Such a client never connects again: another one is needed.
//! Must not know what a client is for.

use std::sync::atomic::{AtomicU8, Ordering};

use rdkafka::statistics::Statistics;

/// How often a client tells statistics that has no other use for them.
pub(super) const STATISTICS_INTERVAL_MS: u32 = 1000;
/// So many statistics in a row tell of no broker when all are forgotten. One may be of the moment before a client looks at
/// `bootstrap.servers` once more.
const FORGOTTEN_AFTER: u8 = 2;
/// Where librdkafka knows a broker from; what else it calls a broker has no address of its own.
const WITH_ADDRESS: [&str; 2] = ["configured", "learned"];

/// What one client's statistics tell.
#[derive(Default)]
pub(super) struct KnownBrokers {
    told_none: AtomicU8,
}

impl KnownBrokers {
    /// Learns from the next statistics; whether all brokers are forgotten since these.
    pub(super) fn learn(&self, statistics: &Statistics) -> bool {
        let knows_one = statistics.brokers.values().any(|broker| WITH_ADDRESS.contains(&broker.source.as_str()));
        if knows_one {
            self.told_none.store(0, Ordering::Relaxed);
            return false;
        }
        let more = |told: u8| Some(told.saturating_add(1));
        let before = self.told_none.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        before.is_ok_and(|before| more(before) == Some(FORGOTTEN_AFTER))
    }

    /// Whether all are forgotten.
    pub(super) fn are_forgotten(&self) -> bool {
        self.told_none.load(Ordering::Relaxed) >= FORGOTTEN_AFTER
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::Broker;

    use super::*;

    #[test]
    fn brokers_are_forgotten_once_two_statistics_in_a_row_tell_of_none() {
        let brokers = KnownBrokers::default();
        let learn = |sources: &[&str]| {
            let broker =
                |source: &&str| ((*source).to_owned(), Broker { source: (*source).to_owned(), ..Broker::default() });
            let statistics = Statistics { brokers: sources.iter().map(broker).collect(), ..Statistics::default() };
            (brokers.learn(&statistics), brokers.are_forgotten())
        };
        assert_eq!(learn(&["internal", "configured"]), (false, false));
        assert_eq!(learn(&["internal", "logical"]), (false, false));
        assert_eq!(learn(&["internal", "learned"]), (false, false));
        assert_eq!(learn(&["internal"]), (false, false));
        assert_eq!(learn(&["internal", "logical"]), (true, true));
        assert_eq!(learn(&[]), (false, true), "it is told once");
        assert_eq!(learn(&["configured"]), (false, false));
    }
}
