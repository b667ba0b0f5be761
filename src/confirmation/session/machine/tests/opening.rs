//! More of the machine's rules: what is asked before a session opens, and what opens nothing.

use jiff::SignedDuration;

use super::super::timing::later;
use super::super::*;
use super::behaviour::{CANCELLED, Scenario, WAITS, WORKS, decides, ready_of};
use super::fixtures::{TestSession, opened_at, opening};
use crate::message::confirmation::v1::{DeciderKind, RejectionReason, Result as SessionResult};

fn rule() -> (Action, Decider) {
    (Action::Confirm, Decider { name: "a rule".into(), ..Decider::of_kind(DeciderKind::Rule) })
}

/// An event whose window began at [`opened_at`] and that Kafka appended now.
fn arrives(scenario: Scenario, basis: RuleBasis, age: EventAge) -> Scenario {
    let opening = Opening { recorded_at: scenario.context.now, ..opening() };
    scenario.then(Input::Ready { opening, basis, age })
}

fn arrives_late(scenario: Scenario, after: SignedDuration) -> Scenario {
    let now = later(opened_at(), after);
    arrives(scenario.at(now), RuleBasis::Webhook(Some(rule())), EventAge::Known)
}

fn shows(scenario: Scenario, view: SessionView, details: StatusDetails) -> Scenario {
    let (operation, number, _) = scenario.call().expect("no call is on its way");
    let reply = Reply::Ok(Some(view));
    scenario.then(Input::Answer { number, operation, reply, retry_after: None, details: Some(Box::new(details)) })
}

fn is_absent(scenario: &Scenario) -> bool {
    matches!(scenario.state, TestSession::Absent)
}

#[test]
fn a_session_whose_window_is_over_on_arrival_opens_as_usual_while_the_provider_waits() {
    let scenario = arrives_late(Scenario::new(), SignedDuration::from_hours(4));
    assert_eq!(scenario.called(), None);
    let scenario = scenario.timer();
    assert_eq!(scenario.called(), Some((Operation::Status, 0)));
    let recorded_at = scenario.context.now;
    let scenario = scenario.answered(Reply::Ok(Some(WAITS)));
    assert_eq!(scenario.called(), Some((Operation::Confirm, 1)), "by its rule");
    let TestSession::Open(OpenSession { entry: SessionEntry::Decided(decided), .. }) = &scenario.state else {
        panic!("it is not decided")
    };
    assert_eq!(decided.opening.window_began_at, recorded_at, "its window begins with its record");
    assert_eq!(scenario.answered(Reply::Ok(None)).result(), Some((SessionResult::Accepted, true)));
}

#[test]
fn a_session_that_is_over_at_the_provider_too_ends_without_a_decision() {
    let late = || arrives_late(Scenario::new(), SignedDuration::from_hours(4)).timer();
    assert_eq!(late().answered(Reply::Ok(Some(CANCELLED))).result(), Some((SessionResult::Expired, true)));
    let last_end = late().policy.last_end_of(late().context.now);
    let silent = late().answered(Reply::Unclear).at(last_end).timer().answered(Reply::Unclear);
    assert_eq!(silent.result(), Some((SessionResult::Expired, false)));
    let working = late().answered(Reply::Ok(Some(WORKS))).at(last_end).timer().answered(Reply::Ok(Some(WORKS)));
    assert_eq!(working.result(), Some((SessionResult::Superseded, true)));
}

/// A session that ended and was forgotten is sent again by whoever captured its webhook.
#[test]
fn what_may_have_ended_and_been_forgotten_opens_only_while_the_provider_waits() {
    let remembered = Scenario::new().policy.ledger_retention;
    let old = || arrives_late(Scenario::new(), remembered).timer();
    let last_end = old().policy.last_end_of(old().context.now);
    let ended = old().answered(Reply::Ok(Some(CANCELLED)));
    assert!(ended.notes(&Note::TooOld) && is_absent(&ended) && ended.result().is_none());
    // What is no end may be a moment's.
    let working = old().answered(Reply::Ok(Some(WORKS)));
    assert!(!is_absent(&working));
    let working = working.at(last_end).timer().answered(Reply::Ok(Some(WORKS)));
    assert!(working.notes(&Note::TooOld) && is_absent(&working) && working.result().is_none());
    assert_eq!(old().answered(Reply::Ok(Some(WAITS))).called(), Some((Operation::Confirm, 1)));
    let silent = old().answered(Reply::NotProcessed).at(last_end).timer().answered(Reply::NotProcessed);
    assert!(silent.notes(&Note::TooOld) && is_absent(&silent));
    let undated = arrives(Scenario::new(), RuleBasis::Webhook(Some(rule())), EventAge::Unknown).timer();
    let undated = undated.answered(Reply::Ok(Some(CANCELLED)));
    assert!(undated.notes(&Note::TooOld) && is_absent(&undated), "it does not tell how old it is");
}

#[test]
fn a_clock_that_is_not_trusted_opens_nothing_and_passes_nothing_over() {
    for (ahead_h, reply) in [(0, WAITS), (5, WAITS), (29, CANCELLED)] {
        let mut scenario = Scenario::new();
        scenario.context.clock = ClockState::Untrusted;
        let mut scenario =
            arrives_late(scenario, SignedDuration::from_hours(ahead_h)).then(decides(Action::Cancel, "d"));
        for _ in 0..3 {
            scenario = scenario.timer().answered(Reply::Ok(Some(reply)));
            assert!(scenario.notes(&Note::ClockUntrusted), "it is told");
            assert_eq!((scenario.called(), scenario.result()), (None, None), "{ahead_h}");
        }
        // The clock is put right.
        let mut scenario = scenario.at(later(opened_at(), SignedDuration::from_mins(2)));
        scenario.context.clock = ClockState::Trusted;
        scenario.state = match scenario.state {
            TestSession::Open(open) => TestSession::Open(OpenSession::taken_over(open.entry)), // as the engine reads its ledger again
            other => other,
        };
        let scenario = scenario.timer().answered(Reply::Ok(Some(WAITS)));
        assert_eq!(scenario.called(), Some((Operation::Confirm, 1)), "by its rule");
        assert_eq!(scenario.rejected(), [RejectionReason::AlreadyDecided]);
    }
}

#[test]
fn what_cannot_be_verified_goes_by_what_the_provider_shows() {
    let asked = || arrives(Scenario::new(), RuleBasis::Status, EventAge::Known).timer();
    assert_eq!(asked().called(), Some((Operation::Status, 0)));
    let operation = v1::Operation { id: "po_1".to_owned(), ..v1::Operation::default() };
    let details = StatusDetails {
        began_at: Some(opened_at()),
        operations: vec![operation.clone()],
        verdict: Some(rule()),
        failed_rule: String::new(),
    };
    let scenario = shows(asked(), WAITS, details.clone());
    assert_eq!(scenario.called(), Some((Operation::Confirm, 1)));
    let TestSession::Open(OpenSession { entry: SessionEntry::Decided(decided), .. }) = &scenario.state else {
        panic!("it is not decided")
    };
    assert_eq!(decided.opening.operations, [operation]);
    let held = shows(asked(), WAITS, StatusDetails { verdict: None, ..details.clone() });
    assert_eq!((held.called(), held.due()), (None, Some(held.policy.deadline(&opening()))));
    assert_eq!(shows(asked(), CANCELLED, details).result(), Some((SessionResult::Superseded, true)));
    let ageless = shows(asked(), CANCELLED, StatusDetails::default());
    assert!(ageless.notes(&Note::TooOld) && is_absent(&ageless));
    let finished = asked().then(Input::Finished { view: CANCELLED, recorded_at: opened_at() });
    assert_eq!(finished.result(), None, "the provider is asked already");
}

#[test]
fn a_session_that_finished_before_it_opened_ends_by_itself() {
    let late = arrives_late(Scenario::new(), SignedDuration::from_hours(4)).then(decides(Action::Confirm, "d"));
    let recorded_at = late.context.now;
    let scenario = late.then(Input::Finished { view: CANCELLED, recorded_at });
    assert_eq!(scenario.result(), Some((SessionResult::Expired, true)));
    assert_eq!(scenario.rejected(), [RejectionReason::Expired]);
}

#[test]
fn decisions_wait_while_the_provider_is_asked_and_the_first_counts_on_hold() {
    let held = |scenario: Scenario| {
        let scenario = scenario.at(later(opened_at(), SignedDuration::from_hours(4)));
        arrives(scenario, RuleBasis::Webhook(None), EventAge::Known)
    };
    let scenario = held(Scenario::new().then(decides(Action::Cancel, "one"))).then(decides(Action::Confirm, "two"));
    assert!(scenario.rejected().is_empty());
    let scenario = scenario.then(decides(Action::Confirm, "two"));
    assert!(scenario.notes(&Note::Redelivered));
    let scenario = scenario.timer().answered(Reply::Ok(Some(WAITS)));
    assert_eq!(scenario.called(), Some((Operation::Cancel, 1)));
    assert_eq!(scenario.rejected(), [RejectionReason::AlreadyDecided]);

    let remembered = Scenario::new().policy.remembered();
    let old = arrives_late(Scenario::new(), remembered).then(decides(Action::Confirm, "d")).timer();
    let passed_over = old.answered(Reply::Ok(Some(CANCELLED)));
    assert!(passed_over.notes(&Note::TooOld), "and its decision goes on waiting");
    assert!(
        matches!(&passed_over.state, TestSession::Open(OpenSession { entry: SessionEntry::Early(early), .. }) if early.len() == 1)
    );
}

#[test]
fn an_event_that_cannot_be_verified_ends_nothing_and_has_the_provider_asked() {
    let scenario = Scenario::awaiting().then(Input::Unverified);
    assert_eq!(scenario.called(), Some((Operation::Status, 0)));
    let deadline = scenario.policy.deadline(&opening());
    let waits = scenario.answered(Reply::Ok(Some(WAITS)));
    assert_eq!((waits.called(), waits.due()), (None, Some(deadline)), "and it waits on");
    let ended = Scenario::awaiting().then(Input::Unverified).answered(Reply::Ok(Some(CANCELLED)));
    assert_eq!(ended.result(), Some((SessionResult::Superseded, true)));
    let decided = Scenario::confirmed(Reply::Unclear).then(Input::Unverified);
    assert_eq!(decided.called(), Some((Operation::Status, 0)));
    assert_eq!(Scenario::new().then(Input::Unverified).effects, []);
}

#[test]
fn a_dry_run_asks_nobody_and_opens_once_the_clock_is_trusted() {
    let dry = |scenario: Scenario, after| {
        let opening = Opening { dry_run: true, recorded_at: later(opened_at(), after), ..opening() };
        scenario.at(later(opened_at(), after)).then(ready_of(opening, Some(rule())))
    };
    assert_eq!(dry(Scenario::new(), SignedDuration::ZERO).result(), Some((SessionResult::DryRun, false)));
    let old = dry(Scenario::new(), Scenario::new().policy.remembered());
    assert!(old.notes(&Note::TooOld) && is_absent(&old));
    let late = dry(Scenario::new(), SignedDuration::from_hours(4));
    assert_eq!((late.result(), late.called()), (None, None), "rules do not judge what is over");
    let mut untrusted = Scenario::new();
    untrusted.context.clock = ClockState::Untrusted;
    let mut scenario = dry(untrusted, SignedDuration::ZERO).timer();
    assert!(scenario.notes(&Note::ClockUntrusted) && scenario.call().is_none());
    scenario.context.clock = ClockState::Trusted;
    assert_eq!(scenario.timer().result(), Some((SessionResult::DryRun, false)));
}

#[test]
fn one_decision_too_many_is_rejected() {
    let mut full = Scenario::new();
    full.context.early_room = EarlyRoom::Full;
    assert_eq!(full.then(decides(Action::Confirm, "d")).rejected(), [RejectionReason::TooManyEarly]);
    let mut waits = Scenario::new().then(decides(Action::Confirm, "one"));
    waits.context.early_room = EarlyRoom::Full;
    let again = waits.then(decides(Action::Confirm, "one"));
    assert!(again.notes(&Note::Redelivered));
    assert_eq!(again.then(decides(Action::Confirm, "two")).rejected(), [RejectionReason::TooManyEarly]);
}

/// Whoever may write the topic sends a session's id under another source first.
#[test]
fn what_is_asked_about_gives_way_to_another_source_that_opened_the_session() {
    for (view, basis) in [(WAITS, RuleBasis::Status), (CANCELLED, RuleBasis::Webhook(Some(rule())))] {
        let late = later(opened_at(), SignedDuration::from_hours(4));
        let mut scenario = arrives(Scenario::new().at(late), basis, EventAge::Known).timer();
        scenario.context.owner = SessionOwner::OtherSource;
        let scenario = shows(
            scenario,
            view,
            StatusDetails { began_at: Some(opened_at()), verdict: Some(rule()), ..StatusDetails::default() },
        );
        assert!(
            scenario.notes(&Note::OtherSource)
                && is_absent(&scenario)
                && scenario.result().is_none()
                && scenario.called().is_none()
        );
    }
}

#[test]
fn a_verified_event_takes_the_place_of_one_that_is_not() {
    let asked = arrives(Scenario::new(), RuleBasis::Status, EventAge::Known).then(decides(Action::Cancel, "d")).timer();
    let verified = arrives(asked, RuleBasis::Webhook(Some(rule())), EventAge::Known);
    assert_eq!(verified.called(), Some((Operation::Confirm, 1)));
    assert_eq!(verified.rejected(), [RejectionReason::AlreadyDecided], "the decision that waited");
    // The question that was on its way counts no more.
    let reply = Reply::Ok(Some(CANCELLED));
    let answer = Input::Answer { number: 1, operation: Operation::Status, reply, retry_after: None, details: None };
    assert_eq!(verified.then(answer).effects, []);
}

/// It is remembered as if it had ended with its last event, which could open it otherwise.
#[test]
fn an_ended_session_is_remembered_from_its_last_event_on() {
    let scenario = Scenario::confirmed(Reply::Ok(None));
    let later_on = later(opened_at(), SignedDuration::from_hours(20));
    let other = Opening { ready_event_id: "another".into(), recorded_at: later_on, ..opening() };
    let scenario = scenario.at(later_on).then(ready_of(other, Some(rule())));
    assert_eq!(scenario.called(), Some((Operation::Status, 0)));
    let TestSession::Ended(ended) = &scenario.state else { panic!("it is not ended") };
    assert_eq!(ended.expired(later_on, 9), []);
    assert_eq!(ended.expired(later(later_on, SignedDuration::from_secs(1)), 9).len(), 1);
}

#[test]
fn a_session_ends_at_a_time_near_its_record_whatever_the_clock_says() {
    let policy = Scenario::new().policy;
    for (ahead_h, expect_h) in [(-30, 0), (3, 3), (50_000, 4 + 28)] {
        let now = later(opened_at(), SignedDuration::from_hours(ahead_h));
        let expect = later(opened_at(), SignedDuration::from_hours(expect_h));
        let extra = if ahead_h > 1000 { SignedDuration::from_secs(900) } else { SignedDuration::ZERO };
        assert_eq!(ending::done_at(&opening(), now, &policy), later(expect, extra), "{ahead_h}");
    }
}
