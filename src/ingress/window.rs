//! The dedup window: which events are in Kafka, and which are on their way, so that a redelivery is not published again.
//! Must not know webhooks or Kafka. A false duplicate loses an event and cannot happen: an id enters the window only
//! by the acknowledgement of its own record; a missed duplicate is noise.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::kafka::publisher::Delivery;
use crate::provider::{EventId, Identity, Normalized};

/// What the window knows of an event.
pub enum Entered {
    /// Nothing: it is on its way from now on under the id of this ticket, and whoever got it must [`Window::settle`] it.
    New(Ticket, oneshot::Receiver<Delivery>),
    /// Somebody is sending it under this id: its fate comes here too.
    InFlight(EventId, oneshot::Receiver<Delivery>),
    /// It is in Kafka, under this id.
    InKafka(EventId),
}

/// An event on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its id.
    pub id: EventId,
    /// Whose state it tells, where that may come back.
    state_key: Option<StateKey>,
}

/// What a webhook is known by in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DedupKey {
    /// It is known by its event's id.
    Event(EventId),
    /// It tells a state that may come back.
    State {
        /// Whose state.
        state_key: StateKey,
        /// The id of its content.
        content: EventId,
        /// When it was received.
        received_at: Timestamp,
    },
}

impl DedupKey {
    /// A webhook of the source named `source`.
    pub fn of(source: &str, event: &Normalized, received_at: Timestamp) -> Self {
        match event.identity {
            Identity::Event(id) => Self::Event(id),
            Identity::Content(content) => Self::State { state_key: StateKey::of(source, event), content, received_at },
        }
    }

    /// The event's id where nothing is known of events before it.
    pub fn id_alone(self) -> EventId {
        match self {
            Self::Event(id) => id,
            Self::State { content, received_at, .. } => EventId::of_state(content, received_at, None),
        }
    }
}

/// Whose states come one after the other: a source, an event type and a key. Hashed, for keys may be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateKey(EventId);

impl StateKey {
    fn of(source: &str, event: &Normalized) -> Self {
        let key = event.key.as_deref().unwrap_or_default();
        Self(EventId::over(&[source.as_bytes(), event.event_type.as_bytes(), key.as_bytes()]))
    }
}

/// Events of the last while, bounded in time and number.
pub struct Window {
    span: Duration,
    entries_max: usize,
    state: Mutex<WindowEntries>,
}

struct WindowEntries {
    in_kafka: HashSet<EventId>,
    by_age: VecDeque<(EventId, u32)>,
    in_flight: HashMap<EventId, Vec<oneshot::Sender<Delivery>>>,
    /// The last state of each key that was taken in here, whatever became of it: one that failed may be in Kafka all the same.
    last_states: HashMap<StateKey, EntryState>,
    /// States in the order in which they came, to forget the oldest first.
    states_by_age: VecDeque<(StateKey, EventId)>,
    start: Instant,
}

/// The last state of a key.
#[derive(Clone, Copy, Debug)]
struct EntryState {
    content: EventId,
    id: EventId,
    /// Whether Kafka acknowledged it.
    acknowledged: bool,
}

/// How much the window holds, for its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Events in it.
    pub entries: usize,
    /// The time that it really covers.
    pub covers: Duration,
}

impl Window {
    /// A window over `span`, of at most `entries_max` events, and as many keys whose states come back; all memory for events is
    /// reserved now, none is touched.
    pub fn new(span: Duration, entries_max: usize, now: Instant) -> Self {
        let state = WindowEntries {
            in_kafka: HashSet::with_capacity(entries_max),
            by_age: VecDeque::with_capacity(entries_max),
            in_flight: HashMap::new(),
            last_states: HashMap::new(),
            states_by_age: VecDeque::new(),
            start: now,
        };
        Self { span, entries_max, state: Mutex::new(state) }
    }

    /// Looks an event up, and takes it on its way when nothing is known of it. A state is known only while it is its key's last.
    pub fn enter(&self, dedup_key: DedupKey, now: Instant) -> Entered {
        let mut inside = self.inside();
        inside.expire(self.span, now);
        let ticket = match dedup_key {
            DedupKey::Event(id) => Ticket { id, state_key: None },
            DedupKey::State { state_key, content, received_at } => {
                let last = inside.last_states.get(&state_key).copied();
                let id = match last {
                    // It is known, on its way, or failed and comes again. One that the window forgot comes back.
                    Some(last) if last.content == content && inside.counts(last) => last.id,
                    _ => EventId::of_state(content, received_at, last.map(|last| last.id)),
                };
                Ticket { id, state_key: Some(state_key) }
            }
        };
        let id = ticket.id;
        if inside.in_kafka.contains(&id) {
            return Entered::InKafka(id);
        }
        if let Some(waiting) = inside.in_flight.get_mut(&id) {
            let (sender, receiver) = oneshot::channel();
            waiting.push(sender);
            return Entered::InFlight(id, receiver);
        }
        let (sender, receiver) = oneshot::channel();
        inside.in_flight.insert(ticket.id, vec![sender]);
        if let DedupKey::State { state_key, content, .. } = dedup_key {
            inside.follow(state_key, EntryState { content, id, acknowledged: false }, self.entries_max);
        }
        Entered::New(ticket, receiver)
    }

    /// Tells the fate of an event on its way: acknowledged it stays for the window's span, else it is forgotten.
    pub fn settle(&self, ticket: Ticket, delivery: Delivery, now: Instant) {
        let waiting = {
            let mut inside = self.inside();
            if delivery == Delivery::Acknowledged {
                inside.remember(ticket.id, self.entries_max, now);
                inside.acknowledge_state(ticket);
            }
            inside.in_flight.remove(&ticket.id)
        };
        for sender in waiting.into_iter().flatten() {
            // Whoever waited may have answered 503 and gone.
            let _gone = sender.send(delivery);
        }
    }

    /// How much the window holds.
    pub fn coverage(&self, now: Instant) -> Coverage {
        let mut inside = self.inside();
        inside.expire(self.span, now);
        let is_full = inside.by_age.len() >= self.entries_max;
        let covers = match inside.by_age.front() {
            Some((_, second)) if is_full => Duration::from_secs(u64::from(inside.second(now).saturating_sub(*second))),
            _ => self.span,
        };
        Coverage { entries: inside.by_age.len(), covers }
    }

    fn inside(&self) -> MutexGuard<'_, WindowEntries> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WindowEntries {
    fn second(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.start).as_secs()).unwrap_or(u32::MAX)
    }

    fn remember(&mut self, id: EventId, entries_max: usize, now: Instant) {
        if !self.in_kafka.insert(id) {
            return;
        }
        if self.by_age.len() >= entries_max {
            self.forget_oldest();
        }
        let second = self.second(now);
        self.by_age.push_back((id, second));
    }

    /// Forgets what is older than `span`, a second late rather than early: the window is a promise.
    fn expire(&mut self, span: Duration, now: Instant) {
        let second = self.second(now);
        while self.by_age.front().is_some_and(|(_, at)| u64::from(second.saturating_sub(*at)) > span.as_secs()) {
            self.forget_oldest();
        }
    }

    /// Whether a key's last state is still the same event: what Kafka took counts for the window's span. What it did not, or not
    /// that we know, is the same event when it comes again.
    fn counts(&self, last: EntryState) -> bool {
        !last.acknowledged || self.in_kafka.contains(&last.id)
    }

    /// A key has a new last state.
    fn follow(&mut self, state_key: StateKey, state: EntryState, states_max: usize) {
        let before = self.last_states.insert(state_key, state);
        if before.is_some_and(|before| before.id == state.id) {
            return;
        }
        self.states_by_age.push_back((state_key, state.id));
        if self.states_by_age.len() > states_max {
            self.forget_oldest_state();
        }
    }

    fn acknowledge_state(&mut self, ticket: Ticket) {
        let state = ticket.state_key.and_then(|state_key| self.last_states.get_mut(&state_key));
        if let Some(state) = state.filter(|state| state.id == ticket.id) {
            state.acknowledged = true;
        }
    }

    fn forget_oldest_state(&mut self) {
        let Some((state_key, id)) = self.states_by_age.pop_front() else { return };
        if self.last_states.get(&state_key).is_some_and(|last| last.id == id) {
            self.last_states.remove(&state_key);
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((oldest, _)) = self.by_age.pop_front() {
            self.in_kafka.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
