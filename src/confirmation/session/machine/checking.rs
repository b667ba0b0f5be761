//! A session that the provider is asked about before it opens: its webhook cannot be verified here, or came late, or does not
//! tell how old it is, or our own clock may be wrong. What ended and was forgotten is recognized so, and opens nothing.
//! Pure: must not know how a session is decided once it is open.

use jiff::{SignedDuration, Timestamp};

use super::deciding::{self, clock_untrusted, remember_early};
use super::ending::{self, Deed, End, Window};
use super::timing::Policy;
use super::{Activity, Effect, Input, Moment, Next, Note, Open, Owner, Shown, Step};
use crate::confirmation::session::clock::Trust;
use crate::confirmation::session::model::{Action, Checking, Dating, Decider, Decision, Entry, Judged, Opening};
use crate::message::confirmation::v1::Result;
use crate::provider::smart_glocal::api::{Reply, Sight};

/// Asks about a session, with the decisions that wait for it.
pub(super) fn begin(early: &[Decision], opening: Opening, judged: Judged, dating: Dating) -> Step {
    let checking = Checking { opening, judged, dating, early: early.to_vec() };
    Step { state: Next::Entry(Open::taken_over(Entry::Checking(Box::new(checking)))), effects: Vec::new() }
}

/// A session that is asked about.
pub(super) fn checking(
    checking: &Checking,
    activity: &Activity,
    input: Input,
    policy: &Policy,
    moment: &Moment,
) -> Step {
    let turn = Turn { checking, activity, policy, moment };
    match input {
        Input::Decision(decision) => {
            let early = |early| Entry::Checking(Box::new(Checking { early, ..checking.clone() }));
            remember_early(&checking.early, activity, decision, moment, early)
        }
        // What is proven takes the place of what was not.
        Input::Ready { opening, judged: judged @ Judged::ByWebhook(_), dating }
            if checking.judged == Judged::ByStatus =>
        {
            deciding::ready(&checking.early, opening, judged, dating, policy, moment)
        }
        Input::Finished { sight, recorded_at } => turn.finished(sight, recorded_at),
        Input::Answer { number, operation, reply, retry_after, shown } if activity.awaits(number, operation) => {
            match reply {
                Reply::Ok(Some(sight)) => turn.seen(sight, shown.map(|shown| *shown), retry_after),
                _ => turn.unseen(retry_after),
            }
        }
        Input::Timer | Input::Unverified if !activity.is_calling() => turn.timer(),
        // One is enough; and an answer to a call that does not count any more.
        Input::Ready { .. } | Input::Answer { .. } | Input::Timer | Input::Unverified => Step::nothing(),
    }
}

/// Whether an event of a session that is not known any more may be one of a session that ended and was forgotten.
pub(super) fn may_be_forgotten(opening: &Opening, dating: Dating, policy: &Policy, now: Timestamp) -> bool {
    match dating {
        Dating::ByProvider => policy.is_too_old(opening.window_began_at, now),
        Dating::ByArrival => true,
    }
}

/// A session that is asked about, and all that an input meets.
struct Turn<'a> {
    checking: &'a Checking,
    activity: &'a Activity,
    policy: &'a Policy,
    moment: &'a Moment,
}

/// What is believed of a session by what the provider shows.
struct Believed {
    opening: Opening,
    dating: Dating,
    verdict: Option<(Action, Decider)>,
}

impl Turn<'_> {
    fn timer(&self) -> Step {
        match (self.checking.opening.dry_run, self.moment.trust) {
            (false, _) => self.activity.asking(),
            // There is nobody to ask.
            (true, Trust::Untrusted) => clock_untrusted(self.activity, self.moment),
            (true, Trust::Trusted) if self.moment.owner == Owner::OtherSource => self.pass_over(Note::OtherSource),
            (true, Trust::Trusted) => {
                let Checking { opening, judged, dating, early } = self.checking.clone();
                match deciding::open_unasked(&early, opening, judged, dating, self.policy, self.moment) {
                    Some(step) => step,
                    None => self.pass_over(Note::TooOld),
                }
            }
        }
    }

    /// It finished before it opened. What cannot be judged yet is asked about again.
    fn finished(&self, sight: Sight, recorded_at: Timestamp) -> Step {
        let Checking { opening, judged, dating, .. } = self.checking;
        let window = self.policy.window(opening, recorded_at);
        if self.moment.owner == Owner::OtherSource {
            return Step::nothing();
        }
        match (ending::result(Deed::None, sight, window), judged, self.moment.trust) {
            (None, ..) | (_, Judged::ByStatus, _) | (_, _, Trust::Untrusted) => Step::nothing(),
            _ if may_be_forgotten(opening, *dating, self.policy, self.moment.now) => self.pass_over(Note::TooOld),
            (Some(result), Judged::ByWebhook(_), Trust::Trusted) => self.end(opening, End::told(result, recorded_at)),
        }
    }

    /// The provider told where the session stands.
    fn seen(&self, sight: Sight, shown: Option<Shown>, retry_after: Option<SignedDuration>) -> Step {
        if self.moment.trust == Trust::Untrusted {
            return clock_untrusted(self.activity, self.moment);
        }
        let now = self.moment.now;
        let Believed { mut opening, dating, verdict } = self.believe(shown);
        let window = self.policy.window(&opening, now);
        if ending::waits_for_word(sight) && self.moment.owner == Owner::OtherSource {
            // It opened there while the provider was asked here.
            return self.pass_over(Note::OtherSource);
        }
        if ending::waits_for_word(sight) {
            // The provider's word beats our clock.
            if window == Window::Over {
                opening.window_began_at = opening.recorded_at;
            }
            return deciding::open(&self.checking.early, opening, verdict, self.policy, self.moment);
        }
        // Anything but an end may be a moment's: only the last end makes one of it.
        let result = ending::result(Deed::None, sight, window);
        match result.or_else(|| self.is_over().then(|| ending::at_last_end(Deed::None, sight))) {
            None => self.rest(retry_after),
            Some(_) if self.moment.owner == Owner::OtherSource => self.pass_over(Note::OtherSource),
            Some(_) if may_be_forgotten(&opening, dating, self.policy, now) => self.pass_over(Note::TooOld),
            Some(result) => self.end(&opening, End::told(result, now)),
        }
    }

    /// The provider did not tell.
    fn unseen(&self, retry_after: Option<SignedDuration>) -> Step {
        let Checking { opening, judged, dating, .. } = self.checking;
        // What nobody verified does not tell its age either.
        let may_be_forgotten =
            *judged == Judged::ByStatus || may_be_forgotten(opening, *dating, self.policy, self.moment.now);
        match self.moment.trust {
            Trust::Untrusted => clock_untrusted(self.activity, self.moment),
            Trust::Trusted if !self.is_over() => self.rest(retry_after),
            Trust::Trusted if self.moment.owner == Owner::OtherSource => self.pass_over(Note::OtherSource),
            Trust::Trusted if may_be_forgotten => self.pass_over(Note::TooOld),
            Trust::Trusted => self.end(opening, End::untold(Result::Expired)),
        }
    }

    /// What is verified is believed; else what the provider shows, and without a time of its own that tells no age.
    fn believe(&self, shown: Option<Shown>) -> Believed {
        let Checking { opening, judged, dating, .. } = self.checking;
        match (judged, shown) {
            (Judged::ByWebhook(verdict), _) => {
                Believed { opening: opening.clone(), dating: *dating, verdict: verdict.clone() }
            }
            (Judged::ByStatus, shown) => {
                let Shown { began_at, operations, verdict } = shown.unwrap_or_default();
                let dating = if began_at.is_some() { Dating::ByProvider } else { Dating::ByArrival };
                let window_began_at = began_at.unwrap_or(opening.recorded_at).min(opening.recorded_at);
                Believed { opening: Opening { window_began_at, operations, ..opening.clone() }, dating, verdict }
            }
        }
    }

    /// It opens nothing, and its decisions go on waiting.
    fn pass_over(&self, why: Note) -> Step {
        let state = match self.checking.early.as_slice() {
            [] => Next::Forgotten,
            early => Next::Entry(Open::taken_over(Entry::Early(early.to_vec()))),
        };
        Step { state, effects: vec![Effect::Note(why)] }
    }

    fn end(&self, opening: &Opening, end: End) -> Step {
        let reason = ending::reason_after(end.result);
        let mut step = end.of_awaiting(opening, self.policy, self.moment.now);
        let reject = |early: &Decision| Effect::Reject(early.clone(), reason);
        step.effects.extend(self.checking.early.iter().map(reject));
        step
    }

    fn rest(&self, retry_after: Option<SignedDuration>) -> Step {
        let until = self.policy.rest(self.checking.opening.recorded_at, self.activity, retry_after, self.moment);
        Step::rest(self.activity, until)
    }

    /// Its last end goes by its record: the window of an old event was over long ago.
    fn is_over(&self) -> bool {
        self.moment.now >= self.policy.last_end_of(self.checking.opening.recorded_at)
    }
}
