//! What a UNIPaaS webhook says: its kind by its path or else its shape, and then its fields, key and ids.
//! Must not know keys or signatures, or the fields of any kind.

use bytes::Bytes;
use jiff::Timestamp;

use super::body::UnipaasBody;
use super::kinds::{self, KnownBody, Sameness, WebhookKind};
use crate::message::event::v1::QuarantineReason;
use crate::provider::json::{self, Reader, Unread};
use crate::provider::{Content, Encoded, EventId, Identity, Normalized, RawWebhook, Undecodable};

/// Understands one authentic webhook of the source named `source`. Under the names of the kinds `exempt` any body is taken.
pub fn normalize(source: &str, webhook: &RawWebhook, exempt: &[&'static str]) -> Normalized {
    let path_suffix = webhook.path_suffix.as_str();
    let unread = Unread::default();
    let understood = match kinds::named(path_suffix) {
        Some(kind) => by_name(kind, &webhook.body, exempt.contains(&kind.name), &unread),
        None => by_shape(path_suffix, &webhook.body, &unread),
    };
    let subject = understood.subject.unwrap_or_default();
    Normalized {
        identity: identity(understood.kind, source, &webhook.body),
        event_type: understood.kind.map_or(path_suffix, |kind| kind.name).to_owned(),
        key: Some(subject.clone()).filter(|id| !id.is_empty()),
        subject,
        occurred_at: understood.occurred_at,
        unread_fields: unread.into_paths(),
        content: understood.content,
    }
}

struct ReadWebhook {
    /// The kind, where that is proven as far as it can be.
    kind: Option<&'static WebhookKind>,
    subject: Option<String>,
    occurred_at: Option<Timestamp>,
    content: Content,
}

impl ReadWebhook {
    fn of_kind(kind: &'static WebhookKind, reading: UnipaasBody) -> Self {
        let UnipaasBody { subject, occurred_at, fields } = reading;
        let encoded = Encoded { event_type: &kind.event_type, fields };
        Self { kind: Some(kind), subject, occurred_at, content: Content::Event(encoded) }
    }

    fn without_kind(content: Content) -> Self {
        Self { kind: None, subject: None, occurred_at: None, content }
    }
}

/// The path names the kind, and nobody signs the path: a body that has another kind's shape contradicts it.
fn by_name(kind: &'static WebhookKind, body: &Bytes, is_exempt: bool, unread: &Unread) -> ReadWebhook {
    let parsed = json::parse(body);
    let other =
        parsed.as_ref().ok().and_then(|document| kind.contradicted_by(document.object())).filter(|_| !is_exempt);
    match (&kind.body, parsed, other) {
        (_, _, Some(other)) => ReadWebhook::without_kind(Content::Undecodable(Undecodable {
            reason: QuarantineReason::NameContradictsBody,
            detail: format!("the path names {}, and the body has the shape of {}", kind.name, other.name),
        })),
        (KnownBody::Typed { read, .. }, Ok(document), None) => {
            ReadWebhook::of_kind(kind, read(&Reader::new(document.object(), unread)))
        }
        (KnownBody::Typed { .. }, Err(undecodable), None) => {
            ReadWebhook { kind: Some(kind), ..ReadWebhook::without_kind(Content::Undecodable(undecodable)) }
        }
        (KnownBody::Untyped(encode), _, None) => ReadWebhook::of_kind(
            kind,
            UnipaasBody { subject: Some(kind.name.to_owned()), occurred_at: None, fields: encode(body.clone()) },
        ),
    }
}

/// A webhook that came without a name, or with one of later days. A body that is not a JSON object has no shape: with
/// a name it is of an unknown type, and without one nothing at all is known of it.
fn by_shape(path_suffix: &str, body: &[u8], unread: &Unread) -> ReadWebhook {
    match json::parse(body) {
        Ok(document) => match kinds::shaped(document.object()) {
            Some((kind, read)) => ReadWebhook::of_kind(kind, read(&Reader::new(document.object(), unread))),
            None => ReadWebhook::without_kind(Content::Unrecognized),
        },
        Err(undecodable) if path_suffix.trim_matches('/').is_empty() => {
            ReadWebhook::without_kind(Content::Undecodable(undecodable))
        }
        Err(_) => ReadWebhook::without_kind(Content::Unrecognized),
    }
}

/// Where the kind is not known the path does not count either: an invented name would make a new event of an old body.
fn identity(kind: Option<&'static WebhookKind>, source: &str, body: &[u8]) -> Identity {
    let id = EventId::of_body(source, kind.map_or("", |kind| kind.name), body, &[]);
    match kind.map(|kind| kind.sameness) {
        Some(Sameness::Content) => Identity::Content(id),
        Some(Sameness::Event) | None => Identity::Event(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::tests::fixtures::raw;

    fn read(path_suffix: &str, body: &str) -> Normalized {
        normalize("s", &raw(path_suffix, body.to_owned()), &[])
    }

    #[test]
    fn a_body_without_a_time_of_its_own_is_known_by_its_content() {
        for kind in &kinds::KINDS {
            let recurs =
                ["authorization/update", "ewallet/create", "mandate/update", "onboarding/update"].contains(&kind.name);
            let identity = read(kind.name, "{}").identity;
            assert_eq!(matches!(identity, Identity::Content(_)), recurs, "{}", kind.name);
            assert_ne!(read(kind.name, r#"{"a":1}"#).identity, identity, "{}", kind.name);
        }
    }

    #[test]
    fn ids_stay_the_same_for_ever() {
        // l() { printf '\0\0\0\0\0\0\0\'$1; }; (l 1; printf s; l 17; printf payout/update; l 2; printf '{}') | sha256sum
        // 1, 17 and 2 are lengths in octal.
        let payout = read("payout/update", "{}").identity;
        assert_eq!(payout.of_webhook().to_string(), "1f7b798073ad867b0638ed44471c2aea");
    }

    /// One signed body, under every name there is and some that there are not.
    #[test]
    fn a_name_that_the_body_contradicts_makes_no_event_and_an_invented_one_no_second_id() {
        const PAYOUT: &str = r#"{"payoutId":"p","status":"sent","updatedDate":"2024-05-27T11:30:00Z"}"#;
        let payout = read("payout/update", PAYOUT);
        assert!(matches!(payout.content, Content::Event(_)));
        for kind in kinds::KINDS.iter().filter(|kind| kind.name != "payout/update") {
            let Content::Undecodable(why) = read(kind.name, PAYOUT).content else { panic!("{}", kind.name) };
            assert_eq!(why.reason, QuarantineReason::NameContradictsBody);
            assert!(why.detail.contains(kind.name) && why.detail.contains("payout/update"), "{}", why.detail);
            let exempt = normalize("s", &raw(kind.name, PAYOUT), &[kind.name]);
            assert!(matches!(exempt.content, Content::Event(_)), "{}", kind.name);
        }
        for name in ["", "later/name", "another/name"] {
            assert_eq!(read(name, PAYOUT).identity, payout.identity, "{name}");
            let unknown = read(name, r#"{"a":1}"#);
            assert!(matches!(unknown.content, Content::Unrecognized));
            assert_eq!(unknown.identity, read("", r#"{"a":1}"#).identity, "{name}");
        }
    }

    /// What every body may have accuses none.
    #[test]
    fn an_id_with_a_status_and_a_merchant_contradicts_no_name() {
        const COMMON: &str = r#"{"id":"1","status":"sent","merchantId":"m","vendorId":"v"}"#;
        for name in ["mandate/update", "subscription/create", "plan/update", "transfer/update", "paymentOption/update"]
        {
            assert!(matches!(read(name, COMMON).content, Content::Event(_)), "{name}");
        }
    }

    #[test]
    fn a_body_with_several_shapes_is_taken_under_each_of_their_names() {
        const BOTH: &str = r#"{"mandateReference":"m","id":"1","status":"active","merchantId":"p"}"#;
        for name in ["mandate/update", "ewallet/create"] {
            assert!(matches!(read(name, BOTH).content, Content::Event(_)), "{name}");
        }
    }

    #[test]
    fn the_spelling_of_a_name_and_its_absence_change_no_id() {
        const BODY: &str = r#"{"eWalletId":"1","transactionType":"Sale"}"#;
        let named = read("ewalletTransaction/create", BODY).identity;
        for path_suffix in ["eWalletTransaction/Create", "ewallettransaction//create/", "", "later/name"] {
            assert_eq!(read(path_suffix, BODY).identity, named, "{path_suffix}");
        }
    }

    #[test]
    fn a_body_without_a_shape_is_of_an_unknown_type_or_undecodable() {
        let content = |path_suffix: &str, body: &'static str| normalize("s", &raw(path_suffix, body), &[]).content;
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
            let normalized = normalize("s", &raw(path_suffix, body), &[]);
            assert!(matches!(normalized.content, Content::Event(_)), "{body}");
            assert_eq!(normalized.unread_fields, [expect], "{body}");
            assert!(normalized.key.is_none(), "{body}");
        }
    }

    #[test]
    fn an_untyped_body_is_never_undecodable() {
        for body in [&b""[..], b"not JSON", b"\xff\xfe", b"[1]", br#"{"id":1}"#] {
            let normalized = normalize("s", &raw("Transfer/Update", body), &[]);
            let Content::Event(encoded) = normalized.content else { panic!("{body:?}") };
            assert!(encoded.fields.ends_with(body), "{body:?}");
            assert_eq!(normalized.key.as_deref(), Some("transfer/update"));
        }
    }
}
