//! The simulated providers: each sends every event type it has, and now and then what providers also send: a second
//! delivery, a body that fits no contract, and what only looks like theirs.
//! Must not know how a webhook is signed.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::decision_writer::DecisionWriter;
use super::sessions::Sessions;
use super::setup::Setup;
use super::webhook_counts::{SentAs, WebhookCounts};
use super::webhook_sender::{WebhookSender, fresh_number};
use crate::kafka::topics;
use crate::provider::{EventType, SignedWebhook};

/// Slow enough to read along, fast enough to see everything in twenty seconds.
const SEND_EVERY: Duration = Duration::from_millis(200);

/// One simulated provider for each source.
pub struct Providers {
    sources: Vec<SimulatedProvider>,
}

struct SimulatedProvider {
    sender: WebhookSender,
    topics: Vec<(&'static EventType, String)>,
}

/// A webhook for people to send by hand.
pub struct Example {
    /// Its provider.
    pub provider: &'static str,
    /// Where to post it.
    pub url: String,
    /// The webhook.
    pub webhook: SignedWebhook,
}

impl Providers {
    /// A provider for each source of the setup.
    ///
    /// # Errors
    /// A key cannot sign.
    pub fn new(setup: &Setup) -> anyhow::Result<Self> {
        let prefix = setup.config.kafka.topic_prefix.as_ref();
        let mut sources = Vec::new();
        for (name, settings) in &setup.config.sources {
            let sender = WebhookSender::new(setup, name, settings)?;
            let provider = sender.provider;
            let topic = |event_type| (event_type, topics::event_topic(prefix, provider.name(), event_type));
            let topics = provider.event_types().iter().map(topic).collect();
            sources.push(SimulatedProvider { sender, topics });
        }
        Ok(Self { sources })
    }

    /// One webhook of each provider.
    pub fn examples(&self) -> Vec<Example> {
        let example = |source: &SimulatedProvider| {
            let (event_type, _) = source.topics.first()?;
            let WebhookSender { provider, signer, poster, .. } = &source.sender;
            let webhook = signer.sample(event_type, Timestamp::now(), fresh_number());
            Some(Example { provider: provider.name(), url: poster.address(&webhook), webhook })
        };
        self.sources.iter().filter_map(example).collect()
    }

    /// Sends everything, round and round, until the time is over or somebody stops it. What is begun is finished. With each
    /// round a session begins.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn send_until(
        &self,
        until: Option<Instant>,
        stop: &CancellationToken,
        counts: &WebhookCounts,
        (sessions, team): (&Sessions, &DecisionWriter),
    ) -> anyhow::Result<()> {
        let mut ticks = interval(SEND_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut goes_on = async || {
            tokio::select! {
                _ = ticks.tick() => until.is_none_or(|until| Instant::now() < until),
                () = stop.cancelled() => false,
            }
        };
        // Each provider has its turn, and in its turn the next thing that it sends.
        for turn in 0.. {
            if !goes_on().await {
                break;
            }
            sessions.ask(turn, team, counts).await?;
            for source in &self.sources {
                if !goes_on().await {
                    return Ok(());
                }
                source.take_turn(turn, counts).await?;
            }
        }
        Ok(())
    }
}

impl SimulatedProvider {
    async fn take_turn(&self, turn: usize, counts: &WebhookCounts) -> anyhow::Result<()> {
        match self.topics.get(turn % (self.topics.len() + 1)) {
            Some((event_type, topic)) => self.send(event_type, topic, counts).await,
            None => self.send_oddities(counts).await,
        }
    }

    async fn send(&self, event_type: &EventType, topic: &str, counts: &WebhookCounts) -> anyhow::Result<()> {
        let webhook = self.sender.signer.sample(event_type, Timestamp::now(), fresh_number());
        self.sender.post(&webhook, SentAs::OnTopic(topic), counts).await
    }

    /// What providers also send: a second delivery, a body that fits no contract, and what somebody else changed.
    async fn send_oddities(&self, counts: &WebhookCounts) -> anyhow::Result<()> {
        let Some((event_type, topic)) = self.topics.first() else { return Ok(()) };
        let (now, number, sender) = (Timestamp::now(), fresh_number(), &self.sender);
        let webhook = sender.signer.sample(event_type, now, number);
        sender.post(&webhook, SentAs::OnTopic(topic), counts).await?;
        sender.post(&webhook, SentAs::Redelivery, counts).await?;
        let changed = SignedWebhook { body: without_last_byte(&webhook.body), ..webhook };
        sender.post(&changed, SentAs::Changed, counts).await?;
        let odd = sender.signer.sign("", format!(r#"{{"number":{number}}}"#).into(), now, fresh_number());
        sender.post(&odd, SentAs::Odd, counts).await
    }
}

fn without_last_byte(body: &Bytes) -> Bytes {
    body.slice(..body.len().saturating_sub(1))
}
