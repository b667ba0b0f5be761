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
//! - the helm chart's `values.yaml`, in `values.schema.json` the list of providers and a case of `source`, `files/event-types.yaml`,
//!   and `templates/tests/webhook.yaml` where `received` is no event of it;
//! - of the tests `suite/support/bridge.rs`, `suite/cli/commands.rs`, and `benches/subject.rs`.
//!
//! A preset is its file, one line in the list below, `tests/fixtures/X/` with its key, and in the chart one line in
//! `values.schema.json` and `files/presets.yaml`, which a test of the chart writes.

pub mod declared;
pub mod event;
pub mod event_id;
pub mod json;
pub mod keys;
pub mod money;
mod rsa_trace;
#[cfg(test)]
pub mod tests;
pub mod webhook;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

pub use declared::Declared;
pub use event::{Content, Encoded, EventType, Identity, Normalized, Payload, Undecodable, Understood};
pub use event_id::EventId;
pub use keys::{KeyFileError, KeyFiles};
pub use smart_glocal::api::{CONFIRMATION_PROVIDER, SessionApi};
pub use webhook::{AuthenticWebhook, KeyId, Proof, RawWebhook, Rejected, Unverified};

use crate::settings::{Section, SectionError};

/// Declares each provider's module and lists what it exports as `PROVIDER`; and lists each preset of its folder.
macro_rules! providers {
    (own: [$($module:ident,)*], presets: [$($preset:literal,)*]) => {
        $(pub mod $module;)*
        /// Every sender that only a preset describes.
        pub static PRESETS: LazyLock<Vec<Declared>> = LazyLock::new(|| {
            vec![$(Declared::preset($preset, include_str!(concat!("provider/presets/", $preset, ".toml"))),)*]
        });
        /// Every provider that this version speaks to, the presets last.
        pub static PROVIDERS: LazyLock<Vec<&'static dyn Provider>> = LazyLock::new(|| {
            let own: &[&'static dyn Provider] = &[$(&$module::PROVIDER,)*];
            let presets = PRESETS.iter().map(|preset| -> &'static dyn Provider { preset });
            own.iter().copied().chain(presets).collect()
        });
    };
}

// One line a provider.
providers! {
    own: [
        adyen,
        smart_glocal,
        standard_webhooks,
        undostres,
        unipaas,
    ],
    presets: [
        "checkout-com",
        "coinbase-commerce",
        "dlocal",
        "flutterwave",
        "github",
        "gocardless",
        "klarna",
        "mercado-pago",
        "mollie",
        "paystack",
        "razorpay",
        "shopify",
        "slack",
        "square",
        "stripe",
        "worldpay",
        "xendit",
    ]
}

/// A payment provider: what is the same for all its sources.
pub trait Provider: Sync {
    /// Its name in configuration, topics and metadata: lower case with hyphens.
    fn name(&self) -> &'static str;

    /// Every event type it has, one topic each.
    fn event_types(&self) -> &'static [EventType];

    /// The request headers that authentication reads, in lower case; kept as evidence.
    fn evidence_headers(&self) -> &'static [&'static str];

    /// What a source named `source` is, as far as its settings alone tell.
    ///
    /// # Errors
    /// Which setting cannot be used, and why.
    fn outline(&self, _source: &str, _section: &Section) -> Result<SourceOutline, ConfigureError> {
        Ok(SourceOutline {
            topic_group: self.name().to_owned(),
            event_types: self.event_types().iter().collect(),
            partitions_max: None,
            evidence_headers: self.evidence_headers().iter().map(|name| HeaderName::from_static(name)).collect(),
            ack_timeout: None,
            success_answer: None,
            body_unsigned: false,
            keeps_query: false,
        })
    }

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

    /// How it sends a webhook again that was not answered well, where it tells that.
    fn retries(&self) -> Option<Retries> {
        None
    }

    /// Where the sessions of a source with these settings are confirmed or cancelled.
    fn api_address(&self, _section: &Section) -> ApiAddress {
        ApiAddress::None
    }
}

/// How a sender sends a webhook again that was not answered well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// For how long it tries, where that is known; zero: it never sends again by itself.
    pub horizon: Option<Duration>,
    /// The longest time between two deliveries, where that is known.
    pub gap: Option<Duration>,
    /// Where the sender says so.
    pub said_by: String,
    /// What else there is to know; may be empty.
    pub note: String,
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

/// What a source is, as far as its settings alone tell: no key is read for it.
#[derive(Clone, Debug, Default)]
pub struct SourceOutline {
    /// The part of its topics' names between the prefix and the event type.
    pub topic_group: String,
    /// Every event type that it can have, one topic each.
    pub event_types: Vec<&'static EventType>,
    /// How many partitions its topics have at most, unless the configuration gives a topic a number of its own.
    pub partitions_max: Option<i32>,
    /// The request headers that are kept as evidence: authentication or understanding reads them.
    pub evidence_headers: Vec<HeaderName>,
    /// How long its sender waits for the answer, where that is known to be short.
    pub ack_timeout: Option<Duration>,
    /// What its sender wants to be answered when all is well; none: what other senders are answered.
    pub success_answer: Option<Arc<SuccessAnswer>>,
    /// Whether somebody who has seen one webhook could send others: the signature, if there is one, does not cover the body.
    pub body_unsigned: bool,
    /// Whether the request's query is kept as evidence: authentication or understanding reads it. Others may have a secret in it.
    pub keeps_query: bool,
}

/// What one sender wants to be answered when all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccessAnswer {
    /// The status: 200 to 299.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
    /// What the body is.
    pub content_type: HeaderValue,
}

/// One configured source of webhooks: a provider's rules with this user's keys.
pub trait Source: Send + Sync {
    /// Checks what a webhook shows when it is received and never again: a password, which is no evidence and is kept nowhere.
    /// Comes before [`Self::authenticate`], which must do without it: a webhook is authenticated again, from its evidence, when it
    /// is released from quarantine.
    ///
    /// # Errors
    /// Why it is not believed.
    fn admits(&self, _webhook: &RawWebhook) -> Result<(), Unverified> {
        Ok(())
    }

    /// Proves where a webhook comes from, before anything in it is believed.
    /// Its `received_at` is the present.
    ///
    /// # Errors
    /// Why it is not believed.
    fn authenticate(&self, webhook: &RawWebhook) -> Result<Proof, Unverified>;

    /// Understands an authentic webhook of the source named `source` as far as it can be.
    fn normalize(&self, source: &str, webhook: &AuthenticWebhook) -> Understood;

    /// Whether a longer path than the source's own is one of its webhooks.
    fn takes_longer_paths(&self) -> bool {
        false
    }

    /// The keys it verifies with.
    fn key_ids(&self) -> Vec<KeyId>;

    /// How it proves webhooks, in words, where its settings decide that.
    fn describe(&self) -> Option<String> {
        None
    }

    /// What authentication sees of a webhook, a line for each step, without a secret or a right signature; nothing where the scheme
    /// has no steps that could be told.
    fn explain(&self, _webhook: &RawWebhook) -> Vec<String> {
        Vec::new()
    }

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
    /// The query to put behind that, without a question mark; may be empty.
    pub query: String,
    /// Headers to send.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

impl SignedWebhook {
    /// Where it goes, of a source that is found at `url`.
    pub fn address(&self, url: &str) -> String {
        let put = |mark: &str, text: &str| if text.is_empty() { String::new() } else { format!("{mark}{text}") };
        format!("{url}{}{}", put("/", &self.path_suffix), put("?", &self.query))
    }

    /// The same as it is received, for whoever wants to know what becomes of it.
    pub fn as_received(&self, received_at: Timestamp) -> RawWebhook {
        let header = |(name, value): &(&'static str, String)| {
            Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?))
        };
        RawWebhook {
            path_suffix: self.path_suffix.clone(),
            query: self.query.clone(),
            headers: self.headers.iter().filter_map(header).collect(),
            body: self.body.clone(),
            remote_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            received_at,
        }
    }
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
        key: Cow<'static, str>,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// The provider of this name; `custom` is the one that the user's configuration describes.
pub fn find(name: &str) -> Option<&'static dyn Provider> {
    let custom: &'static dyn Provider = &declared::CUSTOM;
    PROVIDERS.iter().copied().chain([custom]).find(|provider| provider.name() == name)
}
