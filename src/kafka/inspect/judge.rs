//! Compares what Kafka has with what is needed. Pure: what Kafka says comes in, findings go out.
//! Must not ask Kafka anything.

use std::collections::BTreeMap;

use crate::finding::{Code, Finding, counted};
use crate::kafka::cluster::{ClusterState, ReportedSettings, TopicDescription, TopicState};
use crate::kafka::topics::{LOG_APPEND_TIME, RecordTimes, Topic};
use crate::kafka::update::policies;

/// Everything that is to be said, topics in the order of `needed`.
pub fn all(needed: &[Topic], seen: &ClusterState) -> Vec<Finding> {
    let mut findings: Vec<Finding> = brokers(needed, seen.brokers).into_iter().collect();
    for needed in needed {
        findings.extend(topic(needed, seen.topics.get(&needed.name).unwrap_or(&TopicState::Missing)));
    }
    findings
}

/// What is to be said of topics that must have the same number of partitions. Those that are not there are told of alone.
pub fn equal_counts(group: &[String], seen: &ClusterState) -> Option<Finding> {
    let counts: Vec<(&str, usize)> = group
        .iter()
        .filter_map(|name| match seen.topics.get(name)? {
            TopicState::Exists(found) => Some((name.as_str(), found.partitions.len())),
            TopicState::Missing | TopicState::Hidden | TopicState::Unavailable(_) => None,
        })
        .collect();
    let (subject, first) = counts.first()?;
    if counts.iter().all(|(_, count)| count == first) {
        return None;
    }
    let each: Vec<String> = counts.iter().map(|(name, count)| format!("{name} has {count}")).collect();
    let message = format!(
        "must have the same number of partitions as the topics that the engine reads together: {}",
        each.join(", ")
    );
    Some(Finding::new(Code::TopicPartitionsUnequal, *subject, message))
}

fn brokers(needed: &[Topic], brokers: usize) -> Option<Finding> {
    let wanted = needed.iter().map(|topic| topic.replication_factor).max()?;
    (count(brokers) < i64::from(wanted)).then(|| {
        let message =
            format!("the cluster has {}, and kafka.replication_factor is {wanted}", counted(brokers, "broker"));
        Finding::new(Code::BrokersFew, "kafka", message)
    })
}

/// What is to be said of one topic.
pub fn topic(needed: &Topic, state: &TopicState) -> Vec<Finding> {
    let found = match state {
        TopicState::Exists(found) => found,
        TopicState::Missing => return vec![of(needed, Code::TopicMissing, "does not exist")],
        TopicState::Hidden => {
            return vec![of(needed, Code::TopicHidden, "may not be seen by this principal, or does not exist")];
        }
        TopicState::Unavailable(error) => {
            return vec![of(needed, Code::TopicUnavailable, format!("cannot be described: {error}"))];
        }
    };
    let mut findings: Vec<Finding> = partitions(needed, found).into_iter().collect();
    findings.extend(replicas(needed, found));
    match &found.settings {
        ReportedSettings::Known { all: settings, .. } => {
            findings.extend(SettingsComparison { needed, found, told: settings }.findings());
        }
        ReportedSettings::Unknown(reason) => {
            let message = format!("the settings of the topic are not checked: {reason}");
            let action = "allow the principal DescribeConfigs on the topic, and check again";
            findings.push(of(needed, Code::NotChecked, message).with_action(action));
        }
    }
    findings
}

/// A partition is the hash of the key modulo the count that the topic has, so every count works that never changes;
/// fewer than configured limits subscribers, and unequal counts keep topics from being read side by side.
fn partitions(needed: &Topic, found: &TopicDescription) -> Option<Finding> {
    let (has, wanted) = (count(found.partitions.len()), i64::from(needed.partitions));
    let message = format!("has {} instead of {wanted}", counted(has, "partition"));
    match has.cmp(&wanted) {
        std::cmp::Ordering::Less => Some(of(needed, Code::TopicPartitionsFew, message)),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(of(needed, Code::TopicPartitionsMany, message)),
    }
}

fn replicas(needed: &Topic, found: &TopicDescription) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (least, wanted) = (least_replicas(found), i64::from(needed.replication_factor));
    if least < wanted {
        let message = format!("has {} instead of {wanted}", counted(least, "replica"));
        findings.push(of(needed, Code::TopicReplicasFew, message));
    }
    let leaderless = found.partitions.iter().filter(|partition| partition.leader.is_none()).count();
    if leaderless > 0 {
        findings.push(of(
            needed,
            Code::TopicLeaderless,
            format!("has {} without a leader", counted(leaderless, "partition")),
        ));
    }
    let behind = found.partitions.iter().filter(|partition| partition.in_sync < partition.replicas).count();
    if behind > 0 {
        let message = format!("has {} with replicas that are not in sync", counted(behind, "partition"));
        findings.push(of(needed, Code::TopicUnderReplicated, message));
    }
    findings
}

fn least_replicas(found: &TopicDescription) -> i64 {
    found.partitions.iter().map(|partition| count(partition.replicas)).min().unwrap_or_default()
}

/// A topic's settings beside those it should have.
struct SettingsComparison<'a> {
    needed: &'a Topic,
    found: &'a TopicDescription,
    told: &'a BTreeMap<String, String>,
}

impl SettingsComparison<'_> {
    fn findings(&self) -> Vec<Finding> {
        let mut findings = self.min_insync();
        findings.extend(self.max_message_bytes());
        findings.extend(self.timestamps());
        findings.extend(self.cleanup());
        findings.extend(self.retention());
        findings.extend(self.compaction());
        if self.text("unclean.leader.election.enable") == Some("true") {
            let message = "lets a replica that missed records become leader (unclean.leader.election.enable)";
            findings.push(of(self.needed, Code::UncleanElection, message));
        }
        findings
    }

    fn min_insync(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Some(min) = self.number("min.insync.replicas") else { return findings };
        let replicas = least_replicas(self.found);
        let told = format!("has min.insync.replicas {min} and {}", counted(replicas, "replica"));
        if min < 2 && replicas >= 3 {
            findings.push(of(self.needed, Code::MinInsyncLow, told));
        } else if min > replicas {
            findings.push(of(self.needed, Code::MinInsyncHigh, told));
        } else if min == replicas && replicas > 1 {
            findings.push(of(self.needed, Code::MinInsyncNoReserve, told));
        }
        let short = self.found.partitions.iter().filter(|partition| count(partition.in_sync) < min).count();
        if short > 0 && min <= replicas {
            let message =
                format!("takes no records in {}: fewer than {min} replicas are in sync", counted(short, "partition"));
            findings.push(of(self.needed, Code::TopicInSyncFew, message));
        }
        findings
    }

    fn max_message_bytes(&self) -> Option<Finding> {
        let wanted: i64 = self.needed.promised.get("max.message.bytes")?.parse().ok()?;
        let has = self.number("max.message.bytes")?;
        (has < wanted).then(|| {
            let message = format!("has max.message.bytes {has}, and paybridge may write records of {wanted} bytes");
            of(self.needed, Code::MaxMessageBytesLow, message)
        })
    }

    fn timestamps(&self) -> Option<Finding> {
        let has = self.text("message.timestamp.type").filter(|has| *has != LOG_APPEND_TIME)?;
        let code = match self.needed.times {
            RecordTimes::BoundWindows => Code::TimestampTypeUnsafe,
            RecordTimes::Inform => Code::TimestampTypeUnproven,
        };
        let message = format!("has message.timestamp.type {has}: records get the producer's time, not the broker's");
        Some(of(self.needed, code, message))
    }

    fn cleanup(&self) -> Option<Finding> {
        let (has, wanted) = (self.text("cleanup.policy")?, self.needed.promised.get("cleanup.policy")?);
        (policies(has) != policies(wanted)).then(|| {
            let message = format!("has cleanup.policy {has} instead of {wanted}");
            of(self.needed, Code::CleanupPolicyWrong, message)
        })
    }

    fn retention(&self) -> Vec<Finding> {
        // -1 is for ever.
        let endless = |ms: i64| if ms < 0 { i64::MAX } else { ms };
        let mut findings = Vec::new();
        let (has, wanted) = (self.number("retention.ms").map(endless), self.wanted("retention.ms").map(endless));
        if let (Some(has), Some(wanted)) = (has, wanted)
            && has < wanted
        {
            let message = format!("keeps records {} instead of {}", lasting(has), lasting(wanted));
            findings.push(of(self.needed, Code::RetentionShort, message));
        }
        // The topic of rejected webhooks is bounded in bytes, and only less than that is too little.
        let least = self.wanted("retention.bytes");
        let is_too_small = |bytes| bytes >= 0 && least.is_none_or(|least| bytes < least);
        if wanted.is_some() && self.number("retention.bytes").is_some_and(is_too_small) {
            let message = "removes records of any age when a partition grows (retention.bytes)";
            findings.push(of(self.needed, Code::RetentionBySize, message));
        }
        findings
    }

    /// Of a topic that is compacted: how soon, and how long tombstones are there to be read.
    fn compaction(&self) -> Vec<Finding> {
        let beside = |name| Some((self.number(name)?, self.wanted(name)?));
        let mut findings = Vec::new();
        for name in ["segment.ms", "max.compaction.lag.ms"] {
            if let Some((has, wanted)) = beside(name).filter(|(has, wanted)| has > wanted) {
                let message = format!("is compacted late: {name} is {} instead of {}", span(has), span(wanted));
                findings.push(of(self.needed, Code::CompactionLate, message));
            }
        }
        if let Some((has, wanted)) = beside("delete.retention.ms").filter(|(has, wanted)| has < wanted) {
            let message = format!("keeps tombstones {} instead of {}", lasting(has), lasting(wanted));
            findings.push(of(self.needed, Code::TombstonesShort, message));
        }
        findings
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.told.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    fn wanted(&self, name: &str) -> Option<i64> {
        self.needed.settings.get(name)?.parse().ok()
    }
}

/// For how long: "for 7 days", "for ever".
fn lasting(ms: i64) -> String {
    if ms == i64::MAX { "for ever".to_owned() } else { format!("for {}", span(ms)) }
}

fn span(ms: i64) -> String {
    const HOUR_MS: i64 = 60 * 60 * 1000;
    const DAY_MS: i64 = 24 * HOUR_MS;
    match ms {
        i64::MAX => "without limit".to_owned(),
        _ if ms >= DAY_MS && ms % DAY_MS == 0 => counted(ms / DAY_MS, "day"),
        _ if ms >= HOUR_MS && ms % HOUR_MS == 0 => counted(ms / HOUR_MS, "hour"),
        _ => format!("{ms} ms"),
    }
}

fn of(needed: &Topic, code: Code, message: impl Into<String>) -> Finding {
    Finding::new(code, needed.name.as_str(), message)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
