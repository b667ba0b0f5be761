//! One way through all files, from the oldest to the newest. A topic whose record failed is left alone until the next round, in all later
//! files too, so that its records stay in order.
//! Must not know how records are published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::KeptBack;
use super::backlog::BacklogFile;

/// What is known in this round.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// How often records had begun to go to disk when it began.
    pub(super) engagements: u64,
    /// Topics that failed.
    pub(super) set_aside: BTreeMap<Arc<str>, KeptBack>,
    /// Files that cannot be read, or not be deleted.
    pub(super) skipped: BTreeSet<u64>,
    /// Whether Kafka took a record.
    pub(super) went: bool,
}

impl Round {
    /// Whether a file has records that may go.
    pub(super) fn takes(&self, number: u64, file: &BacklogFile) -> bool {
        // A file without topics is one that is to be looked at, or to be deleted.
        let may_go = file.topics.is_empty() || file.topics.iter().any(|topic| !self.set_aside.contains_key(topic));
        may_go && !self.skipped.contains(&number)
    }

    /// A record failed.
    pub(super) fn set_aside(&mut self, topic: &Arc<str>, why: KeptBack) {
        self.set_aside.insert(Arc::clone(topic), why);
    }

    /// Kafka took a record. Where others failed before, it was Kafka that was away, and not their topics: they are tried again, from the
    /// oldest file on.
    pub(super) fn record_went(&mut self) {
        if !self.went {
            self.went = true;
            self.set_aside.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_topic_that_failed_is_left_alone_until_kafka_is_seen_to_work() {
        let [shop, bank]: [Arc<str>; 2] = ["shop".into(), "bank".into()];
        let file = |topics: &[&Arc<str>]| {
            BacklogFile::new(1, [None].into(), topics.iter().map(|topic| Arc::clone(topic)), SystemTime::UNIX_EPOCH)
        };
        let mut round = Round::default();
        round.set_aside(&shop, KeptBack::Slow);
        assert!(
            !round.takes(1, &file(&[&shop])) && round.takes(1, &file(&[&shop, &bank])) && round.takes(1, &file(&[]))
        );
        round.record_went();
        assert!(round.takes(1, &file(&[&shop])));
        round.set_aside(&shop, KeptBack::Slow);
        round.record_went();
        assert!(!round.takes(1, &file(&[&shop])), "Kafka works: now it is the topic");
        round.skipped.insert(1);
        assert!(!round.takes(1, &file(&[&bank])));
    }
}
