//! A session that is open and not decided: it waits for another team, and at its deadline for what the provider says.
//! Pure: must not know how a decision is carried out.

use jiff::SignedDuration;

use super::deciding::NewDecision;
use super::ending::{self, ActionTaken, SessionEnd};
use super::timing::{Policy, look_again};
use super::{Activity, Input, StepContext, Transition};
use crate::confirmation::session::clock_guard::ClockState;
use crate::confirmation::session::model::{Action, Opening};
use crate::message::confirmation::v1::Result;
use crate::provider::smart_glocal::api::{Reply, SessionView};

/// What an input does to it.
pub(super) fn step(
    opening: &Opening,
    activity: &Activity,
    input: Input,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    AwaitingStep { opening, activity, policy, context }.take(input)
}

/// An open session, and all that an input meets.
struct AwaitingStep<'a> {
    opening: &'a Opening,
    activity: &'a Activity,
    policy: &'a Policy,
    context: &'a StepContext,
}

impl AwaitingStep<'_> {
    fn take(&self, input: Input) -> Transition {
        match input {
            Input::Decision(decision) => self.decide(NewDecision::by_team(self.opening.clone(), &decision)),
            Input::Finished { view, recorded_at } => {
                let window = self.policy.window(self.opening, recorded_at);
                ending::result(ActionTaken::Undecided, view, window)
                    .map_or_else(Transition::nothing, |result| self.end(SessionEnd::by_provider(result, recorded_at)))
            }
            Input::Answer { number, operation, reply, retry_after, .. } if self.activity.awaits(number, operation) => {
                match reply {
                    Reply::Ok(Some(view)) => self.seen(view, retry_after),
                    _ => self.unseen(retry_after),
                }
            }
            Input::Timer if !self.activity.is_calling() => self.timer(),
            Input::Unverified if !self.activity.is_calling() && !self.opening.dry_run => self.activity.asking(),
            // One is enough; and an answer to a call that does not count any more.
            Input::Ready { .. } | Input::Answer { .. } | Input::Timer | Input::Unverified => Transition::nothing(),
        }
    }

    /// The deadline margin has begun, or the window is over: the provider's answer beats our clock, and its answer's date tells
    /// whether ours is right, so `session/status` comes before anything else.
    fn timer(&self) -> Transition {
        let Self { opening, activity, policy, context } = *self;
        if policy.waits_for_inputs(opening, context) {
            return Transition::wait(activity, look_again(context.now));
        }
        if !opening.dry_run {
            return activity.asking();
        }
        // In a dry run nobody is asked, so our own clock alone decides.
        match policy.at_deadline {
            _ if context.clock == ClockState::Untrusted => Transition::clock_untrusted(activity, context),
            Some(action) if context.now >= policy.deadline(opening) => self.at_deadline(action),
            None if context.now >= policy.last_end(opening) => self.end(SessionEnd::without_provider(Result::Expired)),
            Some(_) | None => Transition::wait(activity, policy.first_look(opening)),
        }
    }

    /// The provider told where the session stands.
    fn seen(&self, view: SessionView, retry_after: Option<SignedDuration>) -> Transition {
        let Self { opening, activity, policy, context } = *self;
        let now = context.now;
        if let Some(result) = ending::result(ActionTaken::Undecided, view, policy.believed_window(opening, context)) {
            return self.end(SessionEnd::by_provider(result, now));
        }
        match policy.at_deadline {
            // It was asked because of an event that cannot be verified.
            _ if now < policy.first_look(opening) => Transition::wait(activity, policy.first_look(opening)),
            _ if context.clock == ClockState::Untrusted => Transition::clock_untrusted(activity, context),
            _ if now >= policy.last_end(opening) => {
                self.end(SessionEnd::by_provider(ending::at_last_end(ActionTaken::Undecided, view), now))
            }
            // Decisions may have been read meanwhile, and more may come.
            Some(_) if policy.waits_for_inputs(opening, context) => Transition::wait(activity, look_again(now)),
            Some(action) if ending::waits_for_confirmation(view) && now >= policy.deadline(opening) => {
                self.at_deadline(action)
            }
            Some(_) | None => self.retry(retry_after),
        }
    }

    /// The provider did not tell.
    fn unseen(&self, retry_after: Option<SignedDuration>) -> Transition {
        let Self { opening, activity, policy, context } = *self;
        if context.now < policy.first_look(opening) {
            return Transition::wait(activity, policy.first_look(opening));
        }
        if context.clock == ClockState::Untrusted {
            return Transition::clock_untrusted(activity, context);
        }
        if context.now >= policy.last_end(opening) {
            return self.end(SessionEnd::without_provider(Result::Expired));
        }
        match policy.at_deadline {
            // The question fails and the time runs out: the action may not fail, and its clock was proven before.
            Some(action) if policy.is_last_chance(opening, context.now) => self.at_deadline(action),
            Some(_) | None => self.retry(retry_after),
        }
    }

    fn at_deadline(&self, action: Action) -> Transition {
        self.decide(NewDecision::by_deadline(self.opening.clone(), action))
    }

    fn decide(&self, decision: NewDecision) -> Transition {
        decision.carry_out(self.activity, self.policy, self.context)
    }

    fn end(&self, end: SessionEnd) -> Transition {
        end.of_awaiting(self.opening, self.policy, self.context.now)
    }

    fn retry(&self, retry_after: Option<SignedDuration>) -> Transition {
        let began_at = self.opening.window_began_at;
        Transition::retry_at(self.activity, self.policy.retry_at(began_at, self.activity, retry_after, self.context))
    }
}
