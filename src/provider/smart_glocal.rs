//! Smart Glocal: webhooks signed with RSA over the exact body in `X-PARTNER-SIGN`, five types in two API versions.
//! Must not know HTTP servers, Kafka, or other providers.

pub mod api;
mod normalize;
mod sample;
mod signing;
mod unknown_amounts;

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::keys::{self, PublicKey};
use super::{
    ApiAddress, AuthenticWebhook, ConfigureError, EventType, KeyFiles, KeyId, Payload, Proof, Provider, RawWebhook,
    Retries, Sender, SessionApi, Source, Understood, Unverified,
};
use crate::message::event::v1::Scheme;
use crate::settings::Section;
use crate::settings::list::list;
use api::ApiSettings;
use signing::SIGNATURE_HEADER;

/// The provider.
pub static PROVIDER: SmartGlocal = SmartGlocal;

const fn event(topic_part: &'static str, message: &'static str) -> EventType {
    EventType { topic_part, message, payload: Payload::Typed }
}

/// As the configuration spells it.
const NAME: &str = "smart-glocal";

/// Its documentation: sent again at growing intervals of at most 15 minutes.
const RETRY_GAP: Duration = Duration::from_mins(15);
/// The same: then it gives up.
const RETRY_HORIZON: Duration = Duration::from_mins(30);

const READY_TO_CONFIRM: EventType = event("ready-to-confirm", "paybridge.smart_glocal.v1.ReadyToConfirm");
const ACTION_REQUIRED: EventType = event("action-required", "paybridge.smart_glocal.v1.ActionRequired");
const READY_TO_CAPTURE: EventType = event("ready-to-capture", "paybridge.smart_glocal.v1.ReadyToCapture");
const PAYMENT_FINISHED: EventType = event("payment-finished", "paybridge.smart_glocal.v1.PaymentFinished");
const PAYMENT_REFUNDED: EventType = event("payment-refunded", "paybridge.smart_glocal.v1.PaymentRefunded");

static EVENT_TYPES: [EventType; 5] =
    [READY_TO_CONFIRM, ACTION_REQUIRED, READY_TO_CAPTURE, PAYMENT_FINISHED, PAYMENT_REFUNDED];

/// Smart Glocal, as a provider.
pub struct SmartGlocal;

/// The keys of `[sources.NAME]` that are Smart Glocal's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SmartGlocalSettings {
    /// PEM files with the provider's public keys; each may hold several.
    #[serde(deserialize_with = "list")]
    public_key_files: Vec<PathBuf>,
    /// Where and how sessions are confirmed or cancelled.
    api: Option<ApiSettings>,
}

impl Provider for SmartGlocal {
    fn name(&self) -> &'static str {
        NAME
    }

    fn event_types(&self) -> &'static [EventType] {
        &EVENT_TYPES
    }

    fn evidence_headers(&self) -> &'static [&'static str] {
        &[SIGNATURE_HEADER]
    }

    fn configure(&self, section: &Section, files: &dyn KeyFiles) -> Result<Box<dyn Source>, ConfigureError> {
        let settings: SmartGlocalSettings = section.parse()?;
        if settings.public_key_files.is_empty() {
            return Err(ConfigureError::Value {
                key: "public_key_files".into(),
                problem: "is empty: name at least one PEM file with the provider's public key".to_owned(),
            });
        }
        // Its private key may be wrong as well, and that is better known at the start than at the first call.
        settings.api.map(|api| api.open(files)).transpose()?;
        let keys = keys::public_keys(files, &settings.public_key_files)?;
        Ok(Box::new(SmartGlocalSource { keys }))
    }

    fn session_api(&self, section: &Section, files: &dyn KeyFiles) -> Result<Option<SessionApi>, ConfigureError> {
        SessionApi::from_section(section, files)
    }

    fn sender(
        &self,
        _section: &Section,
        files: &dyn KeyFiles,
        signing_key: Option<&Path>,
    ) -> Result<Box<dyn Sender>, ConfigureError> {
        let Some(path) = signing_key else {
            return Err(ConfigureError::Value {
                key: "public_key_files".into(),
                problem: "only the public half is configured: give the private key with --signing-key FILE".to_owned(),
            });
        };
        Ok(Box::new(sample::SmartGlocalSender::new(keys::private_key(files, path)?)))
    }

    fn retries(&self) -> Option<Retries> {
        Some(Retries {
            horizon: Some(RETRY_HORIZON),
            gap: Some(RETRY_GAP),
            said_by: "its documentation of webhooks".to_owned(),
            note: String::new(),
        })
    }

    fn api_address(&self, section: &Section) -> ApiAddress {
        match section.parse::<Reach>() {
            Ok(Reach { api: None }) => ApiAddress::NotConfigured,
            Ok(Reach { api: Some(_) }) | Err(_) => ApiAddress::Configured,
        }
    }
}

/// The part of the settings that tells where calls go, whatever else is wrong in them.
#[derive(Deserialize)]
struct Reach {
    api: Option<serde::de::IgnoredAny>,
}

struct SmartGlocalSource {
    keys: Vec<PublicKey>,
}

impl Source for SmartGlocalSource {
    fn authenticate(&self, webhook: &RawWebhook) -> Result<Proof, Unverified> {
        let header = webhook.header(SIGNATURE_HEADER)?;
        let signature = STANDARD.decode(header).map_err(|_| Unverified::SignatureMalformed)?;
        let key = self.keys.iter().find(|key| key.verifies(&webhook.body, &signature));
        let key = key.ok_or(Unverified::SignatureMismatch)?;
        Ok(Proof {
            scheme: Scheme::RsaPkcs1Sha256,
            key_id: key.id.clone(),
            signature: header.to_owned(),
            plaintext: None,
            signed_parts: None,
        })
    }

    fn normalize(&self, source: &str, webhook: &AuthenticWebhook) -> Understood {
        Understood::Event(normalize::normalize(source, webhook.content()))
    }

    fn key_ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(|key| key.id.clone()).collect()
    }

    fn likely_cause(&self, webhook: &RawWebhook) -> Option<&'static str> {
        let signature = STANDARD.decode(webhook.header(SIGNATURE_HEADER).ok()?).ok()?;
        Some(if self.keys.iter().any(|key| key.made(&signature)) {
            "the key is right, but the body is not what was signed: something on the way changes it"
        } else {
            "no configured key made the signature: the provider may sign with a new key"
        })
    }
}
