//! Carries a release out: judges held records, publishes their events, and marks what Kafka has acknowledged.
//! Must not know where records come from, nor who looks on. Blocks: not for a tokio worker.
//!
//! There is no transaction: an open one on an event topic would hold up everybody who reads committed records. What is
//! killed between an event and its marker publishes the event again under the same id when it is run again.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use super::held::HeldRecord;
use super::judge::{HeldJudgement, Judge, ReleasableEvent};
use super::marker::{self, ReleaseAuthor, ReleasedEvents};
use super::verdict::Tally;
use crate::config::{ClientSide, Config};
use crate::kafka::broker_clock::Broker;
use crate::kafka::client;
use crate::kafka::publisher::{Delivery, DeliveryFailure, Otherwise, Publisher, PublisherSettings};
use crate::kafka::record::Record;
use crate::kafka::topics;
use crate::message::release::v1::ReleaseVerdict;
use crate::metrics::Metrics;

/// How long Kafka may take to acknowledge a record of a command's own producer.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(20);
/// What waits in that producer at most, in bytes.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a release cannot go on. What was acknowledged before is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Kafka did not take an event, or a marker.
    #[error("Kafka did not acknowledge a record: {0}")]
    NotAcknowledged(&'static str),
}

/// Whether anything is written.
#[derive(Clone)]
pub enum ReleaseMode {
    /// It is only said what would become of each record.
    DryRun,
    /// Events and markers are published.
    Publish(Arc<Publisher>),
}

/// Told of each record what became of it.
pub type OnVerdict<'a> = dyn FnMut(&HeldRecord, ReleaseVerdict, &str) + 'a;

/// A release on its way.
pub struct ReleaseRun<'j> {
    /// Says what would become of records.
    pub judge: &'j Judge,
    /// Whether anything is written.
    pub mode: ReleaseMode,
    /// What the topics' names begin with.
    pub prefix: String,
    /// Who releases, and why.
    pub author: ReleaseAuthor,
    /// What is not released again; grows.
    pub released: ReleasedEvents,
    /// What became of the records so far.
    pub tally: Tally,
}

/// A record that becomes an event.
struct Releasable<'h> {
    held: &'h HeldRecord,
    event: Box<ReleasableEvent>,
}

impl ReleaseRun<'_> {
    /// Carries out what is to be done with some records.
    ///
    /// # Errors
    /// Kafka does not take a record; those that it took are counted and marked.
    pub fn carry_out(&mut self, records: &[HeldRecord], each: &mut OnVerdict<'_>) -> Result<(), ReleaseError> {
        let now = Timestamp::now();
        let mut releasable = Vec::new();
        let judged =
            records.iter().flat_map(|held| self.judge.judge(held, now).into_iter().map(move |one| (held, one)));
        for (held, judgement) in judged.collect::<Vec<_>>() {
            match judgement {
                HeldJudgement::Stays(verdict, remark) => self.settle(held, verdict, &remark, each),
                HeldJudgement::Event(event) if !self.released.add(event.event_id) => {
                    self.settle(held, ReleaseVerdict::ReleasedBefore, "", each);
                }
                HeldJudgement::Event(event) => releasable.push(Releasable { held, event }),
            }
        }
        let published = match &self.mode {
            ReleaseMode::DryRun => PublishedEvents { done: releasable, too_large: Vec::new(), failed: None },
            ReleaseMode::Publish(publisher) => self.publish(publisher, releasable),
        };
        for Releasable { held, event } in &published.too_large {
            self.released.forget(event.event_id);
            self.settle(held, ReleaseVerdict::TooLarge, "", each);
        }
        for Releasable { held, event } in &published.done {
            let remark = match event.remark {
                None => event.topic.to_string(),
                Some(remark) => format!("{}, {}", event.topic, remark.as_str()),
            };
            self.settle(held, ReleaseVerdict::Released, &remark, each);
        }
        published.failed.map_or(Ok(()), |reason| Err(ReleaseError::NotAcknowledged(reason)))
    }

    fn settle(&mut self, held: &HeldRecord, verdict: ReleaseVerdict, remark: &str, each: &mut OnVerdict<'_>) {
        self.tally.count(verdict, remark);
        each(held, verdict, remark);
    }

    /// First the events, those that are too large once more in a smaller form; then the markers of those that Kafka has.
    fn publish<'h>(&self, publisher: &Publisher, releasable: Vec<Releasable<'h>>) -> PublishedEvents<'h> {
        let mut outcome = PublishedEvents::default();
        let (mut form, mut waiting) = (0, releasable);
        while !waiting.is_empty() {
            let (sent, formless): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|one: &Releasable<'_>| one.event.records.len() > form);
            outcome.too_large.extend(formless);
            waiting = Vec::new();
            let deliveries = publish_all(publisher, sent.iter().filter_map(|one| one.event.records.get(form)));
            for (one, delivery) in sent.into_iter().zip(deliveries) {
                match delivery {
                    Delivery::Acknowledged => outcome.done.push(one),
                    Delivery::TooLarge => waiting.push(one),
                    Delivery::Failed(_) | Delivery::Spooled => outcome.failed = delivery.reason(),
                }
            }
            form += 1;
        }
        let now = Timestamp::now();
        let marker = |one: &Releasable<'_>| marker::marker(&self.prefix, one.held, &one.event, &self.author, now);
        let markers: Vec<Record> = outcome.done.iter().map(marker).collect();
        let unmarked = publish_all(publisher, markers.iter()).into_iter().find_map(Delivery::reason);
        outcome.failed = outcome.failed.or(unmarked);
        outcome
    }
}

/// What became of some events.
#[derive(Default)]
struct PublishedEvents<'h> {
    done: Vec<Releasable<'h>>,
    too_large: Vec<Releasable<'h>>,
    /// Why one was not acknowledged.
    failed: Option<&'static str>,
}

/// Sends records and waits for the fate of each, in their order. The producer gives every record up in time.
pub(super) fn publish_all<'r>(publisher: &Publisher, records: impl Iterator<Item = &'r Record>) -> Vec<Delivery> {
    let waiting: Vec<_> = records
        .map(|record| {
            let (report, reported) = channel();
            publisher.publish(
                record,
                Box::new(move |delivery| {
                    // Whoever asked waits for it.
                    let _told = report.send(delivery);
                }),
            );
            reported
        })
        .collect();
    let fate = |reported: Receiver<Delivery>| reported.recv().unwrap_or(Delivery::Failed(DeliveryFailure::Purged));
    waiting.into_iter().map(fate).collect()
}

/// A producer of a command's own, with the settings of the ingress.
///
/// # Errors
/// librdkafka refuses a property, or a property's file cannot be read.
pub fn own_publisher(config: &Config) -> anyhow::Result<Publisher> {
    let settings = PublisherSettings {
        client: client::base(&config.kafka, ClientSide::Ingress)?,
        record_bytes_max: config.ingress.record_bytes_max(),
        queue_bytes_max: QUEUE_BYTES_MAX,
        message_timeout: ACKNOWLEDGED_WITHIN,
        broker: Broker::Stamps,
        otherwise: Otherwise::Refused,
    };
    let names: Vec<String> = topics::needed(config).into_iter().map(|topic| topic.name).collect();
    let metrics = Metrics::new().context("metrics")?;
    Publisher::start(settings, &names, metrics).context("the Kafka producer cannot be made: see [kafka.properties]")
}
