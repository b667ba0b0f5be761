//! Decisions of other teams: early, twice, in conflict, too late, of nobody's session. None is lost in silence.

use jiff::Timestamp;
use paybridge::message::confirmation::v1::{Action, DeciderKind, RejectionReason, Result};
use paybridge::message::smart_glocal::v1::{NextAction, SessionStatus};
use paybridge::provider::smart_glocal::api::{Operation, SessionView};
use prost::Message;

use crate::support::engine_setup::{DECISION, EngineSetup, READY, ago, await_metric, decision, waiting_event};

/// Small payouts are confirmed by a rule; there is a second source.
const SMALL_AND_SECOND_SOURCE: &str = r#"
[[confirmation.rules]]
name = "small"
when = 'session.operations.all(o, o.amount.minor_units >= 1 && o.amount.minor_units <= 500)'
then = "confirm"
"#;

fn told(decision_id: &str, reason: RejectionReason) -> (String, RejectionReason) {
    (decision_id.to_owned(), reason)
}

#[test]
fn early_decisions_wait_for_their_session_and_the_first_counts_on_hold() {
    let setup = EngineSetup::new(SMALL_AND_SECOND_SOURCE);
    let engine = setup.engine();
    setup.decide("ps_held", Action::Cancel, "first");
    setup.decide("ps_held", Action::Confirm, "second");
    setup.decide("ps_held", Action::Cancel, "first");
    setup.decide("ps_ruled", Action::Cancel, "beaten");
    setup.await_entries("ps_held", 2);
    setup.await_entries("ps_ruled", 1);
    await_metric(&engine, "paybridge_confirmation_redelivered_total", 1);
    assert_eq!(engine.count("paybridge_confirmation_open_sessions"), 0, "none was opened");
    assert_eq!(setup.rejections(), []);
    assert_eq!(setup.provider.calls(), 0);

    setup.ready("ps_held", Timestamp::now(), 60_000);
    setup.ready("ps_ruled", Timestamp::now(), 100);
    let outcomes = setup.await_outcomes(2);
    let held = &outcomes["ps_held"];
    assert_eq!((held.action(), held.decided_by_kind()), (Action::Cancel, DeciderKind::Decision));
    assert_eq!((held.decision_id.as_str(), held.reason.as_str()), ("first", "looked at"));
    let ruled = &outcomes["ps_ruled"];
    assert_eq!((ruled.action(), ruled.decided_by_kind()), (Action::Confirm, DeciderKind::Rule));
    assert_eq!((ruled.decision_id.as_str(), ruled.reason.as_str()), ("", ""));
    let expected = [told("beaten", RejectionReason::AlreadyDecided), told("second", RejectionReason::AlreadyDecided)];
    assert_eq!(setup.await_rejections(2), expected);
    await_metric(&engine, "paybridge_confirmation_rejected_total{reason=\"already_decided\"}", 2);
    engine.stop().unwrap();
}

#[test]
fn the_decision_that_counted_is_known_again_and_every_other_one_is_rejected() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.decide("ps_one", Action::Confirm, "counts");
    assert_eq!(setup.await_outcome("ps_one").decision_id, "counts");
    setup.decide("ps_one", Action::Confirm, "counts");
    // What it says now is of no account: it is that decision.
    setup.decide("ps_one", Action::Cancel, "counts");
    setup.decide("ps_one", Action::Confirm, "agrees");
    setup.decide("ps_one", Action::Cancel, "disagrees");
    // Without an identity nothing can be known again.
    setup.decide("ps_one", Action::Confirm, "");
    let decided = RejectionReason::AlreadyDecided;
    assert_eq!(setup.await_rejections(3), [told("", decided), told("agrees", decided), told("disagrees", decided)]);
    await_metric(&engine, "paybridge_confirmation_redelivered_total", 2);
    assert_eq!(setup.provider.session("ps_one").unwrap().actions(), [Operation::Confirm]);
    engine.stop().unwrap();
}

#[test]
fn a_decision_that_comes_after_the_end_of_the_window_is_rejected_as_expired() {
    let setup = EngineSetup::new("at_deadline = \"nothing\"");
    let engine = setup.engine();
    // Over on arrival, and at the provider too.
    let cancelled = SessionView { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified };
    setup.provider.open("ps_over", cancelled);
    setup.ready("ps_over", ago(14_400 + 901), 100);
    let outcome = setup.await_outcome("ps_over");
    assert_eq!((outcome.result(), outcome.verified), (Result::Expired, true));
    setup.decide("ps_over", Action::Confirm, "late");
    assert_eq!(setup.await_rejections(1), [told("late", RejectionReason::Expired)]);
    assert_eq!(setup.provider.session("ps_over").unwrap().actions(), []);
    await_metric(&engine, "paybridge_confirmation_rejected_total{reason=\"expired\"}", 1);
    engine.stop().unwrap();
}

#[test]
fn decisions_for_sessions_that_never_open_are_bounded_across_a_restart() {
    let setup = EngineSetup::new("early_decisions_max = 2");
    let of_one_partition: Vec<String> = setup.sessions_of(0).take(4).collect();
    let engine = setup.engine();
    for id in &of_one_partition[..3] {
        setup.decide(id, Action::Cancel, id);
    }
    let too_many = |id: &String| told(id, RejectionReason::TooManyEarly);
    assert_eq!(setup.await_rejections(1), [too_many(&of_one_partition[2])]);
    await_metric(&engine, "paybridge_confirmation_rejected_total{reason=\"too_many_early\"}", 1);
    engine.assert_fires("PaybridgeEarlyDecisionsFull");
    engine.stop().unwrap();
    let engine = setup.engine();
    setup.decide(&of_one_partition[3], Action::Cancel, "after the restart");
    let mut expected = [too_many(&of_one_partition[2]), told("after the restart", RejectionReason::TooManyEarly)];
    expected.sort();
    assert_eq!(setup.await_rejections(2), expected);
    // An opened session makes room.
    setup.ready(&of_one_partition[0], Timestamp::now(), 100);
    assert_eq!(setup.await_outcome(&of_one_partition[0]).decision_id, of_one_partition[0]);
    setup.decide(&of_one_partition[3], Action::Cancel, "again");
    setup.ready(&of_one_partition[3], Timestamp::now(), 100);
    assert_eq!(setup.await_outcome(&of_one_partition[3]).decision_id, "again");
    engine.stop().unwrap();
}

/// So many wait in each of three partitions, all others are rejected. `PAYBRIDGE_EARLY=full` writes 30,000.
#[test]
fn very_many_decisions_for_sessions_that_never_open_keep_no_session_waiting() {
    let count = match std::env::var("PAYBRIDGE_EARLY").as_deref() {
        Ok("full") => 30_000,
        Ok(other) => panic!("PAYBRIDGE_EARLY is {other}: set it to full, or not at all"),
        Err(_) => 1_000,
    };
    let setup = EngineSetup::new("default = \"confirm\"\nearly_decisions_max = 100");
    let engine = setup.engine();
    let begun = std::time::Instant::now();
    for number in 0..count {
        let nobody = format!("ps_nobody_{number}");
        setup.send(DECISION, &nobody, &decision(&nobody, Action::Cancel, &nobody).encode_to_vec());
    }
    for number in 0..20 {
        setup.ready(&format!("ps_{number}"), Timestamp::now(), 100);
    }
    let outcomes = setup.await_outcomes(20);
    println!("{count} decisions for nobody, 20 sessions decided {:?} after the first", begun.elapsed());
    assert!(outcomes.values().all(|outcome| outcome.result() == Result::Accepted), "{outcomes:?}");
    await_metric(&engine, "paybridge_confirmation_lag_records", 0);
    await_metric(&engine, "paybridge_confirmation_rejected_total{reason=\"too_many_early\"}", count - 3 * 100);
    engine.stop().unwrap();
}

#[test]
fn a_decision_whose_session_never_opens_is_rejected_after_a_while() {
    let setup = EngineSetup::new("unknown_session_ttl_s = 2");
    let engine = setup.engine();
    setup.decide("ps_nobody", Action::Confirm, "one");
    setup.decide("ps_nobody", Action::Cancel, "two");
    let unknown = RejectionReason::UnknownSession;
    assert_eq!(setup.await_rejections(2), [told("one", unknown), told("two", unknown)]);
    // Forgotten, it may still open.
    setup.await_forgotten("ps_nobody");
    setup.ready("ps_nobody", Timestamp::now(), 100);
    setup.decide("ps_nobody", Action::Cancel, "three");
    assert_eq!(setup.await_outcome("ps_nobody").decision_id, "three");
    assert_eq!(setup.await_rejections(2).len(), 2);
    await_metric(&engine, "paybridge_confirmation_rejected_total{reason=\"unknown_session\"}", 2);
    engine.stop().unwrap();
}

#[test]
fn a_decision_of_another_source_than_the_sessions_is_rejected() {
    let second = "[sources.sg-second]\nprovider = \"smart-glocal\"\npublic_key_files = [\"smart-glocal-public.pem\"]\n\
                  [sources.sg-second.api]\nbase_url = \"http://127.0.0.1:9\"\nproject = \"x\"\nversion = 2\n";
    let key = crate::support::bridge::key_file("smart-glocal-private.pem");
    let text = format!("unknown_session_ttl_s = 2\n{second}private_key_file = \"{}\"\n", key.display());
    let setup = EngineSetup::new(&text);
    let engine = setup.engine();
    let decide = |source: &str, session_id: &str, decision_id: &str| {
        let mut decision = decision(session_id, Action::Cancel, decision_id);
        decision.source = source.to_owned();
        setup.write(DECISION, session_id, &decision.encode_to_vec());
    };
    // Before the session opens nobody can tell whose it is.
    decide("sg-second", "ps_one", "early");
    decide("nobody", "ps_one", "early of nobody");
    decide("nobody", "ps_two", "of nobody's session");
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.await_entries("ps_one", 1);
    decide("sg-second", "ps_one", "other");
    decide("nobody", "ps_one", "nobody");
    let mismatch = RejectionReason::SourceMismatch;
    let expected = [
        told("early", mismatch),
        told("early of nobody", mismatch),
        told("nobody", mismatch),
        told("of nobody's session", RejectionReason::UnknownSession),
        told("other", mismatch),
    ];
    assert_eq!(setup.await_rejections(5), expected);
    // And it waits still for the decision of its own.
    setup.decide("ps_one", Action::Confirm, "right");
    assert_eq!(setup.await_outcome("ps_one").decision_id, "right");
    decide("sg-second", "ps_one", "after its end");
    assert!(setup.await_rejections(6).contains(&told("after its end", mismatch)));
    engine.stop().unwrap();
}

#[test]
fn a_session_of_a_source_that_is_not_configured_waits_and_somebody_is_told() {
    let setup = EngineSetup::new("unknown_session_ttl_s = 2");
    let engine = setup.engine();
    let mut event = waiting_event("ps_one", Timestamp::now(), 100);
    event.metadata.as_mut().unwrap().source = "sg-gone".to_owned();
    setup.write(READY, "ps_one", &event.encode_to_vec());
    await_metric(&engine, "paybridge_confirmation_alerts_total{kind=\"unknown_source\"}", 1);
    engine.assert_fires("PaybridgeUnknownSource");
    await_metric(&engine, "paybridge_confirmation_open_sessions", 1);
    setup.ready("ps_known", Timestamp::now(), 100);
    setup.decide("ps_known", Action::Cancel, "known");
    setup.await_outcomes(1);
    assert_eq!(setup.rejections(), []);
    engine.stop().unwrap();
}
