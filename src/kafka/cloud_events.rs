//! Record headers by the CloudEvents 1.0 Kafka protocol binding, binary content mode.
//! Must not know what an event means.

use std::borrow::Cow;

use jiff::Timestamp;

/// The attributes of one event.
pub struct CloudEvent<'a> {
    /// Unique within the source: the event id, or a random id where there is none.
    pub id: &'a str,
    /// The configured source's name.
    pub source: &'a str,
    /// The message's full protobuf name.
    pub message: &'static str,
    /// The payment's or session's id; left out when empty.
    pub subject: &'a str,
    /// When it happened, else when it was received.
    pub time: Timestamp,
    /// The W3C trace context of the request that brought it.
    pub traceparent: Option<&'a str>,
}

/// The event's record headers.
pub fn headers(event: &CloudEvent<'_>) -> Vec<(&'static str, Cow<'static, str>)> {
    let subject = Some(event.subject).filter(|subject| !subject.is_empty());
    let always = [
        ("ce_specversion", "1.0".into()),
        ("ce_id", event.id.to_owned().into()),
        ("ce_source", ["/paybridge/", event.source].concat().into()),
        ("ce_type", event.message.into()),
        ("ce_time", event.time.to_string().into()),
        ("ce_dataschema", ["urn:paybridge:proto:", event.message].concat().into()),
        ("content-type", "application/protobuf".into()),
    ];
    let optional = [("ce_subject", subject), ("traceparent", event.traceparent)];
    let mut headers = Vec::with_capacity(always.len() + optional.len());
    headers.extend(always);
    headers.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned().into()))));
    headers
}

/// A request's `traceparent`, when it has the form that W3C Trace Context version 00 gives it, and is valid by it: version `ff`
/// and ids of zeros alone are not.
pub fn traceparent(value: &str) -> Option<&str> {
    let is_hex =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|byte| byte != b'0');
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace_id, parent_id, flags] = parts.as_slice() else { return None };
    let is_valid =
        is_hex(version, 2) && *version != "ff" && is_id(trace_id, 32) && is_id(parent_id, 16) && is_hex(flags, 2);
    is_valid.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_every_attribute_once_and_no_empty_one() {
        let event = CloudEvent {
            id: "00ff",
            source: "sg-main",
            message: "paybridge.event.v1.UnrecognizedWebhook",
            subject: "",
            time: "2024-05-27T02:03:00.5Z".parse().unwrap(),
            traceparent: None,
        };
        let headers = headers(&event);
        let pairs: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        assert_eq!(
            pairs,
            [
                ("ce_specversion", "1.0"),
                ("ce_id", "00ff"),
                ("ce_source", "/paybridge/sg-main"),
                ("ce_type", "paybridge.event.v1.UnrecognizedWebhook"),
                ("ce_time", "2024-05-27T02:03:00.5Z"),
                ("ce_dataschema", "urn:paybridge:proto:paybridge.event.v1.UnrecognizedWebhook"),
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
