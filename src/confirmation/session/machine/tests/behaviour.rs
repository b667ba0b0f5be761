//! The machine's rules one by one, each by the shortest life of a session that shows it.

use jiff::{SignedDuration, Timestamp};

use super::super::timing::later;
use super::super::*;
use super::fixtures::{TestSession, context, decision, opened_at, opening, policy};
use crate::message::confirmation::v1::{DeciderKind, RejectionReason, Result as SessionResult};
use crate::message::smart_glocal::v1::{NextAction, SessionStatus};

pub const WAITS: SessionView = SessionView { status: SessionStatus::InProgress, next_action: NextAction::Confirm };
pub const WORKS: SessionView = SessionView { status: SessionStatus::InProgress, next_action: NextAction::Unspecified };
pub const CANCELLED: SessionView =
    SessionView { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified };

/// A session, and what its last step asked for.
pub struct Scenario {
    pub policy: Policy,
    pub state: TestSession,
    pub context: StepContext,
    pub effects: Vec<Effect>,
}

impl Scenario {
    pub fn new() -> Self {
        Self { policy: policy(), state: TestSession::Absent, context: context(opened_at()), effects: Vec::new() }
    }

    /// A session that waits.
    pub fn awaiting() -> Self {
        Self::new().then(ready(None))
    }

    /// A session whose confirmation was called, and met `reply`; it waits for the next try.
    pub fn confirmed(reply: Reply) -> Self {
        let rule = Decider { name: "a rule".into(), ..Decider::of_kind(DeciderKind::Rule) };
        Self::new().then(ready(Some((Action::Confirm, rule)))).answered(reply)
    }

    pub fn then(mut self, input: Input) -> Self {
        let step = step(self.state.as_state(), input, &self.policy, &self.context);
        self.state.follow(step.next);
        self.effects = step.effects;
        self
    }

    /// The call on its way meets `reply`.
    pub fn answered(self, reply: Reply) -> Self {
        let (operation, number, _) = self.call().expect("no call is on its way");
        self.then(Input::Answer { number, operation, reply, retry_after: None, details: None })
    }

    /// The session's next timer fires.
    pub fn timer(mut self) -> Self {
        self.context.now = self.context.now.max(self.due().expect("no timer"));
        self.then(Input::Timer)
    }

    /// The timer fires, and the provider says that it waits.
    pub fn asked(self) -> Self {
        self.timer().answered(Reply::Ok(Some(WAITS)))
    }

    pub fn at(mut self, now: Timestamp) -> Self {
        self.context.now = now;
        self
    }

    pub fn due(&self) -> Option<Timestamp> {
        match &self.state {
            TestSession::Open(open) => due(open, &self.policy),
            TestSession::Absent | TestSession::Ended(..) => None,
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

    pub fn result(&self) -> Option<(SessionResult, bool)> {
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
    Input::Ready { opening, basis: RuleBasis::Webhook(verdict), age: EventAge::Known }
}

pub fn decides(action: Action, id: &str) -> Input {
    Input::Decision(decision(action, id, 7))
}

pub fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[test]
fn a_rule_is_called_at_once_and_its_ok_is_the_end() {
    let scenario = Scenario::confirmed(Reply::Ok(Some(WORKS)));
    assert_eq!(scenario.result(), Some((SessionResult::Accepted, true)));
    assert_eq!(scenario.then(ready(None)).effects, [], "the same event again");
}

#[test]
fn after_each_failed_call_the_provider_is_asked_and_the_key_follows_the_rules() {
    for (reply, key) in [
        (Reply::NotProcessed, 1), // it had no effect
        (Reply::Unclear, 1),      // the same key cannot act twice
        (Reply::TryAgain, 2),
        (Reply::UnknownCode { code: "odd".into(), description: String::new() }, 2),
    ] {
        let scenario = Scenario::confirmed(reply.clone()).timer();
        assert_eq!(scenario.called(), Some((Operation::Status, 0)), "{reply:?}");
        assert_eq!(scenario.answered(Reply::Ok(Some(WAITS))).called(), Some((Operation::Confirm, key)), "{reply:?}");
    }
}

#[test]
fn a_used_or_unanswered_key_is_replaced_after_the_wait_and_not_before() {
    let scenario = Scenario::confirmed(Reply::KeyExists);
    let used_at = scenario.context.now;
    let mut scenario = scenario.asked();
    while scenario.called().is_none() {
        assert!(scenario.context.now < later(used_at, seconds(200)), "never replaced");
        scenario = scenario.asked();
    }
    assert!(scenario.context.now >= later(used_at, scenario.policy.key_reuse_wait), "replaced too early");
    assert_eq!(scenario.called(), Some((Operation::Confirm, 2)));

    let unclear = Scenario::confirmed(Reply::Unclear);
    let late = later(unclear.context.now, unclear.policy.key_reuse_wait);
    assert_eq!(unclear.at(late).asked().called(), Some((Operation::Confirm, 2)));
}

/// The first call times out and is still on its way; the second, with the same key, fails; a third with another key would
/// have its effect beside the first.
#[test]
fn a_key_whose_call_may_still_be_on_its_way_is_not_replaced_because_of_a_later_error() {
    let odd = || Reply::UnknownCode { code: "odd".into(), description: String::new() };
    for error in [Reply::TryAgain, odd()] {
        let unclear = Scenario::confirmed(Reply::Unclear);
        let replaced = later(unclear.context.now, unclear.policy.key_reuse_wait);
        let mut scenario = unclear.asked();
        while scenario.context.now < replaced {
            assert_eq!(scenario.called(), Some((Operation::Confirm, 1)), "{error:?}");
            scenario = scenario.answered(error.clone()).asked();
        }
        assert_eq!(scenario.called(), Some((Operation::Confirm, 2)), "{error:?}");
        assert_eq!(scenario.answered(error.clone()).asked().called(), Some((Operation::Confirm, 3)), "{error:?}");
    }
}

/// Whoever had the session before may have called just before it lost it.
#[test]
fn taken_over_the_key_is_not_replaced_because_of_an_error_before_the_wait_is_over() {
    let TestSession::Open(open) = Scenario::confirmed(Reply::NotProcessed).state else { panic!("it ended") };
    let mut scenario = Scenario::new();
    scenario.state = TestSession::Open(OpenSession::taken_over(open.entry));
    let scenario = scenario.asked();
    assert_eq!(scenario.called(), Some((Operation::Confirm, 1)));
    assert_eq!(scenario.answered(Reply::TryAgain).asked().called(), Some((Operation::Confirm, 1)));
}

#[test]
fn nothing_is_called_while_the_provider_does_not_wait() {
    let scenario = Scenario::confirmed(Reply::Unclear).timer().answered(Reply::Ok(Some(WORKS)));
    assert_eq!((scenario.called(), scenario.result()), (None, None));
    let scenario = scenario.timer().answered(Reply::Ok(Some(CANCELLED)));
    assert_eq!(scenario.result(), Some((SessionResult::Superseded, true)));
}

#[test]
fn a_code_that_no_contract_lists_refuses_after_five_tries_over_ten_minutes() {
    let odd = || Reply::UnknownCode { code: "odd".into(), description: String::new() };
    let mut scenario = Scenario::confirmed(odd());
    for tries in 2.. {
        assert!(tries < 40, "it never ends");
        scenario = scenario.asked().answered(odd());
        let elapsed = scenario.context.now.duration_since(opened_at());
        match scenario.result() {
            None => assert!(tries < 5 || elapsed < SignedDuration::from_mins(10)),
            told => {
                assert_eq!(told, Some((SessionResult::Refused, true)));
                assert!(tries >= 5 && elapsed >= SignedDuration::from_mins(10), "{tries} tries in {elapsed}");
                return;
            }
        }
    }
}

#[test]
fn taken_over_after_a_crash_the_provider_is_asked_first() {
    let TestSession::Open(open) = Scenario::confirmed(Reply::NotProcessed).state else { panic!("it ended") };
    let mut scenario = Scenario::new();
    scenario.state = TestSession::Open(OpenSession::taken_over(open.entry));
    let scenario = scenario.timer();
    assert_eq!(scenario.called(), Some((Operation::Status, 0)));
    let accepted = SessionView { status: SessionStatus::Accepted, next_action: NextAction::Unspecified };
    assert_eq!(scenario.answered(Reply::Ok(Some(accepted))).result(), Some((SessionResult::Accepted, true)));
}

#[test]
fn the_deadline_asks_first_and_then_acts() {
    let failed_rule = "vip".to_owned();
    let scenario = Scenario::new().then(ready_of(Opening { failed_rule: failed_rule.clone(), ..opening() }, None));
    assert_eq!(scenario.due(), Some(scenario.policy.deadline(&opening())));
    let scenario = scenario.timer();
    assert_eq!(scenario.called(), Some((Operation::Status, 0)));
    let scenario = scenario.answered(Reply::Ok(Some(WAITS)));
    assert_eq!(scenario.called(), Some((Operation::Cancel, 1)));
    assert!(scenario.notes(&Note::Decided { by: DeciderKind::Deadline, rule: String::new(), failed_rule }));
}

#[test]
fn the_deadline_waits_for_the_inputs_until_half_the_margin_is_left() {
    let mut scenario = Scenario::awaiting();
    scenario.context.progress = InputProgress::Behind { since: opened_at() };
    let half = later(scenario.policy.window_end(&opening()), -(scenario.policy.deadline_margin / 2));
    while scenario.context.now < half {
        assert_eq!(scenario.called(), None, "{}", scenario.context.now);
        scenario = scenario.timer();
    }
    assert_eq!(scenario.called(), Some((Operation::Status, 0)));
    let decided = Scenario::awaiting().at(half).then(decides(Action::Confirm, "d"));
    assert_eq!(decided.called(), Some((Operation::Confirm, 1)), "a decision beats the deadline");
}

#[test]
fn a_clock_that_is_wrong_does_nothing() {
    let mut scenario = Scenario::awaiting().timer();
    scenario.context.clock = ClockState::Untrusted; // the answer's date shows it
    let scenario = scenario.answered(Reply::Ok(Some(WAITS)));
    assert!(scenario.notes(&Note::ClockUntrusted) && scenario.called().is_none());
    let far = later(scenario.policy.last_end(&opening()), seconds(9));
    let mut scenario = scenario.at(far).timer().answered(Reply::Unclear);
    assert_eq!(scenario.result(), None, "nor does it expire");
    scenario.context.clock = ClockState::Trusted;
    assert_eq!(scenario.timer().answered(Reply::Unclear).result(), Some((SessionResult::Expired, false)));
}

#[test]
fn rules_come_before_early_decisions_and_the_first_of_those_counts() {
    let early = || Scenario::new().then(decides(Action::Cancel, "one")).then(decides(Action::Confirm, "two"));
    let scenario = early().then(decides(Action::Cancel, "one"));
    assert!(scenario.notes(&Note::Redelivered));
    let by_rule = early().then(ready(Some((Action::Confirm, Decider::of_kind(DeciderKind::Rule)))));
    assert_eq!(by_rule.rejected(), [RejectionReason::AlreadyDecided; 2]);
    assert_eq!(by_rule.called(), Some((Operation::Confirm, 1)));
    let held = early().then(ready(None));
    assert_eq!(held.rejected(), [RejectionReason::AlreadyDecided]);
    assert_eq!(held.called(), Some((Operation::Cancel, 1)));
}

#[test]
fn every_decision_that_cannot_count_is_told_why() {
    let never_opened = Scenario::new().then(decides(Action::Confirm, "a")).timer();
    assert_eq!(never_opened.rejected(), [RejectionReason::UnknownSession]);
    let mut foreign = Scenario::new();
    foreign.context.owner = SessionOwner::OtherSource;
    assert_eq!(foreign.then(decides(Action::Confirm, "a")).rejected(), [RejectionReason::SourceMismatch]);
    let decided = Scenario::awaiting().then(decides(Action::Confirm, "a"));
    let again = decided.then(decides(Action::Confirm, "a"));
    assert!(again.notes(&Note::Redelivered));
    let second = again.then(decides(Action::Cancel, "b"));
    assert_eq!(second.rejected(), [RejectionReason::AlreadyDecided]);
    let mut full = Scenario::new();
    for number in 0..16 {
        full = full.then(decides(Action::Confirm, &format!("d{number}")));
        assert_eq!(full.rejected(), []);
    }
    assert_eq!(full.then(decides(Action::Confirm, "one more")).rejected(), [RejectionReason::AlreadyDecided]);
    let mut expired = Scenario::awaiting();
    expired = expired.at(later(opened_at(), SignedDuration::from_hours(5))).timer().answered(Reply::Unclear);
    assert_eq!(expired.then(decides(Action::Confirm, "late")).rejected(), [RejectionReason::Expired]);
}

#[test]
fn an_ended_session_that_is_asked_about_again_is_only_looked_at() {
    let ended = || {
        let scenario = Scenario::confirmed(Reply::Ok(None));
        let other = Opening { ready_event_id: "another".into(), ..opening() };
        scenario.then(ready_of(other, None))
    };
    assert_eq!(ended().called(), Some((Operation::Status, 0)));
    for (reply, alarming) in [
        (Reply::Ok(Some(WAITS)), true),
        (Reply::Unclear, true),
        (Reply::Ok(Some(WORKS)), false),
        (Reply::Ok(Some(CANCELLED)), false),
    ] {
        let scenario = ended().answered(reply.clone());
        assert_eq!(scenario.notes(&Note::OpenAfterDone), alarming, "{reply:?}");
        assert_eq!(scenario.called(), None);
    }
}

#[test]
fn a_dry_run_decides_and_calls_nobody() {
    let dry = || ready_of(Opening { dry_run: true, ..opening() }, None);
    let by_decision = Scenario::new().then(dry()).then(decides(Action::Confirm, "d"));
    assert_eq!((by_decision.result(), by_decision.called()), (Some((SessionResult::DryRun, false)), None));
    let by_deadline = Scenario::new().then(dry()).timer();
    assert_eq!((by_deadline.result(), by_deadline.called()), (Some((SessionResult::DryRun, false)), None));
    let mut left_alone = Scenario::new();
    left_alone.policy.at_deadline = None;
    let left_alone = left_alone.then(dry()).timer();
    assert_eq!((left_alone.result(), left_alone.called()), (Some((SessionResult::Expired, false)), None));
}

#[test]
fn without_an_action_at_the_deadline_the_provider_has_the_last_word() {
    let mut scenario = Scenario::new();
    scenario.policy.at_deadline = None;
    let mut scenario = scenario.then(ready(None));
    assert_eq!(scenario.due(), Some(scenario.policy.window_end(&opening())));
    for _ in 0..3 {
        scenario = scenario.asked();
        assert_eq!((scenario.called(), scenario.result()), (None, None));
    }
    assert_eq!(scenario.timer().answered(Reply::Ok(Some(CANCELLED))).result(), Some((SessionResult::Expired, true)));
}
