//! The last state of each thing whose states come back: A, B, A are three events, and A, A is one.
//! Must not know how states travel between replicas, only the order in which they stand on the topic that they travel on.

use std::collections::{HashMap, VecDeque};

use super::{EntryPlace, StateKey};
use crate::provider::EventId;

/// Things whose last state is remembered: about 15 MiB.
const STATES_MAX: usize = 100_000;

/// The last state of a thing.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastState {
    /// What it says.
    pub(super) content: EventId,
    /// Its event.
    pub(super) id: EventId,
    /// Whether Kafka acknowledged it.
    pub(super) acknowledged: bool,
    /// Where its first entry stands on the topic that all replicas share; none: it has none yet, or no other replica is told.
    place: Option<EntryPlace>,
}

/// The last states, bounded in number.
pub(super) struct LastStates {
    last: HashMap<StateKey, LastState>,
    /// In the order in which they came, to forget the oldest first.
    by_age: VecDeque<(StateKey, EventId)>,
    states_max: usize,
}

impl LastStates {
    /// Of as many things as events are remembered, but not more than fit into the bound.
    pub(super) fn new(entries_max: usize) -> Self {
        Self { last: HashMap::new(), by_age: VecDeque::new(), states_max: entries_max.min(STATES_MAX) }
    }

    /// The last state of a thing that was taken in, whatever became of it: one that failed may be in Kafka all the same.
    pub(super) fn last(&self, state_key: StateKey) -> Option<LastState> {
        self.last.get(&state_key).copied()
    }

    /// This process sends a state.
    pub(super) fn sent(&mut self, state_key: StateKey, content: EventId, id: EventId) {
        self.put(state_key, LastState { content, id, acknowledged: false, place: None });
    }

    /// Kafka has it.
    pub(super) fn acknowledged(&mut self, state_key: StateKey, id: EventId) {
        if let Some(last) = self.last.get_mut(&state_key).filter(|last| last.id == id) {
            last.acknowledged = true;
        }
    }

    /// The shared topic says that a state is about to be published. It is the last one unless a later entry is known, whether Kafka
    /// takes it or not.
    pub(super) fn intended(&mut self, state_key: StateKey, content: EventId, id: EventId, place: EntryPlace) {
        let acknowledged = match self.last(state_key) {
            Some(last) if last.id == id => last.acknowledged,
            Some(LastState { place: Some(known), .. }) if known.partition != place.partition => {
                // The topic has other partitions than before, and nobody knows which of the two came first.
                self.last.remove(&state_key);
                return;
            }
            Some(LastState { place: Some(known), .. }) if known.offset >= place.offset => return,
            Some(_) | None => false,
        };
        self.put(state_key, LastState { content, id, acknowledged, place: Some(place) });
    }

    /// Everything, because the shared topic is read anew, and may be another one.
    pub(super) fn forget(&mut self) {
        self.last.clear();
        self.by_age.clear();
    }

    fn put(&mut self, state_key: StateKey, state: LastState) {
        let before = self.last.insert(state_key, state);
        if before.is_some_and(|before| before.id == state.id) {
            return;
        }
        self.by_age.push_back((state_key, state.id));
        if self.by_age.len() > self.states_max {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((state_key, id)) = self.by_age.pop_front() else { return };
        if self.last.get(&state_key).is_some_and(|last| last.id == id) {
            self.last.remove(&state_key);
        }
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.last.len(), self.by_age.len())
    }
}
