//! The payment providers: for each, how its webhooks are authenticated and what they mean.
//! Pure: nothing below here does input or output, reads a clock, or knows HTTP servers, Kafka, metrics or logs.
//!
//! Adding a provider X. What must be written:
//! - `src/provider/X.rs`, and one line in the list below; its messages under `proto/`, and its `Scheme` and name in
//!   `event_metadata.proto`;
//! - `tests/fixtures/X/` with `source.toml`, its keys in `tests/fixtures/keys/`, its messages in `tests/fixtures/golden/`;
//! - `gives_identity` in `provider/tests/laws.rs`: which fields of a body are its event's identity.
//!
//! What names every provider, and wants one line more:
//! - `config/default.toml` and `config/local.toml`; `cli/demo/setup.rs`;
//! - README's table of providers, `docs/providers.md`, and keys and times in `docs/subscribing.md`;
//! - the helm chart's `values.yaml`, five lists in `values.schema.json`, `files/event-types.yaml`, `templates/tests/webhook.yaml`;
//! - of the tests `suite/support/bridge.rs`, `suite/cli/commands.rs`, `helm/test_configuration.py`, and `benches/subject.rs`.

pub mod event;
pub mod event_id;
pub mod json;
pub mod keys;
pub mod money;
mod rsa_trace;
#[cfg(test)]
pub mod tests;
pub mod webhook;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

pub use event::{Content, Encoded, EventType, Identity, Normalized, Payload, Undecodable};
pub use event_id::EventId;
pub use keys::{KeyFileError, KeyFiles};
pub use smart_glocal::api::{CONFIRMATION_PROVIDER, SessionApi};
pub use webhook::{AuthenticWebhook, KeyId, Proof, RawWebhook, Rejected, Unverified};

use crate::settings::{Section, SectionError};

/// Declares each provider's module and lists what it exports as `PROVIDER`.
macro_rules! providers {
    ($($module:ident,)*) => {
        $(pub mod $module;)*
        /// Every provider that this version speaks to.
        pub static PROVIDERS: &[&dyn Provider] = &[$(&$module::PROVIDER,)*];
    };
}

// One line a provider.
providers! {
    smart_glocal,
    standard_webhooks,
    undostres,
    unipaas,
}

/// A payment provider: what is the same for all its sources.
pub trait Provider: Sync {
    /// Its name in configuration, topics and metadata: lower case with hyphens.
    fn name(&self) -> &'static str;

    /// Every event type it has, one topic each.
    fn event_types(&self) -> &'static [EventType];

    /// The request headers that authentication reads, in lower case; kept as evidence.
    fn evidence_headers(&self) -> &'static [&'static str];

    /// Makes a source of its settings and key files.
    ///
    /// # Errors
    /// Which setting or key file cannot be used, and why.
    fn configure(&self, section: &Section, files: &dyn KeyFiles) -> Result<Box<dyn Source>, ConfigureError>;

    /// How sessions of such a source are confirmed or cancelled, where its settings say so; most providers have none to.
    ///
    /// # Errors
    /// Which setting or key file cannot be used, and why.
    fn session_api(&self, _section: &Section, _files: &dyn KeyFiles) -> Result<Option<SessionApi>, ConfigureError> {
        Ok(None)
    }

    /// Makes a sender of sample webhooks for such a source: for trying, staging and demonstration.
    /// `signing_key` is needed where the settings hold only the public half.
    ///
    /// # Errors
    /// Which setting or key file cannot be used, and why.
    fn sender(
        &self,
        section: &Section,
        files: &dyn KeyFiles,
        signing_key: Option<&Path>,
    ) -> Result<Box<dyn Sender>, ConfigureError>;

    /// The longest time between two deliveries of one webhook, where the provider tells it.
    fn retry_gap(&self) -> Option<Duration> {
        None
    }

    /// Where the sessions of a source with these settings are confirmed or cancelled.
    fn api_address(&self, _section: &Section) -> ApiAddress {
        ApiAddress::None
    }
}

/// Where sessions that wait for confirmation are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiAddress {
    /// Nowhere: the provider never asks.
    None,
    /// The provider asks, and the settings do not say where to answer.
    NotConfigured,
    /// The settings say where; whether they are right, [`Provider::configure`] tells.
    Configured,
}

/// One configured source of webhooks: a provider's rules with this user's keys.
pub trait Source: Send + Sync {
    /// Proves where a webhook comes from, before anything in it is believed.
    /// Its `received_at` is the present.
    ///
    /// # Errors
    /// Why it is not believed.
    fn authenticate(&self, webhook: &RawWebhook) -> Result<Proof, Unverified>;

    /// Understands an authentic webhook of the source named `source` as far as it can be.
    fn normalize(&self, source: &str, webhook: &AuthenticWebhook) -> Normalized;

    /// Whether a longer path than the source's own is one of its webhooks.
    fn takes_longer_paths(&self) -> bool {
        false
    }

    /// The keys it verifies with.
    fn key_ids(&self) -> Vec<KeyId>;

    /// What is likely wrong with a webhook that failed authentication, for people, where the scheme can tell. It proves
    /// nothing, and may take a millisecond.
    fn likely_cause(&self, _webhook: &RawWebhook) -> Option<&'static str> {
        None
    }
}

/// Sends what a provider would send.
pub trait Sender: Send + Sync {
    /// A correctly signed sample of `event_type` with current times; samples with different numbers are different events.
    fn sample(&self, event_type: &EventType, now: Timestamp, number: u64) -> SignedWebhook;

    /// Any body, signed or encrypted as the provider does it: what `sample` sends goes through here too.
    fn sign(&self, path_suffix: &str, body: Bytes, now: Timestamp, number: u64) -> SignedWebhook;
}

/// A webhook ready to be sent.
#[derive(Clone, Debug)]
pub struct SignedWebhook {
    /// What to put behind the source's path, without a leading slash; may be empty.
    pub path_suffix: String,
    /// Headers to send.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

/// Why a source cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// A key of the section is unknown, missing, or of the wrong type.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// A key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A setting's value cannot be used.
    #[error("{key}: {problem}")]
    Value {
        /// The key inside the source's section.
        key: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// The provider of this name.
pub fn find(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name() == name)
}
