//! How the engine ends, in order or not: what is on its way is finished by it, or found out by whoever comes next.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use paybridge::message::confirmation::v1::{DeciderKind, Result};
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::{Fault, SimulatorSettings};

use crate::support::bridge::{create_needed_topics, ready_to_confirm};
use crate::support::daemon::Daemon;
use crate::support::engine_setup::{EngineSetup, PROJECT, await_metric, known_keys};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;

const ASSIGNED: &str = "paybridge_confirmation_assigned_partitions";

fn daemon(kafka: &'static Kafka, confirmation: &str) -> (EngineSetup, Daemon) {
    let (setup, text) = EngineSetup::for_process(kafka, confirmation, SimulatorSettings::new(PROJECT, known_keys()));
    create_needed_topics(kafka, &setup.config);
    let daemon = Daemon::run(&text);
    daemon.await_ready();
    (setup, daemon)
}

#[track_caller]
fn await_calls(setup: &EngineSetup, count: u64) {
    eventually(LIMIT, || match setup.provider.calls() {
        calls if calls >= count => Ok(()),
        calls => Err(format!("{calls} calls of {count}")),
    });
}

#[track_caller]
fn await_applied(setup: &EngineSetup, session_id: &str) {
    eventually(LIMIT, || match setup.provider.session(session_id) {
        Some(session) if !session.applied.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn operations(setup: &EngineSetup, session_id: &str) -> Vec<Operation> {
    let session = setup.provider.session(session_id).unwrap();
    session.received.iter().map(|received| received.operation).collect()
}

#[test]
fn sigterm_waits_for_the_calls_on_their_way_and_tells_what_came_of_them() {
    const CALLS: usize = 20;
    let (setup, mut daemon) = daemon(Kafka::shared(), "default = \"confirm\"");
    setup.provider.misbehave_at(Operation::Confirm, Fault::Hold, u32::try_from(CALLS).unwrap());
    let ids: Vec<String> = (0..CALLS).map(|number| format!("ps_{number}")).collect();
    for id in &ids {
        setup.ready(id, Timestamp::now(), 100);
    }
    await_calls(&setup, CALLS.try_into().unwrap());
    daemon.signal("TERM");
    eventually(LIMIT, || if daemon.log().contains("shutting down") { Ok(()) } else { Err(daemon.log()) });
    let began = Instant::now();
    setup.provider.release(CALLS);
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    assert!(began.elapsed() < Duration::from_secs(20), "the grace is 20 s");
    let outcomes = setup.await_outcomes(CALLS);
    for id in &ids {
        assert_eq!((outcomes[id].result(), outcomes[id].attempts), (Result::Accepted, 1), "{id}");
        assert_eq!(operations(&setup, id), [Operation::Confirm], "{id}");
    }
}

#[test]
fn a_call_that_nobody_answers_does_not_outlast_the_grace_and_the_next_engine_asks() {
    let (setup, mut daemon) = daemon(Kafka::shared(), "default = \"confirm\"\ncall_timeout_ms = 60000");
    setup.provider.misbehave_at(Operation::Confirm, Fault::Hold, 1);
    setup.ready("ps_held", Timestamp::now(), 100);
    await_calls(&setup, 1);
    let began = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    assert!(began.elapsed() < Duration::from_secs(22), "{:?}, and the grace is 20 s", began.elapsed());
    assert_eq!(setup.outcomes(), []);
    setup.provider.release(1);
    await_applied(&setup, "ps_held");
    daemon.start_again();
    let outcome = setup.await_outcome("ps_held");
    assert_eq!((outcome.result(), outcome.attempts), (Result::Accepted, 1));
    assert_eq!(operations(&setup, "ps_held"), [Operation::Confirm, Operation::Status]);
}

#[test]
fn a_crash_between_the_providers_answer_and_the_outcome_is_found_out_by_asking() {
    let (setup, mut daemon) = daemon(Kafka::shared(), "default = \"confirm\"");
    // The action has its effect; the answer does not come to its end.
    setup.provider.misbehave_at(Operation::Confirm, Fault::Drip, 1);
    setup.ready("ps_one", Timestamp::now(), 100);
    await_applied(&setup, "ps_one");
    daemon.signal("KILL");
    assert_eq!(daemon.await_end(), None);
    assert_eq!(setup.outcomes(), []);
    daemon.start_again();
    check_found_out(&setup, "ps_one");
}

/// The answer is there, and the transaction that would tell it is not committed.
#[test]
fn a_crash_in_the_outcomes_transaction_is_found_out_by_asking() {
    let kafka: &'static Kafka = Box::leak(Box::new(Kafka::start(&[])));
    let (setup, mut daemon) = daemon(kafka, "default = \"confirm\"");
    setup.provider.misbehave_at(Operation::Confirm, Fault::Hold, 1);
    setup.ready("ps_one", Timestamp::now(), 100);
    await_calls(&setup, 1);
    kafka.freeze();
    setup.provider.release(1);
    await_applied(&setup, "ps_one");
    let answered = "paybridge_confirmation_calls_total{operation=\"confirm\",outcome=\"ok\"} 1";
    let client = daemon.client();
    eventually(LIMIT, || match format!("{:?}", client.admin("/metrics")) {
        metrics if metrics.contains(&answered.replace('"', "\\\"")) => Ok(()),
        metrics => Err(metrics),
    });
    daemon.signal("KILL");
    assert_eq!(daemon.await_end(), None);
    kafka.thaw();
    daemon.start_again();
    check_found_out(&setup, "ps_one");
    kafka.kill_9();
}

#[track_caller]
fn check_found_out(setup: &EngineSetup, session_id: &str) {
    let outcome = setup.await_outcome(session_id);
    assert_eq!((outcome.result(), outcome.verified, outcome.attempts), (Result::Accepted, true, 1));
    assert_eq!(outcome.decided_by_kind(), DeciderKind::Default);
    let session = setup.provider.session(session_id).unwrap();
    assert_eq!(session.actions(), [Operation::Confirm]);
    assert_eq!(operations(setup, session_id), [Operation::Confirm, Operation::Status]);
    setup.await_outcomes(1);
}

#[test]
fn another_engine_takes_over_at_once_what_one_leaves_in_order() {
    let (setup, mut daemon) = daemon(Kafka::shared(), "default = \"confirm\"");
    let other = setup.engine_with(|config| config.bridge_instance = "other".to_owned());
    eventually(LIMIT, || match other.count(ASSIGNED) {
        1 | 2 => Ok(()),
        count => Err(format!("{count} partitions of 3")),
    });
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    let began = Instant::now();
    await_metric(&other, ASSIGNED, 3);
    // Far less than the 10 s of a session that dies.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    for number in 0..6 {
        setup.ready(&format!("ps_{number}"), Timestamp::now(), 100);
    }
    setup.await_outcomes(6);
    other.stop().unwrap();
}

#[test]
fn one_replica_takes_webhooks_and_another_decides() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine_with(|config| config.ingress.enabled = false);
    let ingress = setup.engine_with(|config| {
        config.confirmation.enabled = false;
        config.bridge_instance = "ingress".to_owned();
    });
    for number in 0..5 {
        let answered = ingress.post("sg-main", &ready_to_confirm(&ingress.config, number));
        assert_eq!(answered.status, 200, "{answered:?}");
    }
    let outcomes = setup.await_outcomes(5);
    assert!(outcomes.values().all(|outcome| outcome.result() == Result::Accepted), "{outcomes:?}");
    assert_eq!(ingress.count(ASSIGNED), 0);
    engine.stop().unwrap();
    ingress.stop().unwrap();
}
