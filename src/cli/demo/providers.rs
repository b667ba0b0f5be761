//! The simulated providers: each sends every event type it has, and now and then what providers also send: a second
//! delivery, a body that fits no contract, and what only looks like theirs.
//! Must not know how a webhook is signed.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::sessions::Sessions;
use super::stage::Stage;
use super::tally::{Act, Tally};
use super::team::Team;
use crate::cli::sender::Poster;
use crate::config::files::FileReader;
use crate::config::{SourceConfig, SourceName};
use crate::kafka::topics;
use crate::provider::{self, ApiAddress, EventType, Provider, Sender, SignedWebhook};

/// Slow enough to read along, fast enough to see everything in twenty seconds.
const SEND_EVERY: Duration = Duration::from_millis(200);

/// One simulated provider for each source.
pub struct Providers {
    sources: Vec<Simulated>,
}

struct Simulated {
    counterpart: Counterpart,
    topics: Vec<(&'static EventType, String)>,
}

/// Whoever sends to one source of the bridge.
pub struct Counterpart {
    /// The source's name.
    pub source: String,
    /// What it is.
    pub provider: &'static dyn Provider,
    /// Signs as it does.
    pub sender: Box<dyn Sender>,
    poster: Poster,
    api_address: ApiAddress,
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
    /// A provider for each source of the stage.
    ///
    /// # Errors
    /// A key cannot sign.
    pub fn new(stage: &Stage) -> anyhow::Result<Self> {
        let prefix = stage.config.kafka.topic_prefix.as_ref();
        let mut sources = Vec::new();
        for (name, settings) in &stage.config.sources {
            let counterpart = Counterpart::new(stage, name, settings)?;
            let provider = counterpart.provider;
            let topic = |event_type| (event_type, topics::event_topic(prefix, provider.name(), event_type));
            let topics = provider.event_types().iter().map(topic).collect();
            sources.push(Simulated { counterpart, topics });
        }
        Ok(Self { sources })
    }

    /// One webhook of each provider.
    pub fn examples(&self) -> Vec<Example> {
        let example = |source: &Simulated| {
            let (event_type, _) = source.topics.first()?;
            let Counterpart { provider, sender, poster, .. } = &source.counterpart;
            let webhook = sender.sample(event_type, Timestamp::now(), fresh_number());
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
        tally: &Tally,
        (sessions, team): (&Sessions, &Team),
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
            sessions.ask(turn, team, tally).await?;
            for source in &self.sources {
                if !goes_on().await {
                    return Ok(());
                }
                source.take_turn(turn, tally).await?;
            }
        }
        Ok(())
    }
}

impl Counterpart {
    /// Whoever sends to this source of the stage.
    ///
    /// # Errors
    /// A key cannot sign.
    pub fn new(stage: &Stage, name: &SourceName, settings: &SourceConfig) -> anyhow::Result<Self> {
        let provider = provider::find(&settings.provider).context("the provider is unknown")?;
        let signing_key = stage.signing_key(provider.name());
        let sender = provider.sender(&settings.section, &FileReader::new(), signing_key.as_deref())?;
        let poster = Poster::new(format!("http://{}{}", stage.config.ingress.listen, settings.path(name)))?;
        let api_address = provider.api_address(&settings.section);
        Ok(Self { source: name.to_string(), provider, sender, poster, api_address })
    }

    /// Whether it asks for the merchant's word.
    pub fn asks(&self) -> bool {
        self.api_address == ApiAddress::Configured
    }

    /// Posts one webhook and counts its answer.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn post(&self, webhook: &SignedWebhook, act: Act<'_>, tally: &Tally) -> anyhow::Result<()> {
        let answered = self.poster.post(webhook).await?;
        tally.answered(act, &answered);
        Ok(())
    }
}

impl Simulated {
    async fn take_turn(&self, turn: usize, tally: &Tally) -> anyhow::Result<()> {
        match self.topics.get(turn % (self.topics.len() + 1)) {
            Some((event_type, topic)) => self.send(event_type, topic, tally).await,
            None => self.send_oddities(tally).await,
        }
    }

    async fn send(&self, event_type: &EventType, topic: &str, tally: &Tally) -> anyhow::Result<()> {
        let webhook = self.counterpart.sender.sample(event_type, Timestamp::now(), fresh_number());
        self.counterpart.post(&webhook, Act::OnTopic(topic), tally).await
    }

    /// What providers also send: a second delivery, a body that fits no contract, and what somebody else changed.
    async fn send_oddities(&self, tally: &Tally) -> anyhow::Result<()> {
        let Some((event_type, topic)) = self.topics.first() else { return Ok(()) };
        let (now, number, counterpart) = (Timestamp::now(), fresh_number(), &self.counterpart);
        let webhook = counterpart.sender.sample(event_type, now, number);
        counterpart.post(&webhook, Act::OnTopic(topic), tally).await?;
        counterpart.post(&webhook, Act::Redelivery, tally).await?;
        let changed = SignedWebhook { body: without_last_byte(&webhook.body), ..webhook };
        counterpart.post(&changed, Act::Changed, tally).await?;
        let odd = counterpart.sender.sign("", format!(r#"{{"number":{number}}}"#).into(), now, fresh_number());
        counterpart.post(&odd, Act::Odd, tally).await
    }
}

fn without_last_byte(body: &Bytes) -> Bytes {
    body.slice(..body.len().saturating_sub(1))
}

/// Another number each time, also in another run: microseconds since 1970.
pub fn fresh_number() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default()
}
