//! The sessions of a partition that have ended, in at most 48 bytes each: enough to know them again, and to forget them.
//! Pure: no clock. Must not know the ledger, nor what is done with a session that comes again.
//!
//! An entry is 16 bytes and the session's id behind them, in blocks that are filled one after the other and freed in the
//! same order, for sessions are forgotten in the order in which they ended. The index holds four bytes an entry: its place.
//! With ids of 16 bytes an entry takes 32 bytes, and at most 13 of the index: most just before it shrinks. For the moment in
//! which the index moves to another size, the old one is there too.

mod arena;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use jiff::Timestamp;

use super::model::{Done, SessionKey};
use crate::message::confirmation::v1;
use arena::{Arena, Header};

/// The index shrinks when it takes more than this for each entry. Just after it grew it takes 11.5 (five bytes for each
/// place, seven of sixteen of them used), so that it does not shrink and grow by turns.
const INDEX_BYTES_EACH_MAX: usize = 13;

/// The sessions of one partition that have ended, oldest first.
#[derive(Default)]
pub struct EndedSessions {
    arena: Arena,
    index: HashTable<u32>,
    /// Sources by number: there are few, and they have long names.
    sources: Vec<Arc<str>>,
    random: RandomState,
}

/// What is known of a session that has ended.
#[derive(Clone, Copy, Debug)]
pub struct EndedSession<'a> {
    /// How it ended.
    pub result: v1::Result,
    /// When, to the second, rounded up.
    pub done_at: Timestamp,
    header: Header,
    random: &'a RandomState,
}

/// Why a session cannot be remembered: its partition cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndedError {
    /// An id that no input takes.
    #[error("the session's id has more than 255 bytes")]
    SessionIdTooLong,
    /// More sources than any configuration has.
    #[error("the ended sessions have more than 65536 sources")]
    TooManySources,
    /// Four gigabytes are full.
    #[error("the ended sessions of one partition take more than 4 GiB: lower confirmation.ledger_retention_s")]
    Full,
}

impl EndedSessions {
    /// Remembers a session as the last that ended; forgets what was known of it.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn insert(&mut self, session: &SessionKey, done: &Done) -> Result<(), EndedError> {
        self.remove(session);
        let id = session.session_id.as_bytes();
        let header = Header {
            ready_event: self.hash_of_text(&done.ready_event_id),
            decision: (!done.decision_id.is_empty()).then(|| self.hash_of_text(&done.decision_id)),
            done_at_s: ceiling(done.done_at),
            source: self.source_number(&session.source)?,
            id_bytes: u8::try_from(id.len()).map_err(|_| EndedError::SessionIdTooLong)?,
            result: u8::try_from(i32::from(done.result)).unwrap_or_default(),
            is_removed: false,
        };
        let place = self.arena.push(header, id).ok_or(EndedError::Full)?;
        let Self { arena, index, sources, random } = self;
        let rehash = |place: &u32| hash_at(arena, sources, random, *place);
        index.insert_unique(hash(random, &session.source, id), place, rehash);
        Ok(())
    }

    /// What is known of a session; none where it has not ended, or is forgotten.
    pub fn find(&self, session: &SessionKey) -> Option<EndedSession<'_>> {
        let hash = hash(&self.random, &session.source, session.session_id.as_bytes());
        let place = self.index.find(hash, |place| self.is_of(*place, session))?;
        let (header, _) = self.arena.read(*place)?;
        let result = v1::Result::try_from(i32::from(header.result)).unwrap_or_default();
        let done_at = Timestamp::from_second(i64::from(header.done_at_s)).unwrap_or_default();
        Some(EndedSession { result, done_at, header, random: &self.random })
    }

    /// Forgets a session; whether it was known. Its bytes are free when all that ended before it are forgotten too.
    pub fn remove(&mut self, session: &SessionKey) -> bool {
        let Self { arena, index, sources, random } = self;
        let hash = hash(random, &session.source, session.session_id.as_bytes());
        let Ok(entry) = index.find_entry(hash, |place| is_of(arena, sources, *place, session)) else { return false };
        let (place, _) = entry.remove();
        arena.remove(place);
        if index.allocation_size() > index.len() * INDEX_BYTES_EACH_MAX {
            index.shrink_to(index.len(), |place| hash_at(arena, sources, random, *place));
        }
        true
    }

    /// The oldest sessions that ended before an instant, at most `max`, oldest first. They are known until they are removed,
    /// which is after their tombstones are in the ledger. One that was inserted before an older one is waited for.
    pub fn expired(&self, before: Timestamp, max: usize) -> Vec<SessionKey> {
        let before_s = before.as_second();
        let oldest = self.arena.iter().filter(|(header, _)| !header.is_removed);
        let expired = oldest.take_while(|(header, _)| i64::from(header.done_at_s) < before_s).take(max);
        expired.filter_map(|(header, id)| self.key_of(header, id)).collect()
    }

    /// The sources of sessions that are known, and of some that were.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sources.iter()
    }

    /// How many sessions are known.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of memory that are held for them, those of the allocator included, at most.
    pub fn bytes(&self) -> usize {
        let sources: usize = self.sources.iter().map(|source| source.len() + arena::ALLOCATION_BYTES).sum();
        let list = self.sources.capacity() * size_of::<Arc<str>>();
        self.arena.bytes() + self.index.allocation_size() + arena::ALLOCATION_BYTES + sources + list
    }

    fn is_of(&self, place: u32, session: &SessionKey) -> bool {
        is_of(&self.arena, &self.sources, place, session)
    }

    fn key_of(&self, header: Header, id: &[u8]) -> Option<SessionKey> {
        let source = Arc::clone(self.sources.get(usize::from(header.source))?);
        Some(SessionKey { source, session_id: Arc::from(std::str::from_utf8(id).ok()?) })
    }

    fn source_number(&mut self, source: &Arc<str>) -> Result<u16, EndedError> {
        let known = self.sources.iter().position(|known| known == source);
        let number = u16::try_from(known.unwrap_or(self.sources.len())).map_err(|_| EndedError::TooManySources)?;
        if known.is_none() {
            self.sources.push(Arc::clone(source));
        }
        Ok(number)
    }

    fn hash_of_text(&self, text: &str) -> u32 {
        hash_of_text(&self.random, text)
    }
}

impl EndedSession<'_> {
    /// Whether this is the id of the `ready_to_confirm` that opened the session; wrongly so for one of 4 billion others.
    pub fn is_ready_event(&self, event_id: &str) -> bool {
        hash_of_text(self.random, event_id) == self.header.ready_event
    }

    /// Whether this is the id of the decision that counted; wrongly so for one of 4 billion others, never for an empty one.
    pub fn is_decision(&self, decision_id: &str) -> bool {
        !decision_id.is_empty() && self.header.decision == Some(hash_of_text(self.random, decision_id))
    }
}

fn is_of(arena: &Arena, sources: &[Arc<str>], place: u32, session: &SessionKey) -> bool {
    arena.read(place).is_some_and(|(header, id)| {
        id == session.session_id.as_bytes() && sources.get(usize::from(header.source)) == Some(&session.source)
    })
}

fn hash_at(arena: &Arena, sources: &[Arc<str>], random: &RandomState, place: u32) -> u64 {
    // Every place of the index is one of the arena's.
    let of_entry = |(header, id): (Header, &[u8])| {
        let source = sources.get(usize::from(header.source)).map_or("", |source| source);
        hash(random, source, id)
    };
    arena.read(place).map_or(0, of_entry)
}

fn hash(random: &RandomState, source: &str, id: &[u8]) -> u64 {
    random.hash_one((source, id))
}

fn hash_of_text(random: &RandomState, text: &str) -> u32 {
    let [a, b, c, d, ..] = random.hash_one(text).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Seconds since 1970, rounded up, so that nothing is forgotten early; the nearest that four bytes have.
fn ceiling(instant: Timestamp) -> u32 {
    let second = instant.as_second();
    let up = if instant.subsec_nanosecond() > 0 { second.saturating_add(1) } else { second };
    u32::try_from(up.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
