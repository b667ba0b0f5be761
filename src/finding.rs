//! What was found when the configuration, its files and Kafka were looked at: a closed list of codes, each with its
//! severity and with what to do. Must not look at anything itself.

use serde::{Serialize, Serializer};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The bridge cannot keep its promises, or cannot start.
    Error,
    /// It works, but somebody should decide that it is meant so.
    Warning,
    /// To know: what was proven, and what was not checked.
    Info,
}

impl Severity {
    /// Its name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// Declares the codes; a code's severity never changes, and its action says what to do when nothing more exact is known.
macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal, $severity:ident, $action:literal;)*) => {
        /// What kind of finding it is. Programs may rely on the names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// Its name: lower case with hyphens.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$code => Severity::$severity,)*
                }
            }

            /// What to do about it.
            pub fn action(self) -> &'static str {
                match self {
                    $(Self::$code => $action,)*
                }
            }
        }
    };
}

codes! {
    /// The configuration file cannot be read, or is not TOML.
    ConfigUnreadable = "config-unreadable", Error, "give a readable TOML file with --config or PAYBRIDGE_CONFIG";
    /// A key that this version does not know.
    ConfigUnknownKey = "config-unknown-key", Error, "correct or remove the key";
    /// A key that has to be there.
    ConfigMissingKey = "config-missing-key", Error, "set the key";
    /// A value that cannot be used.
    ConfigInvalid = "config-invalid", Error, "correct the value";
    /// A key file cannot be read.
    KeyFileUnreadable = "key-file-unreadable", Error, "give the path of a file that this process may read";
    /// A key file holds something else than the key that belongs there.
    KeyFileUnusable = "key-file-unusable", Error, "put the right kind of key there";
    /// A file of `[ingress.tls]` cannot be read.
    CertificateUnreadable = "certificate-unreadable", Error, "give the path of a file that this process may read";
    /// The files of `[ingress.tls]` make no certificate that can be served.
    CertificateUnusable = "certificate-unusable", Error, "give a certificate in PEM, and the private key that belongs to it";
    /// A file of `[kafka.property_files]` cannot be read, or librdkafka refuses a property.
    KafkaPropertiesUnusable = "kafka-properties-unusable", Error, "correct [kafka.properties]; librdkafka's CONFIGURATION.md tells what it takes";
    /// No source of webhooks is configured.
    NoSources = "no-sources", Warning, "add a [sources.NAME] table for each provider's webhooks";
    /// Calls to a provider go unencrypted to another machine.
    ApiUnencrypted = "api-unencrypted", Warning, "begin api.base_url with https://";
    /// Redeliveries are published again.
    DedupOff = "dedup-off", Warning, "set dedup.mode to \"local\", unless every subscriber drops duplicates by event_id itself";
    /// The dedup window holds less than an event a second.
    DedupEntriesFew = "dedup-entries-few", Warning, "raise dedup.entries_max to the number of events that come in dedup.window_s";
    /// Topics with fewer than three replicas do not outlive a broker, or do not take records without it.
    ReplicationLow = "replication-low", Warning, "set kafka.replication_factor to 3 wherever an event must not be lost";
    /// A rule of `[[confirmation.rules]]` does not compile, or names what is not there.
    RuleUnusable = "rule-unusable", Error, "correct the rule";
    /// A rule fails on a session with every field: it would hold such sessions.
    RuleFails = "rule-fails", Warning, "test with has() what may be absent, and compare what is of one kind";
    /// A confirm rule stands before a cancel rule.
    RuleOrder = "rule-order", Warning, "put the cancel rule first, unless no session can be right for both";
    /// Sources whose webhooks one key verifies, and nothing else keeps a webhook of one from being sent to the other.
    KeyShared = "key-shared", Warning, "give each of them a path with a secret part, allow_from, or client_cert_names: a signature does not say which project it is for";
    /// What the rules say of a sample session.
    RulesTried = "rules-tried", Info, "nothing, if this is the intended result";
    /// The engine decides and tells, and calls nobody.
    DryRun = "dry-run", Warning, "give it a kafka.topic_prefix that nothing else uses: nobody may take its outcomes for real ones, and a ledger that began with it refuses the real engine for ever";

    /// No broker answers.
    KafkaUnreachable = "kafka-unreachable", Error, "correct kafka.bootstrap_servers, and see that the network lets this host through to every broker";
    /// Kafka answers, and refuses the credentials.
    KafkaAuthenticationFailed = "kafka-authentication-failed", Error, "correct sasl.mechanism, sasl.username and sasl.password (or the client certificate)";
    /// No TLS connection comes about.
    KafkaTlsFailed = "kafka-tls-failed", Error, "correct security.protocol and the ssl.* properties: the brokers' certificate must be signed by ssl.ca.location";
    /// The cluster has fewer brokers than replicas are asked for.
    BrokersFew = "brokers-few", Warning, "start the missing brokers, or lower kafka.replication_factor";

    /// A topic that is needed is not there.
    TopicMissing = "topic-missing", Error, "create it with `paybridge topics --create`";
    /// The principal may not see a topic.
    TopicHidden = "topic-hidden", Error, "allow the principal Describe on the topic";
    /// Kafka tells an error instead of a topic's state.
    TopicUnavailable = "topic-unavailable", Error, "see the brokers' logs";
    /// A partition without a leader takes no records.
    TopicLeaderless = "topic-leaderless", Error, "start the brokers that hold its replicas";
    /// Fewer partitions than configured.
    TopicPartitionsFew = "topic-partitions-few", Error, "set kafka.partitions to what the topics have, or create the topics again: adding partitions moves keys";
    /// More partitions than configured.
    TopicPartitionsMany = "topic-partitions-many", Warning, "set kafka.partitions to what the topics have; if the topic was grown while in use, keys have moved and order across that moment is lost";
    /// Topics that the confirmation engine reads side by side differ in their number of partitions.
    TopicPartitionsUnequal = "topic-partitions-unequal", Error, "create them again with the same number, or leave confirmation.enabled at false: a session's records would be in different partitions";
    /// Fewer replicas than configured.
    TopicReplicasFew = "topic-replicas-few", Error, "add replicas with kafka-reassign-partitions, or lower kafka.replication_factor";
    /// Replicas have fallen behind or are down.
    TopicUnderReplicated = "topic-under-replicated", Warning, "see which broker is down or slow; records are safe, with less in reserve";
    /// Fewer replicas in sync than `min.insync.replicas`: the topic takes no records.
    TopicInSyncFew = "topic-in-sync-few", Error, "start the missing brokers: until then webhooks are answered 503";
    /// With so small a `min.insync.replicas` an acknowledged record may be on one broker alone.
    MinInsyncLow = "min-insync-low", Error, "set the topic's min.insync.replicas to 2";
    /// More in-sync replicas are asked for than there are: the topic takes no records.
    MinInsyncHigh = "min-insync-high", Error, "lower the topic's min.insync.replicas below its number of replicas";
    /// As many in-sync replicas are asked for as there are: no broker may fail.
    MinInsyncNoReserve = "min-insync-no-reserve", Warning, "add a replica, or lower min.insync.replicas by one";
    /// The topic refuses records that the bridge may make.
    MaxMessageBytesLow = "max-message-bytes-low", Error, "raise the topic's max.message.bytes, or lower ingress.body_bytes_max";
    /// A replica that missed records may become leader, and they are gone.
    UncleanElection = "unclean-election", Error, "set the topic's unclean.leader.election.enable to false";
    /// The topic keeps records by another rule than it has to: compaction would remove events.
    CleanupPolicyWrong = "cleanup-policy-wrong", Error, "set the topic's cleanup.policy as `paybridge topics` lists it";
    /// A topic of the confirmation engine keeps the time that the producer says.
    TimestampTypeUnsafe = "timestamp-type-unsafe", Error, "run `paybridge topics --update`, or set the topic's message.timestamp.type to LogAppendTime: a replica whose clock is wrong could move the window of a session";
    /// A topic that the engine does not use keeps the time that the producer says.
    TimestampTypeUnproven = "timestamp-type-unproven", Warning, "run `paybridge topics --update`, or set the topic's message.timestamp.type to LogAppendTime: else nobody notices by its records that the clock of a replica is wrong";
    /// Records are removed sooner than the bridge's topics promise.
    RetentionShort = "retention-short", Warning, "raise the topic's retention.ms, unless every subscriber is sure to have read by then";
    /// Records are removed when a partition grows, however young they are.
    RetentionBySize = "retention-by-size", Warning, "set the topic's retention.bytes to -1, or be sure that it holds the days you count on";
    /// A compacted topic keeps entries that newer ones have replaced for long: all of them are read at every take-over.
    CompactionLate = "compaction-late", Warning, "set the topic's segment.ms and max.compaction.lag.ms as `paybridge topics` lists them";
    /// A compacted topic removes tombstones soon: a slow reader may miss one, and remember what is forgotten.
    TombstonesShort = "tombstones-short", Warning, "raise the topic's delete.retention.ms to a day";

    /// The confirmation engine's ledger is another group's or mode's, or of another number of partitions: the engine refuses it.
    LedgerOfAnother = "ledger-of-another", Error, "set confirmation.group_id and confirmation.dry_run as the ledger has them, and leave its number of partitions; or give this installation a kafka.topic_prefix of its own";
    /// The ledger does not say in words of this version whose it is: the engine stops its partition.
    LedgerNotUnderstood = "ledger-not-understood", Error, "install the version that wrote it";
    /// A member of the engine's group has the `bridge_instance` of this configuration, or two have one.
    InstanceInUse = "instance-in-use", Warning, "give each process a bridge_instance of its own, such as its pod's name: two with one end each other's transactions again and again. If the member is the running process of this configuration, do nothing";

    /// The principal may not write to a topic.
    WriteNotAuthorized = "write-not-authorized", Error, "allow the principal Write on the topic";
    /// The principal may not read a topic.
    ReadNotAuthorized = "read-not-authorized", Error, "allow the principal Read on the topic";
    /// The principal may not have a producer id, without which the bridge does not publish.
    IdempotenceNotAuthorized = "idempotence-not-authorized", Error, "allow the principal IdempotentWrite on the cluster, or Write on the topics";
    /// Kafka gives no producer id.
    IdempotenceUnavailable = "idempotence-unavailable", Error, "see the brokers' logs: the controller gives out producer ids";
    /// A trial of the check left a record that it should not have left.
    ProbeRecordLeft = "probe-record-left", Warning, "subscribers should skip the record: it has no ce_type header and is no event";
    /// The principal may write, and nothing was left behind.
    WriteProven = "write-proven", Info, "nothing";
    /// The principal may read.
    ReadProven = "read-proven", Info, "nothing";
    /// Something could not be proven either way.
    NotChecked = "not-checked", Info, "look yourself, or remove the reason and check again";
}

impl Code {
    /// Whether nothing more can be asked of Kafka.
    pub fn means_that_kafka_is_away(self) -> bool {
        matches!(
            self,
            Self::KafkaUnreachable
                | Self::KafkaAuthenticationFailed
                | Self::KafkaTlsFailed
                | Self::KafkaPropertiesUnusable
        )
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What kind it is.
    pub code: Code,
    /// What it is about: a key, a file, a topic, or `kafka`.
    pub subject: String,
    /// What was found; no value of a secret.
    pub message: String,
    /// What to do about it.
    pub action: String,
}

impl Finding {
    /// A finding with its code's own action.
    pub fn new(code: Code, subject: impl Into<String>, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.into(), message.into());
        Self { severity: code.severity(), code, subject, message, action: code.action().to_owned() }
    }

    /// The same with a more exact action.
    #[must_use]
    pub fn with_action(self, action: impl Into<String>) -> Self {
        Self { action: action.into(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_kebab_case_and_say_what_to_do() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code:?}");
            assert!(!code.action().is_empty(), "{code:?}");
        }
    }

    #[test]
    fn serializes_as_programs_read_it() {
        let finding = Finding::new(Code::TopicMissing, "payments.quarantine.v1", "is not there").with_action("make it");
        assert_eq!(
            serde_json::to_string(&finding).unwrap(),
            r#"{"severity":"error","code":"topic-missing","subject":"payments.quarantine.v1","message":"is not there","action":"make it"}"#
        );
    }
}
