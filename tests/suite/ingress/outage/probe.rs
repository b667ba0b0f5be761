//! A bare producer beside the daemon: what it is acknowledged anybody could have been.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

/// Pause between two records.
const PAUSE: Duration = Duration::from_millis(50);

/// When the first record was acknowledged.
#[derive(Default)]
struct First(Mutex<Option<Instant>>);

impl ClientContext for First {}

impl ProducerContext for First {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        if result.is_ok() {
            self.0.lock().unwrap().get_or_insert_with(Instant::now);
        }
    }
}

/// Sends records to a topic until `over`, and gives when the first of them was acknowledged. It connects as soon as anybody
/// could, and gives each record up after a second: what is acknowledged was sent shortly before.
pub fn first_acknowledgement(mut client: ClientConfig, topic: &str, over: &AtomicBool) -> Option<Instant> {
    let producer: BaseProducer<First> = client
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("message.timeout.ms", "1000")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "200")
        .create_with_context(First::default())
        .unwrap();
    let first = || *producer.context().0.lock().unwrap();
    while first().is_none() && !over.load(Ordering::SeqCst) {
        // A full queue empties by itself.
        let _full = producer.send(BaseRecord::<(), str>::to(topic).payload("a probe"));
        producer.poll(PAUSE);
    }
    first()
}
