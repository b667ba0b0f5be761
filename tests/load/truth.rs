//! Whether the generator can be believed: tests of what measures, without Kafka.
//! Must not know the daemon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::answer::Answer;
use crate::generator::{AtEnd, Load, Outcome, drive};
use crate::pace::Pace;
use crate::prepared::PreparedRequests;
use crate::setup::complaints;
use crate::subject::{Running, Setting, Subject};
use crate::webhooks::{Kind, Size, Webhooks};

/// Webhooks in an prepared.
const WEBHOOKS: u64 = 100;
/// The echo is frozen so long.
const FREEZE: Duration = Duration::from_millis(600);

/// Every such test.
pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("answers_end_where_they_say", answers_end_where_they_say),
        Trial::test("a_frozen_server_is_seen_in_every_request_that_was_due", frozen_server),
        Trial::test("a_row_that_must_not_begin_again_ends_the_measurement", row_ends),
    ]
}

fn answers_end_where_they_say() -> Result<(), Failed> {
    let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"status\":\"accepted\"}";
    for end in 0..whole.len() {
        assert_eq!(Answer::parse(&whole[..end])?, None, "{end}");
    }
    let answer = Answer::parse(whole)?.unwrap();
    assert_eq!((answer.code, &whole[answer.word], answer.bytes), (200, b"accepted".as_slice(), whole.len()));
    let other = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}HTTP";
    let answer = Answer::parse(other)?.unwrap();
    assert_eq!((answer.code, answer.word.len(), answer.bytes), (503, 0, other.len() - 4));
    assert!(Answer::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    assert!(Answer::parse(b"SMTP").is_err());
    Ok(())
}

/// Of requests that are due at even distances, all that fell into the freeze waited for its end, and not only the few that
/// were on their way when it began.
fn frozen_server() -> Result<(), Failed> {
    let (running, load) = echo(Pace::Open(200.0), AtEnd::Again);
    let outcome = thread::scope(|scope| {
        let driving = scope.spawn(|| drive(&load, &|| 0.0));
        thread::sleep(load.warm_up + Duration::from_millis(200));
        running.process.signal("STOP");
        thread::sleep(FREEZE);
        running.process.signal("CONT");
        driving.join().unwrap()
    });
    let latency = &outcome.counts.latency;
    let waited = latency.count_between(200_000, u64::MAX);
    // 120 were due while it was frozen; those of the first 400 ms of it waited for 200 ms and more
    if waited < 70 {
        return Err(format!("{waited} of {} waited", latency.len()).into());
    }
    complete(&outcome)
}

fn row_ends() -> Result<(), Failed> {
    let (_running, load) = echo(Pace::Closed, AtEnd::Stop);
    let outcome = drive(&load, &|| 0.0);
    let answers = outcome.counts.all_answers();
    if !outcome.counts.ran_out || answers != WEBHOOKS {
        return Err(format!("{answers} answers").into());
    }
    complete(&outcome)
}

/// Everything was sent, and answered well.
fn complete(outcome: &Outcome) -> Result<(), Failed> {
    let complaints = complaints(Subject::Echo, outcome, 0);
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("; ").into()) }
}

/// An echo, and a load for it.
fn echo(pace: Pace, at_end: AtEnd) -> (Running, Load) {
    let kind = Kind::of("unipaas");
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9)).to_string();
    let setting = Setting { bootstrap: nowhere, nodes: 1, kind, sources: 1, linger_ms: 1, certificate: None };
    let running = Subject::Echo.start(&setting);
    let load = Load {
        address: running.address,
        connections: 4,
        pace,
        warm_up: Duration::from_millis(200),
        measure: Duration::from_millis(1200),
        prepared: Arc::new(PreparedRequests::open(&Webhooks::new(kind, Size::Bytes(300), 1), WEBHOOKS, WEBHOOKS)),
        at_end,
    };
    (running, load)
}
