//! One record of a session, read as the engine reads it. Must not know what the records say together.

use jiff::Timestamp;
use prost::Message;

use crate::cli::session_search::SessionTopic;
use crate::confirmation::codec::decision::{self, MalformedDecision};
use crate::confirmation::codec::evidence::Verifiers;
use crate::confirmation::codec::inputs::{self, FinishedEvent, ReadyEvent, UndecodableRecord};
use crate::confirmation::codec::ledger::{self, LedgerError, LedgerRecord};
use crate::confirmation::codec::records::PASSED_ON_HEADER;
use crate::confirmation::session::model::{Decision, SessionKey};
use crate::kafka::decoded::ReadRecord;
use crate::message::confirmation::v1;

/// One record, and where it is.
#[derive(Clone, Debug)]
pub(super) struct SessionRecord {
    pub(super) which: SessionTopic,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// When Kafka appended it, by the broker's clock.
    pub(super) appended_at: Option<Timestamp>,
    pub(super) content: RecordContent,
}

/// What a record says.
#[derive(Clone, Debug)]
pub(super) enum RecordContent {
    /// The provider asks for a confirmation, or something that is no such event.
    Ready(Result<Box<ReadyEvent>, UndecodableRecord>),
    /// Somebody decides; `passed_on` names the place on another partition from which it came.
    Decision { read: Result<(SessionKey, Decision), Box<MalformedDecision>>, passed_on: Option<String> },
    /// The engine's memory; none: it forgets the session.
    Ledger(SessionKey, Option<Result<Box<LedgerRecord>, LedgerError>>),
    /// A decision did not count.
    Rejected(Box<v1::DecisionRejected>),
    /// What became of the session.
    Outcome(Box<v1::Outcome>),
    /// The provider says that the session has finished, or something that is no such event.
    Finished(Result<FinishedEvent, UndecodableRecord>),
    /// No message of its topic.
    Unreadable,
}

impl SessionRecord {
    /// Reads a record of this topic.
    pub(super) fn read(which: SessionTopic, record: ReadRecord, verifiers: &Verifiers) -> Self {
        let appended_at = record.timestamp_ms.and_then(|time| Timestamp::from_millisecond(time).ok());
        let content = content(which, &record, appended_at.unwrap_or(Timestamp::UNIX_EPOCH), verifiers);
        let ReadRecord { topic, partition, offset, .. } = record;
        Self { which, topic, partition, offset, appended_at, content }
    }

    /// The source that it names.
    pub(super) fn source(&self) -> Option<&str> {
        match &self.content {
            RecordContent::Ready(Ok(ready)) => Some(&ready.key.source),
            RecordContent::Finished(Ok(finished)) => Some(&finished.key.source),
            RecordContent::Ready(Err(why)) | RecordContent::Finished(Err(why)) => why.source_name.as_deref(),
            RecordContent::Decision { read: Ok((key, _)), .. } | RecordContent::Ledger(key, _) => Some(&key.source),
            RecordContent::Outcome(outcome) => Some(&outcome.source),
            RecordContent::Rejected(rejected) => rejected.decision.as_ref().map(|decision| decision.source.as_str()),
            RecordContent::Decision { read: Err(_), .. } | RecordContent::Unreadable => None,
        }
    }

    /// Whether it belongs to the story of the session of this source. Decisions for other sources do, and events of the same id at
    /// another source: that those did not count is a part of it.
    pub(super) fn is_of(&self, source: &str) -> bool {
        match &self.content {
            RecordContent::Ledger(..) | RecordContent::Outcome(_) => self.source() == Some(source),
            RecordContent::Ready(_)
            | RecordContent::Decision { .. }
            | RecordContent::Rejected(_)
            | RecordContent::Finished(_)
            | RecordContent::Unreadable => true,
        }
    }
}

fn content(which: SessionTopic, record: &ReadRecord, recorded_at: Timestamp, verifiers: &Verifiers) -> RecordContent {
    let (key, value) = (record.key.as_deref().unwrap_or_default(), record.value.as_deref().unwrap_or_default());
    match which {
        SessionTopic::ReadyToConfirm => {
            RecordContent::Ready(inputs::ready(value, recorded_at, verifiers).map(Box::new))
        }
        SessionTopic::PaymentFinished => RecordContent::Finished(inputs::finished(value, recorded_at, verifiers)),
        SessionTopic::Decision => RecordContent::Decision {
            read: decision::read(value, record.offset, recorded_at).map_err(Box::new),
            passed_on: record.header(PASSED_ON_HEADER).map(ToOwned::to_owned),
        },
        SessionTopic::Ledger => match SessionKey::parse(key) {
            None => RecordContent::Unreadable,
            Some(session) => {
                let entry = record.value.as_deref().map(|value| ledger::decode(key, value).map(Box::new));
                RecordContent::Ledger(session, entry)
            }
        },
        SessionTopic::DecisionRejected => decoded(value).map_or(RecordContent::Unreadable, RecordContent::Rejected),
        SessionTopic::Outcome => decoded(value).map_or(RecordContent::Unreadable, RecordContent::Outcome),
    }
}

fn decoded<M: Message + Default>(value: &[u8]) -> Option<Box<M>> {
    M::decode(value).ok().map(Box::new)
}
