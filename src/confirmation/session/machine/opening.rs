//! How a session opens: at once where its event is proven and fresh, else after the provider was asked about it.
//! Pure: must not know how an open session is decided later, nor what the provider says when it is asked.

use super::deciding::NewDecision;
use super::timing::Policy;
use super::timing::SessionWindow;
use super::{Activity, Effect, Note, StepContext, Transition};
use crate::confirmation::session::clock_guard::ClockState;
use crate::confirmation::session::model::{
    Action, Checking, Decider, Decision, EventAge, Opening, RuleBasis, SessionEntry,
};
use crate::message::confirmation::v1::RejectionReason;

/// A session that may open, the decisions that wait for it, and all that this meets.
pub(super) struct OpeningStep<'a> {
    pub(super) early: &'a [Decision],
    pub(super) opening: Opening,
    pub(super) policy: &'a Policy,
    pub(super) context: &'a StepContext,
}

impl OpeningStep<'_> {
    /// What is proven, fresh, and judged by a clock that is right opens at once; about all else the provider is asked first.
    pub(super) fn ready(self, basis: RuleBasis, age: EventAge) -> Transition {
        match (basis, age, self.window(), self.context.clock) {
            (basis, _, _, ClockState::Trusted) if self.opening.dry_run => {
                self.open_unasked(basis, age).unwrap_or_else(|| Transition::note(Note::TooOld))
            }
            (RuleBasis::Webhook(verdict), EventAge::Known, SessionWindow::Open, ClockState::Trusted) => {
                self.open(verdict)
            }
            (basis, ..) => self.check_first(basis, age),
        }
    }

    /// Opens a session of a dry run, in which nobody is asked. Nothing where it may have ended and been forgotten. The rules
    /// were not made for a session that is over, so they do not judge one.
    pub(super) fn open_unasked(self, basis: RuleBasis, age: EventAge) -> Option<Transition> {
        if age == EventAge::Known && self.policy.may_be_forgotten(&self.opening, age, self.context.now) {
            return None;
        }
        let verdict = match (basis, self.window()) {
            (RuleBasis::Webhook(verdict), SessionWindow::Open) => verdict,
            (RuleBasis::Webhook(_), SessionWindow::Over) | (RuleBasis::Status, _) => None,
        };
        Some(self.open(verdict))
    }

    /// Rules come first; on hold the first early decision counts; else the session waits.
    pub(super) fn open(self, verdict: Option<(Action, Decider)>) -> Transition {
        let Self { early, opening, policy, context } = self;
        let reject = |early: &Decision| Effect::Reject(early.clone(), RejectionReason::AlreadyDecided);
        let decide = |decision: NewDecision| decision.carry_out(&Activity::default(), policy, context);
        let (mut transition, others) = match (verdict, early.split_first()) {
            (Some((action, decider)), _) => (decide(NewDecision { opening, action, decider }), early),
            (None, Some((first, others))) => (decide(NewDecision::by_team(opening, first)), others),
            (None, None) => (Transition::to_entry(SessionEntry::Awaiting(Box::new(opening))), early),
        };
        transition.effects.extend(others.iter().map(reject));
        transition
    }

    /// Asks the provider about the session, with the decisions that wait for it.
    fn check_first(self, basis: RuleBasis, age: EventAge) -> Transition {
        let checking = Checking { opening: self.opening, basis, age, early: self.early.to_vec() };
        Transition::to_entry(SessionEntry::Checking(Box::new(checking)))
    }

    fn window(&self) -> SessionWindow {
        self.policy.window(&self.opening, self.context.now)
    }
}
