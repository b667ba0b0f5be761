//! What becomes of the items of a webhook: one event or several, which are the same, and what is held.
//! Must not know signatures.

use serde_json::{Value, json};

use super::*;
use crate::provider::event::HELD_MAX;
use crate::provider::tests::fixtures::{events, raw};

fn item(psp_reference: &str, more: &Value) -> Value {
    let mut item = json!({"pspReference": psp_reference, "eventCode": "CAPTURE", "success": "true"});
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item
}

fn read(items: &[Value]) -> Understood {
    let body = json!({"notificationItems": items}).to_string();
    understand("s", &AuthenticWebhook::assumed(raw("", body)))
}

fn one(more: &Value) -> Normalized {
    events(read(&[item("P", more)])).remove(0)
}

#[test]
fn ids_stay_the_same_for_ever() {
    let event = one(&json!({"amount": {"value": 5, "currency": "EUR"}, "originalReference": "O"}));
    // l() { printf '\0\0\0\0\0\0\0\'$1; }
    // (l 1; printf s; l 1; printf P; l 1; printf O; l 0; l 0; l 1; printf 5; l 3; printf EUR; l 7; printf CAPTURE; l 4; printf true) | sha256sum
    assert_eq!(event.identity.of_webhook().to_string(), "9a4ecbbd815e9e5010aa8188748a179c");
}

#[test]
fn only_what_is_signed_makes_another_event() {
    let before = one(&json!({}));
    for more in [
        json!({"eventDate": "2024-05-27T12:05:17+02:00"}),
        json!({"reason": "x", "paymentMethod": "visa", "operations": ["CAPTURE"], "originalPsp": "Q"}),
        json!({"additionalData": {"hmacSignature": "another"}}),
        json!({"success": true, "amount": {}, "merchantReference": ""}),
    ] {
        let after = one(&more);
        assert_eq!(
            (after.identity, after.key, after.subject),
            (before.identity, before.key.clone(), before.subject.clone()),
            "{more}"
        );
    }
    for more in [
        json!({"success": "false"}),
        json!({"eventCode": "CAPTURE_FAILED"}),
        json!({"pspReference": "R"}),
        json!({"originalReference": "O"}),
        json!({"merchantAccountCode": "Other"}),
        json!({"merchantReference": "m"}),
        json!({"amount": {"value": 0}}),
        json!({"amount": {"currency": "EUR"}}),
    ] {
        assert_ne!(one(&more).identity, before.identity, "{more}");
    }
}

#[test]
fn the_key_is_the_payment() {
    let event = one(&json!({"originalReference": "O"}));
    assert_eq!((event.key.as_deref(), event.subject.as_str()), (Some("O"), "P"));
    assert_eq!(one(&json!({"originalReference": ""})).key.as_deref(), Some("P"));
}

#[test]
fn one_item_is_an_event_and_several_are_a_batch() {
    assert!(matches!(read(&[item("P", &json!({}))]), Understood::Event(_)));
    let Understood::Batch(two) = read(&[item("P", &json!({})), item("Q", &json!({"reason": {}}))]) else { panic!() };
    let subjects: Vec<&str> = two.iter().map(|event| event.subject.as_str()).collect();
    assert_eq!(subjects, ["P", "Q"]);
    assert_eq!(two[0].unread_fields, [""; 0]);
    assert_eq!(two[1].unread_fields, ["notificationItems[1].reason"]);
}

#[test]
fn what_cannot_be_read_is_held_alone_and_many_of_them_together() {
    let bad = || json!({"pspReference": "P", "success": "true"});
    let Understood::Batch(events) = read(&[item("P", &json!({})), bad()]) else { panic!() };
    let kinds: Vec<bool> = events.iter().map(|event| matches!(event.content, Content::Event(_))).collect();
    assert_eq!(kinds, [true, false]);
    let mut many = vec![bad(); HELD_MAX + 1];
    many.push(item("P", &json!({})));
    let Understood::Batch(events) = read(&many) else { panic!() };
    assert_eq!(events.len(), 2);
    let Content::Undecodable(why) = &events[1].content else { panic!() };
    assert!(why.detail.starts_with("17 events"), "{}", why.detail);
    assert!(matches!(read(&vec![item("P", &json!({})); EVENTS_MAX]), Understood::Batch(_)));
    let Understood::Event(whole) = read(&vec![item("P", &json!({})); EVENTS_MAX + 1]) else { panic!() };
    assert!(matches!(whole.content, Content::Undecodable(_)));
}

#[test]
fn amounts_have_the_decimals_that_adyen_counts() {
    for (currency, expect) in [
        ("EUR", Some(2)),
        ("JPY", Some(0)),
        ("KWD", Some(3)),
        ("ISK", Some(2)),
        ("CLP", Some(2)),
        ("IDR", Some(0)),
        ("cve", Some(0)),
        ("CNH", Some(2)),
        ("ZZZ", None),
    ] {
        let body = json!({"amount": {"value": 1234, "currency": currency}}).to_string();
        let (document, unread) = (json::parse(body.as_bytes()).unwrap(), Unread::default());
        let money = Reader::new(document.object(), &unread).object("amount", amount).flatten().unwrap();
        assert_eq!((money.minor_units, money.exponent), (1234, expect), "{currency}");
        assert_eq!(money.currency.unwrap(), currency.to_uppercase());
    }
}
