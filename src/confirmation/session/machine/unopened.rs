//! A session that has not opened: what comes before its `ready_to_confirm` waits for it, for a while.
//! Pure: must not know how a session opens, nor how it is decided.

use super::opening::OpeningStep;
use super::timing::{Policy, look_again};
use super::{
    Activity, EarlyRoom, Effect, Input, InputProgress, NextState, Note, OpenSession, Phase, SessionOwner, StepContext,
    Transition,
};
use crate::confirmation::session::clock_guard::ClockState;
use crate::confirmation::session::model::{Decision, SessionEntry};
use crate::message::confirmation::v1::RejectionReason;

/// How many decisions wait for a session that has not opened. All but the first are rejected in the end; this many are
/// kept to tell them why.
const EARLY_DECISIONS_MAX: usize = 16;

/// What an input does to it.
pub(super) fn step(
    early: &[Decision],
    activity: &Activity,
    input: Input,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    match input {
        Input::Ready { opening, basis, age } => OpeningStep { early, opening, policy, context }.ready(basis, age),
        Input::Decision(decision) => match context.owner {
            SessionOwner::OtherSource => Transition::reject(decision, RejectionReason::SourceMismatch),
            SessionOwner::NoOther => remember_early(early, activity, decision, context, SessionEntry::Early),
        },
        Input::Timer => unknown_session(early, activity, policy, context),
        // It finished without ever asking, or was asked about and is forgotten.
        Input::Finished { .. } | Input::Unverified | Input::Answer { .. } => Transition::nothing(),
    }
}

/// One more decision that waits, beside those that do.
pub(super) fn remember_early(
    early: &[Decision],
    activity: &Activity,
    decision: Decision,
    context: &StepContext,
    entry: impl FnOnce(Vec<Decision>) -> SessionEntry,
) -> Transition {
    // The same record is read again after a rebalance: its decision waits already, so it takes no further room.
    if early.iter().any(|early| early.is_again(&decision.decision_id)) {
        return Transition::note(Note::Redelivered);
    }
    if early.len() >= EARLY_DECISIONS_MAX {
        return Transition::reject(decision, RejectionReason::AlreadyDecided);
    }
    if context.early_room == EarlyRoom::Full {
        return Transition::reject(decision, RejectionReason::TooManyEarly);
    }
    let mut early = early.to_vec();
    early.push(decision);
    Transition::to(NextState::Entry(OpenSession { entry: entry(early), activity: activity.clone() }))
}

/// No session opened in time.
fn unknown_session(early: &[Decision], activity: &Activity, policy: &Policy, context: &StepContext) -> Transition {
    if context.now < policy.unknown_at(early) {
        return Transition::to(NextState::Activity(Activity { phase: Phase::Idle, ..activity.clone() }));
    }
    // The session's own `ready_to_confirm` may stand among what was written before the assignment.
    if context.progress != InputProgress::CaughtUp {
        return Transition::wait(activity, look_again(context.now));
    }
    if context.clock == ClockState::Untrusted {
        return Transition::clock_untrusted(activity, context);
    }
    let reason = match context.owner {
        SessionOwner::NoOther => RejectionReason::UnknownSession,
        SessionOwner::OtherSource => RejectionReason::SourceMismatch,
    };
    let is_over = |early: &&Decision| policy.unknown_at(std::slice::from_ref(*early)) <= context.now;
    let (over, left): (Vec<&Decision>, Vec<&Decision>) = early.iter().partition(is_over);
    let effects = over.into_iter().map(|early| Effect::Reject(early.clone(), reason)).collect();
    let next = if left.is_empty() {
        NextState::Forgotten
    } else {
        NextState::Entry(OpenSession::taken_over(SessionEntry::Early(left.into_iter().cloned().collect())))
    };
    Transition { next, effects }
}

impl Decision {
    /// Whether a record with this identity is this decision once more.
    fn is_again(&self, decision_id: &str) -> bool {
        !decision_id.is_empty() && self.decision_id == decision_id
    }
}
