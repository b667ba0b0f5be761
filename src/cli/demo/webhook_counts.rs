//! Counts what was sent, acknowledged and seen, and knows when all of it agrees.
//! Must not know how any of it happens.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::cli::sender::Answered;

/// What a simulated provider does.
#[derive(Clone, Copy)]
pub enum SentAs<'a> {
    /// An event of a known type, which belongs on this topic.
    OnTopic(&'a str),
    /// The same webhook again: a duplicate.
    Redelivery,
    /// Authentic, but nothing that a contract has: it belongs on some topic.
    Odd,
    /// Changed on its way: refused.
    Changed,
}

const REDELIVERIES: &str = "(delivered twice)";
const ODDITIES: &str = "(fits no contract)";
const CHANGED: &str = "(changed on the way)";

/// What a row counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookCount {
    /// Webhooks sent.
    pub sent: u64,
    /// Answered as they should be: 200, or 401 for what was changed.
    pub acknowledged: u64,
    /// Seen as records; none where nothing should be seen.
    pub seen: Option<u64>,
}

impl WebhookCount {
    /// Whether nothing is missing.
    pub fn is_complete(self) -> bool {
        self.acknowledged == self.sent && self.seen.is_none_or(|seen| seen == self.sent)
    }
}

/// The counts, by topic or oddity.
#[derive(Default)]
pub struct WebhookCounts {
    state: Mutex<Counting>,
}

#[derive(Default)]
struct Counting {
    rows: BTreeMap<String, WebhookCount>,
    /// Acknowledged and not yet seen: the row of each event id.
    awaited: HashMap<String, String>,
    /// Seen before its answer was: the topic of each event id.
    early: HashMap<String, String>,
}

impl WebhookCounts {
    /// Counts an answer.
    pub fn answered(&self, act: SentAs<'_>, answered: &Answered) {
        let body: Value = serde_json::from_str(&answered.body).unwrap_or_default();
        let text = |field| body.get(field).and_then(Value::as_str).unwrap_or_default();
        let ok = answered.status.as_u16() == 200;
        let mut state = self.state();
        match act {
            SentAs::OnTopic(topic) => state.count(topic, ok && text("status") == "accepted", Some(text("event_id"))),
            SentAs::Odd => state.count(ODDITIES, ok, Some(text("event_id"))),
            SentAs::Redelivery => state.count(REDELIVERIES, ok && text("status") == "duplicate", None),
            SentAs::Changed => state.count(CHANGED, answered.status.as_u16() == 401, None),
        }
    }

    /// Counts a record.
    pub fn seen(&self, topic: &str, event_id: &str) {
        let mut state = self.state();
        match state.awaited.remove(event_id) {
            Some(row) => state.see(&row, topic),
            None => {
                state.early.insert(event_id.to_owned(), topic.to_owned());
            }
        }
    }

    /// Whether all that was sent was acknowledged and seen.
    pub fn is_complete(&self) -> bool {
        self.state().rows.values().all(|row| row.is_complete())
    }

    /// The rows in order.
    pub fn rows(&self) -> Vec<(String, WebhookCount)> {
        self.state().rows.iter().map(|(name, row)| (name.clone(), *row)).collect()
    }

    fn state(&self) -> MutexGuard<'_, Counting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counting {
    fn count(&mut self, name: &str, as_expected: bool, event_id: Option<&str>) {
        let row = self.rows.entry(name.to_owned()).or_default();
        row.sent += 1;
        row.acknowledged += u64::from(as_expected);
        let Some(event_id) = event_id else { return };
        row.seen = row.seen.or(Some(0));
        match self.early.remove(event_id) {
            Some(topic) => self.see(name, &topic),
            None => {
                self.awaited.insert(event_id.to_owned(), name.to_owned());
            }
        }
    }

    /// A record counts where it belongs, or anywhere when its row is no topic.
    fn see(&mut self, name: &str, topic: &str) {
        if let Some(row) = self.rows.get_mut(name).filter(|_| name == topic || name == ODDITIES) {
            row.seen = row.seen.map(|seen| seen + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answer(status: u16, body: &str) -> Answered {
        Answered { status: StatusCode::from_u16(status).unwrap(), body: body.to_owned() }
    }

    #[test]
    fn is_complete_when_each_event_is_acknowledged_and_seen_on_its_topic() {
        let counts = WebhookCounts::default();
        let accepted = answer(200, r#"{"status":"accepted","event_id":"e1"}"#);
        counts.answered(SentAs::OnTopic("a"), &accepted);
        assert!(!counts.is_complete(), "not seen");
        counts.seen("a", "e1");
        assert!(counts.is_complete());
        counts.seen("a", "e2");
        counts.answered(SentAs::OnTopic("a"), &answer(200, r#"{"status":"accepted","event_id":"e2"}"#));
        assert!(counts.is_complete(), "seen before its answer");
    }

    #[test]
    fn is_incomplete_when_something_is_refused_or_on_another_topic() {
        let counts = WebhookCounts::default();
        counts.answered(SentAs::OnTopic("a"), &answer(200, r#"{"status":"accepted","event_id":"e1"}"#));
        counts.seen("b", "e1");
        assert!(!counts.is_complete());
        let counts = WebhookCounts::default();
        counts.answered(SentAs::Changed, &answer(200, r#"{"status":"accepted"}"#));
        assert!(!counts.is_complete());
    }
}
