//! Stops calling a provider whose calls fail, and finds out by one call at a time whether they succeed again.
//! Pure: must not read a clock, nor know what a call is.
//!
//! It opens after failures of several *different* sessions that no good answer contradicted, so one session that always
//! fails opens nothing. What it then holds back depends on what failed:
//!
//! | failures of five sessions | held back |
//! | --- | --- |
//! | no answer, 5xx, 401, 403, 429, our key | every session |
//! | also such as may concern each session alone (another project's session, an unknown id) | only sessions that failed themselves |
//!
//! So sessions of somebody else's project hold back only themselves; and where our project is really wrong, each session
//! is sent once, and after that one call at a time finds out when it was put right. Among those that wait for such a probe,
//! one that failed less often goes first, then the one whose deadline is first: a session that always fails is not the
//! only one that is asked about.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::confirmation::session::model::SessionKey;

/// One or two failures are a network's; those of so many sessions are an outage, or a wrong key.
const FAILURES_TO_OPEN: usize = 5;
/// The first pause: a provider's restart of a load balancer is over by then.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest: an ended outage is noticed soon enough for windows of hours.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The longest after a failure that may concern its session alone: another session may well fare better, and hundreds of
/// them are asked about within a window.
const PAUSE_ALONE_MAX: Duration = Duration::from_secs(5);
/// Sessions whose failures are remembered, some 40 bytes each. Beyond it a session that is not among them counts as failed.
const FAILED_MAX: usize = 65_536;

/// Notes which sessions failed since the last good answer, and opens.
#[derive(Debug)]
pub struct Breaker {
    state: BreakerState,
    /// By a hash of the session: where two have the same, one waits for a probe that need not.
    failed: BTreeMap<u64, SessionFailures>,
    /// How many of them failed for what concerns every session.
    failed_for_all: usize,
    /// Whether there ever was a good answer.
    has_worked: bool,
}

#[derive(Clone, Copy, Debug)]
enum BreakerState {
    /// Calls go through.
    Closed,
    /// No call of those held back goes through for a while.
    Open { until: Instant, pause: Duration, scope: BreakerScope },
    /// One of them is on its way to find out.
    HalfOpen { pause: Duration, scope: BreakerScope },
}

/// Whose calls are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BreakerScope {
    AllSessions,
    FailedSessions,
}

#[derive(Clone, Copy, Debug)]
struct SessionFailures {
    times: u32,
    scope: BreakerScope,
}

/// A permit to call once; comes back with what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// As usual.
    Ordinary,
    /// To find out whether the provider answers again.
    Probe,
}

/// What became of a call, as far as the provider's health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The provider understood and decided, whatever it decided.
    Success,
    /// A success where any call ever was one; before that it may be our account that is wrong.
    SuccessOnceProven,
    /// An answer that helps this session not, and says nothing of others.
    SessionFailure,
    /// No answer, or one that helps no session.
    ProviderFailure,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// Calls are held back from now on.
    Opened,
    /// Calls go through again.
    Closed,
}

impl Breaker {
    /// A closed one.
    pub fn new() -> Self {
        Self { state: BreakerState::Closed, failed: BTreeMap::new(), failed_for_all: 0, has_worked: false }
    }

    /// Whether a call about this session would get a permit now.
    pub fn allows(&self, session: &SessionKey, now: Instant) -> bool {
        self.is_closed_for(session) || self.is_probe_due(now)
    }

    /// A permit for one call about this session, where it gets one. Whoever takes it has to come back to [`Self::record`].
    pub fn permit(&mut self, session: &SessionKey, now: Instant) -> Option<Permit> {
        match self.state {
            _ if self.is_closed_for(session) => Some(Permit::Ordinary),
            BreakerState::Open { until, pause, scope } if now >= until => {
                self.state = BreakerState::HalfOpen { pause, scope };
                Some(Permit::Probe)
            }
            BreakerState::Closed | BreakerState::Open { .. } | BreakerState::HalfOpen { .. } => None,
        }
    }

    /// Whether calls about this session are not held back at all.
    pub fn is_closed_for(&self, session: &SessionKey) -> bool {
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open { scope, .. } | BreakerState::HalfOpen { scope, .. } => !self.includes(scope, session),
        }
    }

    /// Whether one of those that are held back may go, to find out.
    pub fn is_probe_due(&self, now: Instant) -> bool {
        matches!(self.state, BreakerState::Open { until, .. } if now >= until)
    }

    /// How often calls about this session failed since the last good answer: the fewer, the sooner it is asked about.
    pub fn failures(&self, session: &SessionKey) -> u32 {
        self.failed.get(&hash(session)).map_or(0, |failed| failed.times)
    }

    /// What became of a call that had a permit. A late success of a call from before the opening closes it as well.
    pub fn record(
        &mut self,
        session: &SessionKey,
        permit: Permit,
        health: Health,
        now: Instant,
    ) -> Option<BreakerChange> {
        match health {
            Health::Success => self.worked(),
            Health::SuccessOnceProven if self.has_worked => self.worked(),
            Health::SuccessOnceProven | Health::SessionFailure => {
                self.failed(session, permit, BreakerScope::FailedSessions, now)
            }
            Health::ProviderFailure => self.failed(session, permit, BreakerScope::AllSessions, now),
        }
    }

    fn worked(&mut self) -> Option<BreakerChange> {
        let was_closed = matches!(self.state, BreakerState::Closed);
        *self = Self { has_worked: true, ..Self::new() };
        (!was_closed).then_some(BreakerChange::Closed)
    }

    fn failed(
        &mut self,
        session: &SessionKey,
        permit: Permit,
        failure: BreakerScope,
        now: Instant,
    ) -> Option<BreakerChange> {
        self.note(session, failure);
        let due = if self.failed_for_all >= FAILURES_TO_OPEN {
            BreakerScope::AllSessions
        } else {
            BreakerScope::FailedSessions
        };
        let (next, change) = match (self.state, permit) {
            (BreakerState::Closed, _) if self.failed.len() < FAILURES_TO_OPEN => (BreakerState::Closed, None),
            (BreakerState::Closed, _) => (
                BreakerState::Open { until: now + PAUSE_MIN, pause: PAUSE_MIN, scope: due },
                Some(BreakerChange::Opened),
            ),
            (BreakerState::HalfOpen { pause, scope }, Permit::Probe) => {
                let (pause, scope) = match failure {
                    BreakerScope::AllSessions => ((pause * 2).min(PAUSE_MAX), due),
                    // The provider answers: others may go. Where it fails them, one call will tell.
                    BreakerScope::FailedSessions if scope == BreakerScope::AllSessions => {
                        (PAUSE_MIN, BreakerScope::FailedSessions)
                    }
                    BreakerScope::FailedSessions => ((pause * 2).min(PAUSE_ALONE_MAX), BreakerScope::FailedSessions),
                };
                (BreakerState::Open { until: now + pause, pause, scope }, None)
            }
            // A late failure says nothing new where all are held back, and may hold back all where some were.
            (BreakerState::Open { until, pause, scope }, _) => {
                (BreakerState::Open { until, pause, scope: scope.or(failure, due) }, None)
            }
            (BreakerState::HalfOpen { pause, scope }, Permit::Ordinary) => {
                (BreakerState::HalfOpen { pause, scope: scope.or(failure, due) }, None)
            }
        };
        self.state = next;
        change
    }

    fn note(&mut self, session: &SessionKey, failure: BreakerScope) {
        // A session that is known already is counted on, so that the bound does not freeze who is at fault.
        let is_full = self.failed.len() >= FAILED_MAX;
        let hash = hash(session);
        let before = self.failed.get(&hash).copied();
        if before.is_none() && is_full {
            return;
        }
        let counted = |scope| usize::from(scope == BreakerScope::AllSessions);
        let times = before.map_or(0, |failed| failed.times).saturating_add(1);
        self.failed.insert(hash, SessionFailures { times, scope: failure });
        self.failed_for_all += counted(failure);
        self.failed_for_all -= before.map_or(0, |failed| counted(failed.scope));
    }

    fn includes(&self, scope: BreakerScope, session: &SessionKey) -> bool {
        match scope {
            BreakerScope::AllSessions => true,
            BreakerScope::FailedSessions => self.failed.len() >= FAILED_MAX || self.failed.contains_key(&hash(session)),
        }
    }
}

impl BreakerScope {
    /// What is held back after a failure of this kind, where `due` is what all failures give.
    fn or(self, failure: Self, due: Self) -> Self {
        match failure {
            Self::AllSessions if self == Self::FailedSessions => due,
            Self::AllSessions | Self::FailedSessions => self,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

fn hash(session: &SessionKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    session.session_id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
