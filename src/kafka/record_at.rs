//! Reads single records by their places. Must not know what a record means. Blocks: not for a tokio worker.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client_error::ClientErrors;
use super::decoded::ReadRecord;
use super::reader::{self, ReadError};

/// How long one look blocks at most.
const SLICE: Duration = Duration::from_millis(100);

/// Looks records up, one after the other.
pub struct RecordLookUp {
    consumer: BaseConsumer<ClientErrors>,
    client_errors: ClientErrors,
}

impl RecordLookUp {
    /// A client that does not connect yet.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn open(client: &ClientConfig) -> Result<Self, ReadError> {
        let (consumer, client_errors) = reader::ending_consumer(client)?;
        Ok(Self { consumer, client_errors })
    }

    /// The committed record at this place; nothing where there is none, or none any more.
    ///
    /// # Errors
    /// The topic is missing or may not be read, or Kafka does not answer `within` the time.
    pub fn find(
        &self,
        (topic, partition, offset): (&str, i32, i64),
        within: Duration,
    ) -> Result<Option<ReadRecord>, ReadError> {
        let deadline = Instant::now() + within;
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(ReadError::Ended)?;
        self.consumer.assign(&list).map_err(ReadError::Ended)?;
        while Instant::now() < deadline {
            match self.consumer.poll(SLICE) {
                // An offset that is not there is taken for the beginning.
                Some(Ok(record)) if record.topic() == topic && record.partition() == partition => {
                    return Ok((record.offset() == offset).then(|| reader::owned(&record)));
                }
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => return Ok(None),
                Some(Err(error)) => reader::end(error).map_or(Ok(()), Err)?,
                Some(Ok(_)) | None => {}
            }
        }
        match self.client_errors.take() {
            Some(client_error) => Err(ReadError::Kafka(client_error)),
            None => Err(ReadError::Unavailable { topic: topic.to_owned(), reason: "no answer in time".to_owned() }),
        }
    }
}
