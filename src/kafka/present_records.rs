//! Reads what is on topics at one moment, topic by topic, and comes to an end; alone, as the reader that goes on does.
//! Must not know what a record means. Every call blocks: not for a tokio worker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client_error::ClientErrors;
use super::reader::{self, ReadError, ReadStep};

/// The end of each partition of one topic.
type PartitionEnds = BTreeMap<i32, i64>;

/// Reads the records that were committed before it was opened, from the oldest one.
pub struct PresentRecords {
    consumer: BaseConsumer<ClientErrors>,
    client_errors: ClientErrors,
    /// The topics that were not begun.
    topics: BTreeMap<String, PartitionEnds>,
    /// What was not read of the topic that is being read. One topic at a time: an end of a partition is told without its topic.
    unread: PartitionEnds,
}

impl PresentRecords {
    /// Finds the end of every partition of `topics`.
    ///
    /// # Errors
    /// A topic is missing or may not be read, or Kafka does not answer `within` the time.
    pub fn open(client: &ClientConfig, topics: &[String], within: Duration) -> Result<Self, ReadError> {
        let deadline = Instant::now() + within;
        let partitions = reader::partitions(client, topics, deadline)?;
        let (consumer, client_errors) = reader::ending_consumer(client)?;
        let ends = reader::end_offsets(&consumer, &client_errors, &partitions, deadline)?;
        Ok(Self { topics: by_topic(&ends), consumer, client_errors, unread: PartitionEnds::new() })
    }

    /// The next record, waited for `within` the time; nothing once all were given.
    ///
    /// # Errors
    /// Reading cannot go on: a topic is gone, or may not be read any more.
    pub fn next(&mut self, within: Duration) -> Result<Option<ReadStep>, ReadError> {
        while self.unread.is_empty() {
            let Some((topic, ends)) = self.topics.pop_first() else { return Ok(None) };
            let partitions: Vec<(String, i32)> = ends.keys().map(|partition| (topic.clone(), *partition)).collect();
            let list = reader::at_offset(&partitions, Offset::Beginning)?;
            self.consumer.assign(&list).map_err(ReadError::Ended)?;
            self.unread = ends;
        }
        match self.consumer.poll(within) {
            Some(Ok(record)) => {
                let Some(end) = self.unread.get(&record.partition()).copied() else { return Ok(Some(ReadStep::Idle)) };
                let (partition, offset) = (record.partition(), record.offset());
                let step =
                    if offset < end { ReadStep::Record(Box::new(reader::owned(&record))) } else { ReadStep::Idle };
                if offset.saturating_add(1) >= end {
                    self.unread.remove(&partition);
                }
                return Ok(Some(step));
            }
            // Also where the last records before the end are none to read: a transaction's marker, an aborted one.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(self.unread.remove(&partition)),
            Some(Err(error)) => reader::end(error).map_or(Ok(()), Err)?,
            None => {}
        }
        Ok(Some(self.client_errors.take().map_or(ReadStep::Idle, ReadStep::Interrupted)))
    }
}

/// Partitions that never had a record are left out.
fn by_topic(ends: &TopicPartitionList) -> BTreeMap<String, PartitionEnds> {
    let mut topics: BTreeMap<String, PartitionEnds> = BTreeMap::new();
    for end in ends.elements() {
        if let Offset::Offset(offset @ 1..) = end.offset() {
            topics.entry(end.topic().to_owned()).or_default().insert(end.partition(), offset);
        }
    }
    topics
}
