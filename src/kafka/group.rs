//! One member of a consumer group over input topics whose partitions belong together: partition p of all of them, or none.
//! Must not know what a record means, nor what is done with it. One thread owns it; its calls block: not for a tokio worker.

mod contact;
mod member;
pub mod members;
pub mod offsets;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::TopicPartitionList;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;

use super::client_error::ClientError;
use super::headers;
use member::MemberContext;

/// After this long without a heartbeat the group gives a member's partitions to others.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a transaction takes that goes wrong at every step; a member that does not poll for this long leaves.
const POLL_INTERVAL_MAX: Duration = Duration::from_mins(1);
/// What waits in memory for the member: in KiB, and of one partition in one answer, in bytes. Several transactions' worth.
const QUEUED_KBYTES_MAX: u32 = 4 * 1024;
const FETCH_BYTES: u32 = 256 * 1024;
/// How often librdkafka tells where the partitions end.
const STATISTICS_INTERVAL_MS: u32 = 2000;
/// How long partitions may take to stop: microseconds, unless the client looks up a broker's name meanwhile.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long a leaving member polls at a time.
const LEAVE_SLICE: Duration = Duration::from_millis(50);

/// What a member is.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// The group's name.
    pub group_id: String,
    /// The input topics; they have equal partition counts, or some of their partitions are never taken.
    pub inputs: Vec<String>,
    /// What the member calls itself, over a `client.id` of the client's properties: whoever looks at the group sees which process
    /// it is.
    pub client_id: Option<String>,
    /// How long Kafka waits for a silent member; at least the broker's `group.min.session.timeout.ms`. Ten heartbeats.
    pub session_timeout: Duration,
    /// The longest time between two polls; at least the session's.
    pub poll_interval_max: Duration,
}

impl GroupSettings {
    /// Usual timeouts: a session of 10 s, a poll every minute at least.
    pub fn new(group_id: String, inputs: Vec<String>) -> Self {
        let (session_timeout, poll_interval_max) = (SESSION_TIMEOUT, POLL_INTERVAL_MAX);
        Self { group_id, inputs, client_id: None, session_timeout, poll_interval_max }
    }
}

/// What an assignment is known by: to us by its epoch, to Kafka by the member's metadata, taken in the very callback that
/// brought the assignment. Fetched later, metadata would be that of another assignment, and fence nothing.
#[derive(Clone)]
pub struct Generation {
    /// Grows with every assignment and every revocation.
    pub epoch: u64,
    pub(super) metadata: Arc<ConsumerGroupMetadata>,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// What one poll brought.
#[derive(Debug)]
pub enum Polled {
    /// A new assignment. No record comes before [`GroupMember::take`].
    Assigned {
        /// What it is known by.
        generation: Generation,
        /// The partitions that every input has assigned, in order; may be empty.
        partitions: Vec<i32>,
    },
    /// The assignment is over; what is built under it is worthless.
    Revoked(Revocation),
    /// A record of a partition that was taken.
    Record(Box<InputRecord>),
    /// Nothing came in time.
    Idle,
    /// Something that may pass: polling on is right.
    Error(GroupError),
    /// This member is of no use any more: leave, and join anew.
    Fatal(String),
}

/// How an assignment ended. For the log: it proves nothing, because who polls late learns late that others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Others wait for this member's word before they go on, or did.
    InOrder,
    /// The membership is over; others may own the partitions already.
    Lost,
}

/// What keeps a member from reading, maybe for a while only.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    /// A connection does not come about, or none has been there for some seconds.
    #[error(transparent)]
    Connection(ClientError),
    /// Kafka or the client refuses something: a topic is missing, a permission, or too much time passed between two polls.
    #[error("the consumer cannot read: {0}")]
    Refused(KafkaError),
}

/// Why partitions cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The assignment that they belong to is over, or this membership; the next event says so.
    #[error("the partitions were revoked meanwhile")]
    Superseded,
    /// There is no such input.
    #[error("bug: there is no input number {0}")]
    NoSuchInput(usize),
    /// The client does not take the assignment.
    #[error("the client refused the assignment of its partitions")]
    Assign(#[source] KafkaError),
}

/// Where reading a partition of an input goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputPosition {
    /// Which input: its place in the settings' list.
    pub input: usize,
    /// The partition.
    pub partition: i32,
    /// The next offset.
    pub next: i64,
}

/// One record of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRecord {
    /// Which input: its place in the settings' list.
    pub input: usize,
    /// The partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// When Kafka appended it, by the broker's clock; none where its topic keeps another time
    /// (`message.timestamp.type` is not `LogAppendTime`), which whoever wrote the record made up.
    pub appended_at: Option<Timestamp>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The value; none: a tombstone.
    pub value: Option<Vec<u8>>,
}

/// A member of the group.
pub struct GroupMember {
    consumer: BaseConsumer<MemberContext>,
    /// Where each partition that was taken began, by input and partition. Nothing else is let through.
    taken: BTreeMap<(usize, i32), i64>,
}

impl GroupMember {
    /// Joins in the background: the first assignment comes by a poll.
    ///
    /// # Errors
    /// librdkafka refuses a property, or a topic's name.
    pub fn join(client: &ClientConfig, settings: &GroupSettings) -> Result<Self, ClientError> {
        let member = MemberContext::new(settings.inputs.clone());
        let consumer: BaseConsumer<MemberContext> = configured(client, settings)
            .create_with_context(member)
            .map_err(|error| ClientError::of_creation(&error))?;
        let inputs: Vec<&str> = settings.inputs.iter().map(String::as_str).collect();
        consumer.subscribe(&inputs).map_err(|error| ClientError::Properties(error.to_string()))?;
        Ok(Self { consumer, taken: BTreeMap::new() })
    }

    /// The present epoch. It changes inside [`GroupMember::poll`] only.
    pub fn epoch(&self) -> u64 {
        self.consumer.context().epoch()
    }

    /// What comes next, waited for `within` the time. To be called again before the poll interval is over.
    pub fn poll(&mut self, within: Duration) -> Polled {
        if let Some(event) = self.next_event() {
            return event;
        }
        let came = self.consumer.poll(within).map(|came| came.map(|record| owned(self.inputs(), &record)));
        // A callback may have run inside that poll. What came with it is of the assignment before, for under a new one
        // nothing is taken yet.
        if let Some(event) = self.next_event() {
            return event;
        }
        match came {
            Some(Ok(Some(record))) if self.taken.contains_key(&(record.input, record.partition)) => {
                Polled::Record(Box::new(record))
            }
            Some(Ok(_)) => Polled::Idle,
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => Polled::Fatal(code.to_string()),
            Some(Err(error)) if !is_of_connection(&error) => Polled::Error(GroupError::Refused(error)),
            Some(Err(_)) | None => match self.consumer.context().connection_error(Instant::now()) {
                Some(client_error) => Polled::Error(GroupError::Connection(client_error)),
                None => Polled::Idle,
            },
        }
    }

    /// Starts reading at `positions`, and reads nothing else. Kafka's own stored offsets are never looked at. What was taken
    /// before is given up first, for some seconds at most; if it does not stop, the next event is [`Polled::Fatal`].
    ///
    /// # Errors
    /// The assignment of `generation` is over, an input does not exist, or the client refuses.
    pub fn take(&mut self, generation: &Generation, positions: &[InputPosition]) -> Result<(), TakeError> {
        if generation.epoch != self.epoch() {
            return Err(TakeError::Superseded);
        }
        let taken = positions.iter().map(|at| ((at.input, at.partition), at.next)).collect();
        let list = self.list(&taken)?;
        self.give_up()?;
        self.consumer.assign(&list).map_err(TakeError::Assign)?;
        self.taken = taken;
        Ok(())
    }

    /// Stops what was taken, and waits for it. Without the wait librdkafka ends the process (its issue 5573): partition 0 is
    /// given up; it is taken again before its fetcher has stopped; it is given up once more, and told to stop a second time,
    /// because it counts as started still; the second report of a stop finds it stopped, and an assertion fails.
    fn give_up(&mut self) -> Result<(), TakeError> {
        if self.taken.is_empty() {
            return Ok(());
        }
        let list = self.list(&self.taken)?;
        self.consumer.assign(&TopicPartitionList::new()).map_err(TakeError::Assign)?;
        // A partition carries its orders out in turn, so an answer to this one, which is a refusal, comes after the stop. One that
        // is not in Kafka any more is asked like the others.
        match self.consumer.seek_partitions(list, STOP_WITHIN) {
            Ok(_refusals) => {
                self.taken.clear();
                Ok(())
            }
            Err(error) => {
                self.consumer.context().fail(format!("its partitions do not stop: {error}"));
                Err(TakeError::Superseded)
            }
        }
    }

    fn list(&self, positions: &BTreeMap<(usize, i32), i64>) -> Result<TopicPartitionList, TakeError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (&(input, partition), &next) in positions {
            let topic = self.inputs().get(input).ok_or(TakeError::NoSuchInput(input))?;
            list.add_partition_offset(topic, partition, Offset::Offset(next)).map_err(TakeError::Assign)?;
        }
        Ok(list)
    }

    /// How far each partition that was taken is read: past the last record that [`GroupMember::poll`] gave, and past what is
    /// never given, as transactions' markers are. So this reaches a partition's end, where a count of records may not.
    ///
    /// # Errors
    /// The client does not tell.
    pub fn positions(&self) -> Result<Vec<InputPosition>, KafkaError> {
        let told = self.consumer.position()?;
        let position = |(&(input, partition), &first): (&(usize, i32), &i64)| {
            let found = self.inputs().get(input).and_then(|topic| told.find_partition(topic, partition));
            // There is no position before something was read.
            let next = match found.map(|found| found.offset()) {
                Some(Offset::Offset(next)) => next.max(first),
                _ => first,
            };
            InputPosition { input, partition, next }
        };
        Ok(self.taken.iter().map(position).collect())
    }

    /// Where a partition that is read ends, as of some seconds ago; none while that is not known. Asks nobody.
    pub fn end(&self, input: usize, partition: i32) -> Option<i64> {
        self.consumer.context().end(input, partition)
    }

    /// How many records of what was taken are not read, as of some seconds ago; those not known count as none.
    ///
    /// # Errors
    /// The client does not tell its positions.
    pub fn lag(&self) -> Result<u64, KafkaError> {
        let behind = |at: &InputPosition| self.end(at.input, at.partition)?.saturating_sub(at.next).try_into().ok();
        Ok(self.positions()?.iter().filter_map(behind).fold(0, u64::saturating_add))
    }

    /// Leaves in order, so that others need not wait for the session's end. Waits `within` the time for the revocation, and
    /// some seconds more to close where Kafka does not answer.
    pub fn leave(mut self, within: Duration) {
        let deadline = Instant::now() + within;
        self.consumer.unsubscribe();
        while self.consumer.context().holds_assignment() && Instant::now() < deadline {
            let _event = self.poll(LEAVE_SLICE);
        }
    }

    fn inputs(&self) -> &[String] {
        self.consumer.context().inputs()
    }

    fn next_event(&mut self) -> Option<Polled> {
        let event = self.consumer.context().next_event()?;
        self.taken.clear();
        Some(event)
    }
}

fn configured(client: &ClientConfig, settings: &GroupSettings) -> ClientConfig {
    let mut config = client.clone();
    if let Some(client_id) = &settings.client_id {
        config.set("client.id", client_id);
    }
    config
        .set("group.id", &settings.group_id)
        // The next generation's protocol has no range assignor on the client, and fences otherwise.
        .set("group.protocol", "classic")
        // Equal partitions of all inputs to one member.
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", settings.session_timeout.as_millis().to_string())
        .set("heartbeat.interval.ms", (settings.session_timeout / 10).as_millis().to_string())
        .set("max.poll.interval.ms", settings.poll_interval_max.as_millis().to_string())
        .set("isolation.level", "read_committed")
        // Offsets are committed in transactions alone.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "false")
        .set("allow.auto.create.topics", "false")
        .set("queued.max.messages.kbytes", QUEUED_KBYTES_MAX.to_string())
        .set("max.partition.fetch.bytes", FETCH_BYTES.to_string())
        // How long a full queue keeps the client from asking for more; its default is a second.
        .set("fetch.queue.backoff.ms", "10")
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_string())
        .set_log_level(RDKafkaLogLevel::Info); // where closed connections are told
    config
}

/// Whether an error is about connections alone, which librdkafka opens again by itself.
fn is_of_connection(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) || ClientError::of_report(error, "").is_some()
}

/// The broker's time of a record, where it has one.
pub(super) fn appended_at(timestamp: rdkafka::Timestamp) -> Option<Timestamp> {
    match timestamp {
        rdkafka::Timestamp::LogAppendTime(milliseconds) => Timestamp::from_millisecond(milliseconds).ok(),
        rdkafka::Timestamp::CreateTime(_) | rdkafka::Timestamp::NotAvailable => None,
    }
}

/// The record, unless its topic is no input.
fn owned(inputs: &[String], record: &BorrowedMessage<'_>) -> Option<InputRecord> {
    Some(InputRecord {
        input: inputs.iter().position(|input| input == record.topic())?,
        partition: record.partition(),
        offset: record.offset(),
        appended_at: appended_at(record.timestamp()),
        key: record.key().map(ToOwned::to_owned),
        headers: headers::owned(record),
        value: record.payload().map(ToOwned::to_owned),
    })
}
