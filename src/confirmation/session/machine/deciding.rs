//! The one place where a session is decided: by a rule, by another team, or by its deadline.
//! Pure: must not know when that is, nor how a decision is carried out.

use super::ending::SessionEnd;
use super::timing::Policy;
use super::{Activity, Effect, Note, StepContext, Transition, carrying_out};
use crate::confirmation::session::model::{Action, Decided, Decider, Decision, Opening};
use crate::message::confirmation::v1::{DeciderKind, Result};

/// A decision that is made now.
pub(super) struct NewDecision {
    /// What opened the session.
    pub(super) opening: Opening,
    /// What is done.
    pub(super) action: Action,
    /// What decided.
    pub(super) decider: Decider,
}

impl NewDecision {
    /// As another team's record says.
    pub(super) fn by_team(opening: Opening, decision: &Decision) -> Self {
        let decider = Decider {
            kind: DeciderKind::Decision,
            name: decision.decided_by.clone(),
            decision_id: decision.decision_id.clone(),
            reason: decision.reason.clone(),
        };
        Self { opening, action: decision.action, decider }
    }

    /// As the configuration says for the deadline.
    pub(super) fn by_deadline(opening: Opening, action: Action) -> Self {
        Self { opening, action, decider: Decider::of_kind(DeciderKind::Deadline) }
    }

    /// Decides the session; from here on its action never changes.
    pub(super) fn carry_out(self, activity: &Activity, policy: &Policy, context: &StepContext) -> Transition {
        let Self { opening, action, decider } = self;
        // Only rules have names of a closed set; any other name would make a metric's labels grow without end.
        let rule = if decider.kind == DeciderKind::Rule { decider.name.clone() } else { String::new() };
        let failed_rule = opening.failed_rule.clone();
        let note = Effect::Note(Note::Decided { by: decider.kind, rule, failed_rule });
        let decided = Decided {
            opening,
            action,
            decider,
            decided_at: context.now,
            key_number: 0,
            attempts: 0,
            unknown_codes: None,
            tried_after_window: false,
        };
        if decided.opening.dry_run {
            let end = SessionEnd::without_provider(Result::DryRun);
            return end.of_decided(&decided, policy, context.now).with(note);
        }
        carrying_out::begin(decided, activity, policy, context).with(note)
    }
}
