//! A session that the provider is asked about before it opens: its webhook cannot be verified here, or came late, or does not
//! tell how old it is, or our own clock may be wrong. What ended and was forgotten is recognized so, and opens nothing.
//! Pure: must not know how a session is decided once it is open.

use jiff::{SignedDuration, Timestamp};

use super::ending::{self, ActionTaken, SessionEnd};
use super::opening::OpeningStep;
use super::timing::Policy;
use super::timing::SessionWindow;
use super::unopened::remember_early;
use super::{
    Activity, Effect, Input, NextState, Note, OpenSession, SessionOwner, StatusDetails, StepContext, Transition,
};
use crate::confirmation::session::clock_guard::ClockState;
use crate::confirmation::session::model::{
    Action, Checking, Decider, Decision, EventAge, Opening, RuleBasis, SessionEntry,
};
use crate::message::confirmation::v1::Result;
use crate::provider::smart_glocal::api::{Reply, SessionView};

/// What an input does to it.
pub(super) fn step(
    checking: &Checking,
    activity: &Activity,
    input: Input,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    let step = CheckingStep { checking, activity, policy, context };
    match input {
        Input::Decision(decision) => {
            let early = |early| SessionEntry::Checking(Box::new(Checking { early, ..checking.clone() }));
            remember_early(&checking.early, activity, decision, context, early)
        }
        // What is proven takes the place of what was not.
        Input::Ready { opening, basis: basis @ RuleBasis::Webhook(_), age } if checking.basis == RuleBasis::Status => {
            OpeningStep { early: &checking.early, opening, policy, context }.ready(basis, age)
        }
        Input::Finished { view, recorded_at } => step.finished(view, recorded_at),
        Input::Answer { number, operation, reply, retry_after, details } if activity.awaits(number, operation) => {
            match reply {
                Reply::Ok(Some(view)) => step.seen(view, details.map(|details| *details), retry_after),
                _ => step.unseen(retry_after),
            }
        }
        Input::Timer | Input::Unverified if !activity.is_calling() => step.timer(),
        // One is enough; and an answer to a call that does not count any more.
        Input::Ready { .. } | Input::Answer { .. } | Input::Timer | Input::Unverified => Transition::nothing(),
    }
}

/// A session that is asked about, and all that an input meets.
struct CheckingStep<'a> {
    checking: &'a Checking,
    activity: &'a Activity,
    policy: &'a Policy,
    context: &'a StepContext,
}

/// What is believed of a session by what the provider shows.
struct Believed {
    opening: Opening,
    age: EventAge,
    verdict: Option<(Action, Decider)>,
}

impl CheckingStep<'_> {
    fn timer(&self) -> Transition {
        match (self.checking.opening.dry_run, self.context.clock) {
            (false, _) => self.activity.asking(),
            // There is nobody to ask.
            (true, ClockState::Untrusted) => Transition::clock_untrusted(self.activity, self.context),
            (true, ClockState::Trusted) if self.context.owner == SessionOwner::OtherSource => {
                self.pass_over(Note::OtherSource)
            }
            (true, ClockState::Trusted) => {
                let Checking { opening, basis, age, early } = self.checking.clone();
                match self.opening(&early, opening).open_unasked(basis, age) {
                    Some(step) => step,
                    None => self.pass_over(Note::TooOld),
                }
            }
        }
    }

    /// It finished before it opened. What cannot be judged yet is asked about again.
    fn finished(&self, view: SessionView, recorded_at: Timestamp) -> Transition {
        let Checking { opening, basis, age, .. } = self.checking;
        let window = self.policy.window(opening, recorded_at);
        if self.context.owner == SessionOwner::OtherSource {
            return Transition::nothing();
        }
        match (ending::result(ActionTaken::Undecided, view, window), basis, self.context.clock) {
            (None, ..) | (_, RuleBasis::Status, _) | (_, _, ClockState::Untrusted) => Transition::nothing(),
            _ if self.policy.may_be_forgotten(opening, *age, self.context.now) => self.pass_over(Note::TooOld),
            (Some(result), RuleBasis::Webhook(_), ClockState::Trusted) => {
                self.end(opening, SessionEnd::by_provider(result, recorded_at))
            }
        }
    }

    /// The provider told where the session stands.
    fn seen(
        &self,
        view: SessionView,
        details: Option<StatusDetails>,
        retry_after: Option<SignedDuration>,
    ) -> Transition {
        if self.context.clock == ClockState::Untrusted {
            return Transition::clock_untrusted(self.activity, self.context);
        }
        let now = self.context.now;
        let Believed { mut opening, age, verdict } = self.believe(details);
        let window = self.policy.window(&opening, now);
        if ending::waits_for_confirmation(view) && self.context.owner == SessionOwner::OtherSource {
            // It opened there while the provider was asked here.
            return self.pass_over(Note::OtherSource);
        }
        if ending::waits_for_confirmation(view) {
            // The provider's answer beats our clock.
            if window == SessionWindow::Over {
                opening.window_began_at = opening.recorded_at;
            }
            return self.opening(&self.checking.early, opening).open(verdict);
        }
        // Anything but an end may be a moment's: only the last end makes one of it.
        let result = ending::result(ActionTaken::Undecided, view, window);
        match result.or_else(|| self.is_over().then(|| ending::at_last_end(ActionTaken::Undecided, view))) {
            None => self.retry(retry_after),
            Some(_) if self.context.owner == SessionOwner::OtherSource => self.pass_over(Note::OtherSource),
            Some(_) if self.policy.may_be_forgotten(&opening, age, now) => self.pass_over(Note::TooOld),
            Some(result) => self.end(&opening, SessionEnd::by_provider(result, now)),
        }
    }

    /// The provider did not tell.
    fn unseen(&self, retry_after: Option<SignedDuration>) -> Transition {
        let Checking { opening, basis, age, .. } = self.checking;
        // What nobody verified does not tell its age either.
        let may_be_forgotten =
            *basis == RuleBasis::Status || self.policy.may_be_forgotten(opening, *age, self.context.now);
        match self.context.clock {
            ClockState::Untrusted => Transition::clock_untrusted(self.activity, self.context),
            ClockState::Trusted if !self.is_over() => self.retry(retry_after),
            ClockState::Trusted if self.context.owner == SessionOwner::OtherSource => self.pass_over(Note::OtherSource),
            ClockState::Trusted if may_be_forgotten => self.pass_over(Note::TooOld),
            ClockState::Trusted => self.end(opening, SessionEnd::without_provider(Result::Expired)),
        }
    }

    /// What is verified is believed; else what the provider shows, and without a time of its own that tells no age.
    fn believe(&self, details: Option<StatusDetails>) -> Believed {
        let Checking { opening, basis, age, .. } = self.checking;
        match (basis, details) {
            (RuleBasis::Webhook(verdict), _) => {
                Believed { opening: opening.clone(), age: *age, verdict: verdict.clone() }
            }
            (RuleBasis::Status, details) => {
                let StatusDetails { began_at, operations, verdict, failed_rule } = details.unwrap_or_default();
                let age = if began_at.is_some() { EventAge::Known } else { EventAge::Unknown };
                let window_began_at = began_at.unwrap_or(opening.recorded_at).min(opening.recorded_at);
                let opening = Opening { window_began_at, operations, failed_rule, ..opening.clone() };
                Believed { opening, age, verdict }
            }
        }
    }

    /// It opens nothing, and its decisions go on waiting.
    fn pass_over(&self, why: Note) -> Transition {
        let next = match self.checking.early.as_slice() {
            [] => NextState::Forgotten,
            early => NextState::Entry(OpenSession::taken_over(SessionEntry::Early(early.to_vec()))),
        };
        Transition { next, effects: vec![Effect::Note(why)] }
    }

    fn opening<'s>(&'s self, early: &'s [Decision], opening: Opening) -> OpeningStep<'s> {
        OpeningStep { early, opening, policy: self.policy, context: self.context }
    }

    fn end(&self, opening: &Opening, end: SessionEnd) -> Transition {
        let reason = ending::reason_after(end.result);
        let mut step = end.of_awaiting(opening, self.policy, self.context.now);
        let reject = |early: &Decision| Effect::Reject(early.clone(), reason);
        step.effects.extend(self.checking.early.iter().map(reject));
        step
    }

    fn retry(&self, retry_after: Option<SignedDuration>) -> Transition {
        let until = self.policy.retry_at(self.checking.opening.recorded_at, self.activity, retry_after, self.context);
        Transition::retry_at(self.activity, until)
    }

    /// Its last end goes by its record: the window of an old event was over long ago.
    fn is_over(&self) -> bool {
        self.context.now >= self.policy.last_end_of(self.checking.opening.recorded_at)
    }
}
