//! Publishes what is on disk, the oldest file first, and leads back to Kafka when nothing is left.
//! Must not know how files come to be. A crash in the middle of a file publishes it again: the same events with the same ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::backlog::BacklogFile;
use super::batch::{self, Damage, DecodedBatch, SpooledRecord};
use super::folder::{TOO_LARGE, file_name};
use super::queue::{HeldFor, QueuedRecord};
use super::round::Round;
use super::{DiskSpool, KeptBack, RouteMode};
use crate::error_chain;
use crate::kafka::publisher::{Delivery, DeliveryFailure};

/// So many bytes of files are published together.
const TOGETHER_BYTES: u64 = 4 * 1024 * 1024;
/// How long new records wait in memory for the last file. After that they go to disk: their webhooks must be answered.
const HOLD_MAX: Duration = Duration::from_secs(2);
/// Between two rounds while Kafka takes nothing.
const AGAIN_AFTER_NOTHING: Duration = Duration::from_secs(1);
/// Between two rounds while some topics take nothing.
const AGAIN_AFTER_SOME: Duration = Duration::from_secs(5);
/// How long it may take to see that the process ends.
const STOP_SEEN_WITHIN: Duration = Duration::from_millis(200);
/// Lines about one damaged file.
const DAMAGE_LINES_MAX: usize = 10;

/// Whether records go to Kafka directly again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandOver {
    Done,
    NotYet,
    /// Files came that were not looked at.
    More,
    /// A file is just being written.
    WaitsForWriter,
}

/// A record that was sent.
struct Attempt {
    file: u64,
    place: u32,
    spooled: SpooledRecord,
}

/// What is to do with one file after an attempt.
#[derive(Default)]
struct FileLeft {
    done: BTreeSet<u32>,
    topics: BTreeSet<Arc<str>>,
    is_damaged: bool,
}

impl DiskSpool {
    /// Publishes what is on disk until `stop`. Blocks: for a thread of its own.
    pub fn drain(&self, stop: &CancellationToken) {
        let mut round = Round::default();
        while !stop.is_cancelled() {
            let engagements = self.read_route().engagements;
            if round.engagements != engagements {
                round = Round { engagements, ..Round::default() };
            }
            let files = self.next_files(&round);
            if files.is_empty() {
                self.end_round(&mut round, stop);
            } else {
                self.publish_files(&files, &mut round);
                self.show();
            }
        }
        // What waits in memory goes to disk now.
        self.queue.release(HeldFor::Kafka);
    }

    /// Publishes what is on disk until nothing is left that Kafka takes, or `stop`; how many records are left. Blocks.
    pub fn drain_once(&self, stop: &CancellationToken, progress: &mut dyn FnMut(usize)) -> usize {
        let mut round = Round::default();
        loop {
            let files = self.next_files(&round);
            if files.is_empty() || stop.is_cancelled() {
                return self.backlog.sum().records;
            }
            self.publish_files(&files, &mut round);
            progress(self.backlog.sum().records);
        }
    }

    /// The files that are to be published together. Where they are the last ones and Kafka works, new records wait for them in memory.
    fn next_files(&self, round: &Round) -> Vec<(u64, BacklogFile)> {
        let mut files: Vec<(u64, BacklogFile)> = Vec::new();
        let (mut bytes, mut from): (u64, u64) = (0, 0);
        while let Some((number, file)) = self.backlog.next(from, |number, file| round.takes(number, file)) {
            bytes = bytes.saturating_add(file.bytes);
            if !files.is_empty() && bytes > TOGETHER_BYTES {
                return files;
            }
            from = number.saturating_add(1);
            files.push((number, file));
        }
        if !files.is_empty() && round.went {
            self.queue.hold(HeldFor::Kafka);
        }
        files
    }

    fn publish_files(&self, files: &[(u64, BacklogFile)], round: &mut Round) {
        let (sender, reports) = channel();
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut left: BTreeMap<u64, FileLeft> = BTreeMap::new();
        for (number, file) in files {
            let Some(decoded) = self.read_batch(*number, file) else {
                round.skipped.insert(*number);
                continue;
            };
            let of_file = left.entry(*number).or_default();
            of_file.is_damaged = decoded.damage.iter().any(|damage| damage.records() > 0);
            of_file.done.clone_from(&file.done);
            for (place, spooled) in decoded.records.into_iter().filter(|(place, _)| !file.done.contains(place)) {
                if round.set_aside.contains_key(&spooled.record.topic) {
                    of_file.topics.insert(spooled.record.topic);
                    continue;
                }
                let (sender, attempt) = (sender.clone(), attempts.len());
                let report = move |delivery| {
                    // The receiver waits for every report.
                    let _received = sender.send((attempt, delivery)).is_ok();
                };
                self.publisher.publish(&spooled.record, Box::new(report));
                attempts.push(Attempt { file: *number, place, spooled });
            }
        }
        drop(sender);
        let fates = self.await_reports(&reports, attempts.len());
        self.settle(attempts.into_iter().zip(fates).collect(), &mut left, round);
        for (number, of_file) in left {
            self.finish(number, of_file, round);
        }
    }

    /// The fate of each attempt, in their order.
    fn await_reports(&self, reports: &Receiver<(usize, Delivery)>, count: usize) -> Vec<Delivery> {
        let mut fates = vec![Delivery::Failed(DeliveryFailure::Purged); count];
        let hold_ends = Instant::now() + HOLD_MAX;
        for _ in 0..count {
            let reported = match reports.recv_timeout(hold_ends.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {
                    self.queue.release(HeldFor::Kafka);
                    reports.recv().ok()
                }
                reported => reported.ok(),
            };
            let Some((attempt, delivery)) = reported else { break };
            fates.get_mut(attempt).into_iter().for_each(|fate| *fate = delivery);
        }
        fates
    }

    /// Notes what became of each record: first what went, because that tells whether a failure is Kafka's or a topic's.
    fn settle(&self, attempts: Vec<(Attempt, Delivery)>, left: &mut BTreeMap<u64, FileLeft>, round: &mut Round) {
        if attempts.iter().any(|(_, fate)| *fate == Delivery::Acknowledged) {
            round.record_went();
        }
        for (Attempt { file, place, spooled }, fate) in attempts {
            let of_file = left.entry(file).or_default();
            let is_done = match fate {
                Delivery::Acknowledged => {
                    self.metrics.drained.increment(1);
                    spooled.event_id.into_iter().for_each(|id| (self.owner.drained)(id));
                    true
                }
                Delivery::TooLarge => self.give_up(file, place, &spooled),
                Delivery::Spooled | Delivery::Failed(_) => false,
            };
            if is_done {
                of_file.done.insert(place);
                continue;
            }
            let why = match fate {
                Delivery::Failed(failure @ (DeliveryFailure::UnknownTopic | DeliveryFailure::NotAuthorized)) => {
                    KeptBack::Refused(failure)
                }
                _ => KeptBack::Slow,
            };
            round.set_aside(&spooled.record.topic, why);
            of_file.topics.insert(spooled.record.topic);
        }
    }

    /// Deletes a file of which nothing is left; one with damaged records is kept aside.
    fn finish(&self, number: u64, of_file: FileLeft, round: &mut Round) {
        let FileLeft { done, topics, is_damaged } = of_file;
        if !topics.is_empty() {
            return self.backlog.change(number, |file| (file.done, file.topics) = (done, topics));
        }
        if is_damaged {
            self.give_up_all_but(&done, number);
        }
        let ended = if is_damaged { self.folder.bury(number) } else { self.folder.delete(number) };
        match ended {
            Ok(()) => self.backlog.remove(number),
            Err(error) => {
                let is_told = self.backlog.tell_trouble(number);
                if !is_told {
                    let file = file_name(number);
                    tracing::error!(file, %error, "published file cannot be taken from the spool; its records are published again after a restart");
                }
                self.backlog.change(number, |file| (file.done, file.topics) = (done, topics));
                round.skipped.insert(number);
            }
        }
    }

    /// The other events of a file are not on disk any more, as far as anybody can tell: when one comes again, it is new.
    fn give_up_all_but(&self, safe: &BTreeSet<u32>, number: u64) {
        self.backlog.take_events_but(safe, number).into_iter().for_each(|id| (self.owner.lost)(id));
    }

    /// Puts a record aside that Kafka will never take; whether it is there.
    fn give_up(&self, file: u64, place: u32, spooled: &SpooledRecord) -> bool {
        let bytes = batch::encode(file, std::slice::from_ref(spooled));
        // The rest of a file has its number, and other places. The same record again, after a crash, has the same name.
        let name = format!("{}-{place}-{:08x}{TOO_LARGE}", file_name(file), crc32c::crc32c(&bytes));
        let topic = &spooled.record.topic;
        let event_id = spooled.event_id.map(|id| id.to_string());
        match self.folder.store_dead(&name, &bytes) {
            Ok(()) => {
                tracing::error!(topic = %topic, event_id, file = name, "spooled record is larger than its topic takes; it is in the spool's folder `dead`: raise max.message.bytes and run `paybridge spool retry-dead`");
                self.metrics.dead.increment(1);
                spooled.event_id.into_iter().for_each(|id| (self.owner.lost)(id));
                true
            }
            Err(error) => {
                let error = error_chain::joined(&error);
                tracing::error!(topic = %topic, event_id, error, "spooled record is larger than its topic takes, and cannot be put aside; it stays in the spool");
                false
            }
        }
    }

    /// The records of a file; none where it cannot be read now.
    fn read_batch(&self, number: u64, file: &BacklogFile) -> Option<DecodedBatch> {
        let name = file_name(number);
        let decoded = match self.folder.read(number) {
            Ok(bytes) => batch::decode(&bytes),
            Err(error) => {
                self.metrics.unreadable.increment(1);
                if !self.backlog.tell_trouble(number) {
                    tracing::error!(file = name, %error, "spool file cannot be read; it stays, and is tried again");
                    self.give_up_all_but(&file.done, number);
                }
                return None;
            }
        };
        if let Some(Damage::Version(version)) = decoded.damage.first() {
            if !self.backlog.tell_trouble(number) {
                tracing::error!(
                    file = name,
                    version,
                    "spool file has the format of a later version; it stays until that version runs"
                );
            }
            return None;
        }
        if !decoded.damage.is_empty() && !self.backlog.tell_trouble(number) {
            for damage in decoded.damage.iter().take(DAMAGE_LINES_MAX) {
                tracing::error!(file = name, "spool file is damaged: {damage}; its other records are published");
            }
            let records: u32 = decoded.damage.iter().map(Damage::records).sum();
            self.metrics.damaged.increment(records.into());
            // Now, and not with the file's end: it may wait for long, and a provider may send for a few hours only.
            let readable = decoded.records.iter().map(|(place, _)| *place);
            self.give_up_all_but(&readable.chain(file.done.iter().copied()).collect(), number);
        }
        Some(decoded)
    }

    /// Every file was looked at: records go to Kafka directly again, or the files are tried anew after a while.
    fn end_round(&self, round: &mut Round, stop: &CancellationToken) {
        match self.hand_over(round) {
            HandOver::More => return,
            HandOver::WaitsForWriter => return self.backlog.wait(STOP_SEEN_WITHIN),
            HandOver::Done => {}
            HandOver::NotYet => self.queue.release(HeldFor::Kafka),
        }
        if round.set_aside.is_empty() && round.skipped.is_empty() {
            return self.backlog.wait(STOP_SEEN_WITHIN);
        }
        self.rewrite_rests();
        let kafka_works = round.went || round.set_aside.values().all(|why| *why != KeptBack::Slow);
        let again = Instant::now() + if kafka_works { AGAIN_AFTER_SOME } else { AGAIN_AFTER_NOTHING };
        while !stop.is_cancelled() && Instant::now() < again {
            if self.has_more(round) {
                return;
            }
            self.backlog.wait(STOP_SEEN_WITHIN.min(again.saturating_duration_since(Instant::now())));
        }
        *round = Round { engagements: round.engagements, ..Round::default() };
    }

    /// Writes those records of a file that are left under the same number, so that the others take no room and are not published again
    /// after a restart. What is on disk has them all at each moment.
    fn rewrite_rests(&self) {
        let is_partly_done =
            |_, file: &BacklogFile| !(file.done.is_empty() || file.topics.is_empty() || file.is_trouble_told);
        let mut from = 0;
        while let Some((number, file)) = self.backlog.next(from, is_partly_done) {
            from = number.saturating_add(1);
            let Some(decoded) = self.read_batch(number, &file).filter(|decoded| decoded.damage.is_empty()) else {
                continue;
            };
            let left = decoded.records.into_iter().filter(|(place, _)| !file.done.contains(place));
            let left: Vec<SpooledRecord> = left.map(|(_, spooled)| spooled).collect();
            let rest = batch::encode(number, &left);
            match self.folder.replace(number, &rest) {
                Ok(()) => self.backlog.replace(number, BacklogFile::of(&rest, &left, file.written)),
                Err(error) => {
                    tracing::debug!(error = error_chain::joined(&error), "rest of a spool file cannot be written");
                }
            }
        }
    }

    /// Whether there are files that were not looked at.
    fn has_more(&self, round: &Round) -> bool {
        self.backlog.next(0, |number, file| round.takes(number, file)).is_some()
    }

    /// Lets records go to Kafka directly, those that wait in memory first, where nothing on disk is before them. Topics that failed in this
    /// round stay as they are.
    fn hand_over(&self, round: &Round) -> HandOver {
        let mut route = self.write_route();
        let sum = self.backlog.sum();
        let is_empty = sum.files == 0 && self.queue.is_idle();
        let is_news = route.mode == RouteMode::Engaging || route.engagements != round.engagements;
        if is_news || !(round.went || is_empty || !self.takes_files()) {
            let waiting = self.backlog.topics_outside(&round.skipped);
            route.kept_back.retain(|topic, why| *why == KeptBack::Slow || waiting.contains(topic));
            return HandOver::NotYet;
        }
        let Some(waiting) = self.queue.take_all() else { return HandOver::WaitsForWriter };
        // After that: a file may have been finished just now.
        if self.has_more(round) {
            self.queue.push_before_all(waiting);
            return HandOver::More;
        }
        let kept_back = self.kept_back(round);
        for QueuedRecord { spooled, report } in waiting {
            match kept_back.get(&spooled.record.topic) {
                None => self.send(&spooled.record, spooled.event_id, report),
                Some(KeptBack::Slow) => self.queue.push(QueuedRecord { spooled, report }),
                Some(KeptBack::Refused(failure)) => report(Delivery::Failed(*failure)),
            }
        }
        let (after_s, left) = (route.since.elapsed().as_secs(), sum.records);
        let was_kept_back = route.mode == RouteMode::Spooling || !route.kept_back.is_empty();
        if was_kept_back && kept_back.is_empty() || route.mode == RouteMode::Spooling && round.went {
            tracing::info!(after_s, left, "spool drained; records go to Kafka directly again");
        } else if route.mode == RouteMode::Spooling {
            tracing::warn!(
                after_s,
                left,
                "spool takes no records, and none of those on disk went to Kafka; records of other topics go to Kafka directly"
            );
        }
        route.mode = RouteMode::Direct;
        route.kept_back = kept_back;
        drop(route);
        self.queue.release(HeldFor::Kafka);
        HandOver::Done
    }

    /// The topics of records that stay on disk. Where none went, no topic's did, whether it was tried or not. A file that cannot be
    /// read keeps none back: it may never be read.
    fn kept_back(&self, round: &Round) -> BTreeMap<Arc<str>, KeptBack> {
        let on_disk = self.backlog.topics_outside(&round.skipped);
        let why = |topic: Arc<str>| {
            let why = round.set_aside.get(&topic).copied().or((!round.went).then_some(KeptBack::Slow))?;
            Some((topic, why))
        };
        on_disk.into_iter().filter_map(why).collect()
    }
}
