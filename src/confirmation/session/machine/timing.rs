//! The times of a session: window, margin and last end.
//! Pure: must not know what is done at those times.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{InputProgress, StepContext};
use crate::config::{AFTER_WINDOW, AtDeadline, Confirmation};
use crate::confirmation::session::clock_guard::ClockState;
use crate::confirmation::session::model::{Action, Decision, EventAge, Opening};

/// How long to wait for what cannot be hurried: the inputs to be read, the clock to be mended.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);
const CLOCK_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// How long a deadline that is due waits for the inputs after an assignment, and how close to the window's end at most.
const CATCH_UP_WITHIN: SignedDuration = SignedDuration::from_secs(30);
const CATCH_UP_BEFORE_END: SignedDuration = SignedDuration::from_secs(60);

/// Whether the session's window is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionWindow {
    /// The provider waits still, by our clock.
    Open,
    /// It does not.
    Over,
}

/// What the configuration says about times and deadlines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long the provider waits.
    pub window: SignedDuration,
    /// What is done when nobody decided; nothing: it is left to the provider.
    pub at_deadline: Option<Action>,
    /// How long before the window's end that is.
    pub deadline_margin: SignedDuration,
    /// After how long a key without a clear answer is replaced.
    pub key_reuse_wait: SignedDuration,
    /// How long a decision waits for its session.
    pub unknown_session_ttl: SignedDuration,
    /// How long ended sessions are remembered beyond `window`.
    pub ledger_retention: SignedDuration,
}

impl Policy {
    /// As `[confirmation]` says.
    pub fn of(confirmation: &Confirmation) -> Self {
        let signed = |duration: Duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        Self {
            window: signed(confirmation.window()),
            at_deadline: match confirmation.at_deadline {
                AtDeadline::Confirm => Some(Action::Confirm),
                AtDeadline::Cancel => Some(Action::Cancel),
                AtDeadline::Nothing => None,
            },
            deadline_margin: signed(confirmation.deadline_margin()),
            key_reuse_wait: signed(confirmation.key_reuse_wait()),
            unknown_session_ttl: signed(confirmation.unknown_session_ttl()),
            ledger_retention: signed(confirmation.ledger_retention()),
        }
    }

    /// The end of the window.
    pub fn window_end(&self, opening: &Opening) -> Timestamp {
        later(opening.window_began_at, self.window)
    }

    /// Whether the window is over at `at`.
    pub fn window(&self, opening: &Opening, at: Timestamp) -> SessionWindow {
        if at < self.window_end(opening) { SessionWindow::Open } else { SessionWindow::Over }
    }

    /// Whether the window is over by our clock; by one that is not trusted nothing is.
    pub fn believed_window(&self, opening: &Opening, context: &StepContext) -> SessionWindow {
        match context.clock {
            ClockState::Trusted => self.window(opening, context.now),
            ClockState::Untrusted => SessionWindow::Open,
        }
    }

    /// When an undecided session is decided by the deadline.
    pub fn deadline(&self, opening: &Opening) -> Timestamp {
        self.deadline_of(opening.window_began_at)
    }

    /// The same of a session whose window began then.
    pub fn deadline_of(&self, window_began_at: Timestamp) -> Timestamp {
        later(later(window_began_at, self.window), -self.deadline_margin)
    }

    /// When the session ends here at the latest.
    pub fn last_end(&self, opening: &Opening) -> Timestamp {
        self.last_end_of(opening.window_began_at)
    }

    /// The same of a session whose window began then.
    pub fn last_end_of(&self, window_began_at: Timestamp) -> Timestamp {
        later(window_began_at, self.window.saturating_add(AFTER_WINDOW))
    }

    /// When the first of these decisions' sessions counts as unknown.
    pub fn unknown_at(&self, early: &[Decision]) -> Timestamp {
        early.iter().map(|early| later(early.recorded_at, self.unknown_session_ttl)).min().unwrap_or(Timestamp::MIN)
    }

    /// When an undecided session is looked at for the first time.
    pub fn first_look(&self, opening: &Opening) -> Timestamp {
        match (self.at_deadline, opening.dry_run) {
            (Some(_), _) => self.deadline(opening),
            (None, false) => self.window_end(opening),
            (None, true) => self.last_end(opening),
        }
    }

    /// Whether the deadline has to wait for the inputs to be read: until half the margin is left; and where less was left when
    /// the partition was assigned, for some seconds all the same, if they are there: a decision written while no engine ran
    /// comes before the deadline.
    pub fn waits_for_inputs(&self, opening: &Opening, context: &StepContext) -> bool {
        let InputProgress::Behind { since } = context.progress else { return false };
        let window_end = self.window_end(opening);
        // The other half is for the call itself, and its retries.
        let half = later(window_end, -(self.deadline_margin / 2));
        let catch_up = later(since, CATCH_UP_WITHIN).min(later(window_end, -CATCH_UP_BEFORE_END));
        context.now < half.max(catch_up)
    }

    /// Whether so little of the margin is left that the deadline's action does not wait for the provider to say where the
    /// session stands.
    pub fn is_last_chance(&self, opening: &Opening, now: Timestamp) -> bool {
        let window_end = self.window_end(opening);
        (later(window_end, -(self.deadline_margin / 2))..window_end).contains(&now)
    }

    /// Whether an event whose window began then is so old that its session may have ended and been forgotten.
    fn is_too_old(&self, window_began_at: Timestamp, now: Timestamp) -> bool {
        later(window_began_at, self.ledger_retention) <= now
    }

    /// Whether an event of a session that is not known any more may be one of a session that ended and was forgotten.
    pub fn may_be_forgotten(&self, opening: &Opening, age: EventAge, now: Timestamp) -> bool {
        match age {
            EventAge::Known => self.is_too_old(opening.window_began_at, now),
            EventAge::Unknown => true,
        }
    }

    /// How long a session that has ended is remembered: so that each of its events is too old once it is forgotten, also one
    /// whose window began later than the session ended here, by another event or by a provider's clock that is ahead.
    pub fn remembered(&self) -> SignedDuration {
        self.window.saturating_add(self.ledger_retention)
    }
}

/// When to look again whether the inputs were read.
pub fn look_again(now: Timestamp) -> Timestamp {
    later(now, LOOK_AGAIN)
}

/// When to look again whether the clock can be believed.
pub fn clock_again(now: Timestamp) -> Timestamp {
    later(now, CLOCK_AGAIN)
}

/// `span` after `instant`, as far as times go.
pub fn later(instant: Timestamp, span: SignedDuration) -> Timestamp {
    instant.saturating_add(span).unwrap_or(Timestamp::MAX)
}
