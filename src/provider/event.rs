//! What a provider makes of an authentic webhook: one event, one unknown type, or something undecodable; never nothing.
//! Must not know Kafka, HTTP, or any provider.

use bytes::Bytes;
use jiff::Timestamp;

use super::event_id::EventId;
use crate::message::event::v1::QuarantineReason;

/// One kind of event, one topic, one message type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventType {
    /// The event type's part of the topic's name, lower case with hyphens: `ready-to-confirm`.
    pub topic_part: &'static str,
    /// The message's full protobuf name: `paybridge.smart_glocal.v1.ReadyToConfirm`.
    pub message: &'static str,
    /// Whether the message has fields of its own or only carries the body.
    pub payload: Payload,
}

/// Whether a message can stand for the bytes it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The fields say what the body said.
    Typed,
    /// The body's bytes are the message; evidence is never reduced to a hash for these.
    Raw,
}

/// What an authentic webhook turns out to be.
pub enum Understood {
    /// One event, or what may become one.
    Event(Normalized),
    /// Several of them, each a record of its own; at least one.
    Batch(Vec<Normalized>),
    /// The sender asks whether it has the right address. This is no event: the answer has this body, which is JSON.
    Handshake(Bytes),
}

/// Events of one webhook at most; more are held together.
pub const EVENTS_MAX: usize = 10_000;
/// Events of one webhook that are held each by itself at most: each record of one has the whole body.
pub const HELD_MAX: usize = 16;

impl Understood {
    /// The events of one webhook of the source named `source`, at least one. Where too many of them are to be held, they are held
    /// together, with the body as a whole.
    pub fn of_batch(source: &str, body: &[u8], mut events: Vec<Normalized>) -> Self {
        let is_held = |event: &Normalized| !matches!(event.content, Content::Event(_));
        let held = events.iter().filter(|event| is_held(event)).count();
        if held > HELD_MAX {
            let none_is_wrong = events.iter().all(|event| !matches!(event.content, Content::Undecodable(_)));
            events.retain(|event| !is_held(event));
            let whole = Normalized::whole(source, body, format!("{held} events of one webhook cannot be read"));
            events.push(if none_is_wrong { Normalized { content: Content::Unrecognized, ..whole } } else { whole });
        }
        Self::Batch(events)
    }

    /// The one event that it is; nothing where it is something else.
    pub fn event(self) -> Option<Normalized> {
        match self {
            Self::Event(event) => Some(event),
            Self::Batch(_) | Self::Handshake(_) => None,
        }
    }
}

/// One event of an authentic webhook, understood as far as it can be.
pub struct Normalized {
    /// The event type as on the wire; empty when the body does not tell.
    pub event_type: String,
    /// By what this webhook is known when it comes again.
    pub identity: Identity,
    /// The payment's or session's id; empty when the body does not tell.
    pub subject: String,
    /// The record's key; without one it is the event id.
    pub key: Option<String>,
    /// The provider's clock, when it gives one.
    pub occurred_at: Option<Timestamp>,
    /// The paths of the fields that stand in the body and could not be read, at most 64 and then `…`.
    pub unread_fields: Vec<String>,
    /// What it says.
    pub content: Content,
}

impl Normalized {
    /// A webhook, or an element of one, that is held as it is, because of `detail`.
    pub fn whole(source: &str, body: &[u8], detail: String) -> Self {
        Self {
            event_type: String::new(),
            identity: Identity::Event(EventId::over(&[source.as_bytes(), b"", body])),
            subject: String::new(),
            key: None,
            occurred_at: None,
            unread_fields: Vec::new(),
            content: Content::Undecodable(Undecodable { reason: QuarantineReason::WrongShape, detail }),
        }
    }
}

/// What an authentic webhook says.
pub enum Content {
    /// An event of a known type.
    Event(Encoded),
    /// A type that this version does not know.
    Unrecognized,
    /// A body that does not fit its contract.
    Undecodable(Undecodable),
}

/// A message without its metadata (field 1), in protobuf's wire format: metadata is put in front of it.
pub struct Encoded {
    /// Its type and so its topic.
    pub event_type: &'static EventType,
    /// The fields from number 2 on.
    pub fields: Vec<u8>,
}

impl Encoded {
    /// Encodes a message whose metadata is still unset.
    pub fn new(event_type: &'static EventType, message: &impl prost::Message) -> Self {
        Self { event_type, fields: message.encode_to_vec() }
    }
}

/// By what a webhook that comes again is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By the event's id, which the webhook alone gives.
    Event(EventId),
    /// By the id of its content: the body has no time of its own, and comes back unchanged when a state comes back. The event's id
    /// goes by the event before it, too: see [`EventId::of_state`].
    Content(EventId),
    /// The same, where the events of one key come one after the other whatever their types: the type is part of the content.
    ContentOfKey(EventId),
}

impl Identity {
    /// The id that the webhook alone gives: the event's, or its content's.
    pub fn of_webhook(self) -> EventId {
        match self {
            Self::Event(id) | Self::Content(id) | Self::ContentOfKey(id) => id,
        }
    }

    /// The event's id where nothing is known of events before it.
    pub fn id_alone(self, received_at: Timestamp) -> EventId {
        match self {
            Self::Event(id) => id,
            Self::Content(content) | Self::ContentOfKey(content) => EventId::of_state(content, received_at, None),
        }
    }
}

/// Why an authentic body is not an event: nobody knows what it is about. Names fields, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// The class, for metrics and alerts.
    pub reason: QuarantineReason,
    /// Which field, and what is wrong with it.
    pub detail: String,
}

impl Undecodable {
    /// A body without a field that gives its event an identity.
    pub fn without(path: &str) -> Self {
        Self { reason: QuarantineReason::WrongShape, detail: format!("{path}: missing, empty, or unreadable") }
    }
}
