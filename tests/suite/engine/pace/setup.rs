//! What every scenario needs: topics of its own, the engine as a process, a provider, and a writer of inputs.
//! Must not measure.

use std::time::Duration;

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::message::confirmation::v1::Action;
use paybridge::simulator::{Simulator, SimulatorSettings};
use prost::Message as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::outcomes::Outcomes;
use crate::support::bridge::{create_needed_topics, key_file};
use crate::support::daemon::{Daemon, Exchange};
use crate::support::engine_setup::{PROJECT, decision, known_keys, sources, waiting_event};
use crate::support::eventually::eventually;
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::ports::free_port;

/// Partitions of every topic: what `kafka.partitions` is by default.
pub const PARTITIONS: i32 = 12;
/// How long anything may take that is waited for; far from what it takes.
pub const LIMIT: Duration = Duration::from_mins(5);
/// What is confirmed at once, where a scenario has rules.
pub const RULES: &str = r#"
[[confirmation.rules]]
name = "small"
when = 'session.operations.all(o, o.amount.currency == "USD" && o.amount.minor_units >= 1 && o.amount.minor_units <= 100000000)'
then = "confirm"
"#;
/// What the engine logs when it can work.
pub const WORKS: &str = "the confirmation engine has read its ledger";
/// What it logs when it knows its partitions.
pub const ASSIGNED: &str = "partitions were assigned to the confirmation engine";

/// Whether webhooks are taken too.
#[derive(Clone, Copy)]
pub enum Ingress {
    /// They are.
    On,
    /// The process is the engine alone.
    Off,
}

/// One scenario's surroundings.
pub struct PaceSetup<'k> {
    /// Where the topics are.
    pub kafka: &'k Kafka,
    /// The configuration but for the provider's address.
    text: String,
    prefix: String,
    producer: ThreadedProducer<DefaultProducerContext>,
    runtime: Runtime,
}

impl<'k> PaceSetup<'k> {
    /// Topics of its own, for an engine with such rules.
    pub fn new(kafka: &'k Kafka, ingress: Ingress, rules: &str) -> Self {
        let prefix = unique_prefix();
        let text = configuration(kafka, &prefix, ingress, rules);
        let config = Config::from_toml(&with_provider(&text, "http://127.0.0.1:1"), []).unwrap();
        create_needed_topics(kafka, &config);
        let mut client = kafka.client();
        client.set("linger.ms", "5").set("partitioner", "murmur2_random").set("queue.buffering.max.kbytes", "65536");
        Self { kafka, text, prefix, producer: client.create().unwrap(), runtime: Runtime::new().unwrap() }
    }

    /// A provider that answers at once.
    pub fn provider(&self) -> Simulator {
        let _entered = self.runtime.enter();
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        Simulator::start(listener, None, SimulatorSettings::new(PROJECT, known_keys())).unwrap()
    }

    /// Starts the engine as a process of its own.
    pub fn engine(&self, provider: &Simulator) -> Daemon {
        Daemon::run(&with_provider(&self.text, &format!("http://{}", provider.address)))
    }

    /// The full name of a topic.
    pub fn topic(&self, part: &str) -> String {
        format!("{}.{part}", self.prefix)
    }

    /// The outcomes from the first one on.
    pub fn outcomes(&self) -> Outcomes {
        Outcomes::of(self.kafka, &self.topic("confirmation.outcome.v1"), PARTITIONS)
    }

    /// Writes so many sessions that wait, as large as the ingress publishes them.
    pub fn write_sessions(&self, count: u32) {
        let topic = self.topic("smart-glocal.ready-to-confirm.v1");
        for number in 0..count {
            let id = session_id(number);
            let event = waiting_event(&id, Timestamp::now(), 10_000);
            self.send(&topic, &id, &event.encode_to_vec());
        }
        self.producer.flush(LIMIT).unwrap();
    }

    /// Writes a decision on each of so many sessions.
    pub fn write_decisions(&self, count: u32) {
        let topic = self.topic("confirmation.decision.v1");
        for number in 0..count {
            let id = session_id(number);
            let decision = decision(&id, Action::Confirm, &format!("decision {number}"));
            self.send(&topic, &id, &decision.encode_to_vec());
        }
        self.producer.flush(LIMIT).unwrap();
    }

    fn send(&self, topic: &str, key: &str, value: &[u8]) {
        loop {
            match self.producer.send(BaseRecord::to(topic).key(key).payload(value)) {
                Ok(()) => return,
                Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    self.producer.flush(LIMIT).unwrap();
                }
                Err((error, _)) => panic!("writing to {topic}: {error}"),
            }
        }
    }
}

/// Waits until a process has logged this, and says when it did.
#[track_caller]
pub fn await_logged(engine: &Daemon, text: &str) -> Timestamp {
    eventually(LIMIT, || {
        let log = engine.log();
        let line = log.lines().find(|line| line.contains(text)).ok_or_else(|| format!("no {text:?} in\n{log}"))?;
        // The last line may not be written in full yet.
        let line: serde_json::Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        Ok(line["timestamp"].as_str().unwrap().parse().unwrap())
    })
}

/// Waits until a series of `/metrics` has this value.
#[track_caller]
pub fn await_metric(engine: &Daemon, series: &str, value: u32) {
    let client = engine.client();
    eventually(LIMIT, || {
        let Exchange::Answered(metrics) = client.admin("/metrics") else { return Err("no metrics".to_owned()) };
        let found = metrics.text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        match found {
            Some(found) if found == value.to_string() => Ok(()),
            found => Err(format!("{series} is {found:?} and not {value}")),
        }
    });
}

/// The numberth session.
pub fn session_id(number: u32) -> String {
    format!("ps_{number:010}")
}

fn configuration(kafka: &Kafka, prefix: &str, ingress: Ingress, rules: &str) -> String {
    let enabled = match ingress {
        Ingress::On => "true",
        Ingress::Off => "false",
    };
    let (ingress, admin) = (free_port(), free_port());
    let bootstrap = kafka.bootstrap();
    format!(
        r#"
bridge_instance = "bench"
[ingress]
enabled = {enabled}
listen = "127.0.0.1:{ingress}"
[admin]
listen = "127.0.0.1:{admin}"
[shutdown]
drain_delay_ms = 0
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}"
partitions = {PARTITIONS}
replication_factor = 1
[confirmation]
enabled = true
group_id = "{prefix}"
{rules}
"#
    )
}

fn with_provider(text: &str, url: &str) -> String {
    let keys = format!("_files = [\"{}", key_file("").display());
    format!("{text}\n{}", sources(url).replace("_files = [\"", &keys))
}
