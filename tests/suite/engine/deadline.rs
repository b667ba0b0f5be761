//! What is done when nobody decides: at the margin, after the window, at the last end; and when it must not be done.

use jiff::{SignedDuration, Timestamp};
use paybridge::message::confirmation::v1::{Action, DeciderKind, Result};
use paybridge::message::smart_glocal::v1::{NextAction, SessionStatus};
use paybridge::provider::smart_glocal::api::{Operation, SessionView};
use paybridge::simulator::{Fault, ProviderClock};
use prost::Message;

use crate::support::engine_setup::{DECISION, EngineSetup, ago, await_metric, decision};

/// The window, and from its end to the last end, in seconds.
const WINDOW: i64 = 14_400;
const LAST_END: i64 = WINDOW + 900;

const CANCELLED: SessionView = SessionView { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified };

#[test]
fn the_action_at_the_deadline_is_the_configured_one() {
    for (at_deadline, expected) in [("confirm", Operation::Confirm), ("cancel", Operation::Cancel)] {
        let setup = EngineSetup::new(&format!("at_deadline = \"{at_deadline}\""));
        // The provider waits still after the end of the window by our clock.
        setup.restore("ps_over", ago(WINDOW + 60));
        let engine = setup.engine();
        setup.ready("ps_late", ago(WINDOW - 1000), 100);
        let outcomes = setup.await_outcomes(2);
        for id in ["ps_late", "ps_over"] {
            assert_eq!(outcomes[id].decided_by_kind(), DeciderKind::Deadline, "{id}");
            assert_eq!(outcomes[id].result(), Result::Accepted, "{id}");
            let session = setup.provider.session(id).unwrap();
            let operations: Vec<Operation> = session.received.iter().map(|received| received.operation).collect();
            assert_eq!(operations, [Operation::Status, expected], "{id}");
        }
        assert!(outcomes["ps_over"].remaining_seconds < 0);
        await_metric(&engine, "paybridge_confirmation_decisions_total{kind=\"deadline\",rule=\"\"}", 2);
        engine.stop().unwrap();
    }
}

#[test]
fn a_session_that_is_over_on_arrival_opens_as_usual_while_the_provider_waits() {
    let setup = EngineSetup::new("[[confirmation.rules]]\nname = \"all\"\nwhen = \"true\"\nthen = \"confirm\"");
    let engine = setup.engine();
    setup.ready("ps_over", ago(WINDOW + 60), 100);
    let outcome = setup.await_outcome("ps_over");
    assert_eq!((outcome.result(), outcome.decided_by_kind()), (Result::Accepted, DeciderKind::Rule));
    let received = setup.provider.session("ps_over").unwrap().received;
    let operations: Vec<Operation> = received.iter().map(|received| received.operation).collect();
    assert_eq!(operations, [Operation::Status, Operation::Confirm]);
    assert!((WINDOW - 120..=WINDOW).contains(&outcome.remaining_seconds), "its window begins with its record");
    engine.stop().unwrap();
}

#[test]
fn what_the_provider_ended_itself_is_told_as_it_says() {
    let setup = EngineSetup::new("at_deadline = \"nothing\"");
    let accepted = SessionView { status: SessionStatus::Accepted, ..CANCELLED };
    setup.provider.open("ps_cancelled", CANCELLED);
    setup.provider.open("ps_accepted", accepted);
    // Nothing is done, the provider does nothing either, and the last end comes.
    setup.restore("ps_waiting", ago(LAST_END - 5));
    let engine = setup.engine();
    setup.ready("ps_cancelled", ago(WINDOW + 60), 100);
    setup.ready("ps_accepted", ago(WINDOW + 60), 100);
    let outcomes = setup.await_outcomes(3);
    for (id, result) in
        [("ps_cancelled", Result::Expired), ("ps_accepted", Result::Superseded), ("ps_waiting", Result::Expired)]
    {
        let outcome = &outcomes[id];
        assert_eq!((outcome.result(), outcome.verified), (result, true), "{id}");
        assert_eq!((outcome.action(), outcome.decided_by_kind()), (Action::Unspecified, DeciderKind::Provider), "{id}");
        assert_eq!(setup.provider.session(id).unwrap().actions(), [], "{id}");
    }
    await_metric(&engine, "paybridge_confirmation_outcomes_total{action=\"none\",result=\"expired\"}", 2);
    engine.assert_fires("PaybridgeSessionsExpired");
    await_metric(&engine, "paybridge_confirmation_outcomes_total{action=\"none\",result=\"superseded\"}", 1);
    engine.stop().unwrap();
}

#[test]
fn after_the_window_the_action_is_tried_once_and_the_last_end_is_told_with_or_without_the_providers_word() {
    let setup = EngineSetup::new("");
    setup.provider.misbehave_at(Operation::Cancel, Fault::BurnKey, 100);
    setup.restore("ps_in_vain", ago(LAST_END - 8));
    let engine = setup.engine();
    let outcome = setup.await_outcome("ps_in_vain");
    assert_eq!((outcome.result(), outcome.verified, outcome.attempts), (Result::Expired, true, 1));
    assert_eq!((outcome.action(), outcome.decided_by_kind()), (Action::Cancel, DeciderKind::Deadline));
    let received = setup.provider.session("ps_in_vain").unwrap().received;
    let cancels = received.iter().filter(|received| received.operation == Operation::Cancel).count();
    assert_eq!(cancels, 1, "{received:?}");
    assert!(received.len() > 2, "the status is asked until the last end: {received:?}");

    engine.stop().unwrap();

    setup.provider.misbehave(Fault::Unauthorized, 1000);
    setup.restore("ps_unknown", ago(LAST_END - 4));
    let engine = setup.engine();
    let outcome = setup.await_outcome("ps_unknown");
    assert_eq!((outcome.result(), outcome.verified, outcome.attempts), (Result::Expired, false, 0));
    assert!(outcome.answered_at.is_none());
    engine.stop().unwrap();
}

#[test]
fn a_clock_four_hours_ahead_cancels_nothing_until_it_is_right_again() {
    let setup = EngineSetup::new("");
    setup.provider.set_clock(ProviderClock::Offset(SignedDuration::from_hours(-4)));
    let engine = setup.engine();
    setup.provider.open("ps_over", CANCELLED);
    await_metric(&engine, "paybridge_clock_trusted{part=\"engine\"}", 1);
    // It opens before the provider is asked of anything: by a clock that is not trusted nothing opens.
    setup.ready("ps_decided", ago(WINDOW - 120), 100);
    setup.await_entries("ps_decided", 1);
    setup.ready("ps_late", ago(WINDOW - 120), 100);
    setup.ready("ps_over", ago(LAST_END + 60), 100);
    let alert = "paybridge_confirmation_alerts_total{kind=\"clock_untrusted\"}";
    await_metric(&engine, alert, 3);
    await_metric(&engine, "paybridge_clock_trusted{part=\"engine\"}", 0);
    engine.assert_fires("PaybridgeClockUntrusted");
    // What somebody decided is no matter of clocks.
    setup.decide("ps_decided", Action::Confirm, "by hand");
    assert_eq!(setup.await_outcome("ps_decided").result(), Result::Accepted);
    for id in ["ps_late", "ps_over"] {
        assert_eq!(setup.provider.session(id).unwrap().actions(), [], "{id}");
    }
    assert_eq!(setup.outcomes().len(), 1);
    setup.provider.set_clock(ProviderClock::Offset(SignedDuration::ZERO));
    let outcomes = setup.await_outcomes(3);
    assert_eq!(outcomes["ps_late"].decided_by_kind(), DeciderKind::Deadline);
    assert_eq!(outcomes["ps_late"].result(), Result::Accepted);
    assert_eq!(outcomes["ps_over"].result(), Result::Expired);
    engine.stop().unwrap();
}

/// The margin of 20 minutes has begun, half of it has not: the inputs are read first.
#[test]
fn a_decision_of_the_downtime_beats_the_deadline_from_behind_a_backlog() {
    let setup = EngineSetup::new("");
    setup.ready("ps_late", ago(WINDOW - 1000), 100);
    let place = setup.partition_of("ps_late");
    for id in setup.sessions_of(place).take(6000) {
        setup.send(DECISION, &id, &decision(&id, Action::Cancel, "backlog").encode_to_vec());
    }
    setup.decide("ps_late", Action::Confirm, "in time");
    let engine = setup.engine();
    assert_eq!(setup.await_outcome("ps_late").decision_id, "in time");
    assert_eq!(setup.provider.session("ps_late").unwrap().actions(), [Operation::Confirm]);
    await_metric(&engine, "paybridge_confirmation_lag_records", 0);
    engine.stop().unwrap();
}

/// What a partition ends with may be a marker that no reader ever gets.
#[test]
fn the_deadline_waits_for_no_transaction_marker() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    setup.ready("ps_one", Timestamp::now(), 100);
    let value = decision("ps_one", Action::Confirm, "strayed").encode_to_vec();
    setup.write_to(DECISION, setup.other_partition("ps_one"), "ps_one", Some(&value));
    setup.await_outcome("ps_one");
    engine.stop().unwrap();
    let place = setup.partition_of("ps_one");
    let late = setup.sessions_of(place).next().unwrap();
    setup.ready(&late, ago(WINDOW - 1000), 100);
    let engine = setup.engine();
    // Half of the margin is over in 400 s: far beyond the limit of this wait.
    assert_eq!(setup.await_outcome(&late).decided_by_kind(), DeciderKind::Deadline);
    engine.stop().unwrap();
}
