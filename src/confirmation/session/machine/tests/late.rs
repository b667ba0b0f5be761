//! More of the machine's rules by the shortest life of a session that shows each: when time is short, or almost over.

use jiff::SignedDuration;

use super::super::timing::later;
use super::super::*;
use super::behaviour::{Life, WAITS, WORKS, decides, ready, ready_of, seconds};
use super::fixtures::{Lived, decision, opened_at, opening};
use crate::message::confirmation::v1::{DeciderKind, RejectionReason, Result as Told};

#[test]
fn a_call_that_was_not_sent_is_no_attempt_and_not_the_one_try_after_the_window() {
    let life = Life::confirmed(Reply::NotSent);
    let Lived::Open(Open { entry: Entry::Decided(decided), .. }) = &life.state else { panic!("it ended") };
    assert_eq!((decided.attempts, decided.key_number), (0, 1));
    let over = life.policy.window_end(&opening());
    let life = life.at(over).asked();
    assert_eq!(life.called(), Some((Operation::Confirm, 1)));
    let life = life.answered(Reply::NotSent).asked();
    assert_eq!(life.called(), Some((Operation::Confirm, 1)), "it was never tried");
    assert_eq!(life.answered(Reply::OurTrouble).asked().called(), None, "it was");
}

#[test]
fn what_the_provider_works_on_when_the_time_is_over_is_not_told_as_expired() {
    let sent = Life::confirmed(Reply::Unclear);
    let end = sent.policy.last_end(&opening());
    let sent = sent.at(end).timer().answered(Reply::Ok(Some(WORKS)));
    assert_eq!(sent.told(), Some((Told::Accepted, true)));
    let undecided = Life::awaiting().at(end).timer().answered(Reply::Ok(Some(WORKS)));
    assert_eq!(undecided.told(), Some((Told::Superseded, true)));
    let waiting = Life::confirmed(Reply::Unclear).at(end).timer().answered(Reply::Ok(Some(WAITS)));
    assert_eq!(waiting.told(), Some((Told::Expired, true)));
}

#[test]
fn each_early_decision_waits_for_its_own_time() {
    let life = Life::new().then(decides(Action::Confirm, "old"));
    let hours = |hours| later(opened_at(), SignedDuration::from_hours(hours));
    let young = Decision { recorded_at: hours(23), ..decision(Action::Cancel, "young", 7) };
    let life = life.at(hours(23)).then(Input::Decision(young)).timer();
    assert_eq!((life.moment.now, life.rejected()), (hours(24), vec![RejectionReason::UnknownSession]));
    assert_eq!(life.due(), Some(hours(47)));
    assert_eq!(life.timer().rejected(), [RejectionReason::UnknownSession]);
}

#[test]
fn an_early_decision_is_not_rejected_by_a_clock_that_is_known_to_be_wrong() {
    let mut life = Life::new().then(decides(Action::Confirm, "a"));
    life.moment.trust = Trust::Untrusted;
    let mut life = life.timer();
    assert!(life.rejected().is_empty() && life.notes(&Note::ClockUntrusted));
    life.moment.trust = Trust::Trusted;
    assert_eq!(life.timer().rejected(), [RejectionReason::UnknownSession]);
}

#[test]
fn a_deadline_that_is_due_at_an_assignment_waits_for_the_inputs_for_a_while() {
    let mut life = Life::awaiting();
    let window_end = life.policy.window_end(&opening());
    let assigned = later(window_end, seconds(-120));
    life.moment.reading = Reading::Behind { since: assigned };
    let mut life = life.at(assigned);
    while life.called().is_none() {
        life = life.timer();
    }
    assert_eq!((life.moment.now, life.called()), (later(assigned, seconds(30)), Some((Operation::Status, 0))));
    let mut late = Life::awaiting();
    let assigned = later(window_end, seconds(-50));
    late.moment.reading = Reading::Behind { since: assigned };
    assert_eq!(late.at(assigned).timer().called(), Some((Operation::Status, 0)), "the last minute has begun");
}

#[test]
fn the_deadline_acts_in_the_margins_second_half_also_where_the_provider_does_not_say_where_the_session_stands() {
    let half = |life: &Life| later(life.policy.window_end(&opening()), -(life.policy.deadline_margin / 2));
    let life = Life::awaiting().timer().answered(Reply::Unclear);
    assert_eq!(life.called(), None, "there is time");
    let now = half(&life);
    assert_eq!(life.at(now).timer().answered(Reply::Unclear).called(), Some((Operation::Cancel, 1)));
    let mut untrusted = Life::awaiting();
    untrusted.moment.trust = Trust::Untrusted;
    let life = untrusted.at(now).timer().answered(Reply::Unclear);
    assert_eq!(life.called(), None, "nobody has told what time it is");
}

#[test]
fn nothing_is_asked_about_a_dry_run_that_has_ended() {
    let dry = |event: &str| {
        let opening = Opening { dry_run: true, ready_event_id: event.into(), ..opening() };
        ready_of(opening, Some((Action::Confirm, Decider::of_kind(DeciderKind::Rule))))
    };
    let ended = Life::new().then(dry("one"));
    assert_eq!(ended.told(), Some((Told::DryRun, false)));
    assert_eq!(ended.then(dry("two")).effects, []);
    assert_eq!(Life::confirmed(Reply::Ok(None)).then(ready(None)).effects, []);
}
