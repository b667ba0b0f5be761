//! How a decision is carried out: call, ask, call again, until the provider took it, refused it, or the time is over.
//! Pure: must not know how calls travel.
//!
//! No second call is made before `session/status` said that the provider still waits, and every call is written before it
//! is made. A new idempotency key is taken only when the last one cannot have an effect any more that we do not know of.

use jiff::{SignedDuration, Timestamp};

use super::ending::{self, ActionTaken, SessionEnd};
use super::timing::{Policy, SessionWindow, later};
use super::{Activity, Effect, IdempotencyKeyState, Input, NextState, Note, OpenSession, StepContext, Transition};
use crate::confirmation::session::clock_guard::ClockState;
use crate::confirmation::session::model::{Decided, Decision, ProviderRefusal, SessionEntry};
use crate::message::confirmation::v1::{DeciderKind, RejectionReason, Result};
use crate::provider::smart_glocal::api::{Operation, Reply};

/// A code that no contract lists is believed to be a refusal after this many tries over at least this time.
const UNKNOWN_CODES_MIN: u32 = 5;
const UNKNOWN_CODES_OVER: SignedDuration = SignedDuration::from_mins(10);

/// The first step after a decision: the call, unless the window is over by our clock: then the provider is asked first.
/// The deadline asked just now.
pub(super) fn begin(decided: Decided, activity: &Activity, policy: &Policy, context: &StepContext) -> Transition {
    // An answer to a status that was asked before the decision does not count.
    let fresh = Activity { calls: activity.calls, ..Activity::default() };
    match (decided.decider.kind, policy.window(&decided.opening, context.now)) {
        (DeciderKind::Deadline, _) | (_, SessionWindow::Open) => {
            act(decided, &fresh, IdempotencyKeyState::ReplacementDue, policy, context)
        }
        (_, SessionWindow::Over) => {
            let activity = fresh.calling(Operation::Status);
            let call = Effect::Call { operation: Operation::Status, number: activity.calls, key_number: 0 };
            let open = OpenSession { entry: SessionEntry::Decided(Box::new(decided)), activity };
            Transition { next: NextState::Entry(open), effects: vec![call] }
        }
    }
}

/// What an input does to a session that is decided and has not ended.
pub(super) fn step(
    decided: &Decided,
    activity: &Activity,
    input: Input,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    match input {
        Input::Answer { number, operation, reply, retry_after, .. } if activity.awaits(number, operation) => {
            let step = DecidedStep { decided, activity, retry_after, policy, context };
            match operation {
                Operation::Status => step.status(&reply),
                Operation::Confirm | Operation::Cancel => step.answer(reply),
            }
        }
        Input::Finished { view, recorded_at } => {
            let window = policy.window(&decided.opening, recorded_at);
            ending::result(decided.taken(), view, window).map_or_else(Transition::nothing, |result| {
                SessionEnd::by_provider(result, recorded_at).of_decided(decided, policy, context.now)
            })
        }
        Input::Decision(decision) => second_decision(decided, decision),
        Input::Timer | Input::Unverified if !activity.is_calling() => {
            // Who takes a session over has made no call about it; whose calls there were does not know their answers.
            let is_taken_over = activity.calls == 0 && decided.attempts > 0;
            let unanswered = if is_taken_over { Some(context.now) } else { activity.unanswered };
            Activity { unanswered, ..activity.clone() }.asking()
        }
        // One is enough; and an answer to a call that does not count any more.
        Input::Ready { .. } | Input::Answer { .. } | Input::Timer | Input::Unverified => Transition::nothing(),
    }
}

fn second_decision(decided: &Decided, decision: Decision) -> Transition {
    if !decision.decision_id.is_empty() && decision.decision_id == decided.decider.decision_id {
        return Transition::note(Note::Redelivered);
    }
    Transition::reject(decision, RejectionReason::AlreadyDecided)
}

/// Writes the next call, then makes it. `key` is what is known of the last idempotency key.
fn act(
    decided: Decided,
    activity: &Activity,
    key: IdempotencyKeyState,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    let key_number = match key {
        IdempotencyKeyState::ReplacementDue => decided.key_number.saturating_add(1),
        IdempotencyKeyState::Usable | IdempotencyKeyState::Unanswered(_) | IdempotencyKeyState::AlreadyUsed(_) => {
            decided.key_number.max(1)
        }
    };
    let tried_after_window =
        decided.tried_after_window || policy.believed_window(&decided.opening, context) == SessionWindow::Over;
    let decided = Decided { key_number, attempts: decided.attempts.saturating_add(1), tried_after_window, ..decided };
    let operation = decided.operation();
    // With another key the call of before is another call: whether that is still on its way was settled when the key was given up.
    let unanswered = activity.unanswered.filter(|_| key != IdempotencyKeyState::ReplacementDue);
    let activity = Activity { key: IdempotencyKeyState::Usable, unanswered, ..activity.calling(operation) };
    let call = Effect::Call { operation, number: activity.calls, key_number };
    let open = OpenSession { entry: SessionEntry::Decided(Box::new(decided)), activity };
    Transition { next: NextState::Entry(open), effects: vec![call] }
}

/// An answer that counts, and all that it meets.
struct DecidedStep<'a> {
    decided: &'a Decided,
    activity: &'a Activity,
    retry_after: Option<SignedDuration>,
    policy: &'a Policy,
    context: &'a StepContext,
}

impl DecidedStep<'_> {
    /// The provider was asked where the session stands.
    fn status(&self, reply: &Reply) -> Transition {
        let now = self.context.now;
        let Reply::Ok(Some(view)) = *reply else {
            return if self.is_over() {
                self.expire(SessionEnd::without_provider(Result::Expired))
            } else {
                self.retry(self.activity.key)
            };
        };
        if let Some(result) = ending::result(self.decided.taken(), view, self.window()) {
            return SessionEnd::by_provider(result, now).of_decided(self.decided, self.policy, now);
        }
        match () {
            () if self.is_over() => {
                self.expire(SessionEnd::by_provider(ending::at_last_end(self.decided.taken(), view), now))
            }
            () if ending::waits_for_confirmation(view) => self.try_again(),
            () => self.retry(self.activity.key),
        }
    }

    /// The provider still waits. After the window's end it is tried once, and a deadline's action only by a clock that is
    /// right.
    fn try_again(&self) -> Transition {
        if self.window() == SessionWindow::Over && self.decided.tried_after_window {
            return self.retry(self.activity.key);
        }
        if self.decided.decider.kind == DeciderKind::Deadline && self.context.clock == ClockState::Untrusted {
            return Transition::clock_untrusted(self.activity, self.context);
        }
        let replaced_at = |since| later(since, self.policy.key_reuse_wait);
        // By a clock that was set forward it would be replaced while its call may still take effect.
        let is_over = |since| self.context.clock == ClockState::Trusted && replaced_at(since) <= self.context.now;
        let key = match self.activity.key {
            IdempotencyKeyState::Unanswered(since) | IdempotencyKeyState::AlreadyUsed(since) if is_over(since) => {
                IdempotencyKeyState::ReplacementDue
            }
            IdempotencyKeyState::AlreadyUsed(_) if self.context.clock == ClockState::Untrusted => {
                return Transition::clock_untrusted(self.activity, self.context);
            }
            IdempotencyKeyState::AlreadyUsed(since) => {
                let until = self.retry_at().min(replaced_at(since));
                return Transition::retry_at(self.activity, until);
            }
            IdempotencyKeyState::Unanswered(_) | IdempotencyKeyState::Usable => IdempotencyKeyState::Usable,
            IdempotencyKeyState::ReplacementDue => IdempotencyKeyState::ReplacementDue,
        };
        let used = Activity { key, ..self.activity.clone() };
        act(self.decided.clone(), &used, key, self.policy, self.context)
    }

    /// The action was answered.
    fn answer(&self, reply: Reply) -> Transition {
        let now = self.context.now;
        match reply {
            Reply::Ok(view) => {
                let told = view
                    .and_then(|view| ending::result(ActionTaken::AnsweredOk(self.decided.action), view, self.window()));
                SessionEnd::by_provider(told.unwrap_or(Result::Accepted), now).of_decided(
                    self.decided,
                    self.policy,
                    now,
                )
            }
            Reply::Refused { code, description } => self.refused(code, description),
            Reply::UnknownCode { code, description } => self.unknown_code(code, description),
            // It is meant to be tried again, with another key.
            Reply::TryAgain => self.retry(self.key_after_error()),
            // An earlier call with this key arrived after all, and its answer was lost: what it did, a status will show.
            Reply::KeyExists => self.retry(IdempotencyKeyState::AlreadyUsed(now)),
            Reply::Unclear => {
                let activity = Activity {
                    key: IdempotencyKeyState::Unanswered(now),
                    unanswered: Some(now),
                    ..self.activity.clone()
                };
                Transition::retry_at(&activity, self.retry_at())
            }
            // It had no effect, so the key is as good as new.
            Reply::NotProcessed => self.retry(IdempotencyKeyState::Usable),
            Reply::NotSent => self.not_sent(),
        }
    }

    /// It never left: it counts neither as an attempt nor as the one try after the window.
    fn not_sent(&self) -> Transition {
        let attempts = self.decided.attempts.saturating_sub(1);
        let decided = Decided { attempts, tried_after_window: false, ..self.decided.clone() };
        let activity = self.activity.failed_until(self.retry_at());
        Transition {
            next: NextState::Entry(OpenSession { entry: SessionEntry::Decided(Box::new(decided)), activity }),
            effects: Vec::new(),
        }
    }

    fn refused(&self, code: String, description: String) -> Transition {
        let refusal = Some(ProviderRefusal { code, description });
        let end = SessionEnd { result: Result::Refused, answered_at: Some(self.context.now), refusal };
        end.of_decided(self.decided, self.policy, self.context.now)
    }

    /// It may be a refusal of a later version of the contract, or a failure that passes: only time tells.
    fn unknown_code(&self, code: String, description: String) -> Transition {
        if self.context.clock == ClockState::Untrusted {
            return self.retry(self.key_after_error());
        }
        let now = self.context.now;
        let (before, since) = self.decided.unknown_codes.unwrap_or((0, now));
        let tries = before.saturating_add(1);
        if tries >= UNKNOWN_CODES_MIN && later(since, UNKNOWN_CODES_OVER) <= now {
            return self.refused(code, description);
        }
        let decided = Decided { unknown_codes: Some((tries, since)), ..self.decided.clone() };
        let activity = Activity { key: self.key_after_error(), ..self.activity.failed_until(self.retry_at()) };
        Transition {
            next: NextState::Entry(OpenSession { entry: SessionEntry::Decided(Box::new(decided)), activity }),
            effects: Vec::new(),
        }
    }

    /// What an error that wants another try makes of the key. While an earlier call with it may still be on its way, only the
    /// same key keeps the two from both having their effect.
    fn key_after_error(&self) -> IdempotencyKeyState {
        self.activity.unanswered.map_or(IdempotencyKeyState::ReplacementDue, IdempotencyKeyState::Unanswered)
    }

    fn retry(&self, key: IdempotencyKeyState) -> Transition {
        let activity = Activity { key, ..self.activity.clone() };
        Transition::retry_at(&activity, self.retry_at())
    }

    fn retry_at(&self) -> Timestamp {
        self.policy.retry_at(self.decided.opening.window_began_at, self.activity, self.retry_after, self.context)
    }

    fn expire(&self, end: SessionEnd) -> Transition {
        match self.context.clock {
            ClockState::Untrusted => Transition::clock_untrusted(self.activity, self.context),
            ClockState::Trusted => end.of_decided(self.decided, self.policy, self.context.now),
        }
    }

    fn is_over(&self) -> bool {
        self.context.now >= self.policy.last_end(&self.decided.opening)
    }

    fn window(&self) -> SessionWindow {
        self.policy.believed_window(&self.decided.opening, self.context)
    }
}

impl Decided {
    fn taken(&self) -> ActionTaken {
        match self.attempts {
            0 => ActionTaken::NotSent(self.action),
            _ => ActionTaken::Sent(self.action),
        }
    }
}
