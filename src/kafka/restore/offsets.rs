//! Single questions about offsets, by two clients: one that sees what is committed, and one that sees all there is.
//! Must not know in which order they make sense. Each call blocks for the time that it is given at most.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::super::client_error::{ClientError, ClientErrors};
use super::{RestoreError, list};

/// What waits in memory for the reader: in KiB, in records, and of one partition in one answer, in bytes. Small, because the
/// reader is fast and what waits takes memory beside the sessions: a small record takes twice its bytes while it does.
const QUEUED_KBYTES_MAX: u32 = 2 * 1024;
const QUEUED_RECORDS: u32 = 2000;
const FETCH_BYTES: u32 = 64 * 1024;

/// An offset of each partition of a topic; none where there is none.
pub(super) type Offsets = BTreeMap<(String, i32), i64>;

/// The two clients.
pub(super) struct OffsetClients {
    committed: BaseConsumer<ClientErrors>,
    all: BaseConsumer<ClientErrors>,
    client_errors: ClientErrors,
}

impl OffsetClients {
    pub(super) fn open(client: &ClientConfig, group_id: &str) -> Result<Self, RestoreError> {
        let client_errors = ClientErrors::default();
        let make = |isolation| {
            configured(client, group_id, isolation)
                .create_with_context(client_errors.clone())
                .map_err(|error| RestoreError::Create(ClientError::of_creation(&error)))
        };
        Ok(Self { committed: make("read_committed")?, all: make("read_uncommitted")?, client_errors })
    }

    /// The client that reads what is committed.
    pub(super) fn committed_reader(&self) -> &BaseConsumer<ClientErrors> {
        &self.committed
    }

    /// The group's stable offsets. While one is part of an open transaction, there is no answer.
    pub(super) fn committed(&self, partitions: &[(String, i32)], within: Duration) -> Result<Offsets, String> {
        // A read_committed client asks for stable offsets.
        self.ask(&self.committed, partitions, Offset::Invalid, |client, list| client.committed_offsets(list, within))
    }

    /// The partitions' ends, open transactions included.
    pub(super) fn ends(&self, partitions: &[(String, i32)], within: Duration) -> Result<Offsets, String> {
        let ends = self.ask(&self.all, partitions, Offset::End, |client, list| client.offsets_for_times(list, within));
        complete(partitions, ends?)
    }

    /// The partitions' first offsets.
    pub(super) fn starts(&self, partitions: &[(String, i32)], within: Duration) -> Result<Offsets, String> {
        let starts =
            self.ask(&self.all, partitions, Offset::Beginning, |client, list| client.offsets_for_times(list, within));
        complete(partitions, starts?)
    }

    /// Whether no transaction is open before `ends`; the error says where one is.
    pub(super) fn are_stable(&self, ends: &Offsets, within: Duration) -> Result<(), String> {
        let partitions: Vec<_> = ends.keys().cloned().collect();
        // The end, for a read_committed client, is the last stable offset.
        let stable =
            self.ask(&self.committed, &partitions, Offset::End, |client, list| client.offsets_for_times(list, within))?;
        let is_behind = |(place, end): &(&(String, i32), &i64)| stable.get(*place).is_none_or(|stable| stable < *end);
        match ends.iter().find(is_behind) {
            None => Ok(()),
            Some(((topic, partition), end)) => {
                let stable = stable.get(&(topic.clone(), *partition));
                Err(format!("{topic} {partition} ends at {end} and is stable up to {stable:?}"))
            }
        }
    }

    /// What the clients complain of, else `otherwise`.
    pub(super) fn explain(&self, otherwise: &str) -> String {
        self.client_errors.most_specific().map_or_else(|| otherwise.to_owned(), |client_error| client_error.to_string())
    }

    fn ask(
        &self,
        client: &BaseConsumer<ClientErrors>,
        partitions: &[(String, i32)],
        offset: Offset,
        question: impl Fn(&BaseConsumer<ClientErrors>, TopicPartitionList) -> Result<TopicPartitionList, KafkaError>,
    ) -> Result<Offsets, String> {
        let told = list(partitions, offset).and_then(|list| question(client, list)).map_err(|error| {
            // Errors come through the client's queue; nothing is assigned yet.
            while client.poll(Duration::ZERO).is_some() {}
            self.explain(&error.to_string())
        })?;
        let mut offsets = Offsets::new();
        for element in told.elements() {
            let place = (element.topic().to_owned(), element.partition());
            element.error().map_err(|error| format!("{} {}: {error}", place.0, place.1))?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(place, offset);
            }
        }
        Ok(offsets)
    }
}

/// Every partition has a start and an end.
fn complete(partitions: &[(String, i32)], offsets: Offsets) -> Result<Offsets, String> {
    match partitions.iter().find(|place| !offsets.contains_key(*place)) {
        None => Ok(offsets),
        Some((topic, partition)) => Err(format!("{topic} {partition}: no offset is told")),
    }
}

fn configured(client: &ClientConfig, group_id: &str, isolation: &str) -> ClientConfig {
    let mut config = client.clone();
    config
        .set("group.id", group_id)
        .set("group.protocol", "classic")
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest") // records removed while it reads: go on with what is left
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false")
        // How long a broker waits for more at a partition's end before that is told; its default is half a second.
        .set("fetch.wait.max.ms", "10")
        // How long a full queue keeps the client from asking for more; its default is a second.
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.max.messages.kbytes", QUEUED_KBYTES_MAX.to_string())
        .set("queued.min.messages", QUEUED_RECORDS.to_string())
        .set("max.partition.fetch.bytes", FETCH_BYTES.to_string())
        .set("statistics.interval.ms", "0")
        .set_log_level(RDKafkaLogLevel::Info); // where closed connections are told
    config
}
