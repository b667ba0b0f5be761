//! Target `declared`: any configuration text, with a webhook for each source that it describes.
//!
//! An input is a configuration, a line `-----`, a digit for what is done, and a webhook: 0 takes it as it is, 1 signs it first,
//! 2 takes samples of the source in its stead.

use paybridge::config::Config;
use paybridge::provider::{AuthenticWebhook, RawWebhook};

use crate::fixtures::NOW;
use crate::subject::Subject;
use crate::{held, records, request};

/// What stands between the configuration and the webhook.
pub const SEPARATOR: &[u8] = b"\n-----\n";
/// Sources of one configuration that are tried: more of them tell no more.
const SOURCES_MAX: usize = 2;
/// Samples of one source that are tried.
const SAMPLES_MAX: usize = 3;
/// Number of the samples: the same each time.
const NUMBER: u64 = 7;

/// Checks one input.
pub fn check(input: &[u8]) {
    let (text, webhook) = request::split_once(input, SEPARATOR).unwrap_or((input, b""));
    let Ok(text) = std::str::from_utf8(text) else { return };
    let config = match Config::from_toml(&format!("bridge_instance = \"fuzz\"\n{text}"), []) {
        Ok(config) => config,
        Err(errors) => {
            assert!(!errors.problems().is_empty(), "a configuration is refused without a reason");
            let _told = errors.to_string();
            return;
        }
    };
    let (digit, webhook) = webhook.split_first().unwrap_or((&b'0', b""));
    let webhook = request::parse(webhook);
    for name in config.sources.keys().take(SOURCES_MAX) {
        let Some(subject) = Subject::of(&config, name) else { continue };
        match digit % 3 {
            0 => check_webhook(&subject, webhook.clone()),
            1 => check_signed(&subject, &webhook),
            _ => check_samples(&subject),
        }
    }
}

fn check_webhook(subject: &Subject, webhook: RawWebhook) {
    records::explain(&**subject.source, &webhook);
    match AuthenticWebhook::receive(&**subject.source, webhook) {
        Ok(webhook) => {
            records::check(subject, &webhook);
        }
        Err(rejected) => held::check_rejected(subject, &rejected.raw, rejected.reason),
    }
}

fn check_signed(subject: &Subject, webhook: &RawWebhook) {
    let Some(sender) = &subject.sender else { return };
    let signed = sender.sign(&webhook.path_suffix, webhook.body.clone(), NOW, NUMBER);
    check_webhook(subject, request::with_signature(webhook, &signed));
}

/// What is sent to try a source.
fn check_samples(subject: &Subject) {
    let Some(sender) = &subject.sender else { return };
    for event_type in subject.settings.outline.event_types.iter().take(SAMPLES_MAX) {
        let sample = sender.sample(event_type, NOW, NUMBER);
        check_webhook(subject, sample.as_received(NOW));
    }
}
