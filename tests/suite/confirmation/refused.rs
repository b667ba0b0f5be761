//! Records that Kafka refuses for good: the one session that is at fault is set aside, and the others are decided. Where a
//! topic's setting or a lack of rights is at fault, nothing is set aside, and all goes on by itself once that is mended.

use jiff::{SignedDuration, Timestamp};
use paybridge::message::confirmation::v1::Result;
use paybridge::message::event::v1::QuarantineReason;
use paybridge::message::smart_glocal::v1::ReadyToConfirm;
use paybridge::simulator::Settings;
use prost::Message;
use serde_json::{Value, json};

use super::stage::{LEDGER, LIMIT, OUTCOME, PROJECT, READY, Stage, await_metric, event_of, known_keys, ready_body};
use crate::bridge::{Bridge, create_needed_topics};
use crate::eventually::eventually;
use crate::kafka::{Kafka, User};
use crate::process::daemon::Daemon;
use crate::shifted_clock::ShiftedClock;
use crate::stream::Random;

const RULES: &str = "default = \"confirm\"";
const ABORTED: &str = "paybridge_confirmation_transactions_total{result=\"aborted\"}";

/// A session of so many operations: 80 bytes each in the ledger.
fn large_event(session_id: &str, operations: usize) -> Vec<u8> {
    let mut body = ready_body(session_id, "ready", Timestamp::now(), 100);
    let operation =
        |number| json!({ "id": format!("po_{number:060}"), "amount_details": { "amount": 100, "currency": "usd" } });
    body["session"]["payout_list"] = (0..operations).map(operation).collect::<Value>();
    event_of::<ReadyToConfirm>(&body).encode_to_vec()
}

#[track_caller]
fn await_aborted(engine: &Bridge, more_than: u64) {
    eventually(LIMIT, || match engine.count(ABORTED) {
        aborted if aborted > more_than => Ok(()),
        aborted => Err(format!("{aborted} transactions were aborted")),
    });
}

/// The engine's `body_bytes_max` is lower than the ingress's was: what it may write is 64 KiB.
#[test]
fn a_session_that_is_too_large_for_the_ledger_is_set_aside_and_all_others_are_decided() {
    let stage = Stage::set(RULES);
    let engine = stage.engine_with(|config| config.ingress.body_bytes_max = 16 * 1024);
    let place = stage.partition_of("ps_large");
    let behind: Vec<String> = stage.sessions_of(place).take(4).collect();
    stage.write(READY, "ps_large", &large_event("ps_large", 2000));
    for id in &behind {
        stage.ready(id, Timestamp::now(), 100);
    }
    for number in 0..8 {
        stage.ready(&format!("ps_other_{number}"), Timestamp::now(), 100);
    }
    let outcomes = stage.await_outcomes(12);
    assert!(outcomes.values().all(|outcome| outcome.result() == Result::Accepted));
    let quarantined = stage.await_quarantined(1);
    assert_eq!(quarantined[0].reason(), QuarantineReason::RecordRefused);
    assert!(quarantined[0].detail.contains("offset 0"), "{}", quarantined[0].detail);
    assert!(quarantined[0].metadata.clone().unwrap().evidence.unwrap().raw_body.is_none(), "its large part");
    await_metric(&engine, "paybridge_confirmation_quarantined_total{reason=\"record_refused\"}", 1);
    await_metric(&engine, "paybridge_confirmation_lag_records", 0);
    assert!(stage.provider.session("ps_large").is_none());
    engine.stop().unwrap();
    // It is dealt with: a restart finds nothing to do.
    let engine = stage.engine();
    stage.ready("ps_more", Timestamp::now(), 100);
    stage.await_outcomes(13);
    assert_eq!(stage.await_quarantined(1).len(), 1);
    engine.stop().unwrap();
}

/// The broker refuses it, not the client: its topic takes less than the configuration says.
#[test]
fn a_session_that_the_ledgers_topic_does_not_take_is_set_aside_too() {
    let stage = Stage::set(RULES);
    let ledger =
        [("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", "60000")];
    stage.kafka.alter_topic(&stage.topic(LEDGER), &ledger);
    let engine = stage.engine();
    // What is random does not get smaller when it is compressed.
    let mut body = ready_body("ps_large", "ready", Timestamp::now(), 100);
    let mut random = Random::of(1);
    let mut operation = |_| {
        let parts: Vec<String> = (0..8).map(|_| format!("{:08x}", random.below(1 << 32))).collect();
        let id = parts.concat();
        json!({ "id": id, "amount_details": { "amount": 100, "currency": "usd" } })
    };
    body["session"]["payout_list"] = (0..1800).map(&mut operation).collect::<Value>();
    stage.write(READY, "ps_large", &event_of::<ReadyToConfirm>(&body).encode_to_vec());
    for number in 0..8 {
        stage.ready(&format!("ps_other_{number}"), Timestamp::now(), 100);
    }
    stage.await_outcomes(8);
    assert_eq!(stage.await_quarantined(1)[0].reason(), QuarantineReason::RecordRefused);
    engine.stop().unwrap();
}

#[test]
fn a_topic_that_takes_no_record_sets_nothing_aside_and_all_goes_on_once_it_does() {
    for part in [OUTCOME, LEDGER] {
        let stage = Stage::set(RULES);
        let policy = if part == LEDGER { "compact" } else { "delete" };
        let with = |bytes: &'static str| {
            [("cleanup.policy", policy), ("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", bytes)]
        };
        let engine = stage.engine();
        stage.ready("ps_before", Timestamp::now(), 100);
        stage.await_outcome("ps_before");
        stage.kafka.alter_topic(&stage.topic(part), &with("100"));
        let before = engine.count(ABORTED);
        for number in 0..5 {
            stage.ready(&format!("ps_{number}"), Timestamp::now(), 100);
        }
        await_aborted(&engine, before + 3);
        assert_eq!((stage.outcomes().len(), stage.quarantined().len()), (1, 0), "{part}");
        stage.kafka.alter_topic(&stage.topic(part), &with("1048588"));
        for (id, outcome) in stage.await_outcomes(6) {
            assert_eq!(outcome.result(), Result::Accepted, "{id}");
            assert_eq!(stage.provider.session(&id).unwrap().actions().len(), 1, "{id}");
        }
        assert_eq!(stage.quarantined(), []);
        engine.stop().unwrap();
    }
}

/// The engine's clock is 3 h ahead, and the ledger's topic refuses times that are an hour ahead of the broker's.
#[test]
fn a_ledger_that_refuses_the_engines_times_sets_nothing_aside_and_all_goes_on_once_it_takes_them() {
    let kafka = Kafka::shared();
    let (stage, text) = Stage::for_process(kafka, RULES, Settings::new(PROJECT, known_keys()));
    create_needed_topics(kafka, &stage.config);
    kafka.alter_topic(
        &stage.topic(LEDGER),
        &[
            ("cleanup.policy", "compact"),
            ("message.timestamp.type", "CreateTime"),
            ("message.timestamp.after.max.ms", "3600000"),
        ],
    );
    stage.ready("ps_1", Timestamp::now(), 100);
    let daemon = Daemon::run_with_clock(&text, ShiftedClock::by(SignedDuration::from_hours(3)));
    daemon.await_ready();
    eventually(LIMIT, || match daemon.log().matches("a transaction failed").count() {
        0..=2 => Err(daemon.log()),
        _ => Ok(()),
    });
    assert_eq!((stage.records(LEDGER).len(), stage.quarantined().len(), stage.outcomes().len()), (0, 0, 0));
    kafka.alter_topic(
        &stage.topic(LEDGER),
        &[("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime")],
    );
    // Its clock is wrong all the same: the session is held until that is right.
    stage.await_entries("ps_1", 1);
    daemon.shift_clock(SignedDuration::ZERO);
    assert_eq!(stage.await_outcome("ps_1").result(), Result::Accepted);
}

#[test]
fn a_right_that_is_withdrawn_sets_nothing_aside_and_all_goes_on_once_it_is_given_back() {
    let kafka = Kafka::start(&[]);
    let kafka: &'static Kafka = Box::leak(Box::new(kafka));
    let (stage, text) = Stage::for_process(kafka, RULES, Settings::new(PROJECT, known_keys()));
    create_needed_topics(kafka, &stage.config);
    let prefix = stage.config.kafka.topic_prefix.as_ref();
    let all = ["--operation", "All", "--resource-pattern-type", "prefixed"];
    for resource in ["--topic", "--group", "--transactional-id"] {
        kafka.allow(User::Limited, &[&all[..], &[resource, prefix]].concat());
    }
    kafka.allow(User::Limited, &["--operation", "IdempotentWrite", "--cluster"]);
    let (name, password) = User::Limited.login();
    let text = text.replace(kafka.bootstrap(), kafka.password_bootstrap())
        + &format!(
            "[kafka.properties]\nsecurity.protocol = \"sasl_plaintext\"\nsasl.mechanism = \"PLAIN\"\n\
             sasl.username = \"{name}\"\nsasl.password = \"{password}\"\n"
        );
    let daemon = Daemon::run(&text);
    daemon.await_ready();
    stage.ready("ps_before", Timestamp::now(), 100);
    stage.await_outcome("ps_before");
    let write = ["--operation", "Write", "--topic", &stage.topic(OUTCOME)];
    kafka.forbid(User::Limited, &write);
    for number in 0..5 {
        stage.ready(&format!("ps_{number}"), Timestamp::now(), 100);
    }
    eventually(LIMIT, || match daemon.log().matches("a transaction failed").count() {
        0..=2 => Err(daemon.log()),
        _ => Ok(()),
    });
    assert_eq!((stage.outcomes().len(), stage.quarantined().len()), (1, 0));
    kafka.forbid_no_more(User::Limited, &write);
    for (id, outcome) in stage.await_outcomes(6) {
        assert_eq!(outcome.result(), Result::Accepted, "{id}");
        assert_eq!(stage.provider.session(&id).unwrap().actions().len(), 1, "{id}");
    }
    assert_eq!(stage.quarantined(), []);
}
