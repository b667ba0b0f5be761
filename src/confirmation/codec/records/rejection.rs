//! The records of decisions that could not count. Pure; must not know which those are.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;

use super::{RecordLocation, Records};
use crate::config::SourceName;
use crate::confirmation::codec::decision::{DECISION_BYTES_MAX, MalformedDecision};
use crate::confirmation::codec::inputs::SESSION_ID_BYTES_MAX;
use crate::confirmation::session::model::{Decision, SessionKey};
use crate::kafka::cloud_events::{self, CloudEvent, SharedAttributes};
use crate::kafka::record::Record;
use crate::kafka::topics::DECISION_REJECTED_MESSAGE;
use crate::message::confirmation::v1::{self, DecisionRejected, RecordPlace, RejectionReason};
use crate::provider::EventId;

/// The most of a record's key that is told, in bytes.
const KEY_BYTES_MAX: usize = 1024;

impl Records {
    /// A decision that is complete and does not count. `partition` is where it was read: with its offset, it makes the event
    /// id, so that a second reading gives the same.
    pub fn rejected(
        &self,
        session: &SessionKey,
        decision: &Decision,
        partition: i32,
        reason: RejectionReason,
        now: Timestamp,
    ) -> Record {
        let message = v1::Decision {
            source: session.source.to_string(),
            session_id: session.session_id.to_string(),
            action: v1::Action::from(decision.action).into(),
            decided_by: decision.decided_by.clone(),
            reason: decision.reason.clone(),
            decision_id: decision.decision_id.clone(),
        };
        let found = RecordLocation { topic: &self.decision, partition, offset: decision.offset };
        let rejected = DecisionRejected {
            metadata: None,
            decision: Some(message),
            raw: Bytes::new(),
            reason: reason.into(),
            record: Some(record_place(found, None)),
        };
        self.rejection(&session.source, &session.session_id, event_id(found), rejected, now)
    }

    /// A decision that is not complete, found here under this key. Of more than 16 KiB the first 16 KiB are told, undecoded.
    pub fn malformed(
        &self,
        value: &[u8],
        malformed: &MalformedDecision,
        (found, key): (RecordLocation<'_>, Option<&[u8]>),
        now: Timestamp,
    ) -> Record {
        let decision = malformed.decision.as_deref();
        let source = decision.and_then(|decision| SourceName::new(&decision.source));
        let session_id = decision.map(|decision| decision.session_id.as_str());
        let session_id = session_id.filter(|id| id.len() <= SESSION_ID_BYTES_MAX).unwrap_or_default();
        let rejected = DecisionRejected {
            metadata: None,
            decision: decision.cloned(),
            raw: Bytes::copy_from_slice(value.get(..DECISION_BYTES_MAX).unwrap_or(value)),
            reason: RejectionReason::Malformed.into(),
            record: Some(record_place(found, key)),
        };
        let source = source.as_ref().map_or("", AsRef::as_ref);
        self.rejection(source, session_id, event_id(found), rejected, now)
    }

    fn rejection(
        &self,
        source: &str,
        session_id: &str,
        id: EventId,
        rejected: DecisionRejected,
        now: Timestamp,
    ) -> Record {
        let id = id.to_string();
        let metadata = Some(self.metadata(&id, source, session_id, now));
        let value = DecisionRejected { metadata, ..rejected }.encode_to_vec();
        let headers = cloud_events::headers(&CloudEvent {
            shared: &SharedAttributes::new(source, DECISION_REJECTED_MESSAGE),
            id: &id,
            subject: session_id,
            time: now,
            traceparent: None,
        });
        let key = if session_id.is_empty() { id } else { session_id.to_owned() };
        Record { topic: Arc::clone(&self.decision_rejected), key, value, headers }
    }
}

/// Any client may write any key, so of a long one the beginning is told.
fn record_place(found: RecordLocation<'_>, key: Option<&[u8]>) -> RecordPlace {
    let RecordLocation { topic, partition, offset } = found;
    let key = key.map(|key| Bytes::copy_from_slice(key.get(..KEY_BYTES_MAX).unwrap_or(key)));
    RecordPlace { topic: topic.to_owned(), partition, offset, key }
}

fn event_id(RecordLocation { partition, offset, .. }: RecordLocation<'_>) -> EventId {
    EventId::over(&[b"paybridge.confirmation.decision-rejected", &partition.to_be_bytes(), &offset.to_be_bytes()])
}
