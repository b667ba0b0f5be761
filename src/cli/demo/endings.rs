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
pub struct Endings {
    topics: Topics,
    sessions: Mutex<BTreeMap<String, Seen>>,
}

struct Topics {
    opening: Option<String>,
    outcome: String,
    finished: Option<String>,
}

/// What was seen of one session.
#[derive(Default)]
struct Seen {
    opened: bool,
    endings: Vec<Ending>,
    finished: bool,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Confirmed,
    Cancelled,
    Refused,
    Otherwise,
}

/// How, and by what it was decided.
type Ending = (End, &'static str);

/// What a row counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndingsRow {
    /// Sessions that ended so, as their outcomes say.
    pub told: u64,
    /// Those of them whose provider did exactly that.
    pub applied: u64,
}

impl EndingsRow {
    /// Whether both sides agree.
    pub fn agrees(self) -> bool {
        self.told == self.applied
    }
}

impl Endings {
    /// Nothing seen yet, of the topics with this prefix.
    pub fn new(prefix: &str) -> Self {
        let events = topics::confirmation_events();
        let topic = |part: &str| {
            let (provider, event) = events.iter().find(|(_, event)| event.topic_part == part)?;
            Some(topics::event_topic(prefix, provider, event))
        };
        let topics = Topics {
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
        self.sessions().values().filter(|seen| seen.opened).all(Seen::is_complete)
    }

    /// The rows in order; `provider` is its record of the sessions. One that is no way to end is there only when it counts.
    pub fn rows(&self, provider: &BTreeMap<String, Session>) -> Vec<(String, EndingsRow)> {
        let mut rows: BTreeMap<(End, &str), EndingsRow> = BTreeMap::new();
        let (mut never, mut twice) = (EndingsRow::default(), EndingsRow::default());
        for (id, seen) in self.sessions().iter().filter(|(_, seen)| seen.opened) {
            match seen.endings.as_slice() {
                [] => never.told += 1,
                [ending] => {
                    let row = rows.entry(*ending).or_default();
                    row.told += 1;
                    row.applied += u64::from(
                        provider.get(id).map_or(ending.0 == End::Otherwise, |session| did(session, ending.0)),
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

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn is_complete(&self) -> bool {
        let applied = |(end, _): &Ending| matches!(end, End::Confirmed | End::Cancelled);
        !self.endings.is_empty() && (self.finished || !self.endings.iter().any(applied))
    }
}

impl End {
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
        (Result::Accepted | Result::AlreadyDone, Action::Confirm) => End::Confirmed,
        (Result::Accepted | Result::AlreadyDone, Action::Cancel) => End::Cancelled,
        (Result::Refused, _) => End::Refused,
        _ => End::Otherwise,
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
fn did(session: &Session, end: End) -> bool {
    let called: Vec<Operation> = session.received.iter().map(|call| call.operation).collect();
    agrees(&called, &session.actions(), end)
}

fn agrees(called: &[Operation], applied: &[Operation], end: End) -> bool {
    match (applied, end) {
        ([Operation::Confirm], End::Confirmed) | ([Operation::Cancel], End::Cancelled) | ([], End::Otherwise) => true,
        ([], End::Refused) => called.iter().any(|operation| *operation != Operation::Status),
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
        let endings = Endings::new("p");
        for (record, complete) in [
            (outcome("1", Action::Confirm, Result::Accepted), true),
            (record(OPENING, "1", Vec::new()), false),
            (record(FINISHED, "1", Vec::new()), true),
            (record(OPENING, "2", Vec::new()), false),
            (outcome("2", Action::Confirm, Result::Refused), true),
        ] {
            endings.seen(&record);
            assert_eq!(endings.is_complete(), complete, "{record:?}");
        }
    }

    #[test]
    fn an_outcome_agrees_only_with_a_provider_that_did_just_that() {
        use Operation::{Cancel, Confirm, Status};
        for (end, called, applied, expected) in [
            (End::Confirmed, &[Status, Confirm][..], &[Confirm][..], true),
            (End::Cancelled, &[Cancel], &[Cancel], true),
            (End::Refused, &[Confirm], &[], true),
            (End::Otherwise, &[Status], &[], true),
            (End::Confirmed, &[Confirm], &[], false),
            (End::Confirmed, &[Confirm, Confirm], &[Confirm, Confirm], false),
            (End::Confirmed, &[Confirm, Cancel], &[Confirm, Cancel], false),
            (End::Cancelled, &[Confirm], &[Confirm], false),
            (End::Refused, &[Confirm], &[Confirm], false),
            (End::Refused, &[Status], &[], false),
            (End::Otherwise, &[Cancel], &[Cancel], false),
        ] {
            assert_eq!(agrees(called, applied, end), expected, "{end:?} {called:?} {applied:?}");
        }
    }

    #[test]
    fn sessions_without_an_outcome_or_with_two_are_told() {
        let endings = Endings::new("p");
        for session in ["1", "2", "2"] {
            endings.seen(&record(OPENING, session, Vec::new()));
        }
        assert_eq!(endings.rows(&BTreeMap::new()).len(), 1);
        endings.seen(&outcome("2", Action::Cancel, Result::Expired));
        endings.seen(&outcome("2", Action::Cancel, Result::Expired));
        let rows = endings.rows(&BTreeMap::new());
        let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["without an outcome", "with two outcomes"]);
        assert!(rows.iter().all(|(_, row)| !row.agrees()));
    }
}
