//! Tests of the memory of ended sessions: as a map would have it, in 48 bytes each.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn session(source: &str, id: &str) -> SessionKey {
    SessionKey { source: source.into(), session_id: id.into() }
}

fn done(done_at_ms: i64, ready: &str, decision: &str) -> Done {
    Done {
        done_at: Timestamp::from_millisecond(done_at_ms).unwrap(),
        result: v1::Result::Refused,
        ready_event_id: ready.to_owned(),
        decision_id: decision.to_owned(),
    }
}

/// Sixteen bytes.
fn numbered(number: usize) -> SessionKey {
    session("sg-main", &format!("ps_{number:013}"))
}

#[test]
fn refuses_an_id_that_no_input_takes() {
    let mut ended = EndedSessions::default();
    let too_long = session("s", &"x".repeat(256));
    assert_eq!(ended.insert(&too_long, &done(0, "r", "")), Err(EndedError::SessionIdTooLong));
    assert!(ended.find(&too_long).is_none() && ended.is_empty());
    let long = session("s", &"x".repeat(255));
    ended.insert(&long, &done(0, "r", "")).unwrap();
    assert!(ended.find(&long).is_some());
}

#[test]
fn an_empty_decision_id_is_nobodys() {
    let mut ended = EndedSessions::default();
    ended.insert(&numbered(1), &done(0, "r", "")).unwrap();
    let facts = ended.find(&numbered(1)).unwrap();
    assert!(!facts.is_decision("") && !facts.is_decision("d"));
    assert!(facts.is_ready_event("r") && !facts.is_ready_event("R"));
}

#[test]
fn nothing_is_forgotten_early() {
    let mut ended = EndedSessions::default();
    ended.insert(&numbered(1), &done(1_500, "r", "")).unwrap();
    assert_eq!(ended.find(&numbered(1)).unwrap().done_at, Timestamp::from_second(2).unwrap());
    for (before_ms, expected) in [(1_999, 0), (2_000, 0), (2_999, 0), (3_000, 1)] {
        let before = Timestamp::from_millisecond(before_ms).unwrap();
        assert_eq!(ended.expired(before, 9).len(), expected, "{before_ms}");
    }
}

/// At every size, just after the index grew above all; and on the way back down.
#[test]
fn each_takes_at_most_48_bytes_whether_they_grow_or_shrink() {
    const SMALL_CHANGE: usize = 12 * 1024; // a first and a last block that are not full, and an empty list
    let sessions = 300_000;
    let mut ended = EndedSessions::default();
    let mut most_each = 0;
    for number in 0..sessions {
        ended.insert(&numbered(number), &done(0, "r", "d")).unwrap();
        assert!(ended.bytes() <= 48 * ended.len() + SMALL_CHANGE, "{} take {}", ended.len(), ended.bytes());
        if ended.len() >= 10_000 {
            most_each = most_each.max(ended.bytes() * 100 / ended.len());
        }
    }
    for number in 0..sessions {
        assert!(ended.remove(&numbered(number)));
        assert!(ended.bytes() <= 48 * ended.len() + SMALL_CHANGE, "{} take {}", ended.len(), ended.bytes());
        if ended.len() >= 10_000 {
            most_each = most_each.max(ended.bytes() * 100 / ended.len());
        }
    }
    println!("at most {most_each} hundredths of a byte each, from 10,000 on");
    assert!(most_each <= 4_800, "{most_each}");
    assert!(ended.is_empty() && ended.bytes() < SMALL_CHANGE);
}

/// Places begin anew after 4 GiB: the oldest and the newest blocks of a long life are on both sides of that.
#[test]
fn places_may_wrap() {
    let mut ended = EndedSessions { arena: Arena::that_begins_at(u32::MAX - 4095), ..EndedSessions::default() };
    for number in 0..1_000 {
        ended.insert(&numbered(number), &done(0, "r", "d")).unwrap();
    }
    assert!((0..1_000).all(|number| ended.find(&numbered(number)).is_some()));
    assert!((0..1_000).all(|number| ended.remove(&numbered(number))));
    assert!(ended.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Insert(SessionKey, Done),
    Remove(SessionKey),
    Expire(usize),
}

fn key() -> impl Strategy<Value = SessionKey> {
    (0..3_u8, 0..40_u8).prop_map(|(source, id)| session(&format!("s{source}"), &format!("ps_{id}")))
}

fn step() -> impl Strategy<Value = Step> {
    let result = (1..=6_i32).prop_map(|number| v1::Result::try_from(number).unwrap());
    let done = (0..100_i64, result, "[ab]", "[cd]?").prop_map(|(second, result, ready_event_id, decision_id)| Done {
        done_at: Timestamp::from_second(second).unwrap(),
        result,
        ready_event_id,
        decision_id,
    });
    prop_oneof![
        6 => (key(), done).prop_map(|(key, done)| Step::Insert(key, done)),
        2 => key().prop_map(Step::Remove),
        1 => (0..9_usize).prop_map(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn it_knows_what_a_list_would(steps in vec(step(), 0..400), before in 0..100_i64) {
        let before = Timestamp::from_second(before).unwrap();
        let mut ended = EndedSessions::default();
        let mut list: VecDeque<(SessionKey, Done)> = VecDeque::new();
        for step in steps {
            match step {
                Step::Insert(key, done) => {
                    ended.insert(&key, &done).unwrap();
                    list.retain(|(known, _)| *known != key);
                    list.push_back((key, done));
                }
                Step::Remove(key) => {
                    let known = list.iter().any(|(known, _)| *known == key);
                    prop_assert_eq!(ended.remove(&key), known);
                    list.retain(|(known, _)| *known != key);
                }
                Step::Expire(max) => {
                    let old = list.iter().take_while(|(_, done)| done.done_at < before).take(max);
                    let expected: Vec<SessionKey> = old.map(|(key, _)| key.clone()).collect();
                    prop_assert_eq!(&ended.expired(before, max), &expected);
                    for key in &expected {
                        prop_assert!(ended.remove(key));
                    }
                    list.drain(..expected.len());
                }
            }
            prop_assert_eq!(ended.len(), list.len());
        }
        for (key, done) in &list {
            let facts = ended.find(key).unwrap();
            prop_assert_eq!((facts.result, facts.done_at), (done.result, done.done_at));
            prop_assert!(facts.is_ready_event(&done.ready_event_id) && !facts.is_ready_event("x"));
            prop_assert_eq!(facts.is_decision(&done.decision_id), !done.decision_id.is_empty());
        }
    }
}
