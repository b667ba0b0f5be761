//! Events that somebody else than the ingress wrote, or that cannot be verified: no topic is believed.

use jiff::Timestamp;
use paybridge::confirmation::codec::ledger;
use paybridge::confirmation::session::model::{Checking, EventAge, Opening, RuleBasis, SessionEntry, SessionKey};
use paybridge::message::confirmation::v1::{Action, DeciderKind, Result};
use paybridge::message::event::v1::QuarantineReason;
use paybridge::message::smart_glocal::v1::{NextAction, ReadyToConfirm, SessionStatus};
use paybridge::provider::smart_glocal::api::{Operation, SessionView};
use paybridge::simulator::Fault;
use prost::Message;
use serde_json::{Map, Value};

use super::clocks::SMALL_ARE_CONFIRMED;
use super::sources::with_second;
use crate::support::engine_setup::{
    EngineSetup, FINISHED, LEDGER, READY, ago, await_metric, finished_event, ready_body, waiting_event,
};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::stream::Random;

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
    let setup = EngineSetup::new(SMALL_ARE_CONFIRMED);
    let engine = setup.engine();
    let forged = spoilt("ps_large", LARGE, |event| {
        event.session.as_mut().unwrap().operations[0].amount.as_mut().unwrap().minor_units = 100;
        event.session.as_mut().unwrap().updated_at = None;
    });
    setup.write(READY, "ps_large", &forged);
    await_metric(&engine, "paybridge_confirmation_held_total{reason=\"no_rule\"}", 1);
    let small = spoilt("ps_small", 100, |event| event.session.as_mut().unwrap().operations.clear());
    setup.write(READY, "ps_small", &small);
    let outcome = setup.await_outcome("ps_small");
    assert_eq!((outcome.result(), outcome.operations.len()), (Result::Accepted, 1));
    assert_eq!(setup.outcomes().len(), 1);
    assert!(setup.provider.session("ps_large").is_none());
    engine.stop().unwrap();
}

#[test]
fn an_event_whose_evidence_contradicts_it_opens_and_ends_nothing_and_somebody_is_paged() {
    let setup = EngineSetup::new(SMALL_ARE_CONFIRMED);
    let engine = setup.engine();
    let signed_for_other = |id: &str| {
        spoilt(id, 100, |event| {
            let body = ready_body("ps_other", "ready", Timestamp::now(), 100).to_string();
            evidence(event).raw_body = Some(body.into_bytes().into());
        })
    };
    setup.write(READY, "ps_1", &signed_for_other("ps_1"));
    // An authentic event under another session's id, and one of another type.
    let borrowed = spoilt("ps_large", LARGE, |event| {
        let metadata = event.metadata.as_mut().unwrap();
        let mut other = waiting_event("ps_small", Timestamp::now(), 100);
        metadata.evidence = other.metadata.as_mut().unwrap().evidence.take();
    });
    setup.write(READY, "ps_large", &borrowed);
    let finished = finished_event("ps_2", SessionStatus::Accepted);
    let of_other_type = spoilt("ps_2", 100, |event| event.metadata = finished.metadata.clone());
    setup.write(READY, "ps_2", &of_other_type);

    setup.ready("ps_waits", Timestamp::now(), LARGE);
    setup.await_entries("ps_waits", 1);
    let mut ended = finished_event("ps_waits", SessionStatus::Cancelled);
    ended.metadata.as_mut().unwrap().evidence.as_mut().unwrap().headers.clear();
    setup.write(FINISHED, "ps_waits", &ended.encode_to_vec());
    let quarantined = setup.await_quarantined(4);
    for record in &quarantined {
        assert_eq!(record.reason(), QuarantineReason::EvidenceDoesNotVerify, "{}", record.detail);
    }
    await_metric(&engine, "paybridge_confirmation_quarantined_total{reason=\"evidence_does_not_verify\"}", 4);
    engine.assert_fires("PaybridgeForgedRecord");
    await_metric(&engine, "paybridge_confirmation_open_sessions", 1);
    assert_eq!((setup.outcomes().len(), setup.provider.calls()), (0, 0));
    engine.stop().unwrap();
}

/// As with `evidence.keep = "hash-only"`, and as behind a backlog after a key was taken out of the configuration.
#[test]
fn an_event_that_cannot_be_verified_goes_by_the_providers_word() {
    let setup = EngineSetup::new(SMALL_ARE_CONFIRMED);
    let engine = setup.engine();
    let since = ago(60);
    setup.provider.describe("ps_small", fields("ps_small", since, 100));
    setup.provider.describe("ps_large", fields("ps_large", since, LARGE));
    let without_body = |id: &str| spoilt(id, 100, |event| evidence(event).raw_body = None);
    setup.write(READY, "ps_small", &without_body("ps_small"));
    setup.write(READY, "ps_large", &without_body("ps_large"));
    setup.write(READY, "ps_bare", &without_body("ps_bare"));
    let outcome = setup.await_outcome("ps_small");
    assert_eq!((outcome.result(), outcome.decided_by_kind()), (Result::Accepted, DeciderKind::Rule));
    assert_eq!(outcome.operations.len(), 1);
    await_metric(&engine, "paybridge_confirmation_held_total{reason=\"no_rule\"}", 1);
    // Of this one the provider tells no operation.
    await_metric(&engine, "paybridge_confirmation_held_total{reason=\"not_evaluated\"}", 1);
    for id in ["ps_large", "ps_bare"] {
        assert_eq!(setup.provider.session(id).unwrap().actions(), [], "{id}");
    }

    let gone = spoilt("ps_gone", 100, |event| {
        let evidence = evidence(event);
        evidence.key_id = "0011223344556677".to_owned();
        evidence.headers.clear();
    });
    setup
        .provider
        .open("ps_gone", SessionView { status: SessionStatus::Accepted, next_action: NextAction::Unspecified });
    setup.provider.describe("ps_gone", fields("ps_gone", since, 100));
    setup.write(READY, "ps_gone", &gone);
    assert_eq!(setup.await_outcome("ps_gone").result(), Result::Superseded);

    // An end that cannot be verified is asked about, and is none while the provider waits.
    let unverified = |status: SessionStatus| {
        let mut event = finished_event("ps_large", status);
        event.metadata.as_mut().unwrap().evidence.as_mut().unwrap().raw_body = None;
        event.encode_to_vec()
    };
    let asked = || {
        let received = setup.provider.session("ps_large").unwrap().received;
        received.iter().filter(|received| received.operation == Operation::Status).count()
    };
    setup.write(FINISHED, "ps_large", &unverified(SessionStatus::Accepted));
    eventually(LIMIT, || match asked() {
        2 => Ok(()),
        asked => Err(format!("asked {asked} times")),
    });
    assert_eq!(setup.outcomes().len(), 2);
    setup
        .provider
        .open("ps_large", SessionView { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified });
    setup.write(FINISHED, "ps_large", &unverified(SessionStatus::Cancelled));
    assert_eq!(setup.await_outcome("ps_large").result(), Result::Superseded);
    assert_eq!(setup.quarantined(), []);
    engine.stop().unwrap();
}

/// Nobody signed it, and the authentic event comes behind it.
fn check_authentic_one_opens(source: &str) {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine_with(with_second);
    setup.provider.misbehave_at(Operation::Status, Fault::NotFound, 100_000);
    let unsigned = spoilt("ps_1", 100, |event| {
        event.metadata.as_mut().unwrap().source = source.to_owned();
        event.metadata.as_mut().unwrap().event_id = "of somebody else".to_owned();
        evidence(event).raw_body = None;
    });
    setup.write(READY, "ps_1", &unsigned);
    setup.ready("ps_1", Timestamp::now(), 100);
    let outcome = setup.await_outcome("ps_1");
    assert_eq!((outcome.source.as_str(), outcome.result()), ("sg-main", Result::Accepted), "{source}");
    setup.await_outcomes(1);
    assert_eq!(setup.quarantined(), [], "{source}");
    engine.stop().unwrap();
}

#[test]
fn an_event_that_nobody_signed_takes_no_session_from_its_own_source() {
    check_authentic_one_opens("sg-main");
}

#[test]
fn nor_one_of_another_source_whose_project_does_not_know_the_session() {
    check_authentic_one_opens("sg-second");
}

#[test]
fn nor_one_of_a_source_that_is_not_configured() {
    check_authentic_one_opens("sg-ghost");
}

/// As with `evidence.keep = "hash-only"` and a provider that never answers: nobody knows whether there is such a session, so
/// none is opened, no outcome is made up, and somebody is paged.
#[test]
fn an_event_that_nobody_signed_and_the_provider_never_confirms_has_no_outcome() {
    let setup = EngineSetup::new("");
    setup.provider.misbehave_at(Operation::Status, Fault::NotFound, 100_000);
    setup.restore("ps_restored", Timestamp::now());
    let id = setup.sessions_of(setup.partition_of("ps_restored")).nth(2).unwrap();
    let key = SessionKey { source: "sg-main".into(), session_id: id.as_str().into() };
    let began_at = ago(14_400 + 900 - 5);
    let opening = Opening {
        ready_event_id: "of the ingress".to_owned(),
        recorded_at: began_at,
        window_began_at: began_at,
        operations: Vec::new(),
        dry_run: false,
        failed_rule: String::new(),
    };
    let early = Vec::new();
    let checking = Checking { opening, basis: RuleBasis::Status, age: EventAge::Known, early };
    let entry = ledger::encode(&key, &SessionEntry::Checking(Box::new(checking)));
    setup.write_to(LEDGER, setup.partition_of(&id), &ledger::key(&key), Some(&entry));
    let engine = setup.engine();
    await_metric(&engine, "paybridge_confirmation_alerts_total{kind=\"too_old\"}", 1);
    setup.await_forgotten(&id);
    assert_eq!(setup.outcomes(), []);
    engine.stop().unwrap();
}

#[test]
fn false_evidence_of_900_kb_stalls_nobody() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine();
    for (id, key_id) in [("ps_1", None), ("ps_2", Some("0011223344556677"))] {
        let huge = spoilt(id, 100, |event| {
            let evidence = evidence(event);
            evidence.raw_body = Some(Random::of(5).bytes(900_000).into());
            evidence.key_id = key_id.map_or_else(|| evidence.key_id.clone(), str::to_owned);
        });
        setup.write(READY, id, &huge);
        setup.await_read(id);
    }
    // The other's key is not known here: it goes by the provider's word, which knows no operation of it.
    let quarantined = setup.await_quarantined(1);
    assert_eq!(quarantined[0].reason(), QuarantineReason::EvidenceDoesNotVerify);
    setup.await_outcomes(2);
    engine.stop().unwrap();
}

#[test]
fn an_authentic_end_of_somebody_elses_session_ends_nothing() {
    let setup = EngineSetup::new("");
    let engine = setup.engine_with(with_second);
    setup.ready("ps_1", Timestamp::now(), 100);
    setup.await_entries("ps_1", 1);
    let mut of_second = finished_event("ps_1", SessionStatus::Accepted);
    of_second.metadata.as_mut().unwrap().source = "sg-second".to_owned();
    setup.write(FINISHED, "ps_1", &of_second.encode_to_vec());
    let mut borrowed = finished_event("ps_1", SessionStatus::Accepted);
    borrowed.metadata.as_mut().unwrap().evidence =
        finished_event("ps_other", SessionStatus::Accepted).metadata.unwrap().evidence;
    setup.write(FINISHED, "ps_1", &borrowed.encode_to_vec());
    // What was signed says that it has not ended.
    let mut still_going = finished_event("ps_1", SessionStatus::InProgress);
    still_going.session.as_mut().unwrap().status = SessionStatus::Accepted.into();
    setup.write(FINISHED, "ps_1", &still_going.encode_to_vec());
    setup.await_quarantined(1);
    setup.decide("ps_1", Action::Confirm, "by hand");
    assert_eq!(setup.await_outcome("ps_1").decision_id, "by hand");
    engine.stop().unwrap();
}
