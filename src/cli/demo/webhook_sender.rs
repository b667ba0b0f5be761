//! Whoever sends to one source of the bridge, as its provider does: signs webhooks, posts them and counts the answers.
//! Must not know which webhooks are sent, nor when.

use anyhow::Context;
use jiff::Timestamp;

use super::setup::Setup;
use super::webhook_counts::{SentAs, WebhookCounts};
use crate::cli::sender::Poster;
use crate::config::files::FileReader;
use crate::config::{SourceConfig, SourceName};
use crate::provider::{self, ApiAddress, Provider, Sender, SignedWebhook};

/// Whoever sends to one source of the bridge.
pub struct WebhookSender {
    /// The source's name.
    pub source: String,
    /// What it is.
    pub provider: &'static dyn Provider,
    /// Signs as it does.
    pub signer: Box<dyn Sender>,
    /// Posts to its path.
    pub poster: Poster,
    api_address: ApiAddress,
}

impl WebhookSender {
    /// Whoever sends to this source of the setup.
    ///
    /// # Errors
    /// A key cannot sign.
    pub fn new(setup: &Setup, name: &SourceName, settings: &SourceConfig) -> anyhow::Result<Self> {
        let provider = provider::find(&settings.provider).context("the provider is unknown")?;
        let signing_key = setup.signing_key(provider.name());
        let signer = provider.sender(&settings.section, &FileReader::new(), signing_key.as_deref())?;
        let poster = Poster::new(format!("http://{}{}", setup.config.ingress.listen, settings.path(name)))?;
        let api_address = provider.api_address(&settings.section);
        Ok(Self { source: name.to_string(), provider, signer, poster, api_address })
    }

    /// Whether it asks for the merchant's confirmation.
    pub fn asks(&self) -> bool {
        self.api_address == ApiAddress::Configured
    }

    /// Posts one webhook and counts its answer.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn post(&self, webhook: &SignedWebhook, act: SentAs<'_>, counts: &WebhookCounts) -> anyhow::Result<()> {
        let answered = self.poster.post(webhook).await?;
        counts.answered(act, &answered);
        Ok(())
    }
}

/// Another number each time, also in another run: microseconds since 1970.
pub fn fresh_number() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default()
}
