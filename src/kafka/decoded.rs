//! A record as people read it: its message decoded by name and written as protobuf JSON with the fields' own names.
//! Pure. Must not know where records come from, nor any message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, SerializeOptions};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The header that names the message.
const TYPE_HEADER: &str = "ce_type";
/// The header that holds the event's id, or a random one where there is none.
const ID_HEADER: &str = "ce_id";

/// A record as Kafka gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadRecord {
    /// The topic it is on.
    pub topic: String,
    /// The partition of the topic.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// When it was made or appended, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its value; none: a tombstone.
    pub value: Option<Vec<u8>>,
}

impl ReadRecord {
    /// The first header of this name, when it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

/// A record, decoded; serializes to one JSON object.
#[derive(Debug, Serialize)]
pub struct Decoded {
    /// The topic it is on.
    pub topic: String,
    /// The partition of the topic.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// When it was made or appended: RFC 3339.
    pub timestamp: Option<String>,
    /// Its key, as text.
    pub key: Option<String>,
    /// Its key in base64, when it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// Its headers: text; in base64 below `base64` what is not; a list where a name is repeated.
    pub headers: Map<String, Value>,
    /// Its message in protobuf JSON; null when it cannot be decoded, and for a tombstone.
    pub message: Option<Box<RawValue>>,
    /// Its value in base64, when it cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// The event's id: as in the message's metadata, else as in its headers.
    #[serde(skip)]
    pub event_id: Option<String>,
    /// The message's full protobuf name, when it was decoded.
    #[serde(skip)]
    pub message_name: Option<String>,
}

/// Decodes a record. Its message is what the `ce_type` header names, else `topics_message`.
pub fn decode(record: ReadRecord, topics_message: Option<&str>, descriptors: &DescriptorPool) -> Decoded {
    let message = record.header(TYPE_HEADER).or(topics_message).and_then(|name| descriptors.get_message_by_name(name));
    let message =
        message.zip(record.value.as_deref()).and_then(|(message, value)| DynamicMessage::decode(message, value).ok());
    let written = message.as_ref().and_then(json);
    let message_name = message.as_ref().map(|message| message.descriptor().full_name().to_owned());
    let event_id = message.as_ref().and_then(event_id).or_else(|| record.header(ID_HEADER).map(ToOwned::to_owned));
    let value_base64 = if written.is_none() { record.value.map(|value| STANDARD.encode(value)) } else { None };
    let (key, key_base64) = match record.key.map(String::from_utf8) {
        None => (None, None),
        Some(Ok(text)) => (Some(text), None),
        Some(Err(error)) => (None, Some(STANDARD.encode(error.as_bytes()))),
    };
    Decoded {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp_ms.and_then(instant),
        key,
        key_base64,
        headers: headers(record.headers),
        message: written,
        value_base64,
        event_id,
        message_name,
    }
}

fn instant(since_1970_ms: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(since_1970_ms).ok().map(|instant| instant.to_string())
}

/// Written straight to text, which keeps the fields in the order of their numbers.
fn json(message: &DynamicMessage) -> Option<Box<RawValue>> {
    let mut text = Vec::new();
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options).ok()?;
    RawValue::from_string(String::from_utf8(text).ok()?).ok()
}

/// Empty where there is none: samples of the unauthentic have no id.
fn event_id(message: &DynamicMessage) -> Option<String> {
    let metadata = message.descriptor().get_field_by_name("metadata")?;
    let metadata = message.get_field(&metadata);
    let id = metadata.as_message()?.get_field_by_name("event_id")?;
    id.as_str().filter(|id| !id.is_empty()).map(ToOwned::to_owned)
}

fn headers(headers: Vec<(String, Option<Vec<u8>>)>) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in headers {
        let value = match value.map(String::from_utf8) {
            None => Value::Null,
            Some(Ok(text)) => Value::String(text),
            Some(Err(error)) => serde_json::json!({ "base64": STANDARD.encode(error.as_bytes()) }),
        };
        match map.get_mut(&name) {
            None => {
                map.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::message::DESCRIPTORS;
    use crate::message::event::v1::{EventMetadata, UnrecognizedWebhook};

    const TYPE: &str = "paybridge.event.v1.UnrecognizedWebhook";

    fn record(value: Option<Vec<u8>>, headers: &[(&str, &[u8])]) -> ReadRecord {
        ReadRecord {
            topic: "payments.unrecognized.v1".to_owned(),
            partition: 3,
            offset: 41,
            timestamp_ms: Some(1_716_775_380_500),
            key: Some(b"sg-main".to_vec()),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), Some(value.to_vec()))).collect(),
            value,
        }
    }

    fn webhook() -> Vec<u8> {
        let metadata =
            EventMetadata { event_id: "00ff".to_owned(), source: "sg-main".to_owned(), ..EventMetadata::default() };
        UnrecognizedWebhook { metadata: Some(metadata), ..UnrecognizedWebhook::default() }.encode_to_vec()
    }

    fn check(record: ReadRecord, topics_message: Option<&str>, expected: &str) {
        let written = serde_json::to_string(&decode(record, topics_message, &DESCRIPTORS)).unwrap();
        let start =
            r#"{"topic":"payments.unrecognized.v1","partition":3,"offset":41,"timestamp":"2024-05-27T02:03:00.5Z","#;
        assert_eq!(written, format!("{start}{expected}"));
    }

    #[test]
    fn the_header_names_the_message_else_the_topic_does() {
        let message = r#""message":{"metadata":{"event_id":"00ff","source":"sg-main"}}}"#;
        let by_header = record(Some(webhook()), &[("ce_type", TYPE.as_bytes())]);
        check(by_header, Some("no.Such"), &format!(r#""key":"sg-main","headers":{{"ce_type":"{TYPE}"}},{message}"#));
        check(record(Some(webhook()), &[]), Some(TYPE), &format!(r#""key":"sg-main","headers":{{}},{message}"#));
    }

    #[test]
    fn what_cannot_be_decoded_is_shown_as_it_is() {
        let bytes = r#""message":null,"value_base64":"//8="}"#;
        let headers = r#""key":"sg-main","headers":{}"#;
        check(record(Some(vec![0xff, 0xff]), &[]), Some(TYPE), &format!("{headers},{bytes}"));
        check(record(Some(vec![0xff, 0xff]), &[]), None, &format!("{headers},{bytes}"));
        // A message that this version does not know is not taken for another.
        let unknown = record(Some(vec![0xff, 0xff]), &[("ce_type", b"paybridge.event.v9.New")]);
        let headers = r#""key":"sg-main","headers":{"ce_type":"paybridge.event.v9.New"}"#;
        check(unknown, Some(TYPE), &format!("{headers},{bytes}"));
        check(record(None, &[]), Some(TYPE), r#""key":"sg-main","headers":{},"message":null}"#);
    }

    #[test]
    fn keys_and_headers_that_are_not_text_lose_nothing() {
        let repeated: &[(&str, &[u8])] = &[("a", b"1"), ("a", b"2"), ("a", b"3"), ("b", &[0xff])];
        let record = ReadRecord { key: Some(vec![0xff]), ..record(None, repeated) };
        let expected =
            r#""key":null,"key_base64":"/w==","headers":{"a":["1","2","3"],"b":{"base64":"/w=="}},"message":null}"#;
        check(record, None, expected);
    }

    #[test]
    fn the_event_id_is_the_messages_own() {
        let id = |record| decode(record, Some(TYPE), &DESCRIPTORS).event_id;
        assert_eq!(id(record(Some(webhook()), &[("ce_id", b"random")])).as_deref(), Some("00ff"));
        assert_eq!(id(record(Some(Vec::new()), &[("ce_id", b"random")])).as_deref(), Some("random"));
        assert_eq!(id(record(None, &[])), None);
    }
}
