//! More of the machine's rules: what is asked before a session opens, and what opens nothing.

use jiff::SignedDuration;

use super::super::timing::later;
use super::super::*;
use super::behaviour::{CANCELLED, Life, WAITS, WORKS, decides, ready_of};
use super::fixtures::{Lived, opened_at, opening};
use crate::message::confirmation::v1::{DeciderKind, RejectionReason, Result as Told};

fn rule() -> (Action, Decider) {
    (Action::Confirm, Decider { name: "a rule".into(), ..Decider::of_kind(DeciderKind::Rule) })
}

/// An event whose window began at [`opened_at`] and that Kafka appended now.
fn arrives(life: Life, judged: Judged, dating: Dating) -> Life {
    let opening = Opening { recorded_at: life.moment.now, ..opening() };
    life.then(Input::Ready { opening, judged, dating })
}

fn arrives_late(life: Life, after: SignedDuration) -> Life {
    let now = later(opened_at(), after);
    arrives(life.at(now), Judged::ByWebhook(Some(rule())), Dating::ByProvider)
}

fn shows(life: Life, sight: Sight, shown: Shown) -> Life {
    let (operation, number, _) = life.call().expect("no call is on its way");
    let reply = Reply::Ok(Some(sight));
    life.then(Input::Answer { number, operation, reply, retry_after: None, shown: Some(Box::new(shown)) })
}

fn is_absent(life: &Life) -> bool {
    matches!(life.state, Lived::Absent)
}

#[test]
fn a_session_whose_window_is_over_on_arrival_opens_as_usual_while_the_provider_waits() {
    let life = arrives_late(Life::new(), SignedDuration::from_hours(4));
    assert_eq!(life.called(), None);
    let life = life.timer();
    assert_eq!(life.called(), Some((Operation::Status, 0)));
    let recorded_at = life.moment.now;
    let life = life.answered(Reply::Ok(Some(WAITS)));
    assert_eq!(life.called(), Some((Operation::Confirm, 1)), "by its rule");
    let Lived::Open(Open { entry: Entry::Decided(decided), .. }) = &life.state else { panic!("it is not decided") };
    assert_eq!(decided.opening.window_began_at, recorded_at, "its window begins with its record");
    assert_eq!(life.answered(Reply::Ok(None)).told(), Some((Told::Accepted, true)));
}

#[test]
fn a_session_that_is_over_at_the_provider_too_ends_without_a_decision() {
    let late = || arrives_late(Life::new(), SignedDuration::from_hours(4)).timer();
    assert_eq!(late().answered(Reply::Ok(Some(CANCELLED))).told(), Some((Told::Expired, true)));
    let last_end = late().policy.last_end_of(late().moment.now);
    let silent = late().answered(Reply::Unclear).at(last_end).timer().answered(Reply::Unclear);
    assert_eq!(silent.told(), Some((Told::Expired, false)));
    let working = late().answered(Reply::Ok(Some(WORKS))).at(last_end).timer().answered(Reply::Ok(Some(WORKS)));
    assert_eq!(working.told(), Some((Told::Superseded, true)));
}

/// A session that ended and was forgotten is sent again by whoever captured its webhook.
#[test]
fn what_may_have_ended_and_been_forgotten_opens_only_while_the_provider_waits() {
    let remembered = Life::new().policy.ledger_retention;
    let old = || arrives_late(Life::new(), remembered).timer();
    let last_end = old().policy.last_end_of(old().moment.now);
    let ended = old().answered(Reply::Ok(Some(CANCELLED)));
    assert!(ended.notes(&Note::TooOld) && is_absent(&ended) && ended.told().is_none());
    // What is no end may be a moment's.
    let working = old().answered(Reply::Ok(Some(WORKS)));
    assert!(!is_absent(&working));
    let working = working.at(last_end).timer().answered(Reply::Ok(Some(WORKS)));
    assert!(working.notes(&Note::TooOld) && is_absent(&working) && working.told().is_none());
    assert_eq!(old().answered(Reply::Ok(Some(WAITS))).called(), Some((Operation::Confirm, 1)));
    let silent = old().answered(Reply::OurTrouble).at(last_end).timer().answered(Reply::OurTrouble);
    assert!(silent.notes(&Note::TooOld) && is_absent(&silent));
    let undated = arrives(Life::new(), Judged::ByWebhook(Some(rule())), Dating::ByArrival).timer();
    let undated = undated.answered(Reply::Ok(Some(CANCELLED)));
    assert!(undated.notes(&Note::TooOld) && is_absent(&undated), "it does not tell how old it is");
}

#[test]
fn a_clock_that_is_not_trusted_opens_nothing_and_passes_nothing_over() {
    for (ahead_h, reply) in [(0, WAITS), (5, WAITS), (29, CANCELLED)] {
        let mut life = Life::new();
        life.moment.trust = Trust::Untrusted;
        let mut life = arrives_late(life, SignedDuration::from_hours(ahead_h)).then(decides(Action::Cancel, "d"));
        for _ in 0..3 {
            life = life.timer().answered(Reply::Ok(Some(reply)));
            assert!(life.notes(&Note::ClockUntrusted), "it is told");
            assert_eq!((life.called(), life.told()), (None, None), "{ahead_h}");
        }
        // The clock is put right.
        let mut life = life.at(later(opened_at(), SignedDuration::from_mins(2)));
        life.moment.trust = Trust::Trusted;
        life.state = match life.state {
            Lived::Open(open) => Lived::Open(Open::taken_over(open.entry)), // as the engine reads its ledger again
            other => other,
        };
        let life = life.timer().answered(Reply::Ok(Some(WAITS)));
        assert_eq!(life.called(), Some((Operation::Confirm, 1)), "by its rule");
        assert_eq!(life.rejected(), [RejectionReason::AlreadyDecided]);
    }
}

#[test]
fn what_cannot_be_verified_goes_by_what_the_provider_shows() {
    let asked = || arrives(Life::new(), Judged::ByStatus, Dating::ByProvider).timer();
    assert_eq!(asked().called(), Some((Operation::Status, 0)));
    let operation = v1::Operation { id: "po_1".to_owned(), ..v1::Operation::default() };
    let shown = Shown { began_at: Some(opened_at()), operations: vec![operation.clone()], verdict: Some(rule()) };
    let life = shows(asked(), WAITS, shown.clone());
    assert_eq!(life.called(), Some((Operation::Confirm, 1)));
    let Lived::Open(Open { entry: Entry::Decided(decided), .. }) = &life.state else { panic!("it is not decided") };
    assert_eq!(decided.opening.operations, [operation]);
    let held = shows(asked(), WAITS, Shown { verdict: None, ..shown.clone() });
    assert_eq!((held.called(), held.due()), (None, Some(held.policy.deadline(&opening()))));
    assert_eq!(shows(asked(), CANCELLED, shown).told(), Some((Told::Superseded, true)));
    let ageless = shows(asked(), CANCELLED, Shown::default());
    assert!(ageless.notes(&Note::TooOld) && is_absent(&ageless));
    let finished = asked().then(Input::Finished { sight: CANCELLED, recorded_at: opened_at() });
    assert_eq!(finished.told(), None, "the provider is asked already");
}

#[test]
fn a_session_that_finished_before_it_opened_ends_by_itself() {
    let late = arrives_late(Life::new(), SignedDuration::from_hours(4)).then(decides(Action::Confirm, "d"));
    let recorded_at = late.moment.now;
    let life = late.then(Input::Finished { sight: CANCELLED, recorded_at });
    assert_eq!(life.told(), Some((Told::Expired, true)));
    assert_eq!(life.rejected(), [RejectionReason::Expired]);
}

#[test]
fn decisions_wait_while_the_provider_is_asked_and_the_first_counts_on_hold() {
    let held = |life: Life| {
        let life = life.at(later(opened_at(), SignedDuration::from_hours(4)));
        arrives(life, Judged::ByWebhook(None), Dating::ByProvider)
    };
    let life = held(Life::new().then(decides(Action::Cancel, "one"))).then(decides(Action::Confirm, "two"));
    assert!(life.rejected().is_empty());
    let life = life.then(decides(Action::Confirm, "two"));
    assert!(life.notes(&Note::Redelivered));
    let life = life.timer().answered(Reply::Ok(Some(WAITS)));
    assert_eq!(life.called(), Some((Operation::Cancel, 1)));
    assert_eq!(life.rejected(), [RejectionReason::AlreadyDecided]);

    let remembered = Life::new().policy.remembered();
    let old = arrives_late(Life::new(), remembered).then(decides(Action::Confirm, "d")).timer();
    let passed_over = old.answered(Reply::Ok(Some(CANCELLED)));
    assert!(passed_over.notes(&Note::TooOld), "and its decision goes on waiting");
    assert!(matches!(&passed_over.state, Lived::Open(Open { entry: Entry::Early(early), .. }) if early.len() == 1));
}

#[test]
fn an_event_that_cannot_be_verified_ends_nothing_and_has_the_provider_asked() {
    let life = Life::awaiting().then(Input::Unverified);
    assert_eq!(life.called(), Some((Operation::Status, 0)));
    let deadline = life.policy.deadline(&opening());
    let waits = life.answered(Reply::Ok(Some(WAITS)));
    assert_eq!((waits.called(), waits.due()), (None, Some(deadline)), "and it waits on");
    let ended = Life::awaiting().then(Input::Unverified).answered(Reply::Ok(Some(CANCELLED)));
    assert_eq!(ended.told(), Some((Told::Superseded, true)));
    let decided = Life::confirmed(Reply::Unclear).then(Input::Unverified);
    assert_eq!(decided.called(), Some((Operation::Status, 0)));
    assert_eq!(Life::new().then(Input::Unverified).effects, []);
}

#[test]
fn a_dry_run_asks_nobody_and_opens_once_the_clock_is_trusted() {
    let dry = |life: Life, after| {
        let opening = Opening { dry_run: true, recorded_at: later(opened_at(), after), ..opening() };
        life.at(later(opened_at(), after)).then(ready_of(opening, Some(rule())))
    };
    assert_eq!(dry(Life::new(), SignedDuration::ZERO).told(), Some((Told::DryRun, false)));
    let old = dry(Life::new(), Life::new().policy.remembered());
    assert!(old.notes(&Note::TooOld) && is_absent(&old));
    let late = dry(Life::new(), SignedDuration::from_hours(4));
    assert_eq!((late.told(), late.called()), (None, None), "rules do not judge what is over");
    let mut untrusted = Life::new();
    untrusted.moment.trust = Trust::Untrusted;
    let mut life = dry(untrusted, SignedDuration::ZERO).timer();
    assert!(life.notes(&Note::ClockUntrusted) && life.call().is_none());
    life.moment.trust = Trust::Trusted;
    assert_eq!(life.timer().told(), Some((Told::DryRun, false)));
}

#[test]
fn one_decision_too_many_is_rejected() {
    let mut full = Life::new();
    full.moment.early_room = EarlyRoom::Full;
    assert_eq!(full.then(decides(Action::Confirm, "d")).rejected(), [RejectionReason::TooManyEarly]);
    let mut waits = Life::new().then(decides(Action::Confirm, "one"));
    waits.moment.early_room = EarlyRoom::Full;
    let again = waits.then(decides(Action::Confirm, "one"));
    assert!(again.notes(&Note::Redelivered));
    assert_eq!(again.then(decides(Action::Confirm, "two")).rejected(), [RejectionReason::TooManyEarly]);
}

/// Whoever may write the topic sends a session's id under another source first.
#[test]
fn what_is_asked_about_gives_way_to_another_source_that_opened_the_session() {
    for (sight, judged) in [(WAITS, Judged::ByStatus), (CANCELLED, Judged::ByWebhook(Some(rule())))] {
        let late = later(opened_at(), SignedDuration::from_hours(4));
        let mut life = arrives(Life::new().at(late), judged, Dating::ByProvider).timer();
        life.moment.owner = Owner::OtherSource;
        let life = shows(life, sight, Shown { began_at: Some(opened_at()), verdict: Some(rule()), ..Shown::default() });
        assert!(life.notes(&Note::OtherSource) && is_absent(&life) && life.told().is_none() && life.called().is_none());
    }
}

#[test]
fn a_verified_event_takes_the_place_of_one_that_is_not() {
    let asked = arrives(Life::new(), Judged::ByStatus, Dating::ByProvider).then(decides(Action::Cancel, "d")).timer();
    let verified = arrives(asked, Judged::ByWebhook(Some(rule())), Dating::ByProvider);
    assert_eq!(verified.called(), Some((Operation::Confirm, 1)));
    assert_eq!(verified.rejected(), [RejectionReason::AlreadyDecided], "the decision that waited");
    // The question that was on its way counts no more.
    let reply = Reply::Ok(Some(CANCELLED));
    let answer = Input::Answer { number: 1, operation: Operation::Status, reply, retry_after: None, shown: None };
    assert_eq!(verified.then(answer).effects, []);
}

/// It is remembered as if it had ended with its last event, which could open it otherwise.
#[test]
fn an_ended_session_is_remembered_from_its_last_event_on() {
    let life = Life::confirmed(Reply::Ok(None));
    let later_on = later(opened_at(), SignedDuration::from_hours(20));
    let other = Opening { ready_event_id: "another".into(), recorded_at: later_on, ..opening() };
    let life = life.at(later_on).then(ready_of(other, Some(rule())));
    assert_eq!(life.called(), Some((Operation::Status, 0)));
    let Lived::Ended(ended) = &life.state else { panic!("it is not ended") };
    assert_eq!(ended.expired(later_on, 9), []);
    assert_eq!(ended.expired(later(later_on, SignedDuration::from_secs(1)), 9).len(), 1);
}

#[test]
fn a_session_ends_at_a_time_near_its_record_whatever_the_clock_says() {
    let policy = Life::new().policy;
    for (ahead_h, expect_h) in [(-30, 0), (3, 3), (50_000, 4 + 28)] {
        let now = later(opened_at(), SignedDuration::from_hours(ahead_h));
        let expect = later(opened_at(), SignedDuration::from_hours(expect_h));
        let extra = if ahead_h > 1000 { SignedDuration::from_secs(900) } else { SignedDuration::ZERO };
        assert_eq!(ending::done_at(&opening(), now, &policy), later(expect, extra), "{ahead_h}");
    }
}
