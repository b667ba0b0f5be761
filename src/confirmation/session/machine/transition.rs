//! What one step makes of a session: its next state, and what is to be done beside writing that.
//! Pure: must not know which step leads to what.

use jiff::Timestamp;

use super::timing::clock_again;
use super::{Activity, OpenSession, Phase, StepContext};
use crate::confirmation::session::model::{Decision, Done, Outcome, SessionEntry};
use crate::message::confirmation::v1::{DeciderKind, RejectionReason};
use crate::provider::smart_glocal::api::Operation;

/// What a step makes of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The session afterwards.
    pub next: NextState,
    /// What to do, in this order; records go into one transaction with the state, calls are made after its commit.
    pub effects: Vec<Effect>,
}

/// The session afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextState {
    /// As it was.
    Same,
    /// Only this process's activity is another: nothing to write.
    Activity(Activity),
    /// Another entry, to be written.
    Entry(OpenSession),
    /// It has ended: to be written.
    Done(Done),
    /// Nothing needs to be known of it any more: a tombstone is to be written.
    Forgotten,
}

/// What is to be done beside writing the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell how the session ended.
    Outcome(Box<Outcome>),
    /// Tell that a decision does not count.
    Reject(Decision, RejectionReason),
    /// Call the provider.
    Call {
        /// What for.
        operation: Operation,
        /// The call's number in this session.
        number: u32,
        /// The idempotency key's number; 0 for a status.
        key_number: u32,
    },
    /// Count, and tell whoever is on call.
    Note(Note),
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A session was decided.
    Decided {
        /// By what.
        by: DeciderKind,
        /// The rule that decided; empty: none.
        rule: String,
        /// The rule that failed before, so that something else had to decide; empty: none.
        failed_rule: String,
    },
    /// The decision that counts was read again, or one that waits.
    Redelivered,
    /// A `ready_to_confirm` opens nothing: it is so old that its session may have ended and been forgotten, and the provider
    /// does not wait for its confirmation.
    TooOld,
    /// A `ready_to_confirm` opens nothing: its session was opened by another source while the provider was asked.
    OtherSource,
    /// Something is due, and the clock cannot be believed.
    ClockUntrusted,
    /// The provider asks again for a session that has ended here, and says that it still waits, or nothing.
    OpenAfterDone,
}

impl Transition {
    pub(super) fn nothing() -> Self {
        Self::to(NextState::Same)
    }

    pub(super) fn to(next: NextState) -> Self {
        Self { next, effects: Vec::new() }
    }

    /// To another entry, about which nothing goes on yet.
    pub(super) fn to_entry(entry: SessionEntry) -> Self {
        Self::to(NextState::Entry(OpenSession::taken_over(entry)))
    }

    pub(super) fn note(note: Note) -> Self {
        Self::nothing().with(Effect::Note(note))
    }

    pub(super) fn reject(decision: Decision, reason: RejectionReason) -> Self {
        Self::nothing().with(Effect::Reject(decision, reason))
    }

    /// A try failed: the next one is due then.
    pub(super) fn retry_at(activity: &Activity, until: Timestamp) -> Self {
        Self::to(NextState::Activity(activity.failed_until(until)))
    }

    /// A wait that no failure caused: the next backoff is not longer for it.
    pub(super) fn wait(activity: &Activity, until: Timestamp) -> Self {
        Self::to(NextState::Activity(Activity { phase: Phase::Waiting { until }, ..activity.clone() }))
    }

    /// Nothing is done by a clock that is wrong.
    pub(super) fn clock_untrusted(activity: &Activity, context: &StepContext) -> Self {
        Self::wait(activity, clock_again(context.now)).with(Effect::Note(Note::ClockUntrusted))
    }

    /// The same without the session's operations, its one large part: Kafka refused them.
    #[must_use]
    pub fn without_operations(mut self) -> Self {
        if let NextState::Entry(open) = &mut self.next
            && let Some(opening) = open.entry.opening_mut()
        {
            opening.operations.clear();
        }
        for effect in &mut self.effects {
            if let Effect::Outcome(outcome) = effect {
                outcome.opening.operations.clear();
            }
        }
        self
    }

    pub(super) fn with(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}
