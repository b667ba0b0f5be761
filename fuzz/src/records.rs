//! What must hold of a webhook that authentication believed, whoever sent it: it is understood the same each time, and its records
//! say so.
//! Must not know how the webhook came to be.

use jiff::Timestamp;
use paybridge::encode::RecordForm;
use paybridge::kafka::decoded::{self, Decoded, ReadRecord};
use paybridge::kafka::record::Record;
use paybridge::message::DESCRIPTORS;
use paybridge::provider::event::{EVENTS_MAX, HELD_MAX};
use paybridge::provider::{AuthenticWebhook, Content, Identity, Normalized, RawWebhook, Source, Understood};
use paybridge::short_line::ShortLine;
use prost_reflect::{DynamicMessage, ReflectMessage};

use crate::held;
use crate::subject::{PREFIX, Subject};

/// The most paths that an event names, with the mark that there are others.
const UNREAD_FIELDS_MAX: usize = 65;

/// An event as far as two can be compared.
#[derive(Debug, PartialEq)]
pub struct Seen {
    identity: Identity,
    /// The type on the wire, the subject and the key.
    about: (String, String, Option<String>),
    /// The topic part of an event; none of what is held.
    pub topic_part: Option<&'static str>,
    occurred_at: Option<Timestamp>,
    unread_fields: Vec<String>,
    fields: Vec<u8>,
    detail: String,
}

/// Checks everything of an authentic webhook, and gives its events; none of a handshake.
pub fn check(subject: &Subject, webhook: &AuthenticWebhook) -> Vec<Seen> {
    let (source, raw) = (&**subject.source, webhook.raw());
    let Ok(again) = AuthenticWebhook::authenticate(source, raw.clone()) else {
        panic!("a webhook was believed, and then not");
    };
    assert_eq!((again.scheme(), again.key_id()), (webhook.scheme(), webhook.key_id()), "proven in two ways");
    assert_eq!((again.signature(), again.plaintext()), (webhook.signature(), webhook.plaintext()));
    assert!(source.key_ids().contains(webhook.key_id()), "proven by a key that the source has not");
    let events = events(subject, webhook);
    let seen: Vec<Seen> = events.iter().map(Seen::of).collect();
    assert_eq!(seen, self::events(subject, &again).iter().map(Seen::of).collect::<Vec<_>>(), "understood in two ways");
    let held = events.iter().filter(|event| !matches!(event.content, Content::Event(_))).count();
    assert!(events.len() <= EVENTS_MAX + 1 && held <= HELD_MAX, "{} events, {held} held", events.len());
    // The first ones tell of all: thousands would only take time.
    for event in events.iter().take(HELD_MAX) {
        check_event(subject, webhook, event);
    }
    seen
}

/// The events of a webhook, at least one; none of a handshake.
pub fn events(subject: &Subject, webhook: &AuthenticWebhook) -> Vec<Normalized> {
    let events = match subject.source.normalize(&subject.name, webhook) {
        Understood::Event(event) => vec![event],
        Understood::Batch(events) => events,
        Understood::Handshake(answer) => {
            assert!(answer.starts_with(b"{"), "an answer that is no JSON object");
            return Vec::new();
        }
    };
    assert!(!events.is_empty(), "an authentic webhook became nothing");
    events
}

/// Everything that people ask a source about a webhook, of which nothing is believed.
pub fn explain(source: &dyn Source, raw: &RawWebhook) {
    let _reason = source.admits(raw);
    let _lines = (source.explain(raw), source.likely_cause(raw), source.describe());
}

fn check_event(subject: &Subject, webhook: &AuthenticWebhook, event: &Normalized) {
    assert!(event.unread_fields.len() <= UNREAD_FIELDS_MAX, "{} unread fields", event.unread_fields.len());
    let outline = &subject.settings.outline;
    if let Content::Event(encoded) = &event.content {
        assert!(outline.event_types.contains(&encoded.event_type), "{:?} has no topic", encoded.event_type);
        let descriptor = DESCRIPTORS.get_message_by_name(encoded.event_type.message);
        let message = descriptor.and_then(|message| DynamicMessage::decode(message, encoded.fields.as_slice()).ok());
        let Some(message) = message else { panic!("{:?} does not decode", encoded.event_type) };
        assert_eq!(message.unknown_fields().count(), 0, "{}", message.descriptor().full_name());
    }
    let id = event.identity.id_alone(webhook.raw().received_at);
    let forms = [RecordForm::AsConfigured, RecordForm::BodyElsewhere(id), RecordForm::WithoutPlaintext];
    // Without a plaintext the last one is as the first.
    let forms = forms.into_iter().filter(|form| *form != RecordForm::WithoutPlaintext || webhook.plaintext().is_some());
    for form in forms {
        let record = subject.encoder.authentic(webhook, event, id, form);
        let decoded = decode(&record);
        let expected = match &event.content {
            Content::Undecodable(_) => event.identity.of_webhook(),
            Content::Event(_) | Content::Unrecognized => id,
        };
        assert_eq!(decoded.event_id, Some(expected.to_string()), "the record tells another event's id");
        assert!(!record.key.is_empty() || event.key.is_some(), "a record without a key");
        if form != RecordForm::WithoutPlaintext {
            held::check(subject, webhook, event, &record);
        }
    }
    let _too_large = decode(&subject.encoder.too_large(webhook, event));
}

/// The record as somebody reads it who knows our messages. It must be readable: it was just written.
pub fn decode(record: &Record) -> Decoded {
    assert!(record.topic.starts_with(PREFIX), "{} is none of our topics", record.topic);
    let decoded = decoded::decode(read(record), None, &DESCRIPTORS);
    assert!(decoded.message.is_some(), "a record of {} that cannot be shown", record.topic);
    let _line = ShortLine::of(&decoded, PREFIX).text();
    decoded
}

/// The record as Kafka gives it to a reader.
pub fn read(record: &Record) -> ReadRecord {
    let headers = record.headers.iter().map(|(name, value)| (name.clone().into_owned(), Some(value.to_vec())));
    ReadRecord {
        topic: record.topic.to_string(),
        partition: 0,
        offset: 7,
        timestamp_ms: Some(crate::fixtures::NOW.as_millisecond()),
        key: Some(record.key.clone().into_bytes()),
        headers: headers.collect(),
        value: Some(record.value.clone()),
    }
}

impl Seen {
    /// What is to be compared of an event.
    pub fn of(event: &Normalized) -> Self {
        let (topic_part, fields, detail) = match &event.content {
            Content::Event(encoded) => (Some(encoded.event_type.topic_part), encoded.fields.clone(), String::new()),
            Content::Unrecognized => (None, Vec::new(), String::new()),
            Content::Undecodable(why) => (None, Vec::new(), format!("{why:?}")),
        };
        Self {
            identity: event.identity,
            about: (event.event_type.clone(), event.subject.clone(), event.key.clone()),
            topic_part,
            occurred_at: event.occurred_at,
            unread_fields: event.unread_fields.clone(),
            fields,
            detail,
        }
    }

    /// What a sender signs of an event at least: which one it is, and what it is about.
    pub fn signed(self) -> (Identity, (String, String, Option<String>), Option<&'static str>) {
        (self.identity, self.about, self.topic_part)
    }
}
