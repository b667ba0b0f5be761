//! Writes the records that wait into files, one after the other, and tells each of them what became of it.
//! Must not know why records go to disk.

use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use super::DiskSpool;
use super::backlog::BacklogFile;
use super::batch::{self, SpooledRecord};
use super::folder::StoreError;
use super::queue::QueuedRecord;
use crate::error_chain;
use crate::kafka::publisher::{Delivery, DeliveryFailure, OnDelivery};
use crate::log_limit::LINE_EVERY;

/// Why a batch is not on disk.
enum NotStored {
    Full,
    Disk(StoreError),
    /// It failed before, and is not tried again yet.
    DiskRests,
}

impl DiskSpool {
    /// Writes files until [`DiskSpool::close`]. Blocks: for a thread of its own.
    pub fn write(&self) {
        let mut told: Option<Instant> = None;
        while let Some(batch) = self.queue.next_batch() {
            self.write_batch(batch, &mut told);
            self.queue.written();
            self.backlog.wake();
            self.show();
        }
    }

    /// `told` is when a failure was logged last.
    fn write_batch(&self, batch: Vec<QueuedRecord>, told: &mut Option<Instant>) {
        let began = Instant::now();
        let (records, reports): (Vec<SpooledRecord>, Vec<OnDelivery>) =
            batch.into_iter().map(|queued| (queued.spooled, queued.report)).unzip();
        match self.store(&records) {
            Ok((number, file)) => {
                self.metrics.written(records.len(), began.elapsed());
                // Before the file can be published: whoever hears of that must know that it was on disk.
                for report in reports {
                    report(Delivery::Spooled);
                }
                self.backlog.add(number, file);
            }
            Err(why) => {
                match why {
                    NotStored::Full => self.metrics.refused_full(records.len()),
                    NotStored::Disk(_) | NotStored::DiskRests => self.metrics.refused_disk(records.len()),
                }
                tell(&why, records.len(), told);
                for report in reports {
                    report(Delivery::Failed(DeliveryFailure::Other));
                }
            }
        }
    }

    fn store(&self, records: &[SpooledRecord]) -> Result<(u64, BacklogFile), NotStored> {
        if self.disk_is_broken.load(Ordering::Relaxed) {
            return Err(NotStored::DiskRests);
        }
        let number = self.backlog.take_number();
        let bytes = batch::encode(number, records);
        let file = BacklogFile::of(&bytes, records, SystemTime::now());
        if !self.has_room(file.bytes) {
            self.refused_bytes.store(file.bytes, Ordering::Relaxed);
            return Err(NotStored::Full);
        }
        if let Err(error) = self.folder.store(number, &bytes) {
            self.disk_is_broken.store(true, Ordering::Relaxed);
            return Err(NotStored::Disk(error));
        }
        self.refused_bytes.store(0, Ordering::Relaxed);
        Ok((number, file))
    }

    /// After a failure nothing is stored until a small file has gone all the way.
    pub(super) fn probe_broken_disk(&self) {
        if self.disk_is_broken.load(Ordering::Relaxed) && self.folder.probe().is_ok() {
            self.disk_is_broken.store(false, Ordering::Relaxed);
            tracing::info!("the spool's disk takes files again");
        }
    }
}

/// Logs a failure, at most once a minute.
fn tell(why: &NotStored, records: usize, told: &mut Option<Instant>) {
    if told.is_some_and(|told| told.elapsed() < LINE_EVERY) {
        return;
    }
    *told = Some(Instant::now());
    match why {
        NotStored::Full => tracing::error!(
            records,
            "the spool is full; webhooks are answered 503 until Kafka takes records again; see spool.bytes_max and spool.files_max"
        ),
        NotStored::Disk(error) => tracing::error!(
            records,
            error = error_chain::joined(error),
            "the spool's disk failed; webhooks are answered 503 until it or Kafka works again"
        ),
        NotStored::DiskRests => tracing::error!(
            records,
            "the spool's disk still fails; webhooks are answered 503 until it or Kafka works again"
        ),
    }
}
