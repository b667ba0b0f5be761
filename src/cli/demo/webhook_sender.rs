//! Whoever sends to one source of the bridge, as its provider does: signs webhooks, posts them, tells and counts the answers.
//! Must not know which webhooks are sent, nor when.

use std::sync::atomic::{AtomicU64, Ordering};

use anstyle::Style;
use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::cluster::DemoCluster;
use super::setup::Setup;
use super::step_printer::{Step, StepKind, StepPrinter};
use super::webhook_counts::{SentAs, WebhookCounts};
use crate::cli::line_style::{ATTENTION, BAD, GOOD, TOPIC_COLUMNS};
use crate::cli::sender::{Answered, Poster};
use crate::config::files::FileReader;
use crate::config::{SourceConfig, SourceName};
use crate::provider::{self, ApiAddress, Provider, Sender, SignedWebhook};

/// The round number of a new cluster: short, and no index.
const BASE: u64 = 200;
/// The round numbers on somebody's cluster: tenths of seconds, which come again after three years.
const BASES: u64 = 1_000_000_000;
/// In samples of some events amounts differ by turns of their numbers; a round one's is confirmed by a rule.
const ROUND: u64 = 10;
/// Sessions have numbers behind the base, and other webhooks so much further behind.
const WEBHOOKS_BEHIND: u64 = 100;
/// Columns of the letters before a number in an id, such as `paycard_`.
const LETTERS: usize = 8;

/// Numbers of sessions and other webhooks: each comes once, also in another run on the same cluster.
pub struct Numbers {
    base: u64,
    sessions: AtomicU64,
    webhooks: AtomicU64,
}

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
    printer: StepPrinter,
}

/// One webhook as its sender sees it.
#[derive(Clone, Copy)]
pub struct Posting<'a> {
    /// The session, where it is about one.
    pub subject: &'a str,
    /// The event, as its topic calls it.
    pub event: &'a str,
    /// What it is sent as.
    pub act: SentAs<'a>,
}

impl Numbers {
    /// Numbers for this cluster.
    pub fn of(cluster: &DemoCluster) -> Self {
        let base = match cluster {
            DemoCluster::Mock { .. } => BASE,
            DemoCluster::Real { .. } => {
                let tenths = u64::try_from(Timestamp::now().as_millisecond() / 100).unwrap_or_default();
                tenths % BASES / ROUND * ROUND
            }
        };
        Self { base, sessions: AtomicU64::new(base), webhooks: AtomicU64::new(base + WEBHOOKS_BEHIND) }
    }

    /// The examples' own.
    pub fn example(&self) -> u64 {
        self.base
    }

    /// One more session's.
    pub fn session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// One more webhook's.
    pub fn webhook(&self) -> u64 {
        self.webhooks.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Columns that an id with such a number takes.
    pub fn columns(&self) -> usize {
        LETTERS + self.base.to_string().len()
    }
}

impl WebhookSender {
    /// Whoever sends to this source of the setup.
    ///
    /// # Errors
    /// A key cannot sign.
    pub fn new(
        setup: &Setup,
        (name, settings): (&SourceName, &SourceConfig),
        printer: &StepPrinter,
    ) -> anyhow::Result<Self> {
        let provider = provider::find(&settings.provider).context("the provider is unknown")?;
        let signing_key = setup.signing_key(provider.name());
        let signer = provider.sender(&settings.section, &FileReader::new(), signing_key.as_deref())?;
        let poster = Poster::new(format!("http://{}{}", setup.config.ingress.listen, settings.path(name)))?;
        let api_address = provider.api_address(&settings.section);
        Ok(Self { source: name.to_string(), provider, signer, poster, api_address, printer: printer.clone() })
    }

    /// Whether it asks for the merchant's confirmation.
    pub fn asks(&self) -> bool {
        self.api_address == ApiAddress::Configured
    }

    /// Posts one webhook, tells its answer and counts it.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn post(
        &self,
        webhook: &SignedWebhook,
        posting: Posting<'_>,
        counts: &WebhookCounts,
    ) -> anyhow::Result<()> {
        let at = Instant::now();
        let answered = self.poster.post(webhook).await?;
        let what = format!("{} {}", self.provider.name(), posting.event);
        let (style, answer) = in_short(&answered);
        let text = format!("{what:<TOPIC_COLUMNS$}  {style}{answer}, {} ms{style:#}", at.elapsed().as_millis());
        self.printer.step(&Step { at, subject: posting.subject, kind: StepKind::Webhook, text }).await;
        counts.answered(posting.act, &answered);
        Ok(())
    }
}

/// An answer in a few words, in the colour of what it means for the provider.
fn in_short(answered: &Answered) -> (Style, String) {
    let body: Value = serde_json::from_str(&answered.body).unwrap_or_default();
    let status = body.get("status").and_then(Value::as_str).unwrap_or_default();
    let style = match (answered.status.as_u16(), status) {
        (200, "accepted") => GOOD,
        (200, _) => ATTENTION,
        _ => BAD,
    };
    (style, format!("{} {status}", answered.status.as_u16()).trim_end().to_owned())
}
