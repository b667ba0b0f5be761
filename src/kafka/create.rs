//! Makes the topics that are missing, and waits until each takes records. Leaves those that exist as they are.
//! Must not know which topics are needed, nor why.

mod request;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;

use super::client_error::ClientError;
use super::cluster::{ClusterClient, TopicState};
use super::topics::Topic;

/// How long to wait for an answer before anything is made.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the brokers may take to make the topics, and then to choose their leaders.
const MADE_WITHIN: Duration = Duration::from_secs(30);
/// How often to look whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What became of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is new, and every partition has a leader.
    Created {
        /// Settings that no promise rests on, and that Kafka refuses: it has its own values for them.
        left_out: BTreeMap<String, String>,
    },
    /// It was there; its settings were not looked at.
    Exists,
    /// It could not be made, or did not become usable.
    Failed {
        /// What Kafka says.
        reason: String,
        /// What to do about it.
        action: &'static str,
    },
}

/// Makes those of `needed` that are missing; what became of each, in their order.
///
/// # Errors
/// Kafka does not answer, so nothing is known of any topic.
pub async fn create(client: &ClientConfig, needed: &[Topic]) -> Result<Vec<(String, Creation)>, ClientError> {
    let names: Vec<String> = needed.iter().map(|topic| topic.name.clone()).collect();
    let before = topic_states(client, names).await?;
    let there = |topic: &&Topic| matches!(before.get(&topic.name), Some(TopicState::Exists(_)));
    let (there, missing): (Vec<&Topic>, Vec<&Topic>) = needed.iter().partition(there);
    let mut made: BTreeMap<&str, Creation> =
        there.iter().map(|topic| (topic.name.as_str(), Creation::Exists)).collect();
    if !missing.is_empty() {
        made.extend(request::make(client, &missing).await?);
        wait_for_leaders(client, &mut made).await?;
    }
    let told = |topic: &Topic| Some((topic.name.clone(), made.remove(topic.name.as_str())?));
    Ok(needed.iter().filter_map(told).collect())
}

fn failed(reason: impl Into<String>) -> Creation {
    Creation::Failed { reason: reason.into(), action: "see the brokers' logs, then run it again" }
}

/// A topic takes records only when every partition has a leader, some time after it was made.
async fn wait_for_leaders(client: &ClientConfig, made: &mut BTreeMap<&str, Creation>) -> Result<(), ClientError> {
    let created =
        made.iter().filter(|(_, made)| matches!(made, Creation::Created { .. })).map(|(name, _)| (*name).to_owned());
    let (client, created) = (client.clone(), created.collect());
    let leaderless = blocking(move || leaderless(&ClusterClient::connect(&client)?, created)).await?;
    for (_, made) in made.iter_mut().filter(|(name, _)| leaderless.iter().any(|leaderless| leaderless == *name)) {
        *made = failed("it was made, and some partition has no leader yet");
    }
    Ok(())
}

/// Which of `topics` have no leader in some partition, after a wait for them. Blocks.
fn leaderless(cluster: &ClusterClient, mut topics: Vec<String>) -> Result<Vec<String>, ClientError> {
    let deadline = Instant::now() + MADE_WITHIN;
    loop {
        let seen = cluster.describe(&topics, deadline)?;
        topics.retain(|name| !seen.topics.get(name).is_some_and(usable));
        if topics.is_empty() || Instant::now() >= deadline {
            return Ok(topics);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn usable(state: &TopicState) -> bool {
    match state {
        TopicState::Exists(found) => {
            !found.partitions.is_empty() && found.partitions.iter().all(|partition| partition.leader.is_some())
        }
        TopicState::Missing | TopicState::Hidden | TopicState::Unavailable(_) => false,
    }
}

async fn topic_states(client: &ClientConfig, topics: Vec<String>) -> Result<BTreeMap<String, TopicState>, ClientError> {
    let client = client.clone();
    let look = move || ClusterClient::connect(&client)?.describe(&topics, Instant::now() + ANSWER_WITHIN);
    Ok(blocking(look).await?.topics)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ClientError::Unreachable(error.to_string())))
}
