//! The simulated providers: each sends every event type it has, and now and then what providers also send: a second
//! delivery, a body that fits no contract, and what only looks like theirs.
//! Must not know how a webhook is signed.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::stage::Stage;
use super::tally::{Act, Tally};
use crate::cli::sender::Poster;
use crate::config::files::FileReader;
use crate::kafka::topics;
use crate::provider::{self, EventType, Provider, Sender, SignedWebhook};

/// Slow enough to read along, fast enough to see everything in twenty seconds.
const SEND_EVERY: Duration = Duration::from_millis(200);

/// One simulated provider for each source.
pub struct Providers {
    sources: Vec<Simulated>,
}

struct Simulated {
    provider: &'static dyn Provider,
    sender: Box<dyn Sender>,
    poster: Poster,
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
    /// A provider for each source of the stage.
    ///
    /// # Errors
    /// A key cannot sign.
    pub fn new(stage: &Stage) -> anyhow::Result<Self> {
        let prefix = stage.config.kafka.topic_prefix.as_ref();
        let mut sources = Vec::new();
        for (name, settings) in &stage.config.sources {
            let provider = provider::find(&settings.provider).context("the provider is unknown")?;
            let signing_key = stage.signing_key(provider.name());
            let sender = provider.sender(&settings.section, &FileReader::new(), signing_key.as_deref())?;
            let poster = Poster::new(format!("http://{}{}", stage.config.ingress.listen, settings.path(name)))?;
            let topic = |event_type| (event_type, topics::event_topic(prefix, provider.name(), event_type));
            let topics = provider.event_types().iter().map(topic).collect();
            sources.push(Simulated { provider, sender, poster, topics });
        }
        Ok(Self { sources })
    }

    /// One webhook of each provider.
    pub fn examples(&self) -> Vec<Example> {
        let example = |source: &Simulated| {
            let (event_type, _) = source.topics.first()?;
            let webhook = source.sender.sample(event_type, Timestamp::now(), fresh_number());
            Some(Example { provider: source.provider.name(), url: source.poster.address(&webhook), webhook })
        };
        self.sources.iter().filter_map(example).collect()
    }

    /// Sends everything, round and round, until the time is over or somebody stops it. What is begun is finished.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn send_until(
        &self,
        until: Option<Instant>,
        stop: &CancellationToken,
        tally: &Tally,
    ) -> anyhow::Result<()> {
        let mut ticks = interval(SEND_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Each provider has its turn, and in its turn the next thing that it sends.
        for turn in 0.. {
            for source in &self.sources {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = stop.cancelled() => return Ok(()),
                }
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Ok(());
                }
                match source.topics.get(turn % (source.topics.len() + 1)) {
                    Some((event_type, topic)) => source.send(event_type, topic, tally).await?,
                    None => source.send_oddities(tally).await?,
                }
            }
        }
        Ok(())
    }
}

impl Simulated {
    async fn send(&self, event_type: &EventType, topic: &str, tally: &Tally) -> anyhow::Result<()> {
        let webhook = self.sender.sample(event_type, Timestamp::now(), fresh_number());
        self.post(&webhook, Act::OnTopic(topic), tally).await
    }

    /// What providers also send: a second delivery, a body that fits no contract, and what somebody else changed.
    async fn send_oddities(&self, tally: &Tally) -> anyhow::Result<()> {
        let Some((event_type, topic)) = self.topics.first() else { return Ok(()) };
        let (now, number) = (Timestamp::now(), fresh_number());
        let webhook = self.sender.sample(event_type, now, number);
        self.post(&webhook, Act::OnTopic(topic), tally).await?;
        self.post(&webhook, Act::Redelivery, tally).await?;
        let changed = SignedWebhook { body: without_last_byte(&webhook.body), ..webhook };
        self.post(&changed, Act::Changed, tally).await?;
        let odd = self.sender.sign("", format!(r#"{{"number":{number}}}"#).into(), now, fresh_number());
        self.post(&odd, Act::Odd, tally).await
    }

    async fn post(&self, webhook: &SignedWebhook, act: Act<'_>, tally: &Tally) -> anyhow::Result<()> {
        let answered = self.poster.post(webhook).await?;
        tally.answered(act, &answered);
        Ok(())
    }
}

fn without_last_byte(body: &Bytes) -> Bytes {
    body.slice(..body.len().saturating_sub(1))
}

/// Another number each time, also in another run: microseconds since 1970.
fn fresh_number() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default()
}
