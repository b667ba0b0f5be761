//! Counts how sessions ended, as their outcomes tell it, and whether the provider's own record agrees.
//! Must not know why they ended so.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message;

use crate::kafka::decoded::ReadRecord;
use crate::kafka::topics;
use crate::message::confirmation::v1::{Action, DeciderKind, Outcome, Result};
use crate::simulator::{Operation, Session};

/// The sessions that were seen on the topics.
pub struct SessionCounts {
    topics: SessionTopics,
    sessions: Mutex<BTreeMap<String, SeenSession>>,
}

struct SessionTopics {
    opening: Option<String>,
    outcome: String,
    finished: Option<String>,
}

/// What was seen of one session.
#[derive(Default)]
struct SeenSession {
    opened: bool,
    endings: Vec<Ending>,
    finished: bool,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HowEnded {
    Confirmed,
    Cancelled,
    Refused,
    Otherwise,
}

/// How, and by what it was decided.
type Ending = (HowEnded, &'static str);

/// What a row counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCount {
    /// Sessions that ended so, as their outcomes say.
    pub told: u64,
    /// Those of them whose provider did exactly that.
    pub applied: u64,
}

impl SessionCount {
    /// Whether both sides agree.
    pub fn agrees(self) -> bool {
        self.told == self.applied
    }
}

impl SessionCounts {
    /// Nothing seen yet, of the topics with this prefix.
    pub fn new(prefix: &str) -> Self {
        let events = topics::confirmation_events();
        let topic = |part: &str| {
            let (provider, event) = events.iter().find(|(_, event)| event.topic_part == part)?;
            Some(topics::event_topic(prefix, provider, event))
        };
        let topics = SessionTopics {
            opening: topic("ready-to-confirm"),
            outcome: topics::outcome_topic(prefix),
            finished: topic("payment-finished"),
        };
        Self { topics, sessions: Mutex::default() }
    }

    /// Counts a record, where it is about a session.
    pub fn seen(&self, record: &ReadRecord) {
        let Some(session) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else { return };
        let topic = Some(&record.topic);
        if topic == self.topics.opening.as_ref() {
            self.sessions().entry(session.to_owned()).or_default().opened = true;
        } else if topic == self.topics.finished.as_ref() {
            self.sessions().entry(session.to_owned()).or_default().finished = true;
        } else if record.topic == self.topics.outcome {
            let outcome = Outcome::decode(record.value.as_deref().unwrap_or_default()).unwrap_or_default();
            self.sessions().entry(session.to_owned()).or_default().endings.push(ending(&outcome));
        }
    }

    /// Whether every session that was opened has ended, and its provider has told so where it did something.
    pub fn is_complete(&self) -> bool {
        self.sessions().values().filter(|seen| seen.opened).all(SeenSession::is_complete)
    }

    /// Whether a session has an outcome.
    pub fn has_ended(&self, session_id: &str) -> bool {
        self.sessions().get(session_id).is_some_and(|seen| !seen.endings.is_empty())
    }

    /// The sessions that were opened and have no outcome.
    pub fn open_sessions(&self) -> Vec<String> {
        let sessions = self.sessions();
        let open = sessions.iter().filter(|(_, seen)| seen.opened && seen.endings.is_empty());
        open.map(|(id, _)| id.clone()).collect()
    }

    /// The rows in order; `provider` is its record of the sessions. One that is no way to end is there only when it counts.
    pub fn rows(&self, provider: &BTreeMap<String, Session>) -> Vec<(String, SessionCount)> {
        let mut rows: BTreeMap<(HowEnded, &str), SessionCount> = BTreeMap::new();
        let (mut never, mut twice) = (SessionCount::default(), SessionCount::default());
        for (id, seen) in self.sessions().iter().filter(|(_, seen)| seen.opened) {
            match seen.endings.as_slice() {
                [] => never.told += 1,
                [ending] => {
                    let row = rows.entry(*ending).or_default();
                    row.told += 1;
                    row.applied += u64::from(
                        provider.get(id).map_or(ending.0 == HowEnded::Otherwise, |session| did(session, ending.0)),
                    );
                }
                [_, _, ..] => twice.told += 1,
            }
        }
        let rows = rows.into_iter().map(|((end, decider), row)| (format!("{} {decider}", end.as_str()), row));
        let faults = [("without an outcome", never), ("with two outcomes", twice)];
        let faults = faults.into_iter().filter(|(_, row)| row.told > 0).map(|(name, row)| (name.to_owned(), row));
        rows.chain(faults).collect()
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<String, SeenSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SeenSession {
    fn is_complete(&self) -> bool {
        let applied = |(end, _): &Ending| matches!(end, HowEnded::Confirmed | HowEnded::Cancelled);
        !self.endings.is_empty() && (self.finished || !self.endings.iter().any(applied))
    }
}

impl HowEnded {
    fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Otherwise => "ended otherwise",
        }
    }
}

fn ending(outcome: &Outcome) -> Ending {
    let end = match (outcome.result(), outcome.action()) {
        (Result::Accepted | Result::AlreadyDone, Action::Confirm) => HowEnded::Confirmed,
        (Result::Accepted | Result::AlreadyDone, Action::Cancel) => HowEnded::Cancelled,
        (Result::Refused, _) => HowEnded::Refused,
        _ => HowEnded::Otherwise,
    };
    let decider = match outcome.decided_by_kind() {
        DeciderKind::Rule => "(a rule)",
        DeciderKind::Decision => "(another team)",
        DeciderKind::Deadline => "(the deadline)",
        DeciderKind::Default => "(by default)",
        DeciderKind::Provider | DeciderKind::Unspecified => "(the provider)",
    };
    (end, decider)
}

/// Whether the provider did this, and nothing else.
fn did(session: &Session, end: HowEnded) -> bool {
    let called: Vec<Operation> = session.received.iter().map(|call| call.operation).collect();
    agrees(&called, &session.actions(), end)
}

fn agrees(called: &[Operation], applied: &[Operation], end: HowEnded) -> bool {
    match (applied, end) {
        ([Operation::Confirm], HowEnded::Confirmed)
        | ([Operation::Cancel], HowEnded::Cancelled)
        | ([], HowEnded::Otherwise) => true,
        ([], HowEnded::Refused) => called.iter().any(|operation| *operation != Operation::Status),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic: &str, session: &str, value: Vec<u8>) -> ReadRecord {
        ReadRecord {
            topic: format!("p.{topic}.v1"),
            key: Some(session.as_bytes().to_vec()),
            value: Some(value),
            ..ReadRecord::default()
        }
    }

    fn outcome(session: &str, action: Action, result: Result) -> ReadRecord {
        let outcome = Outcome {
            action: action.into(),
            result: result.into(),
            decided_by_kind: DeciderKind::Rule.into(),
            ..Outcome::default()
        };
        record("confirmation.outcome", session, outcome.encode_to_vec())
    }

    const OPENING: &str = "smart-glocal.ready-to-confirm";
    const FINISHED: &str = "smart-glocal.payment-finished";

    #[test]
    fn is_complete_when_each_session_has_an_outcome_and_its_provider_told_what_it_did() {
        let counts = SessionCounts::new("p");
        for (record, complete) in [
            (outcome("1", Action::Confirm, Result::Accepted), true),
            (record(OPENING, "1", Vec::new()), false),
            (record(FINISHED, "1", Vec::new()), true),
            (record(OPENING, "2", Vec::new()), false),
            (outcome("2", Action::Confirm, Result::Refused), true),
        ] {
            counts.seen(&record);
            assert_eq!(counts.is_complete(), complete, "{record:?}");
        }
    }

    #[test]
    fn a_session_is_open_until_its_outcome_is_seen() {
        let counts = SessionCounts::new("p");
        assert!(!counts.has_ended("1") && counts.open_sessions().is_empty());
        counts.seen(&record(OPENING, "1", Vec::new()));
        assert_eq!((counts.has_ended("1"), counts.open_sessions()), (false, vec!["1".to_owned()]));
        counts.seen(&outcome("1", Action::Confirm, Result::Accepted));
        assert!(counts.has_ended("1") && counts.open_sessions().is_empty());
    }

    #[test]
    fn an_outcome_agrees_only_with_a_provider_that_did_just_that() {
        use Operation::{Cancel, Confirm, Status};
        for (end, called, applied, expected) in [
            (HowEnded::Confirmed, &[Status, Confirm][..], &[Confirm][..], true),
            (HowEnded::Cancelled, &[Cancel], &[Cancel], true),
            (HowEnded::Refused, &[Confirm], &[], true),
            (HowEnded::Otherwise, &[Status], &[], true),
            (HowEnded::Confirmed, &[Confirm], &[], false),
            (HowEnded::Confirmed, &[Confirm, Confirm], &[Confirm, Confirm], false),
            (HowEnded::Confirmed, &[Confirm, Cancel], &[Confirm, Cancel], false),
            (HowEnded::Cancelled, &[Confirm], &[Confirm], false),
            (HowEnded::Refused, &[Confirm], &[Confirm], false),
            (HowEnded::Refused, &[Status], &[], false),
            (HowEnded::Otherwise, &[Cancel], &[Cancel], false),
        ] {
            assert_eq!(agrees(called, applied, end), expected, "{end:?} {called:?} {applied:?}");
        }
    }

    #[test]
    fn sessions_without_an_outcome_or_with_two_are_told() {
        let counts = SessionCounts::new("p");
        for session in ["1", "2", "2"] {
            counts.seen(&record(OPENING, session, Vec::new()));
        }
        assert_eq!(counts.rows(&BTreeMap::new()).len(), 1);
        counts.seen(&outcome("2", Action::Cancel, Result::Expired));
        counts.seen(&outcome("2", Action::Cancel, Result::Expired));
        let rows = counts.rows(&BTreeMap::new());
        let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["without an outcome", "with two outcomes"]);
        assert!(rows.iter().all(|(_, row)| !row.agrees()));
    }
}
