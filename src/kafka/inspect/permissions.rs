//! Proves what the principals may do with topics, by trying it without leaving a record.
//!
//! Writing: a record larger than the topic takes. Kafka looks at the principal's permission first and at the size after,
//! so "too large" proves the permission, and nothing is kept. Where the topic's limit is not known: a record with an
//! `acks` that does not exist, which is never kept; a refused permission shows, a granted one on Apache Kafka only
//! (Redpanda looks at `acks` first). Reading: a fetch at the end of a partition. Idempotence: a producer id.
//! Must not join a group or commit an offset. Blocks.

mod idempotence;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::finding::{Code, Finding, counted};
use crate::kafka::client_error::{ClientError, ClientErrors};
use crate::kafka::client_log;
use crate::kafka::cluster::{ClusterClient, ReportedSettings};
use crate::kafka::reader;
use crate::kafka::topics::Access;

/// The partition that is tried: permissions are the topic's.
const PARTITION: i32 = 0;
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Topics that take larger records are not tried: brokers end connections at requests above socket.request.max.bytes.
const TRIAL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The trial where the topic's limit is not known: twice Kafka's own default, so that size too speaks against it.
const UNKNOWN_LIMIT_BYTES: usize = 2 * 1024 * 1024;
/// What a record needs around its value, and more.
const OVERHEAD_BYTES: usize = 4096;

/// How the bridge's clients connect; they may do so as different principals.
pub struct Principals {
    /// Publishes events.
    pub writes: ClientConfig,
    /// Looks at topics and reads them.
    pub reads: ClientConfig,
}

/// A topic that is there, and what the principals must be allowed on it.
pub struct TriedTopic {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: ReportedSettings,
    /// What is done with it.
    pub access: Access,
}

/// What the principals may do with these topics. What the deadline leaves untried is said to be not checked.
pub fn findings(principals: &Principals, topics: &[TriedTopic], deadline: Instant) -> Vec<Finding> {
    if topics.is_empty() {
        return Vec::new();
    }
    let mut findings = match idempotence::is_permitted(&principals.writes, left(deadline)) {
        // Each record would wait for a connection that does not come about.
        Err(finding) if finding.code.is_of_connections() => {
            vec![Finding { subject: "kafka.ingress".to_owned(), ..finding }]
        }
        permitted => {
            let writes = writes(principals, topics, deadline);
            let writes = writes.unwrap_or_else(|client_error| vec![client_error.finding()]);
            permitted.err().into_iter().chain(writes).collect()
        }
    };
    findings
        .extend(reads(&principals.reads, topics, deadline).unwrap_or_else(|client_error| vec![client_error.finding()]));
    findings
}

/// Whether a topic may be used, and if not, or if it is not known, why.
type Permitted = Result<(), Finding>;

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).min(ANSWER_WITHIN)
}

fn not_checked(topic: &str, what: &str, reason: impl std::fmt::Display) -> Finding {
    Finding::new(Code::NotChecked, topic, format!("whether the principal may {what} is not checked: {reason}"))
}

/// Tells the proven together and the rest one by one. `what` may be done with the proven ones; `proof` is how that is known.
fn summary(code: Code, verdicts: Vec<Permitted>, what: &str, proof: &str) -> Vec<Finding> {
    let all = verdicts.len();
    let mut findings: Vec<Finding> = verdicts.into_iter().filter_map(Result::err).collect();
    let proven = all.saturating_sub(findings.len());
    if proven > 0 {
        let topics =
            if proven == all { counted(all, "topic") } else { format!("{proven} of {}", counted(all, "topic")) };
        findings.push(Finding::new(code, "kafka", format!("{what} permission: ok ({topics})")).with_detail(proof));
    }
    findings
}

fn writes(principals: &Principals, topics: &[TriedTopic], deadline: Instant) -> Result<Vec<Finding>, ClientError> {
    let cluster = ClusterClient::connect(&principals.reads)?;
    let trial = WriteTrial::new(&principals.writes)?;
    let mut moved: Vec<&str> = Vec::new();
    let mut verdicts = Vec::new();
    for TriedTopic { name: topic, settings, .. } in topics.iter().filter(|topic| topic.access == Access::Write) {
        let before = cluster.watermarks(topic, PARTITION, left(deadline)).ok();
        let verdict = trial.write(topic, settings, deadline);
        if verdict.is_ok() && before != cluster.watermarks(topic, PARTITION, left(deadline)).ok() {
            moved.push(topic);
        }
        verdicts.push(verdict);
    }
    let left_behind = match moved.as_slice() {
        [] => "and no record was left: the ends of the partitions have not moved".to_owned(),
        moved => format!("and others wrote to {} meanwhile", moved.join(", ")),
    };
    let proof = format!("Kafka refused a record because of its size and not because of the principal, {left_behind}");
    Ok(summary(Code::WriteProven, verdicts, "write", &proof))
}

/// Producers of records that no topic takes.
struct WriteTrial {
    too_large: ThreadedProducer<WriteTrialContext>,
    odd_acks: ThreadedProducer<WriteTrialContext>,
    payload: Vec<u8>,
}

impl WriteTrial {
    fn new(client: &ClientConfig) -> Result<Self, ClientError> {
        let producer = |acks: &str| {
            let mut config = client.clone();
            config
                .set("message.max.bytes", (TRIAL_BYTES_MAX + 2 * OVERHEAD_BYTES).to_string()) // the topic's limit decides
                .set("compression.type", "none") // the size that counts is the compressed one
                .set("enable.idempotence", "false")
                .set("acks", acks)
                .set("retries", "0")
                .set("linger.ms", "0")
                .set("message.timeout.ms", ANSWER_WITHIN.as_millis().to_string());
            config.create_with_context(WriteTrialContext).map_err(|error| ClientError::of_creation(&error))
        };
        Ok(Self {
            too_large: producer("1")?, // with all, too few replicas in sync would answer before the size does
            odd_acks: producer("2")?,  // only -1, 0 and 1 exist
            payload: vec![0; TRIAL_BYTES_MAX + OVERHEAD_BYTES],
        })
    }

    fn write(&self, topic: &str, settings: &ReportedSettings, deadline: Instant) -> Permitted {
        let (producer, bytes, unproven) = match trial_bytes(settings) {
            Ok(bytes) => (&self.too_large, bytes, None),
            Err(reason) => (&self.odd_acks, UNKNOWN_LIMIT_BYTES, Some(reason)),
        };
        let (report, reported) = channel();
        let record = BaseRecord::<'_, (), [u8], _>::with_opaque_to(topic, Box::new(report))
            .partition(PARTITION)
            .payload(self.payload.get(..bytes).unwrap_or_default());
        if let Err((error, _)) = producer.send(record) {
            // The client refused it, so Kafka was not asked.
            return Err(not_checked(topic, "write", error));
        }
        let answer = wait(&reported, deadline);
        if answer.is_none() {
            producer.purge(PurgeConfig::default().queue().inflight());
        }
        judge_write(topic, answer, unproven)
    }
}

/// How large a record the topic refuses for its size.
fn trial_bytes(settings: &ReportedSettings) -> Result<usize, String> {
    let limit: Option<usize> = match settings {
        ReportedSettings::Known { all: settings, .. } => {
            settings.get("max.message.bytes").and_then(|limit| limit.parse().ok())
        }
        ReportedSettings::Unknown(_) => None,
    };
    match limit {
        None => Err("its max.message.bytes is not known".to_owned()),
        Some(limit) if limit > TRIAL_BYTES_MAX => {
            Err(format!("its max.message.bytes is {limit}: a record that exceeds it is too large for a trial"))
        }
        Some(limit) => Ok(limit.saturating_add(OVERHEAD_BYTES)),
    }
}

/// What Kafka answered to a record that is too large.
type WriteAnswer = Result<i64, KafkaError>;

fn wait(reported: &Receiver<WriteAnswer>, deadline: Instant) -> Option<WriteAnswer> {
    reported.recv_timeout(left(deadline)).ok()
}

/// `unproven` is why the record was not too large, if it was not.
fn judge_write(topic: &str, answer: Option<WriteAnswer>, unproven: Option<String>) -> Permitted {
    use RDKafkaErrorCode as Kind;
    let error = match answer {
        None => return Err(not_checked(topic, "write", "Kafka did not answer in time")),
        Some(Ok(offset)) => {
            let message = format!(
                "the principal may write, but a record of this check was left in partition {PARTITION} at offset {offset}"
            );
            return Err(Finding::new(Code::ProbeRecordLeft, topic, message));
        }
        Some(Err(error)) => error,
    };
    match (error.rdkafka_error_code(), unproven) {
        (Some(Kind::MessageSizeTooLarge), _) => Ok(()),
        (Some(Kind::TopicAuthorizationFailed | Kind::ClusterAuthorizationFailed), _) => {
            Err(Finding::new(Code::WriteNotAuthorized, topic, "the principal may not write to it"))
        }
        (Some(Kind::InvalidRequiredAcks), Some(reason)) => {
            let likely = "Kafka refused a record because of its invalid `acks`; Apache Kafka does so only if the principal may write";
            let action =
                "nothing with Apache Kafka; else allow the principal DescribeConfigs on the topic, and check again";
            Err(not_checked(topic, "write", format!("{reason}; {likely}")).with_action(action))
        }
        _ => Err(not_checked(topic, "write", error)),
    }
}

/// Passes each delivery report to who waits for it.
struct WriteTrialContext;

impl ClientContext for WriteTrialContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client_log::log(level, facility, message);
    }

    fn error(&self, _: KafkaError, _: &str) {} // the delivery reports tell
}

impl ProducerContext<NoCustomPartitioner> for WriteTrialContext {
    type DeliveryOpaque = Box<Sender<WriteAnswer>>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Self::DeliveryOpaque) {
        // Nobody waits any more after the deadline.
        let _told = report.send(match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        });
    }
}

fn reads(client: &ClientConfig, topics: &[TriedTopic], deadline: Instant) -> Result<Vec<Finding>, ClientError> {
    let mut config = reader::without_group(client);
    // So that a fetch that finds nothing is told, and told soon.
    config.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "10");
    let consumer: BaseConsumer<ClientErrors> =
        config.create_with_context(ClientErrors::default()).map_err(|error| ClientError::of_creation(&error))?;
    let consumer = Arc::new(consumer);
    let mut assignment = TopicPartitionList::with_capacity(topics.len());
    let added = topics
        .iter()
        .try_for_each(|topic| assignment.add_partition_offset(&topic.name, PARTITION, Offset::End))
        .and_then(|()| consumer.assign(&assignment));
    if let Err(error) = added {
        return Ok(vec![not_checked("kafka", "read", error)]);
    }
    // Answers on one queue for all would not tell their topics; partitions one after the other take a second each.
    let queues: Vec<_> =
        topics.iter().map(|topic| (&topic.name, consumer.split_partition_queue(&topic.name, PARTITION))).collect();
    let verdict = |topic: &str, queue: Option<_>| match queue {
        Some(queue) => read(topic, &queue, deadline),
        None => Err(not_checked(topic, "read", "the client has no queue for its partition")),
    };
    let verdicts = queues.into_iter().map(|(topic, queue)| verdict(topic, queue)).collect();
    let proof = "Kafka answered a fetch at the end of a partition";
    Ok(summary(Code::ReadProven, verdicts, "read", proof))
}

fn read(topic: &str, queue: &PartitionQueue<ClientErrors>, deadline: Instant) -> Permitted {
    use RDKafkaErrorCode as Kind;
    let until = Instant::now() + left(deadline);
    while Instant::now() < until {
        let error = match queue.poll(until.saturating_duration_since(Instant::now())) {
            None => continue,
            // Nothing is there, or somebody wrote just now.
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) => error,
        };
        if error.rdkafka_error_code() == Some(Kind::TopicAuthorizationFailed) {
            return Err(Finding::new(Code::ReadNotAuthorized, topic, "the principal may not read it"));
        }
    }
    Err(not_checked(topic, "read", "Kafka did not answer in time"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn told(limit: &str) -> ReportedSettings {
        let all = BTreeMap::from([("max.message.bytes".to_owned(), limit.to_owned())]);
        ReportedSettings::Known { all, own: None, read_only: std::collections::BTreeSet::new() }
    }

    #[test]
    fn a_trial_is_larger_than_the_topics_limit_or_is_not_made() {
        assert_eq!(trial_bytes(&told("1048576")), Ok(1_052_672));
        for unsure in [told("2147483647"), told("16777217"), told("?"), ReportedSettings::Unknown("no".to_owned())] {
            assert!(trial_bytes(&unsure).is_err(), "{unsure:?}");
        }
    }

    #[test]
    fn only_kafkas_refusal_for_size_proves_the_permission_to_write() {
        let production = |code| Some(Err(KafkaError::MessageProduction(code)));
        for (answer, expected) in [
            (production(RDKafkaErrorCode::MessageSizeTooLarge), None),
            (production(RDKafkaErrorCode::TopicAuthorizationFailed), Some(Code::WriteNotAuthorized)),
            (production(RDKafkaErrorCode::MessageTimedOut), Some(Code::NotChecked)),
            (production(RDKafkaErrorCode::NotLeaderForPartition), Some(Code::NotChecked)),
            (Some(Ok(7)), Some(Code::ProbeRecordLeft)),
            (None, Some(Code::NotChecked)),
        ] {
            let verdict = judge_write("t", answer.clone(), None);
            assert_eq!(verdict.err().map(|finding| finding.code), expected, "{answer:?}");
        }
    }

    #[test]
    fn an_odd_acks_proves_only_that_the_principal_may_not_write() {
        for (code, expected) in [
            (RDKafkaErrorCode::InvalidRequiredAcks, Code::NotChecked),
            (RDKafkaErrorCode::TopicAuthorizationFailed, Code::WriteNotAuthorized),
        ] {
            let answer = Some(Err(KafkaError::MessageProduction(code)));
            let verdict = judge_write("t", answer, Some("its limit is not known".to_owned()));
            assert_eq!(verdict.map_err(|finding| finding.code), Err(expected));
        }
    }
}
