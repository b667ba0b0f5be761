//! Tests of the memory of ended sessions: as a list would have it, in at most 128 bytes each.

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
fn an_empty_decision_id_is_nobodys() {
    let mut ended = EndedSessions::default();
    ended.insert(&numbered(1), &done(0, "r", ""));
    let found = ended.find(&numbered(1)).unwrap();
    assert!(!found.is_decision("") && !found.is_decision("d"));
    assert!(found.is_ready_event("r") && !found.is_ready_event("R"));
}

#[test]
fn nothing_is_forgotten_early() {
    let mut ended = EndedSessions::default();
    ended.insert(&numbered(1), &done(1_500, "r", ""));
    for (before_ms, expected) in [(1_499, 0), (1_500, 0), (1_501, 1)] {
        let before = Timestamp::from_millisecond(before_ms).unwrap();
        assert_eq!(ended.expired(before, 9).len(), expected, "{before_ms}");
    }
}

/// Bytes that are held: an id's allocation has two counters before its 16 bytes.
fn bytes(ended: &EndedSessions) -> usize {
    let queue = ended.queue.capacity() * size_of::<Option<EndedEntry>>();
    queue + ended.index.allocation_size() + ended.index.len() * (2 * size_of::<usize>() + 16)
}

/// At every size, just after the index grew above all; and on the way back down.
#[test]
fn each_takes_at_most_128_bytes_whether_they_grow_or_shrink() {
    const SMALL_CHANGE: usize = 4 * 1024; // room of a queue that has few
    let sessions = 200_000;
    let mut ended = EndedSessions::default();
    let (mut most, mut sum) = (0, 0);
    let mut check = |ended: &EndedSessions| {
        let (known, bytes) = (ended.index.len(), bytes(ended));
        assert!(bytes <= 128 * known + SMALL_CHANGE, "{known} take {bytes}");
        if known >= 10_000 {
            most = most.max(bytes / known);
            sum += bytes / known;
        }
    };
    for number in 0..sessions {
        ended.insert(&numbered(number), &done(0, "r", "d"));
        check(&ended);
    }
    for number in 0..sessions {
        assert!(ended.remove(&numbered(number)));
        check(&ended);
    }
    println!("{} bytes each on average and at most {most}, from 10,000 on", sum / (2 * (sessions - 10_000)));
    assert!(ended.is_empty() && bytes(&ended) < SMALL_CHANGE);
}

/// There are a million sessions and a few sources.
#[test]
fn sessions_of_a_source_share_its_name() {
    let mut ended = EndedSessions::default();
    for number in 0..2 {
        ended.insert(&numbered(number), &done(0, "r", ""));
    }
    let [one, other] = ended.queue.make_contiguous() else { panic!("there are two") };
    assert!(Arc::ptr_eq(&one.as_ref().unwrap().key.source, &other.as_ref().unwrap().key.source));
}

#[derive(Clone, Debug)]
enum QueueChange {
    Insert(SessionKey, Done),
    Remove(SessionKey),
    Expire(usize),
}

fn key() -> impl Strategy<Value = SessionKey> {
    (0..3_u8, 0..40_u8).prop_map(|(source, id)| session(&format!("s{source}"), &format!("ps_{id}")))
}

fn change() -> impl Strategy<Value = QueueChange> {
    let result = (1..=6_i32).prop_map(|number| v1::Result::try_from(number).unwrap());
    let done = (0..100_i64, result, "[ab]", "[cd]?").prop_map(|(second, result, ready_event_id, decision_id)| Done {
        done_at: Timestamp::from_second(second).unwrap(),
        result,
        ready_event_id,
        decision_id,
    });
    prop_oneof![
        6 => (key(), done).prop_map(|(key, done)| QueueChange::Insert(key, done)),
        2 => key().prop_map(QueueChange::Remove),
        1 => (0..9_usize).prop_map(QueueChange::Expire),
    ]
}

proptest! {
    #[test]
    fn it_knows_what_a_list_would(changes in vec(change(), 0..400), before in 0..100_i64) {
        let before = Timestamp::from_second(before).unwrap();
        let mut ended = EndedSessions::default();
        let mut list: VecDeque<(SessionKey, Done)> = VecDeque::new();
        for change in changes {
            match change {
                QueueChange::Insert(key, done) => {
                    ended.insert(&key, &done);
                    list.retain(|(known, _)| *known != key);
                    list.push_back((key, done));
                }
                QueueChange::Remove(key) => {
                    let known = list.iter().any(|(known, _)| *known == key);
                    prop_assert_eq!(ended.remove(&key), known);
                    list.retain(|(known, _)| *known != key);
                }
                QueueChange::Expire(max) => {
                    let old = list.iter().take_while(|(_, done)| done.done_at < before).take(max);
                    let expected: Vec<SessionKey> = old.map(|(key, _)| key.clone()).collect();
                    prop_assert_eq!(&ended.expired(before, max), &expected);
                    for key in &expected {
                        prop_assert!(ended.remove(key));
                    }
                    list.drain(..expected.len());
                }
            }
            prop_assert_eq!(ended.index.len(), list.len());
        }
        for (key, done) in &list {
            let found = ended.find(key).unwrap();
            prop_assert_eq!((found.result(), found.done_at()), (done.result, done.done_at));
            prop_assert!(found.is_ready_event(&done.ready_event_id) && !found.is_ready_event("x"));
            prop_assert_eq!(found.is_decision(&done.decision_id), !done.decision_id.is_empty());
        }
    }
}
