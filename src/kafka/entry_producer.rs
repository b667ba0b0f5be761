//! Sends small records that help and carry no promise: nobody answers for one that is lost, and only who chooses to waits for one.
//! Must not know what an entry says.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::client_error::ClientError;
use super::client_log;
use super::known_brokers::{KnownBrokers, STATISTICS_INTERVAL_MS};

/// Gathers records that long: they are small, and nobody waits for most of them. What a killed process had not sent is missed
/// by the others, so it is short.
const LINGER_MS: &str = "10";
/// How long a new producer may take to log in.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// How long a producer may take to send its last entries, when another takes its place.
const ENDED_WITHIN: Duration = Duration::from_secs(1);
/// Between two that are made because one knew no broker any more.
const REBUILD_GAP: Duration = Duration::from_secs(5);
/// How long one is tried.
const MESSAGE_TIMEOUT_MS: &str = "30000";
/// What waits at most, in KiB; about 100,000 entries. More of them are dropped while Kafka takes none.
const QUEUED_KBYTES_MAX: &str = "8192";

/// Called once for each entry, from Kafka's thread or the sender's: the partition and offset that it got, or none where Kafka did
/// not take it.
pub type OnEntry = Box<dyn FnOnce(Option<(i32, i64)>) + Send + Sync>;

/// Sends entries to one topic.
pub struct EntryProducer {
    topic: String,
    client: ArcSwap<ClientConfig>,
    producer: ArcSwap<ThreadedProducer<EntryContext>>,
    forgotten: Arc<Notify>,
}

/// Tells what became of entries.
struct EntryContext {
    brokers: KnownBrokers,
    /// All brokers are forgotten.
    forgotten: Arc<Notify>,
}

impl EntryProducer {
    /// Connects in the background.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn new(client: &ClientConfig, topic: String) -> Result<Self, ClientError> {
        let forgotten = Arc::new(Notify::new());
        let producer = ArcSwap::from_pointee(producer(client, &forgotten)?);
        Ok(Self { topic, client: ArcSwap::from_pointee(client.clone()), producer, forgotten })
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Sends an entry. Those with one key are in one partition, in order; an empty key: anywhere.
    pub fn send(&self, key: &[u8], value: &[u8], report: OnEntry) {
        let base = BaseRecord::with_opaque_to(&self.topic, Box::new(report)).payload(value);
        let record = if key.is_empty() { base } else { base.key(key) };
        if let Err((error, refused)) = self.producer.load().send(record) {
            tracing::debug!(topic = self.topic, %error, "entry cannot be sent");
            (refused.delivery_opaque)(None);
        }
    }

    /// The cluster's id, once the producer is connected. Does not block.
    pub fn cluster_id(&self) -> Option<String> {
        self.producer.load().client().fetch_cluster_id(Duration::ZERO)
    }

    /// Goes on with a client of these properties, once that one knows the topic: until then entries go to the old one. Blocks until
    /// then, and while the old one sends what it has; what it cannot send is lost.
    ///
    /// # Errors
    /// librdkafka refuses a property, or the new one does not connect in time. The old one stays.
    pub fn renew(&self, client: &ClientConfig) -> Result<(), ClientError> {
        let successor = producer(client, &self.forgotten)?;
        let asked = successor.client().fetch_metadata(Some(&self.topic), READY_WITHIN);
        asked.map_err(|error| ClientError::Unreachable(error.to_string()))?;
        self.client.store(Arc::new(client.clone()));
        let old = self.producer.swap(Arc::new(successor));
        if let Err(error) = old.flush(ENDED_WITHIN) {
            tracing::debug!(topic = self.topic, %error, "entries are left unsent");
        }
        Ok(())
    }

    /// Goes on with another client each time the present one knows no broker any more; what that one has is lost. Never ends.
    pub async fn keep_alive(&self) -> Infallible {
        loop {
            self.forgotten.notified().await;
            let present = self.producer.load_full();
            if !present.context().brokers.are_forgotten() {
                continue;
            }
            let made = producer(&self.client.load(), &self.forgotten).map(Arc::new);
            match &made {
                Ok(successor) => {
                    let before = self.producer.compare_and_swap(&present, Arc::clone(successor));
                    // Else another one has taken over meanwhile.
                    if Arc::ptr_eq(&before, &present) {
                        tracing::warn!(
                            topic = self.topic,
                            "the topic's producer knows no Kafka broker any more and is rebuilt"
                        );
                    }
                }
                Err(error) => {
                    self.forgotten.notify_one();
                    tracing::error!(
                        topic = self.topic,
                        %error,
                        "the topic's producer knows no Kafka broker any more and cannot be rebuilt; retrying"
                    );
                }
            }
            // The end of one blocks, and nobody waits for it.
            drop(tokio::task::spawn_blocking(move || drop((present, made))));
            sleep(REBUILD_GAP).await;
        }
    }

    /// Waits until all that was sent is reported. Blocks `within` the time.
    pub fn flush(&self, within: Duration) {
        if let Err(error) = self.producer.load().flush(within) {
            tracing::debug!(topic = self.topic, %error, "entries are left unsent");
        }
    }
}

fn producer(client: &ClientConfig, forgotten: &Arc<Notify>) -> Result<ThreadedProducer<EntryContext>, ClientError> {
    let mut config = client.clone();
    config
        .set("acks", "all")
        .set("enable.idempotence", "false") // an entry that stands twice says nothing new, and no error is fatal
        .set("max.in.flight.requests.per.connection", "1") // entries of one key stay in order though one is retried
        .set("partitioner", "murmur2_random")
        .set("linger.ms", LINGER_MS)
        .set("sticky.partitioning.linger.ms", LINGER_MS) // those without a key fill one batch, not one a partition
        .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
        .set("queue.buffering.max.kbytes", QUEUED_KBYTES_MAX)
        .set("queue.buffering.max.messages", "0") // bounded by bytes alone
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_string());
    let context = EntryContext { brokers: KnownBrokers::default(), forgotten: Arc::clone(forgotten) };
    config.create_with_context(context).map_err(|error| ClientError::of_creation(&error))
}

impl ClientContext for EntryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client_log::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka reports a problem");
    }

    fn stats(&self, statistics: Statistics) {
        if self.brokers.learn(&statistics) {
            self.forgotten.notify_one();
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for EntryContext {
    type DeliveryOpaque = Box<OnEntry>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Box<OnEntry>) {
        match result {
            Ok(record) => report(Some((record.partition(), record.offset())).filter(|(_, offset)| *offset >= 0)),
            Err((error, record)) => {
                tracing::debug!(topic = record.topic(), %error, "entry is not acknowledged");
                report(None);
            }
        }
    }
}
