//! Puts records on Kafka, idempotent and acknowledged by all in-sync replicas, and tells what became of each exactly once.
//! Must not know what a record means. Never blocks: a full queue is a failure that is told at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::statistics::Statistics;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::record::Record;
use crate::metrics::{Metrics, TopicMetrics};

/// How often librdkafka tells its state, which carries readiness and the brokers' count.
const STATISTICS_INTERVAL_MS: u64 = 500;
/// Between two rebuilds: a producer that may not write at all dies at once, each time.
const REBUILD_GAP: Duration = Duration::from_secs(5);
/// How often a draining publisher looks whether all delivery reports are in.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Every in-sync replica has it.
    Acknowledged,
    /// It is larger than its topic or the producer allows: sending it again cannot help.
    TooLarge,
    /// It was not acknowledged, and will not be unless it is sent again.
    Failed(Failure),
}

/// Why a record was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No acknowledgement within `message.timeout.ms`.
    TimedOut,
    /// The producer's queue is full.
    QueueFull,
    /// The topic does not exist.
    UnknownTopic,
    /// The principal may not write.
    NotAuthorized,
    /// Purged while the producer was rebuilt, or stopped.
    Purged,
    /// The client says that it is there, and cannot say where.
    NoOffset,
    /// Anything else that Kafka or the client says.
    Other,
}

/// Every `reason` of a failed send.
pub const FAILURE_REASONS: [&str; 8] =
    ["timed_out", "queue_full", "unknown_topic", "not_authorized", "purged", "no_offset", "too_large", "other"];

impl Delivery {
    fn of(error: &KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        let failure = match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => return Self::TooLarge,
            Some(Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut) => Failure::TimedOut,
            Some(Code::QueueFull) => Failure::QueueFull,
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => Failure::UnknownTopic,
            Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => Failure::NotAuthorized,
            Some(Code::PurgeQueue | Code::PurgeInflight) => Failure::Purged,
            _ => Failure::Other,
        };
        Self::Failed(failure)
    }

    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Acknowledged => None,
            Self::TooLarge => Some("too_large"),
            Self::Failed(Failure::TimedOut) => Some("timed_out"),
            Self::Failed(Failure::QueueFull) => Some("queue_full"),
            Self::Failed(Failure::UnknownTopic) => Some("unknown_topic"),
            Self::Failed(Failure::NotAuthorized) => Some("not_authorized"),
            Self::Failed(Failure::Purged) => Some("purged"),
            Self::Failed(Failure::NoOffset) => Some("no_offset"),
            Self::Failed(Failure::Other) => Some("other"),
        }
    }
}

/// Called once for each record, from Kafka's thread or, when the record is refused at once, from the sender's: keep it short.
pub type Report = Box<dyn FnOnce(Delivery) + Send + Sync>;

/// What the producer needs to know beyond the user's librdkafka properties.
pub struct Settings {
    /// What every client of ours has, with the user's properties.
    pub client: ClientConfig,
    /// The largest record.
    pub record_bytes_max: usize,
    /// The most bytes that wait in the producer's queue.
    pub queue_bytes_max: usize,
    /// How long librdkafka tries: a second less than the answer's own timer.
    pub message_timeout: Duration,
}

/// Sends records. Cheap to share.
pub struct Publisher {
    settings: Settings,
    shared: Arc<Shared>,
    producer: ArcSwap<ThreadedProducer<Context>>,
}

/// What the producer's threads and the publisher both see; outlives a rebuilt producer.
struct Shared {
    metrics: Arc<Metrics>,
    topics: BTreeMap<String, TopicMetrics>,
    has_producer_id: watch::Sender<bool>,
    /// librdkafka reported something: it may be fatal.
    trouble: Notify,
    failing: AtomicBool,
}

impl Publisher {
    /// Starts the producer; it connects in the background and keeps trying.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn start(settings: Settings, topics: &[String], metrics: Arc<Metrics>) -> Result<Self, KafkaError> {
        let by_topic = topics.iter().map(|topic| (topic.clone(), metrics.topic(topic, &FAILURE_REASONS))).collect();
        let shared = Arc::new(Shared {
            metrics,
            topics: by_topic,
            has_producer_id: watch::Sender::new(false),
            trouble: Notify::new(),
            failing: AtomicBool::new(false),
        });
        let producer = producer(&settings, &shared)?;
        Ok(Self { settings, shared, producer: ArcSwap::from_pointee(producer) })
    }

    /// Sends a record; `report` is called exactly once, maybe before this returns.
    pub fn publish(&self, record: &Record, report: Report) {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        let headers = record
            .headers
            .iter()
            .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let base = BaseRecord::with_opaque_to(&record.topic, Box::new(Pending { report }))
            .key(&record.key)
            .payload(&record.value)
            .headers(headers);
        if let Err((error, refused)) = self.producer.load().send(base) {
            self.shared.settle(&record.topic, *refused.delivery_opaque, Delivery::of(&error), &error);
        }
    }

    /// Waits until the idempotent producer has its id, without which the first record would wait for it.
    pub async fn has_producer_id(&self) {
        let mut has_producer_id = self.shared.has_producer_id.subscribe();
        // The sender lives as long as `self`, so the wait ends only by the value.
        let _open = has_producer_id.wait_for(|has| *has).await.is_ok();
    }

    /// Which of `topics` Kafka does not have. Blocks at most `within`.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn missing_topics(&self, topics: &[String], within: Duration) -> Result<Vec<String>, KafkaError> {
        let metadata = self.producer.load().client().fetch_metadata(None, within)?;
        let has = |name: &str| metadata.topics().iter().any(|topic| topic.name() == name && topic.error().is_none());
        Ok(topics.iter().filter(|name| !has(name)).cloned().collect())
    }

    /// Rebuilds the producer after each fatal error; never ends by itself.
    ///
    /// # Errors
    /// librdkafka refuses to make another producer.
    pub async fn keep_alive(self: Arc<Self>) -> Result<(), KafkaError> {
        loop {
            self.shared.trouble.notified().await;
            // Asked for, because the report has the code of the cause and does not say that it is fatal.
            let Some((code, reason)) = self.producer.load().client().fatal_error() else { continue };
            tracing::error!(
                %code,
                reason,
                "the producer met a fatal error and is rebuilt; its records in flight are answered 503"
            );
            let old = self.producer.swap(Arc::new(producer(&self.settings, &self.shared)?));
            self.shared.metrics.producer_restarts.increment(1);
            // Purging tells each record's fate; dropping blocks, so not on this thread.
            let stopped = tokio::task::spawn_blocking(move || {
                old.purge(PurgeConfig::default().queue().inflight());
                drop(old);
            });
            if stopped.await.is_err() {
                tracing::error!("the old producer did not stop cleanly");
            }
            sleep(REBUILD_GAP).await;
        }
    }

    /// Waits for every delivery report, at most until `deadline`; whether all came.
    pub async fn drain(&self, deadline: Instant) -> bool {
        let all_reported = async {
            while self.producer.load().in_flight_count() > 0 {
                sleep(DRAIN_POLL).await;
            }
        };
        timeout_at(deadline, all_reported).await.is_ok()
    }
}

fn producer(settings: &Settings, shared: &Arc<Shared>) -> Result<ThreadedProducer<Context>, KafkaError> {
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
    let context = Context { shared: Arc::clone(shared) };
    config.create_with_context::<_, ThreadedProducer<_>>(context)
}

/// A record on its way.
struct Pending {
    report: Report,
}

impl Shared {
    /// Tells a record's fate; `why` is shown when it is not good.
    fn settle(&self, topic: &str, pending: Pending, delivery: Delivery, why: &dyn fmt::Display) {
        if let Some(metrics) = self.topics.get(topic) {
            match delivery.reason() {
                None => metrics.published.increment(1),
                Some(reason) => metrics.failed(reason),
            }
        }
        self.log_change(topic, delivery, why);
        (pending.report)(delivery);
    }

    /// One line when sends begin to fail, one when they work again: nothing per record.
    fn log_change(&self, topic: &str, delivery: Delivery, why: &dyn fmt::Display) {
        let fails = delivery != Delivery::Acknowledged;
        if self.failing.load(Ordering::Relaxed) == fails || self.failing.swap(fails, Ordering::Relaxed) == fails {
            return;
        }
        match delivery {
            Delivery::Acknowledged => tracing::info!(topic, "Kafka acknowledges records again"),
            Delivery::TooLarge | Delivery::Failed(_) => {
                tracing::error!(topic, error = %why, "Kafka does not acknowledge records; webhooks are answered 503");
            }
        }
    }
}

/// What librdkafka's threads call.
struct Context {
    shared: Arc<Shared>,
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let up = statistics.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.state == "UP").count();
        self.shared.metrics.brokers_up.set(f64::from(u32::try_from(up).unwrap_or(u32::MAX)));
        let has_id = statistics.eos.is_some_and(|eos| eos.idemp_state == "Assigned");
        self.shared.has_producer_id.send_if_modified(|has| std::mem::replace(has, has_id) != has_id);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka reports a problem");
        self.shared.trouble.notify_one();
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = Box<Pending>;

    /// Only an offset proves that the broker took this very record. librdkafka also reports success when it took a later
    /// one of the partition ("implicitly acked"), which is no proof: a partition's new leader that does not know the
    /// producer yet refuses one request, and takes the next, which was on its way, with the gap before it.
    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        use rdkafka::Message;
        let (message, delivery, why): (_, _, &dyn fmt::Display) = match result {
            Ok(message) if message.offset() >= 0 => (message, Delivery::Acknowledged, &""),
            Ok(message) => (message, Delivery::Failed(Failure::NoOffset), &"acknowledged by a later record alone"),
            Err((error, message)) => (message, Delivery::of(error), error),
        };
        self.shared.settle(message.topic(), *pending, delivery, why);
    }
}
