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
    ConfigUnreadable = "config-unreadable", Error, "name a readable TOML file with --config or PAYBRIDGE_CONFIG";
    /// A key that this version does not know.
    ConfigUnknownKey = "config-unknown-key", Error, "correct or remove the key";
    /// A key that must be set.
    ConfigMissingKey = "config-missing-key", Error, "set the key";
    /// A value that cannot be used.
    ConfigInvalid = "config-invalid", Error, "correct the value";
    /// An environment variable that looks as if it set a key, and sets none.
    EnvironmentIgnored = "environment-ignored", Warning, "rename the variable: two underscores separate the levels of a key";
    /// The configuration starts no part of the daemon.
    NothingToRun = "nothing-to-run", Error, "set ingress.enabled or confirmation.enabled to true";
    /// A key file cannot be read.
    KeyFileUnreadable = "key-file-unreadable", Error, "correct the path, or let this process read the file";
    /// A key file holds something else than the key that belongs there.
    KeyFileUnusable = "key-file-unusable", Error, "put the right kind of key into the file";
    /// The key that was read from a file.
    KeyRead = "key-read", Info, "nothing";
    /// How a source's webhooks are proven.
    SenderProof = "sender-proof", Info, "compare it with the sender's documentation";
    /// A sender may send a webhook again later than its event is remembered.
    RetryGapLong = "retry-gap-long", Info, "raise dedup.window_s, if subscribers mind an event that comes twice with one id";
    /// A sender stops sending a webhook again sooner than an outage of Kafka may end.
    RetriesShort = "retries-short", Warning, "mend outages of Kafka within that time, and know how to get lost webhooks from the sender";
    /// A file of `[ingress.tls]` cannot be read.
    CertificateUnreadable = "certificate-unreadable", Error, "correct the path, or let this process read the file";
    /// The files of `[ingress.tls]` hold no certificate that can be used.
    CertificateUnusable = "certificate-unusable", Error, "use a certificate in PEM, and the private key that belongs to it";
    /// A file of `[kafka.property_files]` cannot be read, or librdkafka refuses a property.
    KafkaPropertiesUnusable = "kafka-properties-unusable", Error, "correct [kafka.properties]; librdkafka's CONFIGURATION.md lists the properties";
    /// No source of webhooks is configured.
    NoSources = "no-sources", Warning, "add a [sources.NAME] table for each provider";
    /// Calls to a provider are not encrypted and leave this machine.
    ApiUnencrypted = "api-unencrypted", Warning, "use an https:// URL in api.base_url";
    /// Redeliveries are published again.
    DedupOff = "dedup-off", Warning, "set dedup.mode to \"shared\", unless every subscriber drops duplicates by event_id itself";
    /// The dedup window holds less than one event a second.
    DedupEntriesFew = "dedup-entries-few", Warning, "raise dedup.entries_max to the number of events that arrive within dedup.window_s";
    /// More events came within the dedup window than it holds.
    DedupWindowShort = "dedup-window-short", Warning, "raise dedup.entries_max (64 bytes of memory each), or lower dedup.window_s";
    /// The spool's folder cannot be used.
    SpoolUnusable = "spool-unusable", Error, "give spool.directory a folder on a local disk that this process may write";
    /// The spool's disk has less room than the spool may take.
    SpoolSpaceLow = "spool-space-low", Warning, "free space on the disk, or lower spool.bytes_max";
    /// Others may read the spool.
    SpoolOpenToOthers = "spool-open-to-others", Warning, "take their rights away (mode 0700): bodies of webhooks are in it";
    /// Topics with fewer than three replicas lose records with a broker, or take none without it.
    ReplicationLow = "replication-low", Warning, "set kafka.replication_factor to 3 if no event may be lost";
    /// Topics of a Kafka on this machine have fewer than three replicas.
    ReplicationLocal = "replication-local", Info, "nothing on your own machine; in production set kafka.replication_factor to 3";
    /// A rule of `[[confirmation.rules]]` does not compile, or names a field or function that does not exist.
    RuleUnusable = "rule-unusable", Error, "correct the rule";
    /// A rule fails on a session that has every field: it would hold such sessions.
    RuleFails = "rule-fails", Warning, "test optional fields with has(), and compare values of the same kind";
    /// A rule fails on sessions without one of the optional fields.
    RuleReadsAbsentField = "rule-reads-absent-field", Warning, "test the field with has() before the rule reads it";
    /// A comparison in a rule is never true, or always true.
    RuleComparesInVain = "rule-compares-in-vain", Warning, "correct the value";
    /// A confirm rule stands before a cancel rule.
    RuleOrder = "rule-order", Warning, "put the cancel rule first, unless no session can match both";
    /// Sources share a public key, and nothing else tells their webhooks apart.
    KeyShared = "key-shared", Warning, "give each source a path with a secret part, allow_from, or client_cert_names: a signature does not say which source it is for";
    /// A secret has fewer than 16 bytes.
    SecretShort = "secret-short", Warning, "agree with the sender on a random secret of 16 bytes or more: a short secret can be found by trying";
    /// What the rules decide on a sample session.
    RulesTried = "rules-tried", Info, "nothing, if this is the result that you want";
    /// The engine decides and publishes outcomes, and calls no provider.
    DryRun = "dry-run", Warning, "give the dry run a kafka.topic_prefix of its own: nobody must take its outcomes for real ones, and an engine without dry_run refuses a ledger that a dry run began";

    /// No broker answers.
    KafkaUnreachable = "kafka-unreachable", Error, "is the broker running? else correct kafka.bootstrap_servers, and let this host connect to every broker";
    /// Something answers at a broker's address, in another protocol.
    KafkaWrongProtocol = "kafka-wrong-protocol", Error, "correct security.protocol in [kafka.properties], or kafka.bootstrap_servers";
    /// Kafka answers, and refuses the credentials.
    KafkaAuthenticationFailed = "kafka-authentication-failed", Error, "correct sasl.mechanism, sasl.username and sasl.password (or the client certificate)";
    /// The TLS connection to Kafka fails.
    KafkaTlsFailed = "kafka-tls-failed", Error, "correct the ssl.* properties: ssl.ca.location must name the authority that signed the brokers' certificates";
    /// The cluster has fewer brokers than the topics should have replicas.
    BrokersFew = "brokers-few", Warning, "start the missing brokers, or lower kafka.replication_factor";

    /// A topic that the configuration needs does not exist.
    TopicMissing = "topic-missing", Error, "create it with `paybridge topics --create`";
    /// The principal may not see a topic.
    TopicHidden = "topic-hidden", Error, "allow the principal Describe on the topic";
    /// Kafka answers with an error instead of the topic's state.
    TopicUnavailable = "topic-unavailable", Error, "look at the brokers' logs";
    /// A partition without a leader takes no records.
    TopicLeaderless = "topic-leaderless", Error, "start the brokers that hold its replicas";
    /// Fewer partitions than configured.
    TopicPartitionsFew = "topic-partitions-few", Error, "set kafka.partitions to the number that the topics have, or create the topics again: added partitions would move keys";
    /// More partitions than configured.
    TopicPartitionsMany = "topic-partitions-many", Warning, "set kafka.partitions to the number that the topics have. If partitions were added to a topic in use, keys have moved, and their older records are in other partitions";
    /// Topics that the confirmation engine reads together have different numbers of partitions.
    TopicPartitionsUnequal = "topic-partitions-unequal", Error, "create them again with the same number, or set confirmation.enabled to false: a session's records would be in different partitions";
    /// Fewer replicas than configured.
    TopicReplicasFew = "topic-replicas-few", Error, "add replicas with kafka-reassign-partitions, or lower kafka.replication_factor";
    /// Replicas have fallen behind or are down.
    TopicUnderReplicated = "topic-under-replicated", Warning, "find the broker that is down or slow; no record is lost, but fewer brokers have the newest ones";
    /// Fewer replicas in sync than `min.insync.replicas`: the topic takes no records.
    TopicInSyncFew = "topic-in-sync-few", Error, "start the missing brokers; until then webhooks are answered 503";
    /// With so small a `min.insync.replicas` an acknowledged record may be on one broker alone.
    MinInsyncLow = "min-insync-low", Error, "set the topic's min.insync.replicas to 2: else an acknowledged record may be on one broker only";
    /// `min.insync.replicas` is larger than the number of replicas: the topic takes no records.
    MinInsyncHigh = "min-insync-high", Error, "lower the topic's min.insync.replicas below its number of replicas: now it takes no records";
    /// `min.insync.replicas` is the number of replicas: without one broker the topic takes no records.
    MinInsyncNoReserve = "min-insync-no-reserve", Warning, "add a replica, or lower min.insync.replicas by one: now the topic takes no records while one broker is down";
    /// The topic refuses records that paybridge may write.
    MaxMessageBytesLow = "max-message-bytes-low", Error, "raise the topic's max.message.bytes, or lower ingress.body_bytes_max";
    /// A replica that missed records may become leader, and these records are lost.
    UncleanElection = "unclean-election", Error, "set the topic's unclean.leader.election.enable to false";
    /// The topic has another `cleanup.policy` than it needs: compaction would remove events.
    CleanupPolicyWrong = "cleanup-policy-wrong", Error, "set the topic's cleanup.policy as `paybridge topics` lists it";
    /// A topic of the confirmation engine takes record times from producers.
    TimestampTypeUnsafe = "timestamp-type-unsafe", Error, "run `paybridge topics --update`, or set the topic's message.timestamp.type to LogAppendTime: a replica with a wrong clock could move a session's window";
    /// A topic that the engine does not use takes record times from producers.
    TimestampTypeUnproven = "timestamp-type-unproven", Warning, "run `paybridge topics --update`, or set the topic's message.timestamp.type to LogAppendTime: else paybridge cannot notice a wrong clock of a replica";
    /// Records are removed sooner than `paybridge topics` lists.
    RetentionShort = "retention-short", Warning, "raise the topic's retention.ms, unless every subscriber reads in time";
    /// Records are removed when a partition grows, even young ones.
    RetentionBySize = "retention-by-size", Warning, "set the topic's retention.bytes to -1, or make sure that it holds all records of the retention time";
    /// A compacted topic keeps replaced entries for long: each start of an engine reads all of them.
    CompactionLate = "compaction-late", Warning, "set the topic's segment.ms and max.compaction.lag.ms as `paybridge topics` lists them: else each start of an engine takes longer";
    /// A compacted topic removes tombstones soon: a slow reader may miss one, and keep an entry that was deleted.
    TombstonesShort = "tombstones-short", Warning, "raise the topic's delete.retention.ms to a day: else a slow reader may miss that an entry was deleted";

    /// The ledger belongs to another consumer group or mode, or has another number of partitions: the engine refuses it.
    LedgerOfAnother = "ledger-of-another", Error, "set confirmation.group_id and confirmation.dry_run as the ledger has them, and keep its number of partitions; or use another kafka.topic_prefix";
    /// This version does not understand to whom the ledger belongs: the engine stops its partition.
    LedgerNotUnderstood = "ledger-not-understood", Error, "install the version that wrote it";
    /// A member of the engine's consumer group has the `bridge_instance` of this configuration, or two members have the same.
    InstanceInUse = "instance-in-use", Warning, "give each process its own bridge_instance, such as the name of its pod: two processes with one name end each other's transactions. If the member is the running process of this configuration, do nothing";

    /// The principal may not write to a topic.
    WriteNotAuthorized = "write-not-authorized", Error, "allow the principal Write on the topic";
    /// The principal may not read a topic.
    ReadNotAuthorized = "read-not-authorized", Error, "allow the principal Read on the topic";
    /// The principal may not use the consumer group of the readers of requests for releases: such requests are not carried out.
    GroupNotAuthorized = "group-not-authorized", Warning, "allow the principal Read and Describe on the consumer group";
    /// The principal may not get a producer id, without which paybridge does not publish.
    IdempotenceNotAuthorized = "idempotence-not-authorized", Error, "allow the principal IdempotentWrite on the cluster, or Write on the topics";
    /// Kafka gives no producer id.
    IdempotenceUnavailable = "idempotence-unavailable", Error, "look at the brokers' logs: the controller gives out producer ids";
    /// A trial of this check left a record, which it should not have done.
    ProbeRecordLeft = "probe-record-left", Warning, "subscribers should skip the record: it has no ce_type header and is no event";
    /// The principal may write, and no record was left.
    WriteProven = "write-proven", Info, "nothing";
    /// The principal may read.
    ReadProven = "read-proven", Info, "nothing";
    /// Something could not be checked.
    NotChecked = "not-checked", Info, "check it by hand, or remove the reason and check again";
}

impl Code {
    /// Whether a client has no connection to Kafka that it could ask by.
    pub fn is_of_connections(self) -> bool {
        matches!(
            self,
            Self::KafkaUnreachable
                | Self::KafkaWrongProtocol
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
    /// How it is known, for those who ask.
    #[serde(skip)]
    pub detail: Option<String>,
}

impl Finding {
    /// A finding with its code's own action.
    pub fn new(code: Code, subject: impl Into<String>, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.into(), message.into());
        Self { severity: code.severity(), code, subject, message, action: code.action().to_owned(), detail: None }
    }

    /// The same with a more exact action.
    #[must_use]
    pub fn with_action(self, action: impl Into<String>) -> Self {
        Self { action: action.into(), ..self }
    }

    /// The same with how it is known.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}

/// A number with its noun, whose plural ends in s: "1 partition", "3 partitions".
pub fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    match number.try_into() {
        Ok(1) => format!("1 {noun}"),
        Ok(number) => format!("{number} {noun}s"),
        Err(_) => format!("many {noun}s"),
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
    fn counts_one_and_many() {
        let told = [0, 1, 2].map(|number| counted(number, "partition"));
        assert_eq!(told, ["0 partitions", "1 partition", "2 partitions"]);
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
