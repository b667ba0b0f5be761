//! What is said of topics that are not as they should be.

use super::*;
use crate::config::Config;
use crate::kafka::cluster::PartitionState;
use crate::kafka::topics;

const WELL: PartitionState = PartitionState { leader: Some(1), replicas: 3, in_sync: 3 };

fn needed() -> Topic {
    let config = Config::from_toml("[kafka]\npartitions = 2\nreplication_factor = 3", []).unwrap();
    let events = topics::needed(&config).into_iter().find(|topic| topic.message == topics::QUARANTINED_MESSAGE);
    events.unwrap()
}

/// The needed topic as it should be, with other partitions and some settings changed.
fn there(partitions: &[PartitionState], changed: &[(&str, &str)]) -> TopicState {
    let mut settings = needed().settings;
    settings.insert("retention.bytes".to_owned(), "-1".to_owned());
    settings.extend(changed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    TopicState::Exists(TopicDescription {
        partitions: partitions.to_vec(),
        settings: ReportedSettings::Known { all: settings, own: None, read_only: std::collections::BTreeSet::new() },
    })
}

fn check(state: &TopicState, expected: &[Code]) {
    let findings = topic(&needed(), state);
    let codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, expected, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.subject == needed().name), "{findings:?}");
}

#[test]
fn a_topic_made_as_listed_gives_no_finding() {
    check(&there(&[WELL, WELL], &[]), &[]);
    check(&there(&[WELL, WELL], &[("retention.ms", "-1"), ("max.message.bytes", "9999999")]), &[]);
}

#[test]
fn a_topic_that_is_not_there_says_why() {
    check(&TopicState::Missing, &[Code::TopicMissing]);
    check(&TopicState::Hidden, &[Code::TopicHidden]);
    check(&TopicState::Unavailable("odd".to_owned()), &[Code::TopicUnavailable]);
}

#[test]
fn judges_partitions_and_replicas() {
    let with = |leader, replicas, in_sync| PartitionState { leader, replicas, in_sync };
    for (partitions, expected) in [
        (&[WELL][..], &[Code::TopicPartitionsFew][..]),
        (&[WELL, WELL, WELL], &[Code::TopicPartitionsMany]),
        (&[WELL, with(Some(1), 2, 2)], &[Code::TopicReplicasFew, Code::MinInsyncNoReserve]),
        (&[WELL, with(Some(1), 1, 1)], &[Code::TopicReplicasFew, Code::MinInsyncHigh]),
        (&[WELL, with(Some(1), 3, 2)], &[Code::TopicUnderReplicated]),
        (&[WELL, with(Some(1), 3, 1)], &[Code::TopicUnderReplicated, Code::TopicInSyncFew]),
        (&[WELL, with(None, 3, 0)], &[Code::TopicLeaderless, Code::TopicUnderReplicated, Code::TopicInSyncFew]),
    ] {
        check(&there(partitions, &[]), expected);
    }
}

#[test]
fn judges_settings() {
    for (name, value, expected) in [
        ("min.insync.replicas", "1", Some(Code::MinInsyncLow)),
        ("min.insync.replicas", "3", Some(Code::MinInsyncNoReserve)),
        ("min.insync.replicas", "4", Some(Code::MinInsyncHigh)),
        ("max.message.bytes", "1048575", Some(Code::MaxMessageBytesLow)),
        ("max.message.bytes", "1048576", None),
        ("unclean.leader.election.enable", "true", Some(Code::UncleanElection)),
        ("message.timestamp.type", "CreateTime", Some(Code::TimestampTypeUnproven)),
        ("cleanup.policy", "compact", Some(Code::CleanupPolicyWrong)),
        ("cleanup.policy", "compact,delete", Some(Code::CleanupPolicyWrong)),
        ("retention.ms", "3600000", Some(Code::RetentionShort)),
        ("retention.bytes", "1000000", Some(Code::RetentionBySize)),
    ] {
        check(&there(&[WELL, WELL], &[(name, value)]), &Vec::from_iter(expected));
    }
}

#[test]
fn judges_the_size_of_a_topic_that_is_bounded_by_what_it_should_be() {
    let topics = topics::needed(&Config::from_toml("[kafka]\npartitions = 2", []).unwrap());
    let rejected = topics.into_iter().find(|topic| topic.message == topics::REJECTED_MESSAGE).unwrap();
    for (bytes, expected) in [("268435456", None), ("-1", None), ("1000000", Some(Code::RetentionBySize))] {
        let mut settings = rejected.settings.clone();
        settings.insert("retention.bytes".to_owned(), bytes.to_owned());
        let told = ReportedSettings::Known { all: settings, own: None, read_only: std::collections::BTreeSet::new() };
        let state = TopicState::Exists(TopicDescription { partitions: vec![WELL, WELL], settings: told });
        let codes: Vec<Code> = topic(&rejected, &state).iter().map(|finding| finding.code).collect();
        assert_eq!(codes, Vec::from_iter(expected), "{bytes}");
    }
}

#[test]
fn judges_a_compacted_topic_by_its_own_rules() {
    let toml = "[kafka]\npartitions = 2\n[confirmation]\nenabled = true\ndry_run = true\n[sources.sg]\nprovider = 'smart-glocal'";
    let topics = topics::needed(&Config::from_toml(toml, []).unwrap());
    let ledger = topics.into_iter().find(|topic| topic.message == topics::LEDGER_MESSAGE).unwrap();
    for (name, value, expected) in [
        ("retention.ms", "1", None), // nothing is removed by its age
        ("retention.bytes", "1", None),
        ("max.compaction.lag.ms", "9223372036854775807", Some(Code::CompactionLate)),
        ("segment.ms", "604800000", Some(Code::CompactionLate)),
        ("segment.ms", "60000", None),
        ("delete.retention.ms", "3600000", Some(Code::TombstonesShort)),
        ("delete.retention.ms", "172800000", None),
        ("message.timestamp.type", "CreateTime", Some(Code::TimestampTypeUnsafe)),
        ("cleanup.policy", "delete", Some(Code::CleanupPolicyWrong)),
        ("cleanup.policy", "compact,delete", Some(Code::CleanupPolicyWrong)),
    ] {
        let mut told = ledger.settings.clone();
        told.insert(name.to_owned(), value.to_owned());
        let found = TopicDescription {
            partitions: vec![WELL, WELL],
            settings: ReportedSettings::Known { all: told, own: None, read_only: std::collections::BTreeSet::new() },
        };
        let findings = topic(&ledger, &TopicState::Exists(found));
        let codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, Vec::from_iter(expected), "{name} {value}");
    }
}

#[test]
fn settings_that_kafka_does_not_tell_are_said_to_be_unchecked() {
    let settings = ReportedSettings::Unknown("not authorized".to_owned());
    check(&TopicState::Exists(TopicDescription { partitions: vec![WELL, WELL], settings }), &[Code::NotChecked]);
}

#[test]
fn topics_that_are_read_together_need_equal_counts() {
    let group = ["a", "b", "c"].map(str::to_owned);
    let state = |count: Option<usize>| count.map_or(TopicState::Missing, |count| there(&vec![WELL; count], &[]));
    for (counts, expected) in [
        ([Some(2), Some(3), Some(2)], Some("a has 2, b has 3, c has 2")),
        ([Some(2), None, Some(1)], Some("a has 2, c has 1")),
        ([Some(2), Some(2), Some(2)], None),
        ([None, Some(2), None], None),
        ([None, None, None], None),
    ] {
        let topics = group.iter().cloned().zip(counts.map(state)).collect();
        let found = equal_counts(&group, &ClusterState { brokers: 3, topics });
        assert_eq!(found.is_some(), expected.is_some(), "{counts:?}");
        for (finding, expected) in found.iter().zip(expected) {
            assert_eq!(finding.code, Code::TopicPartitionsUnequal);
            assert!(finding.message.ends_with(expected), "{finding:?}");
        }
    }
    assert_eq!(equal_counts(&[], &ClusterState { brokers: 3, topics: BTreeMap::new() }), None);
}

#[test]
fn fewer_brokers_than_replicas_are_told_once() {
    let topics = BTreeMap::from([(needed().name, there(&[WELL, WELL], &[]))]);
    let found = all(&[needed()], &ClusterState { brokers: 2, topics });
    assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::BrokersFew]);
}
