//! What the machine's tests begin with: a policy, a session, a context.

use jiff::{SignedDuration, Timestamp};

use super::super::{EarlyRoom, InputProgress, NextState, OpenSession, Policy, SessionOwner, SessionState, StepContext};
use crate::confirmation::session::clock_guard::ClockState;
use crate::confirmation::session::ended::EndedSessions;
use crate::confirmation::session::model::{Action, Decision, Done, Opening, SessionKey};

/// When the tests' sessions are opened.
pub fn opened_at() -> Timestamp {
    "2024-05-27T02:03:00Z".parse().unwrap()
}

/// The defaults of the configuration.
pub fn policy() -> Policy {
    Policy {
        window: SignedDuration::from_hours(4),
        at_deadline: Some(Action::Cancel),
        deadline_margin: SignedDuration::from_mins(20),
        key_reuse_wait: SignedDuration::from_secs(120),
        unknown_session_ttl: SignedDuration::from_hours(24),
        ledger_retention: SignedDuration::from_hours(24),
    }
}

/// A session that was opened by its first event, for real.
pub fn opening() -> Opening {
    Opening {
        ready_event_id: "00112233445566778899aabbccddeeff".to_owned(),
        recorded_at: opened_at(),
        window_began_at: opened_at(),
        operations: Vec::new(),
        dry_run: false,
        failed_rule: String::new(),
    }
}

/// Good circumstances.
pub fn context(now: Timestamp) -> StepContext {
    StepContext {
        now,
        clock: ClockState::Trusted,
        progress: InputProgress::CaughtUp,
        owner: SessionOwner::NoOther,
        early_room: EarlyRoom::Free,
        jitter: 0,
    }
}

/// A decision of another team.
pub fn decision(action: Action, decision_id: &str, offset: i64) -> Decision {
    Decision {
        action,
        decided_by: "risk".to_owned(),
        reason: "checked".to_owned(),
        decision_id: decision_id.to_owned(),
        offset,
        recorded_at: opened_at(),
    }
}

/// A session as a test holds it.
pub enum TestSession {
    /// Nothing is known of it.
    Absent,
    /// It has not ended.
    Open(OpenSession),
    /// The session alone among the ended.
    Ended(EndedSessions),
}

impl TestSession {
    /// A session that ended like this.
    pub fn ended(done: &Done) -> Self {
        let mut ended = EndedSessions::default();
        ended.insert(&key(), done);
        Self::Ended(ended)
    }

    /// What a step made of it.
    pub fn follow(&mut self, next: NextState) {
        match (next, &mut *self) {
            (NextState::Same, _) => {}
            (NextState::Activity(activity), Self::Open(open)) => open.activity = activity,
            (NextState::Activity(_), Self::Absent | Self::Ended(..)) => panic!("an activity without a session"),
            (NextState::Entry(open), _) => *self = Self::Open(open),
            (NextState::Done(done), _) => *self = Self::ended(&done),
            (NextState::Forgotten, _) => *self = Self::Absent,
        }
    }

    /// As the machine sees it.
    pub fn as_state(&self) -> SessionState<'_> {
        match self {
            Self::Absent => SessionState::Absent,
            Self::Open(open) => SessionState::Open(open),
            Self::Ended(ended) => SessionState::Ended(ended.find(&key()).unwrap()),
        }
    }
}

fn key() -> SessionKey {
    SessionKey { source: "sg-main".into(), session_id: "ps_3230".into() }
}
