//! The rules that carry "exactly once", each broken on purpose against a real Kafka: a consumer group's member, its
//! transactions, and the restore of a ledger.

mod fencing;
mod member;
mod moving;
mod outage;
mod restoring;
mod transactions;
mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use paybridge::kafka::restore::{PATIENCE, RestoreError, Restored, Wanted, restore};
use paybridge::kafka::transaction::{Batch, Destination, NextOffset, Outgoing, TransactionSettings, Transactions};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, Topic, unique_prefix};

/// The largest record of a transaction.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Topics of a test's own: two inputs, a ledger, outcomes; and a group.
struct GroupSetup<'a> {
    kafka: &'a Kafka,
    group_id: String,
    inputs: Vec<String>,
    ledger: String,
    outcomes: String,
    partitions: i32,
}

/// A producer that the test itself leaves in the middle of a transaction.
type RawProducer = ThreadedProducer<DefaultProducerContext>;

impl<'a> GroupSetup<'a> {
    fn new(kafka: &'a Kafka, partitions: i32) -> Self {
        let prefix = unique_prefix();
        let setup = Self {
            kafka,
            group_id: format!("{prefix}.group"),
            inputs: ["one", "two"].map(|name| format!("{prefix}.{name}")).to_vec(),
            ledger: format!("{prefix}.ledger"),
            outcomes: format!("{prefix}.outcomes"),
            partitions,
        };
        let names = setup.inputs.iter().chain([&setup.ledger, &setup.outcomes]);
        let brokers_time = [("message.timestamp.type", "LogAppendTime")];
        let topics: Vec<Topic<'_>> = names.map(|name| (name.as_str(), partitions, brokers_time.as_slice())).collect();
        kafka.create_topics(&topics);
        setup
    }

    /// Transactions of the process of this name.
    fn transactions(&self, process: &str) -> Transactions {
        self.transactions_with(process, |_| {})
    }

    fn transactions_with(&self, process: &str, set: impl Fn(&mut TransactionSettings)) -> Transactions {
        let mut settings = TransactionSettings::new(self.transactional_id(process), RECORD_BYTES_MAX);
        set(&mut settings);
        Transactions::start(&self.kafka.client(), &settings, LIMIT).unwrap()
    }

    fn transactional_id(&self, process: &str) -> String {
        format!("{}.{process}", self.group_id)
    }

    /// An open transaction that ends only when the test, a restart of the same process, or its timeout ends it.
    fn open_transaction(&self, process: &str, timeout: Duration) -> RawProducer {
        let mut config = self.kafka.client();
        let producer: RawProducer = config
            .set("transactional.id", self.transactional_id(process))
            .set("transaction.timeout.ms", timeout.as_millis().to_string())
            .create()
            .unwrap();
        producer.init_transactions(LIMIT).unwrap();
        producer.begin_transaction().unwrap();
        producer
    }

    /// Puts plain records on a topic, all keys into one partition.
    fn put(&self, topic: &str, partition: i32, keys: impl IntoIterator<Item = String>) {
        let producer: RawProducer = self.kafka.client().create().unwrap();
        put(&producer, topic, partition, keys);
    }

    fn restore(&self, partitions: &[i32], cancelled: &dyn Fn() -> bool) -> Result<(Keys, Vec<Restored>), RestoreError> {
        self.restore_within(PATIENCE, partitions, cancelled)
    }

    fn restore_within(
        &self,
        patience: Duration,
        partitions: &[i32],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(Keys, Vec<Restored>), RestoreError> {
        let (group_id, inputs, ledger) = (&self.group_id, &self.inputs, &self.ledger);
        let wanted = Wanted { group_id, inputs, ledger, partitions, patience };
        let mut keys = Keys::new();
        let mut each = |partition, key: &[u8], value: Option<&[u8]>| {
            let key = (partition, String::from_utf8(key.to_vec()).unwrap());
            if value.is_some() {
                keys.insert(key)
            } else {
                keys.remove(&key)
            };
        };
        let restored = restore(&self.kafka.client(), &wanted, cancelled, &mut each)?;
        Ok((keys, restored))
    }

    /// The keys of the outcomes that a subscriber sees, in their order.
    fn outcomes(&self) -> Vec<String> {
        let records = self.kafka.read_all(&self.outcomes);
        records.into_iter().map(|record| String::from_utf8(record.key.unwrap()).unwrap()).collect()
    }

    /// A ledger record and an outcome of `key`, and the next offset of input one: all in this partition.
    fn batch(&self, partition: i32, key: &str, next: i64) -> Batch {
        let record = |topic: &str, destination| Outgoing {
            topic: topic.into(),
            destination,
            key: key.as_bytes().to_vec(),
            value: Some(b"value".to_vec()),
            headers: Vec::new(),
        };
        let records =
            vec![record(&self.ledger, Destination::Owned(partition)), record(&self.outcomes, Destination::ByKey)];
        Batch::new(records, &[self.next(0, partition, next)]).unwrap()
    }

    fn next(&self, input: usize, partition: i32, next: i64) -> NextOffset {
        NextOffset { topic: Arc::from(self.inputs[input].as_str()), partition, next }
    }
}

/// What a ledger holds: partition and key.
type Keys = BTreeSet<(i32, String)>;

fn keys(partition: i32, keys: &[&str]) -> Keys {
    keys.iter().map(|key| (partition, (*key).to_owned())).collect()
}

fn never() -> bool {
    false
}

/// Sends records, and returns when Kafka has them.
fn put(producer: &RawProducer, topic: &str, partition: i32, keys: impl IntoIterator<Item = String>) {
    for key in keys {
        let mut record = BaseRecord::to(topic).partition(partition).key(&key).payload("value");
        while let Err((error, refused)) = producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(rdkafka::error::RDKafkaErrorCode::QueueFull));
            eventually(LIMIT, || if producer.in_flight_count() < 50_000 { Ok(()) } else { Err("full".to_owned()) });
            record = refused;
        }
    }
    producer.flush(LIMIT).unwrap();
}
