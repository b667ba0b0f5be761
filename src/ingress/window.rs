//! The dedup window: which events are in Kafka, and which are on their way, so that a redelivery is not published again.
//! Must not know webhooks or Kafka. A false duplicate loses an event and cannot happen: an id enters the window only
//! by the acknowledgement of its own record, here or at another replica, and a state is known only while it is the last that any
//! replica has announced; a missed duplicate is noise.

mod ids;
mod states;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::kafka::publisher::Delivery;
use crate::provider::{EventId, Identity, Normalized};
pub use ids::Origin;
use ids::RememberedIds;
use states::{LastState, LastStates};

/// What the window knows of an event.
pub enum Entered {
    /// Nothing: it is on its way from now on under the id of this ticket, and whoever got it must [`Window::settle`] it.
    New(Ticket, oneshot::Receiver<Delivery>),
    /// Somebody is sending it under this id: its fate comes here too.
    InFlight(EventId, oneshot::Receiver<Delivery>),
    /// It is in Kafka or on disk, under this id, and this replica took it in.
    Safe(EventId, Origin),
}

/// An event on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its id.
    pub id: EventId,
    /// The state that it tells, where that may come back.
    pub state: Option<TicketState>,
}

/// What a state says, and of which thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketState {
    /// Whose state.
    pub state_key: StateKey,
    /// The id of its content.
    pub content: EventId,
}

/// What the replicas tell each other of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedEntry {
    /// The event.
    pub ticket: Ticket,
    /// How far it is.
    pub step: EntryStep,
}

/// How far an event is that replicas tell each other of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryStep {
    /// It is about to be published; told of states alone.
    Intended,
    /// Kafka has it.
    Published,
}

/// Where an entry stands on the topic that the replicas share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

/// Whether the window is known to have all events that other replicas took in before a webhook came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// It has, or there are none that count.
    Complete,
    /// Nobody knows: a state that seems to be the last one may have been followed by another, so it counts for nothing.
    Incomplete {
        /// Stands for what is not known: a random id, so that the event gets one that no other event has.
        salt: EventId,
    },
}

impl View {
    /// Nobody knows.
    pub fn unknown() -> Self {
        Self::Incomplete { salt: super::random_id() }
    }
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
            Identity::Content(content) => {
                Self::State { state_key: StateKey::of(source, &event.event_type, event), content, received_at }
            }
            Identity::ContentOfKey(content) => {
                Self::State { state_key: StateKey::of(source, "", event), content, received_at }
            }
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

/// Whose states come one after the other: a source, an event type and a key; without the type where events of several types follow
/// each other. Hashed, for keys may be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateKey([u8; 8]);

impl StateKey {
    fn of(source: &str, event_type: &str, event: &Normalized) -> Self {
        let key = event.key.as_deref().unwrap_or_default();
        let id = EventId::over(&[source.as_bytes(), event_type.as_bytes(), key.as_bytes()]);
        Self(id.first_bytes())
    }

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its bytes: the first 8 of the SHA-256 of source, event type and key, each preceded by its length.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// Events of the last while, bounded in time and number.
pub struct Window {
    span: Duration,
    state: Mutex<WindowEntries>,
}

struct WindowEntries {
    in_kafka: RememberedIds,
    /// On disk, however long: bounded by the spool.
    spooled: HashSet<EventId>,
    in_flight: HashMap<EventId, Vec<oneshot::Sender<Delivery>>>,
    last_states: LastStates,
    start: Instant,
}

/// How much the window holds, for its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Events in it.
    pub entries: usize,
    /// The time that it really covers.
    pub covers: Duration,
}

/// The seconds of a window are counted from so long before its start: longer than any window, for events of the past.
const BEFORE_START_S: u32 = 1_000_000;

impl Window {
    /// A window over `span`, of at most `entries_max` events.
    pub fn new(span: Duration, entries_max: usize, now: Instant) -> Self {
        let state = WindowEntries {
            in_kafka: RememberedIds::new(entries_max),
            spooled: HashSet::new(),
            in_flight: HashMap::new(),
            last_states: LastStates::new(entries_max),
            start: now,
        };
        Self { span, state: Mutex::new(state) }
    }

    /// Looks an event up, and takes it on its way when nothing is known of it. A state is known only while it is its key's last,
    /// and the view is complete.
    pub fn enter(&self, dedup_key: DedupKey, view: View, now: Instant) -> Entered {
        let mut inside = self.inside();
        inside.expire(self.span, now);
        let ticket = inside.ticket(dedup_key, view);
        let id = ticket.id;
        if let Some(origin) = inside.origin(id) {
            return Entered::Safe(id, origin);
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(waiting) = inside.in_flight.get_mut(&id) {
            waiting.push(sender);
            return Entered::InFlight(id, receiver);
        }
        inside.in_flight.insert(id, vec![sender]);
        if let Some(TicketState { state_key, content }) = ticket.state {
            inside.last_states.sent(state_key, content, id);
        }
        Entered::New(ticket, receiver)
    }

    /// Tells the fate of an event on its way: acknowledged it stays for the window's span, on disk until that is over, else it is
    /// forgotten.
    pub fn settle(&self, ticket: Ticket, delivery: Delivery, now: Instant) {
        let waiting = {
            let mut inside = self.inside();
            match delivery {
                Delivery::Acknowledged => {
                    let second = inside.second(now);
                    inside.in_kafka.remember(ticket.id, Origin::Local, second);
                }
                Delivery::Spooled => {
                    inside.spooled.insert(ticket.id);
                }
                Delivery::TooLarge | Delivery::Failed(_) => {}
            }
            if let (Delivery::Acknowledged | Delivery::Spooled, Some(state)) = (delivery, ticket.state) {
                inside.last_states.acknowledged(state.state_key, ticket.id);
            }
            inside.in_flight.remove(&ticket.id)
        };
        for sender in waiting.into_iter().flatten() {
            // Whoever waited may have answered 503 and gone.
            let _gone = sender.send(delivery);
        }
    }

    /// These events are on disk.
    pub fn spooled(&self, ids: impl IntoIterator<Item = EventId>) {
        self.inside().spooled.extend(ids);
    }

    /// An event is not on disk any more; whether it was.
    pub fn unspool(&self, id: EventId) -> bool {
        self.inside().spooled.remove(&id)
    }

    /// Takes in what the shared topic tells of an event: its entry stands at `place`, and is so old.
    pub fn follow(&self, entry: &SharedEntry, origin: Origin, place: EntryPlace, age: Duration, now: Instant) {
        let SharedEntry { ticket, step } = *entry;
        let mut inside = self.inside();
        inside.expire(self.span, now);
        match (step, ticket.state) {
            // Whatever its age by our clock: the state before it is not the last one any more.
            (EntryStep::Intended, Some(state)) => {
                inside.last_states.intended(state.state_key, state.content, ticket.id, place);
            }
            (EntryStep::Intended, None) => {}
            (EntryStep::Published, _) if age > self.span => {}
            (EntryStep::Published, state) => {
                let second = inside.second(now).saturating_sub(u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
                inside.in_kafka.remember(ticket.id, origin, second);
                if let Some(state) = state {
                    inside.last_states.acknowledged(state.state_key, ticket.id);
                }
            }
        }
    }

    /// The shared topic is read anew, from the window's beginning on.
    pub fn follow_anew(&self) {
        self.inside().last_states.forget();
    }

    /// Kafka is another cluster than before: what the other one had is not in this one.
    pub fn forget(&self) {
        let mut inside = self.inside();
        inside.in_kafka.forget();
        inside.last_states.forget();
    }

    /// How much the window holds.
    pub fn coverage(&self, now: Instant) -> Coverage {
        let mut inside = self.inside();
        inside.expire(self.span, now);
        let covers = match inside.in_kafka.oldest() {
            Some(oldest) if inside.in_kafka.is_full() => {
                Duration::from_secs(u64::from(inside.second(now).saturating_sub(oldest)))
            }
            _ => self.span,
        };
        Coverage { entries: inside.in_kafka.len(), covers }
    }

    fn inside(&self) -> MutexGuard<'_, WindowEntries> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WindowEntries {
    fn second(&self, now: Instant) -> u32 {
        let since_start = u32::try_from(now.saturating_duration_since(self.start).as_secs()).unwrap_or(u32::MAX);
        since_start.saturating_add(BEFORE_START_S)
    }

    /// Who took an event in that is in Kafka or on disk.
    fn origin(&self, id: EventId) -> Option<Origin> {
        self.in_kafka.origin(id).or_else(|| self.spooled.contains(&id).then_some(Origin::Local))
    }

    /// Under which id a webhook is known, or goes on its way.
    fn ticket(&self, dedup_key: DedupKey, view: View) -> Ticket {
        match dedup_key {
            DedupKey::Event(id) => Ticket { id, state: None },
            DedupKey::State { state_key, content, received_at } => {
                let last = self.last_states.last(state_key);
                let id = match (last, view) {
                    (Some(last), View::Complete) if last.content == content && self.counts(&last) => last.id,
                    (last, View::Complete) => self.new_id(content, received_at, last.map(|last| last.id)),
                    (_, View::Incomplete { salt }) => self.new_id(content, received_at, Some(salt)),
                };
                Ticket { id, state: Some(TicketState { state_key, content }) }
            }
        }
    }

    /// Whether a thing's last state is still the same event: what Kafka took counts for the window's span, and one that the window
    /// forgot comes back. What Kafka did not take, or not that we know, is the same event when it comes again.
    fn counts(&self, last: &LastState) -> bool {
        !last.acknowledged || self.origin(last.id).is_some()
    }

    /// The id of a state that is a new event. Where the thing's last state was forgotten, an earlier one may have had it.
    fn new_id(&self, content: EventId, received_at: Timestamp, before: Option<EventId>) -> EventId {
        let mut id = EventId::of_state(content, received_at, before);
        while self.origin(id).is_some() || self.in_flight.contains_key(&id) {
            id = EventId::of_state(content, received_at, Some(id));
        }
        id
    }

    /// Forgets what is older than `span`, a second late rather than early: the window is a promise.
    fn expire(&mut self, span: Duration, now: Instant) {
        let span = u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
        let first = self.second(now).saturating_sub(span);
        self.in_kafka.expire(first);
    }
}

#[cfg(test)]
mod tests;
