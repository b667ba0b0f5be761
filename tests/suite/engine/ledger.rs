//! The engine's memory as it stands on its topic: whose it is, when it forgets, and what it does not understand.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use paybridge::config::Config;
use paybridge::message::confirmation::v1::{Action, LedgerEntry, Result};
use paybridge::provider::smart_glocal::api::Operation;
use prost::Message;

use crate::support::engine_setup::{EngineSetup, LEDGER, READY, ago, await_metric, ready_event};

const STOPPED: &str = "paybridge_confirmation_stopped_partitions{reason=\"unreadable\"}";

#[test]
fn every_written_partition_begins_with_its_owner() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine();
    for number in 0..12 {
        setup.ready(&format!("ps_{number}"), Timestamp::now(), 100);
    }
    setup.await_outcomes(12);
    engine.stop().unwrap();
    // Each assignment says it again, before anything else.
    let engine = setup.engine();
    setup.ready("ps_more", Timestamp::now(), 100);
    setup.await_outcomes(13);
    engine.stop().unwrap();
    let mut owners = BTreeMap::new();
    for record in setup.records(LEDGER) {
        let owners = owners.entry(record.partition).or_insert(0);
        let is_owner = record.key.as_deref() == Some(b"owner");
        assert!(is_owner || *owners > 0, "an entry before its owner: {record:?}");
        *owners += i32::from(is_owner);
    }
    assert_eq!(owners, BTreeMap::from([(0, 2), (1, 2), (2, 2)]));
}

#[test]
fn an_entry_of_a_later_version_stops_its_partition_and_no_other() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let entry = LedgerEntry {
        schema: 2,
        source: "sg-main".to_owned(),
        session_id: "ps_later".to_owned(),
        ..LedgerEntry::default()
    };
    let stopped = setup.partition_of("ps_later");
    setup.write_to(LEDGER, stopped, "sg-main/ps_later", Some(&entry.encode_to_vec()));
    let ids: Vec<String> = (0..12).map(|number| format!("ps_{number}")).collect();
    for id in &ids {
        setup.ready(id, Timestamp::now(), 100);
    }
    let engine = setup.engine();
    let others: Vec<&String> = ids.iter().filter(|id| setup.partition_of(id) != stopped).collect();
    let outcomes = setup.await_outcomes(others.len());
    assert!(others.iter().all(|id| outcomes.contains_key(*id)));
    await_metric(&engine, STOPPED, 1);
    engine.assert_fires("PaybridgeLedgerUnreadable");
    await_metric(&engine, "paybridge_confirmation_assigned_partitions", 2);
    engine.stop().unwrap();
    // It still stands still, and nothing was taken from its inputs: a later version decides.
    let engine = setup.engine();
    await_metric(&engine, STOPPED, 1);
    setup.await_outcomes(others.len());
    engine.stop().unwrap();
    assert!(setup.provider.sessions().keys().all(|id| setup.partition_of(id) != stopped));
}

/// A memory that forgets fast: less than a configuration may ask for.
fn forgetful(config: &mut Config) {
    config.confirmation.window_s = 2;
    config.confirmation.deadline_margin_s = 1;
    config.confirmation.ledger_retention_s = 1;
}

#[test]
fn ended_sessions_are_forgotten_after_a_while_and_come_back_by_no_redelivery() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine_with(forgetful);
    // Not before the engine runs: what waits longer than it remembers opens nothing.
    let received_at = Timestamp::now();
    setup.ready("ps_one", received_at, 100);
    setup.await_outcome("ps_one");
    // Opened and decided at once, ended, forgotten.
    let entries = setup.await_forgotten("ps_one");
    assert_eq!(entries.len(), 3, "decided, done, forgotten");
    engine.stop().unwrap();
    let engine = setup.engine_with(forgetful);
    setup.ready("ps_one", received_at, 100);
    await_metric(&engine, "paybridge_confirmation_alerts_total{kind=\"too_old\"}", 1);
    let again = ready_event("ps_one", "another", received_at + SignedDuration::from_millis(1), 100);
    setup.write(READY, "ps_one", &again.encode_to_vec());
    await_metric(&engine, "paybridge_confirmation_alerts_total{kind=\"too_old\"}", 2);
    engine.assert_fires("PaybridgeEventsTooOld");
    setup.await_outcomes(1);
    assert_eq!(setup.provider.session("ps_one").unwrap().actions(), [Operation::Confirm]);
    engine.stop().unwrap();
}

#[test]
fn what_was_going_on_before_a_restart_goes_on_after_it() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    setup.ready("ps_waits", Timestamp::now(), 100);
    setup.ready("ps_ended", Timestamp::now(), 100);
    setup.decide("ps_early", Action::Cancel, "early");
    setup.decide("ps_ended", Action::Cancel, "counts");
    setup.await_entries("ps_waits", 1);
    setup.await_entries("ps_early", 1);
    setup.await_outcome("ps_ended");
    engine.stop().unwrap();
    let engine = setup.engine();
    await_metric(&engine, "paybridge_confirmation_open_sessions", 1);
    let remaining = engine.metric("paybridge_confirmation_oldest_remaining_seconds");
    assert!((14_000.0..14_400.0).contains(&remaining), "{remaining}");
    setup.decide("ps_ended", Action::Cancel, "counts");
    await_metric(&engine, "paybridge_confirmation_redelivered_total", 1);
    setup.ready("ps_early", ago(1), 100);
    setup.decide("ps_waits", Action::Confirm, "after the restart");
    let outcomes = setup.await_outcomes(3);
    assert_eq!(outcomes["ps_early"].decision_id, "early");
    assert_eq!(outcomes["ps_waits"].decision_id, "after the restart");
    assert!(outcomes.values().all(|outcome| outcome.result() == Result::Accepted));
    await_metric(&engine, "paybridge_confirmation_open_sessions", 0);
    assert!(engine.metric("paybridge_confirmation_oldest_remaining_seconds").is_infinite());
    assert_eq!(setup.rejections(), []);
    engine.stop().unwrap();
}
