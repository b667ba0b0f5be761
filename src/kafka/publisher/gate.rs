//! Where records go: to the present producer, or, for the moment in which another takes its place, into a queue before it.
//! Must not know why a producer is exchanged.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::context::Pending;
use super::{Producer, Record};

/// Every record passes it, in the order in which it comes.
pub(super) struct Gate {
    /// Read while a record is sent, so that whoever writes knows that none is half sent.
    way: RwLock<Way>,
    held_bytes_max: usize,
}

struct Way {
    producer: Producer,
    /// Records that wait for an exchange; none: they go to the producer at once.
    held: Option<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    records: Vec<(Record, Box<Pending>)>,
    bytes: usize,
}

/// A record that was not taken, and why.
pub(super) struct Refused {
    pub(super) topic: String,
    pub(super) pending: Box<Pending>,
    pub(super) error: KafkaError,
}

impl Gate {
    /// A gate before this producer, which holds so many bytes at most.
    pub(super) fn new(producer: Producer, held_bytes_max: usize) -> Self {
        Self { way: RwLock::new(Way { producer, held: None }), held_bytes_max }
    }

    /// Sends a record, or holds it.
    pub(super) fn pass(&self, record: &Record, pending: Box<Pending>) -> Result<(), Refused> {
        let way = self.read();
        match &way.held {
            None => send(&way.producer, record, pending),
            Some(held) => {
                held.lock().unwrap_or_else(PoisonError::into_inner).push(record, pending, self.held_bytes_max)
            }
        }
    }

    /// From now on records are held.
    pub(super) fn hold(&self) {
        self.write().held.get_or_insert_default();
    }

    /// Puts `successor`, if there is one, in the producer's place, and sends what was held, in order. Gives the old
    /// producer, and what was refused.
    pub(super) fn release(&self, successor: Option<Producer>) -> (Option<Producer>, Vec<Refused>) {
        let mut way = self.write();
        let old = successor.map(|successor| std::mem::replace(&mut way.producer, successor));
        let held = way.held.take().map(|held| held.into_inner().unwrap_or_else(PoisonError::into_inner));
        let records = held.into_iter().flat_map(|held| held.records);
        let refused = records.filter_map(|(record, pending)| send(&way.producer, &record, pending).err());
        let refused = refused.collect();
        (old, refused)
    }

    /// Looks at the present producer.
    pub(super) fn with_producer<T>(&self, look: impl FnOnce(&Producer) -> T) -> T {
        look(&self.read().producer)
    }

    /// How many records are held.
    pub(super) fn held_count(&self) -> usize {
        let way = self.read();
        way.held.as_ref().map_or(0, |held| held.lock().unwrap_or_else(PoisonError::into_inner).records.len())
    }

    fn read(&self) -> RwLockReadGuard<'_, Way> {
        self.way.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Way> {
        self.way.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn push(&mut self, record: &Record, pending: Box<Pending>, bytes_max: usize) -> Result<(), Refused> {
        let bytes = self.bytes.saturating_add(record.size());
        if bytes > bytes_max {
            let error = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            return Err(Refused { topic: record.topic.to_string(), pending, error });
        }
        self.bytes = bytes;
        self.records.push((record.clone(), pending));
        Ok(())
    }
}

fn send(producer: &Producer, record: &Record, pending: Box<Pending>) -> Result<(), Refused> {
    let headers = OwnedHeaders::new_with_capacity(record.headers.len());
    let headers =
        record.headers.iter().fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
    let base =
        BaseRecord::with_opaque_to(&record.topic, pending).key(&record.key).payload(&record.value).headers(headers);
    producer.send(base).map_err(|(error, refused)| Refused {
        topic: record.topic.to_string(),
        pending: refused.delivery_opaque,
        error,
    })
}
