//! Writes the records that wait into files, one after the other, and tells each of them what became of it.
//! Must not know why records go to disk.

use std::time::{Duration, Instant, SystemTime};

use super::DiskSpool;
use super::backlog::BacklogFile;
use super::batch::{self, SpooledRecord};
use super::folder::StoreError;
use super::queue::QueuedRecord;
use crate::error_chain;
use crate::kafka::publisher::{Delivery, DeliveryFailure, OnDelivery};
use crate::log_limit::LINE_EVERY;

/// Between two looks whether a disk that failed works again.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Why a batch is not on disk.
enum NotStored {
    Full,
    Disk(StoreError),
    /// It failed a moment ago, and is not tried again yet.
    DiskRests,
}

/// What the writer remembers of failures.
struct Failures {
    /// When the disk failed, or was probed in vain, last; none: it works.
    broken: Option<Instant>,
    told: Option<Instant>,
}

impl DiskSpool {
    /// Writes files until [`DiskSpool::close`]. Blocks: for a thread of its own.
    pub fn write(&self) {
        let mut failures = Failures { broken: self.disk_failed, told: None };
        while let Some(batch) = self.queue.next_batch() {
            self.write_batch(batch, &mut failures);
            self.queue.written();
            self.backlog.wake();
            self.show();
        }
    }

    fn write_batch(&self, batch: Vec<QueuedRecord>, failures: &mut Failures) {
        let began = Instant::now();
        let (records, reports): (Vec<SpooledRecord>, Vec<OnDelivery>) =
            batch.into_iter().map(|queued| (queued.spooled, queued.report)).unzip();
        let stored = self.await_disk(failures).and_then(|()| self.store(&records));
        match stored {
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
                failures.tell(&why, records.len());
                for report in reports {
                    report(Delivery::Failed(DeliveryFailure::Other));
                }
            }
        }
    }

    fn store(&self, records: &[SpooledRecord]) -> Result<(u64, BacklogFile), NotStored> {
        let number = self.backlog.take_number();
        let bytes = batch::encode(number, records);
        let file = BacklogFile::of(&bytes, records, SystemTime::now());
        if !self.backlog.has_room(file.bytes, self.settings.bytes_max, self.settings.files_max) {
            return Err(NotStored::Full);
        }
        self.folder.store(number, &bytes).map_err(NotStored::Disk)?;
        Ok((number, file))
    }

    /// After a failure nothing is stored until a small file has gone all the way.
    fn await_disk(&self, failures: &mut Failures) -> Result<(), NotStored> {
        match failures.broken {
            None => Ok(()),
            Some(failed) if failed.elapsed() < PROBE_EVERY => Err(NotStored::DiskRests),
            Some(_) => {
                self.folder.probe().map_err(NotStored::Disk)?;
                tracing::info!("the spool's disk takes files again");
                failures.broken = None;
                Ok(())
            }
        }
    }
}

impl Failures {
    /// Logs a failure, at most once a minute.
    fn tell(&mut self, why: &NotStored, records: usize) {
        if let NotStored::Disk(_) = why {
            self.broken = Some(Instant::now());
        }
        if matches!(why, NotStored::DiskRests) || self.told.is_some_and(|told| told.elapsed() < LINE_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
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
            NotStored::DiskRests => {}
        }
    }
}
