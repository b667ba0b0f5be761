//! Record headers by the CloudEvents 1.0 Kafka protocol binding, binary content mode.
//! Must not know what an event means.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;

/// What `ce_dataschema` begins with. The message's full name follows: `paybridge protos` of this version writes its file.
const PROTOS_OF_THIS_VERSION: &str = concat!("urn:paybridge:protos:", env!("CARGO_PKG_VERSION"), ":");

/// The attributes that all events of one source and message share.
#[derive(Clone, Debug)]
pub struct SharedAttributes {
    source: Bytes,
    message: &'static str,
    dataschema: Bytes,
}

impl SharedAttributes {
    /// Of the events of the configured source of this name whose message has this full protobuf name.
    pub fn new(source: &str, message: &'static str) -> Self {
        let joined = |parts: [&str; 2]| Bytes::from(parts.concat());
        Self { source: joined(["/paybridge/", source]), message, dataschema: joined([PROTOS_OF_THIS_VERSION, message]) }
    }
}

/// The attributes of one event.
pub struct CloudEvent<'a> {
    /// Those that it shares with others.
    pub shared: &'a SharedAttributes,
    /// Unique within the source: the event id, or a random id where there is none.
    pub id: &'a str,
    /// The payment's or session's id; left out when empty.
    pub subject: &'a str,
    /// When it happened, else when it was received.
    pub time: Timestamp,
    /// The W3C trace context of the request that brought it.
    pub traceparent: Option<&'a str>,
}

/// The event's record headers.
pub fn headers(event: &CloudEvent<'_>) -> Vec<(Cow<'static, str>, Bytes)> {
    let SharedAttributes { source, message, dataschema } = event.shared;
    let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let subject = Some(event.subject).filter(|subject| !subject.is_empty());
    let always = [
        ("ce_specversion", Bytes::from_static(b"1.0")),
        ("ce_id", copy(event.id)),
        ("ce_source", source.clone()),
        ("ce_type", Bytes::from_static(message.as_bytes())),
        ("ce_time", event.time.to_string().into()),
        ("ce_dataschema", dataschema.clone()),
        ("content-type", Bytes::from_static(b"application/protobuf")),
    ];
    let optional = [("ce_subject", subject), ("traceparent", event.traceparent)];
    let mut headers = Vec::with_capacity(always.len() + optional.len());
    headers.extend(always.map(|(name, value)| (Cow::Borrowed(name), value)));
    headers.extend(optional.into_iter().filter_map(|(name, value)| Some((name.into(), copy(value?)))));
    headers
}

/// A request's `traceparent`, when it has the form that W3C Trace Context version 00 gives it, and is valid by it: version `ff`
/// and ids of zeros alone are not.
pub fn traceparent(value: &str) -> Option<&str> {
    let is_hex =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|byte| byte != b'0');
    let mut parts = value.split('-');
    let [version, trace_id, parent_id, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let is_valid = parts.next().is_none()
        && (is_hex(version, 2) && version != "ff")
        && (is_id(trace_id, 32) && is_id(parent_id, 16))
        && is_hex(flags, 2);
    is_valid.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_every_attribute_once_and_no_empty_one() {
        let event = CloudEvent {
            shared: &SharedAttributes::new("sg-main", "paybridge.event.v1.UnrecognizedWebhook"),
            id: "00ff",
            subject: "",
            time: "2024-05-27T02:03:00.5Z".parse().unwrap(),
            traceparent: None,
        };
        let dataschema = format!("{PROTOS_OF_THIS_VERSION}paybridge.event.v1.UnrecognizedWebhook");
        let headers = headers(&event);
        let pairs: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_ref(), std::str::from_utf8(value).unwrap())).collect();
        assert_eq!(
            pairs,
            [
                ("ce_specversion", "1.0"),
                ("ce_id", "00ff"),
                ("ce_source", "/paybridge/sg-main"),
                ("ce_type", "paybridge.event.v1.UnrecognizedWebhook"),
                ("ce_time", "2024-05-27T02:03:00.5Z"),
                ("ce_dataschema", dataschema.as_str()),
                ("content-type", "application/protobuf"),
            ]
        );
    }

    #[test]
    fn takes_only_a_well_formed_traceparent() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(good), Some(good));
        for bad in [
            "",
            "00",
            "00-4bf9-00f067aa0ba902b7-01",
            &good.to_uppercase(),
            &format!("{good}-x"),
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(traceparent(bad), None, "{bad}");
        }
    }
}
