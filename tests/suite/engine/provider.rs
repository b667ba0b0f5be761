//! What the provider may do to a call: whatever it is, a session's action is carried out once, and its outcome published once.

use std::time::Duration;

use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use paybridge::config::files::FileReader;
use paybridge::message::confirmation::v1::{Action, Outcome, RejectionReason, Result};
use paybridge::provider;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::{Fault, Faults, Session, SimulatorSettings};

use crate::support::bridge::Bridge;
use crate::support::engine_setup::{EngineSetup, PROJECT, await_metric, known_keys};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;

/// Confirmed at once, unless it is large; a call is given up fast.
const CONFIRM_AND_CANCEL: &str = r#"
call_timeout_ms = 700
default = "confirm"
[[confirmation.rules]]
name = "large"
when = 'session.operations.exists(o, o.amount.minor_units > 1000000)'
then = "cancel"
"#;

const OPERATIONS: [(Operation, i64); 2] = [(Operation::Confirm, 100), (Operation::Cancel, 2_000_000)];

/// The idempotency keys of the actions that came, in order.
fn keys(session: &Session) -> Vec<String> {
    session.received.iter().filter_map(|received| received.key.clone()).collect()
}

/// A fault of an action, how many times it is called in all, and the numbers of the keys that the provider sees.
fn faults() -> Vec<(&'static str, Fault, u32, &'static [u32])> {
    vec![
        ("lost_answer", Fault::LoseAnswer, 1, &[1]),
        ("lost_request", Fault::LoseRequest, 2, &[1]),
        ("failed_before", Fault::FailBefore, 2, &[1]),
        ("failed_after", Fault::FailAfter, 1, &[1]),
        ("burnt_key", Fault::BurnKey, 2, &[1, 2]),
        ("try_again", Fault::Refuse("provider_timeout"), 2, &[1, 2]),
        ("unknown_code", Fault::Refuse("code_of_later_days"), 2, &[1, 2]),
        ("garbage", Fault::Garbage, 1, &[1]),
        ("huge", Fault::Huge, 1, &[1]),
        ("drip", Fault::Drip, 1, &[1]),
        ("gzip", Fault::Gzip, 1, &[1]),
        ("mark", Fault::Mark, 1, &[1]),
        ("redirect", Fault::Redirect, 2, &[1]),
        ("too_many", Fault::TooMany("1"), 2, &[1]),
        ("unauthorized", Fault::Unauthorized, 2, &[1]),
        ("not_found", Fault::NotFound, 2, &[1]),
    ]
}

#[test]
fn whatever_becomes_of_a_call_its_action_is_carried_out_once() {
    let setup = EngineSetup::new(CONFIRM_AND_CANCEL);
    let engine = setup.engine();
    for (operation, cents) in OPERATIONS {
        for (name, fault, attempts, numbers) in faults() {
            let id = format!("ps_{name}_{}", operation.as_str());
            setup.provider.misbehave_at(operation, fault.clone(), 1);
            setup.ready(&id, Timestamp::now(), cents);
            let outcome = setup.await_outcome(&id);
            let session = setup.provider.session(&id).unwrap();
            assert_eq!(session.actions(), [operation], "{id}");
            let expected: Vec<String> =
                numbers.iter().map(|number| format!("{}:{id}:{number}", operation.as_str())).collect();
            assert_eq!(keys(&session), expected, "{id}");
            // A cancellation whose answer never came may have been somebody else's.
            let was_read = matches!(fault, Fault::Gzip | Fault::Mark);
            let told_by_status = operation == Operation::Cancel && attempts == 1 && !was_read;
            let result = if told_by_status { Result::AlreadyDone } else { Result::Accepted };
            assert_eq!((outcome.result(), outcome.verified), (result, true), "{id}");
            assert_eq!(outcome.attempts, attempts, "{id}");
        }
    }
    engine.stop().unwrap();
}

/// The first call has its effect when the engine has long given it up, asked, and called again.
#[test]
fn a_call_that_arrives_late_and_its_repetition_have_one_effect() {
    let setup = EngineSetup::new(CONFIRM_AND_CANCEL);
    let engine = setup.engine();
    for (operation, cents) in OPERATIONS {
        let id = format!("ps_late_{}", operation.as_str());
        setup.provider.misbehave_at(operation, Fault::Delay(Duration::from_millis(2500)), 1);
        setup.ready(&id, Timestamp::now(), cents);
        setup.await_outcome(&id);
        // Until the late one has come, too.
        let session = eventually(LIMIT, || match setup.provider.session(&id).unwrap() {
            session if keys(&session).len() >= 2 => Ok(session),
            session => Err(format!("{session:?}")),
        });
        assert_eq!(session.actions(), [operation], "{id}");
        assert!(keys(&session).iter().all(|key| *key == format!("{}:{id}:1", operation.as_str())), "{session:?}");
    }
    engine.stop().unwrap();
}

#[test]
fn only_a_listed_refusal_ends_a_session_and_it_is_told_in_the_providers_words() {
    let setup = EngineSetup::new(CONFIRM_AND_CANCEL);
    let engine = setup.engine();
    let codes = ["amount_less_allowed_provider", "bank_card_expired", "account_not_found", "3DS_error"];
    for code in codes {
        setup.provider.misbehave_at(Operation::Confirm, Fault::Refuse(code), 1);
        let id = format!("ps_{code}");
        setup.ready(&id, Timestamp::now(), 100);
        let outcome: Outcome = setup.await_outcome(&id);
        assert_eq!((outcome.result(), outcome.verified, outcome.attempts), (Result::Refused, true, 1), "{code}");
        assert_eq!((outcome.action(), outcome.refusal_code.as_str()), (Action::Confirm, code));
        assert_eq!(outcome.refusal_description, "said by the simulated provider");
        assert_eq!(setup.provider.session(&id).unwrap().actions(), []);
    }
    setup.decide("ps_3DS_error", Action::Cancel, "late");
    assert_eq!(setup.await_rejections(1), [("late".to_owned(), RejectionReason::AlreadyDecided)]);
    await_metric(&engine, "paybridge_confirmation_outcomes_total{action=\"confirm\",result=\"refused\"}", 4);
    await_metric(&engine, "paybridge_confirmation_calls_total{operation=\"confirm\",outcome=\"refused\"}", 4);
    engine.assert_fires_while_it_goes_on("PaybridgeSessionsRefused");
    engine.stop().unwrap();
}

/// As the provider's own examples have it: an HTTP status of 400 and a code, and nothing else.
#[test]
fn a_refusal_without_a_status_beside_it_ends_a_session_too() {
    let setup = EngineSetup::new(CONFIRM_AND_CANCEL);
    let engine = setup.engine();
    for (operation, cents) in OPERATIONS {
        let id = format!("ps_barely_{}", operation.as_str());
        setup.provider.misbehave_at(operation, Fault::RefuseBarely("bank_card_expired"), 1);
        setup.ready(&id, Timestamp::now(), cents);
        let outcome = setup.await_outcome(&id);
        assert_eq!((outcome.result(), outcome.verified, outcome.attempts), (Result::Refused, true, 1));
        assert_eq!(outcome.refusal_code, "bank_card_expired");
    }
    engine.stop().unwrap();
}

/// Every answer comes compressed: a gateway does so whatever is asked for.
#[test]
fn a_gateway_that_compresses_every_answer_keeps_no_session_from_its_end() {
    let settings = SimulatorSettings {
        faults: Faults { seed: 1, per_mille: vec![(500, Fault::Gzip), (500, Fault::Mark)] },
        ..SimulatorSettings::new(PROJECT, known_keys())
    };
    let setup = EngineSetup::with(Kafka::shared(), CONFIRM_AND_CANCEL, settings);
    setup.provider.refuse("ps_5", "account_not_found");
    let engine = setup.engine();
    for number in 0..10 {
        let id = format!("ps_{number}");
        setup.ready(&id, Timestamp::now(), 100);
        let expect = if number == 5 { Result::Refused } else { Result::Accepted };
        assert_eq!(setup.await_outcome(&id).result(), expect, "{id}");
    }
    engine.stop().unwrap();
}

/// Somebody used the engine's first key, and nobody knows what for.
#[test]
fn a_key_that_was_used_before_is_replaced_only_after_a_while() {
    let setup = EngineSetup::new(&format!("key_reuse_wait_s = 3\n{CONFIRM_AND_CANCEL}"));
    let engine = setup.engine();
    setup.provider.misbehave(Fault::BurnKey, 1);
    let status = call(&setup, &engine, Operation::Confirm, "ps_burnt", "confirm:ps_burnt:1");
    assert_eq!(status, 400);
    setup.ready("ps_burnt", Timestamp::now(), 100);
    let outcome = setup.await_outcome("ps_burnt");
    assert_eq!((outcome.result(), outcome.attempts), (Result::Accepted, 2));
    let session = setup.provider.session("ps_burnt").unwrap();
    assert_eq!(keys(&session), ["confirm:ps_burnt:1", "confirm:ps_burnt:1", "confirm:ps_burnt:2"]);
    let times: Vec<Timestamp> = session.received.iter().filter(|one| one.key.is_some()).map(|one| one.at).collect();
    let waited = times[2].duration_since(times[1]);
    assert!(waited >= SignedDuration::from_secs(3), "{waited}");
    assert_eq!(session.actions(), [Operation::Confirm]);
    engine.stop().unwrap();
}

/// Makes a call as the source would.
fn call(setup: &EngineSetup, client: &Bridge, operation: Operation, session_id: &str, key: &str) -> u16 {
    let section = &setup.config.sources.get("sg-main").unwrap().section;
    let provider = provider::find("smart-glocal").unwrap();
    let api = provider.session_api(section, &FileReader::new()).unwrap().unwrap();
    client.request(api.request(operation, session_id, Some(key)).map(Full::new)).status.as_u16()
}

#[test]
fn a_provider_that_asks_for_peace_gets_it() {
    let setup = EngineSetup::new(CONFIRM_AND_CANCEL);
    let engine = setup.engine();
    setup.provider.misbehave_at(Operation::Confirm, Fault::TooMany("4"), 1);
    setup.ready("ps_hurried", Timestamp::now(), 100);
    eventually(LIMIT, || if setup.provider.calls() > 0 { Ok(()) } else { Err("no call".to_owned()) });
    let refused_at = Timestamp::now();
    setup.await_outcome("ps_hurried");
    let session = setup.provider.session("ps_hurried").unwrap();
    let operations: Vec<Operation> = session.received.iter().map(|received| received.operation).collect();
    assert_eq!(operations, [Operation::Status, Operation::Confirm]);
    let waited = session.received[0].at.duration_since(refused_at);
    assert!(waited >= SignedDuration::from_millis(3800), "{waited}");
    assert_eq!(setup.provider.calls(), 3);
    engine.stop().unwrap();
}
