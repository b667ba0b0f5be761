//! Puts records on Kafka, idempotent and acknowledged by all in-sync replicas, and tells what became of each exactly once.
//! Must not know what a record means. Never blocks: a full queue is a failure that is told at once.

mod context;
mod delivery;
mod delivery_clock;
mod missing;
mod outage;
mod producer_switch;
mod rebuild;
mod renewal;
mod stuck;
mod taking_back;
mod topic_log;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::config::ClientConfig;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use context::{PendingRecord, PublisherContext};
pub use delivery::{Delivery, DeliveryFailure, FAILURE_REASONS};
use delivery_clock::ClockWatch;
use missing::MissingTopics;
use outage::OutageWatch;
use producer_switch::{ProducerSwitch, UnsentRecord};
pub use rebuild::RESTART_REASONS;
pub use renewal::NotRenewed;
pub use stuck::StuckPartition;
use stuck::StuckPartitions;
pub use taking_back::TakenBack;
use taking_back::TakingBack;
use topic_log::TopicLog;

use super::broker_clock::{Broker, WallClockTrust};
use super::client_error::ClientError;
use super::record::Record;
use crate::metrics::{Labelled, Metrics, TopicMetrics};

/// How often librdkafka tells its state, which carries readiness and the brokers' count.
const STATISTICS_INTERVAL_MS: u64 = 500;
/// How often a draining publisher looks whether all delivery reports are in.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// Called once for each record, from Kafka's thread or, when the record is refused at once, from the sender's: keep it short.
pub type OnDelivery = Box<dyn FnOnce(Delivery) + Send + Sync>;

type Producer = ThreadedProducer<PublisherContext>;

/// What the producer needs to know beyond the user's librdkafka properties.
#[derive(Clone)]
pub struct PublisherSettings {
    /// What every client of ours has, with the user's properties.
    pub client: ClientConfig,
    /// The largest record.
    pub record_bytes_max: usize,
    /// The most bytes that wait in the producer's queue.
    pub queue_bytes_max: usize,
    /// How long librdkafka tries: a second less than the answer's own timer.
    pub message_timeout: Duration,
    /// Where the broker's time comes from.
    pub broker: Broker,
    /// What becomes of webhooks whose records Kafka does not acknowledge, for the log.
    pub otherwise: Otherwise,
}

/// What becomes of webhooks whose records Kafka does not acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// They are answered 503.
    Refused,
    /// Their records go to disk.
    Spooled,
}

/// Sends records. Cheap to share.
pub struct Publisher {
    shared: Arc<PublisherState>,
    switch: ProducerSwitch,
    /// One producer takes another's place at a time.
    exchanging: tokio::sync::Mutex<()>,
    /// One successor is made at a time, so that none has older properties than the one before it.
    renewing: tokio::sync::Mutex<()>,
}

/// With how much company a producer sends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batches {
    /// As many records at a time as there are.
    Full,
    /// One record at a time.
    OfOne,
}

/// What the producers' threads and the publisher all see; outlives a producer.
struct PublisherState {
    /// Those of the present producer, and of the next one after a fatal error.
    settings: ArcSwap<PublisherSettings>,
    /// Sends those records once more that the broker refused as too large in a batch, where a topic takes less than the
    /// configuration says: the batch may have been too large, and each record not. Made when first needed.
    singly: Mutex<Singly>,
    metrics: Arc<Metrics>,
    /// Producers that took another's place, by the reason.
    restarts: Labelled,
    topics: BTreeMap<String, PublishedTopic>,
    missing: MissingTopics,
    stuck: StuckPartitions,
    taking_back: TakingBack,
    outage: OutageWatch,
    clock: ClockWatch,
    has_producer_id: watch::Sender<bool>,
    /// A producer may be unusable: librdkafka reported something, which may be fatal, or it knows no broker any more.
    suspected: Notify,
}

/// The producer that sends one record at a time.
#[derive(Default)]
struct Singly {
    producer: Option<Producer>,
    /// The publisher is gone: no other is made.
    closed: bool,
}

/// One topic.
struct PublishedTopic {
    metrics: TopicMetrics,
    log: TopicLog,
}

impl Publisher {
    /// Starts the producer; it connects in the background and keeps trying.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn start(settings: PublisherSettings, topics: &[String], metrics: Arc<Metrics>) -> Result<Self, ClientError> {
        let watched = |topic: &String| PublishedTopic {
            metrics: metrics.topic(topic, &FAILURE_REASONS),
            log: TopicLog::default(),
        };
        let by_topic = topics.iter().map(|topic| (topic.clone(), watched(topic))).collect();
        let clock = ClockWatch::new(metrics.ingress_clock(), settings.broker);
        let shared = Arc::new(PublisherState {
            settings: ArcSwap::from_pointee(settings),
            singly: Mutex::new(Singly::default()),
            clock,
            restarts: metrics.producer_restarts(&RESTART_REASONS),
            metrics,
            topics: by_topic,
            missing: MissingTopics::default(),
            stuck: StuckPartitions::default(),
            taking_back: TakingBack::default(),
            outage: OutageWatch::default(),
            has_producer_id: watch::Sender::new(false),
            suspected: Notify::new(),
        });
        let settings = shared.settings.load();
        let producer = producer(&shared, &settings, Batches::Full)?;
        producer.context().is_present.store(true, Ordering::Relaxed);
        let switch = ProducerSwitch::new(producer, settings.queue_bytes_max);
        drop(settings);
        Ok(Self { shared, switch, exchanging: tokio::sync::Mutex::default(), renewing: tokio::sync::Mutex::default() })
    }

    /// Sends a record; `report` is called exactly once, maybe before this returns.
    pub fn publish(&self, record: &Record, report: OnDelivery) {
        self.send(record, report, None);
    }

    fn send(&self, record: &Record, report: OnDelivery, sequence: Option<u64>) {
        let pending = PendingRecord { report, sent: std::time::Instant::now(), sequence };
        self.shared.taking_back.sent(&pending);
        if self.shared.missing.has(&record.topic) {
            let unknown = Delivery::Failed(DeliveryFailure::UnknownTopic);
            return self.shared.settle(&record.topic, pending, unknown, &"Kafka has no such topic");
        }
        let passed = self.switch.send(record, Box::new(pending));
        self.settle_refused(passed.err());
    }

    /// How far our wall clock may be believed, by the times that brokers gave to our records.
    pub fn clock_trust(&self) -> WallClockTrust {
        self.shared.clock.trust()
    }

    /// Waits until the idempotent producer has its id, without which the first record would wait for it.
    pub async fn has_producer_id(&self) {
        let mut has_producer_id = self.shared.has_producer_id.subscribe();
        // The sender lives as long as `self`, so the wait ends only by the value.
        let _open = has_producer_id.wait_for(|has| *has).await.is_ok();
    }

    fn settle_refused(&self, refused: impl IntoIterator<Item = UnsentRecord>) {
        for UnsentRecord { topic, pending, error } in refused {
            self.shared.settle(&topic, *pending, Delivery::of(&error), &error);
        }
    }

    /// How many records have been given to a producer, and not reported.
    fn sent_count(&self) -> i32 {
        // In this order: records move from the first to the second, never back.
        let full = self.switch.with_producer(Producer::in_flight_count);
        full.saturating_add(self.shared.singly().producer.as_ref().map_or(0, Producer::in_flight_count))
    }

    /// Waits for every delivery report, at most until `deadline`; whether all came.
    pub async fn drain(&self, deadline: Instant) -> bool {
        let all_reported = async {
            // In this order: what was held is sent, never the other way.
            while self.switch.waiting_count() > 0 || self.sent_count() > 0 {
                sleep(DRAIN_POLL).await;
            }
        };
        timeout_at(deadline, all_reported).await.is_ok()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // The producer's context has `shared`, which has the producer.
        let singly = {
            let mut singly = self.shared.singly();
            singly.closed = true;
            singly.producer.take()
        };
        drop(singly);
    }
}

fn producer(
    shared: &Arc<PublisherState>,
    settings: &PublisherSettings,
    batches: Batches,
) -> Result<Producer, ClientError> {
    let mut config = settings.client.clone();
    // Defaults that a user may change.
    let defaults = [
        ("linger.ms", "5"), // as Java's since Kafka 4.0: fewer, larger requests for a few milliseconds
        ("compression.type", "lz4"),
    ];
    for (name, value) in defaults.into_iter().filter(|(name, _)| settings.client.get(name).is_none()) {
        config.set(name, value);
    }
    // What the promises rest on; `config` refuses them from users.
    let queue_kbytes = (settings.queue_bytes_max / 1024).max(1024);
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random") // as Java's default for records with a key
        .set("message.timeout.ms", settings.message_timeout.as_millis().to_string())
        .set("message.max.bytes", settings.record_bytes_max.max(1000).to_string())
        .set("queue.buffering.max.kbytes", queue_kbytes.to_string())
        .set("queue.buffering.max.messages", "0") // bounded by bytes alone
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_string());
    if batches == Batches::OfOne {
        config.set("batch.num.messages", "1");
    }
    // librdkafka's own error would show the refused value, which may be a secret.
    config
        .create_with_context::<_, Producer>(PublisherContext::new(shared, batches))
        .map_err(|error| ClientError::of_creation(&error))
}

impl PublisherState {
    fn singly(&self) -> MutexGuard<'_, Singly> {
        self.singly.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a refused record once more, in a batch of its own: what is refused then is too large itself.
    fn send_singly(self: &Arc<Self>, message: &BorrowedMessage<'_>, pending: Box<PendingRecord>) {
        use rdkafka::Message;
        let mut singly = self.singly();
        if singly.closed {
            let purged = Delivery::Failed(DeliveryFailure::Purged);
            return self.settle(message.topic(), *pending, purged, &"the producer is at its end");
        }
        let producer = match singly
            .producer
            .take()
            .map_or_else(|| producer(self, &self.settings.load(), Batches::OfOne), Ok)
        {
            Ok(producer) => singly.producer.insert(producer),
            Err(client_error) => {
                return self.settle(message.topic(), *pending, Delivery::Failed(DeliveryFailure::Other), &client_error);
            }
        };
        let base = BaseRecord::with_opaque_to(message.topic(), pending)
            .key(message.key().unwrap_or_default())
            .payload(message.payload().unwrap_or_default())
            .headers(message.headers().map(BorrowedHeaders::detach).unwrap_or_default());
        if let Err((error, refused)) = producer.send(base) {
            self.settle(message.topic(), *refused.delivery_opaque, Delivery::of(&error), &error);
        }
    }

    /// Tells a record's fate; `why` is shown when it is not good.
    fn settle(&self, topic: &str, pending: PendingRecord, delivery: Delivery, why: &dyn fmt::Display) {
        self.taking_back.ended(&pending);
        let state = self.topics.get(topic);
        if let Some(state) = state {
            match delivery.reason() {
                None => state.metrics.published.increment(1),
                Some(reason) => state.metrics.failed(reason),
            }
        }
        // Before any log line: whoever waits must not wait for that.
        (pending.report)(delivery);
        // A record for a topic that was deleted under way often times out instead.
        let may_be_gone = match delivery {
            Delivery::Failed(DeliveryFailure::UnknownTopic) => true,
            Delivery::Failed(DeliveryFailure::TimedOut) => !self.outage.is_on(),
            Delivery::Failed(_) | Delivery::Acknowledged | Delivery::Spooled | Delivery::TooLarge => false,
        };
        if may_be_gone && !self.missing.has(topic) {
            self.missing.suspect();
        }
        if let Some(state) = state {
            self.log(state, topic, delivery, why);
        }
    }

    /// Logs what a record's fate says about its topic, and nothing while no broker is connected: that has lines of its own.
    fn log(&self, state: &PublishedTopic, topic: &str, delivery: Delivery, why: &dyn fmt::Display) {
        let line = match (delivery, delivery.reason()) {
            // A record that is too large says nothing about the topic.
            (Delivery::TooLarge, _) => None,
            (Delivery::Acknowledged | Delivery::Spooled, _) | (Delivery::Failed(_), None) => {
                state.log.acknowledged(std::time::Instant::now)
            }
            (Delivery::Failed(_), Some(reason)) => {
                self.outage.record_failed();
                if self.outage.is_on() { None } else { state.log.failed(reason, std::time::Instant::now()) }
            }
        };
        if let Some(line) = line {
            line.log(topic, delivery, why, self.settings.load().otherwise);
        }
    }
}
