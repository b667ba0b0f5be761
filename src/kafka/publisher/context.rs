//! What librdkafka's threads call: the delivery reports of a producer, and what it says of itself.
//! Must not know how records get to the producer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};
use rdkafka::statistics::Statistics;
use tokio::sync::watch;

use super::super::broker_clock::ClockReading;
use super::super::client_error::{ClientError, ClientErrors};
use super::super::client_log;
use super::super::known_brokers::KnownBrokers;
use super::{Batches, Delivery, DeliveryFailure, OnDelivery, PublisherState};

/// For how long a refusal is believed: librdkafka repeats the same one every 30 s, for as long as it goes on.
const REFUSAL_HOLDS: Duration = Duration::from_secs(75);

/// A record on its way.
pub(super) struct PendingRecord {
    pub(super) report: OnDelivery,
    pub(super) sent: Instant,
    /// By which whoever sent it takes it back.
    pub(super) sequence: Option<u64>,
}

/// What one producer's threads see.
pub(super) struct PublisherContext {
    shared: Arc<PublisherState>,
    batches: Batches,
    /// Whether records go to it: what is shown is that one's state.
    pub(super) is_present: AtomicBool,
    pub(super) has_id: watch::Sender<bool>,
    pub(super) client_errors: ClientErrors,
    brokers: KnownBrokers,
    /// When a broker refused its credentials last, or it a broker's.
    refused_at: watch::Sender<Option<Instant>>,
}

impl PublisherContext {
    pub(super) fn new(shared: &Arc<PublisherState>, batches: Batches) -> Self {
        Self {
            shared: Arc::clone(shared),
            batches,
            is_present: AtomicBool::new(false),
            has_id: watch::Sender::new(false),
            client_errors: ClientErrors::default(),
            brokers: KnownBrokers::default(),
            refused_at: watch::Sender::new(None),
        }
    }

    /// Whether brokers refuse its credentials, some at least. One that did so once and then took them does not count.
    pub(super) fn is_refused(&self) -> bool {
        holds(*self.refused_at.borrow(), Instant::now())
    }

    /// Whether it can connect no more.
    pub(super) fn has_forgotten_brokers(&self) -> bool {
        self.brokers.are_forgotten()
    }

    /// Logs that no broker is connected, or one again.
    fn log_contact(&self, brokers_up: usize) {
        let now = ClockReading { wall: Timestamp::now(), monotonic: Instant::now() };
        if let Some(line) = self.shared.outage.connected(brokers_up, now) {
            let error = self.client_errors.most_specific().map_or_else(String::new, |error| error.to_string());
            line.log(&error, self.shared.settings.load().otherwise);
        }
        if brokers_up > 0 {
            self.client_errors.works();
            // What was reported before a connection came about explains no later outage.
            self.client_errors.take();
        }
    }

    /// Waits until the idempotent producer has its id; whether it gets one, or is refused.
    pub(super) async fn has_id(&self) -> bool {
        let (mut has_id, mut refused_at) = (self.has_id.subscribe(), self.refused_at.subscribe());
        tokio::select! {
            // The senders live as long as `self`, so the wait ends only by a value.
            has_id = has_id.wait_for(|has| *has) => has_id.is_ok(),
            _refused = refused_at.wait_for(Option::is_some) => false,
        }
    }
}

impl ClientContext for PublisherContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client_errors.log(level, facility, message);
        client_log::log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        if self.brokers.learn(&statistics) {
            self.shared.suspected.notify_one();
        }
        let has_id = statistics.eos.is_some_and(|eos| eos.idemp_state == "Assigned");
        let set = |has: &mut bool| std::mem::replace(has, has_id) != has_id;
        self.has_id.send_if_modified(set);
        // Those that come and go are not shown.
        if self.is_present.load(Ordering::Relaxed) {
            let up = statistics.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.state == "UP").count();
            self.shared.metrics.brokers_up.set(f64::from(u32::try_from(up).unwrap_or(u32::MAX)));
            self.shared.has_producer_id.send_if_modified(set);
            self.shared.clock.show();
            self.shared.stuck.learn(&statistics.topics);
            self.log_contact(up);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka reports a problem");
        let is_refusal = ClientError::of_report(&error, reason).is_some_and(|client_error| client_error.is_refusal());
        self.client_errors.error(error, reason);
        if is_refusal {
            self.refused_at.send_replace(Some(Instant::now()));
        }
        self.shared.suspected.notify_one();
    }
}

impl ProducerContext<NoCustomPartitioner> for PublisherContext {
    type DeliveryOpaque = Box<PendingRecord>;

    /// Only an offset proves that the broker took this very record. librdkafka also reports success when it took a later
    /// one of the partition ("implicitly acked"), which is no proof: a partition's new leader that does not know the
    /// producer yet refuses one request, and takes the next, which was on its way, with the gap before it.
    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<PendingRecord>) {
        use rdkafka::{Message, Timestamp};
        // Where the topic keeps the producer's time, the report has that one, and proves nothing.
        if let Ok(message) = result
            && let Timestamp::LogAppendTime(broker_ms) = message.timestamp()
        {
            self.shared.clock.reported(broker_ms, pending.sent);
        }
        let (message, delivery, why): (_, _, &dyn fmt::Display) = match result {
            Ok(message) if message.offset() >= 0 => (message, Delivery::Acknowledged, &""),
            Ok(message) => {
                (message, Delivery::Failed(DeliveryFailure::NoOffset), &"acknowledged by a later record alone")
            }
            Err((error, message)) => (message, Delivery::of(error), error),
        };
        self.shared.stuck.reported(message.topic(), message.partition(), delivery, Instant::now());
        match (delivery, self.batches) {
            (Delivery::TooLarge, Batches::Full) => self.shared.send_singly(message, pending),
            (Delivery::Failed(DeliveryFailure::Purged), _) => {
                if let Some(failed) = self.shared.taking_back.take(message, pending) {
                    self.shared.settle(message.topic(), *failed, delivery, why);
                }
            }
            _ => self.shared.settle(message.topic(), *pending, delivery, why),
        }
    }
}

fn holds(refused_at: Option<Instant>, now: Instant) -> bool {
    refused_at.is_some_and(|at| now.saturating_duration_since(at) < REFUSAL_HOLDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_until_it_is_not_repeated() {
        let at = Instant::now();
        assert!(holds(Some(at), at) && holds(Some(at), at + Duration::from_mins(1)));
        assert!(!holds(Some(at), at + REFUSAL_HOLDS) && !holds(None, at));
    }
}
