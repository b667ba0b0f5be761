//! Tests of what the inputs say: whatever is wrong with a record is told, and nothing of it is believed.

use proptest::prelude::*;

use super::*;
use crate::confirmation::codec;
use crate::message::event::v1::Money;
use crate::message::timestamp;

const RECORDED: &str = "2026-02-03T04:05:06.789Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn metadata() -> EventMetadata {
    EventMetadata {
        event_id: "e5a20a9b4376573f5ec05721afbb5f83".to_owned(),
        source: "sg-main".to_owned(),
        provider: CONFIRMATION_PROVIDER.to_owned(),
        subject: "ps_3230".to_owned(),
        ..EventMetadata::default()
    }
}

fn session() -> Session {
    let amount = Money { currency: Some("USD".to_owned()), minor_units: 10_000, exponent: Some(2) };
    let operation = Operation {
        id: "po_1313".to_owned(),
        kind: OperationKind::Payout.into(),
        amount: Some(amount),
        ..Operation::default()
    };
    Session { id: "ps_3230".to_owned(), operations: vec![operation], ..Session::default() }
}

fn ready(value: &[u8]) -> Result<ReadyEvent, UndecodableRecord> {
    super::ready(value, at(RECORDED), &Verifiers::new())
}

fn finished(value: &[u8]) -> Result<FinishedEvent, UndecodableRecord> {
    super::finished(value, at(RECORDED), &Verifiers::new())
}

fn event() -> ReadyToConfirm {
    ReadyToConfirm { metadata: Some(metadata()), session: Some(session()) }
}

/// Both inputs are read alike, but for the event's id, which only one of them needs.
fn check(problem: RecordProblem, source: Option<&str>, spoil: impl FnOnce(&mut EventMetadata, &mut Session)) {
    let (mut metadata, mut session) = (metadata(), session());
    spoil(&mut metadata, &mut session);
    let event = ReadyToConfirm { metadata: Some(metadata), session: Some(session) }.encode_to_vec();
    let expected = UndecodableRecord { problem, source_name: source.map(Arc::from) };
    assert_eq!(ready(&event).as_ref(), Err(&expected));
    if problem != RecordProblem::Missing("metadata.event_id") {
        assert_eq!(finished(&event), Err(expected));
    }
}

#[test]
fn refuses_what_is_no_event_of_its_topic_and_says_what_is_wrong() {
    let known = Some("sg-main");
    let missing = RecordProblem::Missing;
    check(missing("metadata.source"), None, |metadata, _| metadata.source.clear());
    check(RecordProblem::NotASource, None, |metadata, _| metadata.source = "a/b".to_owned());
    check(RecordProblem::OtherProvider, known, |metadata, _| metadata.provider = "unipaas".to_owned());
    check(missing("metadata.event_id"), known, |metadata, _| metadata.event_id.clear());
    let negative = Some(prost_types::Timestamp { seconds: 0, nanos: -1 });
    check(RecordProblem::Time("session.created_at"), known, |_, session| session.created_at = negative);
    check(RecordProblem::Time("session.updated_at"), known, |_, session| session.updated_at = negative);
    check(missing("session.id"), known, |_, session| session.id.clear());
    check(RecordProblem::TooLong("session.id"), known, |_, session| session.id = "x".repeat(256));
    check(RecordProblem::TwoSessions, known, |metadata, _| metadata.subject = "ps_3231".to_owned());
    check(RecordProblem::TwoSessions, known, |metadata, _| metadata.subject.clear());

    let problem = |value: &[u8]| ready(value).unwrap_err().problem;
    assert_eq!(problem(&[]), missing("metadata.source"));
    assert_eq!(problem(b"\xff"), RecordProblem::NotProtobuf);
    let without = ReadyToConfirm { session: None, ..event() }.encode_to_vec();
    assert_eq!(problem(&without), missing("session"));
}

#[test]
fn the_window_begins_by_the_providers_clock_but_not_after_the_record() {
    let (early, old) = ("2026-02-03T04:05:06.123456Z", "2020-01-01T00:00:00Z");
    for (updated_at, created_at, expected, age) in [
        (None, None, RECORDED, EventAge::Unknown),
        (None, Some(old), old, EventAge::Known),
        (Some(early), Some(old), early, EventAge::Known),
        (Some(old), None, old, EventAge::Known),
        (Some("2026-02-03T04:05:07Z"), None, RECORDED, EventAge::Known),
    ] {
        let time = |text: Option<&str>| text.map(|text| timestamp(at(text)));
        let session = Session { updated_at: time(updated_at), created_at: time(created_at), ..session() };
        let ready = ready(&ReadyToConfirm { session: Some(session), ..event() }.encode_to_vec()).unwrap();
        let (opening, dated) = ready.opening(Mode::Live);
        assert_eq!((opening.window_began_at, dated), (at(expected), age), "{updated_at:?} {created_at:?}");
        assert_eq!(opening.recorded_at, at(RECORDED));
    }
}

#[test]
fn an_opening_keeps_what_the_outcome_will_tell() {
    let ready = ready(&event().encode_to_vec()).unwrap();
    assert_eq!(ready.key.to_string(), "sg-main/ps_3230");
    let (opening, _) = ready.opening(Mode::DryRun);
    assert!(opening.dry_run && !ready.opening(Mode::Live).0.dry_run);
    assert_eq!(opening.ready_event_id, ready.event_id);
    let [operation] = opening.operations.as_slice() else { panic!("{opening:?}") };
    assert_eq!((operation.id.as_str(), operation.kind()), ("po_1313", v1::OperationKind::Payout));
    assert_eq!(operation.amount, session().operations[0].amount);
}

#[test]
fn a_finished_session_is_seen_as_the_event_has_it() {
    for (status, next_action, expected) in [
        (3, 0, SessionView { status: SessionStatus::Accepted, next_action: NextAction::Unspecified }),
        (2, 1, SessionView { status: SessionStatus::InProgress, next_action: NextAction::Confirm }),
        (99, 99, SessionView { status: SessionStatus::Unspecified, next_action: NextAction::Unspecified }),
    ] {
        let session = Some(Session { status, next_action, ..session() });
        let event = PaymentFinished { metadata: Some(metadata()), session };
        assert_eq!(finished(&event.encode_to_vec()).unwrap().view, expected);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_classified(value: Vec<u8>, offset: i64) {
        let _any = (ready(&value).is_ok(), finished(&value).is_ok(), codec::decision::read(&value, offset, at(RECORDED)).is_ok());
    }
}
