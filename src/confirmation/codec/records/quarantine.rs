//! The records of inputs that the engine could not take. Pure; must not know which those are.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{BYTES_THAT_EVERY_TOPIC_TAKES, RecordLocation, Records};
use crate::confirmation::codec::inputs::UndecodableRecord;
use crate::confirmation::session::model::SessionKey;
use crate::kafka::cloud_events::{self, CloudEvent, SharedAttributes};
use crate::kafka::record::Record;
use crate::kafka::topics::QUARANTINED_MESSAGE;
use crate::message::event::v1::{EventMetadata, Evidence, QuarantineReason, QuarantinedWebhook};
use crate::provider::EventId;

/// What a record in quarantine needs beside the value that it keeps, and more: metadata, detail, headers, Kafka's own.
const OVERHEAD_BYTES: usize = 8 * 1024;

impl Records {
    /// A record of an input that is no event of its topic, or not one to go by. A value that does not fit beside 8 KiB of its own is left out:
    /// its hash and its place are there.
    pub fn undecodable(
        &self,
        found: RecordLocation<'_>,
        value: &[u8],
        why: &UndecodableRecord,
        now: Timestamp,
    ) -> Record {
        let source = why.source_name.as_deref().unwrap_or_default();
        self.quarantined(found, value, (source, ""), why.problem.reason(), &why.to_string(), now)
    }

    /// A decision that was passed on and is on a partition again that is not its session's. Its value as for
    /// [`Records::undecodable`].
    pub fn misrouted(&self, found: RecordLocation<'_>, value: &[u8], session: &SessionKey, now: Timestamp) -> Record {
        let why = "the decision was passed on and is not on its session's partition";
        let session = (&*session.source, &*session.session_id);
        self.quarantined(found, value, session, QuarantineReason::MisroutedDecision, why, now)
    }

    fn quarantined(
        &self,
        found: RecordLocation<'_>,
        value: &[u8],
        (source, session_id): (&str, &str),
        reason: QuarantineReason,
        why: &str,
        now: Timestamp,
    ) -> Record {
        let id = event_id(found).to_string();
        // What Kafka refused for its size is not offered to it again.
        let bytes_max = match reason {
            QuarantineReason::RecordRefused => BYTES_THAT_EVERY_TOPIC_TAKES,
            _ => self.record_bytes_max,
        };
        let fits = value.len().saturating_add(OVERHEAD_BYTES) <= bytes_max;
        let RecordLocation { topic, partition, offset } = found;
        let left_out = if fits { "" } else { "; its value is too large to be kept here" };
        let digest: [u8; 32] = Sha256::digest(value).into();
        let evidence = Evidence {
            raw_body: fits.then(|| Bytes::copy_from_slice(value)),
            body_sha256: Bytes::copy_from_slice(&digest),
            ..Evidence::default()
        };
        let message = QuarantinedWebhook {
            metadata: Some(EventMetadata { evidence: Some(evidence), ..self.metadata(&id, source, session_id, now) }),
            reason: reason.into(),
            detail: format!("{why}: topic {topic}, partition {partition}, offset {offset}{left_out}"),
            path_suffix: String::new(),
        };
        let headers = cloud_events::headers(&CloudEvent {
            shared: &SharedAttributes::new(source, QUARANTINED_MESSAGE),
            id: &id,
            subject: session_id,
            time: now,
            traceparent: None,
        });
        let key = if source.is_empty() { id } else { source.to_owned() };
        Record { topic: Arc::clone(&self.quarantine), key, value: message.encode_to_vec(), headers }
    }
}

fn event_id(RecordLocation { topic, partition, offset }: RecordLocation<'_>) -> EventId {
    let domain = b"paybridge.confirmation.quarantine";
    EventId::over(&[domain, topic.as_bytes(), &partition.to_be_bytes(), &offset.to_be_bytes()])
}
