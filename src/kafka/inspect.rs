//! Looks at Kafka as the bridge needs it: whether it answers, how its topics stand and are set, what the principal may do.
//! Changes nothing and leaves no record. Must not know where findings are shown.

pub mod judge;
pub mod permissions;

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;

use super::cluster::{self, ClusterState, TopicState};
use super::topics::Topic;
use crate::finding::Finding;
use permissions::{Principals, TriedTopic};

/// How long the trials of permissions may take, after the look at topics.
const PERMISSIONS_WITHIN: Duration = Duration::from_secs(20);

/// What is to be said of the cluster, of the topics in `needed`, and of those in `equal`, which must have the same number of
/// partitions, within about `within`; empty when all is well.
pub async fn topic_findings(
    client: &ClientConfig,
    needed: &[Topic],
    equal: &[String],
    within: Duration,
) -> Vec<Finding> {
    match look(client, needed, within).await {
        Ok(seen) => judge::all(needed, &seen).into_iter().chain(judge::equal_counts(equal, &seen)).collect(),
        Err(finding) => vec![finding],
    }
}

/// The same, and what the principals may do with the topics that are there.
///
/// # Errors
/// Why Kafka cannot be asked.
pub async fn findings(
    principals: Principals,
    needed: Vec<Topic>,
    equal: &[String],
    within: Duration,
) -> Result<Vec<Finding>, Finding> {
    let seen = look(&principals.reads, &needed, within).await?;
    let mut findings = judge::all(&needed, &seen);
    findings.extend(judge::equal_counts(equal, &seen));
    let there: Vec<_> = needed
        .into_iter()
        .filter_map(|topic| match seen.topics.get(&topic.name) {
            Some(TopicState::Exists(found)) => {
                Some(TriedTopic { name: topic.name, settings: found.settings.clone(), access: topic.access })
            }
            _ => None,
        })
        .collect();
    let deadline = Instant::now() + PERMISSIONS_WITHIN;
    let tried = tokio::task::spawn_blocking(move || permissions::findings(&principals, &there, deadline)).await;
    findings.extend(tried.unwrap_or_default());
    Ok(findings)
}

async fn look(client: &ClientConfig, needed: &[Topic], within: Duration) -> Result<ClusterState, Finding> {
    let names = needed.iter().map(|topic| topic.name.clone()).collect();
    cluster::describe(client, names, Instant::now() + within).await.map_err(|client_error| client_error.finding())
}
