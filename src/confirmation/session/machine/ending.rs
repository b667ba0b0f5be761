//! What ends a session: the table of what the provider shows against what was decided, and the outcome that is told.
//! Pure: must not know when somebody looks.

use jiff::Timestamp;

use super::timing::{SessionWindow, later};
use super::{Effect, NextState, Policy, Transition};
use crate::confirmation::session::model::{Action, Decided, Decider, Done, Opening, Outcome, ProviderRefusal};
use crate::message::confirmation::v1::{RejectionReason, Result};
use crate::message::smart_glocal::v1::{NextAction, SessionStatus};
use crate::provider::smart_glocal::api::{Reply, SessionView};

/// What was decided and done about a session, as far as its end needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionTaken {
    /// Nothing was decided.
    Undecided,
    /// Decided, and nobody was called.
    NotSent(Action),
    /// A call was sent, or may have been; how it was answered is not known.
    Sent(Action),
    /// A call was answered ok.
    AnsweredOk(Action),
}

/// How a session ended that the provider shows like this; nothing while it has not. What the provider waits for does not
/// matter here: only `accepted` and `cancelled` are ends.
pub fn result(taken: ActionTaken, view: SessionView, window: SessionWindow) -> Option<Result> {
    use Action::{Cancel, Confirm};
    let result = match (view.status, taken) {
        (SessionStatus::Accepted, ActionTaken::Sent(Confirm) | ActionTaken::AnsweredOk(Confirm))
        | (SessionStatus::Cancelled, ActionTaken::AnsweredOk(Cancel)) => Result::Accepted,
        (
            SessionStatus::Accepted,
            ActionTaken::Undecided
            | ActionTaken::NotSent(_)
            | ActionTaken::Sent(Cancel)
            | ActionTaken::AnsweredOk(Cancel),
        ) => Result::Superseded,
        // Ours may have done it, or the customer, or time: nobody can tell without our call's answer.
        (SessionStatus::Cancelled, ActionTaken::NotSent(Cancel) | ActionTaken::Sent(Cancel)) => Result::AlreadyDone,
        (
            SessionStatus::Cancelled,
            ActionTaken::Undecided
            | ActionTaken::NotSent(Confirm)
            | ActionTaken::Sent(Confirm)
            | ActionTaken::AnsweredOk(Confirm),
        ) => match window {
            SessionWindow::Open => Result::Superseded,
            SessionWindow::Over => Result::Expired,
        },
        (
            SessionStatus::Created | SessionStatus::InProgress | SessionStatus::Error | SessionStatus::Unspecified,
            ActionTaken::Undecided | ActionTaken::NotSent(_) | ActionTaken::Sent(_) | ActionTaken::AnsweredOk(_),
        ) => return None,
    };
    Some(result)
}

/// How a session ends here that has not ended at the provider when the time is over. Where the provider works on it and
/// waits for nobody's word, an action was taken: ours, where one was sent. It is not told as expired, which means that none
/// was: who paid otherwise then would pay twice.
pub fn at_last_end(taken: ActionTaken, view: SessionView) -> Result {
    match (view.status, taken) {
        _ if waits_for_confirmation(view) => Result::Expired,
        (SessionStatus::InProgress, ActionTaken::Sent(_) | ActionTaken::AnsweredOk(_)) => Result::Accepted,
        (SessionStatus::InProgress, ActionTaken::Undecided | ActionTaken::NotSent(_)) => Result::Superseded,
        _ => Result::Expired,
    }
}

/// Whether the provider waits for confirmation: the only time to act.
pub fn waits_for_confirmation(view: SessionView) -> bool {
    view.next_action == NextAction::Confirm
        && !matches!(view.status, SessionStatus::Accepted | SessionStatus::Cancelled)
}

/// Whether a status of an ended session shows that nothing is left to do for it.
pub fn is_settled(reply: &Reply) -> bool {
    matches!(reply, Reply::Ok(Some(view)) if !waits_for_confirmation(*view))
}

/// Why a decision on a session that ended like this does not count.
pub fn reason_after(result: Result) -> RejectionReason {
    match result {
        Result::Expired => RejectionReason::Expired,
        Result::Unspecified
        | Result::Accepted
        | Result::AlreadyDone
        | Result::Refused
        | Result::Superseded
        | Result::DryRun => RejectionReason::AlreadyDecided,
    }
}

/// When a session counts as ended, for how long it is remembered: by a clock that runs behind it would be forgotten while an event
/// of it can still open a session, and by one that is far ahead it would keep those that end after it from being forgotten.
pub fn done_at(opening: &Opening, now: Timestamp, policy: &Policy) -> Timestamp {
    now.max(opening.recorded_at).min(later(policy.last_end_of(opening.recorded_at), policy.remembered()))
}

/// How a session ends.
pub struct SessionEnd {
    /// What came of it.
    pub result: Result,
    /// When the provider's answer came in, if it did: then the outcome is verified.
    pub answered_at: Option<Timestamp>,
    /// A refusal's words.
    pub refusal: Option<ProviderRefusal>,
}

impl SessionEnd {
    /// By the provider's answer.
    pub fn by_provider(result: Result, answered_at: Timestamp) -> Self {
        Self { result, answered_at: Some(answered_at), refusal: None }
    }

    /// Without it.
    pub fn without_provider(result: Result) -> Self {
        Self { result, answered_at: None, refusal: None }
    }

    /// Ends an undecided session.
    pub fn of_awaiting(self, opening: &Opening, policy: &Policy, now: Timestamp) -> Transition {
        self.step(opening, None, 0, policy, now)
    }

    /// Ends a decided session.
    pub fn of_decided(self, decided: &Decided, policy: &Policy, now: Timestamp) -> Transition {
        let decision = (decided.action, decided.decider.clone(), decided.decided_at);
        self.step(&decided.opening, Some(decision), decided.attempts, policy, now)
    }

    fn step(
        self,
        opening: &Opening,
        decided: Option<(Action, Decider, Timestamp)>,
        attempts: u32,
        policy: &Policy,
        now: Timestamp,
    ) -> Transition {
        let Self { result, answered_at, refusal } = self;
        let done = Done {
            done_at: done_at(opening, now, policy),
            result,
            ready_event_id: opening.ready_event_id.clone(),
            decision_id: decided.as_ref().map(|(_, decider, _)| decider.decision_id.clone()).unwrap_or_default(),
        };
        let outcome = Outcome {
            opening: opening.clone(),
            decided,
            result,
            refusal,
            attempts,
            answered_at,
            known_at: now,
            remaining_seconds: policy.window_end(opening).duration_since(now).as_secs(),
            verified: answered_at.is_some(),
        };
        Transition { next: NextState::Done(done), effects: vec![Effect::Outcome(Box::new(outcome))] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table_tells_how_a_session_ended() {
        use Action::{Cancel, Confirm};
        let cases = [
            (SessionStatus::Accepted, ActionTaken::Undecided, Result::Superseded, Result::Superseded),
            (SessionStatus::Accepted, ActionTaken::NotSent(Confirm), Result::Superseded, Result::Superseded),
            (SessionStatus::Accepted, ActionTaken::Sent(Confirm), Result::Accepted, Result::Accepted),
            (SessionStatus::Accepted, ActionTaken::AnsweredOk(Confirm), Result::Accepted, Result::Accepted),
            (SessionStatus::Accepted, ActionTaken::NotSent(Cancel), Result::Superseded, Result::Superseded),
            (SessionStatus::Accepted, ActionTaken::Sent(Cancel), Result::Superseded, Result::Superseded),
            (SessionStatus::Accepted, ActionTaken::AnsweredOk(Cancel), Result::Superseded, Result::Superseded),
            (SessionStatus::Cancelled, ActionTaken::Undecided, Result::Superseded, Result::Expired),
            (SessionStatus::Cancelled, ActionTaken::NotSent(Confirm), Result::Superseded, Result::Expired),
            (SessionStatus::Cancelled, ActionTaken::Sent(Confirm), Result::Superseded, Result::Expired),
            (SessionStatus::Cancelled, ActionTaken::AnsweredOk(Confirm), Result::Superseded, Result::Expired),
            (SessionStatus::Cancelled, ActionTaken::NotSent(Cancel), Result::AlreadyDone, Result::AlreadyDone),
            (SessionStatus::Cancelled, ActionTaken::Sent(Cancel), Result::AlreadyDone, Result::AlreadyDone),
            (SessionStatus::Cancelled, ActionTaken::AnsweredOk(Cancel), Result::Accepted, Result::Accepted),
        ];
        for next_action in [NextAction::Unspecified, NextAction::Confirm, NextAction::Capture] {
            for (status, taken, within, after) in cases {
                let view = SessionView { status, next_action };
                assert_eq!(result(taken, view, SessionWindow::Open), Some(within), "{taken:?} {view:?}");
                assert_eq!(
                    result(taken, view, SessionWindow::Over),
                    Some(after),
                    "{taken:?} {view:?} after the window"
                );
            }
            for status in
                [SessionStatus::Created, SessionStatus::InProgress, SessionStatus::Error, SessionStatus::Unspecified]
            {
                let view = SessionView { status, next_action };
                for (_, taken, ..) in cases {
                    assert_eq!(result(taken, view, SessionWindow::Over), None, "{taken:?} {view:?}");
                }
                assert_eq!(waits_for_confirmation(view), next_action == NextAction::Confirm, "{view:?}");
            }
        }
    }
}
