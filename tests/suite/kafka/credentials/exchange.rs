//! One producer in another's place while records are on their way: none lost, none twice, none past another.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use paybridge::kafka::broker_clock::Broker;
use paybridge::kafka::publisher::{Delivery, DeliveryFailure, NotRenewed, Otherwise, Publisher, PublisherSettings};
use paybridge::kafka::record::Record;
use paybridge::metrics::Metrics;
use rdkafka::ClientConfig;
use tokio::runtime::Runtime;

use super::{tables, volume};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, Login, Security, unique_prefix};

/// Records on their way at most, and in all.
const ON_THE_WAY_MAX: u64 = 50;
const RECORDS_MAX: u64 = 500_000;
/// How often one producer takes another's place under load.
const EXCHANGES: usize = 5;

/// A publisher, and a topic that takes its records.
struct Setup {
    publisher: Arc<Publisher>,
    topic: Arc<str>,
    runtime: Runtime,
}

impl Setup {
    fn set(kafka: &Kafka, client: ClientConfig, message_timeout: Duration) -> Self {
        let topic: Arc<str> = unique_prefix().into();
        kafka.create_topics(&[(&topic, 1, &[])]);
        let settings = PublisherSettings {
            client,
            record_bytes_max: 1_000_000,
            queue_bytes_max: 64 * 1024 * 1024,
            message_timeout,
            broker: Broker::Stamps,
            otherwise: Otherwise::Refused,
        };
        let runtime = Runtime::new().unwrap();
        let topics = [topic.to_string()];
        let publisher = Arc::new(Publisher::start(settings, &topics, Metrics::new().unwrap()).unwrap());
        runtime.block_on(publisher.has_producer_id());
        Self { publisher, topic, runtime }
    }

    /// Sends a record, and gives where its fate will be told.
    fn publish_to(&self, topic: &Arc<str>, number: u64) -> Receiver<Delivery> {
        let (sender, fate) = channel();
        self.publisher.publish(&record(topic, number), Box::new(move |delivery| sender.send(delivery).unwrap()));
        fate
    }

    /// The numbers on the topic, in its order.
    fn numbers(&self, kafka: &Kafka) -> Vec<u64> {
        let records = kafka.read_all(&self.topic);
        records.iter().map(|record| u64::from_be_bytes(record.value.clone().unwrap().try_into().unwrap())).collect()
    }
}

fn record(topic: &Arc<str>, number: u64) -> Record {
    Record {
        topic: Arc::clone(topic),
        key: "one".to_owned(),
        value: number.to_be_bytes().to_vec(),
        headers: Vec::new(),
    }
}

/// A client that logs in with this password.
fn with_password(kafka: &Kafka, password: &str) -> ClientConfig {
    let volume = volume(kafka, Login::Scram);
    let config = paybridge::config::Config::from_toml(&tables(Login::Scram, &volume), []).unwrap();
    let mut client = kafka.client();
    let properties = config.kafka.client_properties(paybridge::config::ClientSide::Ingress).unwrap();
    for (name, value) in properties.into_iter().filter(|(name, _)| name != "ssl.ca.location") {
        client.set(name, value);
    }
    client
        .set("bootstrap.servers", kafka.secured_bootstrap(Login::Scram))
        .set("ssl.ca.pem", kafka.authority_pem())
        .set("reconnect.backoff.max.ms", "1000")
        .set("sasl.password", password);
    client
}

#[test]
fn records_keep_their_order_and_are_reported_once_while_producers_are_exchanged() {
    let kafka = Kafka::shared();
    let setup = Setup::set(kafka, kafka.client(), Duration::from_secs(7));
    let (is_over, reported) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)));
    let failures: Arc<Mutex<Vec<(u64, Delivery)>>> = Arc::default();
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut number = 0;
            while !is_over.load(Ordering::SeqCst) && number < RECORDS_MAX {
                if number - reported.load(Ordering::SeqCst) >= ON_THE_WAY_MAX {
                    thread::yield_now();
                    continue;
                }
                let (this, reported, failures) = (number, Arc::clone(&reported), Arc::clone(&failures));
                let report = move |delivery| {
                    reported.fetch_add(1, Ordering::SeqCst);
                    if delivery != Delivery::Acknowledged {
                        failures.lock().unwrap().push((this, delivery));
                    }
                };
                setup.publisher.publish(&record(&setup.topic, number), Box::new(report));
                number += 1;
            }
            number
        });
        for _ in 0..EXCHANGES {
            let before = reported.load(Ordering::SeqCst);
            setup.runtime.block_on(setup.publisher.renew(kafka.client())).unwrap();
            eventually(LIMIT, || match reported.load(Ordering::SeqCst) {
                after if after > before => Ok(()),
                _ => Err("nothing is reported any more".to_owned()),
            });
        }
        is_over.store(true, Ordering::SeqCst);
        sending.join().unwrap()
    });
    eventually(LIMIT, || match reported.load(Ordering::SeqCst) {
        reported if reported == sent => Ok(()),
        reported => Err(format!("{reported} reports of {sent}")),
    });
    assert_eq!(*failures.lock().unwrap(), []);
    assert!(sent < RECORDS_MAX, "the exchanges took longer than the records lasted");
    let numbers = setup.numbers(kafka);
    assert!(numbers.iter().copied().eq(0..sent), "{sent} were sent, {} are there, in another order", numbers.len());
    println!("{sent} records over {EXCHANGES} exchanges");
    assert_eq!(reported.load(Ordering::SeqCst), sent, "a report came twice");
}

/// A record of a topic that is not there is on its way until it times out.
#[test]
fn records_are_not_held_for_longer_than_they_may_wait_and_go_to_the_old_producer_then() {
    const MESSAGE_TIMEOUT: Duration = Duration::from_secs(6);
    let kafka = Kafka::shared();
    let setup = Setup::set(kafka, kafka.client(), MESSAGE_TIMEOUT);
    let stuck = setup.publish_to(&unique_prefix().into(), 0);
    let publisher = Arc::clone(&setup.publisher);
    let renewing = setup.runtime.spawn(async move { publisher.renew(Kafka::shared().client()).await });
    let mut slowest = Duration::ZERO;
    let mut number = 0;
    while !renewing.is_finished() {
        let sent = Instant::now();
        let fate = setup.publish_to(&setup.topic, number);
        assert_eq!(fate.recv_timeout(LIMIT), Ok(Delivery::Acknowledged));
        slowest = slowest.max(sent.elapsed());
        number += 1;
    }
    let renewed = setup.runtime.block_on(renewing).unwrap();
    assert!(matches!(renewed, Err(NotRenewed::Busy)), "{renewed:?}");
    assert!(slowest >= Duration::from_millis(500), "nothing was held: {slowest:?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    assert_eq!(stuck.recv_timeout(LIMIT), Ok(Delivery::Failed(DeliveryFailure::TimedOut)));
    // Now that nothing is in the way:
    setup.runtime.block_on(setup.publisher.renew(kafka.client())).unwrap();
    assert_eq!(setup.publish_to(&setup.topic, number).recv_timeout(LIMIT), Ok(Delivery::Acknowledged));
    assert!(setup.numbers(kafka).into_iter().eq(0..=number));
}

#[test]
fn a_producer_that_is_refused_is_given_up_with_what_it_has_and_one_that_would_be_is_not_taken() {
    let kafka = Kafka::start(&[]);
    let first = || with_password(&kafka, Security::SCRAM_PASSWORD);
    let setup = Setup::set(&kafka, first(), Duration::from_mins(1));
    assert_eq!(setup.publish_to(&setup.topic, 0).recv_timeout(LIMIT), Ok(Delivery::Acknowledged));

    let refused = setup.runtime.block_on(setup.publisher.renew(with_password(&kafka, "not-yet-the-password")));
    assert!(matches!(refused, Err(NotRenewed::NotReady(trouble)) if trouble.is_refusal()));
    let unusable = setup.runtime.block_on(setup.publisher.renew(first().set("ssl.ca.pem", "no PEM").clone()));
    assert!(matches!(unusable, Err(NotRenewed::Create(_))), "{unusable:?}");
    assert_eq!(setup.publish_to(&setup.topic, 1).recv_timeout(LIMIT), Ok(Delivery::Acknowledged));

    kafka.change_scram_password("the-second-password");
    kafka.stop();
    kafka.restart();
    let lost = setup.publish_to(&setup.topic, 2);
    // Refused it is only once it has tried to come back.
    eventually(LIMIT, || {
        let second = with_password(&kafka, "the-second-password");
        setup.runtime.block_on(setup.publisher.renew(second)).map_err(|error| error.to_string())
    });
    assert_eq!(lost.recv_timeout(LIMIT), Ok(Delivery::Failed(DeliveryFailure::Purged)));
    assert_eq!(setup.publish_to(&setup.topic, 3).recv_timeout(LIMIT), Ok(Delivery::Acknowledged));
    assert_eq!(setup.numbers(&kafka), [0, 1, 3]);
}
