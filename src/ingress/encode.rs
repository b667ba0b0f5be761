//! Makes Kafka records of webhooks: metadata and evidence in front of the message, CloudEvents headers beside it.
//! Pure: no clock, no input or output; must not know how a record is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::config::EvidenceKeep;
use crate::kafka::cloud_events::{self, CloudEvent};
use crate::kafka::record::Record;
use crate::kafka::topics::{self, QUARANTINED_MESSAGE, REJECTED_MESSAGE, UNRECOGNIZED_MESSAGE};
use crate::message::event::v1::{
    AuthenticationFailure, EventMetadata, Evidence, QuarantineReason, QuarantinedWebhook, RejectedWebhook,
    UnrecognizedWebhook,
};
use crate::message::timestamp;
use crate::provider::{
    AuthenticWebhook, Content, Encoded, EventId, Normalized, Payload, Provider, RawWebhook, Undecodable, Unverified,
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
    bridge: Arc<Bridge>,
    source: String,
    provider: &'static dyn Provider,
    /// The headers that are kept of a webhook.
    headers: Vec<HeaderName>,
    topics: BTreeMap<&'static str, Arc<str>>,
    unrecognized: Arc<str>,
    quarantine: Arc<str>,
    rejected: Arc<str>,
}

/// How much of the body the event carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordForm {
    /// All that the configuration keeps.
    AsConfigured,
    /// The same without the plaintext: for an event that is too large with it.
    WithoutPlaintext,
}

impl Encoder {
    /// The encoder of one source.
    pub fn new(bridge: Arc<Bridge>, source: &str, provider: &'static dyn Provider, prefix: &str) -> Self {
        let topic = |event_type| Arc::from(topics::event_topic(prefix, provider.name(), event_type));
        let headers = provider.evidence_headers().iter().chain(&DESCRIBING_HEADERS);
        Self {
            bridge,
            source: source.to_owned(),
            provider,
            headers: headers.map(|name| HeaderName::from_static(name)).collect(),
            topics: provider.event_types().iter().map(|event| (event.topic_part, topic(event))).collect(),
            unrecognized: Arc::from(topics::unrecognized_topic(prefix)),
            quarantine: Arc::from(topics::quarantine_topic(prefix)),
            rejected: Arc::from(topics::rejected_topic(prefix)),
        }
    }

    /// The record of an authentic webhook under the event id `id`: its event, or what is known of it, on the topic where that belongs.
    pub fn authentic(&self, webhook: &AuthenticWebhook, event: &Normalized, id: EventId, form: RecordForm) -> Record {
        let mut evidence = self.evidence(webhook);
        if form == RecordForm::WithoutPlaintext {
            evidence.plaintext = None;
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
        if self.bridge.keep == EvidenceKeep::HashOnly && message.event_type.payload == Payload::Typed {
            evidence.raw_body = None;
            evidence.plaintext = None;
        }
        let metadata = self.metadata(webhook, event, id, evidence);
        let bytes = 1 + LENGTH_BYTES_MAX + metadata.encoded_len() + message.fields.len();
        let mut value = Vec::with_capacity(bytes);
        value.push(METADATA_FIELD);
        // It has room, which is all that could fail.
        let _encoded = metadata.encode_length_delimited(&mut value);
        value.extend_from_slice(&message.fields);
        let topic = self.topics.get(message.event_type.topic_part).unwrap_or(&self.unrecognized);
        let key = event.key.clone().unwrap_or_else(|| id.to_string());
        self.record(topic, key, value, message.event_type.message, webhook, (event, id))
    }

    fn unrecognized(&self, webhook: &RawWebhook, event: &Normalized, id: EventId, evidence: Evidence) -> Record {
        let message = UnrecognizedWebhook {
            metadata: Some(self.metadata(webhook, event, id, evidence)),
            path_suffix: webhook.path_suffix.clone(),
        };
        let value = message.encode_to_vec();
        self.record(&self.unrecognized, self.source.clone(), value, UNRECOGNIZED_MESSAGE, webhook, (event, id))
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
        let metadata = EventMetadata { evidence: Some(self.raw_evidence(webhook)), ..self.bare_metadata(webhook) };
        let why = Undecodable { reason: QuarantineReason::UnverifiedKept, detail: failure.to_string() };
        let value = quarantined_message(metadata, webhook, &why).encode_to_vec();
        self.record_of_no_event(&self.quarantine, value, QUARANTINED_MESSAGE, webhook, random_id)
    }

    /// The record of a sample of a webhook that failed authentication, with so many bytes of its body at most.
    pub fn rejected(&self, webhook: &RawWebhook, failure: Unverified, bytes_max: usize, random_id: &str) -> Record {
        let whole = self.raw_evidence(webhook);
        let sampled = webhook.body.slice(..webhook.body.len().min(bytes_max));
        let evidence = Evidence { raw_body: Some(sampled), ..whole };
        let message = RejectedWebhook {
            metadata: Some(EventMetadata { evidence: Some(evidence), ..self.bare_metadata(webhook) }),
            failure: failure_code(failure).into(),
            body_bytes: u64::try_from(webhook.body.len()).unwrap_or(u64::MAX),
            body_cut: webhook.body.len() > bytes_max,
        };
        self.record_of_no_event(&self.rejected, message.encode_to_vec(), REJECTED_MESSAGE, webhook, random_id)
    }

    fn record_of_no_event(
        &self,
        topic: &Arc<str>,
        value: Vec<u8>,
        message: &'static str,
        webhook: &RawWebhook,
        random_id: &str,
    ) -> Record {
        let headers = cloud_events::headers(&CloudEvent {
            id: random_id,
            source: &self.source,
            message,
            subject: "",
            time: webhook.received_at,
            traceparent: traceparent(webhook),
        });
        Record { topic: Arc::clone(topic), key: self.source.clone(), value, headers }
    }

    fn quarantine(&self, webhook: &RawWebhook, event: &Normalized, evidence: Evidence, why: &Undecodable) -> Record {
        // What is in quarantine is no event yet: only the webhook gives it an id.
        let id = event.identity.of_webhook();
        let metadata = self.metadata(webhook, event, id, evidence);
        let value = quarantined_message(metadata, webhook, why).encode_to_vec();
        self.record(&self.quarantine, self.source.clone(), value, QUARANTINED_MESSAGE, webhook, (event, id))
    }

    fn record(
        &self,
        topic: &Arc<str>,
        key: String,
        value: Vec<u8>,
        message: &'static str,
        webhook: &RawWebhook,
        (event, id): (&Normalized, EventId),
    ) -> Record {
        let headers = cloud_events::headers(&CloudEvent {
            id: &id.to_string(),
            source: &self.source,
            message,
            subject: &event.subject,
            time: event.occurred_at.unwrap_or(webhook.received_at),
            traceparent: traceparent(webhook),
        });
        Record { topic: Arc::clone(topic), key, value, headers }
    }

    fn metadata(&self, webhook: &RawWebhook, event: &Normalized, id: EventId, evidence: Evidence) -> EventMetadata {
        EventMetadata {
            event_id: id.to_string(),
            event_type: event.event_type.clone(),
            subject: event.subject.clone(),
            occurred_at: event.occurred_at.map(timestamp),
            unread_fields: event.unread_fields.clone(),
            evidence: Some(evidence),
            ..self.bare_metadata(webhook)
        }
    }

    fn bare_metadata(&self, webhook: &RawWebhook) -> EventMetadata {
        EventMetadata {
            source: self.source.clone(),
            provider: self.provider.name().to_owned(),
            received_at: Some(timestamp(webhook.received_at)),
            bridge_version: env!("CARGO_PKG_VERSION").to_owned(),
            bridge_instance: self.bridge.instance.clone(),
            ..EventMetadata::default()
        }
    }

    fn evidence(&self, webhook: &AuthenticWebhook) -> Evidence {
        Evidence {
            scheme: webhook.scheme().into(),
            key_id: webhook.key_id().as_str().to_owned(),
            signature: webhook.signature().to_owned(),
            plaintext: webhook.plaintext().cloned(),
            ..self.raw_evidence(webhook.raw())
        }
    }

    fn raw_evidence(&self, webhook: &RawWebhook) -> Evidence {
        let digest: [u8; 32] = Sha256::digest(&webhook.body).into();
        Evidence {
            raw_body: Some(webhook.body.clone()),
            body_sha256: Bytes::copy_from_slice(&digest),
            headers: self.headers_that_matter(webhook),
            remote_address: webhook.remote_address.to_string(),
            path_suffix: webhook.path_suffix.clone(),
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
