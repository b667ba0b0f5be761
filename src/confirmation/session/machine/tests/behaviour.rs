//! The machine's rules one by one, each by the shortest life of a session that shows it.

use jiff::{SignedDuration, Timestamp};

use super::super::timing::later;
use super::super::*;
use super::fixtures::{Lived, decision, moment, opened_at, opening, policy};
use crate::message::confirmation::v1::{DeciderKind, RejectionReason, Result as Told};
use crate::message::smart_glocal::v1::{NextAction, SessionStatus};

pub const WAITS: Sight = Sight { status: SessionStatus::InProgress, next_action: NextAction::Confirm };
pub const WORKS: Sight = Sight { status: SessionStatus::InProgress, next_action: NextAction::Unspecified };
pub const CANCELLED: Sight = Sight { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified };

/// A session, and what its last step asked for.
pub struct Life {
    pub policy: Policy,
    pub state: Lived,
    pub moment: Moment,
    pub effects: Vec<Effect>,
}

impl Life {
    pub fn new() -> Self {
        Self { policy: policy(), state: Lived::Absent, moment: moment(opened_at()), effects: Vec::new() }
    }

    /// A session that waits.
    pub fn awaiting() -> Self {
        Self::new().then(ready(None))
    }

    /// A session whose confirmation was called, and met `reply`; at rest.
    pub fn confirmed(reply: Reply) -> Self {
        let rule = Decider { name: "a rule".into(), ..Decider::of_kind(DeciderKind::Rule) };
        Self::new().then(ready(Some((Action::Confirm, rule)))).answered(reply)
    }

    pub fn then(mut self, input: Input) -> Self {
        let step = step(self.state.seen(), input, &self.policy, &self.moment);
        self.state.follow(step.state);
        self.effects = step.effects;
        self
    }

    /// The call on its way meets `reply`.
    pub fn answered(self, reply: Reply) -> Self {
        let (operation, number, _) = self.call().expect("no call is on its way");
        self.then(Input::Answer { number, operation, reply, retry_after: None, shown: None })
    }

    /// The session's next timer fires.
    pub fn timer(mut self) -> Self {
        self.moment.now = self.moment.now.max(self.due().expect("no timer"));
        self.then(Input::Timer)
    }

    /// The timer fires, and the provider says that it waits.
    pub fn asked(self) -> Self {
        self.timer().answered(Reply::Ok(Some(WAITS)))
    }

    pub fn at(mut self, now: Timestamp) -> Self {
        self.moment.now = now;
        self
    }

    pub fn due(&self) -> Option<Timestamp> {
        match &self.state {
            Lived::Open(open) => due(open, &self.policy),
            Lived::Absent | Lived::Ended(..) => None,
        }
    }

    pub fn call(&self) -> Option<(Operation, u32, u32)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Call { operation, number, key_number } => Some((*operation, *number, *key_number)),
            _ => None,
        })
    }

    /// The action called now, with its key.
    pub fn called(&self) -> Option<(Operation, u32)> {
        self.call().map(|(operation, _, key)| (operation, key))
    }

    pub fn told(&self) -> Option<(Told, bool)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Outcome(outcome) => Some((outcome.result, outcome.verified)),
            _ => None,
        })
    }

    pub fn rejected(&self) -> Vec<RejectionReason> {
        let reason = |effect: &Effect| match effect {
            Effect::Reject(_, reason) => Some(*reason),
            _ => None,
        };
        self.effects.iter().filter_map(reason).collect()
    }

    pub fn notes(&self, note: &Note) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Note(noted) if noted == note))
    }
}

pub fn ready(verdict: Option<(Action, Decider)>) -> Input {
    ready_of(opening(), verdict)
}

pub fn ready_of(opening: Opening, verdict: Option<(Action, Decider)>) -> Input {
    Input::Ready { opening, judged: Judged::ByWebhook(verdict), dating: Dating::ByProvider }
}

pub fn decides(action: Action, id: &str) -> Input {
    Input::Decision(decision(action, id, 7))
}

pub fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[test]
fn a_rule_is_called_at_once_and_its_ok_is_the_end() {
    let life = Life::confirmed(Reply::Ok(Some(WORKS)));
    assert_eq!(life.told(), Some((Told::Accepted, true)));
    assert_eq!(life.then(ready(None)).effects, [], "the same event again");
}

#[test]
fn after_each_failed_call_the_provider_is_asked_and_the_key_follows_the_rules() {
    for (reply, key) in [
        (Reply::OurTrouble, 1), // it had no effect
        (Reply::Unclear, 1),    // the same key cannot act twice
        (Reply::TryAgain, 2),
        (Reply::UnknownCode { code: "odd".into(), description: String::new() }, 2),
    ] {
        let life = Life::confirmed(reply.clone()).timer();
        assert_eq!(life.called(), Some((Operation::Status, 0)), "{reply:?}");
        assert_eq!(life.answered(Reply::Ok(Some(WAITS))).called(), Some((Operation::Confirm, key)), "{reply:?}");
    }
}

#[test]
fn a_burnt_or_unclear_key_is_replaced_after_the_wait_and_not_before() {
    let life = Life::confirmed(Reply::KeyExists);
    let burnt_at = life.moment.now;
    let mut life = life.asked();
    while life.called().is_none() {
        assert!(life.moment.now < later(burnt_at, seconds(200)), "never replaced");
        life = life.asked();
    }
    assert!(life.moment.now >= later(burnt_at, life.policy.key_reuse_wait), "replaced too early");
    assert_eq!(life.called(), Some((Operation::Confirm, 2)));

    let unclear = Life::confirmed(Reply::Unclear);
    let late = later(unclear.moment.now, unclear.policy.key_reuse_wait);
    assert_eq!(unclear.at(late).asked().called(), Some((Operation::Confirm, 2)));
}

/// The first call times out and is still on its way; the second, with the same key, fails; a third with another key would
/// have its effect beside the first.
#[test]
fn a_key_whose_call_may_still_be_on_its_way_is_not_replaced_because_of_a_later_error() {
    let odd = || Reply::UnknownCode { code: "odd".into(), description: String::new() };
    for error in [Reply::TryAgain, odd()] {
        let unclear = Life::confirmed(Reply::Unclear);
        let replaced = later(unclear.moment.now, unclear.policy.key_reuse_wait);
        let mut life = unclear.asked();
        while life.moment.now < replaced {
            assert_eq!(life.called(), Some((Operation::Confirm, 1)), "{error:?}");
            life = life.answered(error.clone()).asked();
        }
        assert_eq!(life.called(), Some((Operation::Confirm, 2)), "{error:?}");
        assert_eq!(life.answered(error.clone()).asked().called(), Some((Operation::Confirm, 3)), "{error:?}");
    }
}

/// Whoever had the session before may have called just before it lost it.
#[test]
fn taken_over_the_key_is_not_replaced_because_of_an_error_before_the_wait_is_over() {
    let Lived::Open(open) = Life::confirmed(Reply::OurTrouble).state else { panic!("it ended") };
    let mut life = Life::new();
    life.state = Lived::Open(Open::taken_over(open.entry));
    let life = life.asked();
    assert_eq!(life.called(), Some((Operation::Confirm, 1)));
    assert_eq!(life.answered(Reply::TryAgain).asked().called(), Some((Operation::Confirm, 1)));
}

#[test]
fn nothing_is_called_while_the_provider_does_not_wait() {
    let life = Life::confirmed(Reply::Unclear).timer().answered(Reply::Ok(Some(WORKS)));
    assert_eq!((life.called(), life.told()), (None, None));
    let life = life.timer().answered(Reply::Ok(Some(CANCELLED)));
    assert_eq!(life.told(), Some((Told::Superseded, true)));
}

#[test]
fn a_code_that_no_contract_lists_refuses_after_five_tries_over_ten_minutes() {
    let odd = || Reply::UnknownCode { code: "odd".into(), description: String::new() };
    let mut life = Life::confirmed(odd());
    for tries in 2.. {
        assert!(tries < 40, "it never ends");
        life = life.asked().answered(odd());
        let elapsed = life.moment.now.duration_since(opened_at());
        match life.told() {
            None => assert!(tries < 5 || elapsed < SignedDuration::from_mins(10)),
            told => {
                assert_eq!(told, Some((Told::Refused, true)));
                assert!(tries >= 5 && elapsed >= SignedDuration::from_mins(10), "{tries} tries in {elapsed}");
                return;
            }
        }
    }
}

#[test]
fn taken_over_after_a_crash_the_provider_is_asked_first() {
    let Lived::Open(open) = Life::confirmed(Reply::OurTrouble).state else { panic!("it ended") };
    let mut life = Life::new();
    life.state = Lived::Open(Open::taken_over(open.entry));
    let life = life.timer();
    assert_eq!(life.called(), Some((Operation::Status, 0)));
    let accepted = Sight { status: SessionStatus::Accepted, next_action: NextAction::Unspecified };
    assert_eq!(life.answered(Reply::Ok(Some(accepted))).told(), Some((Told::Accepted, true)));
}

#[test]
fn the_deadline_asks_first_and_then_acts() {
    let life = Life::awaiting();
    assert_eq!(life.due(), Some(life.policy.deadline(&opening())));
    let life = life.timer();
    assert_eq!(life.called(), Some((Operation::Status, 0)));
    let life = life.answered(Reply::Ok(Some(WAITS)));
    assert_eq!(life.called(), Some((Operation::Cancel, 1)));
    assert!(life.notes(&Note::Decided(DeciderKind::Deadline, String::new())));
}

#[test]
fn the_deadline_waits_for_the_inputs_until_half_the_margin_is_left() {
    let mut life = Life::awaiting();
    life.moment.reading = Reading::Behind { since: opened_at() };
    let half = later(life.policy.window_end(&opening()), -(life.policy.deadline_margin / 2));
    while life.moment.now < half {
        assert_eq!(life.called(), None, "{}", life.moment.now);
        life = life.timer();
    }
    assert_eq!(life.called(), Some((Operation::Status, 0)));
    let decided = Life::awaiting().at(half).then(decides(Action::Confirm, "d"));
    assert_eq!(decided.called(), Some((Operation::Confirm, 1)), "a decision beats the deadline");
}

#[test]
fn a_clock_that_is_wrong_does_nothing() {
    let mut life = Life::awaiting().timer();
    life.moment.trust = Trust::Untrusted; // the answer's date shows it
    let life = life.answered(Reply::Ok(Some(WAITS)));
    assert!(life.notes(&Note::ClockUntrusted) && life.called().is_none());
    let far = later(life.policy.last_end(&opening()), seconds(9));
    let mut life = life.at(far).timer().answered(Reply::Unclear);
    assert_eq!(life.told(), None, "nor does it expire");
    life.moment.trust = Trust::Trusted;
    assert_eq!(life.timer().answered(Reply::Unclear).told(), Some((Told::Expired, false)));
}

#[test]
fn rules_come_before_early_decisions_and_the_first_of_those_counts() {
    let early = || Life::new().then(decides(Action::Cancel, "one")).then(decides(Action::Confirm, "two"));
    let life = early().then(decides(Action::Cancel, "one"));
    assert!(life.notes(&Note::Redelivered));
    let by_rule = early().then(ready(Some((Action::Confirm, Decider::of_kind(DeciderKind::Rule)))));
    assert_eq!(by_rule.rejected(), [RejectionReason::AlreadyDecided; 2]);
    assert_eq!(by_rule.called(), Some((Operation::Confirm, 1)));
    let held = early().then(ready(None));
    assert_eq!(held.rejected(), [RejectionReason::AlreadyDecided]);
    assert_eq!(held.called(), Some((Operation::Cancel, 1)));
}

#[test]
fn every_decision_that_cannot_count_is_told_why() {
    let never_opened = Life::new().then(decides(Action::Confirm, "a")).timer();
    assert_eq!(never_opened.rejected(), [RejectionReason::UnknownSession]);
    let mut foreign = Life::new();
    foreign.moment.owner = Owner::OtherSource;
    assert_eq!(foreign.then(decides(Action::Confirm, "a")).rejected(), [RejectionReason::SourceMismatch]);
    let decided = Life::awaiting().then(decides(Action::Confirm, "a"));
    let again = decided.then(decides(Action::Confirm, "a"));
    assert!(again.notes(&Note::Redelivered));
    let second = again.then(decides(Action::Cancel, "b"));
    assert_eq!(second.rejected(), [RejectionReason::AlreadyDecided]);
    let mut full = Life::new();
    for number in 0..16 {
        full = full.then(decides(Action::Confirm, &format!("d{number}")));
        assert_eq!(full.rejected(), []);
    }
    assert_eq!(full.then(decides(Action::Confirm, "one more")).rejected(), [RejectionReason::AlreadyDecided]);
    let mut expired = Life::awaiting();
    expired = expired.at(later(opened_at(), SignedDuration::from_hours(5))).timer().answered(Reply::Unclear);
    assert_eq!(expired.then(decides(Action::Confirm, "late")).rejected(), [RejectionReason::Expired]);
}

#[test]
fn an_ended_session_that_is_asked_about_again_is_only_looked_at() {
    let ended = || {
        let life = Life::confirmed(Reply::Ok(None));
        let other = Opening { ready_event_id: "another".into(), ..opening() };
        life.then(ready_of(other, None))
    };
    assert_eq!(ended().called(), Some((Operation::Status, 0)));
    for (reply, alarming) in [
        (Reply::Ok(Some(WAITS)), true),
        (Reply::Unclear, true),
        (Reply::Ok(Some(WORKS)), false),
        (Reply::Ok(Some(CANCELLED)), false),
    ] {
        let life = ended().answered(reply.clone());
        assert_eq!(life.notes(&Note::OpenAfterDone), alarming, "{reply:?}");
        assert_eq!(life.called(), None);
    }
}

#[test]
fn a_dry_run_decides_and_calls_nobody() {
    let dry = || ready_of(Opening { dry_run: true, ..opening() }, None);
    let by_decision = Life::new().then(dry()).then(decides(Action::Confirm, "d"));
    assert_eq!((by_decision.told(), by_decision.called()), (Some((Told::DryRun, false)), None));
    let by_deadline = Life::new().then(dry()).timer();
    assert_eq!((by_deadline.told(), by_deadline.called()), (Some((Told::DryRun, false)), None));
    let mut left_alone = Life::new();
    left_alone.policy.at_deadline = None;
    let left_alone = left_alone.then(dry()).timer();
    assert_eq!((left_alone.told(), left_alone.called()), (Some((Told::Expired, false)), None));
}

#[test]
fn without_an_action_at_the_deadline_the_provider_has_the_last_word() {
    let mut life = Life::new();
    life.policy.at_deadline = None;
    let mut life = life.then(ready(None));
    assert_eq!(life.due(), Some(life.policy.window_end(&opening())));
    for _ in 0..3 {
        life = life.asked();
        assert_eq!((life.called(), life.told()), (None, None));
    }
    assert_eq!(life.timer().answered(Reply::Ok(Some(CANCELLED))).told(), Some((Told::Expired, true)));
}
