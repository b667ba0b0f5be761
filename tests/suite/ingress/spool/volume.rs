//! A start with very many records on disk, how fast they go to Kafka, and how fast webhooks go to disk.
//!
//! The long form, with a million records, takes some minutes; its figures are of a release build:
//! ```text
//! cargo build --release
//! PAYBRIDGE_BIN=$PWD/target/release/paybridge PAYBRIDGE_SPOOL_RECORDS=1000000 \
//!     cargo test --test suite -- ingress::spool::volume --nocapture
//! ```

use std::env;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use paybridge::kafka::record::Record;
use paybridge::provider::{EventId, SignedWebhook};
use paybridge::spool::batch::{self, SpooledRecord};
use paybridge::spool::folder::Folder;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::Spooling;
use crate::support::bridge::{event_type, sender, try_exchange, webhook_request};
use crate::support::kafka::Kafka;
use crate::support::stream::Random;

const TOPIC: &str = "unipaas.payout-update.v1";
/// Records of the short form.
const FEW: usize = 20_000;
/// Records of one file, each about 1 KB: 4 MiB, as the daemon writes it.
const RECORDS_A_FILE: usize = 4_000;
const VALUE_BYTES: usize = 900;
/// Clients that send as fast as they are answered.
const CLIENTS: usize = 256;
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_start_with_many_records_on_disk_is_quick_and_bounded_in_memory() {
    let count = env::var("PAYBRIDGE_SPOOL_RECORDS").map_or(FEW, |count| count.parse().unwrap());
    let kafka = Kafka::start(&[]);
    let mut spooling = Spooling::start(&kafka, "bytes_max = 17179869184");
    let before = resident_bytes(spooling.daemon.pid());
    spooling.daemon.signal("TERM");
    assert_eq!(spooling.daemon.await_end(), Some(0));
    let topic = spooling.topic().replace(super::TOPIC, TOPIC);
    let bytes = fill(&spooling, &topic, count);

    kafka.freeze();
    let began = Instant::now();
    spooling.daemon.start_anew();
    spooling.daemon.await_listening();
    let listening = began.elapsed();
    let taken = resident_bytes(spooling.daemon.pid()).saturating_sub(before);
    let per_record = usize::try_from(taken).unwrap() / count;
    kafka.thaw();
    let began = Instant::now();
    spooling.await_drained();
    let drained = began.elapsed();
    assert_eq!(records_on(&kafka, &topic), count);
    println!(
        "{count} records on disk, {} MiB: listening {} ms after the start, {per_record} bytes of memory a record; in Kafka after {:.1} s, {:.0} a second",
        bytes / 1024 / 1024,
        listening.as_millis(),
        drained.as_secs_f64(),
        f64::from(u32::try_from(count).unwrap()) / drained.as_secs_f64(),
    );
    // What a process and the files being published hold is a part of it.
    assert!(taken <= 96 * 1024 * 1024 + 64 * u64::try_from(count).unwrap(), "{taken} bytes");

    kafka.freeze();
    spooling.post_well(&spooling.event("ps_1", 1));
    let seconds: u32 = if count > FEW { 10 } else { 2 };
    let written = post_for(&spooling, Duration::from_secs(seconds.into()));
    println!(
        "{} webhooks a second to disk, with {CLIENTS} clients on the same machine",
        written / usize::try_from(seconds).unwrap()
    );
    assert!(written > 0);
    kafka.thaw();
    spooling.await_drained();
    assert_eq!(records_on(&kafka, &topic), count + written);
}

/// Writes files as the daemon does; their bytes.
fn fill(spooling: &Spooling, topic: &str, count: usize) -> usize {
    let folder = Folder::open(&spooling.path()).unwrap();
    let mut random = Random::printed();
    let topic: Arc<str> = topic.into();
    let (mut bytes, mut left, mut number) = (0, count, 1);
    while left > 0 {
        let record = |_| {
            let id = EventId::from_bytes(random.bytes(16).try_into().unwrap());
            let headers = vec![("ce_id".into(), Bytes::from(id.to_string()))];
            let record =
                Record { topic: Arc::clone(&topic), key: id.to_string(), value: vec![7; VALUE_BYTES], headers };
            SpooledRecord { record, event_id: Some(id) }
        };
        let records: Vec<SpooledRecord> = (0..left.min(RECORDS_A_FILE)).map(record).collect();
        let file = batch::encode(number, &records);
        folder.store(number, &file).unwrap();
        bytes += file.len();
        left -= records.len();
        number += 1;
    }
    bytes
}

/// How many webhooks are answered 200 in this time, by clients that each send one after the other.
fn post_for(spooling: &Spooling, time: Duration) -> usize {
    let config = &spooling.daemon.config;
    let (signing, payout) = (sender(config, "unipaas"), event_type("unipaas", "payout-update"));
    let url = format!("http://{}/webhooks/unipaas", config.ingress.listen);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let http: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let (number, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let signing: Arc<dyn Fn(usize) -> SignedWebhook + Send + Sync> = {
        let samples: Vec<SignedWebhook> =
            (0..200_000).map(|number| signing.sample(payout, Timestamp::now(), number)).collect();
        Arc::new(move |number| samples[number].clone())
    };
    runtime.block_on(async {
        let end = tokio::time::Instant::now() + time;
        let clients = (0..CLIENTS).map(|_| {
            let (http, url, number, taken, signing) =
                (http.clone(), url.clone(), Arc::clone(&number), Arc::clone(&taken), Arc::clone(&signing));
            tokio::spawn(async move {
                while tokio::time::Instant::now() < end {
                    let webhook = signing(number.fetch_add(1, Ordering::Relaxed));
                    let answered = try_exchange(http.clone(), webhook_request(&url, &webhook)).await.unwrap();
                    assert_eq!(answered.status, 200, "{answered:?}");
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
    taken.load(Ordering::Relaxed)
}

fn records_on(kafka: &Kafka, topic: &str) -> usize {
    let consumer: BaseConsumer = kafka.client().create().unwrap();
    let of = |partition| {
        let (low, high) = consumer.fetch_watermarks(topic, partition, LIMIT).unwrap();
        usize::try_from(high - low).unwrap()
    };
    (0..3).map(of).sum()
}

fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}
