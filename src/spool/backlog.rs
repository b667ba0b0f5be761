//! What is on disk: which files, and what of each is still to be published.
//! Must not know how files are written or published.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::batch::{self, BatchIndex, SpooledRecord};
use super::folder::{Folder, StoredFile};
use crate::provider::EventId;

/// Enough of a file's end for most footers.
const END_BYTES: u64 = 64 * 1024;

/// The files of the spool.
pub(super) struct Backlog {
    files: Mutex<Files>,
    changed: Condvar,
}

struct Files {
    by_number: BTreeMap<u64, BacklogFile>,
    bytes: u64,
    next_number: u64,
}

/// A file that is not done.
#[derive(Clone, Debug)]
pub(super) struct BacklogFile {
    pub(super) bytes: u64,
    /// The events of its records, in order; none where the file does not say it, or the event was given up.
    pub(super) events: Arc<[Option<EventId>]>,
    /// Of the records that are left; none where the file does not say it.
    pub(super) topics: BTreeSet<Arc<str>>,
    /// The places of records that are done.
    pub(super) done: BTreeSet<u32>,
    pub(super) written: SystemTime,
    /// Whether the log has told what is wrong with it.
    pub(super) is_trouble_told: bool,
}

/// How much is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) records: usize,
    /// When the oldest file was written.
    pub(super) oldest: Option<SystemTime>,
}

impl Backlog {
    /// What a folder holds, and the events in it. Of a good file only its footer is read.
    ///
    /// # Errors
    /// The folder cannot be read. A file that cannot be read is told when it is to be published.
    pub(super) fn read(folder: &Folder) -> io::Result<(Self, Vec<EventId>)> {
        let mut files = Files { by_number: BTreeMap::new(), bytes: 0, next_number: 1 };
        let mut events = Vec::new();
        for stored in folder.stored()? {
            let Some(number) = stored.number else {
                tracing::warn!(file = stored.name, "file in the spool's folder `new` is no batch; it is left alone");
                continue;
            };
            let file = read_file(folder, number, &stored);
            events.extend(file.events.iter().flatten());
            files.add(number, file);
        }
        for number in folder.dead()?.into_iter().filter_map(|stored| stored.number) {
            files.next_number = files.next_number.max(number.saturating_add(1));
        }
        Ok((Self { files: Mutex::new(files), changed: Condvar::new() }, events))
    }

    /// The number of the next file.
    pub(super) fn take_number(&self) -> u64 {
        let mut files = self.inside();
        let number = files.next_number;
        files.next_number = number.saturating_add(1);
        number
    }

    /// Whether there is room for one more file of this length.
    pub(super) fn has_room(&self, bytes: u64, bytes_max: u64, files_max: usize) -> bool {
        let files = self.inside();
        files.by_number.len() < files_max && files.bytes.saturating_add(bytes) <= bytes_max
    }

    /// A file is there.
    pub(super) fn add(&self, number: u64, file: BacklogFile) {
        self.inside().add(number, file);
        self.wake();
    }

    /// Something that whoever waits wants to look at.
    pub(super) fn wake(&self) {
        self.changed.notify_all();
    }

    /// The oldest file from this number on that counts.
    pub(super) fn next(&self, from: u64, counts: impl Fn(u64, &BacklogFile) -> bool) -> Option<(u64, BacklogFile)> {
        let files = self.inside();
        let found = files.by_number.range(from..).find(|(number, file)| counts(**number, file));
        found.map(|(number, file)| (*number, file.clone()))
    }

    /// Changes what is known of a file.
    pub(super) fn change(&self, number: u64, change: impl FnOnce(&mut BacklogFile)) {
        if let Some(file) = self.inside().by_number.get_mut(&number) {
            change(file);
        }
    }

    /// What is wrong with a file is about to be told; whether it was told before.
    pub(super) fn tell_trouble(&self, number: u64) -> bool {
        let mut files = self.inside();
        files.by_number.get_mut(&number).is_some_and(|file| std::mem::replace(&mut file.is_trouble_told, true))
    }

    /// Takes the events out of a file that are at no safe place: each is given once.
    pub(super) fn take_events_but(&self, safe: &BTreeSet<u32>, number: u64) -> Vec<EventId> {
        let mut files = self.inside();
        let Some(file) = files.by_number.get_mut(&number) else { return Vec::new() };
        let places = (0..).zip(file.events.iter().copied());
        let (kept, taken): (Vec<_>, Vec<_>) =
            places.map(|(place, id)| if safe.contains(&place) { (id, None) } else { (None, id) }).unzip();
        file.events = kept.into();
        taken.into_iter().flatten().collect()
    }

    /// Another file has taken the place of one.
    pub(super) fn replace(&self, number: u64, file: BacklogFile) {
        self.remove(number);
        self.inside().add(number, file);
    }

    /// A file is gone.
    pub(super) fn remove(&self, number: u64) {
        let mut files = self.inside();
        if let Some(file) = files.by_number.remove(&number) {
            files.bytes = files.bytes.saturating_sub(file.bytes);
        }
    }

    /// Whether there is no file.
    pub(super) fn is_empty(&self) -> bool {
        self.inside().by_number.is_empty()
    }

    /// The topics of the records that are left, but for those files.
    pub(super) fn topics_outside(&self, skipped: &BTreeSet<u64>) -> BTreeSet<Arc<str>> {
        let files = self.inside();
        let rest = files.by_number.iter().filter(|(number, _)| !skipped.contains(number));
        rest.flat_map(|(_, file)| file.topics.iter().map(Arc::clone)).collect()
    }

    /// How much there is.
    pub(super) fn sum(&self) -> Sum {
        let files = self.inside();
        Sum {
            files: files.by_number.len(),
            bytes: files.bytes,
            records: files.by_number.values().map(|file| file.events.len().saturating_sub(file.done.len())).sum(),
            oldest: files.by_number.values().next().map(|file| file.written),
        }
    }

    /// Waits until a file comes, or for so long.
    pub(super) fn wait(&self, within: Duration) {
        let files = self.inside();
        // Whatever ended it: who waits looks again.
        let _woken = self.changed.wait_timeout(files, within).unwrap_or_else(PoisonError::into_inner);
    }

    fn inside(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn add(&mut self, number: u64, file: BacklogFile) {
        self.bytes = self.bytes.saturating_add(file.bytes);
        self.next_number = self.next_number.max(number.saturating_add(1));
        self.by_number.insert(number, file);
    }
}

impl BacklogFile {
    /// A file with these records, of which none is done.
    pub(super) fn of(file: &[u8], records: &[SpooledRecord], written: SystemTime) -> Self {
        let events = records.iter().map(|spooled| spooled.event_id).collect();
        let bytes = u64::try_from(file.len()).unwrap_or(u64::MAX);
        Self::new(bytes, events, batch::topics_of(records), written)
    }

    /// A file of which nothing is done.
    pub(super) fn new(
        bytes: u64,
        events: Arc<[Option<EventId>]>,
        topics: impl IntoIterator<Item = Arc<str>>,
        written: SystemTime,
    ) -> Self {
        let topics = topics.into_iter().collect();
        Self { bytes, events, topics, done: BTreeSet::new(), written, is_trouble_told: false }
    }
}

/// What a file holds, by its footer, else by its records.
pub(super) fn read_file(folder: &Folder, number: u64, stored: &StoredFile) -> BacklogFile {
    let footer = |bytes: io::Result<Vec<u8>>| bytes.ok().as_deref().and_then(batch::index);
    let index = footer(folder.read_end(number, END_BYTES)).or_else(|| footer(folder.read(number)));
    let (topics, events) = if let Some(BatchIndex { topics, entries }) = index {
        (topics, entries.iter().map(|entry| entry.event_id).collect())
    } else {
        let decoded = folder.read(number).map(|bytes| batch::decode(&bytes)).unwrap_or_default();
        // By their places; between them are those that cannot be read.
        let mut events = Vec::new();
        for (place, spooled) in &decoded.records {
            events.resize(usize::try_from(*place).unwrap_or(events.len()), None);
            events.push(spooled.event_id);
        }
        (decoded.records.into_iter().map(|(_, spooled)| spooled.record.topic).collect(), events)
    };
    BacklogFile::new(stored.bytes, events.into(), topics, stored.modified)
}
