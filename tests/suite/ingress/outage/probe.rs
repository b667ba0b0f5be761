//! A bare producer beside the daemon: what it is acknowledged anybody could have been.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

/// Pause between two records.
const PAUSE: Duration = Duration::from_millis(50);

/// When the first record was acknowledged.
#[derive(Clone, Default)]
pub struct SinceFirst(Arc<Mutex<Option<Instant>>>);

impl SinceFirst {
    /// How long ago that was; no time if none is acknowledged yet.
    pub fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().map(|first| first.elapsed()).unwrap_or_default()
    }
}

impl ClientContext for SinceFirst {}

impl ProducerContext for SinceFirst {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        if result.is_ok() {
            self.0.lock().unwrap().get_or_insert_with(Instant::now);
        }
    }
}

/// Sends records to a topic until one is acknowledged, or `over`. It connects as soon as anybody could, and gives each record up after
/// a second: what is acknowledged was sent shortly before.
pub fn send_until_acknowledged(mut client: ClientConfig, topic: &str, over: &AtomicBool, since_first: SinceFirst) {
    let producer: BaseProducer<SinceFirst> = client
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("message.timeout.ms", "1000")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "200")
        .create_with_context(since_first)
        .unwrap();
    while producer.context().0.lock().unwrap().is_none() && !over.load(Ordering::SeqCst) {
        // A full queue empties by itself.
        let _full = producer.send(BaseRecord::<(), str>::to(topic).payload("a probe"));
        producer.poll(PAUSE);
    }
}
