//! What the engine's metrics show while sessions live and end: every series moves when it should.

use jiff::Timestamp;
use paybridge::message::confirmation::v1::Action;
use paybridge::message::smart_glocal::v1::ReadyToConfirm;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::Fault;
use prost::Message;
use serde_json::Value;

use crate::support::engine_setup::{EngineSetup, READY, ago, await_metric, event_of, ready_body};

/// A rule of each kind; what is left is confirmed.
const RULES: &str = r#"
default = "confirm"
[[confirmation.rules]]
name = "held"
when = 'session.operations.exists(o, o.amount.minor_units == 1)'
then = "hold"
[[confirmation.rules]]
name = "fails"
when = 'session.operations[0].amount.minor_units == 2 && session.operations[7].kind == "payout"'
then = "cancel"
[[confirmation.rules]]
name = "large"
when = 'session.operations.exists(o, o.amount.minor_units > 1000000)'
then = "cancel"
"#;

#[test]
fn every_series_moves_when_it_should() {
    let setup = EngineSetup::new(RULES);
    let engine = setup.engine();
    let shows = |series: &str, value: u64| await_metric(&engine, &format!("paybridge_confirmation_{series}"), value);
    shows("assigned_partitions", 3);
    shows("restoring_since_timestamp_seconds", 0);
    for (id, cents) in [("ps_held", 1), ("ps_fails", 2)] {
        setup.ready(id, Timestamp::now(), cents);
    }
    let mut without_operations = ready_body("ps_bare", "ready", ago(14_400 - 1000), 100);
    without_operations["session"]["payout_list"] = Value::Array(Vec::new());
    let without_operations: ReadyToConfirm = event_of(&without_operations);
    setup.provider.misbehave_at(Operation::Cancel, Fault::Hold, 1);
    setup.write(READY, "ps_bare", &without_operations.encode_to_vec());
    shows("open_sessions", 3);
    shows("calls_in_flight", 1);
    for (reason, count) in [("rule", 1), ("rule_failed", 1), ("not_evaluated", 1), ("no_rule", 0)] {
        shows(&format!("held_total{{reason=\"{reason}\"}}"), count);
    }
    shows("rule_failures_total{rule=\"fails\"}", 1);
    let remaining = engine.metric("paybridge_confirmation_oldest_remaining_seconds");
    assert!((900.0..=1000.0).contains(&remaining), "{remaining}");
    setup.provider.release(1);
    setup.ready("ps_large", Timestamp::now(), 2_000_000);
    setup.ready("ps_other", Timestamp::now(), 100);
    for id in ["ps_held", "ps_fails"] {
        setup.decide(id, Action::Confirm, "by hand");
    }
    setup.await_outcomes(5);
    for (kind, rule, count) in
        [("rule", "large", 1), ("rule", "held", 0), ("decision", "", 2), ("deadline", "", 1), ("default", "", 1)]
    {
        shows(&format!("decisions_total{{kind=\"{kind}\",rule=\"{rule}\"}}"), count);
    }
    shows("outcomes_total{action=\"confirm\",result=\"accepted\"}", 3);
    shows("outcomes_total{action=\"cancel\",result=\"accepted\"}", 2);
    for (operation, count) in [("confirm", 3), ("cancel", 2), ("status", 1)] {
        shows(&format!("calls_total{{operation=\"{operation}\",outcome=\"ok\"}}"), count);
        shows(&format!("call_duration_seconds_count{{operation=\"{operation}\"}}"), count);
    }
    for (series, value) in [("open_sessions", 0), ("calls_in_flight", 0), ("lag_records", 0)] {
        shows(series, value);
    }
    assert!(engine.metric("paybridge_confirmation_oldest_remaining_seconds").is_infinite());
    assert!(engine.count("paybridge_confirmation_transactions_total{result=\"committed\"}") > 0);
    for end in ["aborted", "fenced", "unknown"] {
        shows(&format!("transactions_total{{result=\"{end}\"}}"), 0);
    }
    shows("rebuilds_total", 0);
    engine.stop().unwrap();
}
