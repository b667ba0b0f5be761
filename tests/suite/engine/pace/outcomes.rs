//! Watches the outcomes as a subscriber does, `read_committed`, and holds the engine to one a session.
//! Must not look at what came of a session.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::support::kafka::Kafka;

/// How long no outcome may come.
const PATIENCE: Duration = Duration::from_mins(2);
/// One look.
const LOOK: Duration = Duration::from_millis(100);

/// The outcomes of one setup.
pub struct Outcomes {
    consumer: BaseConsumer,
    sessions: BTreeSet<Vec<u8>>,
}

impl Outcomes {
    /// All of a topic.
    pub fn of(kafka: &Kafka, topic: &str, partitions: i32) -> Self {
        let consumer: BaseConsumer = kafka
            .client()
            .set("group.id", "outcomes") // asked for, and not used: partitions are assigned, no offset is stored
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        Self { consumer, sessions: BTreeSet::new() }
    }

    /// Waits until so many sessions have their outcome, and says when the last one was seen.
    pub fn await_sessions(&mut self, count: u32) -> Timestamp {
        let count = usize::try_from(count).unwrap();
        let mut latest = Instant::now() + PATIENCE;
        while self.sessions.len() < count {
            match self.consumer.poll(LOOK) {
                Some(Ok(outcome)) => {
                    let key = outcome.key().unwrap().to_vec();
                    assert!(self.sessions.insert(key), "a second outcome of {:?}", outcome.key());
                    latest = Instant::now() + PATIENCE;
                }
                Some(Err(error)) => panic!("reading outcomes: {error}"),
                None => assert!(Instant::now() < latest, "{} outcomes of {count}", self.sessions.len()),
            }
        }
        Timestamp::now()
    }
}
