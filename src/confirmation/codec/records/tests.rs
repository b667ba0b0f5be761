//! Tests of the engine's records: ids that never change, headers as events have them, nothing too large for its topic.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::confirmation::codec;
use crate::confirmation::codec::inputs::{RecordProblem, UndecodableRecord};
use crate::confirmation::session::model::{Action, Decision, ProviderRefusal};
use crate::confirmation::tests::arbitrary;
use crate::message::confirmation::v1::{DecisionRejected, RecordPlace, RejectionReason};
use crate::message::event::v1::{QuarantineReason, QuarantinedWebhook};

const RECORD_BYTES_MAX: usize = 64 * 1024;

fn records() -> Records {
    Records::new("payments", "paybridge-0", RECORD_BYTES_MAX)
}

fn session() -> SessionKey {
    SessionKey { source: "sg-main".into(), session_id: "ps_3230".into() }
}

fn now() -> Timestamp {
    "2026-02-03T04:05:06.789Z".parse().unwrap()
}

fn decision() -> Decision {
    let text = str::to_owned;
    Decision {
        action: Action::Cancel,
        decided_by: text("risk"),
        reason: text("no"),
        decision_id: text("d-1"),
        offset: 7,
        recorded_at: now(),
    }
}

fn header<'r>(record: &'r Record, name: &str) -> &'r str {
    record
        .headers
        .iter()
        .find(|(header, _)| *header == name)
        .map_or("", |(_, value)| std::str::from_utf8(value).unwrap())
}

/// The ids are fixed for ever: `printf` of each part's length as eight bytes, and the part, through `sha256sum`.
#[test]
fn event_ids_stay_the_same_for_ever() {
    let outcome = Outcome {
        opening: crate::confirmation::session::model::Opening {
            ready_event_id: "r".to_owned(),
            recorded_at: now(),
            window_began_at: now(),
            operations: Vec::new(),
            dry_run: false,
            failed_rule: String::new(),
        },
        decided: None,
        result: v1::Result::Superseded,
        refusal: None,
        attempts: 0,
        answered_at: None,
        known_at: now(),
        remaining_seconds: -1,
        verified: true,
    };
    let outcome = records().outcome(&session(), &outcome);
    let rejected = records().rejected(&session(), &decision(), 3, RejectionReason::Expired, now());
    let place = RecordLocation { topic: "t", partition: 3, offset: 7 };
    let misrouted = records().misrouted(place, b"x", &session(), now());
    for (record, id, message, topic, key) in [
        (&outcome, OUTCOME_ID, "Outcome", "payments.confirmation.outcome.v1", "ps_3230"),
        (&rejected, REJECTED_ID, "DecisionRejected", "payments.confirmation.decision-rejected.v1", "ps_3230"),
        (&misrouted, MISROUTED_ID, "QuarantinedWebhook", "payments.quarantine.v1", "sg-main"),
    ] {
        assert_eq!((header(record, "ce_id"), &*record.topic, record.key.as_str()), (id, topic, key));
        assert!(header(record, "ce_type").ends_with(message));
        assert_eq!(header(record, "ce_source"), "/paybridge/sg-main");
        assert_eq!(header(record, "ce_subject"), "ps_3230");
        assert_eq!(header(record, "ce_time"), "2026-02-03T04:05:06.789Z");
    }
    let told = v1::Outcome::decode(outcome.value.as_slice()).unwrap();
    assert_eq!(told.decided_by_kind(), v1::DeciderKind::Provider);
    assert_eq!((told.action(), told.decided_at), (v1::Action::Unspecified, None));
    let metadata = told.metadata.unwrap();
    assert_eq!((metadata.event_id.as_str(), metadata.provider.as_str()), (OUTCOME_ID, "smart-glocal"));
    assert_eq!((metadata.subject.as_str(), metadata.bridge_instance.as_str()), ("ps_3230", "paybridge-0"));
    assert_eq!((metadata.received_at, metadata.evidence), (Some(timestamp(now())), None));
}

const OUTCOME_ID: &str = "45afb4bcec061e93672c4682f9b8e3bb";
const DECISIONS: &str = "payments.confirmation.decision.v1";
const REJECTED_ID: &str = "f5a25fd678352773b09b96107cf24acd";
const MISROUTED_ID: &str = "917a2eccdd54444b9ac4572dd9a36f25";

#[test]
fn a_rejection_repeats_the_decision_and_says_why() {
    let record = records().rejected(&session(), &decision(), 3, RejectionReason::AlreadyDecided, now());
    let told = DecisionRejected::decode(record.value.as_slice()).unwrap();
    assert_eq!(told.reason(), RejectionReason::AlreadyDecided);
    assert!(told.raw.is_empty());
    let place = RecordPlace { topic: DECISIONS.to_owned(), partition: 3, offset: 7, key: None };
    assert_eq!(told.record, Some(place));
    let repeated = told.decision.unwrap().encode_to_vec();
    assert_eq!(codec::decision::read(&repeated, 7, now()).unwrap(), (session(), decision()));
    let other =
        records().rejected(&session(), &Decision { offset: 8, ..decision() }, 3, RejectionReason::Expired, now());
    assert_ne!(header(&record, "ce_id"), header(&other, "ce_id"));
}

#[test]
fn a_malformed_decision_is_told_as_far_as_it_fits() {
    let malformed = |value: &[u8]| {
        let why = codec::decision::read(value, 7, now()).unwrap_err();
        let key = "k".repeat(1025);
        let found = RecordLocation { topic: DECISIONS, partition: 3, offset: 7 };
        let record = records().malformed(value, &why, (found, Some(key.as_bytes())), now());
        assert!(record.size() < RECORD_BYTES_MAX);
        assert_eq!(header(&record, "ce_id"), REJECTED_ID, "as of any decision there");
        (DecisionRejected::decode(record.value.as_slice()).unwrap(), record)
    };
    let (told, record) = malformed(b"\xff\xff");
    let place = told.record.clone().unwrap();
    assert_eq!((place.topic.as_str(), place.partition, place.offset), (DECISIONS, 3, 7));
    assert_eq!(place.key.unwrap(), "k".repeat(1024));
    assert_eq!((told.reason(), told.decision, &*told.raw), (RejectionReason::Malformed, None, &b"\xff\xff"[..]));
    assert_eq!((record.key.as_str(), header(&record, "ce_subject")), (REJECTED_ID, ""));

    let whole =
        v1::Decision { session_id: "ps_3230".to_owned(), source: "sg-main".to_owned(), ..v1::Decision::default() };
    let (told, record) = malformed(&whole.encode_to_vec());
    assert_eq!((told.decision, told.raw.len()), (Some(whole.clone()), whole.encoded_len()));
    assert_eq!((record.key.as_str(), header(&record, "ce_source")), ("ps_3230", "/paybridge/sg-main"));

    let large = v1::Decision { reason: "x".repeat(1_000_000), ..whole.clone() };
    let (told, record) = malformed(&large.encode_to_vec());
    assert_eq!((told.decision, told.raw.len(), record.key.as_str()), (None, 16 * 1024, REJECTED_ID));
    let long_id = v1::Decision { session_id: "x".repeat(256), source: "a b".to_owned(), ..whole };
    let (told, record) = malformed(&long_id.encode_to_vec());
    assert_eq!((told.metadata.unwrap().source.as_str(), record.key.as_str()), ("", REJECTED_ID));
}

#[test]
fn quarantine_names_the_place_and_keeps_the_value_where_it_fits() {
    let place = RecordLocation { topic: "payments.smart-glocal.ready-to-confirm.v1", partition: 3, offset: 7 };
    let secret = b"4242424242424242".as_slice();
    for (value, kept, source, key) in [
        (secret.to_vec(), true, Some("sg-main"), Some("sg-main")),
        (vec![b'x'; RECORD_BYTES_MAX - 8 * 1024], true, None, None),
        (vec![b'x'; RECORD_BYTES_MAX - 8 * 1024 + 1], false, None, None),
    ] {
        let why = UndecodableRecord { problem: RecordProblem::TwoSessions, source_name: source.map(Arc::from) };
        let record = records().undecodable(place, &value, &why, now());
        assert!(record.size() < RECORD_BYTES_MAX, "{}", record.size());
        assert_eq!(record.key, key.unwrap_or(header(&record, "ce_id")));
        let told = QuarantinedWebhook::decode(record.value.as_slice()).unwrap();
        assert_eq!(told.reason(), QuarantineReason::UndecodableRecord);
        let place = "topic payments.smart-glocal.ready-to-confirm.v1, partition 3, offset 7";
        let left_out = if kept { "" } else { "; its value is too large to be kept here" };
        assert_eq!(told.detail, format!("metadata.subject and session.id differ: {place}{left_out}"));
        let evidence = told.metadata.unwrap().evidence.unwrap();
        assert_eq!(evidence.raw_body.as_deref(), kept.then_some(value.as_slice()));
        assert_eq!(evidence.body_sha256.len(), 32);
    }
}

#[test]
fn a_decision_is_passed_on_as_it_was_with_a_mark() {
    let place = RecordLocation { topic: "payments.confirmation.decision.v1", partition: 3, offset: 7 };
    let odd = vec![("a".to_owned(), None), ("a".to_owned(), Some(vec![0xff]))];
    let record = records().passed_on(place, None, vec![1, 2], odd.clone(), 5);
    assert_eq!((&*record.topic, record.partition), ("payments.confirmation.decision.v1", 5));
    assert_eq!((record.key, record.value), (None, vec![1, 2]));
    let mark = (PASSED_ON_HEADER.to_owned(), Some(b"3/7".to_vec()));
    assert_eq!(record.headers, [odd, vec![mark.clone()]].concat());
    assert!(was_passed_on(record.headers.iter().map(|(name, _)| name.as_str())));
    assert!(!was_passed_on(["a", "paybridge"].into_iter()));

    let many = vec![("a".to_owned(), Some(vec![0; 16 * 1024]))];
    assert_eq!(records().passed_on(place, None, Vec::new(), many, 5).headers, [mark]);
}

#[test]
fn the_ledgers_records_have_its_keys_and_no_headers() {
    let owner = LedgerOwner { group_id: "g".to_owned(), partitions: 3, dry_run: false };
    let record = records().owner(&owner);
    assert_eq!((record.key.as_str(), &*record.topic, record.headers.len()), ("owner", &**records().ledger_topic(), 0));
    assert_eq!(ledger::decode(record.key.as_bytes(), &record.value), Ok(ledger::LedgerRecord::Owner(owner)));
}

proptest! {
    #[test]
    fn an_outcome_tells_all_that_is_known(session in arbitrary::session_key(), outcome in arbitrary::outcome()) {
        let record = records().outcome(&session, &outcome);
        let told = v1::Outcome::decode(record.value.as_slice()).unwrap();
        prop_assert_eq!(&told.session_id, &record.key);
        prop_assert_eq!(told.result(), outcome.result);
        prop_assert_eq!((told.attempts, told.verified), (outcome.attempts, outcome.verified));
        prop_assert_eq!((told.dry_run, told.remaining_seconds), (outcome.opening.dry_run, outcome.remaining_seconds));
        prop_assert_eq!(told.operations, outcome.opening.operations);
        prop_assert_eq!(told.answered_at, outcome.answered_at.map(timestamp));
        if let Some((action, decider, at)) = outcome.decided {
            prop_assert_eq!((told.action, told.decided_by_kind), (v1::Action::from(action).into(), decider.kind.into()));
            prop_assert_eq!((told.decided_by_name, told.decision_id), (decider.name, decider.decision_id));
            prop_assert_eq!((told.reason, told.decided_at), (decider.reason, Some(timestamp(at))));
        }
        let ProviderRefusal { code, description } = outcome.refusal.unwrap_or(ProviderRefusal { code: String::new(), description: String::new() });
        prop_assert!(code.starts_with(&told.refusal_code) && description.starts_with(&told.refusal_description));
        prop_assert!(told.refusal_code.len() <= 255 && told.refusal_description.len() <= 1024);
        prop_assert!(code.len() > 255 || code == told.refusal_code);
    }
}
