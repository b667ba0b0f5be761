//! What tests do with topics: make them, and read all that is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{ClientConfig, Message as _, Offset, Timestamp, TopicPartitionList};

use super::Kafka;
use crate::support::eventually::{LIMIT, eventually};

/// How long an administrator's request may take, before it is sent again.
const ADMIN_LIMIT: Duration = Duration::from_secs(20);
/// How long any other call may take.
const CALL_LIMIT: Duration = Duration::from_secs(5);

type Admin = AdminClient<DefaultClientContext>;

/// A topic to make: its name, number of partitions, and settings.
pub type Topic<'a> = (&'a str, i32, &'a [(&'a str, &'a str)]);

/// One record as it is on its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset in that partition.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its time, and whose it is.
    pub timestamp: Timestamp,
}

impl Kafka {
    /// Makes topics, each on every node, and returns when clients can use them.
    #[track_caller]
    pub fn create_topics(&self, topics: &[Topic<'_>]) {
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|(name, partitions, settings)| {
                let topic = NewTopic::new(
                    name,
                    *partitions,
                    TopicReplication::Fixed(i32::try_from(self.nodes().len()).unwrap()),
                );
                settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        self.ask_of_topics(RDKafkaErrorCode::TopicAlreadyExists, |admin| {
            block_on(admin.create_topics(&new, &options()))
        });
        let client: BaseConsumer = self.client().create().unwrap();
        for (name, partitions, _) in topics {
            await_partitions(&client, name, usize::try_from(*partitions).unwrap());
        }
    }

    /// Gives topics more partitions, so many in all, and returns when clients see them: the broker does a little after the
    /// controller made them.
    #[track_caller]
    pub fn grow_topics(&self, topics: &[&str], partitions: usize) {
        let new: Vec<NewPartitions<'_>> = topics.iter().map(|name| NewPartitions::new(name, partitions)).collect();
        self.ask_of_topics(RDKafkaErrorCode::InvalidPartitions, |admin| {
            block_on(admin.create_partitions(&new, &options()))
        });
        let client: BaseConsumer = self.client().create().unwrap();
        for name in topics {
            await_partitions(&client, name, partitions);
        }
    }

    /// Deletes a topic. The broker does so in its own time.
    #[track_caller]
    pub fn delete_topic(&self, topic: &str) {
        self.ask_of_topics(RDKafkaErrorCode::UnknownTopicOrPartition, |admin| {
            block_on(admin.delete_topics(&[topic], &options()))
        });
    }

    /// Gives a topic exactly these settings of its own, and returns when brokers go by them.
    #[track_caller]
    pub fn alter_topic(&self, topic: &str, settings: &[(&str, &str)]) {
        let request = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let request = settings.iter().fold(request, |request, (key, value)| request.set(key, value));
        let requests = [request];
        for result in self.ask(|admin| block_on(admin.alter_configs(&requests, &options()))) {
            result.unwrap();
        }
        eventually(LIMIT, || {
            let shown = self.topic_settings(topic);
            let old = settings.iter().find(|(name, value)| shown.get(*name).map(String::as_str) != Some(*value));
            old.map_or(Ok(()), |(name, _)| Err(format!("{topic} has {name} {:?}", shown.get(*name))))
        });
    }

    /// The settings that are in force on a topic.
    pub fn topic_settings(&self, topic: &str) -> BTreeMap<String, String> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let mut told = self.ask(|admin| block_on(admin.describe_configs(&asked, &options())));
        let entries = told.remove(0).unwrap().entries;
        entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
    }

    /// Asks for something to be done to topics. `done` is what Kafka says where it was done before: the answer to an earlier request
    /// was late.
    #[track_caller]
    fn ask_of_topics(&self, done: RDKafkaErrorCode, ask: impl Fn(&Admin) -> KafkaResult<Vec<TopicResult>>) {
        // A client repeats what makes topics by itself, too.
        let mut is_repeated = done == RDKafkaErrorCode::TopicAlreadyExists;
        eventually(LIMIT, || {
            let may_be_done = std::mem::replace(&mut is_repeated, true);
            let results = ask(&self.client().create().unwrap()).map_err(|error| error.to_string())?;
            results.into_iter().try_for_each(|result| match result {
                Ok(_) => Ok(()),
                Err((_, code)) if may_be_done && code == done => Ok(()),
                Err((topic, code @ (RDKafkaErrorCode::RequestTimedOut | RDKafkaErrorCode::NotController))) => {
                    Err(format!("{topic}: {code}"))
                }
                Err((topic, code)) => panic!("{topic}: {code}"),
            })
        });
    }

    /// Asks an administrator's question, each time with a new client: where a broker was frozen, a client may hear that there is no
    /// controller, and not ask for it again.
    #[track_caller]
    fn ask<T>(&self, ask: impl Fn(&Admin) -> KafkaResult<T>) -> T {
        eventually(LIMIT, || ask(&self.client().create().unwrap()).map_err(|error| error.to_string()))
    }

    /// Every committed record of a topic up to its present end: by partition, then by offset.
    pub fn read_all(&self, topic: &str) -> Vec<Record> {
        read_all(self.client(), topic)
    }
}

/// Every committed record of a topic up to its present end, as a client with these settings reads them: by partition, then by offset.
pub fn read_all(mut client: ClientConfig, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = client
        .set("group.id", "read-all") // asked for, and not used: partitions are assigned, no offset is stored
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        // the broker's wait for more at the end of a partition
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let mut unread = eventually(LIMIT, || all_partitions(&consumer, topic));
    let mut assignment = TopicPartitionList::new();
    for partition in &unread {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut records = Vec::new();
    let deadline = Instant::now() + LIMIT;
    while !unread.is_empty() {
        assert!(Instant::now() < deadline, "{topic}: the end of partitions {unread:?} is not reached");
        match consumer.poll(CALL_LIMIT) {
            Some(Ok(message)) => records.push(Record::new(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(unread.remove(&partition)),
            // A broker that just came back may hang up once more: the client connects again.
            Some(Err(error)) if is_passing(&error) => {}
            Some(Err(error)) => panic!("reading {topic}: {error}"),
            None => {}
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

fn await_partitions(client: &BaseConsumer, topic: &str, partitions: usize) {
    eventually(LIMIT, || match led_partitions(client, topic)? {
        led if led.len() == partitions => Ok(()),
        led => Err(format!("{topic} has {} partitions of {partitions}", led.len())),
    });
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ADMIN_LIMIT)).request_timeout(Some(ADMIN_LIMIT))
}

impl Record {
    /// The value of its first header of this name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    }

    fn new(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| headers.iter()).into_iter().flatten();
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect(),
            timestamp: message.timestamp(),
        }
    }
}

fn is_passing(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure))
}

/// The topic's partitions, once each has a leader: a broker that just came back has none for a moment.
fn all_partitions(client: &BaseConsumer, topic: &str) -> Result<BTreeSet<i32>, String> {
    let metadata = client.fetch_metadata(Some(topic), CALL_LIMIT).map_err(|error| format!("{topic}: {error}"))?;
    let partitions: Vec<_> = metadata.topics().iter().flat_map(MetadataTopic::partitions).collect();
    if partitions.is_empty() || partitions.iter().any(|partition| partition.leader() < 0) {
        return Err(format!("there is no topic {topic}, or no leader of a partition"));
    }
    Ok(partitions.into_iter().map(MetadataPartition::id).collect())
}

/// The topic's partitions that have a leader; none where there is no such topic.
fn led_partitions(client: &BaseConsumer, topic: &str) -> Result<BTreeSet<i32>, String> {
    let metadata = client.fetch_metadata(Some(topic), CALL_LIMIT).map_err(|error| format!("{topic}: {error}"))?;
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    Ok(partitions.filter(|partition| partition.leader() >= 0).map(MetadataPartition::id).collect())
}

/// Runs a future to its end, also where the test itself is one that a runtime runs.
fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}
