//! Looking changes nothing: lists, filters, single records, and what a release would do.

use jiff::Timestamp;
use paybridge::message::event::v1::QuarantineReason;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::fixture::{Held, HeldFixture, NO_ID};
use super::{counts, verdicts};
use crate::support::wire::short_hex;

const ID: &str = "00112233445566778899aabbccddeeff";

/// A fixture with a record of each topic: one is decoded now, one is of the engine, a sample is whole and one is cut.
fn fixture() -> HeldFixture {
    let fixture = HeldFixture::new();
    let received = fixture.received(5);
    let [first, second, third, fourth, fifth] = received.as_slice() else { panic!() };
    fixture.hold(
        "other",
        [
            (first, Held::Quarantined(QuarantineReason::WrongShape), ID),
            (second, Held::Quarantined(QuarantineReason::UndecodableRecord), NO_ID),
            (third, Held::Unrecognized, NO_ID),
            (fourth, Held::Rejected { cut: false }, NO_ID),
            (fifth, Held::Rejected { cut: true }, NO_ID),
        ],
    );
    let forged = paybridge::provider::SignedWebhook { body: "{}".into(), ..fixture.ready(1) };
    fixture.hold("sg-main", [(&forged, Held::Quarantined(QuarantineReason::NotJson), NO_ID)]);
    fixture
}

fn listed(fixture: &HeldFixture, arguments: &[&str]) -> Value {
    let ran = fixture.run(&[&["list", "--format", "json"], arguments].concat());
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""), "{ran:?}");
    serde_json::from_str(&ran.output).unwrap()
}

const ALL: [&str; 6] = ["--from", "quarantine", "--from", "unrecognized", "--from", "rejected"];

#[test]
fn a_list_has_the_newest_first_and_counts_all_that_the_filters_let_through() {
    let fixture = fixture();
    let all = listed(&fixture, &ALL);
    let records = all["records"].as_array().unwrap();
    assert_eq!(records.len(), 6);
    let time = |record: &Value| record["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let times: Vec<Timestamp> = records.iter().map(time).collect();
    assert!(times.is_sorted_by(|one, next| one >= next), "{times:?}");
    assert!(records.iter().all(|record| record["released"] == false), "{all:#}");
    let count = |topic: &str, source: &str, reason: &str| {
        let rows = all["counts"].as_array().unwrap();
        let row = rows.iter().find(|row| row["topic"] == topic && row["source"] == source && row["reason"] == reason);
        row.map_or(0, |row| row["count"].as_u64().unwrap())
    };
    for (topic, source, reason, expected) in [
        ("quarantine", "other", "wrong_shape", 1),
        ("quarantine", "other", "undecodable_record", 1),
        ("quarantine", "sg-main", "not_json", 1),
        ("unrecognized", "other", "unknown_type", 1),
        ("rejected", "other", "signature_mismatch", 2),
    ] {
        assert_eq!(count(topic, source, reason), expected, "{topic} {source} {reason} in {all:#}");
    }
    for (arguments, expected) in [
        (&["--source", "sg-main"][..], 1),
        (&["--reason", "wrong_shape"], 1),
        (&["--event-id", ID], 1),
        (&["--since", "1h"], 3),
        (&["--until", "1h"], 0),
        (&["--since", "2020-01-01T00:00:00Z", "--from", "rejected"], 2),
    ] {
        let told = listed(&fixture, arguments);
        assert_eq!(told["records"].as_array().unwrap().len(), expected, "{arguments:?}: {told:#}");
    }
    let limited = listed(&fixture, &[&ALL[..], &["--limit", "2"]].concat());
    assert_eq!((limited["records"].as_array().unwrap().len(), limited["counts"] == all["counts"]), (2, true));
    let text = fixture.run(&[&["list"], &ALL[..]].concat());
    for part in ["PLACE", "wrong_shape", "rejected/", "6 of 6 records are listed"] {
        assert!(text.output.contains(part), "no {part} in {text:?}");
    }
}

#[test]
fn one_record_is_shown_without_its_body_unless_it_is_asked_for() {
    let fixture = fixture();
    let shown = fixture.run(&["show", ID]);
    assert_eq!(shown.code, 0, "{shown:?}");
    for part in ["wrong_shape", "session.id: missing", "webhook-signature", "192.0.2.1", ID] {
        assert!(shown.output.contains(part), "no {part} in {shown:?}");
    }
    assert!(!shown.output.contains("invoice"), "{shown:?}");
    let place = shown.output.lines().next().unwrap().to_owned();
    let with_body = fixture.run(&["show", &place, "--bodies", "--format", "json"]);
    let records: Value = serde_json::from_str(&with_body.output).unwrap_or_else(|_| panic!("{with_body:?}"));
    assert_eq!(records[0]["event_id"], ID);
    let body = records[0]["body"].as_str().unwrap();
    let hash = short_hex(&Sha256::digest(body.as_bytes()), 32);
    assert_eq!(records[0]["body_sha256"], hash);
    let by_hash = fixture.run(&["show", &hash, "--format", "json"]);
    assert!(by_hash.code == 0 && by_hash.output.contains(ID) && !by_hash.output.contains("\"body\":"), "{by_hash:?}");
    for (id, code) in [(&"0".repeat(32)[..], 1), ("quarantine/0/4100", 1), ("quarantine", 2), ("x/0/0", 2)] {
        let ran = fixture.run(&["show", id]);
        assert_eq!(ran.code, code, "{id}: {ran:?}");
    }
}

#[test]
fn a_dry_run_says_what_would_become_of_each_and_changes_nothing() {
    let fixture = fixture();
    let ran = fixture.run(&[&["release", "--format", "json"], &ALL[..]].concat());
    let expected = [("released", 3), ("body_cut", 1), ("no_webhook", 1), ("not_authentic", 1)];
    assert_eq!((ran.code, verdicts(&ran.output)), (1, counts(&expected)), "{ran:?}");
    assert_eq!(ran.output.lines().count(), 7, "a line each, and the counts: {ran:?}");
    let text = fixture.run(&["release", "--from", "unrecognized"]);
    let line = format!("would be released: {}", fixture.topic("standard-webhooks.received"));
    assert!(text.code == 0 && text.output.contains(&line), "{text:?}");
    assert!(text.output.contains("nothing was written: 1 would be released"), "{text:?}");
    for topic in ["standard-webhooks.received", "quarantine-release"] {
        assert_eq!(fixture.kafka.read_all(&fixture.topic(topic)), [], "{topic}");
    }
}
