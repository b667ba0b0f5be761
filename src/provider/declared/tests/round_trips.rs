//! What a plan signs it believes, for each algorithm and each place and form of a signature; and nothing else.

use std::path::Path;

use jiff::Timestamp;

use crate::provider::declared::CUSTOM;
use crate::provider::tests::fixtures::{FixtureKeys, section};
use crate::provider::{AuthenticWebhook, Provider, SignedWebhook, Source};

const SECRET: &str = "secret_files = ['stripe.key']";

/// A sample is believed; one byte of another body, and another sample's signature, are not.
#[track_caller]
fn check(keys: &str, signing_key: Option<&str>, signature: &str, more: &str) {
    let settings = section(&format!("{keys}\n[signature]\n{signature}\n{more}"));
    let source = CUSTOM.configure(&settings, &FixtureKeys).unwrap_or_else(|error| panic!("{signature}: {error}"));
    let sender = CUSTOM.sender(&settings, &FixtureKeys, signing_key.map(Path::new)).unwrap();
    let event_type = source_types(&settings)[0];
    let now = Timestamp::now();
    let (first, second) = (sender.sample(event_type, now, 1), sender.sample(event_type, now, 2));
    let believed = |webhook: &SignedWebhook| is_believed(&*source, webhook, now);
    assert!(believed(&first) && believed(&second), "{signature}\n{more}: {first:?}");
    if signature.contains("token") {
        return;
    }
    let exchanged = SignedWebhook { body: second.body.clone(), ..first.clone() };
    assert!(!believed(&exchanged), "{signature}: another body");
    let unsigned = SignedWebhook { headers: Vec::new(), query: String::new(), ..first };
    assert!(!believed(&unsigned), "{signature}: no signature");
}

fn source_types(settings: &crate::settings::Section) -> Vec<&'static crate::provider::EventType> {
    CUSTOM.outline("shop", settings).unwrap().event_types
}

fn is_believed(source: &dyn Source, webhook: &SignedWebhook, now: Timestamp) -> bool {
    AuthenticWebhook::authenticate(source, webhook.as_received(now)).is_ok()
}

#[test]
fn each_algorithm_verifies_what_it_signs() {
    let public = |file: &str| format!("public_key_files = ['{file}']");
    for (algorithm, keys, signing_key) in [
        ("hmac-sha256", SECRET.to_owned(), None),
        ("hmac-sha512", SECRET.to_owned(), None),
        ("token", SECRET.to_owned(), None),
        ("rsa-pkcs1-sha256", public("smart-glocal-public.pem"), Some("smart-glocal-private.pem")),
        ("rsa-pss-sha256", public("smart-glocal-public.pem"), Some("smart-glocal-private.pem")),
        ("ecdsa-p256-sha256", public("p256-public.pem"), Some("p256-private.pem")),
        ("ed25519", public("ed25519-public.pem"), Some("ed25519-private.pem")),
    ] {
        let signed = if algorithm == "token" { "" } else { "signed = '{body}'" };
        check(&keys, signing_key, &format!("algorithm = '{algorithm}'\nfrom = 'header:x-sig'\n{signed}"), "");
    }
}

#[test]
fn each_place_and_form_is_read_as_it_is_written() {
    let form = |line: &str| format!("algorithm = 'hmac-sha256'\nfrom = 'header:x-sig'\nsigned = '{{body}}'\n{line}");
    for line in [
        "encoding = 'hex-upper'",
        "encoding = 'base64'",
        "encoding = 'base64url'",
        "prefix = 'sha256='",
        "split = { separator = '/', take = -1 }",
        "split = { separator = '/', take = 1 }",
        "split = { separator = '/', take = -3 }",
        "list = { separator = ';', assign = '=', pick = ['a', 'b'] }",
    ] {
        check(SECRET, None, &form(line), "");
    }
    check(SECRET, None, &form("").replace("header:x-sig", "query:sig"), "");
}

#[test]
fn each_value_and_time_can_be_signed() {
    let signed = |template: &str| format!("algorithm = 'hmac-sha256'\nfrom = 'header:x-sig'\nsigned = '{template}'");
    let time = |from: &str, format: &str| format!("[timestamp]\nfrom = '{from}'\nformat = '{format}'");
    for format in ["unix-s", "unix-ms", "unix", "rfc3339"] {
        check(SECRET, None, &signed("{t}.{body}").replace('.', "|"), &time("header:x-time", format));
        check(SECRET, None, &signed("{body}"), &time("pointer:/at/time", format));
    }
    let listed = signed("{t}{body}") + "\nlist = { separator = ',', assign = '=', pick = 'v1' }";
    check(SECRET, None, &listed, &time("list:t", "unix-s"));
    for template in [
        "{header:x-id}|{body}",
        "{query:order}|{body}",
        "{query:order|lower}|{body}",
        "{text:/order/id}|{body}",
        "[id:{header:x-id};]{body}",
    ] {
        let template = template.replace(";]{body}", ";]|{body}");
        check(SECRET, None, &signed(&template), "");
    }
    let with_url = signed("{url}{body}") + "\nurl = 'https://bridge.example.com/x'";
    check(SECRET, None, &with_url, "");
}

/// A number in a pointer is no reason to fill the memory.
#[test]
fn a_sample_is_as_small_as_what_it_says() {
    let signature = "algorithm = 'hmac-sha256'\nfrom = 'header:x-sig'\nsigned = '{body}'";
    for pointer in ["/a/7/id", "/a/99999999999/id", "/18446744073709551615"] {
        check(SECRET, None, signature, &format!("[event]\nid = 'pointer:{pointer}'"));
    }
}
