//! What is understood of a described sender's webhooks.

use jiff::Timestamp;

use super::{CUSTOM, KEYS, custom, understood, webhook};
use crate::message::event::v1::QuarantineReason;
use crate::message::webhook::v1::WebhookReceived;
use crate::provider::tests::fixtures::section;
use crate::provider::{AuthenticWebhook, Content, Identity, Normalized, Provider, Source, Understood};

const SIGNATURE: &str = "[signature]\nalgorithm = 'hmac-sha256'\nfrom = 'header:x-signature'\nsigned = '{body}'\n";
const EVENT: &str = "[event]\nid = 'pointer:/id'\ntype = 'pointer:/type'\nkey = ['pointer:/payment', 'pointer:/id']\n\
                     occurred_at = { from = 'pointer:/at', format = 'unix-s' }\n";
const TOPICS: &str = "[topics]\n'payment.*' = 'payment'\n";

fn source(more: &str) -> Box<dyn Source> {
    custom(&format!("{SIGNATURE}{EVENT}{more}{TOPICS}"))
}

fn one(source: &dyn Source, body: &str) -> Normalized {
    understood(source, webhook(body, &[])).event().unwrap()
}

fn message(event: &Normalized) -> (&'static str, WebhookReceived) {
    let Content::Event(encoded) = &event.content else { panic!("no event") };
    (encoded.event_type.topic_part, prost::Message::decode(encoded.fields.as_slice()).unwrap())
}

#[test]
fn an_event_has_what_the_plan_reads() {
    let event = one(&*source(""), r#"{"id":"e1","type":"payment.paid","payment":7,"at":1716804000}"#);
    let (topic, message) = message(&event);
    assert_eq!(
        (topic, message.id.as_deref(), message.r#type.as_deref()),
        ("payment", Some("e1"), Some("payment.paid"))
    );
    assert_eq!((event.key.as_deref(), event.subject.as_str()), (Some("7"), "7"));
    assert_eq!(event.occurred_at.unwrap().to_string(), "2024-05-27T10:00:00Z");
}

#[test]
fn what_cannot_be_read_is_absent_and_the_event_goes_to_received() {
    for body in ["", "no JSON", "[]", "7", r#"{"id":{},"type":[],"payment":null,"at":"later"}"#, "\u{feff}{}"] {
        let event = one(&*source(""), body);
        let (topic, message) = message(&event);
        assert_eq!((topic, message.id, event.key, event.occurred_at), ("received", None, None, None), "{body}");
        assert_eq!(message.payload, body.as_bytes());
    }
}

#[test]
fn a_body_without_what_is_required_is_unrecognized() {
    let source = source("require = { 'pointer:/livemode' = true }\n");
    assert!(matches!(one(&*source, r#"{"id":"e","livemode":false}"#).content, Content::Unrecognized));
    assert!(matches!(one(&*source, r#"{"id":"e"}"#).content, Content::Unrecognized));
    assert!(matches!(one(&*source, r#"{"id":"e","livemode":true}"#).content, Content::Event(_)));
}

#[test]
fn the_identity_goes_by_what_is_signed() {
    let id = |source: &dyn Source, body: &str, headers: &[(&str, &str)]| {
        understood(source, webhook(body, headers)).event().unwrap().identity
    };
    let by_body = custom(&format!("{SIGNATURE}[event]\nid = 'header:x-id'\ntype = 'header:x-type'"));
    let plain = id(&*by_body, "{}", &[]);
    assert_eq!(plain, id(&*by_body, "{}", &[("x-id", "1"), ("x-type", "refund")]));
    assert_ne!(plain, id(&*by_body, "{ }", &[]));
    let by_id = source("identity = 'id'\n");
    assert_eq!(id(&*by_id, r#"{"id":"e","n":1}"#, &[]), id(&*by_id, r#"{"id":"e","n":2}"#, &[]));
    assert_ne!(id(&*by_id, r#"{"n":1}"#, &[]), id(&*by_id, r#"{"n":2}"#, &[]));
    let latest = source("identity = 'latest'\n");
    assert!(matches!(id(&*latest, "{}", &[]), Identity::ContentOfKey(_)));
    // Of states the type tells which one it is: two events of equal bodies must not have one id.
    let unsigned_type = custom(&format!("{SIGNATURE}[event]\ntype = 'header:x-type'\nidentity = 'latest'"));
    let of_type = |kind| id(&*unsigned_type, "{}", &[("x-type", kind)]);
    assert_ne!(of_type("paid"), of_type("refunded"));
    // What is signed beside the body tells two webhooks of equal bodies apart.
    let signed_id = custom(&format!(
        "{}[event]\nid = 'header:x-id'\nkey = 'query:order'",
        SIGNATURE.replace("{body}", "{header:x-id}.{body}")
    ));
    assert_ne!(id(&*signed_id, "{}", &[("x-id", "1")]), id(&*signed_id, "{}", &[("x-id", "2")]));
    assert_eq!(id(&*signed_id, "{}", &[("x-id", "1")]), id(&*signed_id, "{}", &[("x-id", "1"), ("x-other", "2")]));
}

#[test]
fn each_element_of_a_batch_is_an_event_with_its_own_bytes() {
    let source = source("each = 'pointer:/events'\n");
    let body = r#"{"events": [ {"id":"a","type":"payment.x"} , {"id" : "b"}, 7 ],"meta":{}}"#;
    let Understood::Batch(events) = understood(&*source, webhook(body, &[])) else { panic!() };
    let [first, second, third] = events.as_slice() else { panic!() };
    assert_eq!(message(first).1.payload, r#"{"id":"a","type":"payment.x"}"#.as_bytes());
    assert_eq!(message(second).1.payload, r#"{"id" : "b"}"#.as_bytes());
    assert_eq!((message(first).0, message(second).0), ("payment", "received"));
    assert!(matches!(&third.content, Content::Undecodable(why) if why.reason == QuarantineReason::WrongShape));
    assert_ne!(first.identity, second.identity);
}

#[test]
fn a_batch_is_never_nothing_and_never_too_much() {
    let source = source("each = 'pointer:/events'\n");
    let whole = |body: &str| understood(&*source, webhook(body, &[])).event().unwrap().content;
    assert!(matches!(whole(r#"{"events":[]}"#), Content::Unrecognized));
    for body in ["{}", r#"{"events":{}}"#, "x"] {
        assert!(matches!(whole(body), Content::Undecodable(_)), "{body}");
    }
    let many = |count: usize, element: &str| format!(r#"{{"events":[{}]}}"#, vec![element; count].join(","));
    assert!(matches!(whole(&many(10_001, "{}")), Content::Undecodable(_)));
    let Understood::Batch(events) = understood(&*source, webhook(&many(10_000, "{}"), &[])) else { panic!() };
    assert_eq!(events.len(), 10_000);
    // Seventeen that cannot be read are held together.
    let body = format!(r#"{{"events":[{{"id":"good"}},{}]}}"#, vec!["7"; 17].join(","));
    let Understood::Batch(events) = understood(&*source, webhook(&body, &[])) else { panic!() };
    assert_eq!(events.len(), 2);
    assert!(matches!(events[1].content, Content::Undecodable(_)));
}

#[test]
fn a_handshake_is_answered_and_is_no_event() {
    let answer = "[answer]\nhandshake = { when = 'pointer:/type=url_verification', echo = 'pointer:/challenge' }\n";
    let source = custom(&format!("{SIGNATURE}{answer}"));
    let answered = |body: &str| match understood(&*source, webhook(body, &[])) {
        Understood::Handshake(body) => String::from_utf8(body.to_vec()).unwrap(),
        Understood::Event(_) | Understood::Batch(_) => "an event".to_owned(),
    };
    let asks = r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#;
    assert_eq!(answered(asks), r#"{"challenge":"3eZbrw1a"}"#);
    assert_eq!(answered(r#"{"type":"url_verification"}"#), "an event");
    assert_eq!(answered(r#"{"type":"other","challenge":"x"}"#), "an event");
    let long = format!(r#"{{"type":"url_verification","challenge":"{}"}}"#, "x".repeat(1025));
    assert_eq!(answered(&long), "an event");
}

/// By the key that verified the webhook: while a secret is changed, the sender expects that one's.
#[test]
fn a_handshakes_mac_is_by_the_key_that_verified_it() {
    let settings = |files: &str| {
        section(&format!(
            "secret_files = {files}\n{SIGNATURE}[answer]\n\
             handshake = {{ when = 'pointer:/type=url_verification', echo = 'pointer:/challenge', hmac_as = 'encrypted' }}"
        ))
    };
    let first = CUSTOM.sender(&settings("['first.key']"), &KEYS, None).unwrap();
    let asks = r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#;
    let signed = first.sign("", asks.into(), Timestamp::now(), 1);
    // printf 3eZbrw1a | openssl dgst -sha256 -hmac 'first secret'
    let mac = "21e3a1f42dffc34d2880346aeb11087d7ff5091d42bcbf5da834cd373a33a67a";
    for files in ["['first.key', 'second.key']", "['second.key', 'first.key']"] {
        let source = CUSTOM.configure(&settings(files), &KEYS).unwrap();
        let headers: Vec<(&str, &str)> = signed.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let authentic = AuthenticWebhook::authenticate(&*source, webhook(asks, &headers)).ok().unwrap();
        let Understood::Handshake(body) = source.normalize("test", &authentic) else { panic!("{files}: no handshake") };
        assert_eq!(body, format!(r#"{{"challenge":"3eZbrw1a","encrypted":"{mac}"}}"#), "{files}");
    }
}
