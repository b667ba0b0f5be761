//! The provider as a whole: settings, the password beside the signature, and what its outline says.
//! Must not know how a signature is made.

use http::header::AUTHORIZATION;

use super::*;
use crate::provider::tests::fixtures::{FixtureKeys, raw, section};

const BOTH: &str = "secret_files = ['adyen.key']\nbasic_auth_files = ['adyen-basic-auth.key']";

fn problem(toml: &str) -> String {
    PROVIDER.configure(&section(toml), &FixtureKeys).err().map(|error| error.to_string()).unwrap_or_default()
}

/// A sample as it arrives.
fn sample(settings: &str) -> RawWebhook {
    let sender = PROVIDER.sender(&section(settings), &FixtureKeys, None).unwrap();
    let signed = sender.sample(&event_codes::EVENT_TYPES[0], raw("", "").received_at, 1);
    let mut webhook = raw("", signed.body);
    for (name, value) in signed.headers {
        webhook.headers.insert(name, value.parse().unwrap());
    }
    webhook
}

#[test]
fn refuses_settings_without_a_usable_key() {
    assert!(problem("secret_files = []").starts_with("secret_files: is empty"));
    assert!(problem("").contains("secret_files"));
    assert!(problem("secret_files = ['none.key']").starts_with("none.key cannot be read"));
    assert!(problem("secret_files = ['unipaas.key']").contains("HMAC key in hex digits"));
    assert!(problem("secret_files = ['adyen.key']\nbasic_auth_files = ['adyen.key']").contains("user:password"));
    assert!(problem("secret_files = ['adyen.key']\nsecret_file = 'x'").contains("secret_file"));
    assert_eq!(problem(BOTH), "");
}

#[test]
fn a_password_is_asked_for_at_receipt_and_never_again() {
    let source = PROVIDER.configure(&section(BOTH), &FixtureKeys).unwrap();
    let receive = |webhook| AuthenticWebhook::receive(&*source, webhook).err().map(|rejected| rejected.reason);
    let whole = sample(BOTH);
    assert_eq!(receive(whole.clone()), None);
    let mut without = whole.clone();
    without.headers.remove(AUTHORIZATION);
    assert_eq!(receive(without.clone()), Some(Unverified::HeaderMissing));
    assert!(source.likely_cause(&without).unwrap().contains("no user and password"));
    let mut wrong = whole.clone();
    wrong.headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic YWR5ZW46dGhpcmQ="));
    assert_eq!(receive(wrong.clone()), Some(Unverified::SignatureMismatch));
    assert!(source.likely_cause(&wrong).unwrap().contains("basic_auth_files"));
    // The password alone proves nothing.
    let mut forged = whole;
    forged.body = String::from_utf8(forged.body.to_vec()).unwrap().replace("4995", "9995").into();
    assert_eq!(receive(forged), Some(Unverified::SignatureMismatch));
    // As from quarantine: what is kept has no password.
    assert!(AuthenticWebhook::authenticate(&*source, without).is_ok());
    assert!(!PROVIDER.evidence_headers().contains(&AUTHORIZATION.as_str()));
}

#[test]
fn a_source_without_passwords_asks_for_none() {
    let source = PROVIDER.configure(&section("secret_files = ['adyen.key']"), &FixtureKeys).unwrap();
    let webhook = sample("secret_files = ['adyen.key']");
    assert!(!webhook.headers.contains_key(AUTHORIZATION));
    assert!(AuthenticWebhook::receive(&*source, webhook).is_ok());
    assert!(!source.describe().unwrap().contains("basic"));
}

#[test]
fn no_line_for_people_has_a_secret() {
    let source = PROVIDER.configure(&section(BOTH), &FixtureKeys).unwrap();
    let lines = source.explain(&sample(BOTH)).join("\n") + &source.describe().unwrap();
    assert!(lines.contains("basic authentication: right") && lines.contains("right by key"), "{lines}");
    let secrets = [std::path::Path::new("adyen.key"), std::path::Path::new("adyen-basic-auth.key")];
    for secret in secrets.map(|path| crate::provider::keys::text(&FixtureKeys, path).unwrap()) {
        assert!(!lines.contains(secret.as_str()));
    }
    assert!(!lines.contains("YWR5ZW4"), "{lines}");
}

#[test]
fn answers_in_adyens_words_and_says_how_long_adyen_tries() {
    let outline = PROVIDER.outline("adyen", &section("secret_files = ['adyen.key']")).unwrap();
    let answer = outline.success_answer.unwrap();
    assert_eq!(
        (answer.status, &answer.body[..], answer.content_type.to_str().unwrap()),
        (StatusCode::OK, &b"[accepted]"[..], "text/plain; charset=utf-8")
    );
    assert!(!outline.body_unsigned && outline.evidence_headers.is_empty());
    assert_eq!(outline.event_types.len(), 7);
    let retries = PROVIDER.retries().unwrap();
    assert_eq!((retries.horizon.unwrap().as_secs(), retries.gap.unwrap().as_secs()), (2_592_000, 28_800));
}
