//! A replica that starts beside very many entries: how long it reads them, and what they take.
//!
//! The long form, a million entries, takes about a minute:
//! ```text
//! PAYBRIDGE_DEDUP_ENTRIES=1000000 cargo test --test suite shared_dedup::volume -- --nocapture
//! ```

use std::env;
use std::fs;
use std::time::Duration;

use paybridge::config::Config;
use paybridge::ingress::shared_dedup::entry::{self, ClusterMark};
use paybridge::provider::EventId;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

use super::DEDUP;
use crate::support::bridge::create_needed_topics;
use crate::support::daemon::{Daemon, Settings, configuration};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;
use crate::support::stream::Random;

/// Entries of the short form.
const FEW: usize = 20_000;

#[test]
fn a_replica_that_starts_reads_all_entries_of_the_window_in_bounded_memory() {
    let kafka = Kafka::shared();
    let count = env::var("PAYBRIDGE_DEDUP_ENTRIES").map_or(FEW, |count| count.parse().unwrap());
    let text = configuration(kafka.bootstrap(), Settings::default());
    let config = Config::from_toml(&text, []).unwrap();
    create_needed_topics(kafka, &config);
    let before = {
        let daemon = Daemon::run(&text);
        daemon.await_ready();
        read_to_end(&daemon);
        resident_bytes(&daemon)
    };
    write_entries(kafka, &format!("{}.{DEDUP}", config.kafka.topic_prefix.as_ref()), count);
    let daemon = Daemon::run(&text);
    daemon.await_ready();
    let told = read_to_end(&daemon);
    assert_eq!(told["events"], count);
    let entries = usize::try_from(resident_bytes(&daemon).saturating_sub(before)).unwrap();
    println!(
        "{count} entries read in {} ms; {} KiB without them, {} bytes an entry",
        told["after_ms"],
        before / 1024,
        entries / count
    );
    // What a client of Kafka holds of what it fetched is a part of it.
    assert!(entries <= 64 * 1024 * 1024 + 64 * count, "{entries} bytes");
}

fn write_entries(kafka: &Kafka, topic: &str, count: usize) {
    let producer: BaseProducer = kafka.client().set("linger.ms", "20").create().unwrap();
    let cluster = ClusterMark::of(&producer.client().fetch_cluster_id(LIMIT).unwrap());
    let mut random = Random::printed();
    for _ in 0..count {
        let id = EventId::from_bytes(random.bytes(16).try_into().unwrap());
        let value = entry::encode(super::published(id), cluster);
        let mut record = BaseRecord::<(), _>::to(topic).payload(&value);
        while let Err((error, refused)) = producer.send(record) {
            assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
            producer.poll(Duration::from_millis(100));
            record = refused;
        }
    }
    producer.flush(LIMIT).unwrap();
}

/// The line that says so.
#[track_caller]
fn read_to_end(daemon: &Daemon) -> Value {
    eventually(LIMIT, || {
        let log = daemon.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut told = lines.filter(|line| {
            line["message"].as_str().is_some_and(|text| text.starts_with("dedup topic read to its end"))
        });
        told.next().ok_or(log.clone())
    })
}

fn resident_bytes(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}
