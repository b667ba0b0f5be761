//! What lines say, and that no record breaks the terminal of who reads them.

use prost::Message;
use serde_json::json;

use super::*;
use crate::kafka::decoded::{ReadRecord, decode};
use crate::kafka::topics::{DECISION_MESSAGE, LEDGER_MESSAGE, OUTCOME_MESSAGE, REJECTED_MESSAGE, RELEASE_MESSAGE};
use crate::message::DESCRIPTORS;
use crate::message::confirmation::v1::{
    Action, Awaiting, Decided, DeciderKind, Decision, Done, Early, LedgerEntry, Opening, Operation, OperationKind,
    Outcome, Owner, Result, ledger_entry::State,
};
use crate::message::event::v1::Money;

fn line(topic: &str, message: &str, value: Option<Vec<u8>>) -> ShortLine {
    let record = ReadRecord {
        topic: topic.to_owned(),
        timestamp_ms: Some(1_716_775_380_500),
        key: Some(b"the key".to_vec()),
        value,
        ..ReadRecord::default()
    };
    ShortLine::of(&decode(record, Some(message), &DESCRIPTORS), "payments")
}

/// The line of the record that `tests/fixtures/golden` has of a message.
macro_rules! golden {
    ($message:literal) => {{
        let bytes = include_bytes!(concat!("../../tests/fixtures/golden/paybridge.", $message, ".bin"));
        line("payments.x.v1", concat!("paybridge.", $message), Some(bytes.to_vec()))
    }};
}

#[track_caller]
fn check(line: &ShortLine, subject: &str, text: &str) {
    assert_eq!((line.subject.as_str(), line.text().as_str()), (subject, text));
}

#[test]
fn events_of_every_provider_say_their_amount_and_where_they_stand() {
    for (line, subject, text) in [
        (
            golden!("smart_glocal.v1.ReadyToConfirm"),
            "ps_3230",
            "100.00 USD payout, 7 minor units ZZZ payout, 1 more  in progress  next: confirm",
        ),
        (golden!("smart_glocal.v1.PaymentFinished"), "ps_3230", "100.00 USD payment  error  next: confirm"),
        (golden!("undostres.v1.PaymentRequestCashin"), "trx_ehe77r6t8et5", "150.50 MXN  completed"),
        (golden!("undostres.v1.Account"), "321", "secret key warning"),
        (golden!("unipaas.v1.AuthorizationUpdate"), "au-2", "10.00 EUR  partially refunded"),
        (golden!("unipaas.v1.PayoutUpdate"), "90112", "1200.00 GBP  completed"),
        (golden!("unipaas.v1.PlanCreate"), "plan/create", "17 bytes as received"),
        (golden!("standard_webhooks.v1.WebhookReceived"), "msg_7", "contact.created"),
    ] {
        check(&line, subject, text);
    }
}

#[test]
fn webhooks_that_became_no_event_say_why() {
    check(&golden!("event.v1.QuarantinedWebhook"), "the key", "wrong shape  the body is not a JSON object");
    check(&golden!("event.v1.UnrecognizedWebhook"), "ps_3230", "unknown type session_opened");
    check(&golden!("event.v1.RejectedWebhook"), "the key", "signature mismatch  121 bytes from 192.0.2.1");
}

fn at(second: i64, nanos: i32) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: 1_716_775_380 + second, nanos }
}

fn payouts(count: usize) -> Vec<Operation> {
    let amount = Money { currency: Some("USD".to_owned()), minor_units: 10_000, exponent: Some(2) };
    let payout = Operation { kind: OperationKind::Payout.into(), amount: Some(amount), ..Operation::default() };
    vec![payout; count]
}

fn outcome() -> Outcome {
    Outcome {
        session_id: "ps_205".to_owned(),
        action: Action::Confirm.into(),
        decided_by_kind: DeciderKind::Rule.into(),
        decided_by_name: "small payouts".to_owned(),
        result: Result::Accepted.into(),
        operations: payouts(1),
        decided_at: Some(at(0, 0)),
        answered_at: Some(at(0, 8_000_000)),
        attempts: 1,
        ..Outcome::default()
    }
}

#[test]
fn an_outcome_is_the_story_of_its_session() {
    let cancelled = Outcome { action: Action::Cancel.into(), ..outcome() };
    for (outcome, text, tone) in [
        (outcome(), "100.00 USD payout  rule \"small payouts\" → confirm → provider accepted, 8 ms", Tone::Good),
        (
            Outcome { answered_at: Some(at(3, 0)), attempts: 3, operations: payouts(4), ..outcome() },
            "100.00 USD payout, 100.00 USD payout, 2 more  rule \"small payouts\" → confirm → provider accepted, 3 s, 3 calls",
            Tone::Good,
        ),
        (
            Outcome { result: Result::Refused.into(), refusal_code: "account_not_found".to_owned(), ..outcome() },
            "100.00 USD payout  rule \"small payouts\" → confirm → provider refused: account_not_found, 8 ms",
            Tone::Bad,
        ),
        (
            Outcome { decided_by_kind: DeciderKind::Deadline.into(), operations: Vec::new(), ..cancelled.clone() },
            "deadline → cancel → provider accepted, 8 ms",
            Tone::Good,
        ),
        (
            Outcome {
                decided_by_kind: DeciderKind::Decision.into(),
                decided_by_name: "risk team".to_owned(),
                result: Result::DryRun.into(),
                answered_at: None,
                ..cancelled
            },
            "100.00 USD payout  decision of risk team → cancel → dry run, nobody called",
            Tone::Attention,
        ),
        (
            Outcome { operations: payouts(1), result: Result::Expired.into(), ..Outcome::default() },
            "100.00 USD payout  window closed",
            Tone::Bad,
        ),
        (Outcome::default(), "unknown result", Tone::Attention),
    ] {
        let line = line("payments.confirmation.outcome.v1", OUTCOME_MESSAGE, Some(outcome.encode_to_vec()));
        assert_eq!((line.text().as_str(), line.phrases.last().map(|phrase| phrase.tone)), (text, Some(tone)));
    }
}

#[test]
fn decisions_say_who_what_and_why_and_whether_they_count() {
    let decision = Decision {
        session_id: "ps_1".to_owned(),
        action: Action::Confirm.into(),
        decided_by: "risk team".to_owned(),
        reason: "looked at by hand".to_owned(),
        ..Decision::default()
    };
    let line = line("payments.confirmation.decision.v1", DECISION_MESSAGE, Some(decision.encode_to_vec()));
    check(&line, "ps_1", "risk team → confirm: looked at by hand");
    assert_eq!((line.topic.as_str(), line.time.as_str()), ("confirmation.decision", "2024-05-27T02:03:00Z"));
    check(
        &golden!("confirmation.v1.DecisionRejected"),
        "ps_3230",
        "risk → an unknown action: asked by phone  does not count: malformed",
    );
}

#[test]
fn the_ledger_says_where_sessions_stand() {
    let opening = Some(Opening { operations: payouts(1), ..Opening::default() });
    let decided = Decided {
        opening: opening.clone(),
        action: Action::Cancel.into(),
        decided_by_kind: DeciderKind::Default.into(),
        ..Decided::default()
    };
    for (state, text) in [
        (State::Early(Early::default()), "decisions wait for the session"),
        (State::Awaiting(Awaiting { opening }), "100.00 USD payout  waits for a decision"),
        (State::Decided(decided), "100.00 USD payout  no rule → cancel → provider is called"),
        (State::Done(Done { result: Result::Superseded.into(), ..Done::default() }), "ended: superseded"),
        (State::Owner(Owner { group_id: "g".to_owned(), ..Owner::default() }), "partition of group g"),
    ] {
        let entry = LedgerEntry { session_id: "ps_1".to_owned(), state: Some(state), ..LedgerEntry::default() };
        check(&line("payments.confirmation.ledger.v1", LEDGER_MESSAGE, Some(entry.encode_to_vec())), "ps_1", text);
    }
    check(&line("t", LEDGER_MESSAGE, Some(Vec::new())), "the key", "unknown state");
    check(&line("t", LEDGER_MESSAGE, None), "the key", "no value: what this key had is removed");
    check(&line("t", LEDGER_MESSAGE, Some(vec![0xff])), "the key", "cannot be decoded");
}

#[test]
fn amounts_have_their_currencys_decimals_and_nothing_is_rounded() {
    for (units, exponent, expected) in [
        ("12500", json!(2), "125.00 USD"),
        ("5", json!(2), "0.05 USD"),
        ("-5", json!(2), "-0.05 USD"),
        ("-12500", json!(2), "-125.00 USD"),
        ("700", json!(0), "700 USD"),
        ("1", json!(31), "0.0000000000000000000000000000001 USD"),
        ("700", json!(null), "700 minor units USD"),
    ] {
        let money = json!({"currency": "USD", "minor_units": units, "exponent": exponent});
        assert_eq!(amount::money(&money).as_deref(), Some(expected));
    }
    assert_eq!(amount::money(&json!({"exponent": 2})).as_deref(), Some("0.00"), "zero is left out of JSON");
    assert_eq!(amount::money(&json!({"amount": "1"})), None);
    let without = json!([{"kind": "OPERATION_KIND_PAYOUT"}, {}]);
    let expected = "payout without an amount, operation without an amount";
    assert_eq!(amount::operations(&without).as_deref(), Some(expected));
}

/// Samples of what failed authentication are whatever anybody sent.
#[test]
fn nothing_that_somebody_sent_moves_the_cursor_or_fills_the_screen() {
    let metadata = crate::message::event::v1::EventMetadata {
        subject: "\u{1b}[2Jps\u{9b}1\r\n".to_owned(),
        unread_fields: ["a\tb", "b", "c", "d"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let rejected =
        crate::message::event::v1::RejectedWebhook { metadata: Some(metadata), body_bytes: 7, ..Default::default() };
    let line = line("payments.rejected.v1", REJECTED_MESSAGE, Some(rejected.encode_to_vec()));
    check(&line, "\u{fffd}[2Jps\u{fffd}1\u{fffd}\u{fffd}", "not authentic  7 bytes  unread: a\u{fffd}b, b, c, …");
    let long = Phrase::new(Tone::Plain, "x".repeat(10_000));
    assert_eq!(long.text.chars().count(), TEXT_CHARACTERS_MAX + 1);
}

#[test]
fn releases_and_requests_for_them_say_who_and_what() {
    use crate::message::release::v1::release_entry::Entry;
    use crate::message::release::v1::{ReleaseEntry, ReleaseMarker, ReleaseRequest, ReleaseState};
    let marker = ReleaseMarker { topic: "t.v1".to_owned(), released_by: "me".to_owned(), ..ReleaseMarker::default() };
    let mut request = ReleaseRequest { requested_by: "me".to_owned(), ..ReleaseRequest::default() };
    request.set_state(ReleaseState::Done);
    for (entry, expected) in [
        (Some(Entry::Marker(marker)), "released to t.v1 by me"),
        (Some(Entry::Request(request)), "release done by me"),
        (None, "release of an unknown kind by "),
    ] {
        let value = ReleaseEntry { entry }.encode_to_vec();
        check(&line("payments.x.v1", RELEASE_MESSAGE, Some(value)), "the key", expected);
    }
}

#[test]
fn a_topic_is_named_without_prefix_and_version() {
    for (topic, expected) in [
        ("payments.smart-glocal.ready-to-confirm.v1", "smart-glocal.ready-to-confirm"),
        ("payments.quarantine.v12", "quarantine"),
        ("payments.odd", "odd"),
        ("payments.x.vip", "x.vip"),
        ("other.x.v1", "other.x"),
        ("payments2.x.v1", "payments2.x"),
    ] {
        assert_eq!(without_prefix_and_version(topic, "payments"), expected);
    }
}
