//! Which topics a configuration needs, what they are called, and the settings that their promises rest on.
//! Must not talk to Kafka.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::provider::{self, EventType};

/// The message type of records on the `unrecognized` topic.
pub const UNRECOGNIZED_MESSAGE: &str = "paybridge.event.v1.UnrecognizedWebhook";
/// The message type of records on the `quarantine` topic.
pub const QUARANTINED_MESSAGE: &str = "paybridge.event.v1.QuarantinedWebhook";

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

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
    /// Topic settings by their Kafka names.
    pub settings: BTreeMap<&'static str, String>,
}

/// The name of an event type's topic: `{prefix}.{provider}.{event type}.v{major}`, the message's own major version.
pub fn event_topic(prefix: &str, provider: &str, event_type: &EventType) -> String {
    let major = event_type.message.split('.').rev().nth(1).unwrap_or("v1");
    format!("{prefix}.{provider}.{}.{major}", event_type.topic_part)
}

/// The name of the topic for authentic webhooks of unknown type.
pub fn unrecognized_topic(prefix: &str) -> String {
    format!("{prefix}.unrecognized.v1")
}

/// The name of the topic for authentic webhooks that cannot be decoded, and samples of the unauthentic.
pub fn quarantine_topic(prefix: &str) -> String {
    format!("{prefix}.quarantine.v1")
}

/// Every topic that this configuration needs, in the order of their names; those of disabled parts are left out.
pub fn needed(config: &Config) -> Vec<Topic> {
    if !config.ingress.enabled {
        return Vec::new();
    }
    let prefix = config.kafka.topic_prefix.as_ref();
    let mut topics = vec![
        topic(config, unrecognized_topic(prefix), UNRECOGNIZED_MESSAGE, 30),
        topic(config, quarantine_topic(prefix), QUARANTINED_MESSAGE, 30),
    ];
    let mut providers: Vec<&str> = config.sources.values().map(|source| source.provider.as_str()).collect();
    providers.sort_unstable();
    providers.dedup();
    for provider in providers.into_iter().filter_map(provider::find) {
        for event_type in provider.event_types() {
            let name = event_topic(prefix, provider.name(), event_type);
            topics.push(topic(config, name, event_type.message, 7));
        }
    }
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    topics
}

fn topic(config: &Config, name: String, message: &'static str, retention_days: u64) -> Topic {
    let replication_factor = config.kafka.replication_factor;
    let in_sync = if replication_factor >= 3 { "2" } else { "1" };
    let settings = BTreeMap::from([
        ("cleanup.policy", "delete".to_owned()),
        ("max.message.bytes", config.ingress.record_bytes_max().to_string()),
        ("min.insync.replicas", in_sync.to_owned()),
        ("retention.ms", (retention_days * DAY_MS).to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ]);
    Topic { name, message, partitions: config.kafka.partitions, replication_factor, settings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prefix_provider_event_type_and_version() {
        let provider = provider::find("smart-glocal").unwrap();
        let names: Vec<String> =
            provider.event_types().iter().map(|event| event_topic("payments", provider.name(), event)).collect();
        assert_eq!(names[0], "payments.smart-glocal.ready-to-confirm.v1");
        assert!(names.iter().all(|name| !name.contains('_')));
    }
}
