//! The engine's memory as it stands on its topic: whose it is, when it forgets, and what it does not understand.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use paybridge::config::Config;
use paybridge::message::confirmation::v1::{Action, LedgerEntry, Result};
use paybridge::provider::smart_glocal::api::Operation;
use prost::Message;

use crate::support::engine_setup::{LEDGER, READY, Stage, ago, await_metric, ready_event};

const STOPPED: &str = "paybridge_confirmation_stopped_partitions{reason=\"unreadable\"}";

#[test]
fn every_written_partition_begins_with_its_owner() {
    let stage = Stage::set("default = \"confirm\"");
    let engine = stage.engine();
    for number in 0..12 {
        stage.ready(&format!("ps_{number}"), Timestamp::now(), 100);
    }
    stage.await_outcomes(12);
    engine.stop().unwrap();
    // Each assignment says it again, before anything else.
    let engine = stage.engine();
    stage.ready("ps_more", Timestamp::now(), 100);
    stage.await_outcomes(13);
    engine.stop().unwrap();
    let mut owners = BTreeMap::new();
    for record in stage.records(LEDGER) {
        let owners = owners.entry(record.partition).or_insert(0);
        let is_owner = record.key.as_deref() == Some(b"owner");
        assert!(is_owner || *owners > 0, "an entry before its owner: {record:?}");
        *owners += i32::from(is_owner);
    }
    assert_eq!(owners, BTreeMap::from([(0, 2), (1, 2), (2, 2)]));
}

#[test]
fn an_entry_of_a_later_version_stops_its_partition_and_no_other() {
    let stage = Stage::set("default = \"confirm\"");
    let entry = LedgerEntry {
        schema: 2,
        source: "sg-main".to_owned(),
        session_id: "ps_later".to_owned(),
        ..LedgerEntry::default()
    };
    let stopped = stage.partition_of("ps_later");
    stage.write_to(LEDGER, stopped, "sg-main/ps_later", Some(&entry.encode_to_vec()));
    let ids: Vec<String> = (0..12).map(|number| format!("ps_{number}")).collect();
    for id in &ids {
        stage.ready(id, Timestamp::now(), 100);
    }
    let engine = stage.engine();
    let others: Vec<&String> = ids.iter().filter(|id| stage.partition_of(id) != stopped).collect();
    let outcomes = stage.await_outcomes(others.len());
    assert!(others.iter().all(|id| outcomes.contains_key(*id)));
    await_metric(&engine, STOPPED, 1);
    await_metric(&engine, "paybridge_confirmation_assigned_partitions", 2);
    engine.stop().unwrap();
    // It still stands still, and nothing was taken from its inputs: a later version decides.
    let engine = stage.engine();
    await_metric(&engine, STOPPED, 1);
    stage.await_outcomes(others.len());
    engine.stop().unwrap();
    assert!(stage.provider.sessions().keys().all(|id| stage.partition_of(id) != stopped));
}

/// A memory that forgets fast: less than a configuration may ask for.
fn forgetful(config: &mut Config) {
    config.confirmation.window_s = 2;
    config.confirmation.deadline_margin_s = 1;
    config.confirmation.ledger_retention_s = 1;
}

#[test]
fn ended_sessions_are_forgotten_after_a_while_and_come_back_by_no_redelivery() {
    let stage = Stage::set("default = \"confirm\"");
    let engine = stage.engine_with(forgetful);
    // Not before the engine runs: what waits longer than it remembers opens nothing.
    let received_at = Timestamp::now();
    stage.ready("ps_one", received_at, 100);
    stage.await_outcome("ps_one");
    // Opened and decided at once, ended, forgotten.
    let entries = stage.await_forgotten("ps_one");
    assert_eq!(entries.len(), 3, "decided, done, forgotten");
    engine.stop().unwrap();
    let engine = stage.engine_with(forgetful);
    stage.ready("ps_one", received_at, 100);
    await_metric(&engine, "paybridge_confirmation_alerts_total{kind=\"too_old\"}", 1);
    let again = ready_event("ps_one", "another", received_at + SignedDuration::from_millis(1), 100);
    stage.write(READY, "ps_one", &again.encode_to_vec());
    await_metric(&engine, "paybridge_confirmation_alerts_total{kind=\"too_old\"}", 2);
    stage.await_outcomes(1);
    assert_eq!(stage.provider.session("ps_one").unwrap().actions(), [Operation::Confirm]);
    engine.stop().unwrap();
}

#[test]
fn what_was_going_on_before_a_restart_goes_on_after_it() {
    let stage = Stage::set("");
    let engine = stage.engine();
    stage.ready("ps_waits", Timestamp::now(), 100);
    stage.ready("ps_ended", Timestamp::now(), 100);
    stage.decide("ps_early", Action::Cancel, "early");
    stage.decide("ps_ended", Action::Cancel, "counts");
    stage.await_entries("ps_waits", 1);
    stage.await_entries("ps_early", 1);
    stage.await_outcome("ps_ended");
    engine.stop().unwrap();
    let engine = stage.engine();
    await_metric(&engine, "paybridge_confirmation_open_sessions", 1);
    let remaining = engine.metric("paybridge_confirmation_oldest_remaining_seconds");
    assert!((14_000.0..14_400.0).contains(&remaining), "{remaining}");
    stage.decide("ps_ended", Action::Cancel, "counts");
    await_metric(&engine, "paybridge_confirmation_redelivered_total", 1);
    stage.ready("ps_early", ago(1), 100);
    stage.decide("ps_waits", Action::Confirm, "after the restart");
    let outcomes = stage.await_outcomes(3);
    assert_eq!(outcomes["ps_early"].decision_id, "early");
    assert_eq!(outcomes["ps_waits"].decision_id, "after the restart");
    assert!(outcomes.values().all(|outcome| outcome.result() == Result::Accepted));
    await_metric(&engine, "paybridge_confirmation_open_sessions", 0);
    assert!(engine.metric("paybridge_confirmation_oldest_remaining_seconds").is_infinite());
    assert_eq!(stage.rejections(), []);
    engine.stop().unwrap();
}
