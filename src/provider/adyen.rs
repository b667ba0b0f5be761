//! Adyen's standard webhooks: items of a JSON body, each signed with an HMAC over eight of its fields, and the signature in the item.
//! Must not know HTTP servers, Kafka, or other providers. What Adyen signs of an item proves the event; the rest of it is told.
//! <https://docs.adyen.com/development-resources/webhooks/>

mod basic_auth;
mod event_codes;
mod items;
mod normalize;
mod sample;
mod signature;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;

use self::basic_auth::Credentials;
#[cfg(test)]
pub use self::items::SIGNED_NAMES;
use self::signature::HmacKey;
use super::{
    AuthenticWebhook, ConfigureError, EventType, KeyFiles, KeyId, Proof, Provider, RawWebhook, Retries, Sender, Source,
    SourceOutline, SuccessAnswer, Understood, Unverified,
};
use crate::settings::Section;
use crate::settings::list::list;

/// The provider.
pub static PROVIDER: Adyen = Adyen;

/// Adyen's word that a webhook was taken. By now any 2xx will do; before, only this body did.
const ACCEPTED: &str = "[accepted]";

/// 30 days, and at last every 8 hours.
const RETRY_HORIZON: Duration = Duration::from_hours(30 * 24);
const RETRY_GAP: Duration = Duration::from_hours(8);

/// Adyen, as a provider.
pub struct Adyen;

/// The keys of `[sources.NAME]` that are Adyen's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdyenSettings {
    /// Text files with the webhook's HMAC keys in hex, one each; several while the key is being changed.
    #[serde(deserialize_with = "list")]
    secret_files: Vec<PathBuf>,
    /// Text files with `user:password`, one each: then every webhook needs one of them too.
    #[serde(default, deserialize_with = "list")]
    basic_auth_files: Vec<PathBuf>,
}

impl Provider for Adyen {
    fn name(&self) -> &'static str {
        "adyen"
    }

    fn event_types(&self) -> &'static [EventType] {
        &event_codes::EVENT_TYPES
    }

    /// None: the signature stands in the body, and a password is no evidence.
    fn evidence_headers(&self) -> &'static [&'static str] {
        &[]
    }

    fn outline(&self, _source: &str, _section: &Section) -> Result<SourceOutline, ConfigureError> {
        let answer = SuccessAnswer {
            status: StatusCode::OK,
            body: Bytes::from_static(ACCEPTED.as_bytes()),
            content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
        };
        Ok(SourceOutline {
            topic_group: self.name().to_owned(),
            event_types: self.event_types().iter().collect(),
            success_answer: Some(Arc::new(answer)),
            // Not the whole body is signed, but which payment, which event and which amount: whoever has seen a webhook can send
            // the same event again, which is a duplicate, and no other one.
            body_unsigned: false,
            ..SourceOutline::default()
        })
    }

    fn configure(&self, section: &Section, files: &dyn KeyFiles) -> Result<Box<dyn Source>, ConfigureError> {
        let settings: AdyenSettings = section.parse()?;
        if settings.secret_files.is_empty() {
            return Err(no_secret());
        }
        let keys = settings.secret_files.iter().map(|path| HmacKey::from_file(files, path));
        let credentials = settings.basic_auth_files.iter().map(|path| Credentials::from_file(files, path));
        Ok(Box::new(AdyenSource {
            keys: keys.collect::<Result<_, _>>()?,
            credentials: credentials.collect::<Result<_, _>>()?,
        }))
    }

    fn sender(
        &self,
        section: &Section,
        files: &dyn KeyFiles,
        signing_key: Option<&Path>,
    ) -> Result<Box<dyn Sender>, ConfigureError> {
        let settings: AdyenSettings = section.parse()?;
        let first = settings.secret_files.first().map(PathBuf::as_path);
        let key = HmacKey::from_file(files, signing_key.or(first).ok_or_else(no_secret)?)?;
        let credentials = settings.basic_auth_files.first().map(|path| Credentials::from_file(files, path));
        Ok(Box::new(sample::AdyenSender { key, credentials: credentials.transpose()? }))
    }

    fn retries(&self) -> Option<Retries> {
        Some(Retries {
            horizon: Some(RETRY_HORIZON),
            gap: Some(RETRY_GAP),
            said_by: "https://docs.adyen.com/development-resources/webhooks/troubleshoot".to_owned(),
            note: "While one webhook fails, all later ones of the endpoint wait behind it.".to_owned(),
        })
    }
}

fn no_secret() -> ConfigureError {
    ConfigureError::Value {
        key: "secret_files".into(),
        problem: "is empty: name at least one file with the webhook's HMAC key".to_owned(),
    }
}

struct AdyenSource {
    keys: Vec<HmacKey>,
    credentials: Vec<Credentials>,
}

impl Source for AdyenSource {
    fn admits(&self, webhook: &RawWebhook) -> Result<(), Unverified> {
        basic_auth::check(&self.credentials, webhook)
    }

    fn authenticate(&self, webhook: &RawWebhook) -> Result<Proof, Unverified> {
        signature::authenticate(&self.keys, &webhook.body)
    }

    fn normalize(&self, source: &str, webhook: &AuthenticWebhook) -> Understood {
        normalize::understand(source, webhook)
    }

    fn key_ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(|key| key.id.clone()).collect()
    }

    fn describe(&self) -> Option<String> {
        let beside = if self.credentials.is_empty() { "" } else { "; HTTP basic authentication beside it" };
        let template = signature::template();
        Some(format!("HMAC-SHA256 over `{template}` of each item, base64, from additionalData.hmacSignature{beside}"))
    }

    fn explain(&self, webhook: &RawWebhook) -> Vec<String> {
        let admitted = match (self.credentials.as_slice(), self.admits(webhook)) {
            ([], _) => "not configured".to_owned(),
            (_, Ok(())) => "right".to_owned(),
            (_, Err(Unverified::SignatureMismatch)) => "the header Authorization has other credentials".to_owned(),
            (_, Err(reason)) => format!("looked for in the header Authorization: {reason}"),
        };
        let mut lines = vec![format!("basic authentication: {admitted}")];
        lines.extend(signature::explain(&self.keys, &webhook.body));
        lines
    }

    fn likely_cause(&self, webhook: &RawWebhook) -> Option<&'static str> {
        match self.admits(webhook) {
            Ok(()) => signature::likely_cause(&self.keys, &webhook.body),
            Err(Unverified::SignatureMismatch) => Some("its user and password are in none of basic_auth_files"),
            Err(_) => Some("it has no user and password, or not as HTTP basic authentication"),
        }
    }
}

#[cfg(test)]
mod tests;
