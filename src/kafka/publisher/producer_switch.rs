//! Where records go: to the present producer, or, for the moment in which another takes its place, into a queue before it.
//! Must not know why a producer is exchanged.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::context::PendingRecord;
use super::{Producer, Record};

/// Every record passes it, in the order in which it comes.
pub(super) struct ProducerSwitch {
    /// Read while a record is sent, so that whoever writes knows that none is half sent.
    target: RwLock<Target>,
    waiting_bytes_max: usize,
}

struct Target {
    producer: Producer,
    /// Records that wait for an exchange; none: they go to the producer at once.
    waiting: Option<Mutex<WaitingRecords>>,
}

#[derive(Default)]
struct WaitingRecords {
    records: Vec<(Record, Box<PendingRecord>)>,
    bytes: usize,
}

/// A record that was not taken, and why.
pub(super) struct UnsentRecord {
    pub(super) topic: String,
    pub(super) pending: Box<PendingRecord>,
    pub(super) error: KafkaError,
}

impl ProducerSwitch {
    /// A switch before this producer, which holds so many bytes at most.
    pub(super) fn new(producer: Producer, waiting_bytes_max: usize) -> Self {
        Self { target: RwLock::new(Target { producer, waiting: None }), waiting_bytes_max }
    }

    /// Sends a record, or holds it.
    pub(super) fn send(&self, record: &Record, pending: Box<PendingRecord>) -> Result<(), UnsentRecord> {
        let target = self.read();
        match &target.waiting {
            None => send(&target.producer, record, pending),
            Some(waiting) => {
                waiting.lock().unwrap_or_else(PoisonError::into_inner).push(record, pending, self.waiting_bytes_max)
            }
        }
    }

    /// From now on records wait.
    pub(super) fn pause(&self) {
        self.write().waiting.get_or_insert_default();
    }

    /// Puts `successor`, if there is one, in the producer's place, and sends what waited, in order. Gives the old
    /// producer, and what was refused.
    pub(super) fn resume(&self, successor: Option<Producer>) -> (Option<Producer>, Vec<UnsentRecord>) {
        let mut target = self.write();
        let old = successor.map(|successor| std::mem::replace(&mut target.producer, successor));
        let waiting = target.waiting.take().map(|waiting| waiting.into_inner().unwrap_or_else(PoisonError::into_inner));
        let records = waiting.into_iter().flat_map(|waiting| waiting.records);
        let refused = records.filter_map(|(record, pending)| send(&target.producer, &record, pending).err());
        let refused = refused.collect();
        (old, refused)
    }

    /// Looks at the present producer.
    pub(super) fn with_producer<T>(&self, look: impl FnOnce(&Producer) -> T) -> T {
        look(&self.read().producer)
    }

    /// How many records are waiting.
    pub(super) fn waiting_count(&self) -> usize {
        let target = self.read();
        target
            .waiting
            .as_ref()
            .map_or(0, |waiting| waiting.lock().unwrap_or_else(PoisonError::into_inner).records.len())
    }

    fn read(&self) -> RwLockReadGuard<'_, Target> {
        self.target.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Target> {
        self.target.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingRecords {
    fn push(&mut self, record: &Record, pending: Box<PendingRecord>, bytes_max: usize) -> Result<(), UnsentRecord> {
        let bytes = self.bytes.saturating_add(record.size());
        if bytes > bytes_max {
            let error = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            return Err(UnsentRecord { topic: record.topic.to_string(), pending, error });
        }
        self.bytes = bytes;
        self.records.push((record.clone(), pending));
        Ok(())
    }
}

fn send(producer: &Producer, record: &Record, pending: Box<PendingRecord>) -> Result<(), UnsentRecord> {
    let headers = OwnedHeaders::new_with_capacity(record.headers.len());
    let headers = record
        .headers
        .iter()
        .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_ref()) }));
    let base =
        BaseRecord::with_opaque_to(&record.topic, pending).key(&record.key).payload(&record.value).headers(headers);
    producer.send(base).map_err(|(error, refused)| UnsentRecord {
        topic: record.topic.to_string(),
        pending: refused.delivery_opaque,
        error,
    })
}
