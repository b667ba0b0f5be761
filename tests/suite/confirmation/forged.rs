//! Events that somebody else than the ingress wrote, or that cannot be verified: no topic is believed.

use jiff::Timestamp;
use paybridge::message::confirmation::v1::{DeciderKind, Result};
use paybridge::message::event::v1::QuarantineReason;
use paybridge::message::smart_glocal::v1::{NextAction, ReadyToConfirm, SessionStatus};
use paybridge::provider::smart_glocal::api::{Operation, Sight};
use prost::Message;
use serde_json::{Map, Value};

use super::stage::{FINISHED, READY, Stage, ago, await_metric, finished_event, ready_body, waiting_event};

/// 5.00 and less is confirmed, all else waits.
const RULES: &str = r#"
[[confirmation.rules]]
name = "small"
when = 'session.operations.all(o, o.amount.minor_units >= 1 && o.amount.minor_units <= 500)'
then = "confirm"
"#;
const LARGE: i64 = 99_999_900;

fn spoilt(session_id: &str, cents: i64, spoil: impl FnOnce(&mut ReadyToConfirm)) -> Vec<u8> {
    let mut event = waiting_event(session_id, Timestamp::now(), cents);
    spoil(&mut event);
    event.encode_to_vec()
}

/// Its evidence for a moment.
fn evidence(event: &mut ReadyToConfirm) -> &mut paybridge::message::event::v1::Evidence {
    event.metadata.as_mut().unwrap().evidence.as_mut().unwrap()
}

/// What `session/status` shows of a session beside where it stands.
fn fields(session_id: &str, since: Timestamp, cents: i64) -> Map<String, Value> {
    let mut body = ready_body(session_id, "ready", since, cents);
    let Value::Object(fields) = body["session"].take() else { panic!("a session is an object") };
    fields
}

#[test]
fn the_rules_see_the_amount_that_the_provider_signed() {
    let stage = Stage::set(RULES);
    let engine = stage.engine();
    let forged = spoilt("ps_large", LARGE, |event| {
        event.session.as_mut().unwrap().operations[0].amount.as_mut().unwrap().minor_units = 100;
        event.session.as_mut().unwrap().updated_at = None;
    });
    stage.write(READY, "ps_large", &forged);
    await_metric(&engine, "paybridge_confirmation_held_total{reason=\"no_rule\"}", 1);
    let small = spoilt("ps_small", 100, |event| event.session.as_mut().unwrap().operations.clear());
    stage.write(READY, "ps_small", &small);
    let outcome = stage.await_outcome("ps_small");
    assert_eq!((outcome.result(), outcome.operations.len()), (Result::Accepted, 1));
    assert_eq!(stage.outcomes().len(), 1);
    assert!(stage.provider.session("ps_large").is_none());
    engine.stop().unwrap();
}

#[test]
fn an_event_whose_evidence_contradicts_it_opens_and_ends_nothing_and_somebody_is_paged() {
    let stage = Stage::set(RULES);
    let engine = stage.engine();
    let signed_for_other = |id: &str| {
        spoilt(id, 100, |event| {
            let body = ready_body("ps_other", "ready", Timestamp::now(), 100).to_string();
            evidence(event).raw_body = Some(body.into_bytes().into());
        })
    };
    stage.write(READY, "ps_1", &signed_for_other("ps_1"));
    // An authentic event under another session's id, and one of another type.
    let borrowed = spoilt("ps_large", LARGE, |event| {
        let metadata = event.metadata.as_mut().unwrap();
        let mut other = waiting_event("ps_small", Timestamp::now(), 100);
        metadata.evidence = other.metadata.as_mut().unwrap().evidence.take();
    });
    stage.write(READY, "ps_large", &borrowed);
    let finished = finished_event("ps_2", SessionStatus::Accepted);
    let of_other_type = spoilt("ps_2", 100, |event| event.metadata = finished.metadata.clone());
    stage.write(READY, "ps_2", &of_other_type);

    stage.ready("ps_waits", Timestamp::now(), LARGE);
    stage.await_entries("ps_waits", 1);
    let mut ended = finished_event("ps_waits", SessionStatus::Cancelled);
    ended.metadata.as_mut().unwrap().evidence.as_mut().unwrap().headers.clear();
    stage.write(FINISHED, "ps_waits", &ended.encode_to_vec());
    let quarantined = stage.await_quarantined(4);
    for record in &quarantined {
        assert_eq!(record.reason(), QuarantineReason::EvidenceDoesNotVerify, "{}", record.detail);
    }
    await_metric(&engine, "paybridge_confirmation_quarantined_total{reason=\"evidence_does_not_verify\"}", 4);
    await_metric(&engine, "paybridge_confirmation_open_sessions", 1);
    assert_eq!((stage.outcomes().len(), stage.provider.calls()), (0, 0));
    engine.stop().unwrap();
}

/// As with `evidence.keep = "hash-only"`, and as behind a backlog after a key was taken out of the configuration.
#[test]
fn an_event_that_cannot_be_verified_goes_by_the_providers_word() {
    let stage = Stage::set(RULES);
    let engine = stage.engine();
    let since = ago(60);
    stage.provider.describe("ps_small", fields("ps_small", since, 100));
    stage.provider.describe("ps_large", fields("ps_large", since, LARGE));
    let without_body = |id: &str| spoilt(id, 100, |event| evidence(event).raw_body = None);
    stage.write(READY, "ps_small", &without_body("ps_small"));
    stage.write(READY, "ps_large", &without_body("ps_large"));
    stage.write(READY, "ps_bare", &without_body("ps_bare"));
    let outcome = stage.await_outcome("ps_small");
    assert_eq!((outcome.result(), outcome.decided_by_kind()), (Result::Accepted, DeciderKind::Rule));
    assert_eq!(outcome.operations.len(), 1);
    await_metric(&engine, "paybridge_confirmation_held_total{reason=\"no_rule\"}", 1);
    // Of this one the provider tells no operation.
    await_metric(&engine, "paybridge_confirmation_held_total{reason=\"not_evaluated\"}", 1);
    for id in ["ps_large", "ps_bare"] {
        assert_eq!(stage.provider.session(id).unwrap().actions(), [], "{id}");
    }

    let gone = spoilt("ps_gone", 100, |event| {
        let evidence = evidence(event);
        evidence.key_id = "0011223344556677".to_owned();
        evidence.headers.clear();
    });
    stage.provider.open("ps_gone", Sight { status: SessionStatus::Accepted, next_action: NextAction::Unspecified });
    stage.provider.describe("ps_gone", fields("ps_gone", since, 100));
    stage.write(READY, "ps_gone", &gone);
    assert_eq!(stage.await_outcome("ps_gone").result(), Result::Superseded);

    // An end that cannot be verified is asked about, and is none while the provider waits.
    let unverified = |status: SessionStatus| {
        let mut event = finished_event("ps_large", status);
        event.metadata.as_mut().unwrap().evidence.as_mut().unwrap().raw_body = None;
        event.encode_to_vec()
    };
    let asked = || {
        let received = stage.provider.session("ps_large").unwrap().received;
        received.iter().filter(|received| received.operation == Operation::Status).count()
    };
    stage.write(FINISHED, "ps_large", &unverified(SessionStatus::Accepted));
    crate::eventually::eventually(super::stage::LIMIT, || match asked() {
        2 => Ok(()),
        asked => Err(format!("asked {asked} times")),
    });
    assert_eq!(stage.outcomes().len(), 2);
    stage.provider.open("ps_large", Sight { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified });
    stage.write(FINISHED, "ps_large", &unverified(SessionStatus::Cancelled));
    assert_eq!(stage.await_outcome("ps_large").result(), Result::Superseded);
    assert_eq!(stage.quarantined(), []);
    engine.stop().unwrap();
}
