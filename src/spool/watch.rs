//! Looks whether Kafka acknowledges records in time, and sends them to disk when it does not.
//! Must not know how they get there.

use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::batch::SpooledRecord;
use super::queue::{HeldFor, QueuedRecord};
use super::{DiskSpool, KeptBack, RouteMode, backlog};
use crate::kafka::publisher::TakenBack;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two shows of what is on disk.
const SHOW_EVERY: u32 = 10;
/// How long the producer may take to give back what it has: up to a second while its connections are down.
const TAKEN_BACK_WITHIN: Duration = Duration::from_millis(1500);
/// Where memory is half taken, Kafka counts as too slow after this part of the usual time: slow clients take memory too.
const SOONER: u32 = 6;

/// Why records go to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Overdue(Duration),
    QueueFull,
    MemoryHalfTaken,
}

impl DiskSpool {
    /// Looks until `stop`. Blocks: for a thread of its own.
    pub fn watch(&self, stop: &CancellationToken) {
        let mut looks: u32 = 0;
        while !stop.is_cancelled() {
            if let Some(reason) = self.reason_to_spool() {
                self.engage(reason);
            }
            if looks.is_multiple_of(SHOW_EVERY) {
                self.show();
                let dead = self.folder.dead().map_or(0, |files| files.len());
                self.metrics.dead_files(dead);
                self.take_retries();
                self.probe_broken_disk();
            }
            looks = looks.wrapping_add(1);
            sleep(LOOK_EVERY);
        }
    }

    fn reason_to_spool(&self) -> Option<Reason> {
        let queue_was_full = self.unacknowledged.queue_was_full();
        // Where the disk takes nothing, what the producer has is safer there: Kafka may still take it.
        if self.is_spooling() || !self.takes_files() {
            return None;
        }
        // Where a topic is missing its webhooks are answered 503, and no other goes to disk for it.
        let oldest = self.unacknowledged.oldest(Instant::now(), |topic| !self.publisher.is_missing(topic));
        let waits = |time| oldest.is_some_and(|oldest| oldest >= time);
        match oldest {
            Some(oldest) if oldest >= self.settings.engage_after => Some(Reason::Overdue(oldest)),
            _ if queue_was_full => Some(Reason::QueueFull),
            _ if waits(self.settings.engage_after / SOONER) && (self.owner.memory_is_half_taken)() => {
                Some(Reason::MemoryHalfTaken)
            }
            _ => None,
        }
    }

    /// From here on records go to disk, first those that Kafka has not acknowledged.
    fn engage(&self, reason: Reason) {
        self.queue.hold(HeldFor::EarlierOnes);
        {
            let mut route = self.write_route();
            route.mode = RouteMode::Engaging;
            // A topic that Kafka refuses is refused all the same.
            route.kept_back.retain(|_, why| matches!(why, KeptBack::Refused(_)));
            route.engagements = route.engagements.wrapping_add(1);
            route.since = Instant::now();
        }
        let taken = self.publisher.take_back(TAKEN_BACK_WITHIN);
        let (why, after_ms) = match reason {
            Reason::Overdue(after) => ("Kafka does not acknowledge records in time", after.as_millis()),
            Reason::QueueFull => ("the producer's queue is full", 0),
            Reason::MemoryHalfTaken => ("half of in_flight_bytes_max waits for Kafka", 0),
        };
        tracing::warn!(why, after_ms, taken_back = taken.len(), "spool engaged; records go to disk");
        self.metrics.engaged.increment(1);
        self.queue.push_before_all(taken.into_iter().map(|back| self.queued(back)).collect());
        self.write_route().mode = RouteMode::Spooling;
        self.queue.release(HeldFor::EarlierOnes);
        self.backlog.wake();
    }

    fn queued(&self, TakenBack { sequence, record, report }: TakenBack) -> QueuedRecord {
        let event_id = self.unacknowledged.taken_back(sequence).and_then(|sent| sent.event_id);
        QueuedRecord { spooled: SpooledRecord { record, event_id }, report }
    }

    /// Takes in what a command put back. What cannot be moved stays where it is, and is tried again.
    pub(super) fn take_retries(&self) {
        for file in self.folder.to_retry().unwrap_or_default() {
            let number = self.backlog.take_number();
            if let Err(error) = self.folder.retry(&file.name, number) {
                return tracing::debug!(file = file.name, %error, "file of the spool cannot be tried again");
            }
            tracing::info!(file = file.name, "file of the spool's folder `dead` is tried again");
            self.backlog.add(number, backlog::read_file(&self.folder, number, &file));
        }
    }

    /// Shows what is on disk.
    pub(super) fn show(&self) {
        let sum = self.backlog.sum();
        let age = sum.oldest.and_then(|oldest| oldest.elapsed().ok());
        self.metrics.on_disk(sum.files, sum.bytes, sum.records, age.unwrap_or_default());
        self.metrics.spooling.set(if self.is_spooling() { 1.0 } else { 0.0 });
    }
}
