//! The ids of events in Kafka, by the second in which Kafka took them: bounded in number, and forgotten by age.
//! Must not know what an id stands for, and reads no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::provider::EventId;

/// Which replica an event was taken in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This process.
    Local,
    /// Another one, or this one before its restart.
    Shared,
}

/// Ids, bounded in number. About 55 bytes each.
pub(super) struct RememberedIds {
    origins: HashMap<EventId, Origin>,
    /// In the order in which they came, within a second. Ids of other replicas come late, and those of the past at the start.
    by_second: BTreeMap<u32, VecDeque<EventId>>,
    entries_max: usize,
}

impl RememberedIds {
    /// At most `entries_max` ids; all memory to find them is reserved now, none is touched.
    pub(super) fn new(entries_max: usize) -> Self {
        Self { origins: HashMap::with_capacity(entries_max), by_second: BTreeMap::new(), entries_max }
    }

    /// Who took it in; none: it is not known.
    pub(super) fn origin(&self, id: EventId) -> Option<Origin> {
        self.origins.get(&id).copied()
    }

    /// Remembers an id that Kafka took in this second. The oldest one makes room.
    pub(super) fn remember(&mut self, id: EventId, origin: Origin, second: u32) {
        if self.origins.contains_key(&id) {
            return;
        }
        if self.origins.len() >= self.entries_max {
            if self.oldest().is_some_and(|oldest| second < oldest) {
                return;
            }
            self.forget_oldest();
        }
        if !self.by_second.contains_key(&second)
            && let Some(mut before) = self.by_second.last_entry()
        {
            // Mostly nothing more comes for it.
            before.get_mut().shrink_to_fit();
        }
        self.origins.insert(id, origin);
        self.by_second.entry(second).or_default().push_back(id);
    }

    /// Forgets all that came before this second.
    pub(super) fn expire(&mut self, first: u32) {
        while let Some(oldest) = self.by_second.first_entry().filter(|oldest| *oldest.key() < first) {
            for id in oldest.remove() {
                self.origins.remove(&id);
            }
        }
    }

    /// Forgets all.
    pub(super) fn forget(&mut self) {
        self.origins.clear();
        self.by_second.clear();
    }

    /// The second of the oldest one.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.by_second.first_key_value().map(|(second, _)| *second)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.origins.len()
    }

    /// Whether the next one makes the oldest one go.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.entries_max
    }

    fn forget_oldest(&mut self) {
        let Some(mut oldest) = self.by_second.first_entry() else { return };
        if let Some(id) = oldest.get_mut().pop_front() {
            self.origins.remove(&id);
        }
        if oldest.get().is_empty() {
            oldest.remove();
        }
    }
}
