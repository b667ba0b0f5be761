//! Records that are on a wrong partition, or that nobody can read: kept, told, and never in the way of those behind them.

use std::iter;

use jiff::Timestamp;
use paybridge::message::confirmation::v1::{Action, RejectionReason};
use paybridge::message::event::v1::QuarantineReason;
use paybridge::message::smart_glocal::v1::SessionStatus;
use prost::Message;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::bridge::Bridge;
use crate::support::engine_setup::{
    DECISION, EngineSetup, FINISHED, READY, await_metric, decision, finished_event, waiting_event,
};
use crate::support::eventually::LIMIT;
use crate::support::stream::Random;

/// An unknown field of protobuf, number 1000, with so many bytes: a writer of a later version, or one without measure.
fn unknown_field(bytes: usize) -> Vec<u8> {
    let mut field = Vec::new();
    prost::encoding::encode_key(1000, prost::encoding::WireType::LengthDelimited, &mut field);
    prost::encoding::encode_varint(bytes.try_into().unwrap(), &mut field);
    field.extend(Random::of(1).bytes(bytes));
    field
}

/// A text of so many bytes that compression does not make small.
fn unknown_text(bytes: usize) -> String {
    Random::of(1).bytes(bytes).into_iter().map(|byte| char::from(b' ' + byte % 95)).collect()
}

#[test]
fn a_decision_on_a_wrong_partition_is_passed_on_once_and_counts() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    setup.ready("ps_one", Timestamp::now(), 100);
    let value = decision("ps_one", Action::Confirm, "strayed").encode_to_vec();
    let strayed = setup.other_partition("ps_one");
    setup.write_to(DECISION, strayed, "the team's own key", Some(&value));
    assert_eq!(setup.await_outcome("ps_one").decision_id, "strayed");
    let records = setup.records(DECISION);
    let passed_on = records.iter().find(|record| record.partition == setup.partition_of("ps_one")).unwrap();
    assert_eq!(passed_on.header("paybridge-passed-on"), Some(format!("{strayed}/0").as_str()));
    assert_eq!(passed_on.key.as_deref(), Some(&b"the team's own key"[..]));
    assert_eq!(passed_on.value.as_ref(), Some(&value));
    assert_eq!(records.len(), 2);
    await_metric(&engine, "paybridge_confirmation_passed_on_total", 1);
    // The last thing on its own partition is a transaction's marker: nothing is left to read for all that.
    await_metric(&engine, "paybridge_confirmation_lag_records", 0);
    engine.stop().unwrap();
}

#[test]
fn a_decision_that_was_passed_on_to_a_wrong_partition_goes_to_quarantine() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    let value = decision("ps_one", Action::Confirm, "strayed").encode_to_vec();
    let header = ("paybridge-passed-on", "0/7");
    setup.write_to_with(DECISION, setup.other_partition("ps_one"), "ps_one", Some(&value), header);
    let quarantined = setup.await_quarantined(1);
    assert_eq!(quarantined[0].reason(), QuarantineReason::MisroutedDecision);
    let evidence = quarantined[0].metadata.clone().unwrap().evidence.unwrap();
    assert_eq!(evidence.raw_body.as_deref(), Some(value.as_slice()));
    await_metric(&engine, "paybridge_confirmation_quarantined_total{reason=\"misrouted_decision\"}", 1);
    engine.assert_fires("PaybridgeEngineQuarantine");
    assert_eq!(setup.records(DECISION).len(), 1);
    engine.stop().unwrap();
}

/// As large as its topic takes, by its value or its key: with a header more it would not be taken again.
#[test]
fn a_decision_too_large_to_be_passed_on_does_not_stop_its_partition() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    let strayed = setup.other_partition("ps_one");
    let mut huge = decision("ps_one", Action::Confirm, "huge").encode_to_vec();
    huge.extend(unknown_field(1_048_420));
    setup.write_to(DECISION, strayed, "k", Some(&huge));
    let keyed = decision("ps_one", Action::Confirm, "under a huge key").encode_to_vec();
    setup.write_to(DECISION, strayed, &unknown_text(1_048_420), Some(&keyed));
    let behind = setup.sessions_of(strayed).next().unwrap();
    setup.ready(&behind, Timestamp::now(), 100);
    setup.decide(&behind, Action::Cancel, "behind");
    assert_eq!(setup.await_outcome(&behind).decision_id, "behind");
    let rejections = setup.rejections();
    assert_eq!((rejections.len(), rejections[0].reason()), (1, RejectionReason::Malformed));
    assert_eq!(rejections[0].raw, huge[..16 * 1024]);
    setup.ready("ps_one", Timestamp::now(), 100);
    assert_eq!(setup.await_outcome("ps_one").decision_id, "under a huge key");
    engine.stop().unwrap();
}

#[test]
fn a_decision_that_is_none_is_rejected_with_its_bytes() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    let spoilt = |spoil: fn(&mut paybridge::message::confirmation::v1::Decision)| {
        let mut decision = decision("ps_one", Action::Confirm, "spoilt");
        spoil(&mut decision);
        decision.encode_to_vec()
    };
    let cases = [
        b"{\"session_id\":\"ps_one\"}".to_vec(),
        Vec::new(),
        spoilt(|decision| decision.source.clear()),
        spoilt(|decision| decision.source = "no/source".to_owned()),
        spoilt(|decision| decision.session_id.clear()),
        spoilt(|decision| decision.session_id = "x".repeat(256)),
        spoilt(|decision| decision.action = 0),
        spoilt(|decision| decision.action = 3),
        spoilt(|decision| decision.reason = "x".repeat(1025)),
        spoilt(|decision| decision.decided_by = "x".repeat(1_000_000)),
    ];
    for value in &cases {
        setup.write(DECISION, "ps_one", value);
    }
    setup.write_to(DECISION, setup.partition_of("ps_one"), "ps_one", None);
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.decide("ps_one", Action::Cancel, "behind them all");
    assert_eq!(setup.await_outcome("ps_one").decision_id, "behind them all");
    let rejections = setup.rejections();
    assert_eq!(rejections.len(), cases.len() + 1);
    let told = |value: &[u8]| value[..value.len().min(16 * 1024)].to_vec();
    let mut raw: Vec<Vec<u8>> = rejections.iter().map(|rejection| rejection.raw.to_vec()).collect();
    let mut expected: Vec<Vec<u8>> = cases.iter().map(|value| told(value)).chain([Vec::new()]).collect();
    raw.sort();
    expected.sort();
    assert!(raw == expected, "{rejections:?}");
    assert!(rejections.iter().all(|rejection| rejection.reason() == RejectionReason::Malformed), "{rejections:?}");
    await_metric(&engine, "paybridge_confirmation_rejected_total{reason=\"malformed\"}", 11);
    engine.assert_fires("PaybridgeDecisionsRejected");
    engine.stop().unwrap();
}

/// Whoever wrote it must be found by what is told: of a tombstone there are no bytes at all.
#[test]
fn a_rejection_names_topic_partition_offset_and_key_of_its_record() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    let partition = setup.partition_of("ps_one");
    setup.write_to(DECISION, partition, "a tombstone", None);
    setup.write_to(DECISION, partition, "junk", Some(b"\xff\xff"));
    setup.write_to(DECISION, partition, &"long".repeat(300), Some(b""));
    setup.write_to(DECISION, partition, "ps_one", Some(&decision("ps_one", Action::Confirm, "counts").encode_to_vec()));
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.await_outcome("ps_one");
    setup.decide("ps_one", Action::Cancel, "late");
    setup.await_rejections(4);
    let mut told: Vec<_> = setup.rejections().into_iter().map(|rejected| rejected.record.unwrap()).collect();
    told.sort_by_key(|place| place.offset);
    let keys: Vec<_> = told.iter().map(|place| place.key.as_deref()).collect();
    let long = "long".repeat(256);
    assert_eq!(keys, [Some(&b"a tombstone"[..]), Some(b"junk"), Some(long.as_bytes()), None]);
    assert_eq!(told.iter().map(|place| place.offset).collect::<Vec<_>>(), [0, 1, 2, 4]);
    for place in &told {
        assert_eq!((place.topic.as_str(), place.partition), (setup.topic(DECISION).as_str(), partition));
    }
    engine.stop().unwrap();
}

#[test]
fn events_that_cannot_be_read_go_to_quarantine_and_those_behind_them_are_taken() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine();
    let place = setup.partition_of("ps_one");
    let other = setup.other_partition("ps_one");
    let ready = waiting_event("ps_one", Timestamp::now(), 100);
    let mut two_sessions = ready.clone();
    two_sessions.metadata.as_mut().unwrap().subject = "ps_two".to_owned();
    let mut large = ready.clone();
    large.metadata.as_mut().unwrap().source = String::new();
    let mut large = large.encode_to_vec();
    large.extend(unknown_field(1_000_000));
    let finished = finished_event("ps_one", SessionStatus::Accepted).encode_to_vec();
    for (topic, partition, value) in [
        (READY, place, Some(b"\xff\xff".to_vec())),
        (READY, place, Some(Vec::new())),
        (READY, place, None),
        (READY, place, Some(two_sessions.encode_to_vec())),
        (READY, place, Some(large)),
        (READY, other, Some(ready.encode_to_vec())),
        (FINISHED, place, Some(b"{}".to_vec())),
        (FINISHED, place, None),
        (FINISHED, other, Some(finished)),
    ] {
        setup.write_to(topic, partition, "ps_one", value.as_deref());
    }
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.await_outcome("ps_one");
    let quarantined = setup.await_quarantined(9);
    assert!(quarantined.iter().all(|record| record.reason() == QuarantineReason::UndecodableRecord));
    for detail in ["partition", "not the protobuf message", "missing", "differ"] {
        assert!(quarantined.iter().any(|record| record.detail.contains(detail)), "{detail}");
    }
    await_metric(&engine, "paybridge_confirmation_quarantined_total{reason=\"undecodable_record\"}", 9);
    await_metric(&engine, "paybridge_confirmation_lag_records", 0);
    engine.stop().unwrap();
}

/// A strayed decision with these headers, on its topic: the first of a list that the topic takes.
fn stray(setup: &EngineSetup, headers: impl Iterator<Item = OwnedHeaders>) {
    let producer: BaseProducer = setup.kafka.client().create().unwrap();
    let value = decision("ps_one", Action::Confirm, "strayed").encode_to_vec();
    let (topic, partition) = (setup.topic(DECISION), setup.other_partition("ps_one"));
    let taken = headers.into_iter().any(|headers| {
        let record = BaseRecord::<str, [u8]>::to(&topic).partition(partition).payload(&value).headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(LIMIT).unwrap();
        !setup.records(DECISION).is_empty()
    });
    assert!(taken, "the topic takes none of them");
}

/// The others are decided, whatever becomes of the strayed one.
fn check_stalls_nobody(setup: &EngineSetup, engine: Bridge) {
    let ids: Vec<String> = setup.sessions_of(setup.other_partition("ps_one")).take(6).collect();
    for id in &ids {
        setup.ready(id, Timestamp::now(), 100);
    }
    setup.await_outcomes(6);
    await_metric(&engine, "paybridge_confirmation_lag_records", 0);
    engine.stop().unwrap();
}

/// A header whose name is empty counts as nothing for the client, and there may be any number of them: what is passed on is larger
/// than this engine's records may be (64 KiB), and its key and value are small.
#[test]
fn a_strayed_decision_with_very_many_empty_headers_stalls_nobody() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine_with(|config| config.ingress.body_bytes_max = 16 * 1024);
    let empty = || Header { key: "", value: None::<&str> };
    let many = (0..50_000).fold(OwnedHeaders::new_with_capacity(50_000), |headers, _| headers.insert(empty()));
    stray(&setup, iter::once(many));
    check_stalls_nobody(&setup, engine);
}

/// With the mark of what was passed on it is too large.
#[test]
fn a_strayed_decision_that_just_fits_its_topic_stalls_nobody() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let settings = [("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", "16500")];
    setup.kafka.alter_topic(&setup.topic(DECISION), &settings);
    let engine = setup.engine();
    let noise = Random::of(7).bytes(16_400);
    let largest_first = (16_000..16_384).rev().step_by(5);
    stray(
        &setup,
        largest_first.map(|bytes| OwnedHeaders::new().insert(Header { key: "x", value: Some(&noise[..bytes]) })),
    );
    check_stalls_nobody(&setup, engine);
}
