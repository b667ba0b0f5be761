//! The least that a bridge has to do: one signature check, one record, and an answer when Kafka has acknowledged it.
//! Must not know more of a webhook than its bytes: no types, no headers, no dedup, no metrics.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use tokio::sync::{oneshot, watch};

use super::Arguments;
use super::check::Check;
use crate::webhooks::KEY_HEADER;

/// The producer's properties, which are the daemon's with its default configuration.
const PROPERTIES: [(&str, &str); 13] = [
    ("client.id", "paybridge"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "2000"),
    ("allow.auto.create.topics", "false"),
    ("compression.type", "lz4"),
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("partitioner", "murmur2_random"),
    ("message.timeout.ms", "7000"),
    ("message.max.bytes", "1048576"),
    ("queue.buffering.max.kbytes", "65536"),
    ("queue.buffering.max.messages", "0"),
    ("statistics.interval.ms", "500"),
];

/// The floor.
pub struct Floor {
    check: Check,
    topic: String,
    producer: ThreadedProducer<Context>,
}

/// What the producer's thread calls.
struct Context {
    has_id: watch::Sender<bool>,
}

impl Floor {
    /// Makes its producer, and returns when that has its id: its first record would wait half a second for it.
    pub async fn new(arguments: &Arguments) -> Self {
        let mut config = ClientConfig::new();
        for (name, value) in PROPERTIES {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &arguments.bootstrap).set("linger.ms", arguments.linger_ms.to_string());
        let (has_id, mut begins) = watch::channel(false);
        let producer = config.create_with_context(Context { has_id }).unwrap();
        begins.wait_for(|has| *has).await.unwrap();
        Self { check: Check::of(&arguments.provider), topic: arguments.topic.clone(), producer }
    }

    /// Takes one webhook from its bytes to Kafka's acknowledgement.
    pub async fn take(self: Arc<Self>, headers: HeaderMap, body: Bytes) -> StatusCode {
        if !self.check.passes(&headers, &body) {
            return StatusCode::UNAUTHORIZED;
        }
        let Some(key) = headers.get(KEY_HEADER) else { return StatusCode::BAD_REQUEST };
        let (report, reported) = oneshot::channel();
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(report)).key(key.as_bytes()).payload(&body[..]);
        if self.producer.send(record).is_err() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        match reported.await {
            Ok(Ok(())) => StatusCode::OK,
            Ok(Err(_)) | Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl ClientContext for Context {
    /// Told as often as the daemon is, and read only until it says what is waited for.
    fn stats_raw(&self, statistics: &[u8]) {
        if !*self.has_id.borrow() {
            let statistics: Statistics = serde_json::from_slice(statistics).unwrap();
            self.has_id.send_replace(statistics.eos.is_some_and(|eos| eos.idemp_state == "Assigned"));
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), KafkaError>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Self::DeliveryOpaque) {
        // Whoever waited may have hung up.
        let _gone = report.send(result.as_ref().map(drop).map_err(|(error, _)| error.clone()));
    }
}
