//! Which webhooks of a described sender are believed.

use super::{custom, webhook};
use crate::provider::{RawWebhook, Source, Unverified};

const LISTED: &str = "[signature]\nalgorithm = 'hmac-sha256'\nfrom = 'header:x-signature'\n\
                      list = { separator = ',', assign = '=', pick = ['v1', 'v2'] }\nsigned = '{t}.{body}'\n\
                      [timestamp]\nfrom = 'list:t'\nformat = 'unix-s'";

// printf '1716805230.{"id":1}' | openssl dgst -sha256 -hmac 'first secret'
const RIGHT: &str = "2c9b57fc89f94dc235923471d108cf6908fb3f9dcd7f4675b7a7defc16d563cd";

#[track_caller]
fn check(source: &dyn Source, webhook: &RawWebhook, expect: Result<(), Unverified>) {
    assert_eq!(source.authenticate(webhook).map(|_| ()), expect, "{:?}", webhook.headers);
}

#[test]
fn a_list_has_one_time_and_any_right_signature_of_the_picked_entries() {
    let source = custom(LISTED);
    let wrong = "00".repeat(32);
    for (header, expect) in [
        (format!("t=1716805230,v1={RIGHT}"), Ok(())),
        (format!("t=1716805230, v1={RIGHT}"), Ok(())),
        (format!("t=1716805230,v2={RIGHT}"), Ok(())),
        (format!("t=1716805230,v1={wrong},v1={RIGHT},v0=x"), Ok(())),
        (format!("t=1716805230,v1=no hex,v1={RIGHT}"), Ok(())),
        (format!("t=1716805230,v1={}", RIGHT.to_uppercase()), Err(Unverified::SignatureMalformed)),
        (format!("t=1716805230,v1,v1={RIGHT}"), Err(Unverified::SignatureMalformed)),
        (format!("t=1716805230,v0={RIGHT}"), Err(Unverified::SignatureMalformed)),
        (format!("t=1716805230,v1={wrong}"), Err(Unverified::SignatureMismatch)),
        (format!("t=1716805231,v1={RIGHT}"), Err(Unverified::SignatureMismatch)),
        (format!("t=1716805230,t=1716805230,v1={RIGHT}"), Err(Unverified::SignatureMalformed)),
        (format!("v1={RIGHT}"), Err(Unverified::SignatureMalformed)),
        ("t=1716805230".to_owned(), Err(Unverified::SignatureMalformed)),
        (String::new(), Err(Unverified::SignatureMalformed)),
    ] {
        check(&*source, &webhook(r#"{"id":1}"#, &[("x-signature", &header)]), expect);
    }
    check(&*source, &webhook("{}", &[]), Err(Unverified::HeaderMissing));
    let header = format!("t=1716805230,v1={RIGHT}");
    let doubled = webhook(r#"{"id":1}"#, &[("x-signature", &header), ("x-signature", &header)]);
    check(&*source, &doubled, Err(Unverified::SignatureMalformed));
    let two_lines = [("x-signature", "t=1716805230"), ("x-signature", &*format!("v1={RIGHT}"))];
    check(&*source, &webhook(r#"{"id":1}"#, &two_lines), Ok(()));
}

#[test]
fn no_more_than_eight_signatures_are_tried() {
    let source = custom(LISTED);
    let wrong = format!("v1={},", "00".repeat(32));
    let header = |count| format!("t=1716805230,{}v1={RIGHT}", wrong.repeat(count));
    check(&*source, &webhook(r#"{"id":1}"#, &[("x-signature", &header(7))]), Ok(()));
    let ninth = webhook(r#"{"id":1}"#, &[("x-signature", &header(8))]);
    check(&*source, &ninth, Err(Unverified::SignatureMismatch));
}

#[test]
fn the_time_is_near_to_the_receipt_on_either_side() {
    let source = custom(LISTED);
    let header = format!("t=1716805230,v1={RIGHT}");
    for (seconds, expect) in [
        (0, Ok(())),
        (300, Ok(())),
        (-300, Ok(())),
        (301, Err(Unverified::TimestampOutsideTolerance)),
        (-301, Err(Unverified::TimestampOutsideTolerance)),
    ] {
        let mut webhook = webhook(r#"{"id":1}"#, &[("x-signature", &header)]);
        webhook.received_at += jiff::SignedDuration::from_secs(seconds);
        check(&*source, &webhook, expect);
    }
}

#[test]
fn a_token_is_the_secret_itself_and_is_not_kept() {
    let source = custom("[signature]\nalgorithm = 'token'\nfrom = 'header:authorization'\nprefix = 'Bearer '");
    for (header, expect) in [
        ("Bearer first secret", Ok(())),
        ("Bearer second secret", Ok(())),
        ("Bearer third secret", Err(Unverified::SignatureMismatch)),
        ("Bearer ", Err(Unverified::SignatureMalformed)),
        ("first secret", Err(Unverified::SignatureMalformed)),
    ] {
        let webhook = webhook("{}", &[("authorization", header)]);
        check(&*source, &webhook, expect);
        if let Ok(proof) = source.authenticate(&webhook) {
            assert_eq!(proof.signature, "");
        }
    }
}

#[test]
fn explains_each_step_without_a_secret_or_a_right_signature() {
    let source = custom(LISTED);
    let wrong = "ab".repeat(32);
    let header = format!("t=1716800000,v1={wrong}");
    let told = source.explain(&webhook(r#"{"id":1}"#, &[("x-signature", &header)])).join("\n");
    for expected in [
        "keys that are tried: ",
        "signature: 1 found in header x-signature, of 32 bytes",
        "signed time: 2024-05-27T08:53:20Z, 5230 s before the time of receipt: too far (tolerance 300 s)",
        "signed text `{t}.{body}`: 19 bytes, SHA-256 ",
        ": no key gives this signature",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(!told.contains(RIGHT) && !told.contains("secret"), "{told}");
    let absent = source.explain(&webhook("{}", &[])).join("\n");
    assert!(absent.contains("looked for in header x-signature"), "{absent}");
}
