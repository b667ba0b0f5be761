//! What a UNIPaaS webhook says: its kind by its path or else its shape, and then its fields, key and ids.
//! Must not know keys or signatures, or the fields of any kind.

use bytes::Bytes;
use jiff::Timestamp;

use super::kinds::{self, Body, Kind, Reading, Sameness};
use crate::provider::event_id::hour_of;
use crate::provider::json::{self, Reader, Unread};
use crate::provider::{Content, Encoded, EventId, EventIds, Normalized, RawWebhook, Undecodable};

/// Understands one authentic webhook of the source named `source`.
pub fn normalize(source: &str, webhook: &RawWebhook) -> Normalized {
    let path_suffix = webhook.path_suffix.as_str();
    let unread = Unread::default();
    let understood = match kinds::named(path_suffix) {
        Some(kind) => Understood::of_kind(kind, by_name(kind, &webhook.body, &unread)),
        None => by_shape(path_suffix, &webhook.body, &unread),
    };
    let event_type = understood.kind.map_or(path_suffix, |kind| kind.name);
    let sameness = understood.kind.map_or(Sameness::Always, |kind| kind.sameness);
    let subject = understood.subject.unwrap_or_default();
    Normalized {
        ids: ids(sameness, source, event_type, webhook),
        event_type: event_type.to_owned(),
        key: Some(subject.clone()).filter(|id| !id.is_empty()),
        subject,
        occurred_at: understood.occurred_at,
        unread_fields: unread.into_paths(),
        content: understood.content,
    }
}

struct Understood {
    kind: Option<&'static Kind>,
    subject: Option<String>,
    occurred_at: Option<Timestamp>,
    content: Content,
}

impl Understood {
    fn of_kind(kind: &'static Kind, reading: Result<Reading, Undecodable>) -> Self {
        match reading {
            Ok(Reading { subject, occurred_at, fields }) => {
                let encoded = Encoded { event_type: &kind.event_type, fields };
                Self { kind: Some(kind), subject, occurred_at, content: Content::Event(encoded) }
            }
            Err(undecodable) => Self { kind: Some(kind), ..Self::without_kind(Content::Undecodable(undecodable)) },
        }
    }

    fn without_kind(content: Content) -> Self {
        Self { kind: None, subject: None, occurred_at: None, content }
    }
}

fn by_name(kind: &'static Kind, body: &Bytes, unread: &Unread) -> Result<Reading, Undecodable> {
    match kind.body {
        Body::Typed { read, .. } => Ok(read(&Reader::new(&json::parse(body)?, unread))),
        Body::Untyped(encode) => {
            Ok(Reading { subject: Some(kind.name.to_owned()), occurred_at: None, fields: encode(body.clone()) })
        }
    }
}

/// A webhook that came without a name, or with one of later days. A body that is not a JSON object has no shape: with
/// a name it is of an unknown type, and without one nothing at all is known of it.
fn by_shape(path_suffix: &str, body: &[u8], unread: &Unread) -> Understood {
    match json::parse(body) {
        Ok(object) => match kinds::shaped(&object) {
            Some((kind, read)) => Understood::of_kind(kind, Ok(read(&Reader::new(&object, unread)))),
            None => Understood::without_kind(Content::Unrecognized),
        },
        Err(undecodable) if path_suffix.trim_matches('/').is_empty() => {
            Understood::without_kind(Content::Undecodable(undecodable))
        }
        Err(_) => Understood::without_kind(Content::Unrecognized),
    }
}

fn ids(sameness: Sameness, source: &str, event_type: &str, webhook: &RawWebhook) -> EventIds {
    match sameness {
        Sameness::Always => EventId::of_body(source, event_type, &webhook.body, &[]).into(),
        Sameness::WithinTheHour => {
            let hour = hour_of(webhook.received_at);
            let [id, hour_before] = EventId::of_body_in_hours(source, event_type, &webhook.body, [hour, hour - 1]);
            EventIds { id, hour_before: Some(hour_before) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::event::v1::QuarantineReason;
    use crate::provider::fixtures::raw;

    fn at(received_at: &str, path_suffix: &str, body: &str) -> EventIds {
        let webhook = RawWebhook { received_at: received_at.parse().unwrap(), ..raw(path_suffix, body.to_owned()) };
        normalize("s", &webhook).ids
    }

    #[test]
    fn a_body_without_a_time_is_one_event_within_the_hour() {
        const BODY: &str = r#"{"authorizationId":"a-1"}"#;
        for name in ["authorization/update", "ewallet/create", "onboarding/update"] {
            let first = at("2024-05-27T10:00:00Z", name, BODY);
            assert_eq!(at("2024-05-27T10:59:59.999Z", name, BODY), first, "{name}");
            let next = at("2024-05-27T11:00:00Z", name, BODY);
            assert_ne!(next.id, first.id, "{name}");
            assert_eq!(next.hour_before, Some(first.id), "{name}");
            let after_next = at("2024-05-27T12:00:00Z", name, BODY);
            assert!(after_next.id != first.id && after_next.hour_before != Some(first.id), "{name}");
        }
    }

    #[test]
    fn every_other_body_is_one_event_for_ever() {
        for name in kinds::KINDS.iter().filter(|kind| matches!(kind.sameness, Sameness::Always)).map(|kind| kind.name) {
            let first = at("2024-05-27T10:00:00Z", name, "{}");
            assert_eq!(first.hour_before, None, "{name}");
            assert_eq!(at("2025-01-01T00:00:00Z", name, "{}"), first, "{name}");
            assert_ne!(at("2024-05-27T10:00:00Z", name, r#"{"a":1}"#), first, "{name}");
        }
    }

    #[test]
    fn ids_stay_the_same_for_ever() {
        // l() { printf '\0\0\0\0\0\0\0\'$1; }
        // (l 1; printf s; l 24; printf authorization/update; l 31; printf '{"authorizationId":"a-1"}';
        //     l 10; printf '\0\0\0\0\0%b' '\x07\x46\xda') | sha256sum
        // 24, 31 and 10 are lengths in octal; 0x746da is the hours from 1970 to 2024-05-27T10:00:00Z.
        let hourly = at("2024-05-27T10:20:30Z", "authorization/update", r#"{"authorizationId":"a-1"}"#);
        assert_eq!(hourly.id.to_string(), "6f742615e6f89114e130f39528de8d74");
        // (l 1; printf s; l 15; printf payout/update; l 2; printf '{}') | sha256sum
        assert_eq!(
            at("2024-05-27T10:20:30Z", "payout/update", "{}").id.to_string(),
            "1f7b798073ad867b0638ed44471c2aea"
        );
    }

    #[test]
    fn the_spelling_of_a_name_and_its_absence_change_no_id() {
        const BODY: &str = r#"{"eWalletId":"1","transactionType":"Sale"}"#;
        let named = at("2024-05-27T10:20:30Z", "ewalletTransaction/create", BODY);
        for path_suffix in ["eWalletTransaction/Create", "ewallettransaction//create/", "", "later/name"] {
            assert_eq!(at("2024-05-27T10:20:30Z", path_suffix, BODY), named, "{path_suffix}");
        }
    }

    #[test]
    fn a_body_without_a_shape_is_of_an_unknown_type_or_undecodable() {
        let content = |path_suffix: &str, body: &'static str| normalize("s", &raw(path_suffix, body)).content;
        for (path_suffix, body) in [("later/name", "{}"), ("later/name", "not JSON"), ("later/name", "[]"), ("", "{}")]
        {
            assert!(matches!(content(path_suffix, body), Content::Unrecognized), "{path_suffix} {body}");
        }
        for (path_suffix, body, expect) in [
            ("", "not JSON", QuarantineReason::NotJson),
            ("/", "[]", QuarantineReason::WrongShape),
            ("", "", QuarantineReason::NotJson),
            ("payout/update", "", QuarantineReason::NotJson),
        ] {
            let Content::Undecodable(undecodable) = content(path_suffix, body) else { panic!("{path_suffix} {body}") };
            assert_eq!(undecodable.reason, expect, "{path_suffix} {body}");
        }
    }

    #[test]
    fn an_odd_field_holds_no_event_back_and_is_named() {
        for (path_suffix, body, expect) in [
            ("authorization/update", r#"{"amount":"dear"}"#, "amount"),
            ("", r#"{"authorizationStatus":[7]}"#, "authorizationStatus"),
            ("authorization/update", r#"{"paymentOption":{"cardAccount":4}}"#, "paymentOption.cardAccount"),
            ("onboarding/update", r#"{"acceptPayments":"yes"}"#, "acceptPayments"),
            ("payout/update", r#"{"updatedDate":"27/05/2024"}"#, "updatedDate"),
            ("ewallet/create", r#"{"id":{"a":1}}"#, "id"),
        ] {
            let normalized = normalize("s", &raw(path_suffix, body));
            assert!(matches!(normalized.content, Content::Event(_)), "{body}");
            assert_eq!(normalized.unread_fields, [expect], "{body}");
            assert!(normalized.key.is_none(), "{body}");
        }
    }

    #[test]
    fn an_untyped_body_is_never_undecodable() {
        for body in [&b""[..], b"not JSON", b"\xff\xfe", b"[1]", br#"{"id":1}"#] {
            let normalized = normalize("s", &raw("Transfer/Update", body));
            let Content::Event(encoded) = normalized.content else { panic!("{body:?}") };
            assert!(encoded.fields.ends_with(body), "{body:?}");
            assert_eq!(normalized.key.as_deref(), Some("transfer/update"));
        }
    }
}
