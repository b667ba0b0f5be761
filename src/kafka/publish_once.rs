//! Puts one record on Kafka and tells where it is: for commands. Blocks: not for a tokio worker.
//! Must not know what a record means.

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext, PurgeConfig};

use super::client_error::ClientError;
use super::client_log;
use super::record::Record;

/// How often the client's queue is looked at while the report is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How much of the time is kept for the report, at most: librdkafka finds late that a record's time is over.
const REPORT_WITHIN: Duration = Duration::from_secs(10);
/// The shortest time of a record's life: to librdkafka, no time at all is for ever.
const LIFE_MIN: Duration = Duration::from_millis(100);

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its partition: murmur2 of its key.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// Why it is not known that a record is there.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No client can be made.
    #[error("{0}: {action}", action = .0.action())]
    Client(ClientError),
    /// The client or Kafka refused it: it is not there.
    #[error("the record cannot be sent: {0}")]
    Refused(KafkaError),
    /// Kafka did not acknowledge it: it may be there.
    #[error("Kafka did not acknowledge the record: {0}")]
    NotAcknowledged(KafkaError),
    /// The client says that it is there, and cannot say where: no proof.
    #[error("Kafka acknowledged the record without its offset, which proves nothing")]
    NoOffset,
    /// No report in time: it may be there.
    #[error("Kafka gave no answer in time")]
    NoAnswer,
}

/// Puts a record on its topic, acknowledged by every in-sync replica. Blocks for `within` at most.
///
/// # Errors
/// It is not there, or it is not known whether it is.
pub fn publish_once(client: &ClientConfig, record: &Record, within: Duration) -> Result<Stored, PublishError> {
    let deadline = Instant::now() + within;
    // In a short time, there is no room to learn what became of a record: then nobody knows.
    let lives = within.saturating_sub(REPORT_WITHIN).max(within / 2).max(LIFE_MIN);
    let mut config = client.clone();
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random") // as Java's default for records with a key
        .set("message.timeout.ms", lives.as_millis().to_string());
    let producer: BaseProducer<PublishOnceContext> = config
        .create_with_context(PublishOnceContext)
        .map_err(|error| PublishError::Client(ClientError::of_creation(&error)))?;
    let (report, reported) = channel();
    let headers = OwnedHeaders::new_with_capacity(record.headers.len());
    let headers = record
        .headers
        .iter()
        .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_ref()) }));
    let base = BaseRecord::with_opaque_to(&record.topic, Box::new(report))
        .key(&record.key)
        .payload(&record.value)
        .headers(headers);
    producer.send(base).map_err(|(error, _)| PublishError::Refused(error))?;
    while Instant::now() < deadline {
        producer.poll(LOOK_EVERY);
        if let Ok(told) = reported.try_recv() {
            return told;
        }
    }
    // Dropping it would wait for the record.
    producer.purge(PurgeConfig::default().queue().inflight());
    Err(PublishError::NoAnswer)
}

/// Passes the delivery report to who waits for it.
struct PublishOnceContext;

impl ClientContext for PublishOnceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client_log::log(level, facility, message);
    }

    fn error(&self, _: KafkaError, _: &str) {} // the delivery report tells
}

impl ProducerContext<NoCustomPartitioner> for PublishOnceContext {
    type DeliveryOpaque = Box<Sender<Result<Stored, PublishError>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Self::DeliveryOpaque) {
        let told = match result {
            Ok(message) if message.offset() >= 0 => {
                Ok(Stored { partition: message.partition(), offset: message.offset() })
            }
            Ok(_) => Err(PublishError::NoOffset),
            Err((error, _)) => Err(PublishError::NotAcknowledged(error.clone())),
        };
        // Nobody waits any more after the deadline.
        let _told = report.send(told);
    }
}
