//! The simulated providers: each sends every event type it has, and what providers also send: a second delivery, a body that
//! fits no contract, and what only looks like theirs. Must not know how a webhook is signed, nor when it is sent.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::commands::curl;
use super::setup::Setup;
use super::step_printer::StepPrinter;
use super::webhook_counts::{SentAs, WebhookCounts};
use super::webhook_sender::{Numbers, Posting, WebhookSender};
use crate::cli::sender::Answered;
use crate::kafka::topics;
use crate::provider::{EventType, SignedWebhook};

/// One simulated provider for each source.
pub struct Providers {
    sources: Vec<SimulatedProvider>,
    numbers: Arc<Numbers>,
}

struct SimulatedProvider {
    sender: WebhookSender,
    topics: Vec<(&'static EventType, String)>,
    example: SignedWebhook,
}

/// One webhook that a provider sends, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoDelivery {
    source: usize,
    what: Delivered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivered {
    /// A sample of the event type at this place.
    Sample(usize),
    /// The same webhook twice.
    Twice,
    /// One that was changed on its way.
    Changed,
    /// One that is authentic and fits no contract.
    Odd,
}

/// What providers also send, by turns.
const ODDITIES: [Delivered; 3] = [Delivered::Twice, Delivered::Changed, Delivered::Odd];

/// A webhook for people to send by hand.
pub struct Example {
    /// Its provider.
    pub provider: &'static str,
    /// The command line that sends it.
    pub command: String,
    /// What it was answered; none: nobody has sent it.
    pub answered: Option<Answered>,
}

impl Providers {
    /// A provider for each source of the setup.
    ///
    /// # Errors
    /// A key cannot sign.
    pub fn new(setup: &Setup, numbers: &Arc<Numbers>, printer: &StepPrinter) -> anyhow::Result<Self> {
        let prefix = setup.config.kafka.topic_prefix.as_ref();
        let mut sources = Vec::new();
        for source in &setup.config.sources {
            let sender = WebhookSender::new(setup, source, printer)?;
            let outline = &source.1.outline;
            let topic = |event_type| (event_type, topics::event_topic(prefix, &outline.topic_group, event_type));
            let topics: Vec<_> = outline.event_types.iter().copied().map(topic).collect();
            let Some((event_type, _)) = topics.first() else { continue };
            let example = sender.signer.sample(event_type, Timestamp::now(), numbers.example());
            sources.push(SimulatedProvider { sender, topics, example });
        }
        Ok(Self { sources, numbers: Arc::clone(numbers) })
    }

    /// Everything once, the sources by turns: first what is usual, then what is odd. The events of sessions that wait for a
    /// confirmation are others' to send.
    pub fn deliveries(&self) -> Vec<DemoDelivery> {
        let mut by_turns: Vec<(usize, DemoDelivery)> = Vec::new();
        for (source, simulated) in self.sources.iter().enumerate() {
            let of_sessions = |event: &EventType| {
                simulated.sender.asks() && topics::confirmation_events().iter().any(|(_, other)| *other == event)
            };
            let samples = simulated.topics.iter().enumerate().filter(|(_, (event, _))| !of_sessions(event));
            let samples = samples.map(|(place, _)| Delivered::Sample(place));
            let oddity = ODDITIES.iter().copied().cycle().nth(source);
            let all = samples.chain(oddity).enumerate();
            by_turns.extend(all.map(|(turn, what)| (turn, DemoDelivery { source, what })));
        }
        by_turns.sort_by_key(|(turn, _)| *turn);
        by_turns.into_iter().map(|(_, delivery)| delivery).collect()
    }

    /// Sends what a delivery has.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn deliver(&self, delivery: DemoDelivery, counts: &WebhookCounts) -> anyhow::Result<()> {
        let Some(source) = self.sources.get(delivery.source) else { return Ok(()) };
        let (now, number) = (Timestamp::now(), self.numbers.webhook());
        let (sender, place) = match delivery.what {
            Delivered::Sample(place) => (&source.sender, place),
            Delivered::Twice | Delivered::Changed | Delivered::Odd => (&source.sender, 0),
        };
        let Some((event_type, topic)) = source.topics.get(place) else { return Ok(()) };
        let posting = |act| Posting { subject: "", event: event_type.topic_part, act };
        let webhook = sender.signer.sample(event_type, now, number);
        match delivery.what {
            Delivered::Sample(_) => sender.post(&webhook, posting(SentAs::OnTopic(topic)), counts).await,
            Delivered::Twice => {
                sender.post(&webhook, posting(SentAs::OnTopic(topic)), counts).await?;
                sender.post(&webhook, posting(SentAs::Redelivery), counts).await
            }
            Delivered::Changed => {
                let changed = SignedWebhook { body: without_last_byte(&webhook.body), ..webhook };
                sender.post(&changed, posting(SentAs::Changed), counts).await
            }
            Delivered::Odd => {
                let odd = sender.signer.sign("", format!(r#"{{"number":{number}}}"#).into(), now, number);
                sender.post(&odd, Posting { event: "(no event)", ..posting(SentAs::Odd) }, counts).await
            }
        }
    }

    /// One webhook of each provider, which nobody has sent.
    pub fn examples(&self) -> Vec<Example> {
        self.sources.iter().map(|source| source.example(None)).collect()
    }

    /// Sends the examples, and gives them with their answers.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn sent_examples(&self) -> anyhow::Result<Vec<Example>> {
        let mut examples = Vec::new();
        for source in &self.sources {
            let answered = source.sender.poster.post(&source.example).await?;
            examples.push(source.example(Some(answered)));
        }
        Ok(examples)
    }
}

impl SimulatedProvider {
    fn example(&self, answered: Option<Answered>) -> Example {
        let command = curl(&self.sender.poster.address(&self.example), &self.example);
        Example { provider: self.sender.provider.name(), command, answered }
    }
}

impl DemoDelivery {
    /// Whether it is one of the odd ones.
    pub fn is_odd(self) -> bool {
        !matches!(self.what, Delivered::Sample(_))
    }
}

impl Providers {
    /// What to say before a delivery, where it is odd.
    pub fn remark(&self, delivery: DemoDelivery) -> Option<String> {
        let name = self.sources.get(delivery.source)?.sender.provider.name();
        Some(match delivery.what {
            Delivered::Sample(_) => return None,
            Delivered::Twice => {
                format!("{name} delivers a webhook twice: the second is a duplicate, and makes no record.")
            }
            Delivered::Changed => {
                format!("A webhook of {name} comes without its last byte: 401, and no event. A sample of it is kept.")
            }
            Delivered::Odd => {
                format!("A webhook of {name} is authentic, but fits no contract: it is kept on a topic of its own.")
            }
        })
    }
}

fn without_last_byte(body: &Bytes) -> Bytes {
    body.slice(..body.len().saturating_sub(1))
}
