//! The metrics of the disk spool.
//! Must not know what a file holds.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{Metrics, catalogue, zeroed};

/// Of the spool.
pub struct SpoolMetrics {
    /// How often records began to go to disk.
    pub engaged: Counter,
    /// Records that Kafka took from disk.
    pub drained: Counter,
    /// Records that were put aside because Kafka never takes them.
    pub dead: Counter,
    /// Records that were damaged on disk.
    pub damaged: Counter,
    /// Files that could not be read, each time.
    pub unreadable: Counter,
    /// Whether records go to disk.
    pub spooling: Gauge,
    dead_files: Gauge,
    written: Counter,
    write_duration: Histogram,
    refused_full: Counter,
    refused_disk: Counter,
    files: Gauge,
    bytes: Gauge,
    records: Gauge,
    oldest: Gauge,
    bytes_max: Gauge,
    files_max: Gauge,
}

impl Metrics {
    /// The metrics of the disk spool, zeroed.
    pub fn spool(&self) -> SpoolMetrics {
        metrics::with_local_recorder(&*self.recorder, || {
            let refused = |reason: &'static str| zeroed(counter!(catalogue::SPOOL_REFUSED, "reason" => reason));
            SpoolMetrics {
                engaged: zeroed(counter!(catalogue::SPOOL_ENGAGEMENTS)),
                drained: zeroed(counter!(catalogue::SPOOL_DRAINED)),
                dead: zeroed(counter!(catalogue::SPOOL_DEAD)),
                damaged: zeroed(counter!(catalogue::SPOOL_DAMAGED)),
                unreadable: zeroed(counter!(catalogue::SPOOL_UNREADABLE)),
                spooling: gauge!(catalogue::SPOOL_ENGAGED),
                dead_files: gauge!(catalogue::SPOOL_DEAD_FILES),
                written: zeroed(counter!(catalogue::SPOOL_WRITTEN)),
                write_duration: histogram!(catalogue::SPOOL_WRITE_DURATION),
                refused_full: refused("full"),
                refused_disk: refused("disk"),
                files: gauge!(catalogue::SPOOL_FILES),
                bytes: gauge!(catalogue::SPOOL_BYTES),
                records: gauge!(catalogue::SPOOL_RECORDS),
                oldest: gauge!(catalogue::SPOOL_OLDEST),
                bytes_max: gauge!(catalogue::SPOOL_BYTES_MAX),
                files_max: gauge!(catalogue::SPOOL_FILES_MAX),
            }
        })
    }
}

impl SpoolMetrics {
    /// How much it may hold.
    pub fn bounds(&self, bytes_max: u64, files_max: usize) {
        self.bytes_max.set(of_u64(bytes_max));
        self.files_max.set(of_usize(files_max));
    }

    /// The disk took a small file at the start.
    pub fn probed(&self, took: Duration) {
        self.write_duration.record(took);
    }

    /// A file with so many records was written.
    pub fn written(&self, records: usize, took: Duration) {
        self.written.increment(u64::try_from(records).unwrap_or(u64::MAX));
        self.write_duration.record(took);
    }

    /// So many records are not on disk, because it is full.
    pub fn refused_full(&self, records: usize) {
        self.refused_full.increment(u64::try_from(records).unwrap_or(u64::MAX));
    }

    /// So many records are not on disk, because it failed.
    pub fn refused_disk(&self, records: usize) {
        self.refused_disk.increment(u64::try_from(records).unwrap_or(u64::MAX));
    }

    /// So many files cannot be delivered.
    pub fn dead_files(&self, files: usize) {
        self.dead_files.set(of_usize(files));
    }

    /// What is on disk.
    pub fn on_disk(&self, files: usize, bytes: u64, records: usize, oldest: Duration) {
        self.files.set(of_usize(files));
        self.bytes.set(of_u64(bytes));
        self.records.set(of_usize(records));
        self.oldest.set(oldest.as_secs_f64());
    }
}

fn of_usize(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// To a KiB where it is large: a gauge is no account.
fn of_u64(number: u64) -> f64 {
    match u32::try_from(number) {
        Ok(number) => f64::from(number),
        Err(_) => f64::from(u32::try_from(number / 1024).unwrap_or(u32::MAX)) * 1024.0,
    }
}
