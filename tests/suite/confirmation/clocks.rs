//! Clocks that are wrong, of an ingress replica and of the engine: no session is decided by one, and none is lost.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paybridge::message::confirmation::v1::{Action, DeciderKind, Result};
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::Settings;

use super::stage::{LIMIT, PROJECT, Stage, known_keys, ready_body};
use crate::bridge::{create_needed_topics, sender};
use crate::eventually::eventually;
use crate::kafka::Kafka;
use crate::process::daemon::{Daemon, Exchange};
use crate::shifted_clock::ShiftedClock;

const RULES: &str = r#"
[[confirmation.rules]]
name = "small"
when = 'session.operations.all(o, o.amount.minor_units >= 1 && o.amount.minor_units <= 500)'
then = "confirm"
"#;
const RIGHT: SignedDuration = SignedDuration::ZERO;
const TRUSTED: &str = "paybridge_clock_trusted{part=\"engine\"}";

/// A stage, its topics made, and the text of a configuration file for a process on it.
fn stage() -> (Stage, String) {
    let kafka = Kafka::shared();
    let (stage, text) = Stage::for_process(kafka, RULES, Settings::new(PROJECT, known_keys()));
    create_needed_topics(kafka, &stage.config);
    (stage, text)
}

#[track_caller]
fn await_trust(daemon: &Daemon, trusted: &str) {
    let client = daemon.client();
    let line = format!("{TRUSTED} {trusted}");
    eventually(LIMIT + Duration::from_secs(30), || match client.admin("/metrics") {
        Exchange::Answered(answered) if answered.text.lines().any(|shown| shown == line) => Ok(()),
        other => Err(format!("no {line}: {}\n{}", matches!(other, Exchange::Answered(_)), daemon.log())),
    });
}

/// Its `received_at` would put the window's end into the past.
#[test]
fn an_ingress_replica_four_hours_behind_cancels_nothing() {
    let (stage, text) = stage();
    let ingress = text.replace("[confirmation]\nenabled = true", "[confirmation]\nenabled = false");
    assert_ne!(ingress, text);
    let daemon = Daemon::run_with_clock(&ingress, ShiftedClock::by(SignedDuration::from_hours(-4)));
    daemon.await_ready();
    let engine = stage.engine();
    let sender = sender(&daemon.config, "sg-main");
    for id in ["ps_1", "ps_2", "ps_3"] {
        let body = ready_body(id, "ready", Timestamp::now(), 100).to_string();
        let answer = daemon.client().post("sg-main", &sender.sign("", body.into(), Timestamp::now(), 0));
        assert!(matches!(&answer, Exchange::Answered(answered) if answered.status == 200), "{answer:?}");
    }
    for (id, outcome) in stage.await_outcomes(3) {
        assert_eq!((outcome.result(), outcome.decided_by_kind()), (Result::Accepted, DeciderKind::Rule), "{id}");
        assert_eq!(stage.provider.session(&id).unwrap().actions(), [Operation::Confirm], "{id}");
        assert!(outcome.remaining_seconds > 14_000, "{id}: {}", outcome.remaining_seconds);
    }
    engine.stop().unwrap();
}

/// With an existing ledger, in which a session has ended: it is neither forgotten nor decided again.
#[test]
fn an_engine_whose_clock_is_wrong_at_the_start_decides_nothing_and_loses_nothing() {
    let (stage, text) = stage();
    let engine = stage.engine();
    stage.ready("ps_ended", Timestamp::now(), 100);
    stage.await_outcome("ps_ended");
    engine.stop().unwrap();

    for (round, hours) in [25, 5, -30].into_iter().enumerate() {
        let daemon = Daemon::run_with_clock(&text, ShiftedClock::by(SignedDuration::from_hours(hours)));
        daemon.await_ready();
        await_trust(&daemon, "0");
        let (ruled, held) = (format!("ps_ruled_{round}"), format!("ps_held_{round}"));
        stage.ready(&ruled, Timestamp::now(), 100);
        stage.ready(&held, Timestamp::now(), 600);
        stage.ready("ps_ended", Timestamp::now(), 100);
        stage.await_entries(&ruled, 1);
        stage.await_entries(&held, 1);
        assert_eq!(stage.outcomes().len(), 1 + 2 * round, "{hours} h");
        eventually(LIMIT, || {
            let log = daemon.log();
            let is_named = log.contains("clock is not trusted") && log.contains(&ruled) && log.contains(&held);
            is_named.then_some(()).ok_or(format!("the log names no sessions: {log}"))
        });
        assert!(stage.provider.session(&ruled).is_none_or(|session| session.actions().is_empty()), "{hours} h");
        daemon.shift_clock(RIGHT);
        await_trust(&daemon, "1");
        assert_eq!(stage.await_outcome(&ruled).decided_by_kind(), DeciderKind::Rule, "{hours} h");
        stage.decide(&held, Action::Cancel, "by hand");
        assert_eq!(stage.await_outcome(&held).decision_id, "by hand", "{hours} h");
        stage.await_outcomes(3 + 2 * round);
    }
    assert_eq!(stage.provider.session("ps_ended").unwrap().actions(), [Operation::Confirm]);
}

/// Its window would be over by the clock, or its memory.
#[test]
fn an_engine_whose_clock_is_set_while_it_runs_decides_nothing_by_it() {
    let (stage, text) = stage();
    let daemon = Daemon::run_with_clock(&text, ShiftedClock::by(RIGHT));
    daemon.await_ready();
    stage.ready("ps_waits", Timestamp::now(), 600);
    stage.await_entries("ps_waits", 1);
    for (round, hours) in [5, -3, 25].into_iter().enumerate() {
        daemon.shift_clock(SignedDuration::from_hours(hours));
        await_trust(&daemon, "0");
        let fresh = format!("ps_fresh_{round}");
        stage.ready(&fresh, Timestamp::now(), 100);
        stage.await_entries(&fresh, 1);
        assert_eq!(stage.outcomes().len(), round, "{hours} h");
        daemon.shift_clock(RIGHT);
        await_trust(&daemon, "1");
        assert_eq!(stage.await_outcome(&fresh).decided_by_kind(), DeciderKind::Rule, "{hours} h");
    }
    stage.decide("ps_waits", Action::Confirm, "in time");
    assert_eq!(stage.await_outcome("ps_waits").decision_id, "in time");
    stage.await_outcomes(4);
}
