//! The heart of the engine: what one input does to one session. Everything else feeds this function and carries out what
//! it says.
//! Pure: it does no input or output and reads no clock, so it cannot fail; must not know Kafka, HTTP or rules.
//!
//! ```text
//!  (checked: the provider is asked first about what is late, unverified, or judged by a clock that may be wrong)
//!      │
//!      ▼       rule: hold / none matches
//!   (opened) ───────────────► AWAITING ──── decision ──────────┐
//!       │                        └───────── deadline margin ───┤
//!       │ rule: confirm/cancel                                 ▼
//!       └────────────────────────────────────────────────► DECIDED ── call, ask, retry ──► DONE (outcome)
//! ```
//!
//! What is written is committed before any call that the same step asks for is made; so after a restart the entry tells
//! everything that can have happened, and an activity that begins anew with `session/status` finds out what did.

mod awaiting;
mod carrying_out;
mod checking;
mod deciding;
pub mod ending;
mod opening;
mod retry;
pub mod timing;
mod transition;
mod unopened;

#[cfg(test)]
pub mod tests;

use jiff::{SignedDuration, Timestamp};

use super::clock_guard::ClockState;
use super::ended::EndedSession;
use super::model::{Action, Decided, Decider, Decision, Done, EventAge, Opening, RuleBasis, SessionEntry};
use crate::message::confirmation::v1;
use crate::provider::smart_glocal::api::{Operation, Reply, SessionView};
pub use timing::Policy;
pub use transition::{Effect, NextState, Note, Transition};

/// The number of a call about a session that has ended; those of open sessions begin with 1.
pub const AFTER_THE_END: u32 = 0;

/// One session as the engine holds it.
#[derive(Clone, Copy, Debug)]
pub enum SessionState<'a> {
    /// Nothing is known of it.
    Absent,
    /// It has not ended.
    Open(&'a OpenSession),
    /// It has ended.
    Ended(EndedSession<'a>),
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// What the ledger remembers.
    pub entry: SessionEntry,
    /// What this process alone knows.
    pub activity: Activity,
}

/// What this process does about a session at the moment; a restart, or another owner, begins with the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Calling, waiting for the next try, or neither.
    pub phase: Phase,
    /// Calls made: the number of the last, whose answer alone counts.
    pub calls: u32,
    /// Failed attempts since an answer brought the session on; the backoff grows with them.
    pub failed_attempts: u32,
    /// What became of the last idempotency key, as far as this process saw.
    pub key: IdempotencyKeyState,
    /// When a call with that key was last left without a clear answer, or may have been by an earlier owner: it may still be
    /// on its way, whatever later calls with the same key are answered.
    pub unanswered: Option<Timestamp>,
}

/// What happens at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing: the session waits for its due time.
    #[default]
    Idle,
    /// A call is queued or on its way.
    Calling(Operation),
    /// Nothing until the next try, or the next look.
    Waiting {
        /// When that is.
        until: Timestamp,
    },
}

/// What is known of the idempotency key used last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdempotencyKeyState {
    /// It may be used again: whoever used it before us had no answer that we know of.
    #[default]
    Usable,
    /// Its call got no clear answer at this time: it may be used again, and replaced after a while.
    Unanswered(Timestamp),
    /// The provider had it before, so said at this time: only another helps, after a while.
    AlreadyUsed(Timestamp),
    /// Its call got an error that wants another try: another key is due.
    ReplacementDue,
}

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum Input {
    /// The provider asks for the merchant's confirmation.
    Ready {
        /// What it says.
        opening: Opening,
        /// What the rules go by, and what they say.
        basis: RuleBasis,
        /// Whether it tells how old it is.
        age: EventAge,
    },
    /// Another team decides.
    Decision(Decision),
    /// The provider told that the session finished.
    Finished {
        /// As the event shows the session.
        view: SessionView,
        /// When Kafka appended the event, by the broker's clock.
        recorded_at: Timestamp,
    },
    /// An event that cannot be verified here says that the session has changed: the provider is asked.
    Unverified,
    /// A call was answered.
    Answer {
        /// Which call.
        number: u32,
        /// What it was.
        operation: Operation,
        /// What became of it.
        reply: Reply,
        /// The least time to wait that the provider asks for.
        retry_after: Option<SignedDuration>,
        /// What it shows of the session beside where that stands, for one that is asked about before it opens.
        details: Option<Box<StatusDetails>>,
    },
    /// The session's due time has come.
    Timer,
}

/// A session as `session/status` shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusDetails {
    /// Its `updated_at`, else its `created_at`.
    pub began_at: Option<Timestamp>,
    /// Its operations.
    pub operations: Vec<v1::Operation>,
    /// What the rules say of it; nothing where they hold.
    pub verdict: Option<(Action, Decider)>,
    /// The rule that failed, and therefore holds it; empty: none.
    pub failed_rule: String,
}

/// The circumstances of a step.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    /// The wall clock.
    pub now: Timestamp,
    /// Whether it can be believed.
    pub clock: ClockState,
    /// Whether the partition's inputs were read up to the end that they had when it was assigned.
    pub progress: InputProgress,
    /// Whether the same session id is known from another source.
    pub owner: SessionOwner,
    /// Whether one more decision may wait for a session that is not opened.
    pub early_room: EarlyRoom,
    /// A random number that spreads retries.
    pub jitter: u8,
}

/// How far the inputs were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputProgress {
    /// A decision written before the assignment may still come.
    Behind {
        /// When the partition was assigned.
        since: Timestamp,
    },
    /// All of them came.
    CaughtUp,
}

/// Who owns the session's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOwner {
    /// No other source.
    NoOther,
    /// Another source opened a session of this id.
    OtherSource,
}

/// Whether one more decision of the partition may wait for a session that is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyRoom {
    /// It may.
    Free,
    /// Too many have.
    Full,
}

/// What `input` does to a session.
pub fn step(state: SessionState<'_>, input: Input, policy: &Policy, context: &StepContext) -> Transition {
    match (state, input) {
        (SessionState::Ended(ended), input) => after_the_end(&ended, input, policy),
        (SessionState::Absent, input) => unopened::step(&[], &Activity::default(), input, policy, context),
        (SessionState::Open(OpenSession { entry, activity }), input) => match entry {
            SessionEntry::Early(early) => unopened::step(early, activity, input, policy, context),
            SessionEntry::Checking(checking) => checking::step(checking, activity, input, policy, context),
            SessionEntry::Awaiting(opening) => awaiting::step(opening, activity, input, policy, context),
            SessionEntry::Decided(decided) => carrying_out::step(decided, activity, input, policy, context),
        },
    }
}

impl SessionState<'_> {
    /// Whether it may open still.
    pub fn is_unopened(self) -> bool {
        match self {
            SessionState::Absent => true,
            SessionState::Open(open) => matches!(open.entry, SessionEntry::Early(_)),
            SessionState::Ended(_) => false,
        }
    }

    /// Whether an event of it has the rules asked: where it may open by that.
    pub fn takes_rules(self) -> bool {
        match self {
            SessionState::Open(OpenSession { entry: SessionEntry::Checking(checking), .. }) => {
                checking.basis == RuleBasis::Status
            }
            SessionState::Absent | SessionState::Open(_) | SessionState::Ended(_) => self.is_unopened(),
        }
    }

    /// Whether it was opened, so that it belongs to its source.
    pub fn was_opened(self) -> bool {
        match self {
            SessionState::Absent => false,
            SessionState::Open(open) => matches!(open.entry, SessionEntry::Awaiting(_) | SessionEntry::Decided(_)),
            SessionState::Ended(_) => true,
        }
    }

    /// Whether a call about it waits or is on its way.
    pub fn is_calling(self) -> bool {
        matches!(self, SessionState::Open(open) if open.activity.is_calling())
    }

    /// Whether the answer to this call is waited for.
    pub fn awaits(self, number: u32, operation: Operation) -> bool {
        match self {
            SessionState::Absent => false,
            SessionState::Open(open) => open.activity.awaits(number, operation),
            SessionState::Ended(_) => number == AFTER_THE_END,
        }
    }
}

/// When an open session wants its timer; never while a call is on its way, whose answer always comes.
pub fn due(open: &OpenSession, policy: &Policy) -> Option<Timestamp> {
    match (open.activity.phase, &open.entry) {
        (Phase::Calling(_), _) => None,
        (Phase::Waiting { until }, _) => Some(until),
        (Phase::Idle, SessionEntry::Early(early)) => Some(policy.unknown_at(early)),
        (Phase::Idle, SessionEntry::Awaiting(opening)) => Some(policy.first_look(opening)),
        // Nothing goes on and something should: it has just come, or was read from the ledger.
        (Phase::Idle, SessionEntry::Checking(_) | SessionEntry::Decided(_)) => Some(Timestamp::MIN),
    }
}

/// Another event asks for confirmation of a session that has ended. Nothing is decided, and the provider is asked what that means. The
/// session is remembered as if it had ended with this event: else that could open it once it is forgotten.
fn asked_again(ended: &EndedSession<'_>, opening: &Opening, policy: &Policy) -> Transition {
    let done = Done {
        done_at: ending::done_at(opening, ended.done_at(), policy).max(ended.done_at()),
        result: ended.result(),
        ready_event_id: opening.ready_event_id.clone(),
        decision_id: String::new(),
    };
    let call = Effect::Call { operation: Operation::Status, number: AFTER_THE_END, key_number: 0 };
    // In a dry run nobody was called, so of course it still waits.
    let effects = if opening.dry_run { Vec::new() } else { vec![call] };
    Transition { next: NextState::Done(done), effects }
}

/// An ended session stays as it is, whatever comes.
fn after_the_end(ended: &EndedSession<'_>, input: Input, policy: &Policy) -> Transition {
    let effect = match input {
        Input::Ready { opening, .. } if ended.is_ready_event(&opening.ready_event_id) => return Transition::nothing(),
        Input::Ready { opening, .. } => return asked_again(ended, &opening, policy),
        Input::Decision(decision) if ended.is_decision(&decision.decision_id) => Effect::Note(Note::Redelivered),
        Input::Decision(decision) => Effect::Reject(decision, ending::reason_after(ended.result())),
        Input::Answer { number: AFTER_THE_END, reply, .. } if !ending::is_settled(&reply) => {
            Effect::Note(Note::OpenAfterDone)
        }
        Input::Answer { .. } | Input::Finished { .. } | Input::Unverified | Input::Timer => {
            return Transition::nothing();
        }
    };
    Transition::nothing().with(effect)
}

impl OpenSession {
    /// A session whose entry was read from the ledger: whatever was going on about it, it is not ours.
    pub fn taken_over(entry: SessionEntry) -> Self {
        Self { entry, activity: Activity::default() }
    }
}

impl Activity {
    /// The same with one more call on its way.
    fn calling(&self, operation: Operation) -> Self {
        Self { phase: Phase::Calling(operation), calls: self.calls.saturating_add(1), ..self.clone() }
    }

    /// Whether a call is queued or on its way.
    fn is_calling(&self) -> bool {
        matches!(self.phase, Phase::Calling(_))
    }

    /// Whether this is the answer that is waited for.
    fn awaits(&self, number: u32, operation: Operation) -> bool {
        self.phase == Phase::Calling(operation) && self.calls == number
    }

    /// The same with `session/status` being asked.
    fn asking(&self) -> Transition {
        let activity = self.calling(Operation::Status);
        let call = Effect::Call { operation: Operation::Status, number: activity.calls, key_number: 0 };
        Transition { next: NextState::Activity(activity), effects: vec![call] }
    }

    /// The same after a failed attempt, with the next one due then.
    fn failed_until(&self, until: Timestamp) -> Self {
        Self {
            phase: Phase::Waiting { until },
            failed_attempts: self.failed_attempts.saturating_add(1),
            ..self.clone()
        }
    }
}

impl Decided {
    fn operation(&self) -> Operation {
        match self.action {
            Action::Confirm => Operation::Confirm,
            Action::Cancel => Operation::Cancel,
        }
    }
}
