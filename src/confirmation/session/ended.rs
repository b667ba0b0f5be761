//! The sessions of a partition that have ended: enough to know them again, and to forget them in the order in which they ended.
//! Pure: no clock. Must not know the ledger, nor what is done with a session that comes again.
//!
//! A queue holds them, oldest first, and an index tells the place of each. One with an id of 16 bytes takes 64 bytes in the
//! queue, 32 for its id, and 10 to 24 in the index: about 115 in all, and at most 128.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use jiff::Timestamp;

use super::model::{Done, SessionKey};
use crate::message::confirmation::v1;

/// The queue has room for a sixteenth more than it holds, and this many: by itself it would double, and hold twice what it needs.
const ROOM_MIN: usize = 16;
/// The index shrinks when it takes more than this for each entry. Just after it grew it takes 21 (nine bytes for each place,
/// seven of sixteen of them used), so that it does not shrink and grow by turns.
const INDEX_BYTES_EACH_MAX: usize = 24;

/// The sessions of one partition that have ended, oldest first.
#[derive(Default)]
pub struct EndedSessions {
    /// None where one is forgotten before those that ended earlier.
    queue: VecDeque<Option<EndedEntry>>,
    /// How many have left the queue at its front: the number of the first that is there.
    first: usize,
    /// The numbers of those that are known, by their keys.
    index: HashTable<usize>,
    /// The sources' names, each once: there are few, and each session would have its own copy.
    sources: BTreeSet<Arc<str>>,
    random: RandomState,
}

#[derive(Clone, Debug)]
struct EndedEntry {
    key: SessionKey,
    done_at: Timestamp,
    result: v1::Result,
    /// Hash of the ready event's id.
    ready_event: u32,
    /// Hash of the decision's id; none where there was none.
    decision: Option<u32>,
}

/// What is known of a session that has ended.
#[derive(Clone, Copy, Debug)]
pub struct EndedSession<'a> {
    entry: &'a EndedEntry,
    random: &'a RandomState,
}

impl EndedSessions {
    /// Remembers a session as the last that ended; forgets what was known of it.
    pub fn insert(&mut self, session: &SessionKey, done: &Done) {
        // One that ends again goes to the end of the queue, which is in the order in which sessions are forgotten.
        self.remove(session);
        let entry = EndedEntry {
            key: SessionKey { source: self.shared_name(&session.source), session_id: Arc::clone(&session.session_id) },
            done_at: done.done_at,
            result: done.result,
            ready_event: hash_of_text(&self.random, &done.ready_event_id),
            decision: (!done.decision_id.is_empty()).then(|| hash_of_text(&self.random, &done.decision_id)),
        };
        if self.queue.len() == self.queue.capacity() {
            self.queue.reserve_exact(room_for(self.queue.len()));
        }
        let number = self.first + self.queue.len();
        self.queue.push_back(Some(entry));
        let Self { queue, first, index, random, .. } = self;
        index.insert_unique(random.hash_one(session), number, |number| hash_at(queue, *first, random, *number));
    }

    /// What is known of a session; none where it has not ended, or is forgotten.
    pub fn find(&self, session: &SessionKey) -> Option<EndedSession<'_>> {
        let Self { queue, first, index, random, .. } = self;
        let number = index.find(random.hash_one(session), |number| is_at(queue, *first, *number, session))?;
        Some(EndedSession { entry: entry_at(queue, *first, *number)?, random })
    }

    /// Forgets a session; whether it was known. Its place is free when all that ended before it are forgotten too.
    pub fn remove(&mut self, session: &SessionKey) -> bool {
        let Self { queue, first, index, random, .. } = self;
        let is_it = |number: &usize| is_at(queue, *first, *number, session);
        let Ok(found) = index.find_entry(random.hash_one(session), is_it) else { return false };
        let (number, _) = found.remove();
        if let Some(place) = number.checked_sub(*first).and_then(|place| queue.get_mut(place)) {
            *place = None;
        }
        // Mostly the oldest are forgotten, so the front moves each time; one that was asked about again leaves a gap.
        while let Some(None) = queue.front() {
            queue.pop_front();
            *first += 1;
        }
        self.give_room_back();
        true
    }

    /// The oldest sessions that ended before an instant, at most `max`, oldest first. They are known until they are removed,
    /// which is after their tombstones are in the ledger. One that was inserted before an older one is waited for.
    pub fn expired(&self, before: Timestamp, max: usize) -> Vec<SessionKey> {
        let oldest = self.queue.iter().flatten().take_while(|entry| entry.done_at < before);
        oldest.take(max).map(|entry| entry.key.clone()).collect()
    }

    /// The sources that sessions ever ended of.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sources.iter()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    fn shared_name(&mut self, source: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.sources.get(source) {
            return Arc::clone(known);
        }
        self.sources.insert(Arc::clone(source));
        Arc::clone(source)
    }

    fn give_room_back(&mut self) {
        let Self { queue, first, index, random, .. } = self;
        if queue.capacity() > queue.len() + 2 * room_for(queue.len()) {
            queue.shrink_to(queue.len() + room_for(queue.len()));
        }
        if index.allocation_size() > index.len() * INDEX_BYTES_EACH_MAX {
            index.shrink_to(index.len(), |number| hash_at(queue, *first, random, *number));
        }
    }
}

impl EndedSession<'_> {
    /// How it ended.
    pub fn result(&self) -> v1::Result {
        self.entry.result
    }

    /// When.
    pub fn done_at(&self) -> Timestamp {
        self.entry.done_at
    }

    /// Whether this is the id of the `ready_to_confirm` that opened the session; wrongly so for one of 4 billion others.
    pub fn is_ready_event(&self, event_id: &str) -> bool {
        hash_of_text(self.random, event_id) == self.entry.ready_event
    }

    /// Whether this is the id of the decision that counted; wrongly so for one of 4 billion others, never for an empty one.
    pub fn is_decision(&self, decision_id: &str) -> bool {
        !decision_id.is_empty() && self.entry.decision == Some(hash_of_text(self.random, decision_id))
    }
}

fn room_for(sessions: usize) -> usize {
    sessions / 16 + ROOM_MIN
}

fn entry_at(queue: &VecDeque<Option<EndedEntry>>, first: usize, number: usize) -> Option<&EndedEntry> {
    queue.get(number.checked_sub(first)?)?.as_ref()
}

fn is_at(queue: &VecDeque<Option<EndedEntry>>, first: usize, number: usize, session: &SessionKey) -> bool {
    entry_at(queue, first, number).is_some_and(|entry| entry.key == *session)
}

fn hash_at(queue: &VecDeque<Option<EndedEntry>>, first: usize, random: &RandomState, number: usize) -> u64 {
    // Every number of the index is one of the queue's: a removed session leaves both.
    entry_at(queue, first, number).map_or(0, |entry| random.hash_one(&entry.key))
}

fn hash_of_text(random: &RandomState, text: &str) -> u32 {
    let [a, b, c, d, ..] = random.hash_one(text).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests;
