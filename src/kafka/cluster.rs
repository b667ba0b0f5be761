//! One look at a Kafka cluster: how many brokers it has, how topics stand and are set. Makes nothing and changes nothing.
//! Must not judge what it sees.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ConfigSource, ResourceSpecifier};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};

use super::client_error::{ClientError, ClientErrors};

/// How long one request for metadata waits before reported errors are looked at: a refused password is not waited out.
const SLICE: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    /// How many brokers are there.
    pub brokers: usize,
    /// How each topic that was asked for stands.
    pub topics: BTreeMap<String, TopicState>,
}

/// How a topic stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// It does not exist.
    Missing,
    /// The principal may not see it.
    Hidden,
    /// Kafka tells an error instead.
    Unavailable(String),
    /// It exists.
    Exists(TopicDescription),
}

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its partitions, in their order.
    pub partitions: Vec<PartitionState>,
    /// Its settings.
    pub settings: ReportedSettings,
}

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The broker that takes records for it, if any does.
    pub leader: Option<i32>,
    /// How many replicas it has.
    pub replicas: usize,
    /// How many of them have every acknowledged record.
    pub in_sync: usize,
}

/// A topic's settings, as far as Kafka tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportedSettings {
    /// By their Kafka names.
    Known {
        /// Every setting that is in force, defaults included.
        all: BTreeMap<String, String>,
        /// Those that were given to this topic; nothing where Kafka does not tell them apart, or not all of their values.
        own: Option<BTreeMap<String, String>>,
        /// Those that nobody may alter.
        read_only: BTreeSet<String>,
    },
    /// Why they are not known.
    Unknown(String),
}

/// Looks at the cluster and at `topics`, settings included.
///
/// # Errors
/// Kafka does not answer until the deadline.
pub async fn describe(
    client: &ClientConfig,
    topics: Vec<String>,
    deadline: Instant,
) -> Result<ClusterState, ClientError> {
    let config = client.clone();
    let looked =
        tokio::task::spawn_blocking(move || ClusterClient::connect(&config)?.describe(&topics, deadline)).await;
    let mut seen = looked.unwrap_or_else(|error| Err(ClientError::Unreachable(error.to_string())))?;
    describe_settings(client, &mut seen, deadline).await;
    Ok(seen)
}

/// How many partitions each topic has, or how it stands instead.
pub type Counts = BTreeMap<String, Result<usize, TopicState>>;

/// How many partitions each of `topics` has. Blocks until the deadline at most.
///
/// # Errors
/// Kafka does not answer.
pub fn partition_counts(client: &ClientConfig, topics: &[String], deadline: Instant) -> Result<Counts, ClientError> {
    ClusterClient::connect(client)?.partition_counts(topics, deadline)
}

/// A connection to look through. Its calls block.
pub struct ClusterClient {
    client: BaseConsumer<ClientErrors>,
    client_errors: ClientErrors,
}

impl ClusterClient {
    /// A client that does not connect yet.
    ///
    /// # Errors
    /// librdkafka refuses the properties.
    pub fn connect(config: &ClientConfig) -> Result<Self, ClientError> {
        let client_errors = ClientErrors::default();
        let mut config = config.clone();
        config.set_log_level(RDKafkaLogLevel::Info); // where closed connections are told
        let client =
            config.create_with_context(client_errors.clone()).map_err(|error| ClientError::of_creation(&error))?;
        Ok(Self { client, client_errors })
    }

    /// How `topics` stand, without their settings. Blocks until the deadline at most.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn describe(&self, topics: &[String], deadline: Instant) -> Result<ClusterState, ClientError> {
        let mut seen = ClusterState::default();
        if topics.is_empty() {
            seen.brokers = self.metadata(None, deadline)?.brokers().len();
        }
        for name in topics {
            // Topic by topic: a list of all would be silent about those that the principal may not see, and a large cluster takes
            // seconds to make it.
            let metadata = self.metadata(Some(name), deadline)?;
            seen.brokers = metadata.brokers().len();
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            seen.topics.insert(name.clone(), topic.map_or(TopicState::Missing, topic_state));
        }
        Ok(seen)
    }

    /// How many partitions each of `topics` has. Blocks until the deadline at most.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn partition_counts(&self, topics: &[String], deadline: Instant) -> Result<Counts, ClientError> {
        let count = |state| match state {
            TopicState::Exists(found) => Ok(found.partitions.len()),
            TopicState::Missing | TopicState::Hidden | TopicState::Unavailable(_) => Err(state),
        };
        let seen = self.describe(topics, deadline)?;
        Ok(seen.topics.into_iter().map(|(name, state)| (name, count(state))).collect())
    }

    /// The first offset and the end of a partition, as the client's isolation level sees them. Blocks.
    ///
    /// # Errors
    /// Kafka does not answer, or not to this principal.
    pub fn watermarks(&self, topic: &str, partition: i32, within: Duration) -> Result<(i64, i64), KafkaError> {
        self.client.fetch_watermarks(topic, partition, within)
    }

    fn metadata(&self, topic: Option<&str>, deadline: Instant) -> Result<Metadata, ClientError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let failed = match self.client.fetch_metadata(topic, left.min(SLICE)) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            // Errors come through the client's queue.
            while self.client.poll(Duration::ZERO).is_some() {}
            let client_error = self.client_errors.explain(&failed);
            if left.is_zero() || client_error.is_final() {
                return Err(client_error);
            }
        }
    }
}

fn topic_state(topic: &MetadataTopic) -> TopicState {
    match topic.error().map(RDKafkaErrorCode::from) {
        None => TopicState::Exists(TopicDescription {
            partitions: topic
                .partitions()
                .iter()
                .map(|partition| PartitionState {
                    leader: Some(partition.leader()).filter(|leader| *leader >= 0),
                    replicas: partition.replicas().len(),
                    in_sync: partition.isr().len(),
                })
                .collect(),
            settings: ReportedSettings::Unknown("nobody asked".to_owned()),
        }),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => TopicState::Missing,
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => TopicState::Hidden,
        Some(other) => TopicState::Unavailable(other.to_string()),
    }
}

/// Asks for the settings of every topic that is there.
async fn describe_settings(client: &ClientConfig, seen: &mut ClusterState, deadline: Instant) {
    let admin: Result<AdminClient<ClientErrors>, KafkaError> = client.create_with_context(ClientErrors::default());
    let mut failed = admin.as_ref().err().map(|error| ClientError::of_creation(error).to_string());
    for (name, state) in &mut seen.topics {
        let TopicState::Exists(found) = state else { continue };
        found.settings = match (&admin, &failed) {
            (Ok(admin), None) => settings(admin, name, deadline).await.unwrap_or_else(|error| {
                // A cluster that cannot answer for one topic is not waited for again for the others.
                let reason = error.to_string();
                failed = Some(reason.clone());
                ReportedSettings::Unknown(reason)
            }),
            (_, Some(reason)) => ReportedSettings::Unknown(reason.clone()),
            (Err(_), None) => ReportedSettings::Unknown("there is no client".to_owned()),
        };
    }
    // Dropping it joins a thread.
    let _dropped = tokio::task::spawn_blocking(move || drop(admin)).await;
}

async fn settings(
    admin: &AdminClient<ClientErrors>,
    topic: &str,
    deadline: Instant,
) -> Result<ReportedSettings, KafkaError> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let options = AdminOptions::new().request_timeout(Some(left));
    // One topic a request: a refusal does not tell which topic it is about.
    let told = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await?;
    Ok(match told.into_iter().next() {
        // rdkafka passes a refusal on as no settings at all.
        Some(Ok(resource)) if resource.entries.is_empty() => {
            ReportedSettings::Unknown("Kafka does not tell them to this principal".to_owned())
        }
        Some(Ok(resource)) => {
            ReportedSettings::Known { own: own(&resource), read_only: read_only(&resource), all: pairs(resource) }
        }
        Some(Err(code)) => ReportedSettings::Unknown(code.to_string()),
        None => ReportedSettings::Unknown("Kafka told nothing".to_owned()),
    })
}

fn read_only(resource: &ConfigResource) -> BTreeSet<String> {
    resource.entries.iter().filter(|entry| entry.is_read_only).map(|entry| entry.name.clone()).collect()
}

fn own(resource: &ConfigResource) -> Option<BTreeMap<String, String>> {
    if resource.entries.iter().any(|entry| entry.source == ConfigSource::Unknown) {
        return None;
    }
    let own = resource.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    own.map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect()
}

fn pairs(resource: ConfigResource) -> BTreeMap<String, String> {
    resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}
