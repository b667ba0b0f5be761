//! How a session is decided: by a rule as it opens, by another team, or at its deadline; and what came before it opened.
//! Pure: must not know how a decision is carried out.

use jiff::SignedDuration;

use super::ending::{self, ActionTaken, SessionEnd, SessionWindow};
use super::timing::{Policy, clock_again, look_again};
use super::{
    Activity, EarlyRoom, Effect, Input, InputProgress, NextState, Note, OpenSession, Phase, SessionOwner, StepContext,
    Transition, calling, checking,
};
use crate::confirmation::session::clock::ClockState;
use crate::confirmation::session::model::{Action, Decider, Decision, Entry, EventAge, Opening, RuleBasis};
use crate::message::confirmation::v1::{DeciderKind, RejectionReason, Result};
use crate::provider::smart_glocal::api::{Reply, SessionView};

/// How many decisions wait for a session that has not opened. All but the first are rejected in the end; this many are
/// kept to tell them why.
const EARLY_DECISIONS_MAX: usize = 16;

/// A session that has not opened.
pub(super) fn unopened(
    early: &[Decision],
    activity: &Activity,
    input: Input,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    match input {
        Input::Ready { opening, basis, age } => ready(early, opening, basis, age, policy, context),
        Input::Decision(decision) => decision_before_session(early, activity, decision, context),
        Input::Timer => unknown_session(early, activity, policy, context),
        // It finished without ever asking, or was asked about and is forgotten.
        Input::Finished { .. } | Input::Unverified | Input::Answer { .. } => Transition::nothing(),
    }
}

/// What is proven, fresh, and judged by a clock that is right opens at once; about all else the provider is asked first.
pub(super) fn ready(
    early: &[Decision],
    opening: Opening,
    basis: RuleBasis,
    age: EventAge,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    let window = policy.window(&opening, context.now);
    match (basis, age, window, context.clock) {
        (basis, _, _, ClockState::Trusted) if opening.dry_run => {
            open_unasked(early, opening, basis, age, policy, context).unwrap_or_else(|| Transition::note(Note::TooOld))
        }
        (RuleBasis::Webhook(verdict), EventAge::Known, SessionWindow::Open, ClockState::Trusted) => {
            open(early, opening, verdict, policy, context)
        }
        (basis, ..) => checking::begin(early, opening, basis, age),
    }
}

/// Opens a session of a dry run, in which nobody is asked. Nothing where it may have ended and been forgotten. The rules were
/// not made for a session that is over, so they do not judge one.
pub(super) fn open_unasked(
    early: &[Decision],
    opening: Opening,
    basis: RuleBasis,
    age: EventAge,
    policy: &Policy,
    context: &StepContext,
) -> Option<Transition> {
    if age == EventAge::Known && checking::may_be_forgotten(&opening, age, policy, context.now) {
        return None;
    }
    let verdict = match (basis, policy.window(&opening, context.now)) {
        (RuleBasis::Webhook(verdict), SessionWindow::Open) => verdict,
        (RuleBasis::Webhook(_), SessionWindow::Over) | (RuleBasis::Status, _) => None,
    };
    Some(open(early, opening, verdict, policy, context))
}

/// Rules come first; on hold the first early decision counts; else the session waits.
pub(super) fn open(
    early: &[Decision],
    opening: Opening,
    verdict: Option<(Action, Decider)>,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    let reject = |early: &Decision| Effect::Reject(early.clone(), RejectionReason::AlreadyDecided);
    let (mut step, others) = match (verdict, early.split_first()) {
        (Some((action, decider)), _) => {
            (decide(opening, &Activity::default(), action, decider, policy, context), early)
        }
        (None, Some((first, others))) => {
            (decide_as_told(opening, &Activity::default(), first, policy, context), others)
        }
        (None, None) => (wait(opening), early),
    };
    step.effects.extend(others.iter().map(reject));
    step
}

fn wait(opening: Opening) -> Transition {
    let open = OpenSession::taken_over(Entry::Awaiting(Box::new(opening)));
    Transition { state: NextState::Entry(open), effects: Vec::new() }
}

/// It waits for its session, unless another source has that.
fn decision_before_session(
    early: &[Decision],
    activity: &Activity,
    decision: Decision,
    context: &StepContext,
) -> Transition {
    match context.owner {
        SessionOwner::OtherSource => reject(decision, RejectionReason::SourceMismatch),
        SessionOwner::NoOther => remember_early(early, activity, decision, context, Entry::Early),
    }
}

fn reject(decision: Decision, reason: RejectionReason) -> Transition {
    Transition { state: NextState::Same, effects: vec![Effect::Reject(decision, reason)] }
}

/// One more decision that waits, beside those that do.
pub(super) fn remember_early(
    early: &[Decision],
    activity: &Activity,
    decision: Decision,
    context: &StepContext,
    entry: impl FnOnce(Vec<Decision>) -> Entry,
) -> Transition {
    if early.iter().any(|early| early.is_again(&decision.decision_id)) {
        return Transition::note(Note::Redelivered);
    }
    if early.len() >= EARLY_DECISIONS_MAX {
        return reject(decision, RejectionReason::AlreadyDecided);
    }
    if context.early_room == EarlyRoom::Full {
        return reject(decision, RejectionReason::TooManyEarly);
    }
    let mut early = early.to_vec();
    early.push(decision);
    Transition {
        state: NextState::Entry(OpenSession { entry: entry(early), activity: activity.clone() }),
        effects: Vec::new(),
    }
}

/// No session opened in time.
fn unknown_session(early: &[Decision], activity: &Activity, policy: &Policy, context: &StepContext) -> Transition {
    if context.now < policy.unknown_at(early) {
        return Transition {
            state: NextState::Activity(Activity { phase: Phase::Idle, ..activity.clone() }),
            effects: Vec::new(),
        };
    }
    if context.progress != InputProgress::CaughtUp {
        return Transition::wait(activity, look_again(context.now));
    }
    if context.clock == ClockState::Untrusted {
        return clock_untrusted(activity, context);
    }
    let reason = match context.owner {
        SessionOwner::NoOther => RejectionReason::UnknownSession,
        SessionOwner::OtherSource => RejectionReason::SourceMismatch,
    };
    let is_over = |early: &&Decision| policy.unknown_at(std::slice::from_ref(*early)) <= context.now;
    let (over, left): (Vec<&Decision>, Vec<&Decision>) = early.iter().partition(is_over);
    let effects = over.into_iter().map(|early| Effect::Reject(early.clone(), reason)).collect();
    let state = if left.is_empty() {
        NextState::Forgotten
    } else {
        NextState::Entry(OpenSession::taken_over(Entry::Early(left.into_iter().cloned().collect())))
    };
    Transition { state, effects }
}

/// A session that is open and not decided.
pub(super) fn awaiting(
    opening: &Opening,
    activity: &Activity,
    input: Input,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    match input {
        Input::Decision(decision) => decide_as_told(opening.clone(), activity, &decision, policy, context),
        Input::Finished { view, recorded_at } => {
            let window = policy.window(opening, recorded_at);
            ending::result(ActionTaken::Undecided, view, window).map_or_else(Transition::nothing, |result| {
                SessionEnd::by_provider(result, recorded_at).of_awaiting(opening, policy, context.now)
            })
        }
        Input::Answer { number, operation, reply, retry_after, .. } if activity.awaits(number, operation) => {
            match reply {
                Reply::Ok(Some(view)) => seen(opening, activity, view, retry_after, policy, context),
                _ => unseen(opening, activity, retry_after, policy, context),
            }
        }
        Input::Timer if !activity.is_calling() => timer(opening, activity, policy, context),
        Input::Unverified if !activity.is_calling() && !opening.dry_run => activity.asking(),
        // One is enough; and an answer to a call that does not count any more.
        Input::Ready { .. } | Input::Answer { .. } | Input::Timer | Input::Unverified => Transition::nothing(),
    }
}

/// The deadline margin has begun, or the window is over: the provider's word beats our clock, and its answer's date tells
/// whether ours is right, so `session/status` comes before anything else.
fn timer(opening: &Opening, activity: &Activity, policy: &Policy, context: &StepContext) -> Transition {
    if policy.waits_for_inputs(opening, context) {
        return Transition::wait(activity, look_again(context.now));
    }
    if !opening.dry_run {
        return activity.asking();
    }
    match policy.at_deadline {
        _ if context.clock == ClockState::Untrusted => clock_untrusted(activity, context),
        Some(action) if context.now >= policy.deadline(opening) => {
            at_deadline(opening, activity, action, policy, context)
        }
        None if context.now >= policy.last_end(opening) => {
            SessionEnd::without_provider(Result::Expired).of_awaiting(opening, policy, context.now)
        }
        Some(_) | None => Transition::wait(activity, policy.first_look(opening)),
    }
}

/// The provider told where the session stands.
fn seen(
    opening: &Opening,
    activity: &Activity,
    view: SessionView,
    retry_after: Option<SignedDuration>,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    let now = context.now;
    if let Some(result) = ending::result(ActionTaken::Undecided, view, policy.believed_window(opening, context)) {
        return SessionEnd::by_provider(result, now).of_awaiting(opening, policy, now);
    }
    match policy.at_deadline {
        // It was asked because of an event that cannot be verified.
        _ if now < policy.first_look(opening) => Transition::wait(activity, policy.first_look(opening)),
        _ if context.clock == ClockState::Untrusted => clock_untrusted(activity, context),
        _ if now >= policy.last_end(opening) => {
            SessionEnd::by_provider(ending::at_last_end(ActionTaken::Undecided, view), now)
                .of_awaiting(opening, policy, now)
        }
        // Decisions may have been read meanwhile, and more may come.
        Some(_) if policy.waits_for_inputs(opening, context) => Transition::wait(activity, look_again(now)),
        Some(action) if ending::waits_for_word(view) && now >= policy.deadline(opening) => {
            at_deadline(opening, activity, action, policy, context)
        }
        Some(_) | None => {
            Transition::rest(activity, policy.rest(opening.window_began_at, activity, retry_after, context))
        }
    }
}

/// The provider did not tell.
fn unseen(
    opening: &Opening,
    activity: &Activity,
    retry_after: Option<SignedDuration>,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    if context.now < policy.first_look(opening) {
        return Transition::wait(activity, policy.first_look(opening));
    }
    if context.clock == ClockState::Untrusted {
        return clock_untrusted(activity, context);
    }
    if context.now >= policy.last_end(opening) {
        return SessionEnd::without_provider(Result::Expired).of_awaiting(opening, policy, context.now);
    }
    match policy.at_deadline {
        // The question fails and the time runs out: the action may not fail, and its clock was proven before.
        Some(action) if policy.is_last_chance(opening, context.now) => {
            at_deadline(opening, activity, action, policy, context)
        }
        Some(_) | None => {
            Transition::rest(activity, policy.rest(opening.window_began_at, activity, retry_after, context))
        }
    }
}

/// Nothing is done by a clock that is wrong.
pub(super) fn clock_untrusted(activity: &Activity, context: &StepContext) -> Transition {
    Transition::wait(activity, clock_again(context.now)).with(Effect::Note(Note::ClockUntrusted))
}

fn at_deadline(
    opening: &Opening,
    activity: &Activity,
    action: Action,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    let decider = Decider::of_kind(DeciderKind::Deadline);
    decide(opening.clone(), activity, action, decider, policy, context)
}

fn decide_as_told(
    opening: Opening,
    activity: &Activity,
    decision: &Decision,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    let decider = Decider {
        kind: DeciderKind::Decision,
        name: decision.decided_by.clone(),
        decision_id: decision.decision_id.clone(),
        reason: decision.reason.clone(),
    };
    decide(opening, activity, decision.action, decider, policy, context)
}

/// The one place where a session is decided; from here on its action never changes.
fn decide(
    opening: Opening,
    activity: &Activity,
    action: Action,
    decider: Decider,
    policy: &Policy,
    context: &StepContext,
) -> Transition {
    // Only rules have names of a closed set.
    let rule = if decider.kind == DeciderKind::Rule { decider.name.clone() } else { String::new() };
    let note = Effect::Note(Note::Decided(decider.kind, rule));
    let undone = calling::undone(opening, action, decider, context.now);
    if undone.opening.dry_run {
        return SessionEnd::without_provider(Result::DryRun).of_decided(&undone, policy, context.now).with(note);
    }
    calling::begin(undone, activity, policy, context).with(note)
}

impl Decision {
    /// Whether a record with this identity is this decision once more.
    fn is_again(&self, decision_id: &str) -> bool {
        !decision_id.is_empty() && self.decision_id == decision_id
    }
}
