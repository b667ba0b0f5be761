//! Makes Kafka records of webhooks: metadata and evidence in front of the message, CloudEvents headers beside it.
//! Pure: no clock, no input or output; must not know how a record is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use prost::Message;
use prost::encoding::encode_varint;
use sha2::{Digest, Sha256};

use crate::config::{EvidenceKeep, SourceConfig};
use crate::kafka::cloud_events::{self, CloudEvent, SharedAttributes};
use crate::kafka::record::Record;
use crate::kafka::topics::{self, QUARANTINED_MESSAGE, REJECTED_MESSAGE, UNRECOGNIZED_MESSAGE};
use crate::message::event::v1::{
    AuthenticationFailure, EventMetadata, Evidence, QuarantineReason, QuarantinedWebhook, RejectedWebhook,
    UnrecognizedWebhook,
};
use crate::message::timestamp;
use crate::provider::{
    AuthenticWebhook, Content, Encoded, EventId, EventType, Normalized, Payload, RawWebhook, Undecodable, Unverified,
};

/// The first byte of every event: field 1, length-delimited, which is its metadata.
const METADATA_FIELD: u8 = 0x0a;

/// A length of 64 bits in protobuf.
const LENGTH_BYTES_MAX: usize = 10;

/// The headers that say what a body is, for whoever reads it later.
const DESCRIBING_HEADERS: [&str; 2] = ["content-type", "content-encoding"];

/// What all records of one bridge have in common.
pub struct Bridge {
    /// This process among its replicas.
    pub instance: String,
    /// How much of a body its event carries.
    pub keep: EvidenceKeep,
}

/// Makes the records of one source.
pub struct Encoder {
    keep: EvidenceKeep,
    source: String,
    /// The metadata that all webhooks of the source share, and the same encoded.
    shared: EventMetadata,
    shared_bytes: Vec<u8>,
    /// The headers that are kept of a webhook.
    headers: Vec<HeaderName>,
    keeps_query: bool,
    /// By the event type's part of the topic.
    events: BTreeMap<&'static str, TargetTopic>,
    unrecognized: TargetTopic,
    quarantine: TargetTopic,
    rejected: TargetTopic,
}

/// A topic for one type of message, and the attributes that all records on it share.
struct TargetTopic {
    name: Arc<str>,
    attributes: SharedAttributes,
}

/// How much of the body the event carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordForm {
    /// All that the configuration keeps.
    AsConfigured,
    /// The same without the plaintext: for an event that is too large with it.
    WithoutPlaintext,
    /// The same without the body, which is with the event of this id: both came in one webhook.
    BodyElsewhere(EventId),
}

impl Encoder {
    /// The encoder of one source.
    pub fn new(bridge: &Bridge, source: &str, settings: &SourceConfig, prefix: &str) -> Self {
        let outline = &settings.outline;
        let target = |topic: String, message| TargetTopic {
            name: Arc::from(topic),
            attributes: SharedAttributes::new(source, message),
        };
        let event = |event_type: &'static EventType| {
            let topic = topics::event_topic(prefix, &outline.topic_group, event_type);
            (event_type.topic_part, target(topic, event_type.message))
        };
        let describing = DESCRIBING_HEADERS.into_iter().map(HeaderName::from_static);
        let headers = outline.evidence_headers.iter().cloned().chain(describing);
        let shared = EventMetadata {
            source: source.to_owned(),
            provider: settings.provider.clone(),
            bridge_version: env!("CARGO_PKG_VERSION").to_owned(),
            bridge_instance: bridge.instance.clone(),
            ..EventMetadata::default()
        };
        Self {
            keep: bridge.keep,
            source: source.to_owned(),
            shared_bytes: shared.encode_to_vec(),
            shared,
            headers: headers.collect(),
            keeps_query: outline.keeps_query,
            events: outline.event_types.iter().copied().map(event).collect(),
            unrecognized: target(topics::unrecognized_topic(prefix), UNRECOGNIZED_MESSAGE),
            quarantine: target(topics::quarantine_topic(prefix), QUARANTINED_MESSAGE),
            rejected: target(topics::rejected_topic(prefix), REJECTED_MESSAGE),
        }
    }

    /// The record of an authentic webhook under the event id `id`: its event, or what is known of it, on the topic where that belongs.
    pub fn authentic(&self, webhook: &AuthenticWebhook, event: &Normalized, id: EventId, form: RecordForm) -> Record {
        let mut evidence = self.evidence(webhook);
        match (form, &event.content) {
            (RecordForm::WithoutPlaintext, _) => evidence.plaintext = None,
            (RecordForm::BodyElsewhere(id), Content::Event(_)) => {
                evidence.raw_body = None;
                evidence.raw_body_event_id = id.to_string();
            }
            // What is held is released by its own body.
            (RecordForm::AsConfigured | RecordForm::BodyElsewhere(_), _) => {}
        }
        match &event.content {
            Content::Event(message) => self.event(webhook.raw(), event, id, message, evidence),
            Content::Unrecognized => self.unrecognized(webhook.raw(), event, id, evidence),
            Content::Undecodable(why) => self.quarantine(webhook.raw(), event, evidence, why),
        }
    }

    fn event(
        &self,
        webhook: &RawWebhook,
        event: &Normalized,
        id: EventId,
        message: &Encoded,
        evidence: Evidence,
    ) -> Record {
        let mut evidence = evidence;
        if self.keep == EvidenceKeep::HashOnly && message.event_type.payload == Payload::Typed {
            evidence.raw_body = None;
            evidence.plaintext = None;
        }
        let metadata = metadata(webhook, event, id, evidence);
        let metadata_bytes = self.shared_bytes.len() + metadata.encoded_len();
        let mut value = Vec::with_capacity(1 + LENGTH_BYTES_MAX + metadata_bytes + message.fields.len());
        value.push(METADATA_FIELD);
        encode_varint(u64::try_from(metadata_bytes).unwrap_or(u64::MAX), &mut value);
        // Two halves of a protobuf message, one after the other, are the whole.
        value.extend_from_slice(&self.shared_bytes);
        // It has room, which is all that could fail.
        let _encoded = metadata.encode(&mut value);
        value.extend_from_slice(&message.fields);
        let target = self.events.get(message.event_type.topic_part).unwrap_or(&self.unrecognized);
        let key = event.key.clone().unwrap_or_else(|| id.to_string());
        record(target, key, value, webhook, (event, id))
    }

    fn unrecognized(&self, webhook: &RawWebhook, event: &Normalized, id: EventId, evidence: Evidence) -> Record {
        let message = UnrecognizedWebhook {
            metadata: Some(self.whole(metadata(webhook, event, id, evidence))),
            path_suffix: webhook.path_suffix.clone(),
        };
        let value = message.encode_to_vec();
        record(&self.unrecognized, self.source.clone(), value, webhook, (event, id))
    }

    /// The record of an authentic webhook whose event does not fit its topic: the body alone.
    pub fn too_large(&self, webhook: &AuthenticWebhook, event: &Normalized) -> Record {
        let evidence = Evidence { plaintext: None, ..self.evidence(webhook) };
        let why = Undecodable {
            reason: QuarantineReason::TooLarge,
            detail: "the event is larger than its topic's max.message.bytes".to_owned(),
        };
        self.quarantine(webhook.raw(), event, evidence, &why)
    }

    /// The record of a webhook that nobody verified and that is kept all the same: it has no event id, and `random_id` stands for it.
    pub fn unverified(&self, webhook: &RawWebhook, failure: Unverified, random_id: &str) -> Record {
        let metadata = self.whole(bare_metadata(webhook, self.raw_evidence(webhook, &digest(webhook))));
        let why = Undecodable { reason: QuarantineReason::UnverifiedKept, detail: failure.to_string() };
        let value = quarantined_message(metadata, webhook, &why).encode_to_vec();
        self.record_of_no_event(&self.quarantine, value, webhook, random_id)
    }

    /// The record of a sample of a webhook that failed authentication, with so many bytes of its body at most.
    pub fn rejected(&self, webhook: &RawWebhook, failure: Unverified, bytes_max: usize, random_id: &str) -> Record {
        let whole = self.raw_evidence(webhook, &digest(webhook));
        let sampled = webhook.body.slice(..webhook.body.len().min(bytes_max));
        let evidence = Evidence { raw_body: Some(sampled), ..whole };
        let message = RejectedWebhook {
            metadata: Some(self.whole(bare_metadata(webhook, evidence))),
            failure: failure_code(failure).into(),
            body_bytes: u64::try_from(webhook.body.len()).unwrap_or(u64::MAX),
            body_cut: webhook.body.len() > bytes_max,
        };
        self.record_of_no_event(&self.rejected, message.encode_to_vec(), webhook, random_id)
    }

    fn record_of_no_event(
        &self,
        target: &TargetTopic,
        value: Vec<u8>,
        webhook: &RawWebhook,
        random_id: &str,
    ) -> Record {
        let headers = cloud_events::headers(&CloudEvent {
            shared: &target.attributes,
            id: random_id,
            subject: "",
            time: webhook.received_at,
            traceparent: traceparent(webhook),
        });
        Record { topic: Arc::clone(&target.name), key: self.source.clone(), value, headers }
    }

    fn quarantine(&self, webhook: &RawWebhook, event: &Normalized, evidence: Evidence, why: &Undecodable) -> Record {
        // What is in quarantine is no event yet: only the webhook gives it an id.
        let id = event.identity.of_webhook();
        let metadata = self.whole(metadata(webhook, event, id, evidence));
        let value = quarantined_message(metadata, webhook, why).encode_to_vec();
        record(&self.quarantine, self.source.clone(), value, webhook, (event, id))
    }

    /// This metadata with what all webhooks of the source share.
    fn whole(&self, metadata: EventMetadata) -> EventMetadata {
        let EventMetadata { source, provider, bridge_version, bridge_instance, .. } = self.shared.clone();
        EventMetadata { source, provider, bridge_version, bridge_instance, ..metadata }
    }

    fn evidence(&self, webhook: &AuthenticWebhook) -> Evidence {
        Evidence {
            scheme: webhook.scheme().into(),
            key_id: webhook.key_id().as_str().to_owned(),
            signature: webhook.signature().to_owned(),
            plaintext: webhook.plaintext().cloned(),
            signed_template: webhook.signed_parts().map(|parts| parts.template.clone()).unwrap_or_default(),
            body_signed: webhook.signed_parts().map(|parts| parts.body_signed),
            type_signed: webhook.signed_parts().map(|parts| parts.type_signed),
            ..self.raw_evidence(webhook.raw(), webhook.body_sha256())
        }
    }

    fn raw_evidence(&self, webhook: &RawWebhook, body_sha256: &[u8; 32]) -> Evidence {
        Evidence {
            raw_body: Some(webhook.body.clone()),
            body_sha256: Bytes::copy_from_slice(body_sha256),
            headers: self.headers_that_matter(webhook),
            remote_address: webhook.remote_address.to_string(),
            path_suffix: webhook.path_suffix.clone(),
            query: if self.keeps_query { webhook.query.clone() } else { String::new() },
            ..Evidence::default()
        }
    }

    fn headers_that_matter(&self, webhook: &RawWebhook) -> BTreeMap<String, String> {
        // As RFC 9110, section 5.3 joins several lines of one header.
        let joined = |name: &HeaderName| {
            let mut lines = webhook.headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
            let first = lines.next()?.into_owned();
            Some(lines.fold(first, |joined, line| joined + ", " + &line))
        };
        self.headers.iter().filter_map(|name| Some((name.as_str().to_owned(), joined(name)?))).collect()
    }
}

fn record(
    target: &TargetTopic,
    key: String,
    value: Vec<u8>,
    webhook: &RawWebhook,
    (event, id): (&Normalized, EventId),
) -> Record {
    let headers = cloud_events::headers(&CloudEvent {
        shared: &target.attributes,
        id: &id.to_string(),
        subject: &event.subject,
        time: event.occurred_at.unwrap_or(webhook.received_at),
        traceparent: traceparent(webhook),
    });
    Record { topic: Arc::clone(&target.name), key, value, headers }
}

fn digest(webhook: &RawWebhook) -> [u8; 32] {
    Sha256::digest(&webhook.body).into()
}

/// Without what all webhooks of the source share.
fn metadata(webhook: &RawWebhook, event: &Normalized, id: EventId, evidence: Evidence) -> EventMetadata {
    EventMetadata {
        event_id: id.to_string(),
        event_type: event.event_type.clone(),
        subject: event.subject.clone(),
        occurred_at: event.occurred_at.map(timestamp),
        unread_fields: event.unread_fields.clone(),
        ..bare_metadata(webhook, evidence)
    }
}

fn bare_metadata(webhook: &RawWebhook, evidence: Evidence) -> EventMetadata {
    EventMetadata {
        received_at: Some(timestamp(webhook.received_at)),
        evidence: Some(evidence),
        ..EventMetadata::default()
    }
}

/// As subscribers are told it.
fn failure_code(failure: Unverified) -> AuthenticationFailure {
    match failure {
        Unverified::HeaderMissing => AuthenticationFailure::HeaderMissing,
        Unverified::SignatureMalformed => AuthenticationFailure::SignatureMalformed,
        Unverified::SignatureMismatch => AuthenticationFailure::SignatureMismatch,
        Unverified::TimestampOutsideTolerance => AuthenticationFailure::TimestampOutsideTolerance,
        Unverified::NotDecryptable => AuthenticationFailure::NotDecryptable,
        Unverified::ForeignAccount => AuthenticationFailure::ForeignAccount,
    }
}

fn quarantined_message(metadata: EventMetadata, webhook: &RawWebhook, why: &Undecodable) -> QuarantinedWebhook {
    QuarantinedWebhook {
        metadata: Some(metadata),
        reason: why.reason.into(),
        detail: why.detail.clone(),
        path_suffix: webhook.path_suffix.clone(),
    }
}

fn traceparent(webhook: &RawWebhook) -> Option<&str> {
    cloud_events::traceparent(webhook.headers.get("traceparent")?.to_str().ok()?)
}
