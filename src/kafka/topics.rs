//! Which topics a configuration needs, what they are called, and the settings that their promises rest on.
//! Must not talk to Kafka.

use std::collections::BTreeMap;

use crate::config::{Config, DedupMode};
use crate::finding::{Code, Finding};
use crate::provider::{self, CONFIRMATION_PROVIDER, EventType};

/// The message type of records on the `unrecognized` topic.
pub const UNRECOGNIZED_MESSAGE: &str = "paybridge.event.v1.UnrecognizedWebhook";
/// The message type of records on the `quarantine` topic.
pub const QUARANTINED_MESSAGE: &str = "paybridge.event.v1.QuarantinedWebhook";

/// The message type of records on the `rejected` topic.
pub const REJECTED_MESSAGE: &str = "paybridge.event.v1.RejectedWebhook";

/// The message type of records on the topic by which replicas tell each other of their events.
pub const DEDUP_MESSAGE: &str = "paybridge.dedup.v1.DedupEntry";

/// The message type of records on the topic of releases.
pub const RELEASE_MESSAGE: &str = "paybridge.release.v1.ReleaseEntry";

/// The message type of records on the topic of decisions.
pub const DECISION_MESSAGE: &str = "paybridge.confirmation.v1.Decision";
/// The message type of records on the topic of outcomes.
pub const OUTCOME_MESSAGE: &str = "paybridge.confirmation.v1.Outcome";
/// The message type of records on the topic of rejected decisions.
pub const DECISION_REJECTED_MESSAGE: &str = "paybridge.confirmation.v1.DecisionRejected";
/// The message type of records on the ledger.
pub const LEDGER_MESSAGE: &str = "paybridge.confirmation.v1.LedgerEntry";

/// The events that the engine reads of [`CONFIRMATION_PROVIDER`]: the first opens a session, the second ends it.
const CONFIRMATION_EVENTS: [&str; 2] = ["ready-to-confirm", "payment-finished"];

/// The `message.timestamp.type` with which the broker, not the producer, gives a record its time.
pub const LOG_APPEND_TIME: &str = "LogAppendTime";

const TIMESTAMP_TYPE: &str = "message.timestamp.type";
/// Settings that a promise rests on, on every topic: what keeps records, how large they may be, and on how many brokers an
/// acknowledged one is. A cluster that refuses another one gets the topic without it.
const PROMISED: [&str; 3] = ["cleanup.policy", "max.message.bytes", "min.insync.replicas"];

/// Bytes of a partition of the topic of rejected webhooks.
const REJECTED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of a segment of the topic of dedup entries.
const DEDUP_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// One topic that the configuration needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its full name.
    pub name: String,
    /// The one message type on it.
    pub message: &'static str,
    /// How many partitions; fixed for the topic's life.
    pub partitions: i32,
    /// How many replicas.
    pub replication_factor: i32,
    /// Topic settings by their Kafka names, as it is to be made.
    pub settings: BTreeMap<String, String>,
    /// Those that a promise rests on, whether they are to be set or left to the cluster.
    pub promised: BTreeMap<&'static str, String>,
    /// What hangs on the times of its records.
    pub times: RecordTimes,
    /// What this configuration's parts do with it.
    pub access: Access,
}

impl Topic {
    /// Whether it is this program's own memory, which nobody else needs to read.
    pub fn is_internal(&self) -> bool {
        [LEDGER_MESSAGE, DEDUP_MESSAGE, RELEASE_MESSAGE].contains(&self.message)
    }
}

/// What the configured parts do with a topic, and so what their principal must be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They only read it.
    Read,
    /// They write it; and people read it with the same principal.
    Write,
}

/// What the times of a topic's records are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordTimes {
    /// The confirmation engine reads or writes it: windows are bounded by them, and its clock is judged by them.
    BoundWindows,
    /// Subscribers see them, and the ingress's clock is judged by them.
    Inform,
}

/// The name of an event type's topic: `{prefix}.{group}.{event type}.v{major}`, the message's own major version. The group is the
/// provider's name, but for sources that have another.
pub fn event_topic(prefix: &str, group: &str, event_type: &EventType) -> String {
    let major = event_type.message.split('.').rev().nth(1).unwrap_or("v1");
    format!("{prefix}.{group}.{}.{major}", event_type.topic_part)
}

/// The name of the topic for authentic webhooks of unknown type.
pub fn unrecognized_topic(prefix: &str) -> String {
    format!("{prefix}.unrecognized.v1")
}

/// The name of the topic for samples of webhooks that failed authentication.
pub fn rejected_topic(prefix: &str) -> String {
    format!("{prefix}.rejected.v1")
}

/// The name of the topic for authentic webhooks that cannot be decoded.
pub fn quarantine_topic(prefix: &str) -> String {
    format!("{prefix}.quarantine.v1")
}

/// The name of the topic by which replicas tell each other of their events.
pub fn dedup_topic(prefix: &str) -> String {
    format!("{prefix}.dedup.v1")
}

/// The name of the topic that remembers what was released of those three, and holds requests for releases.
pub fn release_topic(prefix: &str) -> String {
    format!("{prefix}.quarantine-release.v1")
}

/// The name of the topic for other teams' decisions.
pub fn decision_topic(prefix: &str) -> String {
    format!("{prefix}.confirmation.decision.v1")
}

/// The name of the topic that tells what became of each session.
pub fn outcome_topic(prefix: &str) -> String {
    format!("{prefix}.confirmation.outcome.v1")
}

/// The name of the topic for decisions that could not count.
pub fn decision_rejected_topic(prefix: &str) -> String {
    format!("{prefix}.confirmation.decision-rejected.v1")
}

/// The name of the confirmation engine's compacted memory.
pub fn ledger_topic(prefix: &str) -> String {
    format!("{prefix}.confirmation.ledger.v1")
}

/// The events that the confirmation engine reads: those of its one provider that open a session and that end it.
pub fn confirmation_events() -> Vec<(&'static str, &'static EventType)> {
    let provider = provider::find(CONFIRMATION_PROVIDER);
    let of_provider = provider.iter().flat_map(|provider| provider.event_types());
    let read = of_provider.filter(|event_type| CONFIRMATION_EVENTS.contains(&event_type.topic_part));
    read.map(|event_type| (CONFIRMATION_PROVIDER, event_type)).collect()
}

/// The topics that must have the same number of partitions, because the confirmation engine takes one partition of all of
/// them together; empty when it is off.
pub fn equal_counts(config: &Config) -> Vec<String> {
    if !config.confirmation.enabled {
        return Vec::new();
    }
    let prefix = config.kafka.topic_prefix.as_ref();
    let events = confirmation_events();
    let inputs = events.iter().map(|(provider, event)| event_topic(prefix, provider, event));
    inputs.chain([decision_topic(prefix), ledger_topic(prefix)]).collect()
}

/// What is wrong with the numbers of partitions as they are configured, before any topic is made by them.
pub fn unequal_counts(config: &Config) -> Option<Finding> {
    let together = equal_counts(config);
    let counts: Vec<(&str, i32)> = together.iter().map(|name| (name.as_str(), partitions(config, name))).collect();
    let (first, count) = counts.first()?;
    if counts.iter().all(|(_, other)| other == count) {
        return None;
    }
    let each: Vec<String> = counts.iter().map(|(name, count)| format!("{name} should have {count}")).collect();
    let message = format!(
        "must have the same number of partitions as the topics that the engine reads together: {}",
        each.join(", ")
    );
    let action = "give them the same number in [kafka.topic_settings]";
    Some(Finding::new(Code::TopicPartitionsUnequal, *first, message).with_action(action))
}

/// Every topic that this configuration needs, in the order of their names; those of disabled parts are left out.
pub fn needed(config: &Config) -> Vec<Topic> {
    let mut topics = Vec::new();
    if config.confirmation.enabled {
        topics.extend(of_confirmation(config));
    }
    if config.ingress.enabled {
        topics.extend(of_ingress(config));
    }
    // Stable: of a topic that both parts need the engine's stays, which has the same settings and needs its records' times.
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    topics.dedup_by(|again, first| {
        let is_same = again.name == first.name;
        if is_same && again.access == Access::Write {
            first.access = Access::Write;
        }
        is_same
    });
    topics.into_iter().map(|topic| overridden(config, topic)).collect()
}

fn overridden(config: &Config, mut topic: Topic) -> Topic {
    topic.partitions = config.kafka.topic_settings.of(&topic.name).partitions.unwrap_or(topic.partitions);
    for (name, value) in config.kafka.topic_settings.of(&topic.name).settings {
        match value {
            Some(value) => topic.settings.insert(name, value),
            None => topic.settings.remove(&name),
        };
    }
    topic
}

fn partitions(config: &Config, topic: &str) -> i32 {
    config.kafka.topic_settings.of(topic).partitions.unwrap_or(config.kafka.partitions)
}

fn of_ingress(config: &Config) -> Vec<Topic> {
    let prefix = config.kafka.topic_prefix.as_ref();
    let mut topics = vec![
        topic(config, unrecognized_topic(prefix), UNRECOGNIZED_MESSAGE, 30),
        topic(config, quarantine_topic(prefix), QUARANTINED_MESSAGE, 30),
        rejected(config),
        releases(config),
    ];
    match config.dedup.mode {
        DedupMode::Shared => topics.push(dedup(config)),
        DedupMode::Local | DedupMode::Off => {}
    }
    for outline in config.sources.values().map(|source| &source.outline) {
        for event_type in &outline.event_types {
            let mut topic = topic(config, event_topic(prefix, &outline.topic_group, event_type), event_type.message, 7);
            topic.partitions = topic.partitions.min(outline.partitions_max.unwrap_or(i32::MAX));
            topics.push(topic);
        }
    }
    topics
}

fn of_confirmation(config: &Config) -> Vec<Topic> {
    let prefix = config.kafka.topic_prefix.as_ref();
    let mut topics = vec![
        topic(config, quarantine_topic(prefix), QUARANTINED_MESSAGE, 30),
        topic(config, decision_topic(prefix), DECISION_MESSAGE, 400),
        topic(config, outcome_topic(prefix), OUTCOME_MESSAGE, 400),
        topic(config, decision_rejected_topic(prefix), DECISION_REJECTED_MESSAGE, 7),
        ledger(config),
    ];
    for (provider, event_type) in confirmation_events() {
        let event = topic(config, event_topic(prefix, provider, event_type), event_type.message, 7);
        topics.push(Topic { access: Access::Read, ..event });
    }
    topics.into_iter().map(bounding_windows).collect()
}

fn bounding_windows(mut topic: Topic) -> Topic {
    topic.times = RecordTimes::BoundWindows;
    topic.promised.insert(TIMESTAMP_TYPE, LOG_APPEND_TIME.to_owned());
    topic
}

fn topic(config: &Config, name: String, message: &'static str, retention_days: u64) -> Topic {
    let rule = [("cleanup.policy", "delete".to_owned()), ("retention.ms", (retention_days * DAY_MS).to_string())];
    with_settings(config, name, message, rule)
}

/// Anybody can send what is sampled here: the topic is bounded in bytes, too.
fn rejected(config: &Config) -> Topic {
    let mut topic = topic(config, rejected_topic(config.kafka.topic_prefix.as_ref()), REJECTED_MESSAGE, 7);
    topic.settings.insert("retention.bytes".to_owned(), REJECTED_BYTES_MAX.to_string());
    topic
}

/// Read from the window's beginning when a replica starts, and of no use behind it: kept an hour longer, for clocks that differ,
/// and in small segments, because only closed ones are deleted.
fn dedup(config: &Config) -> Topic {
    let retention_ms = config.dedup.window_s * 1000 + HOUR_MS;
    let rule = [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", retention_ms.to_string()),
        ("segment.ms", (HOUR_MS / 4).to_string()),
        ("segment.bytes", DEDUP_SEGMENT_BYTES.to_string()),
    ];
    with_settings(config, dedup_topic(config.kafka.topic_prefix.as_ref()), DEDUP_MESSAGE, rule)
}

/// Compacted, so that a request's result takes its place; and deleted by age, because what was held longer ago is gone. No
/// promise rests on it: of a key's records the last one counts in any case.
fn releases(config: &Config) -> Topic {
    let rule = [("cleanup.policy", "compact,delete".to_owned()), ("retention.ms", (60 * DAY_MS).to_string())];
    let mut topic = with_settings(config, release_topic(config.kafka.topic_prefix.as_ref()), RELEASE_MESSAGE, rule);
    topic.promised.remove("cleanup.policy");
    topic
}

/// Compacted only: the last entry of a session stays for as long as the session is remembered, however old it is.
fn ledger(config: &Config) -> Topic {
    let rule = [
        ("cleanup.policy", "compact".to_owned()),
        // A reader that has seen an entry sees its tombstone too, if it needs less than a day to the end.
        ("delete.retention.ms", DAY_MS.to_string()),
        // Only closed segments are compacted. What is not compacted yet is read in vain at every take-over.
        ("segment.ms", HOUR_MS.to_string()),
        ("max.compaction.lag.ms", (6 * HOUR_MS).to_string()),
        ("min.cleanable.dirty.ratio", "0.1".to_owned()),
        ("min.compaction.lag.ms", "0".to_owned()),
    ];
    with_settings(config, ledger_topic(config.kafka.topic_prefix.as_ref()), LEDGER_MESSAGE, rule)
}

fn with_settings(
    config: &Config,
    name: String,
    message: &'static str,
    rule: impl IntoIterator<Item = (&'static str, String)>,
) -> Topic {
    let replication_factor = config.kafka.replication_factor;
    let in_sync = if replication_factor >= 3 { "2" } else { "1" };
    let mut settings = BTreeMap::from([
        ("max.message.bytes", config.ingress.record_bytes_max().to_string()),
        // A record's time is the broker's: a replica whose clock is wrong cannot write another one.
        (TIMESTAMP_TYPE, LOG_APPEND_TIME.to_owned()),
        ("min.insync.replicas", in_sync.to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ]);
    settings.extend(rule);
    let is_promised = |name: &&str| PROMISED.contains(name);
    let promised = settings.iter().filter(|(name, _)| is_promised(name)).map(|(name, value)| (*name, value.clone()));
    Topic {
        partitions: config.kafka.partitions,
        replication_factor,
        promised: promised.collect(),
        settings: settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        times: RecordTimes::Inform,
        access: Access::Write,
        name,
        message,
    }
}

#[cfg(test)]
mod tests;
