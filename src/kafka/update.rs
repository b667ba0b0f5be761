//! Sets topics that are there as they should be, and leaves alone what is as good or better, and what is not ours.
//! Must not make a topic, change its partitions, or know what the topics are for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::config::ClientConfig;

use super::client_error::{ClientError, ClientErrors};
use super::cluster::{self, ReportedSettings, TopicDescription, TopicState};
use super::topics::Topic;

/// How long the look at the topics may take.
const LOOK_WITHIN: Duration = Duration::from_secs(30);
/// How long the brokers may take to alter one topic.
const ALTERED_WITHIN: Duration = Duration::from_secs(30);
/// How long they may take to show what was altered: usually a fraction of a second.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// How often to look whether they do.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What keeps a topic from being altered.
const NOT_ALTERED: &str = "allow the principal AlterConfigs on the topic, or let somebody who may alter it: `paybridge check` \
                           says how; or leave out what the cluster refuses to be told: in [kafka.topic_settings.\"*\"] \
                           write \"omit\" as the setting's value";

/// What became of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    /// Every setting was as good as it has to be.
    Fits,
    /// These were altered.
    Altered(Vec<SettingChange>),
    /// It is not there.
    Missing,
    /// It could not be looked at, or not be altered.
    Failed {
        /// What Kafka says.
        reason: String,
        /// What to do about it.
        action: &'static str,
    },
}

/// One setting that is altered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// Its Kafka name.
    pub name: String,
    /// What it was, where Kafka tells.
    pub from: Option<String>,
    /// What it is now.
    pub to: String,
}

/// Sets those of `needed` that are there as they should be; what became of each, in their order.
///
/// # Errors
/// Kafka does not answer, so nothing is known of any topic, and nothing was altered.
pub async fn update(client: &ClientConfig, needed: &[Topic]) -> Result<Vec<(String, Updated)>, ClientError> {
    let names = needed.iter().map(|topic| topic.name.clone()).collect();
    let seen = cluster::describe(client, names, Instant::now() + LOOK_WITHIN).await?;
    let admin: AdminClient<ClientErrors> =
        client.create_with_context(ClientErrors::default()).map_err(|error| ClientError::of_creation(&error))?;
    let mut updated = Vec::with_capacity(needed.len());
    for topic in needed {
        let state = seen.topics.get(&topic.name).unwrap_or(&TopicState::Missing);
        updated.push((topic.name.clone(), one(&admin, topic, state).await));
    }
    // Dropping it joins a thread.
    let _dropped = tokio::task::spawn_blocking(move || drop(admin)).await;
    await_settings(client, needed, &mut updated).await?;
    Ok(updated)
}

/// Waits until brokers show what was altered. The controller answers first, and they hear of it a little later. rdkafka 0.39
/// also passes a refusal of one topic on as success, so what does not show was refused.
async fn await_settings(
    client: &ClientConfig,
    needed: &[Topic],
    updated: &mut [(String, Updated)],
) -> Result<(), ClientError> {
    let altered = |(_, updated): &&(String, Updated)| matches!(updated, Updated::Altered(_));
    let mut names: Vec<String> = updated.iter().filter(altered).map(|(name, _)| name.clone()).collect();
    let deadline = Instant::now() + SHOWN_WITHIN;
    while !names.is_empty() && Instant::now() < deadline {
        let seen = cluster::describe(client, names.clone(), Instant::now() + LOOK_WITHIN).await?;
        names.retain(|name| {
            let topic = needed.iter().find(|topic| topic.name == *name);
            topic.zip(seen.topics.get(name)).is_none_or(|(topic, state)| !is_as_needed(topic, state))
        });
        if !names.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    for (_, updated) in updated.iter_mut().filter(|(name, _)| names.contains(name)) {
        *updated = failed("Kafka did not alter it", NOT_ALTERED);
    }
    Ok(())
}

fn is_as_needed(needed: &Topic, state: &TopicState) -> bool {
    match state {
        TopicState::Exists(found) => match &found.settings {
            ReportedSettings::Known { all, read_only, .. } => changes(needed, found, all, read_only).is_empty(),
            ReportedSettings::Unknown(_) => false,
        },
        TopicState::Missing | TopicState::Hidden | TopicState::Unavailable(_) => false,
    }
}

async fn one(admin: &AdminClient<ClientErrors>, needed: &Topic, state: &TopicState) -> Updated {
    let found = match state {
        TopicState::Exists(found) => found,
        TopicState::Missing => return Updated::Missing,
        TopicState::Hidden => return failed("it cannot be seen", "allow the principal Describe on the topic"),
        TopicState::Unavailable(error) => return failed(error.as_str(), "see the brokers' logs, then run it again"),
    };
    let (told, own, read_only) = match &found.settings {
        ReportedSettings::Known { all, own, read_only } => (all, own, read_only),
        ReportedSettings::Unknown(reason) => {
            return failed(reason.as_str(), "allow the principal DescribeConfigs on the topic, and run it again");
        }
    };
    let changes = changes(needed, found, told, read_only);
    if changes.is_empty() {
        return Updated::Fits;
    }
    match own {
        Some(own) => alter(admin, needed, changes, own).await,
        None => failed(
            "Kafka does not tell which settings are the topic's own, and they would be lost",
            "alter it with the cluster's own tools: `paybridge check` says what is missing",
        ),
    }
}

/// The request replaces all settings that a topic has of its own, so those that stay are sent again. (librdkafka also has
/// the newer request that alters single settings; rdkafka 0.39 does not offer it.) Whoever alters the same topic in the
/// moment between the look and the request loses that change.
async fn alter(
    admin: &AdminClient<ClientErrors>,
    needed: &Topic,
    changes: Vec<SettingChange>,
    own: &BTreeMap<String, String>,
) -> Updated {
    let mut request = AlterConfig::new(ResourceSpecifier::Topic(&needed.name));
    for (name, value) in own {
        request = request.set(name, value);
    }
    for change in &changes {
        request = request.set(&change.name, &change.to);
    }
    let options = AdminOptions::new().request_timeout(Some(ALTERED_WITHIN));
    match admin.alter_configs(&[request], &options).await {
        Ok(_) => Updated::Altered(changes),
        Err(error) => failed(error.to_string(), "see the brokers' logs, then run it again"),
    }
}

fn failed(reason: impl Into<String>, action: &'static str) -> Updated {
    Updated::Failed { reason: reason.into(), action }
}

/// The settings that are worse than they have to be, and may be altered.
fn changes(
    needed: &Topic,
    found: &TopicDescription,
    told: &BTreeMap<String, String>,
    read_only: &BTreeSet<String>,
) -> Vec<SettingChange> {
    let replicas = found.partitions.iter().map(|partition| partition.replicas).min().unwrap_or_default();
    let change = |(name, wanted): (&String, &String)| {
        let has = told.get(name);
        let to = if name == "min.insync.replicas" { in_sync(wanted, replicas)? } else { wanted.clone() };
        let suffices = has.is_some_and(|has| suffices(name, has, &to, replicas));
        (!suffices).then(|| SettingChange { name: name.clone(), from: has.cloned(), to })
    };
    needed.settings.iter().filter(|(name, _)| !read_only.contains(*name)).filter_map(change).collect()
}

/// With as many in-sync replicas as there are, no broker may fail; with more the topic takes no record.
fn in_sync(wanted: &str, replicas: usize) -> Option<String> {
    let most = replicas.saturating_sub(1).max(1);
    Some(wanted.parse::<usize>().ok()?.min(most).to_string())
}

/// Whether a setting is as good as the wanted one. What keeps more, or does so longer, stays: shortening it would remove
/// records that somebody may count on.
fn suffices(name: &str, has: &str, wanted: &str, replicas: usize) -> bool {
    // -1 is for ever.
    let number = |text: &str| text.parse::<i64>().ok().map(|number| if number < 0 { i64::MAX } else { number });
    let numbers = number(has).zip(number(wanted));
    match name {
        "retention.ms" | "delete.retention.ms" | "max.message.bytes" => {
            numbers.is_some_and(|(has, wanted)| has >= wanted)
        }
        "segment.ms" | "max.compaction.lag.ms" | "min.compaction.lag.ms" => {
            numbers.is_some_and(|(has, wanted)| has <= wanted)
        }
        "min.cleanable.dirty.ratio" => {
            has.parse::<f64>().ok().zip(wanted.parse::<f64>().ok()).is_some_and(|(has, wanted)| has <= wanted)
        }
        "min.insync.replicas" => {
            let replicas = i64::try_from(replicas).unwrap_or(i64::MAX);
            numbers.is_some_and(|(has, wanted)| has >= wanted && has <= replicas)
        }
        "cleanup.policy" => policies(has) == policies(wanted),
        _ => has == wanted,
    }
}

/// A list in which the order says nothing.
pub(super) fn policies(policy: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = policy.split(',').map(str::trim).collect();
    parts.sort_unstable();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::kafka::cluster::PartitionState;
    use crate::kafka::topics;

    const ON: &str = "[confirmation]\nenabled = true\ndry_run = true\n[sources.sg]\nprovider = 'smart-glocal'";

    fn topic(part: &str) -> Topic {
        let topics = topics::needed(&Config::from_toml(ON, []).unwrap());
        topics.into_iter().find(|topic| topic.name.contains(part)).unwrap()
    }

    /// What is altered on a topic as it should be, with so many replicas, in which one setting has another value.
    fn check(part: &str, replicas: usize, setting: Option<(&str, &str)>, expected: &[(&str, &str)]) {
        let needed = topic(part);
        let mut told = needed.settings.clone();
        if let Some((name, value)) = setting {
            told.insert(name.to_owned(), value.to_owned());
        }
        let partition = PartitionState { leader: Some(1), replicas, in_sync: replicas };
        let found =
            TopicDescription { partitions: vec![partition], settings: ReportedSettings::Unknown(String::new()) };
        let changes = changes(&needed, &found, &told, &BTreeSet::new());
        let fixed: BTreeSet<String> = changes.iter().map(|change| change.name.clone()).collect();
        assert_eq!(super::changes(&needed, &found, &told, &fixed), [], "nobody may alter them");
        let altered: Vec<(&str, &str)> =
            changes.iter().map(|change| (change.name.as_str(), change.to.as_str())).collect();
        assert_eq!(altered, expected, "{setting:?} of {part}");
    }

    #[test]
    fn alters_what_is_worse_and_nothing_that_is_as_good_or_better() {
        check("outcome", 3, None, &[]);
        for (name, worse, better) in [
            ("message.timestamp.type", "CreateTime", "LogAppendTime"),
            ("retention.ms", "3600000", "-1"),
            ("max.message.bytes", "1000", "9999999"),
            ("min.insync.replicas", "1", "3"),
            ("unclean.leader.election.enable", "true", "false"),
            ("cleanup.policy", "compact,delete", "delete"),
        ] {
            let wanted = topic("outcome").settings[name].clone();
            check("outcome", 3, Some((name, worse)), &[(name, &wanted)]);
            check("outcome", 3, Some((name, better)), &[]);
        }
        for (name, worse, better) in [
            ("segment.ms", "604800000", "60000"),
            ("max.compaction.lag.ms", "9223372036854775807", "60000"),
            ("min.compaction.lag.ms", "1", "0"),
            ("min.cleanable.dirty.ratio", "0.5", "0.05"),
            ("delete.retention.ms", "3600000", "172800000"),
        ] {
            let wanted = topic("ledger").settings[name].clone();
            check("ledger", 3, Some((name, worse)), &[(name, &wanted)]);
            check("ledger", 3, Some((name, better)), &[]);
        }
    }

    #[test]
    fn never_asks_for_more_replicas_in_sync_than_may_be_missing() {
        check("outcome", 3, Some(("min.insync.replicas", "4")), &[("min.insync.replicas", "2")]);
        check("outcome", 2, Some(("min.insync.replicas", "1")), &[]);
        check("outcome", 1, Some(("min.insync.replicas", "1")), &[]);
        check("outcome", 1, None, &[("min.insync.replicas", "1")]); // 2 of 1: it takes no record
    }
}
