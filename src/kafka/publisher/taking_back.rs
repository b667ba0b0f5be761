//! How records that Kafka does not acknowledge come back to whoever sent them, whole and in order.
//! Must not know what becomes of them then.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::producer::{Producer as _, PurgeConfig};

use super::context::PendingRecord;
use super::{DRAIN_POLL, OnDelivery, Publisher};
use crate::kafka::record::Record;

/// A record that was sent, and is not sent any more. Kafka may have it all the same.
pub struct TakenBack {
    /// As it was given to [`Publisher::publish_until_taken_back`].
    pub sequence: u64,
    /// The record.
    pub record: Record,
    /// Not called yet.
    pub report: OnDelivery,
}

/// Records that may be taken back.
#[derive(Default)]
pub(super) struct TakingBack {
    /// Those that came back so far; none while nobody takes them back.
    taken: Mutex<Option<Vec<TakenBack>>>,
    /// How many are on their way.
    on_their_way: AtomicUsize,
}

impl TakingBack {
    /// A record is about to be sent.
    pub(super) fn sent(&self, pending: &PendingRecord) {
        if pending.sequence.is_some() {
            self.on_their_way.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A record's fate is known.
    pub(super) fn ended(&self, pending: &PendingRecord) {
        if pending.sequence.is_some() {
            self.on_their_way.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes a record back that was purged. One that nobody takes back has failed: it is given to whoever tells that.
    pub(super) fn take(
        &self,
        message: &BorrowedMessage<'_>,
        pending: Box<PendingRecord>,
    ) -> Option<Box<PendingRecord>> {
        let mut inside = self.inside();
        let (Some(taken), Some(sequence)) = (&mut *inside, pending.sequence) else { return Some(pending) };
        // Counted down after it is there: whoever takes records back waits for the count.
        taken.push(TakenBack { sequence, record: record(message), report: pending.report });
        self.on_their_way.fetch_sub(1, Ordering::Relaxed);
        None
    }

    fn inside(&self) -> MutexGuard<'_, Option<Vec<TakenBack>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    /// As [`Publisher::publish`], but the record may be taken back by its sequence, which tells the order among all such records.
    pub fn publish_until_taken_back(&self, sequence: u64, record: &Record, report: OnDelivery) {
        self.send(record, report, Some(sequence));
    }

    /// Takes back all records that Kafka has not acknowledged, in their order. What is not back in time has failed. Blocks: not for a
    /// thread of the runtime.
    pub fn take_back(&self, within: Duration) -> Vec<TakenBack> {
        let alone = self.exchanging.blocking_lock();
        *self.shared.taking_back.inside() = Some(Vec::new());
        self.switch.with_producer(|producer| producer.purge(everything()));
        if let Some(singly) = &self.shared.singly().producer {
            singly.purge(everything());
        }
        let deadline = Instant::now() + within;
        while self.shared.taking_back.on_their_way.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            sleep(DRAIN_POLL);
        }
        let mut taken = self.shared.taking_back.inside().take().unwrap_or_default();
        drop(alone);
        taken.sort_by_key(|back| back.sequence);
        taken
    }
}

/// What waits and what is on its way. A broker's thread may be waiting for a name server: that is not waited for.
pub(super) fn everything() -> PurgeConfig {
    PurgeConfig::default().queue().inflight().non_blocking()
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| (Cow::Owned(header.key.to_owned()), Bytes::copy_from_slice(header.value.unwrap_or_default())))
            .collect()
    });
    Record {
        topic: message.topic().into(),
        // It was text when it was sent.
        key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
        value: message.payload().unwrap_or_default().to_vec(),
        headers: headers.unwrap_or_default(),
    }
}
