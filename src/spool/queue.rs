//! The records that wait for the writer of files, in order.
//! Must not know where they come from, nor how a file is written.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch::SpooledRecord;
use crate::kafka::publisher::OnDelivery;

/// For so long records gather for one file: a sync costs the same for one and for thousands.
const GATHER: Duration = Duration::from_millis(50);
/// So many bytes are a file at once.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A record that waits for its file.
pub(super) struct QueuedRecord {
    pub(super) spooled: SpooledRecord,
    pub(super) report: OnDelivery,
}

/// The records that wait.
#[derive(Default)]
pub(super) struct Queue {
    inside: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    records: VecDeque<QueuedRecord>,
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
    writer: Writer,
    /// Why the writer leaves them alone.
    held_for: BTreeSet<HeldFor>,
    is_closed: bool,
}

/// Why records that wait are not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HeldFor {
    /// Earlier ones are to come before them.
    EarlierOnes,
    /// They may go to Kafka directly soon.
    Kafka,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Idle,
    Writing,
}

impl Queue {
    /// Adds a record at the end.
    pub(super) fn push(&self, record: QueuedRecord) {
        let mut inside = self.inside();
        inside.push(record);
        // While some gather, the writer wakes by itself.
        let is_news = inside.records.len() == 1 || inside.bytes >= BATCH_BYTES;
        drop(inside);
        if is_news {
            self.changed.notify_all();
        }
    }

    /// Adds records before all others.
    pub(super) fn push_before_all(&self, records: Vec<QueuedRecord>) {
        let mut inside = self.inside();
        let later = std::mem::take(&mut inside.records);
        inside.bytes = 0;
        records.into_iter().chain(later).for_each(|record| inside.push(record));
        drop(inside);
        self.changed.notify_all();
    }

    /// Waits for records for one file, in order; none: the queue is closed and empty. The writer says [`Queue::written`] afterwards.
    pub(super) fn next_batch(&self) -> Option<Vec<QueuedRecord>> {
        let mut inside = self.inside();
        loop {
            let gathered = inside.since.map(|since| since.elapsed());
            let may_write = inside.is_closed || inside.held_for.is_empty();
            match gathered {
                None if inside.is_closed => return None,
                Some(time) if may_write && (inside.is_closed || inside.bytes >= BATCH_BYTES || time >= GATHER) => {
                    inside.writer = Writer::Writing;
                    return Some(inside.take_batch());
                }
                Some(time) if may_write => {
                    let more = GATHER.saturating_sub(time);
                    inside = self.changed.wait_timeout(inside, more).unwrap_or_else(PoisonError::into_inner).0;
                }
                None | Some(_) => inside = self.changed.wait(inside).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// The last batch is written, or has failed.
    pub(super) fn written(&self) {
        self.inside().writer = Writer::Idle;
    }

    /// From now on the writer leaves the records alone.
    pub(super) fn hold(&self, reason: HeldFor) {
        self.inside().held_for.insert(reason);
    }

    /// The reason is gone.
    pub(super) fn release(&self, reason: HeldFor) {
        self.inside().held_for.remove(&reason);
        self.changed.notify_all();
    }

    /// Whether nothing waits and nothing is being written.
    pub(super) fn is_idle(&self) -> bool {
        let inside = self.inside();
        inside.records.is_empty() && inside.writer == Writer::Idle
    }

    /// Takes all records that wait; none: earlier ones are being written.
    pub(super) fn take_all(&self) -> Option<Vec<QueuedRecord>> {
        let mut inside = self.inside();
        if inside.writer == Writer::Writing {
            return None;
        }
        inside.bytes = 0;
        inside.since = None;
        Some(std::mem::take(&mut inside.records).into())
    }

    /// No more records come.
    pub(super) fn close(&self) {
        self.inside().is_closed = true;
        self.changed.notify_all();
    }

    fn inside(&self) -> MutexGuard<'_, QueueState> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn push(&mut self, record: QueuedRecord) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes = self.bytes.saturating_add(record.spooled.record.size());
        self.records.push_back(record);
    }

    /// What fits into one file; one record always does.
    fn take_batch(&mut self) -> Vec<QueuedRecord> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(record) = self.records.pop_front() {
            bytes += record.spooled.record.size();
            batch.push(record);
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        // What is left has waited for the file before.
        self.since = (!self.records.is_empty()).then(Instant::now);
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kafka::record::Record;

    fn record(key: &str, bytes: usize) -> QueuedRecord {
        let record = Record { topic: "t".into(), key: key.to_owned(), value: vec![0; bytes], headers: Vec::new() };
        QueuedRecord { spooled: SpooledRecord { record, event_id: None }, report: Box::new(|_| {}) }
    }

    fn keys(batch: Option<Vec<QueuedRecord>>) -> Option<Vec<String>> {
        batch.map(|batch| batch.into_iter().map(|queued| queued.spooled.record.key).collect())
    }

    #[test]
    fn gathers_in_order_until_time_or_bytes_are_enough() {
        let queue = Queue::default();
        queue.push(record("b", 1));
        queue.push(record("c", BATCH_BYTES));
        queue.push(record("d", 1));
        queue.push_before_all(vec![record("a", 1)]);
        assert_eq!(keys(queue.next_batch()).unwrap(), ["a", "b", "c"]);
        assert_eq!(keys(queue.take_all()), None, "the first ones are being written");
        queue.written();
        assert_eq!(keys(queue.next_batch()).unwrap(), ["d"]);
        assert!(!queue.is_idle());
        queue.written();
        assert!(queue.is_idle());
        queue.close();
        assert_eq!(keys(queue.next_batch()), None);
    }

    #[test]
    fn what_is_held_is_left_alone_until_it_is_taken_released_or_the_end() {
        let queue = Arc::new(Queue::default());
        queue.hold(HeldFor::Kafka);
        queue.push(record("a", BATCH_BYTES));
        assert_eq!(keys(queue.take_all()).unwrap(), ["a"]);
        queue.push(record("b", BATCH_BYTES));
        let writer = Arc::clone(&queue);
        let written = std::thread::spawn(move || keys(writer.next_batch()));
        queue.release(HeldFor::Kafka);
        assert_eq!(written.join().unwrap().unwrap(), ["b"]);
        queue.written();
        queue.hold(HeldFor::EarlierOnes);
        queue.push(record("c", 1));
        queue.close();
        assert_eq!(keys(queue.next_batch()).unwrap(), ["c"], "at the end all that waits is written");
    }
}
