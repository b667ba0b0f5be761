//! One record of quarantine, unrecognized or rejected: what it says of itself, and the webhook that it can be taken for again.
//! Pure. Must not know what would become of it.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use prost::Message;

use crate::kafka::decoded::ReadRecord;
use crate::kafka::topics;
use crate::message::event::v1::{
    AuthenticationFailure, EventMetadata, Evidence, QuarantineReason, QuarantinedWebhook, RejectedWebhook,
    UnrecognizedWebhook,
};
use crate::message::instant;
use crate::message::release::v1::RecordPlace;
use crate::provider::{EventId, RawWebhook};

/// Why a webhook is on the topic of unrecognized ones.
const UNKNOWN_TYPE: &str = "unknown_type";
/// Why it is held whose event was too large.
const TOO_LARGE: &str = "too_large";
/// What is said of a record that cannot be decoded.
const UNREADABLE: &str = "unreadable";

/// One of the topics for webhooks that became no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldTopic {
    /// Authentic webhooks that could not be decoded, and what was kept while a key was wrong.
    Quarantine,
    /// Authentic webhooks of an unknown type.
    Unrecognized,
    /// Samples of webhooks that failed authentication.
    Rejected,
}

impl HeldTopic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Quarantine, Self::Unrecognized, Self::Rejected];

    /// Its name for people, which is a part of its full name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Unrecognized => "unrecognized",
            Self::Rejected => "rejected",
        }
    }

    /// Its full name.
    pub fn name(self, prefix: &str) -> String {
        match self {
            Self::Quarantine => topics::quarantine_topic(prefix),
            Self::Unrecognized => topics::unrecognized_topic(prefix),
            Self::Rejected => topics::rejected_topic(prefix),
        }
    }

    /// The one of this name for people.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == text)
    }

    /// The one of this full name.
    pub fn of_name(name: &str, prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name(prefix) == name)
    }
}

impl fmt::Display for HeldTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldKind {
    /// A webhook with its whole body.
    Webhook,
    /// A webhook of which only the beginning of the body was kept.
    CutWebhook,
    /// A record that the confirmation engine set aside, or one with a reason that this version does not know.
    EngineRecord,
    /// Nothing that can be decoded.
    Unreadable,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldRecord {
    /// The topic.
    pub from: HeldTopic,
    /// Where it is.
    pub place: RecordPlace,
    /// When the broker took it.
    pub recorded_at: Timestamp,
    /// What it is.
    pub kind: HeldKind,
    /// Why it is held: `wrong_shape`, `signature_mismatch`, `unknown_type`.
    pub reason: String,
    /// The same for people; may be empty. Names fields, never values.
    pub detail: String,
    /// Identity, times and evidence.
    pub metadata: EventMetadata,
    /// How many bytes the whole body has.
    pub body_bytes: u64,
}

impl HeldRecord {
    /// Decodes a record of one of the topics.
    pub fn decode(from: HeldTopic, record: &ReadRecord) -> Self {
        let value = record.value.as_deref().unwrap_or_default();
        let decoded = match from {
            HeldTopic::Quarantine => QuarantinedWebhook::decode(value).ok().and_then(quarantined),
            HeldTopic::Unrecognized => UnrecognizedWebhook::decode(value).ok().and_then(unrecognized),
            HeldTopic::Rejected => RejectedWebhook::decode(value).ok().and_then(rejected),
        };
        let DecodedHeld { kind, reason, detail, metadata, body_bytes } = decoded.unwrap_or_else(|| unreadable(record));
        let recorded_at = record.timestamp_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
        let place = RecordPlace { topic: record.topic.clone(), partition: record.partition, offset: record.offset };
        Self { from, place, recorded_at, kind, reason, detail, metadata, body_bytes }
    }

    /// The source's name, as far as the record tells.
    pub fn source(&self) -> &str {
        &self.metadata.source
    }

    /// The id that the record itself has: none where authentication failed.
    pub fn event_id(&self) -> Option<EventId> {
        EventId::parse(&self.metadata.event_id)
    }

    /// The SHA-256 of the whole body; empty where the record does not tell.
    pub fn body_sha256(&self) -> &[u8] {
        self.metadata.evidence.as_ref().map_or(&[], |evidence| &evidence.body_sha256)
    }

    /// Whether Kafka refused its event as too large for its topic.
    pub fn was_too_large(&self) -> bool {
        self.reason == TOO_LARGE
    }

    /// When the webhook was received, by the clock of who received it; else when its record was taken.
    pub fn received_at(&self) -> Timestamp {
        self.metadata.received_at.as_ref().and_then(instant).unwrap_or(self.recorded_at)
    }

    /// The moment that its signed time is held against: a sample's is the broker's, for it may be a clock that was wrong that
    /// made it one.
    pub fn judged_at(&self) -> Timestamp {
        match self.from {
            HeldTopic::Rejected => self.recorded_at,
            HeldTopic::Quarantine | HeldTopic::Unrecognized => self.received_at(),
        }
    }

    /// The webhook as it arrived, received at the moment by which it is judged; none where the record has not all of it.
    pub fn webhook(&self) -> Option<RawWebhook> {
        let evidence = self.metadata.evidence.as_ref()?;
        Some(RawWebhook {
            path_suffix: evidence.path_suffix.clone(),
            query: evidence.query.clone(),
            headers: headers(evidence),
            body: evidence.raw_body.clone()?,
            remote_address: evidence.remote_address.parse::<IpAddr>().ok()?,
            received_at: self.judged_at(),
        })
    }

    /// Without the bytes of the body and the headers, for who keeps many.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        if let Some(evidence) = &mut self.metadata.evidence {
            evidence.raw_body = None;
            evidence.plaintext = None;
            evidence.headers.clear();
        }
        self
    }
}

/// What the messages of the three topics tell alike.
struct DecodedHeld {
    kind: HeldKind,
    reason: String,
    detail: String,
    metadata: EventMetadata,
    body_bytes: u64,
}

fn quarantined(message: QuarantinedWebhook) -> Option<DecodedHeld> {
    use QuarantineReason as Reason;
    let metadata = message.metadata?;
    let kind = match Reason::try_from(message.reason).unwrap_or_default() {
        Reason::NotUtf8
        | Reason::NotJson
        | Reason::WrongShape
        | Reason::TooLarge
        | Reason::UnverifiedKept
        | Reason::NameContradictsBody => HeldKind::Webhook,
        Reason::Unspecified
        | Reason::UndecodableRecord
        | Reason::MisroutedDecision
        | Reason::SessionOfAnotherSource
        | Reason::EvidenceDoesNotVerify
        | Reason::RecordRefused => HeldKind::EngineRecord,
    };
    let reason = word(Reason::try_from(message.reason).map(|reason| reason.as_str_name()), "QUARANTINE_REASON_");
    let body_bytes = kept_bytes(&metadata);
    Some(DecodedHeld { kind, reason, detail: message.detail, metadata, body_bytes })
}

fn unrecognized(message: UnrecognizedWebhook) -> Option<DecodedHeld> {
    let metadata = message.metadata?;
    let body_bytes = kept_bytes(&metadata);
    let detail = match metadata.event_type.as_str() {
        "" => "no type".to_owned(),
        event_type => format!("type {event_type}"),
    };
    let (kind, reason) = (HeldKind::Webhook, UNKNOWN_TYPE.to_owned());
    Some(DecodedHeld { kind, reason, detail, metadata, body_bytes })
}

fn rejected(message: RejectedWebhook) -> Option<DecodedHeld> {
    let metadata = message.metadata?;
    let failure = AuthenticationFailure::try_from(message.failure);
    Some(DecodedHeld {
        kind: if message.body_cut { HeldKind::CutWebhook } else { HeldKind::Webhook },
        reason: word(failure.map(|failure| failure.as_str_name()), "AUTHENTICATION_FAILURE_"),
        detail: String::new(),
        metadata,
        body_bytes: message.body_bytes,
    })
}

/// The key of a webhook's record is its source.
fn unreadable(record: &ReadRecord) -> DecodedHeld {
    let key = record.key.clone().and_then(|key| String::from_utf8(key).ok());
    DecodedHeld {
        kind: HeldKind::Unreadable,
        reason: UNREADABLE.to_owned(),
        detail: "this version cannot decode the record".to_owned(),
        metadata: EventMetadata { source: key.unwrap_or_default(), ..EventMetadata::default() },
        body_bytes: 0,
    }
}

fn kept_bytes(metadata: &EventMetadata) -> u64 {
    let body = metadata.evidence.as_ref().and_then(|evidence| evidence.raw_body.as_ref());
    u64::try_from(body.map_or(0, Bytes::len)).unwrap_or(u64::MAX)
}

/// `QUARANTINE_REASON_WRONG_SHAPE` is `wrong_shape`.
fn word<E>(name: Result<&str, E>, prefix: &str) -> String {
    name.map_or_else(|_| "unspecified".to_owned(), |name| name.trim_start_matches(prefix).to_ascii_lowercase())
}

/// The headers that were kept. What is no header any more cannot have been one that authentication reads.
fn headers(evidence: &Evidence) -> HeaderMap {
    let parsed = evidence.headers.iter().filter_map(|(name, value)| {
        Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_str(value).ok()?))
    });
    parsed.collect()
}
