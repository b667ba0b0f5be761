//! Where records go while Kafka does not take them: to a folder on disk, and from there to Kafka when it takes records again.
//! Must not know webhooks. A record is reported as spooled only after its file was synced.
//!
//! Order: a record goes to Kafka directly, or behind all that is on disk, never past it. When Kafka does not acknowledge in time, what
//! the producer has is taken back and goes to disk first; from then on every record goes to disk, while [`DiskSpool::drain`] publishes the
//! oldest files. When the last file is on its way, new records wait in memory; once Kafka has that file, they follow directly.
//!
//! Three threads: [`DiskSpool::watch`] looks whether Kafka acknowledges, [`DiskSpool::write`] writes files, [`DiskSpool::drain`] empties them.

mod backlog;
pub mod batch;
mod drain;
pub mod folder;
mod queue;
mod round;
pub mod status;
mod unacknowledged;
mod watch;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use backlog::Backlog;
use batch::SpooledRecord;
use folder::{Folder, OpenError};
use queue::{Queue, QueuedRecord};
use unacknowledged::Unacknowledged;

use crate::error_chain;
use crate::kafka::publisher::{Delivery, DeliveryFailure, OnDelivery, Publisher};
use crate::kafka::record::Record;
use crate::metrics::SpoolMetrics;
use crate::provider::EventId;

/// What a spool needs to know.
#[derive(Clone, Debug)]
pub struct SpoolSettings {
    /// Its folder.
    pub directory: PathBuf,
    /// The most bytes of its files.
    pub bytes_max: u64,
    /// The most files.
    pub files_max: usize,
    /// How long Kafka may take to acknowledge a record before records go to disk.
    pub engage_after: Duration,
}

/// Whoever else must hear what becomes of records on disk.
pub struct SpoolOwner {
    /// Kafka has an event that was on disk.
    pub drained: Box<dyn Fn(EventId) + Send + Sync>,
    /// An event that was on disk cannot be delivered: when it comes again, it is a new one.
    pub lost: Box<dyn Fn(EventId) + Send + Sync>,
    /// Whether half of the memory for webhooks in flight is taken.
    pub memory_is_half_taken: Box<dyn Fn() -> bool + Send + Sync>,
}

/// A folder on disk before a producer.
pub struct DiskSpool {
    publisher: Arc<Publisher>,
    folder: Folder,
    settings: SpoolSettings,
    owner: SpoolOwner,
    /// Read while a record is sent, so that whoever writes it knows that none is half sent.
    route: RwLock<Route>,
    queue: Queue,
    backlog: Backlog,
    unacknowledged: Arc<Unacknowledged>,
    metrics: SpoolMetrics,
    /// The disk failed, and no small file has gone all the way since.
    disk_is_broken: AtomicBool,
    /// The length of the last file that did not fit; 0 since one did.
    refused_bytes: AtomicU64,
}

/// Where records go.
#[derive(Debug)]
struct Route {
    mode: RouteMode,
    /// Topics that do not take records while others do: some of theirs are on disk.
    kept_back: BTreeMap<Arc<str>, KeptBack>,
    /// How often records began to go to disk.
    engagements: u64,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RouteMode {
    /// To Kafka.
    Direct,
    /// To disk, once those are there that are taken back from the producer.
    Engaging,
    /// To disk.
    Spooling,
}

/// Why records of a topic stay on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeptBack {
    /// Kafka refuses the topic: it is missing, or may not be written. Its new records fail, so that they do not fill the disk.
    Refused(DeliveryFailure),
    /// Kafka does not acknowledge in time: its new records go to disk behind the others.
    Slow,
}

impl DiskSpool {
    /// Opens the folder. The events on disk, which are known from now on, come along: where there are any, new records go to disk too until
    /// Kafka has them.
    ///
    /// # Errors
    /// The folder cannot be a spool's.
    pub fn open(
        settings: SpoolSettings,
        publisher: Arc<Publisher>,
        owner: SpoolOwner,
        metrics: SpoolMetrics,
    ) -> Result<(Self, Vec<EventId>), OpenError> {
        let folder = Folder::open(&settings.directory)?;
        let began = Instant::now();
        // On a full disk what is there must still go to Kafka, which makes room.
        let probed = folder.probe();
        if let Err(error) = &probed {
            let error = error_chain::joined(error);
            tracing::error!(
                error,
                "the spool's disk takes no files; what is on it is published, and it is tried again"
            );
        }
        metrics.probed(began.elapsed());
        let (backlog, events) = Backlog::read(&folder).map_err(|source| OpenError::Step {
            step: "read",
            path: settings.directory.clone(),
            source,
        })?;
        let found = backlog.sum();
        let mode = if found.files == 0 { RouteMode::Direct } else { RouteMode::Spooling };
        metrics.bounds(settings.bytes_max, settings.files_max);
        if found.files > 0 {
            tracing::info!(
                files = found.files,
                records = found.records,
                bytes = found.bytes,
                "spool has records of an earlier process; they are published first, and new records wait behind them on disk"
            );
        }
        let spool = Self {
            publisher,
            folder,
            settings,
            owner,
            route: RwLock::new(Route { mode, kept_back: BTreeMap::new(), engagements: 0, since: Instant::now() }),
            queue: Queue::default(),
            backlog,
            unacknowledged: Arc::default(),
            metrics,
            disk_is_broken: AtomicBool::new(probed.is_err()),
            refused_bytes: AtomicU64::new(0),
        };
        spool.take_retries();
        Ok((spool, events))
    }

    /// Takes a record: to Kafka, or to disk. `report` is called exactly once, maybe before this returns. The event id is the one that the
    /// owner hears of later.
    pub fn publish(&self, record: Record, event_id: Option<EventId>, report: OnDelivery) {
        let route = self.read_route();
        match route.way_of(&record.topic) {
            // Its records would only fill the disk.
            _ if self.publisher.is_missing(&record.topic) => {
                drop(route);
                report(Delivery::Failed(DeliveryFailure::UnknownTopic));
            }
            Way::Kafka => self.send(&record, event_id, report),
            Way::Disk => self.queue.push(QueuedRecord { spooled: SpooledRecord { record, event_id }, report }),
            Way::None(failure) => {
                drop(route);
                report(Delivery::Failed(failure));
            }
        }
    }

    /// Whether records go to disk.
    pub fn is_spooling(&self) -> bool {
        self.read_route().mode != RouteMode::Direct
    }

    /// Whether the next file can be expected to be stored.
    fn takes_files(&self) -> bool {
        let refused = self.refused_bytes.load(Ordering::Relaxed);
        let fits = refused == 0 || self.backlog.is_empty() || self.has_room(refused);
        fits && !self.disk_is_broken.load(Ordering::Relaxed)
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.backlog.has_room(bytes, self.settings.bytes_max, self.settings.files_max)
    }

    /// How many records are on disk.
    pub fn records(&self) -> usize {
        self.backlog.sum().records
    }

    /// No more records come: what waits is written, and the writer ends.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Sends a record to Kafka such that it can be taken back.
    fn send(&self, record: &Record, event_id: Option<EventId>, report: OnDelivery) {
        let sequence = self.unacknowledged.sent(&record.topic, event_id);
        let unacknowledged = Arc::clone(&self.unacknowledged);
        let reported = move |delivery| {
            unacknowledged.reported(sequence, delivery);
            report(delivery);
        };
        self.publisher.publish_until_taken_back(sequence, record, Box::new(reported));
    }

    fn read_route(&self) -> RwLockReadGuard<'_, Route> {
        self.route.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_route(&self) -> RwLockWriteGuard<'_, Route> {
        self.route.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way of one record.
enum Way {
    Kafka,
    Disk,
    None(DeliveryFailure),
}

impl Route {
    fn way_of(&self, topic: &Arc<str>) -> Way {
        match (self.mode, self.kept_back.get(topic)) {
            (_, Some(KeptBack::Refused(failure))) => Way::None(*failure),
            (RouteMode::Engaging | RouteMode::Spooling, _) | (RouteMode::Direct, Some(KeptBack::Slow)) => Way::Disk,
            (RouteMode::Direct, None) => Way::Kafka,
        }
    }
}
