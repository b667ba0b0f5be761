//! The dedup window: which events are in Kafka, and which are on their way, so that a redelivery is not published again.
//! Must not know webhooks or Kafka. A false duplicate loses an event and cannot happen: an id enters the window only
//! by the acknowledgement of its own record; a missed duplicate is noise.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::kafka::publisher::Delivery;
use crate::provider::{EventId, EventIds};

/// What the window knows of an event.
pub enum Entry {
    /// Nothing: it is on its way from now on, and whoever got this must [`Window::settle`] it.
    New(oneshot::Receiver<Delivery>),
    /// Somebody is sending it under this id: its fate comes here too.
    InFlight(EventId, oneshot::Receiver<Delivery>),
    /// It is in Kafka, under this id.
    InKafka(EventId),
}

/// Events of the last while, bounded in time and number.
pub struct Window {
    span: Duration,
    entries_max: usize,
    state: Mutex<State>,
}

struct State {
    in_kafka: HashSet<EventId>,
    by_age: VecDeque<(EventId, u32)>,
    in_flight: HashMap<EventId, Vec<oneshot::Sender<Delivery>>>,
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

impl Window {
    /// A window over `span`, of at most `entries_max` events; all its memory is reserved now, none is touched.
    pub fn new(span: Duration, entries_max: usize, now: Instant) -> Self {
        let state = State {
            in_kafka: HashSet::with_capacity(entries_max),
            by_age: VecDeque::with_capacity(entries_max),
            in_flight: HashMap::new(),
            start: now,
        };
        Self { span, entries_max, state: Mutex::new(state) }
    }

    /// Looks an event up, and takes it on its way when nothing is known of it.
    pub fn enter(&self, ids: EventIds, now: Instant) -> Entry {
        let mut state = self.state();
        state.expire(self.span, now);
        let known = [Some(ids.id), ids.hour_before].into_iter().flatten();
        for id in known {
            if state.in_kafka.contains(&id) {
                return Entry::InKafka(id);
            }
            if let Some(waiting) = state.in_flight.get_mut(&id) {
                let (sender, receiver) = oneshot::channel();
                waiting.push(sender);
                return Entry::InFlight(id, receiver);
            }
        }
        let (sender, receiver) = oneshot::channel();
        state.in_flight.insert(ids.id, vec![sender]);
        Entry::New(receiver)
    }

    /// Tells the fate of an event on its way: acknowledged it stays for the window's span, else it is forgotten.
    pub fn settle(&self, id: EventId, delivery: Delivery, now: Instant) {
        let waiting = {
            let mut state = self.state();
            if delivery == Delivery::Acknowledged {
                state.remember(id, self.entries_max, now);
            }
            state.in_flight.remove(&id)
        };
        for sender in waiting.into_iter().flatten() {
            // Whoever waited may have answered 503 and gone.
            let _gone = sender.send(delivery);
        }
    }

    /// How much the window holds.
    pub fn coverage(&self, now: Instant) -> Coverage {
        let mut state = self.state();
        state.expire(self.span, now);
        let is_full = state.by_age.len() >= self.entries_max;
        let covers = match state.by_age.front() {
            Some((_, second)) if is_full => Duration::from_secs(u64::from(state.second(now).saturating_sub(*second))),
            _ => self.span,
        };
        Coverage { entries: state.by_age.len(), covers }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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

    fn forget_oldest(&mut self) {
        if let Some((oldest, _)) = self.by_age.pop_front() {
            self.in_kafka.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::publisher::Failure;

    const SPAN: Duration = Duration::from_mins(1);

    fn ids(number: u8) -> EventIds {
        EventId::from_bytes([number; 16]).into()
    }

    fn new(entry: Entry) -> oneshot::Receiver<Delivery> {
        match entry {
            Entry::New(receiver) => receiver,
            Entry::InFlight(..) => panic!("in flight"),
            Entry::InKafka(_) => panic!("in Kafka"),
        }
    }

    fn is_known(window: &Window, number: u8, now: Instant) -> bool {
        matches!(window.enter(ids(number), now), Entry::InKafka(_))
    }

    #[test]
    fn an_acknowledged_event_is_known_for_the_span_and_hardly_longer() {
        let start = Instant::now();
        let window = Window::new(SPAN, 10, start);
        // The end of a second: ages are counted in whole ones, and none may be cut short.
        let now = start + Duration::from_millis(999);
        let mut fate = new(window.enter(ids(1), now));
        window.settle(ids(1).id, Delivery::Acknowledged, now);
        assert_eq!(fate.try_recv(), Ok(Delivery::Acknowledged));
        assert!(is_known(&window, 1, now + SPAN));
        assert!(!is_known(&window, 1, now + SPAN + Duration::from_secs(1)));
    }

    #[test]
    fn a_failed_event_is_forgotten_and_told_to_all_who_wait() {
        let now = Instant::now();
        let window = Window::new(SPAN, 10, now);
        let mut first = new(window.enter(ids(1), now));
        let Entry::InFlight(_, mut second) = window.enter(ids(1), now) else { panic!("not in flight") };
        let failed = Delivery::Failed(Failure::TimedOut);
        window.settle(ids(1).id, failed, now);
        assert_eq!((first.try_recv(), second.try_recv()), (Ok(failed), Ok(failed)));
        new(window.enter(ids(1), now));
    }

    #[test]
    fn a_late_success_makes_it_known_though_nobody_waits() {
        let now = Instant::now();
        let window = Window::new(SPAN, 10, now);
        drop(new(window.enter(ids(1), now)));
        window.settle(ids(1).id, Delivery::Acknowledged, now);
        assert!(is_known(&window, 1, now));
    }

    #[test]
    fn the_oldest_makes_room_and_the_coverage_says_so() {
        let now = Instant::now();
        let window = Window::new(SPAN, 2, now);
        for (number, at) in [(1, 0), (2, 5), (3, 9)] {
            let at = now + Duration::from_secs(at);
            new(window.enter(ids(number), at));
            window.settle(ids(number).id, Delivery::Acknowledged, at);
        }
        let at = now + Duration::from_secs(9);
        assert_eq!(window.coverage(at), Coverage { entries: 2, covers: Duration::from_secs(4) });
        assert!(!is_known(&window, 1, at) && is_known(&window, 2, at) && is_known(&window, 3, at));
    }

    #[test]
    fn an_event_first_received_in_the_hour_before_is_known_by_that_id() {
        let now = Instant::now();
        let window = Window::new(SPAN, 10, now);
        new(window.enter(ids(1), now));
        let later = EventIds { id: ids(2).id, hour_before: Some(ids(1).id) };
        assert!(matches!(window.enter(later, now), Entry::InFlight(id, _) if id == ids(1).id));
        window.settle(ids(1).id, Delivery::Acknowledged, now);
        assert!(matches!(window.enter(later, now), Entry::InKafka(id) if id == ids(1).id));
    }
}
