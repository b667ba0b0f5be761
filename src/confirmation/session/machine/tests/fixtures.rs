//! What the machine's tests begin with: a policy, a session, a moment.

use jiff::{SignedDuration, Timestamp};

use super::super::{EarlyRoom, Moment, Next, Open, Owner, Policy, Reading, State};
use crate::confirmation::session::clock::Trust;
use crate::confirmation::session::ended::Ended;
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
    }
}

/// A moment of good circumstances.
pub fn moment(now: Timestamp) -> Moment {
    Moment {
        now,
        trust: Trust::Trusted,
        reading: Reading::CaughtUp,
        owner: Owner::NoOther,
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
pub enum Lived {
    /// Nothing is known of it.
    Absent,
    /// It has not ended.
    Open(Open),
    /// The session alone among the ended.
    Ended(Ended),
}

impl Lived {
    /// A session that ended like this.
    pub fn ended(done: &Done) -> Self {
        let mut ended = Ended::default();
        ended.insert(&key(), done).unwrap();
        Self::Ended(ended)
    }

    /// What a step made of it.
    pub fn follow(&mut self, next: Next) {
        match (next, &mut *self) {
            (Next::Same, _) => {}
            (Next::Activity(activity), Self::Open(open)) => open.activity = activity,
            (Next::Activity(_), Self::Absent | Self::Ended(..)) => panic!("an activity without a session"),
            (Next::Entry(open), _) => *self = Self::Open(open),
            (Next::Done(done), _) => *self = Self::ended(&done),
            (Next::Forgotten, _) => *self = Self::Absent,
        }
    }

    /// As the machine sees it.
    pub fn seen(&self) -> State<'_> {
        match self {
            Self::Absent => State::Absent,
            Self::Open(open) => State::Open(open),
            Self::Ended(ended) => State::Ended(ended.find(&key()).unwrap()),
        }
    }
}

fn key() -> SessionKey {
    SessionKey { source: "sg-main".into(), session_id: "ps_3230".into() }
}
