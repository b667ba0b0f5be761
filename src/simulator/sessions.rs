//! What the simulated provider knows: its sessions, the idempotency keys it has seen, and a record of everything for tests.
//! Pure: must not read a clock, nor know HTTP or faults.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::message::smart_glocal::v1::{NextAction, SessionStatus};
use crate::provider::smart_glocal::api::{Operation, SessionView};

/// The oldest session is forgotten beyond it, record and all.
const SESSIONS_MAX: usize = 100_000;
/// The oldest key is forgotten beyond it.
const KEYS_MAX: usize = 1_000_000;
/// What is kept of one session's record: its first calls and actions.
const RECORD_MAX: usize = 1000;

/// What a session that nobody opened is to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownSessions {
    /// One that waits for its confirmation.
    Open,
    /// An error, `session_not_found`.
    Refuse,
}

/// What becomes of an action on a session that does not wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondActions {
    /// It is applied, and recorded: so a violation is seen. As a naive provider does it.
    Apply,
    /// It is an error, `session_already_finished`.
    Refuse,
}

/// A session as the provider has it, with its record.
#[derive(Clone, Debug)]
pub struct Session {
    /// What `session/status` tells at the moment that was asked about.
    pub view: SessionView,
    /// Every action that was applied, in order; the first 1000.
    pub applied: Vec<Applied>,
    /// Every authentic call, in order; the first 1000.
    pub received: Vec<Received>,
    /// When and how it ends, once an action is applied.
    ends: Option<(Timestamp, SessionStatus)>,
    /// The code with which every action is refused.
    refusal: Option<&'static str>,
    /// It is another project's.
    is_foreign: bool,
    /// What is told of it beside where it stands.
    fields: Map<String, Value>,
    forgotten: bool,
}

/// An action that had its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The session.
    pub session_id: String,
    /// Confirm or cancel.
    pub operation: Operation,
    /// Its idempotency key.
    pub key: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// An authentic call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Counts all calls of the provider in the order of their coming, from 1.
    pub number: u64,
    /// What was called.
    pub operation: Operation,
    /// Its idempotency key.
    pub key: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// An authentic call, as it is taken.
pub(super) struct ApiCall<'c> {
    pub operation: Operation,
    pub session_id: &'c str,
    pub key: Option<&'c str>,
    pub at: Timestamp,
}

/// What the provider says to it.
pub(super) enum CallResult {
    /// Done, or told; the session as it is, and what had its effect just now.
    Ok(SessionView, Option<Applied>),
    /// An error with this code.
    Error(&'static str),
}

/// Everything the provider knows.
pub(super) struct SimulatedSessions {
    pub unknown_sessions: UnknownSessions,
    pub second_actions: SecondActions,
    /// From an action to the end of its session.
    pub finish_after: Duration,
    sessions: BTreeMap<String, Session>,
    /// Ids by age.
    ages: VecDeque<String>,
    keys: Keys,
    calls: u64,
}

/// Idempotency keys that were used.
#[derive(Default)]
struct Keys {
    known: HashSet<String>,
    ages: VecDeque<String>,
}

const WAITING: SessionView = SessionView { status: SessionStatus::InProgress, next_action: NextAction::Confirm };

impl SimulatedSessions {
    pub(super) fn new(
        unknown_sessions: UnknownSessions,
        second_actions: SecondActions,
        finish_after: Duration,
    ) -> Self {
        let (sessions, ages, keys) = (BTreeMap::new(), VecDeque::new(), Keys::default());
        Self { unknown_sessions, second_actions, finish_after, sessions, ages, keys, calls: 0 }
    }

    /// Makes a session, or makes it look like this from now on; its record stays.
    pub(super) fn open(&mut self, session_id: &str, view: SessionView) {
        let session = self.session_mut(session_id);
        (session.view, session.ends, session.forgotten) = (view, None, false);
    }

    /// Refuses every action on a session from now on.
    pub(super) fn refuse(&mut self, session_id: &str, code: &'static str) {
        self.session_mut(session_id).refusal = Some(code);
    }

    /// Tells these fields of a session too from now on.
    pub(super) fn describe(&mut self, session_id: &str, fields: Map<String, Value>) {
        self.session_mut(session_id).fields = fields;
    }

    /// What is told of a session beside where it stands.
    pub(super) fn fields(&self, session_id: &str) -> Map<String, Value> {
        self.sessions.get(session_id).map(|session| session.fields.clone()).unwrap_or_default()
    }

    /// Makes a session another project's, which the caller may not ask about.
    pub(super) fn disown(&mut self, session_id: &str) {
        self.session_mut(session_id).is_foreign = true;
    }

    pub(super) fn forget_keys(&mut self) {
        self.keys = Keys::default();
    }

    pub(super) fn forget_session(&mut self, session_id: &str) {
        self.session_mut(session_id).forgotten = true;
    }

    /// A session with what `session/status` tells at `now`.
    pub(super) fn session(&self, session_id: &str, now: Timestamp) -> Option<Session> {
        self.sessions.get(session_id).map(|session| session.at(now))
    }

    pub(super) fn sessions(&self, now: Timestamp) -> BTreeMap<String, Session> {
        self.sessions.iter().map(|(id, session)| (id.clone(), session.at(now))).collect()
    }

    /// Records an authentic call, before anything else becomes of it; the code of its error, where its session is not known
    /// to the caller's project.
    pub(super) fn receive(&mut self, call: &ApiCall<'_>) -> Result<(), &'static str> {
        self.calls += 1;
        let (number, open) = (self.calls, self.unknown_sessions == UnknownSessions::Open);
        if !open && !self.sessions.contains_key(call.session_id) {
            return Err("session_not_found");
        }
        let session = self.session_mut(call.session_id);
        let key = call.key.map(str::to_owned);
        if session.received.len() < RECORD_MAX {
            session.received.push(Received { number, operation: call.operation, key, at: call.at });
        }
        match session {
            Session { is_foreign: true, .. } => Err("authorization_error"),
            Session { forgotten: true, .. } => Err("session_not_found"),
            _ => Ok(()),
        }
    }

    /// Uses an idempotency key up; whether it was new.
    pub(super) fn use_key(&mut self, key: Option<&str>) -> bool {
        key.is_none_or(|key| self.keys.remember(key))
    }

    /// Does what a call of a known session asks for.
    pub(super) fn carry_out(&mut self, call: &ApiCall<'_>) -> CallResult {
        let (second_actions, finish_after) = (self.second_actions, self.finish_after);
        let session = self.session_mut(call.session_id);
        let view = session.at(call.at).view;
        let end = match call.operation {
            Operation::Status => return CallResult::Ok(view, None),
            Operation::Confirm => SessionStatus::Accepted,
            Operation::Cancel => SessionStatus::Cancelled,
        };
        if let Some(code) = session.refusal {
            return CallResult::Error(code);
        }
        match (view.next_action, second_actions) {
            (NextAction::Confirm, _) => {
                session.view = SessionView { status: SessionStatus::InProgress, next_action: NextAction::Unspecified };
                session.ends = call.at.checked_add(finish_after).ok().map(|at| (at, end));
            }
            (_, SecondActions::Apply) => {}
            (_, SecondActions::Refuse) => return CallResult::Error("session_already_finished"),
        }
        let (session_id, key) = (call.session_id.to_owned(), call.key.map(str::to_owned));
        let applied = Applied { session_id, operation: call.operation, key, at: call.at };
        if session.applied.len() < RECORD_MAX {
            session.applied.push(applied.clone());
        }
        // Accepted for processing: the end is not told with it.
        CallResult::Ok(session.view, Some(applied))
    }

    fn session_mut(&mut self, session_id: &str) -> &mut Session {
        if !self.sessions.contains_key(session_id) {
            if self.ages.len() >= SESSIONS_MAX
                && let Some(oldest) = self.ages.pop_front()
            {
                self.sessions.remove(&oldest);
            }
            self.ages.push_back(session_id.to_owned());
        }
        self.sessions.entry(session_id.to_owned()).or_insert_with(Session::waiting)
    }
}

impl Session {
    fn waiting() -> Self {
        let (applied, received) = (Vec::new(), Vec::new());
        Self {
            view: WAITING,
            applied,
            received,
            ends: None,
            refusal: None,
            is_foreign: false,
            fields: Map::new(),
            forgotten: false,
        }
    }

    fn at(&self, now: Timestamp) -> Self {
        let mut session = self.clone();
        if let Some((at, status)) = self.ends
            && now >= at
        {
            session.view = SessionView { status, next_action: NextAction::Unspecified };
        }
        session
    }

    /// The actions that were applied, in order.
    pub fn actions(&self) -> Vec<Operation> {
        self.applied.iter().map(|applied| applied.operation).collect()
    }
}

impl Keys {
    fn remember(&mut self, key: &str) -> bool {
        if !self.known.insert(key.to_owned()) {
            return false;
        }
        self.ages.push_back(key.to_owned());
        if self.ages.len() > KEYS_MAX
            && let Some(oldest) = self.ages.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
