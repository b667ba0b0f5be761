//! Reads topics from their beginning or their end on, committed records only, alone: it joins no group and commits nothing.
//! Must not know what a record means. Every call blocks: not for a tokio worker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client_error::{ClientError, ClientErrors};
use super::cluster::{ClusterClient, TopicState};
use super::decoded::ReadRecord;
use super::headers;
use super::known_brokers::STATISTICS_INTERVAL_MS;

/// librdkafka assigns partitions only to a client with a group's name; the group itself is never joined.
const GROUP_NEVER_JOINED: &str = "paybridge-reader";
/// What waits in memory for the reader at most, in KiB.
const QUEUED_KBYTES_MAX: u32 = 16 * 1024;

/// How long to wait before Kafka is asked again for what it could not tell yet.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record there is.
    Beginning,
    /// With the first record that is committed after the reader was opened.
    End,
}

/// Why topics cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Kafka gives no answer.
    #[error("{0}: {action}", action = .0.action())]
    Kafka(ClientError),
    /// Topics that do not exist.
    #[error("topics do not exist: {}: create them with `paybridge topics --create`", .0.join(", "))]
    Missing(Vec<String>),
    /// Topics that the principal may not see or read.
    #[error("the principal may not read {}: allow it Describe and Read on them", .0.join(", "))]
    NotAuthorized(Vec<String>),
    /// A topic or offset that Kafka does not tell.
    #[error("Kafka cannot tell where {topic} begins or ends: {reason}")]
    Unavailable {
        /// The topic.
        topic: String,
        /// What Kafka says.
        reason: String,
    },
    /// A topic was deleted while it was read.
    #[error("a topic that was read does not exist any more: see `paybridge topics`")]
    Gone,
    /// The permission to read was taken away, or was never there.
    #[error("the principal may not read one of the topics: `paybridge check` tells which")]
    Refused,
    /// The client can connect no more. Another one can.
    #[error(
        "the Kafka client knows no broker any more and cannot connect again; the daemon replaces it by itself, a command has to be run again"
    )]
    BrokersForgotten,
    /// The client cannot read on.
    #[error("the client cannot read: {0}")]
    Ended(KafkaError),
}

impl ReadError {
    /// Whether no client with these permissions can read: the topic is not there, or may not be read.
    pub fn is_of_everybody(&self) -> bool {
        match self {
            Self::Missing(_) | Self::NotAuthorized(_) | Self::Gone | Self::Refused => true,
            Self::Kafka(_) | Self::Unavailable { .. } | Self::BrokersForgotten | Self::Ended(_) => false,
        }
    }
}

/// What one look brought.
#[derive(Debug)]
pub enum ReadStep {
    /// The next record of some partition.
    Record(Box<ReadRecord>),
    /// Nothing came in time.
    Idle,
    /// Kafka cannot be reached at the moment; reading goes on when it can.
    Interrupted(ClientError),
}

/// Reads some topics.
pub struct TopicReader {
    consumer: BaseConsumer<ClientErrors>,
    client_errors: ClientErrors,
}

/// A client's configuration for reading without a group.
pub(super) fn without_group(client: &ClientConfig) -> ClientConfig {
    let mut config = client.clone();
    config
        .set("group.id", GROUP_NEVER_JOINED)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest") // records removed while it reads: go on with what is left
        .set("queued.max.messages.kbytes", QUEUED_KBYTES_MAX.to_string());
    config
}

/// A consumer that tells where a partition ends, and waits little for more. It joins no group.
pub(super) fn ending_consumer(client: &ClientConfig) -> Result<(BaseConsumer<ClientErrors>, ClientErrors), ReadError> {
    let mut config = without_group(client);
    config
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10") // so long an empty fetch waits before its end is told
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_string());
    let client_errors = ClientErrors::default();
    let consumer = config
        .create_with_context(client_errors.clone())
        .map_err(|error| ReadError::Kafka(ClientError::of_creation(&error)))?;
    Ok((consumer, client_errors))
}

impl TopicReader {
    /// Finds where to start in every partition of `topics`; what is committed after it returned will be read.
    ///
    /// # Errors
    /// A topic is missing or may not be read, or Kafka does not answer `within` the time.
    pub fn open(client: &ClientConfig, topics: &[String], from: Start, within: Duration) -> Result<Self, ReadError> {
        let deadline = Instant::now() + within;
        let partitions = partitions(client, topics, deadline)?;
        let client_errors = ClientErrors::default();
        let consumer: BaseConsumer<ClientErrors> = without_group(client)
            .set("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_string())
            .create_with_context(client_errors.clone())
            .map_err(|error| ReadError::Kafka(ClientError::of_creation(&error)))?;
        let starts = starts(&consumer, &client_errors, &partitions, from, deadline)?;
        consumer.assign(&starts).map_err(ReadError::Ended)?;
        Ok(Self { consumer, client_errors })
    }

    /// The next record, waited for `within` the time.
    ///
    /// # Errors
    /// Reading cannot go on: a topic is gone, or may not be read any more, or the client can connect no more.
    pub fn next(&self, within: Duration) -> Result<ReadStep, ReadError> {
        match self.consumer.poll(within) {
            Some(Ok(record)) => return Ok(ReadStep::Record(Box::new(owned(&record)))),
            Some(Err(error)) => end(error).map_or(Ok(()), Err)?,
            None if self.client_errors.has_forgotten_brokers() => return Err(ReadError::BrokersForgotten),
            None => {}
        }
        Ok(self.client_errors.take().map_or(ReadStep::Idle, ReadStep::Interrupted))
    }
}

/// What no waiting mends; outages do mend, and librdkafka goes on by itself.
pub(super) fn end(error: KafkaError) -> Option<ReadError> {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => Some(ReadError::Gone),
        Some(Code::TopicAuthorizationFailed) => Some(ReadError::Refused),
        _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => Some(ReadError::Ended(error)),
        _ => None,
    }
}

/// Every partition of these topics.
pub(super) fn partitions(
    client: &ClientConfig,
    topics: &[String],
    deadline: Instant,
) -> Result<Vec<(String, i32)>, ReadError> {
    let seen = ClusterClient::connect(client)
        .and_then(|cluster| cluster.describe(topics, deadline))
        .map_err(ReadError::Kafka)?;
    let (mut partitions, mut missing, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
    for (topic, state) in seen.topics {
        match state {
            TopicState::Missing => missing.push(topic),
            TopicState::Hidden => hidden.push(topic),
            TopicState::Unavailable(reason) => return Err(ReadError::Unavailable { topic, reason }),
            TopicState::Exists(found) => {
                let count = i32::try_from(found.partitions.len()).unwrap_or(i32::MAX);
                partitions.extend((0..count).map(|partition| (topic.clone(), partition)));
            }
        }
    }
    match (missing.as_slice(), hidden.as_slice()) {
        ([], []) => Ok(partitions),
        ([], _) => Err(ReadError::NotAuthorized(hidden)),
        _ => Err(ReadError::Missing(missing)),
    }
}

/// The first offset to read in each partition. The end is asked for all at once, and as a number: "the end" as such would
/// be looked up whenever Kafka gets to it.
fn starts(
    consumer: &BaseConsumer<ClientErrors>,
    client_errors: &ClientErrors,
    partitions: &[(String, i32)],
    from: Start,
    deadline: Instant,
) -> Result<TopicPartitionList, ReadError> {
    match from {
        Start::Beginning => at_offset(partitions, Offset::Beginning),
        Start::End => end_offsets(consumer, client_errors, partitions, deadline),
    }
}

/// Every partition at the same place.
pub(super) fn at_offset(partitions: &[(String, i32)], offset: Offset) -> Result<TopicPartitionList, ReadError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset).map_err(ReadError::Ended)?;
    }
    Ok(list)
}

/// Where each partition ends now, as a number.
pub(super) fn end_offsets(
    consumer: &BaseConsumer<ClientErrors>,
    client_errors: &ClientErrors,
    partitions: &[(String, i32)],
    deadline: Instant,
) -> Result<TopicPartitionList, ReadError> {
    let list = at_offset(partitions, Offset::End)?;
    let ends = offsets(consumer, &list, deadline).map_err(|error| ReadError::Kafka(client_errors.explain(&error)))?;
    for end in ends.elements() {
        let unavailable = |reason| ReadError::Unavailable { topic: end.topic().to_owned(), reason };
        match end.error() {
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(ReadError::NotAuthorized(vec![end.topic().to_owned()]));
            }
            Err(error) => return Err(unavailable(error.to_string())),
            Ok(()) if !matches!(end.offset(), Offset::Offset(_)) => {
                return Err(unavailable(format!("no offset for partition {}", end.partition())));
            }
            Ok(()) => {}
        }
    }
    Ok(ends)
}

/// Of each partition, where one is told.
pub(super) fn told_offsets(list: &TopicPartitionList) -> BTreeMap<i32, i64> {
    let offset = |(partition, offset)| match offset {
        Offset::Offset(offset) => Some((partition, offset)),
        Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
    };
    list.elements().iter().filter_map(|element| offset((element.partition(), element.offset()))).collect()
}

/// The offsets that the list asks for, by time or by name. Asked again while leaders change, which they do just after a topic was made.
pub(super) fn offsets(
    consumer: &BaseConsumer<ClientErrors>,
    list: &TopicPartitionList,
    deadline: Instant,
) -> Result<TopicPartitionList, KafkaError> {
    use RDKafkaErrorCode as Code;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match consumer.offsets_for_times(list.clone(), left) {
            Err(error)
                if left > ASK_AGAIN_AFTER
                    && matches!(
                        error.rdkafka_error_code(),
                        Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable)
                    ) =>
            {
                std::thread::sleep(ASK_AGAIN_AFTER);
            }
            told => return told,
        }
    }
}

/// A record that outlives the client.
pub(super) fn owned(record: &BorrowedMessage<'_>) -> ReadRecord {
    ReadRecord {
        topic: record.topic().to_owned(),
        partition: record.partition(),
        offset: record.offset(),
        timestamp_ms: record.timestamp().to_millis(),
        key: record.key().map(ToOwned::to_owned),
        headers: headers::owned(record),
        value: record.payload().map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_waiting_mends_ends_the_reading() {
        for (code, expected) in [
            (RDKafkaErrorCode::UnknownPartition, Some("a topic that was read does not exist any more")),
            (RDKafkaErrorCode::TopicAuthorizationFailed, Some("the principal may not read")),
            (RDKafkaErrorCode::AllBrokersDown, None),
            (RDKafkaErrorCode::BrokerTransportFailure, None),
            (RDKafkaErrorCode::GroupAuthorizationFailed, None), // no group is joined
        ] {
            let told = end(KafkaError::MessageConsumption(code)).map(|error| error.to_string());
            assert_eq!(told.is_some(), expected.is_some(), "{code:?}");
            assert!(told.unwrap_or_default().starts_with(expected.unwrap_or_default()), "{code:?}");
        }
    }
}
