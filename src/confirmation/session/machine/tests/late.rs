//! More of the machine's rules by the shortest life of a session that shows each: when time is short, or almost over.

use jiff::SignedDuration;

use super::super::timing::later;
use super::super::*;
use super::behaviour::{Scenario, WAITS, WORKS, decides, ready, ready_of, seconds};
use super::fixtures::{TestSession, decision, opened_at, opening};
use crate::message::confirmation::v1::{DeciderKind, RejectionReason, Result as SessionResult};

#[test]
fn a_call_that_was_not_sent_is_no_attempt_and_not_the_one_try_after_the_window() {
    let scenario = Scenario::confirmed(Reply::NotSent);
    let TestSession::Open(OpenSession { entry: SessionEntry::Decided(decided), .. }) = &scenario.state else {
        panic!("it ended")
    };
    assert_eq!((decided.attempts, decided.key_number), (0, 1));
    let over = scenario.policy.window_end(&opening());
    let scenario = scenario.at(over).asked();
    assert_eq!(scenario.called(), Some((Operation::Confirm, 1)));
    let scenario = scenario.answered(Reply::NotSent).asked();
    assert_eq!(scenario.called(), Some((Operation::Confirm, 1)), "it was never tried");
    assert_eq!(scenario.answered(Reply::NotProcessed).asked().called(), None, "it was");
}

#[test]
fn what_the_provider_works_on_when_the_time_is_over_is_not_told_as_expired() {
    let sent = Scenario::confirmed(Reply::Unclear);
    let end = sent.policy.last_end(&opening());
    let sent = sent.at(end).timer().answered(Reply::Ok(Some(WORKS)));
    assert_eq!(sent.result(), Some((SessionResult::Accepted, true)));
    let undecided = Scenario::awaiting().at(end).timer().answered(Reply::Ok(Some(WORKS)));
    assert_eq!(undecided.result(), Some((SessionResult::Superseded, true)));
    let waiting = Scenario::confirmed(Reply::Unclear).at(end).timer().answered(Reply::Ok(Some(WAITS)));
    assert_eq!(waiting.result(), Some((SessionResult::Expired, true)));
}

#[test]
fn each_early_decision_waits_for_its_own_time() {
    let scenario = Scenario::new().then(decides(Action::Confirm, "old"));
    let hours = |hours| later(opened_at(), SignedDuration::from_hours(hours));
    let young = Decision { recorded_at: hours(23), ..decision(Action::Cancel, "young", 7) };
    let scenario = scenario.at(hours(23)).then(Input::Decision(young)).timer();
    assert_eq!((scenario.context.now, scenario.rejected()), (hours(24), vec![RejectionReason::UnknownSession]));
    assert_eq!(scenario.due(), Some(hours(47)));
    assert_eq!(scenario.timer().rejected(), [RejectionReason::UnknownSession]);
}

#[test]
fn an_early_decision_is_not_rejected_by_a_clock_that_is_known_to_be_wrong() {
    let mut scenario = Scenario::new().then(decides(Action::Confirm, "a"));
    scenario.context.clock = ClockState::Untrusted;
    let mut scenario = scenario.timer();
    assert!(scenario.rejected().is_empty() && scenario.notes(&Note::ClockUntrusted));
    scenario.context.clock = ClockState::Trusted;
    assert_eq!(scenario.timer().rejected(), [RejectionReason::UnknownSession]);
}

#[test]
fn a_deadline_that_is_due_at_an_assignment_waits_for_the_inputs_for_a_while() {
    let mut scenario = Scenario::awaiting();
    let window_end = scenario.policy.window_end(&opening());
    let assigned = later(window_end, seconds(-120));
    scenario.context.progress = InputProgress::Behind { since: assigned };
    let mut scenario = scenario.at(assigned);
    while scenario.called().is_none() {
        scenario = scenario.timer();
    }
    assert_eq!((scenario.context.now, scenario.called()), (later(assigned, seconds(30)), Some((Operation::Status, 0))));
    let mut late = Scenario::awaiting();
    let assigned = later(window_end, seconds(-50));
    late.context.progress = InputProgress::Behind { since: assigned };
    assert_eq!(late.at(assigned).timer().called(), Some((Operation::Status, 0)), "the last minute has begun");
}

#[test]
fn the_deadline_acts_in_the_margins_second_half_also_where_the_provider_does_not_say_where_the_session_stands() {
    let half =
        |scenario: &Scenario| later(scenario.policy.window_end(&opening()), -(scenario.policy.deadline_margin / 2));
    let scenario = Scenario::awaiting().timer().answered(Reply::Unclear);
    assert_eq!(scenario.called(), None, "there is time");
    let now = half(&scenario);
    assert_eq!(scenario.at(now).timer().answered(Reply::Unclear).called(), Some((Operation::Cancel, 1)));
    let mut untrusted = Scenario::awaiting();
    untrusted.context.clock = ClockState::Untrusted;
    let scenario = untrusted.at(now).timer().answered(Reply::Unclear);
    assert_eq!(scenario.called(), None, "nobody has told what time it is");
}

#[test]
fn nothing_is_asked_about_a_dry_run_that_has_ended() {
    let dry = |event: &str| {
        let opening = Opening { dry_run: true, ready_event_id: event.into(), ..opening() };
        ready_of(opening, Some((Action::Confirm, Decider::of_kind(DeciderKind::Rule))))
    };
    let ended = Scenario::new().then(dry("one"));
    assert_eq!(ended.result(), Some((SessionResult::DryRun, false)));
    assert_eq!(ended.then(dry("two")).effects, []);
    assert_eq!(Scenario::confirmed(Reply::Ok(None)).then(ready(None)).effects, []);
}
