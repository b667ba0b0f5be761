//! What the window knows, forgets, and takes for the same.

use std::collections::HashSet;

use super::*;
use crate::kafka::publisher::DeliveryFailure;

const SPAN: Duration = Duration::from_mins(1);

fn event(number: u8) -> DedupKey {
    DedupKey::Event(EventId::from_bytes([number; 16]))
}

/// A state of one of several keys.
fn state(state_key: u8, content: u8) -> DedupKey {
    DedupKey::State {
        state_key: StateKey::from_bytes([state_key; 8]),
        // A body tells whose state it is.
        content: EventId::over(&[&[state_key], &[content]]),
        received_at: "2024-05-27T10:20:30Z".parse().unwrap(),
    }
}

fn incomplete(salt: u8) -> View {
    View::Incomplete { salt: EventId::from_bytes([salt; 16]) }
}

fn new(entry: Entered) -> (Ticket, oneshot::Receiver<Delivery>) {
    match entry {
        Entered::New(ticket, receiver) => (ticket, receiver),
        Entered::InFlight(..) => panic!("in flight"),
        Entered::Safe(..) => panic!("in Kafka"),
    }
}

/// It is new, and Kafka takes it.
fn published(window: &Window, dedup_key: DedupKey, now: Instant) -> EventId {
    let (ticket, _) = new(window.enter(dedup_key, View::Complete, now));
    window.settle(ticket, Delivery::Acknowledged, now);
    ticket.id
}

fn is_known(window: &Window, dedup_key: DedupKey, now: Instant) -> bool {
    matches!(window.enter(dedup_key, View::Complete, now), Entered::Safe(..))
}

const FAILED: Delivery = Delivery::Failed(DeliveryFailure::TimedOut);

#[test]
fn an_acknowledged_event_is_known_for_the_span_and_hardly_longer() {
    let start = Instant::now();
    let window = Window::new(SPAN, 10, start);
    // The end of a second: ages are counted in whole ones, and none may be cut short.
    let now = start + Duration::from_millis(999);
    let (ticket, mut fate) = new(window.enter(event(1), View::Complete, now));
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
        let (ticket, mut first) = new(window.enter(dedup_key, View::Complete, now));
        let Entered::InFlight(_, mut second) = window.enter(dedup_key, View::Complete, now) else {
            panic!("not in flight")
        };
        window.settle(ticket, FAILED, now);
        assert_eq!((first.try_recv(), second.try_recv()), (Ok(FAILED), Ok(FAILED)));
        assert_eq!(new(window.enter(dedup_key, View::Complete, now)).0, ticket, "the same id once more");
    }
}

#[test]
fn a_late_success_makes_it_known_though_nobody_waits() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    let (ticket, fate) = new(window.enter(event(1), View::Complete, now));
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
    let (second, _) = new(window.enter(state(1, 2), View::Complete, now));
    let (third, _) = new(window.enter(state(1, 1), View::Complete, now));
    assert!(matches!(window.enter(state(1, 1), View::Complete, now), Entered::InFlight(id, _) if id == third.id));
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
        let (second, _) = new(window.enter(state(1, 2), View::Complete, now));
        window.settle(second, delivery, now);
        assert_eq!(new(window.enter(state(1, 2), View::Complete, now)).0, second, "it comes again");
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
        let (ticket, _) = new(window.enter(state(state_key, 2), View::Complete, now));
        window.settle(ticket, FAILED, now);
    }
    let inside = window.inside();
    assert_eq!((inside.last_states.counts(), inside.in_flight.len()), ((1, 2), 0));
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

const fn at(offset: i64) -> EntryPlace {
    EntryPlace { partition: 0, offset }
}

/// The shared topic tells that Kafka has an event.
fn told(window: &Window, ticket: Ticket, offset: i64, age: Duration, now: Instant) {
    let entry = SharedEntry { ticket, step: EntryStep::Published };
    window.follow(&entry, Origin::Shared, at(offset), age, now);
}

/// The shared topic tells that a state is about to be published.
fn announced(window: &Window, ticket: Ticket, place: EntryPlace, now: Instant) {
    let entry = SharedEntry { ticket, step: EntryStep::Intended };
    window.follow(&entry, Origin::Shared, place, Duration::ZERO, now);
}

/// What the shared topic tells of a state that another replica took in.
fn followed(window: &Window, dedup_key: DedupKey, offset: i64, now: Instant) -> EventId {
    let ticket = window.inside().ticket(dedup_key, View::Complete);
    announced(window, ticket, at(offset), now);
    told(window, ticket, offset + 1, Duration::ZERO, now);
    ticket.id
}

#[test]
fn an_event_of_another_replica_is_known_for_what_is_left_of_the_span() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    let ticket = Ticket { id: EventId::from_bytes([1; 16]), state: None };
    told(&window, ticket, 0, SPAN + Duration::from_secs(1), now);
    assert!(!is_known(&window, event(1), now), "its time was over");
    window.settle(ticket, FAILED, now);
    told(&window, ticket, 1, SPAN / 2, now);
    assert!(matches!(window.enter(event(1), incomplete(1), now), Entered::Safe(_, Origin::Shared)));
    assert!(!is_known(&window, event(1), now + SPAN / 2 + Duration::from_secs(1)));
}

#[test]
fn events_of_the_past_make_room_first_whenever_they_come() {
    let now = Instant::now();
    let window = Window::new(SPAN, 2, now);
    published(&window, event(1), now);
    let old = |number| Ticket { id: EventId::from_bytes([number; 16]), state: None };
    told(&window, old(2), 0, Duration::from_secs(9), now);
    told(&window, old(3), 1, Duration::from_secs(5), now);
    told(&window, old(4), 2, Duration::from_secs(7), now);
    assert_eq!(window.coverage(now), Coverage { entries: 2, covers: Duration::from_secs(5) });
    let known = [1, 3].map(|number| is_known(&window, event(number), now));
    assert_eq!(known, [true, true]);
}

#[test]
fn a_state_of_another_replica_ends_the_one_before_it() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    let first = published(&window, state(1, 1), now);
    followed(&window, state(1, 2), 7, now);
    let back = published(&window, state(1, 1), now);
    assert_ne!(first, back);
    assert!(is_known(&window, state(1, 1), now));
    // Its own entry is read only now, and then one that stands before it.
    announced(&window, ticket_of(back), at(9), now);
    followed(&window, state(1, 3), 5, now);
    assert!(is_known(&window, state(1, 1), now));
    window.follow_anew();
    assert!(!is_known(&window, state(1, 1), now), "a topic that is read anew tells all anew");
}

/// Its event may be in Kafka, though nobody is told that it is.
#[test]
fn a_state_that_was_only_announced_ends_the_one_before_it_too_and_keeps_its_id() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    published(&window, state(1, 1), now);
    let announced_only = window.inside().ticket(state(1, 2), View::Complete);
    announced(&window, announced_only, at(3), now);
    let (again, _) = new(window.enter(state(1, 2), View::Complete, now));
    assert_eq!(again.id, announced_only.id, "it is the same event when it comes again");
    let window = Window::new(SPAN, 10, now);
    published(&window, state(1, 1), now);
    announced(&window, announced_only, at(3), now);
    assert!(!is_known(&window, state(1, 1), now));
}

/// By our clock an entry may be of any age.
#[test]
fn an_old_entry_ends_the_state_before_it_all_the_same() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    published(&window, state(1, 1), now);
    let ticket = window.inside().ticket(state(1, 2), View::Complete);
    let entry = SharedEntry { ticket, step: EntryStep::Intended };
    window.follow(&entry, Origin::Shared, at(3), SPAN * 100, now);
    assert!(!is_known(&window, state(1, 1), now));
}

/// Nobody knows which of the two came first.
#[test]
fn entries_of_two_partitions_leave_no_last_state() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    let id = published(&window, state(1, 1), now);
    announced(&window, ticket_of(id), at(1000), now);
    let ticket = window.inside().ticket(state(1, 2), View::Complete);
    announced(&window, ticket, EntryPlace { partition: 4, offset: 3 }, now);
    assert!(!is_known(&window, state(1, 1), now));
}

fn ticket_of(id: EventId) -> Ticket {
    let DedupKey::State { state_key, content, .. } = state(1, 1) else { panic!("no state") };
    Ticket { id, state: Some(TicketState { state_key, content }) }
}

/// Which of the two Kafka took first is not known.
#[test]
fn a_state_on_its_way_gives_way_to_one_of_another_replica() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    let (ticket, _) = new(window.enter(state(1, 1), View::Complete, now));
    followed(&window, state(1, 2), 7, now);
    let (again, _) = new(window.enter(state(1, 1), View::Complete, now));
    assert_ne!(ticket.id, again.id);
}

#[test]
fn a_state_is_published_again_while_nobody_knows_whether_another_one_followed() {
    let now = Instant::now();
    let window = Window::new(SPAN, 10, now);
    published(&window, state(1, 1), now);
    let (ticket, _) = new(window.enter(state(1, 1), incomplete(1), now));
    // It may come again while it is on its way.
    let (again, _) = new(window.enter(state(1, 1), incomplete(2), now));
    assert_ne!(ticket.id, again.id);
    // Events with a time of their own are the same whatever followed them.
    published(&window, event(1), now);
    assert!(matches!(window.enter(event(1), incomplete(1), now), Entered::Safe(_, Origin::Local)));
}

/// Two replicas that hear of each other's states late, in any order of steps: what is taken for a duplicate is the last state
/// that Kafka has.
mod laws {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A webhook with this content comes to this replica.
        Comes(usize, u8),
        /// This replica reads so many more entries.
        Reads(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..2_usize, 0..3_u8).prop_map(|(replica, content)| Step::Comes(replica, content)),
            (0..2_usize, 0..4_usize).prop_map(|(replica, count)| Step::Reads(replica, count)),
        ]
    }

    proptest! {
            #[test]
        fn a_duplicate_is_kafkas_last_state_and_no_two_events_have_one_id(steps in prop::collection::vec(step(), 0..60)) {
            let now = Instant::now();
            let windows = [Window::new(SPAN, 1000, now), Window::new(SPAN, 1000, now)];
            let (mut topic, mut read) = (Vec::<SharedEntry>::new(), [0, 0]);
            let (mut last, mut ids) = (None, HashSet::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Reads(replica, count) => {
                        for _ in 0..count.min(topic.len() - read[replica]) {
                            let place = at(i64::try_from(read[replica]).unwrap());
                            windows[replica].follow(&topic[read[replica]], Origin::Shared, place, Duration::ZERO, now);
                            read[replica] += 1;
                        }
                    }
                    Step::Comes(replica, content) => {
                        let is_complete = read[replica] == topic.len();
                        let salt = u8::try_from(number).unwrap();
                        let view = if is_complete { View::Complete } else { incomplete(salt) };
                        match windows[replica].enter(state(1, content), view, now) {
                            Entered::New(ticket, _) => {
                                let intended = SharedEntry { ticket, step: EntryStep::Intended };
                                let place = at(i64::try_from(topic.len()).unwrap());
                                topic.push(intended);
                                windows[replica].follow(&intended, Origin::Local, place, Duration::ZERO, now);
                                windows[replica].settle(ticket, Delivery::Acknowledged, now);
                                // The entry that proves it may be lost.
                                if content > 0 {
                                    topic.push(SharedEntry { ticket, step: EntryStep::Published });
                                }
                                // Only one whose proof was lost is published once more.
                                prop_assert!(ids.insert(ticket.id) || (last, content) == (Some(0), 0), "{number}");
                                last = Some(content);
                            }
                            Entered::Safe(..) => prop_assert_eq!(last, Some(content)),
                            Entered::InFlight(..) => prop_assert!(false, "nothing is in flight"),
                        }
                    }
                }
            }
        }
    }
}

/// Many other things had states meanwhile.
#[test]
fn a_state_whose_thing_was_forgotten_is_no_duplicate_of_an_earlier_one() {
    let now = Instant::now();
    let window = Window::new(SPAN, 100, now);
    let first = published(&window, state(1, 1), now);
    published(&window, state(1, 2), now);
    window.inside().last_states = LastStates::new(100);
    assert_ne!(published(&window, state(1, 1), now), first);
    window.inside().last_states = LastStates::new(100);
    let (third, _) = new(window.enter(state(1, 1), View::Complete, now));
    assert_ne!(third.id, first);
}
