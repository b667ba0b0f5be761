//! What the window knows, forgets, and takes for the same.

use super::*;
use crate::kafka::publisher::DeliveryFailure;

const SPAN: Duration = Duration::from_mins(1);

fn event(number: u8) -> DedupKey {
    DedupKey::Event(EventId::from_bytes([number; 16]))
}

/// A state of one of several keys.
fn state(state_key: u8, content: u8) -> DedupKey {
    DedupKey::State {
        state_key: StateKey(EventId::from_bytes([state_key; 16])),
        // A body tells whose state it is.
        content: EventId::over(&[&[state_key], &[content]]),
        received_at: "2024-05-27T10:20:30Z".parse().unwrap(),
    }
}

fn new(entry: Entered) -> (Ticket, oneshot::Receiver<Delivery>) {
    match entry {
        Entered::New(ticket, receiver) => (ticket, receiver),
        Entered::InFlight(..) => panic!("in flight"),
        Entered::InKafka(_) => panic!("in Kafka"),
    }
}

/// It is new, and Kafka takes it.
fn published(window: &Window, dedup_key: DedupKey, now: Instant) -> EventId {
    let (ticket, _) = new(window.enter(dedup_key, now));
    window.settle(ticket, Delivery::Acknowledged, now);
    ticket.id
}

fn is_known(window: &Window, dedup_key: DedupKey, now: Instant) -> bool {
    matches!(window.enter(dedup_key, now), Entered::InKafka(_))
}

const FAILED: Delivery = Delivery::Failed(DeliveryFailure::TimedOut);

#[test]
fn an_acknowledged_event_is_known_for_the_span_and_hardly_longer() {
    let start = Instant::now();
    let window = Window::new(SPAN, 10, start);
    // The end of a second: ages are counted in whole ones, and none may be cut short.
    let now = start + Duration::from_millis(999);
    let (ticket, mut fate) = new(window.enter(event(1), now));
    window.settle(ticket, Delivery::Acknowledged, now);
    assert_eq!(fate.try_recv(), Ok(Delivery::Acknowledged));
    assert!(is_known(&window, event(1), now + SPAN));
    assert!(!is_known(&window, event(1), now + SPAN + Duration::from_secs(1)));
}

#[test]
fn a_failed_event_is_forgotten_and_told_to_all_who_wait() {
    let now = Instant::now();
    for dedup_key in [event(1), state(1, 1)] {
        let window = Window::new(SPAN, 10, now);
        let (ticket, mut first) = new(window.enter(dedup_key, now));
        let Entered::InFlight(_, mut second) = window.enter(dedup_key, now) else { panic!("not in flight") };
        window.settle(ticket, FAILED, now);
        assert_eq!((first.try_recv(), second.try_recv()), (Ok(FAILED), Ok(FAILED)));
        assert_eq!(new(window.enter(dedup_key, now)).0, ticket, "the same id once more");
    }
}

#[test]
fn a_late_success_makes_it_known_though_nobody_waits() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    let (ticket, fate) = new(window.enter(event(1), now));
    drop(fate);
    window.settle(ticket, Delivery::Acknowledged, now);
    assert!(is_known(&window, event(1), now));
}

#[test]
fn the_oldest_makes_room_and_the_coverage_says_so() {
    let now = Instant::now();
    let window = Window::new(SPAN, 2, now);
    for (number, at) in [(1, 0), (2, 5), (3, 9)] {
        published(&window, event(number), now + Duration::from_secs(at));
    }
    let at = now + Duration::from_secs(9);
    assert_eq!(window.coverage(at), Coverage { entries: 2, covers: Duration::from_secs(4) });
    let known = [1, 2, 3].map(|number| is_known(&window, event(number), at));
    assert_eq!(known, [false, true, true]);
}

#[test]
fn a_state_that_comes_back_is_a_new_event_and_one_that_comes_again_is_none() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    let first = published(&window, state(1, 1), now);
    assert!(is_known(&window, state(1, 1), now));
    let other = published(&window, state(1, 2), now);
    let back = published(&window, state(1, 1), now);
    assert!(is_known(&window, state(1, 1), now));
    assert!(first != back && first != other && other != back);
    // Another key has states of its own.
    published(&window, state(2, 1), now);
    assert!(is_known(&window, state(1, 1), now));
}

#[test]
fn states_on_their_way_follow_each_other() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    published(&window, state(1, 1), now);
    let (second, _) = new(window.enter(state(1, 2), now));
    let (third, _) = new(window.enter(state(1, 1), now));
    assert!(matches!(window.enter(state(1, 1), now), Entered::InFlight(id, _) if id == third.id));
    window.settle(second, Delivery::Acknowledged, now);
    window.settle(third, Delivery::Acknowledged, now);
    assert!(is_known(&window, state(1, 1), now));
}

/// It may be in Kafka all the same: the state before it is no longer the last.
#[test]
fn a_state_that_failed_makes_no_duplicate_of_the_one_before_it_and_keeps_its_id() {
    let now = Instant::now();
    for delivery in [FAILED, Delivery::TooLarge] {
        let window = Window::new(SPAN, 10, now);
        let first = published(&window, state(1, 1), now);
        let (second, _) = new(window.enter(state(1, 2), now));
        window.settle(second, delivery, now);
        assert_eq!(new(window.enter(state(1, 2), now)).0, second, "it comes again");
        window.settle(second, delivery, now);
        let back = published(&window, state(1, 1), now);
        assert!(back != first && back != second.id);
        assert!(is_known(&window, state(1, 1), now));
        assert_ne!(published(&window, state(1, 2), now), second.id, "and the other one comes back, too");
    }
}

#[test]
fn a_state_that_the_window_forgot_is_published_again_under_an_id_of_its_own() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    let first = published(&window, state(1, 1), now);
    let later = now + SPAN + Duration::from_secs(2);
    assert_ne!(published(&window, state(1, 1), later), first);
}

#[test]
fn state_keys_are_bounded_in_number() {
    let now = Instant::now();
    let window = Window::new(SPAN, 2, now);
    for state_key in 1..=200 {
        published(&window, state(state_key, 1), now);
        let (ticket, _) = new(window.enter(state(state_key, 2), now));
        window.settle(ticket, FAILED, now);
    }
    let inside = window.inside();
    assert_eq!((inside.last_states.len(), inside.states_by_age.len(), inside.in_flight.len()), (1, 2, 0));
}

/// However few events it holds.
#[test]
fn no_state_is_taken_for_one_that_was_forgotten() {
    let now = Instant::now();
    let window = Window::new(SPAN, 3, now);
    let mut ids = HashSet::new();
    for number in 0..100_u8 {
        assert!(ids.insert(published(&window, state(1, number % 2), now)), "{number}");
        if number % 3 == 0 {
            published(&window, state(2, number), now);
            published(&window, event(number), now);
        }
    }
}
