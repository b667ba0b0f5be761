//! One signed webhook at two sources of the same key: a session belongs to the source that opened it first.

use jiff::{SignedDuration, Timestamp};
use paybridge::config::{Config, SourceName};
use paybridge::message::confirmation::v1::{Action, DecisionRejected, Result};
use paybridge::message::event::v1::QuarantineReason;
use paybridge::provider::smart_glocal::api::Operation;
use prost::Message;

use super::clocks::{await_shown, await_trust};
use crate::support::bridge::{key_file, sender};
use crate::support::daemon::Daemon;
use crate::support::engine_setup::{DECISION, EngineSetup, READY, await_metric, decision, ready_body, waiting_event};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::shifted_clock::ShiftedClock;

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

/// The same source once more, under another name.
pub fn with_second(config: &mut Config) {
    let main = config.sources[&SourceName::new("sg-main").unwrap()].clone();
    config.sources.insert(SourceName::new("sg-second").unwrap(), main);
}

fn only_second(config: &mut Config) {
    with_second(config);
    config.sources.remove(&SourceName::new("sg-main").unwrap());
}

#[test]
fn one_webhook_at_two_sources_gets_one_action_and_one_outcome() {
    let setup = EngineSetup::new(RULES);
    let engine = setup.engine_with(with_second);
    let sender = sender(&setup.config, "sg-main");
    let post = |source: &str, id: &str| {
        let body = ready_body(id, "ready", Timestamp::now(), 100).to_string();
        let signed = sender.sign("", body.into(), Timestamp::now(), 0);
        assert_eq!(engine.post(source, &signed).status, 200);
    };
    for (id, first, second) in [("ps_1", "sg-main", "sg-second"), ("ps_2", "sg-second", "sg-main")] {
        post(first, id);
        let outcome = setup.await_outcome(id);
        assert_eq!((outcome.source.as_str(), outcome.result()), (first, Result::Accepted));
        post(second, id);
    }
    // At once, before the first has ended.
    setup.provider.misbehave(paybridge::simulator::Fault::Hold, 1);
    post("sg-main", "ps_3");
    post("sg-second", "ps_3");
    let quarantined = setup.await_quarantined(3);
    for record in &quarantined {
        assert_eq!(record.reason(), QuarantineReason::SessionOfAnotherSource, "{}", record.detail);
    }
    setup.provider.release(1);
    setup.await_outcomes(3);
    await_metric(&engine, "paybridge_confirmation_quarantined_total{reason=\"session_of_another_source\"}", 3);
    engine.assert_fires("PaybridgeSessionOfAnotherSource");
    for (id, action) in [("ps_1", Operation::Confirm), ("ps_2", Operation::Cancel), ("ps_3", Operation::Confirm)] {
        assert_eq!(setup.provider.session(id).unwrap().actions(), [action], "{id}");
    }
    engine.stop().unwrap();
    // Nor after a restart by whoever has that source alone.
    let engine = setup.engine_with(only_second);
    let body = ready_body("ps_1", "once more", Timestamp::now(), 100).to_string();
    let signed = sender.sign("", body.into(), Timestamp::now(), 0);
    assert_eq!(engine.post("sg-second", &signed).status, 200);
    setup.await_quarantined(4);
    assert_eq!(setup.provider.session("ps_1").unwrap().actions(), [Operation::Confirm]);
    engine.stop().unwrap();
}

fn decide_for_second(setup: &EngineSetup, session_id: &str, decision_id: &str) {
    let mut decision = decision(session_id, Action::Confirm, decision_id);
    decision.source = "sg-second".to_owned();
    setup.write(DECISION, session_id, &decision.encode_to_vec());
}

/// Waits until the decision of this id is rejected. Whether the early one is too hangs on which topic was read first.
fn await_rejection(setup: &EngineSetup, decision_id: &str) {
    let is_it =
        |rejected: &DecisionRejected| rejected.decision.as_ref().is_some_and(|it| it.decision_id == decision_id);
    eventually(LIMIT, || {
        setup.rejections().iter().any(is_it).then_some(()).ok_or_else(|| format!("{decision_id} is not rejected"))
    });
}

#[test]
fn decisions_for_the_other_source_count_neither_before_nor_after_nor_where_it_is_the_only_one() {
    let setup = EngineSetup::new("");
    let engine = setup.engine_with(with_second);
    decide_for_second(&setup, "ps_1", "early");
    setup.ready("ps_1", Timestamp::now(), 100);
    setup.await_entries("ps_1", 1);
    decide_for_second(&setup, "ps_1", "late");
    await_rejection(&setup, "late");
    engine.stop().unwrap();

    let engine = setup.engine_with(only_second);
    let mut event = waiting_event("ps_1", Timestamp::now(), 100);
    event.metadata.as_mut().unwrap().source = "sg-second".to_owned();
    let event = event.encode_to_vec();
    setup.write(READY, "ps_1", &event);
    setup.await_quarantined(1);
    decide_for_second(&setup, "ps_1", "after the restart");
    await_rejection(&setup, "after the restart");
    engine.stop().unwrap();
    assert!(setup.provider.session("ps_1").is_none_or(|session| session.actions().is_empty()));

    let engine = setup.engine_with(with_second);
    setup.decide("ps_1", Action::Cancel, "the right one");
    assert_eq!(setup.await_outcome("ps_1").decision_id, "the right one");
    setup.write(READY, "ps_1", &event);
    setup.await_quarantined(2);
    assert_eq!(setup.provider.session("ps_1").unwrap().actions(), [Operation::Cancel]);
    engine.stop().unwrap();
}

/// Nobody is called in a dry run, so nobody can be asked whose session it is: both wait until the clock is right.
#[test]
fn a_dry_run_whose_clock_is_wrong_opens_a_session_for_one_source_alone() {
    let (setup, text) = EngineSetup::for_process_with_topics("default = \"confirm\"\ndry_run = true");
    let public_key = key_file("smart-glocal-public.pem");
    let second = format!(
        "[sources.sg-second]\nprovider = \"smart-glocal\"\npublic_key_files = [\"{}\"]\n",
        public_key.display()
    );
    let daemon = Daemon::run_with_clock(&format!("{text}\n{second}"), ShiftedClock::by(SignedDuration::from_hours(2)));
    daemon.await_ready();
    await_trust(&daemon, "0");
    setup.ready("ps_1", Timestamp::now(), 100);
    let mut event = waiting_event("ps_1", Timestamp::now(), 100);
    event.metadata.as_mut().unwrap().source = "sg-second".to_owned();
    setup.write(READY, "ps_1", &event.encode_to_vec());
    setup.await_entries("ps_1", 1);
    daemon.shift_clock(SignedDuration::ZERO);
    await_trust(&daemon, "1");
    setup.await_outcome("ps_1");
    await_shown(&daemon, "paybridge_confirmation_open_sessions 0");
    setup.await_outcomes(1);
}
