//! Looks through what is committed on a topic, partition by partition, until enough is seen or the time is over.
//! Must not know what a record means. Blocks: not for a tokio worker.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client_error::ClientErrors;
use super::reader::{self, ReadError};

/// How long one look blocks at most.
const SLICE: Duration = Duration::from_millis(100);

/// Takes a record: its partition, key and value. No value: a tombstone. It breaks where enough of the partition is seen.
pub type OnRecord<'a> = dyn FnMut(i32, &[u8], Option<&[u8]>) -> ControlFlow<()> + 'a;

/// How far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// How many partitions the topic has.
    pub partitions: usize,
    /// Those of which neither enough nor the end was seen in time.
    pub unread: BTreeSet<i32>,
}

/// Gives the committed records of each partition to `each`, in order, from the oldest one to the present end.
///
/// # Errors
/// The topic is missing or may not be read, or Kafka does not answer.
pub fn scan(
    client: &ClientConfig,
    topic: &str,
    within: Duration,
    each: &mut OnRecord<'_>,
) -> Result<Scanned, ReadError> {
    let deadline = Instant::now() + within;
    let partitions = reader::partitions(client, &[topic.to_owned()], deadline)?;
    let (consumer, client_errors) = reader::ending_consumer(client)?;
    consumer.assign(&reader::at_offset(&partitions, Offset::Beginning)?).map_err(ReadError::Ended)?;
    let mut unread: BTreeSet<i32> = partitions.iter().map(|(_, partition)| *partition).collect();
    while !unread.is_empty() && Instant::now() < deadline {
        match consumer.poll(SLICE) {
            Some(Ok(record)) if unread.contains(&record.partition()) => {
                let partition = record.partition();
                if each(partition, record.key().unwrap_or_default(), record.payload()).is_break() {
                    unread.remove(&partition);
                    pause(&consumer, topic, partition);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(unread.remove(&partition)),
            Some(Err(error)) => reader::end(error).map_or(Ok(()), Err)?,
            Some(Ok(_)) | None => {}
        }
    }
    match client_errors.take() {
        Some(client_error) if unread.len() == partitions.len() => Err(ReadError::Kafka(client_error)),
        _ => Ok(Scanned { partitions: partitions.len(), unread }),
    }
}

/// What is not wanted any more is not fetched either; where that fails it is only skipped.
fn pause(consumer: &BaseConsumer<ClientErrors>, topic: &str, partition: i32) {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    let _skipped = consumer.pause(&list);
}
