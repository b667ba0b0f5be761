//! Where measurements take place: a Kafka with topics, webhooks, and one program after the other in its own process.
//! Must not know what is compared with what.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::generator::{AtEnd, Load, Outcome, drive};
use crate::measured::{Measured, Measurement};
use crate::pace::Pace;
use crate::prepared::PreparedRequests;
use crate::sizes::{Sizes, Voice};
use crate::subject::{PARTITIONS, Running, Setting, Subject};
use crate::support::authority::Pair;
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;
use crate::webhooks::{Kind, Size, Webhooks};

/// How long Kafka may take for what it is asked.
const KAFKA_LIMIT: Duration = Duration::from_secs(30);
/// How long one question may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// Beside the tests' own properties. What was measured is deleted at once, and the disk gets it back soon.
const BROKER: [(&str, &str); 3] = [
    ("log.segment.bytes", "67108864"),
    ("log.retention.check.interval.ms", "2000"),
    ("log.segment.delete.delay.ms", "1000"),
];

/// A Kafka, and what was prepared so far.
pub struct LoadSetup {
    /// How much is measured.
    pub sizes: Sizes,
    kafka: Kafka,
    with_topics: BTreeSet<&'static str>,
    /// The last webhooks, by their name.
    prepared: Option<(String, Arc<PreparedRequests>)>,
}

/// What is sent, to whom.
#[derive(Clone, Copy)]
pub struct Case {
    /// Whose webhooks.
    pub kind: &'static Kind,
    /// How large they are.
    pub size: Size,
    /// For how many sources.
    pub sources: u64,
    /// How long a record waits for others to share its request.
    pub linger_ms: u32,
    /// When they are sent.
    pub pace: Pace,
}

impl LoadSetup {
    /// Starts a Kafka of so many nodes, and gets it warm.
    pub fn new(sizes: Sizes, nodes: usize) -> Self {
        let kafka = Kafka::start_cluster(nodes, &BROKER);
        let mut setup = Self { sizes, kafka, with_topics: BTreeSet::new(), prepared: None };
        let warm_up = setup.sizes.broker_warm_up * u32::try_from(nodes).unwrap();
        setup.say(&format!("warming {nodes} node(s) up for {warm_up:?} …"));
        let kind = Kind::of("unipaas");
        let case = Case { kind, size: Size::Bytes(1024), sources: 1, linger_ms: 5, pace: Pace::Closed };
        let measure = std::mem::replace(&mut setup.sizes.measure, warm_up);
        setup.measure("warm-up", Subject::Floor, case);
        setup.sizes.measure = measure;
        setup
    }

    fn say(&self, line: &str) {
        match self.sizes.voice {
            Voice::Loud => println!("{line}"),
            Voice::Quiet => {}
        }
    }

    /// How many nodes Kafka has.
    pub fn nodes(&self) -> usize {
        self.kafka.nodes().len()
    }

    /// Starts a program, sends it the case's webhooks, and ends it.
    pub fn measure(&mut self, scenario: &str, subject: Subject, case: Case) -> Measured {
        let prepared = self.webhooks(case, self.needed(subject, case));
        let setting = self.setting(case);
        let before = self.records(&setting.topic());
        let running = subject.start(&setting);
        let outcome = drive(&self.load(subject, case, &running, prepared), &|| running.process.processor_seconds());
        let records = self.records(&setting.topic()) - before;
        let measurement = Measurement {
            scenario: scenario.to_owned(),
            subject,
            provider: case.kind.provider,
            body: case.size,
            sources: case.sources,
            linger_ms: case.linger_ms,
            pace: case.pace,
        };
        let measured = Measured::new(
            measurement,
            &outcome,
            running.process.peak_memory_mib(),
            complaints(subject, &outcome, records),
        );
        drop(running);
        self.forget(&setting.topic());
        self.say(&measured.line());
        measured
    }

    /// Starts the daemon alone; with a certificate it speaks TLS.
    pub fn daemon(&mut self, case: Case, certificate: Option<Arc<Pair>>) -> Running {
        Subject::Daemon.start(&Setting { certificate, ..self.setting(case) })
    }

    /// At least so many webhooks of a case.
    pub fn webhooks(&mut self, case: Case, count: u64) -> Arc<PreparedRequests> {
        let webhooks = Webhooks::new(case.kind, case.size, case.sources);
        let name = webhooks.name();
        match &self.prepared {
            Some((known, prepared)) if *known == name && prepared.len() >= usize::try_from(count).unwrap() => {
                Arc::clone(prepared)
            }
            _ => {
                let prepared = Arc::new(PreparedRequests::open(&webhooks, count, self.sizes.chunk));
                self.prepared = Some((name, Arc::clone(&prepared)));
                prepared
            }
        }
    }

    /// How many webhooks a measurement needs.
    fn needed(&self, subject: Subject, case: Case) -> u64 {
        let seconds = (self.sizes.warm_up + self.sizes.measure).as_secs_f64();
        match (subject, case.pace) {
            // they remember nothing, and take the same again
            (Subject::Echo | Subject::Floor, _) => self.sizes.chunk,
            (Subject::Daemon, Pace::Closed) => self.sizes.whole(seconds * self.sizes.rate_max(case.kind)),
            // and a little, for the schedule's last one
            (Subject::Daemon, Pace::Open(rate)) => self.sizes.whole(seconds * rate * 1.01),
        }
    }

    fn load(&self, subject: Subject, case: Case, running: &Running, prepared: Arc<PreparedRequests>) -> Load {
        Load {
            address: running.address,
            connections: self.sizes.connections,
            pace: case.pace,
            warm_up: self.sizes.warm_up,
            measure: self.sizes.measure,
            prepared,
            at_end: match subject {
                Subject::Daemon => AtEnd::Stop,
                Subject::Echo | Subject::Floor => AtEnd::Again,
            },
        }
    }

    fn setting(&mut self, case: Case) -> Setting {
        let setting = Setting {
            bootstrap: self.kafka.bootstrap().to_owned(),
            nodes: self.kafka.nodes().len(),
            kind: case.kind,
            sources: case.sources,
            linger_ms: case.linger_ms,
            certificate: None,
        };
        if self.with_topics.insert(case.kind.provider) {
            setting.create_topics();
        }
        setting
    }

    /// How many records the topic ever had.
    fn records(&self, topic: &str) -> u64 {
        // A new topic has no leaders for a moment; and a client that was told so does not ask again for long.
        let ends = eventually(KAFKA_LIMIT, || {
            let consumer: BaseConsumer = self.kafka.client().create().unwrap();
            ends(&consumer, topic).map_err(|error| format!("{topic}: {error}"))
        });
        ends.into_iter().map(|end| u64::try_from(end).unwrap()).sum()
    }

    /// Deletes the topic's records.
    fn forget(&self, topic: &str) {
        let mut ends = TopicPartitionList::new();
        for partition in PARTITIONS {
            ends.add_partition_offset(topic, partition, Offset::End).unwrap();
        }
        let admin: AdminClient<DefaultClientContext> = self.kafka.client().create().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(KAFKA_LIMIT)).request_timeout(Some(KAFKA_LIMIT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(admin.delete_records(&ends, &options)).unwrap();
    }
}

/// The end of each partition.
fn ends(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i64>, KafkaError> {
    PARTITIONS.map(|partition| Ok(consumer.fetch_watermarks(topic, partition, QUESTION_LIMIT)?.1)).collect()
}

/// What is wrong with a measurement.
pub fn complaints(subject: Subject, outcome: &Outcome, records: u64) -> Vec<String> {
    let counts = &outcome.counts;
    let mut complaints: Vec<String> = counts
        .answers
        .iter()
        .filter(|answer| (answer.code, answer.word.as_str()) != (200, "accepted"))
        .map(|answer| format!("answered {answer}"))
        .collect();
    let good = counts.all_answers();
    // What was answered otherwise may be there all the same, and is complained of already.
    if subject != Subject::Echo && complaints.is_empty() && records < good {
        complaints.push(format!("acknowledged {good}, but the topic has {records} records more"));
    }
    complaints
        .extend(counts.broken.first().map(|reason| format!("{} connections broke: {reason}", counts.broken.len())));
    for (count, what) in [(outcome.unsent, "due and never sent"), (outcome.unanswered, "never answered")] {
        if count > 0 {
            complaints.push(format!("{count} {what}"));
        }
    }
    complaints
}
