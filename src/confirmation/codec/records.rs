//! Makes the records that the engine writes: outcomes, rejections, decisions that are passed on, quarantine, the ledger.
//! Pure: times are arguments. Must not know how a record is sent, nor why there is one.

mod quarantine;
mod rejection;

use std::sync::Arc;

use jiff::Timestamp;
use prost::Message;

use super::ledger::{self, LedgerOwner};
use crate::confirmation::session::model::{Decider, Done, Outcome, SessionEntry, SessionKey};
use crate::kafka::cloud_events::{self, CloudEvent, SharedAttributes};
use crate::kafka::record::{ForeignRecord, Record};
use crate::kafka::topics::{self, OUTCOME_MESSAGE};
use crate::message::confirmation::v1;
use crate::message::event::v1::EventMetadata;
use crate::message::timestamp;
use crate::provider::{CONFIRMATION_PROVIDER, EventId};

/// The header of a decision that was passed on: `{partition}/{offset}` of the record that it was read from.
pub const PASSED_ON_HEADER: &str = "paybridge-passed-on";
/// A topic that does not take a record of this size is set wrongly: that concerns all sessions, and none is set aside for it.
pub const BYTES_THAT_EVERY_TOPIC_TAKES: usize = 16 * 1024;
/// The most of a provider's code that an outcome tells, in bytes: known ones have a tenth of it.
const REFUSAL_CODE_BYTES_MAX: usize = 255;
/// The most of a provider's description that an outcome tells, in bytes.
const REFUSAL_DESCRIPTION_BYTES_MAX: usize = 1024;
/// What a header takes beside its name and value, at most: very many empty ones are large, too.
const FOREIGN_HEADER_OVERHEAD_BYTES: usize = 16;
/// The most headers of a decision that are passed on with it, in bytes; beyond it none is, so that the record fits.
const FOREIGN_HEADERS_BYTES_MAX: usize = 16 * 1024;
/// The longest key of a decision that is passed on with it, in bytes: as long as a session's id may be, and more.
const FOREIGN_KEY_BYTES_MAX: usize = 1024;

/// Where a record of an input stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLocation<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// Makes the records of one engine. None is larger than the topics take, but for [`Records::entry`] of too many early
/// decisions: what is left out or cut stands at each function.
pub struct Records {
    outcome: Arc<str>,
    decision: Arc<str>,
    decision_rejected: Arc<str>,
    ledger: Arc<str>,
    quarantine: Arc<str>,
    instance: String,
    record_bytes_max: usize,
}

impl Records {
    /// For topics with this prefix that take records of `record_bytes_max` (64 KiB or more); `instance` is this process
    /// among its replicas.
    pub fn new(prefix: &str, instance: &str, record_bytes_max: usize) -> Self {
        Self {
            outcome: topics::outcome_topic(prefix).into(),
            decision: topics::decision_topic(prefix).into(),
            decision_rejected: topics::decision_rejected_topic(prefix).into(),
            ledger: topics::ledger_topic(prefix).into(),
            quarantine: topics::quarantine_topic(prefix).into(),
            instance: instance.to_owned(),
            record_bytes_max,
        }
    }

    /// The ledger's topic: tombstones have no other record than [`ledger::key`] on it.
    pub fn ledger_topic(&self) -> &Arc<str> {
        &self.ledger
    }

    /// Where records go that cannot be taken.
    pub fn quarantine_topic(&self) -> &Arc<str> {
        &self.quarantine
    }

    /// The topics that are written beside the ledger.
    pub fn output_topics(&self) -> [&Arc<str>; 3] {
        [&self.outcome, &self.decision_rejected, &self.quarantine]
    }

    /// A session's entry that has not ended. As large as its operations, which came in one webhook, or as its early
    /// decisions, of at most 4 KiB each: whoever keeps these bounds their number.
    pub fn entry(&self, session: &SessionKey, entry: &SessionEntry) -> Record {
        self.of_ledger(ledger::key(session), ledger::encode(session, entry))
    }

    /// A session's entry that has ended.
    pub fn done(&self, session: &SessionKey, done: &Done) -> Record {
        self.of_ledger(ledger::key(session), ledger::encode_done(session, done))
    }

    /// The first entry of a partition.
    pub fn owner(&self, owner: &LedgerOwner) -> Record {
        self.of_ledger(ledger::OWNER_KEY.to_owned(), ledger::encode_owner(owner))
    }

    fn of_ledger(&self, key: String, value: Vec<u8>) -> Record {
        Record { topic: Arc::clone(&self.ledger), key, value, headers: Vec::new() }
    }

    /// The outcome of a session. Its operations came in one webhook, and so take less than a record may; of a refusal's
    /// code the first 255 bytes are told, of its description the first 1024.
    pub fn outcome(&self, session: &SessionKey, outcome: &Outcome) -> Record {
        let id = EventId::over(&[
            b"paybridge.confirmation.outcome",
            session.source.as_bytes(),
            session.session_id.as_bytes(),
        ]);
        let metadata = self.metadata(&id.to_string(), &session.source, &session.session_id, outcome.known_at);
        let value = message(session, outcome, metadata).encode_to_vec();
        let headers = cloud_events::headers(&CloudEvent {
            shared: &SharedAttributes::new(&session.source, OUTCOME_MESSAGE),
            id: &id.to_string(),
            subject: &session.session_id,
            time: outcome.known_at,
            traceparent: None,
        });
        Record { topic: Arc::clone(&self.outcome), key: session.session_id.to_string(), value, headers }
    }

    /// The same decision for `partition`, marked with where it was found. More than 16 KiB of headers are left
    /// out, and a key of more than 1024 bytes.
    pub fn passed_on(
        &self,
        found: RecordLocation<'_>,
        key: Option<Vec<u8>>,
        value: Vec<u8>,
        headers: Vec<(String, Option<Vec<u8>>)>,
        partition: i32,
    ) -> ForeignRecord {
        let size = |(name, value): &(String, Option<Vec<u8>>)| {
            name.len() + value.as_ref().map_or(0, Vec::len) + FOREIGN_HEADER_OVERHEAD_BYTES
        };
        let bytes: usize = headers.iter().map(size).sum();
        let mut headers = if bytes > FOREIGN_HEADERS_BYTES_MAX { Vec::new() } else { headers };
        let mark = format!("{}/{}", found.partition, found.offset).into_bytes();
        headers.push((PASSED_ON_HEADER.to_owned(), Some(mark)));
        let key = key.filter(|key| key.len() <= FOREIGN_KEY_BYTES_MAX);
        ForeignRecord { topic: Arc::clone(&self.decision), partition, key, value, headers }
    }

    fn metadata(&self, event_id: &str, source: &str, subject: &str, now: Timestamp) -> EventMetadata {
        EventMetadata {
            event_id: event_id.to_owned(),
            source: source.to_owned(),
            provider: if source.is_empty() { String::new() } else { CONFIRMATION_PROVIDER.to_owned() },
            subject: subject.to_owned(),
            received_at: Some(timestamp(now)),
            bridge_version: env!("CARGO_PKG_VERSION").to_owned(),
            bridge_instance: self.instance.clone(),
            ..EventMetadata::default()
        }
    }
}

/// Whether a decision with these headers' names was passed on before.
pub fn was_passed_on<'a>(mut header_names: impl Iterator<Item = &'a str>) -> bool {
    header_names.any(|name| name == PASSED_ON_HEADER)
}

fn message(session: &SessionKey, outcome: &Outcome, metadata: EventMetadata) -> v1::Outcome {
    let nobody = || Decider {
        kind: v1::DeciderKind::Provider,
        name: String::new(),
        decision_id: String::new(),
        reason: String::new(),
    };
    let (action, decider, decided_at) = match outcome.decided.clone() {
        Some((action, decider, decided_at)) => (v1::Action::from(action), decider, Some(timestamp(decided_at))),
        None => (v1::Action::Unspecified, nobody(), None),
    };
    let refusal = outcome.refusal.as_ref();
    v1::Outcome {
        metadata: Some(metadata),
        source: session.source.to_string(),
        session_id: session.session_id.to_string(),
        action: action.into(),
        decided_by_kind: decider.kind.into(),
        decided_by_name: decider.name,
        result: outcome.result.into(),
        refusal_code: refusal.map_or("", |refusal| beginning(&refusal.code, REFUSAL_CODE_BYTES_MAX)).to_owned(),
        refusal_description: refusal
            .map_or("", |refusal| beginning(&refusal.description, REFUSAL_DESCRIPTION_BYTES_MAX))
            .to_owned(),
        attempts: outcome.attempts,
        ready_event_id: outcome.opening.ready_event_id.clone(),
        decision_id: decider.decision_id,
        opened_at: Some(timestamp(outcome.opening.recorded_at)),
        decided_at,
        answered_at: outcome.answered_at.map(timestamp),
        remaining_seconds: outcome.remaining_seconds,
        operations: outcome.opening.operations.clone(),
        verified: outcome.verified,
        dry_run: outcome.opening.dry_run,
        reason: decider.reason,
    }
}

/// The first whole characters of a text, at most so many bytes.
fn beginning(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
