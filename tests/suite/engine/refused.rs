//! Records that Kafka refuses for good: the one session that is at fault is set aside, and the others are decided. Where a
//! topic's setting or a lack of rights is at fault, nothing is set aside, and all goes on by itself once that is mended.

use jiff::{SignedDuration, Timestamp};
use paybridge::message::confirmation::v1::{Action, Result};
use paybridge::message::event::v1::QuarantineReason;
use paybridge::message::smart_glocal::v1::ReadyToConfirm;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::SimulatorSettings;
use prost::Message;
use serde_json::{Value, json};

use crate::support::alerts;
use crate::support::bridge::{Bridge, create_needed_topics};
use crate::support::daemon::Daemon;
use crate::support::engine_setup::{
    DECISION, EngineSetup, LEDGER, OUTCOME, PROJECT, QUARANTINE, READY, await_metric, decision, event_of, known_keys,
    ready_body, waiting_event,
};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, User};
use crate::support::shifted_clock::ShiftedClock;
use crate::support::stream::Random;

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

/// A session of so many operations whose ids are random: it does not get smaller when it is compressed.
fn incompressible_event(session_id: &str, operations: usize) -> Vec<u8> {
    let mut body = ready_body(session_id, "ready", Timestamp::now(), 100);
    let mut random = Random::of(1);
    let mut operation = |_| {
        let parts: Vec<String> = (0..8).map(|_| format!("{:08x}", random.below(1 << 32))).collect();
        json!({ "id": parts.concat(), "amount_details": { "amount": 100, "currency": "usd" } })
    };
    body["session"]["payout_list"] = (0..operations).map(&mut operation).collect::<Value>();
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
    let setup = EngineSetup::new(RULES);
    let engine = setup.engine_with(|config| config.ingress.body_bytes_max = 16 * 1024);
    let place = setup.partition_of("ps_large");
    let behind: Vec<String> = setup.sessions_of(place).take(4).collect();
    setup.write(READY, "ps_large", &large_event("ps_large", 2000));
    for id in &behind {
        setup.ready(id, Timestamp::now(), 100);
    }
    for number in 0..8 {
        setup.ready(&format!("ps_other_{number}"), Timestamp::now(), 100);
    }
    let outcomes = setup.await_outcomes(12);
    assert!(outcomes.values().all(|outcome| outcome.result() == Result::Accepted));
    let quarantined = setup.await_quarantined(1);
    assert_eq!(quarantined[0].reason(), QuarantineReason::RecordRefused);
    assert!(quarantined[0].detail.contains("offset 0"), "{}", quarantined[0].detail);
    assert!(quarantined[0].metadata.clone().unwrap().evidence.unwrap().raw_body.is_none(), "its large part");
    await_metric(&engine, "paybridge_confirmation_quarantined_total{reason=\"record_refused\"}", 1);
    engine.assert_fires("PaybridgeRecordRefused");
    await_metric(&engine, "paybridge_confirmation_lag_records", 0);
    assert!(setup.provider.session("ps_large").is_none());
    engine.stop().unwrap();
    // It is dealt with: a restart finds nothing to do.
    let engine = setup.engine();
    setup.ready("ps_more", Timestamp::now(), 100);
    setup.await_outcomes(13);
    assert_eq!(setup.await_quarantined(1).len(), 1);
    engine.stop().unwrap();
}

/// The broker refuses it, not the client: its topic takes less than the configuration says.
#[test]
fn a_session_that_the_ledgers_topic_does_not_take_is_set_aside_too() {
    let setup = EngineSetup::new(RULES);
    let ledger =
        [("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", "60000")];
    setup.kafka.alter_topic(&setup.topic(LEDGER), &ledger);
    let engine = setup.engine();
    setup.write(READY, "ps_large", &incompressible_event("ps_large", 1800));
    for number in 0..8 {
        setup.ready(&format!("ps_other_{number}"), Timestamp::now(), 100);
    }
    setup.await_outcomes(8);
    assert_eq!(setup.await_quarantined(1)[0].reason(), QuarantineReason::RecordRefused);
    engine.stop().unwrap();
}

#[test]
fn a_topic_that_takes_no_record_sets_nothing_aside_and_all_goes_on_once_it_does() {
    for part in [OUTCOME, LEDGER] {
        let setup = EngineSetup::new(RULES);
        let policy = if part == LEDGER { "compact" } else { "delete" };
        let with = |bytes: &'static str| {
            [("cleanup.policy", policy), ("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", bytes)]
        };
        let engine = setup.engine();
        setup.ready("ps_before", Timestamp::now(), 100);
        setup.await_outcome("ps_before");
        setup.kafka.alter_topic(&setup.topic(part), &with("100"));
        let before = engine.count(ABORTED);
        for number in 0..5 {
            setup.ready(&format!("ps_{number}"), Timestamp::now(), 100);
        }
        await_aborted(&engine, before + 3);
        engine.assert_fires_while_it_goes_on("PaybridgeTransactionsFailing");
        assert_eq!((setup.outcomes().len(), setup.quarantined().len()), (1, 0), "{part}");
        setup.kafka.alter_topic(&setup.topic(part), &with("1048588"));
        for (id, outcome) in setup.await_outcomes(6) {
            assert_eq!(outcome.result(), Result::Accepted, "{id}");
            assert_eq!(setup.provider.session(&id).unwrap().actions().len(), 1, "{id}");
        }
        assert_eq!(setup.quarantined(), []);
        engine.stop().unwrap();
    }
}

/// The engine's clock is 3 h ahead, and the ledger's topic refuses times that are an hour ahead of the broker's.
#[test]
fn a_ledger_that_refuses_the_engines_times_sets_nothing_aside_and_all_goes_on_once_it_takes_them() {
    let kafka = Kafka::shared();
    let (setup, text) = EngineSetup::for_process(kafka, RULES, SimulatorSettings::new(PROJECT, known_keys()));
    create_needed_topics(kafka, &setup.config);
    kafka.alter_topic(
        &setup.topic(LEDGER),
        &[
            ("cleanup.policy", "compact"),
            ("message.timestamp.type", "CreateTime"),
            ("message.timestamp.after.max.ms", "3600000"),
        ],
    );
    setup.ready("ps_1", Timestamp::now(), 100);
    let daemon = Daemon::run_with_clock(&text, ShiftedClock::by(SignedDuration::from_hours(3)));
    daemon.await_ready();
    await_failures(&daemon);
    assert_eq!((setup.records(LEDGER).len(), setup.quarantined().len(), setup.outcomes().len()), (0, 0, 0));
    kafka.alter_topic(
        &setup.topic(LEDGER),
        &[("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime")],
    );
    // Its clock is wrong all the same: the session is held until that is right.
    setup.await_entries("ps_1", 1);
    daemon.shift_clock(SignedDuration::ZERO);
    assert_eq!(setup.await_outcome("ps_1").result(), Result::Accepted);
}

/// A Kafka of the test's own, a setup on it, and a daemon on the setup that has only the rights given here. One session was
/// decided already.
fn limited() -> (&'static Kafka, EngineSetup, Daemon) {
    let kafka: &'static Kafka = Box::leak(Box::new(Kafka::start(&[])));
    let (setup, text) = EngineSetup::for_process(kafka, RULES, SimulatorSettings::new(PROJECT, known_keys()));
    create_needed_topics(kafka, &setup.config);
    let prefix = setup.config.kafka.topic_prefix.as_ref();
    let all = ["--operation", "All", "--resource-pattern-type", "prefixed"];
    let named = ["--topic", "--group", "--transactional-id"].map(|resource| [&all[..], &[resource, prefix]].concat());
    kafka.allow(User::Limited, &named.each_ref().map(Vec::as_slice));
    kafka.allow(User::Limited, &[&["--operation", "IdempotentWrite", "--cluster"]]);
    let daemon = Daemon::run(&kafka.logged_in(&text, User::Limited));
    daemon.await_ready();
    setup.ready("ps_before", Timestamp::now(), 100);
    setup.await_outcome("ps_before");
    (kafka, setup, daemon)
}

/// Waits until three more transactions have failed.
#[track_caller]
fn await_failures(daemon: &Daemon) {
    let failures = || daemon.log().matches("a transaction of the confirmation engine failed").count();
    let before = failures();
    eventually(LIMIT, || if failures() >= before + 3 { Ok(()) } else { Err(daemon.log()) });
}

#[test]
fn a_right_that_is_withdrawn_sets_nothing_aside_and_all_goes_on_once_it_is_given_back() {
    let (kafka, setup, daemon) = limited();
    let mut decided = 1;
    // A forged event is among them in each round: it alone goes to quarantine, once that is possible.
    for (round, part) in [OUTCOME, QUARANTINE, LEDGER].into_iter().enumerate() {
        let write = ["--operation", "Write", "--topic", &setup.topic(part)];
        kafka.forbid(User::Limited, &write);
        let mut forged = waiting_event("ps_forged", Timestamp::now(), 100);
        forged.metadata.as_mut().unwrap().evidence.as_mut().unwrap().headers.clear();
        setup.write(READY, "ps_forged", &forged.encode_to_vec());
        for number in 0..5 {
            setup.ready(&format!("ps_{round}_{number}"), Timestamp::now(), 100);
        }
        await_failures(&daemon);
        alerts::assert_fires_while_it_goes_on("PaybridgeTransactionsFailing", &daemon.exposition());
        kafka.forbid_no_more(User::Limited, &write);
        decided += 5;
        for (id, outcome) in setup.await_outcomes(decided) {
            assert_eq!(outcome.result(), Result::Accepted, "{part} {id}");
            assert_eq!(setup.provider.session(&id).unwrap().actions().len(), 1, "{part} {id}");
        }
        let quarantined = setup.await_quarantined(round + 1);
        let all_forged = quarantined.iter().all(|record| record.reason() == QuarantineReason::EvidenceDoesNotVerify);
        assert!(all_forged, "{part}: {quarantined:?}");
    }
}

/// Its entry fits, and does not any more with the decision's own texts.
#[test]
fn a_decision_on_a_session_that_just_fits_counts() {
    let setup = EngineSetup::new("");
    let engine = setup.engine_with(|config| config.ingress.body_bytes_max = 16 * 1024);
    // Less than 64 KiB, by less than the decision's texts.
    setup.write(READY, "ps_1", &large_event("ps_1", 800));
    let entries = setup.await_entries("ps_1", 1);
    let bytes = entries[0].value.as_ref().unwrap().len();
    assert!((62 * 1024..64 * 1024).contains(&bytes), "{bytes}");
    let mut told = decision("ps_1", Action::Confirm, "by hand");
    told.reason = "x".repeat(1024);
    told.decided_by = "y".repeat(1024);
    told.decision_id = "z".repeat(1024);
    setup.write(DECISION, "ps_1", &told.encode_to_vec());
    let outcome = setup.await_outcome("ps_1");
    assert_eq!((outcome.action(), outcome.result()), (Action::Confirm, Result::Accepted));
    assert_eq!(setup.provider.session("ps_1").unwrap().actions(), [Operation::Confirm]);
    engine.stop().unwrap();
}

/// The provider has taken the action by then. Two at once: neither makes the other wait for ever.
#[test]
fn outcomes_that_are_refused_after_the_action_are_told_once_and_without_their_operations() {
    let setup = EngineSetup::new(RULES);
    setup.kafka.alter_topic(&setup.topic(OUTCOME), &takes("20000"));
    let engine = setup.engine();
    for id in ["ps_large", "ps_larger"] {
        setup.send(READY, id, &incompressible_event(id, 900));
    }
    for number in 0..6 {
        setup.ready(&format!("ps_{number}"), Timestamp::now(), 100);
    }
    for (id, outcome) in setup.await_outcomes(8) {
        assert_eq!(outcome.result(), Result::Accepted, "{id}");
        assert_eq!(outcome.operations.is_empty(), id.starts_with("ps_large"), "{id}");
        assert_eq!(setup.provider.session(&id).unwrap().actions(), [Operation::Confirm], "{id}");
    }
    engine.stop().unwrap();
}

#[test]
fn a_forged_record_that_the_quarantine_does_not_take_stalls_nobody() {
    let setup = EngineSetup::new(RULES);
    setup.kafka.alter_topic(&setup.topic(QUARANTINE), &takes("60000"));
    let engine = setup.engine();
    let mut forged = waiting_event("ps_forged", Timestamp::now(), 100);
    forged.metadata.as_mut().unwrap().evidence.as_mut().unwrap().raw_body = Some(Random::of(11).bytes(300_000).into());
    setup.write(READY, "ps_forged", &forged.encode_to_vec());
    let ids: Vec<String> = setup.sessions_of(setup.partition_of("ps_forged")).take(6).collect();
    for id in &ids {
        setup.ready(id, Timestamp::now(), 100);
    }
    setup.await_outcomes(6);
    assert_eq!(setup.await_quarantined(1)[0].reason(), QuarantineReason::RecordRefused);
    engine.stop().unwrap();
}

/// The settings of a topic that takes records of so many bytes.
fn takes(bytes: &str) -> [(&str, &str); 2] {
    [("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", bytes)]
}
