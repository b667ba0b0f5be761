//! What must hold for senders that are described by configuration.

mod authentication;
mod configuration;
mod presets;
mod round_trips;
mod understanding;

use http::{HeaderName, HeaderValue};

use super::CUSTOM;
use crate::provider::tests::fixtures::{Files, raw, section};
use crate::provider::{AuthenticWebhook, Provider, RawWebhook, Source, Understood};

/// Secrets of no value.
const KEYS: Files = Files(&[("first.key", "first secret"), ("second.key", "second secret"), ("hex.key", "00ff10")]);

/// A source of a custom sender, without its key files' line.
fn custom(toml: &str) -> Box<dyn Source> {
    CUSTOM.configure(&section(&format!("secret_files = ['first.key', 'second.key']\n{toml}")), &KEYS).unwrap()
}

/// A webhook with these headers.
fn webhook(body: &str, headers: &[(&str, &str)]) -> RawWebhook {
    let mut webhook = raw("", body.to_owned());
    for (name, value) in headers {
        webhook.headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    webhook
}

/// What a source makes of a webhook that is taken as authentic.
fn understood(source: &dyn Source, webhook: RawWebhook) -> Understood {
    source.normalize("test", &AuthenticWebhook::assumed(webhook))
}
