//! What the provider says by itself: a session that finished, one that asks again, one that asks too late; and a dry run.

use jiff::Timestamp;
use paybridge::message::confirmation::v1::{Action, DeciderKind, Result};
use paybridge::message::smart_glocal::v1::{NextAction, SessionStatus};
use paybridge::provider::smart_glocal::api::{Operation, SessionView};
use prost::Message;

use crate::support::engine_setup::{EngineSetup, READY, ago, await_metric, ready_event, waiting_event};

const OPEN_AFTER_DONE: &str = "paybridge_confirmation_alerts_total{kind=\"open_after_done\"}";

/// The same session asks again: another event.
fn asks_again(setup: &EngineSetup, session_id: &str, marker: &str) {
    let event = ready_event(session_id, marker, Timestamp::now(), 100);
    setup.write(READY, session_id, &event.encode_to_vec());
}

#[test]
fn an_open_session_that_finishes_by_itself_is_superseded_and_an_error_is_no_end() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    for id in ["ps_accepted", "ps_cancelled", "ps_error"] {
        setup.ready(id, Timestamp::now(), 100);
        setup.await_entries(id, 1);
    }
    setup.finished("ps_error", SessionStatus::Error);
    setup.finished("ps_accepted", SessionStatus::Accepted);
    setup.finished("ps_cancelled", SessionStatus::Cancelled);
    // Never opened, never told.
    setup.finished("ps_nobody", SessionStatus::Accepted);
    let outcomes = setup.await_outcomes(2);
    for id in ["ps_accepted", "ps_cancelled"] {
        let outcome = &outcomes[id];
        assert_eq!((outcome.result(), outcome.verified), (Result::Superseded, true), "{id}");
        assert_eq!((outcome.decided_by_kind(), outcome.attempts), (DeciderKind::Provider, 0), "{id}");
    }
    setup.decide("ps_error", Action::Cancel, "after the error");
    assert_eq!(setup.await_outcome("ps_error").result(), Result::Accepted);
    assert_eq!(setup.provider.calls(), 1, "{:?}", setup.provider.sessions());
    await_metric(&engine, "paybridge_confirmation_open_sessions", 0);
    engine.stop().unwrap();
}

#[test]
fn a_session_that_asks_again_after_its_end_is_asked_about_and_nothing_more() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine();
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.await_outcome("ps_one");
    // The same event once more: not even asked about.
    setup.ready("ps_one", Timestamp::now(), 100);
    await_metric(&engine, "paybridge_confirmation_lag_records", 0);
    assert_eq!(setup.provider.calls(), 1);
    let received = |operation| {
        let calls = setup.provider.session("ps_one").unwrap().received;
        calls.iter().filter(|received| received.operation == operation).count()
    };
    asks_again(&setup, "ps_one", "settled");
    let ok = "paybridge_confirmation_calls_total{operation=\"status\",outcome=\"ok\"}";
    await_metric(&engine, ok, 1);
    setup.provider.open("ps_one", SessionView { status: SessionStatus::InProgress, next_action: NextAction::Confirm });
    asks_again(&setup, "ps_one", "open");
    await_metric(&engine, ok, 2);
    await_metric(&engine, OPEN_AFTER_DONE, 1);
    engine.assert_fires("PaybridgeOpenAfterDone");
    assert_eq!((received(Operation::Confirm), received(Operation::Cancel)), (1, 0));
    assert_eq!(setup.await_outcomes(1).len(), 1);
    engine.stop().unwrap();
}

#[test]
fn an_event_older_than_the_memory_opens_nothing_and_is_counted() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    let memory = 86_400 + 14_400;
    setup
        .provider
        .open("ps_old", SessionView { status: SessionStatus::Accepted, next_action: NextAction::Unspecified });
    setup.ready("ps_old", ago(memory + 60), 100);
    await_metric(&engine, "paybridge_confirmation_alerts_total{kind=\"too_old\"}", 1);
    setup.await_forgotten("ps_old");
    // The provider's word beats its age.
    setup.ready("ps_waits", ago(memory + 60), 100);
    setup.decide("ps_waits", Action::Confirm, "after all");
    let outcomes = setup.await_outcomes(1);
    assert_eq!(
        (outcomes["ps_waits"].result(), outcomes["ps_waits"].decision_id.as_str()),
        (Result::Accepted, "after all")
    );
    assert_eq!(setup.provider.session("ps_old").unwrap().actions(), []);
    await_metric(&engine, "paybridge_confirmation_open_sessions", 0);
    engine.stop().unwrap();
}

#[test]
fn an_event_that_comes_again_opens_nothing_again() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.ready("ps_one", Timestamp::now(), 100);
    asks_again(&setup, "ps_one", "another");
    setup.await_entries("ps_one", 1);
    setup.decide("ps_one", Action::Confirm, "one");
    let outcome = setup.await_outcome("ps_one");
    assert_eq!(outcome.ready_event_id, waiting_event("ps_one", Timestamp::now(), 100).metadata.unwrap().event_id);
    assert_eq!(setup.provider.session("ps_one").unwrap().actions(), [Operation::Confirm]);
    assert_eq!(engine.count("paybridge_confirmation_held_total{reason=\"no_rule\"}"), 1);
    engine.stop().unwrap();
}

#[test]
fn a_dry_run_decides_and_tells_and_calls_nobody() {
    let setup = EngineSetup::new(
        "dry_run = true\n[[confirmation.rules]]\nname = \"small\"\nthen = \"confirm\"\n\
         when = 'session.operations.all(o, o.amount.minor_units >= 1 && o.amount.minor_units <= 500)'\n",
    );
    let engine = setup.engine();
    setup.ready("ps_ruled", Timestamp::now(), 100);
    setup.ready("ps_decided", Timestamp::now(), 600);
    setup.ready("ps_late", ago(14_400 - 1000), 600);
    setup.ready("ps_over", ago(14_400 + 60), 100);
    setup.decide("ps_decided", Action::Cancel, "by hand");
    let outcomes = setup.await_outcomes(4);
    for (id, kind, action) in [
        ("ps_ruled", DeciderKind::Rule, Action::Confirm),
        ("ps_decided", DeciderKind::Decision, Action::Cancel),
        ("ps_late", DeciderKind::Deadline, Action::Cancel),
        ("ps_over", DeciderKind::Deadline, Action::Cancel),
    ] {
        let outcome = &outcomes[id];
        assert_eq!((outcome.result(), outcome.dry_run, outcome.verified), (Result::DryRun, true, false), "{id}");
        assert_eq!((outcome.decided_by_kind(), outcome.action(), outcome.attempts), (kind, action, 0), "{id}");
    }
    asks_again(&setup, "ps_ruled", "another");
    let behind = setup.sessions_of(setup.partition_of("ps_ruled")).next().unwrap();
    setup.ready(&behind, Timestamp::now(), 100);
    setup.await_outcomes(5);
    assert_eq!(setup.provider.calls(), 0);
    assert_eq!(engine.count(OPEN_AFTER_DONE), 0);
    await_metric(&engine, "paybridge_confirmation_outcomes_total{action=\"cancel\",result=\"dry_run\"}", 3);
    engine.stop().unwrap();
}
