//! How a session is decided: by a rule as it opens, by another team, or at its deadline; and what came before it opened.
//! Pure: must not know how a decision is carried out.

use jiff::SignedDuration;

use super::ending::{self, Deed, End, Window};
use super::timing::{Policy, clock_again, look_again};
use super::{
    Activity, EarlyRoom, Effect, Input, Moment, Next, Note, Open, Owner, Phase, Reading, Step, calling, checking,
};
use crate::confirmation::session::clock::Trust;
use crate::confirmation::session::model::{Action, Dating, Decider, Decision, Entry, Judged, Opening};
use crate::message::confirmation::v1::{DeciderKind, RejectionReason, Result};
use crate::provider::smart_glocal::api::{Reply, Sight};

/// How many decisions wait for a session that has not opened. All but the first are rejected in the end; this many are
/// kept to tell them why.
const EARLY_DECISIONS_MAX: usize = 16;

/// A session that has not opened.
pub(super) fn unopened(
    early: &[Decision],
    activity: &Activity,
    input: Input,
    policy: &Policy,
    moment: &Moment,
) -> Step {
    match input {
        Input::Ready { opening, judged, dating } => ready(early, opening, judged, dating, policy, moment),
        Input::Decision(decision) => decision_before_session(early, activity, decision, moment),
        Input::Timer => unknown_session(early, activity, policy, moment),
        // It finished without ever asking, or was asked about and is forgotten.
        Input::Finished { .. } | Input::Unverified | Input::Answer { .. } => Step::nothing(),
    }
}

/// What is proven, fresh, and judged by a clock that is right opens at once; about all else the provider is asked first.
pub(super) fn ready(
    early: &[Decision],
    opening: Opening,
    judged: Judged,
    dating: Dating,
    policy: &Policy,
    moment: &Moment,
) -> Step {
    let window = policy.window(&opening, moment.now);
    match (judged, dating, window, moment.trust) {
        (judged, _, _, Trust::Trusted) if opening.dry_run => {
            open_unasked(early, opening, judged, dating, policy, moment).unwrap_or_else(|| Step::note(Note::TooOld))
        }
        (Judged::ByWebhook(verdict), Dating::ByProvider, Window::Open, Trust::Trusted) => {
            open(early, opening, verdict, policy, moment)
        }
        (judged, ..) => checking::begin(early, opening, judged, dating),
    }
}

/// Opens a session of a dry run, in which nobody is asked. Nothing where it may have ended and been forgotten. The rules were
/// not made for a session that is over, so they do not judge one.
pub(super) fn open_unasked(
    early: &[Decision],
    opening: Opening,
    judged: Judged,
    dating: Dating,
    policy: &Policy,
    moment: &Moment,
) -> Option<Step> {
    if dating == Dating::ByProvider && checking::may_be_forgotten(&opening, dating, policy, moment.now) {
        return None;
    }
    let verdict = match (judged, policy.window(&opening, moment.now)) {
        (Judged::ByWebhook(verdict), Window::Open) => verdict,
        (Judged::ByWebhook(_), Window::Over) | (Judged::ByStatus, _) => None,
    };
    Some(open(early, opening, verdict, policy, moment))
}

/// Rules come first; on hold the first early decision counts; else the session waits.
pub(super) fn open(
    early: &[Decision],
    opening: Opening,
    verdict: Option<(Action, Decider)>,
    policy: &Policy,
    moment: &Moment,
) -> Step {
    let reject = |early: &Decision| Effect::Reject(early.clone(), RejectionReason::AlreadyDecided);
    let (mut step, others) = match (verdict, early.split_first()) {
        (Some((action, decider)), _) => (decide(opening, &Activity::default(), action, decider, policy, moment), early),
        (None, Some((first, others))) => (decide_as_told(opening, &Activity::default(), first, policy, moment), others),
        (None, None) => (wait(opening), early),
    };
    step.effects.extend(others.iter().map(reject));
    step
}

fn wait(opening: Opening) -> Step {
    let open = Open::taken_over(Entry::Awaiting(Box::new(opening)));
    Step { state: Next::Entry(open), effects: Vec::new() }
}

/// It waits for its session, unless another source has that.
fn decision_before_session(early: &[Decision], activity: &Activity, decision: Decision, moment: &Moment) -> Step {
    match moment.owner {
        Owner::OtherSource => reject(decision, RejectionReason::SourceMismatch),
        Owner::NoOther => remember_early(early, activity, decision, moment, Entry::Early),
    }
}

fn reject(decision: Decision, reason: RejectionReason) -> Step {
    Step { state: Next::Same, effects: vec![Effect::Reject(decision, reason)] }
}

/// One more decision that waits, beside those that do.
pub(super) fn remember_early(
    early: &[Decision],
    activity: &Activity,
    decision: Decision,
    moment: &Moment,
    entry: impl FnOnce(Vec<Decision>) -> Entry,
) -> Step {
    if early.iter().any(|early| early.is_again(&decision.decision_id)) {
        return Step::note(Note::Redelivered);
    }
    if early.len() >= EARLY_DECISIONS_MAX {
        return reject(decision, RejectionReason::AlreadyDecided);
    }
    if moment.early_room == EarlyRoom::Full {
        return reject(decision, RejectionReason::TooManyEarly);
    }
    let mut early = early.to_vec();
    early.push(decision);
    Step { state: Next::Entry(Open { entry: entry(early), activity: activity.clone() }), effects: Vec::new() }
}

/// No session opened in time.
fn unknown_session(early: &[Decision], activity: &Activity, policy: &Policy, moment: &Moment) -> Step {
    if moment.now < policy.unknown_at(early) {
        return Step {
            state: Next::Activity(Activity { phase: Phase::Idle, ..activity.clone() }),
            effects: Vec::new(),
        };
    }
    if moment.reading != Reading::CaughtUp {
        return Step::wait(activity, look_again(moment.now));
    }
    if moment.trust == Trust::Untrusted {
        return clock_untrusted(activity, moment);
    }
    let reason = match moment.owner {
        Owner::NoOther => RejectionReason::UnknownSession,
        Owner::OtherSource => RejectionReason::SourceMismatch,
    };
    let is_over = |early: &&Decision| policy.unknown_at(std::slice::from_ref(*early)) <= moment.now;
    let (over, left): (Vec<&Decision>, Vec<&Decision>) = early.iter().partition(is_over);
    let effects = over.into_iter().map(|early| Effect::Reject(early.clone(), reason)).collect();
    let state = if left.is_empty() {
        Next::Forgotten
    } else {
        Next::Entry(Open::taken_over(Entry::Early(left.into_iter().cloned().collect())))
    };
    Step { state, effects }
}

/// A session that is open and not decided.
pub(super) fn awaiting(opening: &Opening, activity: &Activity, input: Input, policy: &Policy, moment: &Moment) -> Step {
    match input {
        Input::Decision(decision) => decide_as_told(opening.clone(), activity, &decision, policy, moment),
        Input::Finished { sight, recorded_at } => {
            let window = policy.window(opening, recorded_at);
            ending::result(Deed::None, sight, window).map_or_else(Step::nothing, |result| {
                End::told(result, recorded_at).of_awaiting(opening, policy, moment.now)
            })
        }
        Input::Answer { number, operation, reply, retry_after, .. } if activity.awaits(number, operation) => {
            match reply {
                Reply::Ok(Some(sight)) => seen(opening, activity, sight, retry_after, policy, moment),
                _ => unseen(opening, activity, retry_after, policy, moment),
            }
        }
        Input::Timer if !activity.is_calling() => timer(opening, activity, policy, moment),
        Input::Unverified if !activity.is_calling() && !opening.dry_run => activity.asking(),
        // One is enough; and an answer to a call that does not count any more.
        Input::Ready { .. } | Input::Answer { .. } | Input::Timer | Input::Unverified => Step::nothing(),
    }
}

/// The deadline margin has begun, or the window is over: the provider's word beats our clock, and its answer's date tells
/// whether ours is right, so `session/status` comes before anything else.
fn timer(opening: &Opening, activity: &Activity, policy: &Policy, moment: &Moment) -> Step {
    if policy.waits_for_inputs(opening, moment) {
        return Step::wait(activity, look_again(moment.now));
    }
    if !opening.dry_run {
        return activity.asking();
    }
    match policy.at_deadline {
        _ if moment.trust == Trust::Untrusted => clock_untrusted(activity, moment),
        Some(action) if moment.now >= policy.deadline(opening) => {
            at_deadline(opening, activity, action, policy, moment)
        }
        None if moment.now >= policy.last_end(opening) => {
            End::untold(Result::Expired).of_awaiting(opening, policy, moment.now)
        }
        Some(_) | None => Step::wait(activity, policy.first_look(opening)),
    }
}

/// The provider told where the session stands.
fn seen(
    opening: &Opening,
    activity: &Activity,
    sight: Sight,
    retry_after: Option<SignedDuration>,
    policy: &Policy,
    moment: &Moment,
) -> Step {
    let now = moment.now;
    if let Some(result) = ending::result(Deed::None, sight, policy.believed_window(opening, moment)) {
        return End::told(result, now).of_awaiting(opening, policy, now);
    }
    match policy.at_deadline {
        // It was asked because of an event that cannot be verified.
        _ if now < policy.first_look(opening) => Step::wait(activity, policy.first_look(opening)),
        _ if moment.trust == Trust::Untrusted => clock_untrusted(activity, moment),
        _ if now >= policy.last_end(opening) => {
            End::told(ending::at_last_end(Deed::None, sight), now).of_awaiting(opening, policy, now)
        }
        // Decisions may have been read meanwhile, and more may come.
        Some(_) if policy.waits_for_inputs(opening, moment) => Step::wait(activity, look_again(now)),
        Some(action) if ending::waits_for_word(sight) && now >= policy.deadline(opening) => {
            at_deadline(opening, activity, action, policy, moment)
        }
        Some(_) | None => Step::rest(activity, policy.rest(opening.window_began_at, activity, retry_after, moment)),
    }
}

/// The provider did not tell.
fn unseen(
    opening: &Opening,
    activity: &Activity,
    retry_after: Option<SignedDuration>,
    policy: &Policy,
    moment: &Moment,
) -> Step {
    if moment.now < policy.first_look(opening) {
        return Step::wait(activity, policy.first_look(opening));
    }
    if moment.trust == Trust::Untrusted {
        return clock_untrusted(activity, moment);
    }
    if moment.now >= policy.last_end(opening) {
        return End::untold(Result::Expired).of_awaiting(opening, policy, moment.now);
    }
    match policy.at_deadline {
        // The question fails and the time runs out: the action may not fail, and its clock was proven before.
        Some(action) if policy.is_last_chance(opening, moment.now) => {
            at_deadline(opening, activity, action, policy, moment)
        }
        Some(_) | None => Step::rest(activity, policy.rest(opening.window_began_at, activity, retry_after, moment)),
    }
}

/// Nothing is done by a clock that is wrong.
pub(super) fn clock_untrusted(activity: &Activity, moment: &Moment) -> Step {
    Step::wait(activity, clock_again(moment.now)).with(Effect::Note(Note::ClockUntrusted))
}

fn at_deadline(opening: &Opening, activity: &Activity, action: Action, policy: &Policy, moment: &Moment) -> Step {
    let decider = Decider::of_kind(DeciderKind::Deadline);
    decide(opening.clone(), activity, action, decider, policy, moment)
}

fn decide_as_told(
    opening: Opening,
    activity: &Activity,
    decision: &Decision,
    policy: &Policy,
    moment: &Moment,
) -> Step {
    let decider = Decider {
        kind: DeciderKind::Decision,
        name: decision.decided_by.clone(),
        decision_id: decision.decision_id.clone(),
        reason: decision.reason.clone(),
    };
    decide(opening, activity, decision.action, decider, policy, moment)
}

/// The one place where a session is decided; from here on its action never changes.
fn decide(
    opening: Opening,
    activity: &Activity,
    action: Action,
    decider: Decider,
    policy: &Policy,
    moment: &Moment,
) -> Step {
    // Only rules have names of a closed set.
    let rule = if decider.kind == DeciderKind::Rule { decider.name.clone() } else { String::new() };
    let note = Effect::Note(Note::Decided(decider.kind, rule));
    let undone = calling::undone(opening, action, decider, moment.now);
    if undone.opening.dry_run {
        return End::untold(Result::DryRun).of_decided(&undone, policy, moment.now).with(note);
    }
    calling::begin(undone, activity, policy, moment).with(note)
}

impl Decision {
    /// Whether a record with this identity is this decision once more.
    fn is_again(&self, decision_id: &str) -> bool {
        !decision_id.is_empty() && self.decision_id == decision_id
    }
}
