//! Finds the committed records of one key on a topic. Records of one key are in one partition, so only that one is read, to its
//! present end. Must not know what a record means. Blocks: not for a tokio worker.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client_error::ClientErrors;
use super::decoded::ReadRecord;
use super::partition;
use super::reader::{self, ReadError};

/// How long one look blocks at most.
const SLICE: Duration = Duration::from_millis(100);
/// How long Kafka may take to tell where the topic's partitions are.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The most records that are kept, and their bytes: whoever may write a topic could else fill the memory.
const RECORDS_MAX: usize = 1000;
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What to look for, and where.
#[derive(Clone, Copy)]
pub struct KeySearch<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition is murmur2 of this.
    pub partition_key: &'a [u8],
    /// Whether a record with this key is wanted.
    pub is_wanted: &'a dyn Fn(&[u8]) -> bool,
    /// Records that are older are passed over; none: reading starts with the oldest record.
    pub since: Option<Timestamp>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecords {
    /// The partition that was read.
    pub partition: i32,
    /// The wanted records, in their order.
    pub records: Vec<ReadRecord>,
    /// How many older ones there were: too many to be kept.
    pub left_out: usize,
    /// How far reading came.
    pub extent: SearchExtent,
}

/// How far reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchExtent {
    /// To the end that the partition had.
    ToTheEnd,
    /// The time was over before.
    OutOfTime,
}

impl KeySearch<'_> {
    /// Reads the partition until its end or the deadline.
    ///
    /// # Errors
    /// The topic is missing or may not be read, or Kafka does not answer.
    pub fn run(&self, client: &ClientConfig, deadline: Instant) -> Result<KeyRecords, ReadError> {
        let answered = deadline.min(Instant::now() + ANSWER_WITHIN);
        let partitions = reader::partitions(client, &[self.topic.to_owned()], answered)?.len();
        let partition = partition::of(self.partition_key, i32::try_from(partitions).unwrap_or(i32::MAX));
        let (consumer, client_errors) = reader::ending_consumer(client)?;
        let start = self.start(&consumer, &client_errors, partition, deadline)?;
        consumer.assign(&start).map_err(ReadError::Ended)?;
        let mut found = KeyRecords { partition, records: Vec::new(), left_out: 0, extent: SearchExtent::OutOfTime };
        let (mut kept, mut bytes, mut was_read) = (VecDeque::new(), 0_usize, false);
        while Instant::now() < deadline {
            match consumer.poll(SLICE) {
                Some(Ok(record)) => {
                    was_read = true;
                    if !(self.is_wanted)(record.key().unwrap_or_default()) {
                        continue;
                    }
                    bytes = bytes.saturating_add(record.payload_len());
                    kept.push_back(reader::owned(&record));
                    // The newest count: they say how the key's matter stands.
                    while kept.len() > RECORDS_MAX || (bytes > BYTES_MAX && kept.len() > 1) {
                        let oldest = kept.pop_front().and_then(|oldest: ReadRecord| oldest.value);
                        bytes = bytes.saturating_sub(oldest.map_or(0, |payload| payload.len()));
                        found.left_out = found.left_out.saturating_add(1);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    return Ok(KeyRecords { records: kept.into(), extent: SearchExtent::ToTheEnd, ..found });
                }
                Some(Err(error)) => reader::end(error).map_or(Ok(()), Err)?,
                None => {}
            }
        }
        match client_errors.take() {
            Some(client_error) if !was_read => Err(ReadError::Kafka(client_error)),
            _ => Ok(KeyRecords { records: kept.into(), ..found }),
        }
    }

    /// Where reading starts.
    fn start(
        &self,
        consumer: &BaseConsumer<ClientErrors>,
        client_errors: &ClientErrors,
        partition: i32,
        deadline: Instant,
    ) -> Result<TopicPartitionList, ReadError> {
        let mut list = TopicPartitionList::with_capacity(1);
        let Some(since) = self.since else {
            list.add_partition_offset(self.topic, partition, Offset::Beginning).map_err(ReadError::Ended)?;
            return Ok(list);
        };
        // In a question for offsets by time, the offset is the time.
        let time = Offset::Offset(since.as_millisecond().max(0));
        list.add_partition_offset(self.topic, partition, time).map_err(ReadError::Ended)?;
        let told = reader::offsets(consumer, &list, deadline)
            .map_err(|error| ReadError::Kafka(client_errors.explain(&error)))?;
        let failed = told.elements().iter().find_map(|element| element.error().err());
        match failed {
            None => Ok(told),
            Some(error) => Err(ReadError::Unavailable { topic: self.topic.to_owned(), reason: error.to_string() }),
        }
    }
}
