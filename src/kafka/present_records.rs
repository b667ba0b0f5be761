//! Reads what is on topics at one moment, topic by topic, and comes to an end; alone, as the reader that goes on does.
//! Must not know what a record means. Every call blocks: not for a tokio worker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client_error::ClientErrors;
use super::reader::{self, ReadError, ReadStep};

/// Where reading a partition starts and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetSpan {
    /// The next record to read.
    pub start: i64,
    /// The first that is not read.
    pub end: i64,
}

impl OffsetSpan {
    /// How many offsets it has: not fewer than records.
    pub fn records(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.start)).unwrap_or_default()
    }
}

/// What is to be read of each partition of one topic.
pub type PartitionSpans = BTreeMap<i32, OffsetSpan>;

/// Which records are read, by the times that Kafka has of them. An unset bound lets all pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordPeriod {
    /// The first moment of it.
    pub since: Option<Timestamp>,
    /// The first moment after it.
    pub until: Option<Timestamp>,
}

impl RecordPeriod {
    /// The last while, up to now.
    pub fn last(span: Duration) -> Self {
        Self { since: Timestamp::now().checked_sub(span).ok(), until: None }
    }
}

/// Reads the records that were committed before it was opened, from the oldest one; of each partition in order.
pub struct PresentRecords {
    consumer: BaseConsumer<ClientErrors>,
    client_errors: ClientErrors,
    /// The topics that were not begun.
    topics: BTreeMap<String, PartitionSpans>,
    /// What was not read of the topic that is being read. One topic at a time: an end of a partition is told without its topic.
    unread: PartitionSpans,
}

impl PresentRecords {
    /// Finds what is to be read in every partition of `topics`: the offsets of the period, up to the present end.
    ///
    /// # Errors
    /// A topic is missing or may not be read, or Kafka does not answer `within` the time.
    pub fn open(
        client: &ClientConfig,
        topics: &[String],
        period: RecordPeriod,
        within: Duration,
    ) -> Result<Self, ReadError> {
        let (consumer, client_errors) = reader::ending_consumer(client)?;
        let mut topics = all_spans(client, (&consumer, &client_errors), topics, period, within)?;
        // Partitions of which nothing is to be read are left out.
        for spans in topics.values_mut() {
            spans.retain(|_, span| span.start < span.end);
        }
        Ok(Self { topics, consumer, client_errors, unread: PartitionSpans::new() })
    }

    /// How many offsets are still to be read: not fewer than records.
    pub fn left(&self) -> u64 {
        let spans = self.topics.values().flat_map(BTreeMap::values).chain(self.unread.values());
        spans.map(OffsetSpan::records).fold(0, u64::saturating_add)
    }

    /// The next record, waited for `within` the time; nothing once all were given.
    ///
    /// # Errors
    /// Reading cannot go on: a topic is gone, or may not be read any more, or the client can connect no more.
    pub fn next(&mut self, within: Duration) -> Result<Option<ReadStep>, ReadError> {
        while self.unread.is_empty() {
            let Some((topic, spans)) = self.topics.pop_first() else { return Ok(None) };
            let mut list = TopicPartitionList::with_capacity(spans.len());
            for (partition, span) in &spans {
                let start = Offset::Offset(span.start);
                list.add_partition_offset(&topic, *partition, start).map_err(ReadError::Ended)?;
            }
            self.consumer.assign(&list).map_err(ReadError::Ended)?;
            self.unread = spans;
        }
        match self.consumer.poll(within) {
            Some(Ok(record)) => {
                let (partition, offset) = (record.partition(), record.offset());
                let Some(span) = self.unread.get_mut(&partition) else { return Ok(Some(ReadStep::Idle)) };
                let is_wanted = offset < span.end;
                span.start = offset.saturating_add(1);
                if span.start >= span.end {
                    self.unread.remove(&partition);
                }
                let step = if is_wanted { ReadStep::Record(Box::new(reader::owned(&record))) } else { ReadStep::Idle };
                return Ok(Some(step));
            }
            // Also where the last records before the end are none to read: a transaction's marker, an aborted one.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(self.unread.remove(&partition)),
            Some(Err(error)) => reader::end(error).map_or(Ok(()), Err)?,
            None if self.client_errors.has_forgotten_brokers() => return Err(ReadError::BrokersForgotten),
            None => {}
        }
        Ok(Some(self.client_errors.take().map_or(ReadStep::Idle, ReadStep::Interrupted)))
    }
}

/// The offsets of a period in every partition of a topic, up to its present end.
///
/// # Errors
/// The topic is missing or may not be read, or Kafka does not answer `within` the time.
pub fn spans(
    client: &ClientConfig,
    topic: &str,
    period: RecordPeriod,
    within: Duration,
) -> Result<PartitionSpans, ReadError> {
    let (consumer, client_errors) = reader::ending_consumer(client)?;
    let mut topics = all_spans(client, (&consumer, &client_errors), &[topic.to_owned()], period, within)?;
    Ok(topics.remove(topic).unwrap_or_default())
}

fn all_spans(
    client: &ClientConfig,
    (consumer, client_errors): (&BaseConsumer<ClientErrors>, &ClientErrors),
    topics: &[String],
    period: RecordPeriod,
    within: Duration,
) -> Result<BTreeMap<String, PartitionSpans>, ReadError> {
    let deadline = Instant::now() + within;
    let partitions = reader::partitions(client, topics, deadline)?;
    let ends = reader::end_offsets(consumer, client_errors, &partitions, deadline)?;
    // In a question for offsets by time, the offset is the time.
    let of = |moment: Timestamp| Offset::Offset(moment.as_millisecond().max(0));
    let at = |offset| offsets_at(consumer, client_errors, &partitions, offset, deadline);
    let starts = at(period.since.map_or(Offset::Beginning, of))?;
    let until = period.until.map(|moment| at(of(moment))).transpose()?;
    Ok(by_topic(&starts, &ends, until.as_ref()))
}

/// The first offset of each partition whose record is of a time or later, or its beginning.
fn offsets_at(
    consumer: &BaseConsumer<ClientErrors>,
    client_errors: &ClientErrors,
    partitions: &[(String, i32)],
    offset: Offset,
    deadline: Instant,
) -> Result<TopicPartitionList, ReadError> {
    let list = reader::at_offset(partitions, offset)?;
    let told =
        reader::offsets(consumer, &list, deadline).map_err(|error| ReadError::Kafka(client_errors.explain(&error)))?;
    for element in told.elements() {
        let topic = element.topic().to_owned();
        match element.error() {
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(ReadError::NotAuthorized(vec![topic]));
            }
            Err(error) => return Err(ReadError::Unavailable { topic, reason: error.to_string() }),
            Ok(()) => {}
        }
    }
    Ok(told)
}

fn by_topic(
    starts: &TopicPartitionList,
    ends: &TopicPartitionList,
    until: Option<&TopicPartitionList>,
) -> BTreeMap<String, PartitionSpans> {
    let mut topics: BTreeMap<String, PartitionSpans> = BTreeMap::new();
    for element in ends.elements() {
        let Offset::Offset(end) = element.offset() else { continue };
        // Where no record is as young, Kafka names no offset: the end is meant.
        let at = |list: &TopicPartitionList| match list.find_partition(element.topic(), element.partition()) {
            Some(found) => match found.offset() {
                Offset::Offset(offset) => offset,
                _ => end,
            },
            None => end,
        };
        let span = OffsetSpan { start: at(starts), end: until.map_or(end, at).min(end) };
        topics.entry(element.topic().to_owned()).or_default().insert(element.partition(), span);
    }
    topics
}
