//! One signed webhook at two sources of the same key: a session belongs to the source that opened it first.

use jiff::Timestamp;
use paybridge::config::{Config, SourceName};
use paybridge::message::confirmation::v1::Result;
use paybridge::message::event::v1::QuarantineReason;
use paybridge::provider::smart_glocal::api::Operation;

use super::stage::{Stage, await_metric, ready_body};
use crate::bridge::sender;

/// Two sources that would do the opposite.
const RULES: &str = r#"
[[confirmation.rules]]
name = "main"
when = 'session.source == "sg-main"'
then = "confirm"
[[confirmation.rules]]
name = "second"
when = 'session.source == "sg-second"'
then = "cancel"
"#;

fn with_second(config: &mut Config) {
    let main = config.sources[&SourceName::new("sg-main").unwrap()].clone();
    config.sources.insert(SourceName::new("sg-second").unwrap(), main);
}

#[test]
fn one_webhook_at_two_sources_gets_one_action_and_one_outcome() {
    let stage = Stage::set(RULES);
    let engine = stage.engine_with(with_second);
    let sender = sender(&stage.config, "sg-main");
    let post = |source: &str, id: &str| {
        let body = ready_body(id, "ready", Timestamp::now(), 100).to_string();
        let signed = sender.sign("", body.into(), Timestamp::now(), 0);
        assert_eq!(engine.post(source, &signed).status, 200);
    };
    for (id, first, second) in [("ps_1", "sg-main", "sg-second"), ("ps_2", "sg-second", "sg-main")] {
        post(first, id);
        let outcome = stage.await_outcome(id);
        assert_eq!((outcome.source.as_str(), outcome.result()), (first, Result::Accepted));
        post(second, id);
    }
    // At once, before the first has ended.
    stage.provider.misbehave(paybridge::simulator::Fault::Hold, 1);
    post("sg-main", "ps_3");
    post("sg-second", "ps_3");
    let quarantined = stage.await_quarantined(3);
    for record in &quarantined {
        assert_eq!(record.reason(), QuarantineReason::SessionOfAnotherSource, "{}", record.detail);
    }
    stage.provider.release(1);
    stage.await_outcomes(3);
    await_metric(&engine, "paybridge_confirmation_quarantined_total{reason=\"session_of_another_source\"}", 3);
    for (id, action) in [("ps_1", Operation::Confirm), ("ps_2", Operation::Cancel), ("ps_3", Operation::Confirm)] {
        assert_eq!(stage.provider.session(id).unwrap().actions(), [action], "{id}");
    }
    engine.stop().unwrap();
    // Nor after a restart by whoever has that source alone.
    let only_second = |config: &mut Config| {
        with_second(config);
        config.sources.remove(&SourceName::new("sg-main").unwrap());
    };
    let engine = stage.engine_with(only_second);
    let body = ready_body("ps_1", "once more", Timestamp::now(), 100).to_string();
    let signed = sender.sign("", body.into(), Timestamp::now(), 0);
    assert_eq!(engine.post("sg-second", &signed).status, 200);
    stage.await_quarantined(4);
    assert_eq!(stage.provider.session("ps_1").unwrap().actions(), [Operation::Confirm]);
    engine.stop().unwrap();
}
