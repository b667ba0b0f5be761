//! What the engine holds of one partition: its sessions, their timers, and how far its inputs were read.
//! Pure: must not know how it was restored or is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::confirmation::session::ended::EndedSessions;
use crate::confirmation::session::machine::{
    self, EarlyRoom, Input, InputProgress, NextState, OpenSession, Policy, SessionOwner, SessionState, timing,
};
use crate::confirmation::session::model::{Done, SessionEntry, SessionKey};

/// The inputs, by their place in the group's list.
pub const INPUTS: usize = 3;

/// One partition of the inputs and the ledger.
pub struct SessionPartition {
    /// Its number.
    pub number: i32,
    /// The next offset of each input.
    pub next: [i64; INPUTS],
    /// Where each input ended when the partition was assigned.
    pub ends: [i64; INPUTS],
    /// Whether the inputs were read up to there.
    pub progress: InputProgress,
    /// Whether the ledger's first entry is there.
    pub has_owner: bool,
    open: HashMap<SessionKey, OpenSession>,
    ended: EndedSessions,
    timers: BTreeSet<(Timestamp, SessionKey)>,
    /// How many decisions wait for sessions that are not opened.
    early: usize,
    /// The sources of opened sessions that have not ended, each name once, and how many sessions each has.
    sources: BTreeMap<Arc<str>, usize>,
}

impl SessionPartition {
    /// A partition of which nothing is known.
    pub fn new(number: i32) -> Self {
        Self {
            number,
            next: [0; INPUTS],
            ends: [0; INPUTS],
            progress: InputProgress::Behind { since: Timestamp::MIN },
            has_owner: false,
            open: HashMap::new(),
            ended: EndedSessions::default(),
            timers: BTreeSet::new(),
            early: 0,
            sources: BTreeMap::new(),
        }
    }

    /// Takes over a session that has not ended, as the ledger has it.
    pub fn take_over(&mut self, key: SessionKey, entry: SessionEntry, policy: &Policy) {
        self.remove(&key, policy);
        self.ended.remove(&key);
        self.keep(key, OpenSession::taken_over(entry), policy);
    }

    /// A session has ended.
    pub fn end(&mut self, key: &SessionKey, done: &Done, policy: &Policy) {
        self.remove(key, policy);
        self.ended.insert(key, done);
    }

    /// Nothing needs to be known of a session any more.
    pub fn forget(&mut self, key: &SessionKey, policy: &Policy) {
        self.remove(key, policy);
        self.ended.remove(key);
    }

    /// How many sessions were opened and have not ended.
    pub fn open_sessions(&self) -> usize {
        self.open.values().filter(|open| !matches!(open.entry, SessionEntry::Early(_))).count()
    }

    /// The sources of sessions that were opened and have not ended.
    pub fn open_sources(&self) -> BTreeSet<Arc<str>> {
        let opened = self.open.iter().filter(|(_, open)| !matches!(open.entry, SessionEntry::Early(_)));
        opened.map(|(key, _)| Arc::clone(&key.source)).collect()
    }

    /// The window of an open session that closes first.
    pub fn first_window_end(&self, policy: &Policy) -> Option<Timestamp> {
        self.open.values().filter_map(|open| window_end(open, policy)).min()
    }

    /// When the deadline decides on the first session that nobody has decided on; none where it does nothing.
    pub fn first_deadline(&self, policy: &Policy) -> Option<Timestamp> {
        policy.at_deadline?;
        let undecided = self.open.values().filter_map(|open| match &open.entry {
            SessionEntry::Awaiting(opening) => Some(policy.deadline(opening)),
            SessionEntry::Early(_) | SessionEntry::Checking(_) | SessionEntry::Decided(_) => None,
        });
        undecided.min()
    }

    /// A session as it stands.
    pub fn state(&self, key: &SessionKey) -> SessionState<'_> {
        match self.open.get(key) {
            Some(open) => SessionState::Open(open),
            None => self.ended.find(key).map_or(SessionState::Absent, SessionState::Ended),
        }
    }

    /// Whether a session that has not opened belongs to another source: where a step looks at that.
    pub fn owner_for(&self, key: &SessionKey, input: &Input) -> SessionOwner {
        match input {
            Input::Decision(_) | Input::Timer | Input::Answer { .. } | Input::Finished { .. } => {
                self.owner_of_unopened(key)
            }
            _ => SessionOwner::NoOther,
        }
    }

    /// Whether a session that has not opened belongs to another source.
    pub fn owner_of_unopened(&self, key: &SessionKey) -> SessionOwner {
        if self.state(key).was_opened() {
            return SessionOwner::NoOther;
        }
        // There are a few sources and very many sessions, so each source is asked for this id.
        let has = |source: &Arc<str>| {
            let other = SessionKey { source: Arc::clone(source), session_id: Arc::clone(&key.session_id) };
            self.state(&other).was_opened()
        };
        let mut others = self.sources.keys().chain(self.ended.sources()).filter(|source| **source != key.source);
        if others.any(has) { SessionOwner::OtherSource } else { SessionOwner::NoOther }
    }

    /// Whether one more decision may wait for a session that is not opened, where `max` may.
    pub fn early_room(&self, max: usize) -> EarlyRoom {
        if self.early < max { EarlyRoom::Free } else { EarlyRoom::Full }
    }

    /// Whether nothing is known of any session.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ended.is_empty()
    }

    /// When an open session's window ends.
    pub fn window_end(&self, key: &SessionKey, policy: &Policy) -> Option<Timestamp> {
        window_end(self.open.get(key)?, policy)
    }

    /// Takes over what a step made of a session.
    pub fn apply(&mut self, key: &SessionKey, next: NextState, policy: &Policy) {
        match next {
            NextState::Same => {}
            NextState::Activity(activity) => {
                if let Some(open) = self.remove(key, policy) {
                    self.keep(key.clone(), OpenSession { activity, ..open }, policy);
                }
            }
            NextState::Entry(open) => {
                self.remove(key, policy);
                self.keep(key.clone(), open, policy);
            }
            NextState::Done(done) => self.end(key, &done, policy),
            NextState::Forgotten => self.forget(key, policy),
        }
    }

    /// The session whose timer is due first, if it is due.
    pub fn due(&self, now: Timestamp) -> Option<SessionKey> {
        self.timers.first().filter(|(due, _)| *due <= now).map(|(_, key)| key.clone())
    }

    /// When the next timer is due.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Ended sessions that ended before an instant, the oldest first, at most `max`.
    pub fn expired(&self, before: Timestamp, max: usize) -> Vec<SessionKey> {
        self.ended.expired(before, max)
    }

    fn keep(&mut self, key: SessionKey, open: OpenSession, policy: &Policy) {
        // 200,000 sessions of one source would each keep the copy of its name that they came with.
        let key = if SessionState::Open(&open).was_opened() {
            SessionKey { source: self.counted_source(key.source), ..key }
        } else {
            key
        };
        if let Some(due) = machine::due(&open, policy) {
            self.timers.insert((due, key.clone()));
        }
        self.early += open.entry.waiting_decisions();
        self.open.insert(key, open);
    }

    /// The source's name as it is kept, with one more session.
    fn counted_source(&mut self, source: Arc<str>) -> Arc<str> {
        let kept = self.sources.get_key_value(&source).map_or(source, |(kept, _)| Arc::clone(kept));
        *self.sources.entry(Arc::clone(&kept)).or_default() += 1;
        kept
    }

    fn remove(&mut self, key: &SessionKey, policy: &Policy) -> Option<OpenSession> {
        let open = self.open.remove(key)?;
        self.early -= open.entry.waiting_decisions();
        if SessionState::Open(&open).was_opened()
            && let Some(sessions) = self.sources.get_mut(&key.source)
        {
            *sessions -= 1;
            if *sessions == 0 {
                self.sources.remove(&key.source);
            }
        }
        if let Some(due) = machine::due(&open, policy) {
            self.timers.remove(&(due, key.clone()));
        }
        Some(open)
    }
}

fn window_end(open: &OpenSession, policy: &Policy) -> Option<Timestamp> {
    match &open.entry {
        SessionEntry::Early(_) => None,
        // When the event came is certain; when the window began is what the provider is asked about.
        SessionEntry::Checking(checking) => Some(timing::later(checking.opening.recorded_at, policy.window)),
        SessionEntry::Awaiting(opening) => Some(policy.window_end(opening)),
        SessionEntry::Decided(decided) => Some(policy.window_end(&decided.opening)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirmation::session::machine::tests::fixtures::{opening, policy};

    /// There are 200,000 sessions and a few sources.
    #[test]
    fn sessions_of_a_source_share_its_name() {
        let (policy, mut partition) = (policy(), SessionPartition::new(0));
        for session_id in ["ps_1", "ps_2"] {
            let key = SessionKey { source: "sg-main".into(), session_id: session_id.into() };
            partition.take_over(key, SessionEntry::Awaiting(Box::new(opening())), &policy);
        }
        let sources: Vec<Arc<str>> = partition.timers.iter().map(|(_, key)| Arc::clone(&key.source)).collect();
        assert!(Arc::ptr_eq(&sources[0], &sources[1]));
        for session_id in ["ps_1", "ps_2"] {
            partition.forget(&SessionKey { source: "sg-main".into(), session_id: session_id.into() }, &policy);
        }
        assert!(partition.sources.is_empty(), "nobody owns a session of it");
    }
}
