//! One look at a Kafka cluster: how many brokers it has, how topics stand and are set. Makes nothing and changes nothing.
//! Must not judge what it sees.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ConfigSource, ResourceSpecifier};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};

use super::complaints::{Complaints, Trouble};

/// How long one request for metadata waits before complaints are looked at: a refused password is not waited out.
const SLICE: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How many brokers are there.
    pub brokers: usize,
    /// How each topic that was asked for stands.
    pub topics: BTreeMap<String, Standing>,
}

/// How a topic stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not exist.
    Missing,
    /// The principal may not see it.
    Hidden,
    /// Kafka tells an error instead.
    Unavailable(String),
    /// It exists.
    There(Found),
}

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its partitions, in their order.
    pub partitions: Vec<Partition>,
    /// Its settings.
    pub settings: TopicSettings,
}

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Whether some broker takes records for it.
    pub has_leader: bool,
    /// How many replicas it has.
    pub replicas: usize,
    /// How many of them have every acknowledged record.
    pub in_sync: usize,
}

/// A topic's settings, as far as Kafka tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicSettings {
    /// By their Kafka names.
    Told {
        /// Every setting that is in force, defaults included.
        all: BTreeMap<String, String>,
        /// Those that were given to this topic; nothing where Kafka does not tell them apart, or not all of their values.
        own: Option<BTreeMap<String, String>>,
        /// Those that nobody may alter.
        read_only: BTreeSet<String>,
    },
    /// Why they are not known.
    NotTold(String),
}

/// Looks at the cluster and at `topics`, settings included.
///
/// # Errors
/// Kafka does not answer until the deadline.
pub async fn look(client: &ClientConfig, topics: Vec<String>, deadline: Instant) -> Result<Seen, Trouble> {
    let config = client.clone();
    let looked = tokio::task::spawn_blocking(move || Cluster::connect(&config)?.look(&topics, deadline)).await;
    let mut seen = looked.unwrap_or_else(|error| Err(Trouble::Unreachable(error.to_string())))?;
    describe(client, &mut seen, deadline).await;
    Ok(seen)
}

/// How many partitions each topic has, or how it stands instead.
pub type Counts = BTreeMap<String, Result<usize, Standing>>;

/// How many partitions each of `topics` has. Blocks until the deadline at most.
///
/// # Errors
/// Kafka does not answer.
pub fn partition_counts(client: &ClientConfig, topics: &[String], deadline: Instant) -> Result<Counts, Trouble> {
    Cluster::connect(client)?.partition_counts(topics, deadline)
}

/// A connection to look through. Its calls block.
pub struct Cluster {
    client: BaseConsumer<Complaints>,
    complaints: Complaints,
}

impl Cluster {
    /// A client that does not connect yet.
    ///
    /// # Errors
    /// librdkafka refuses the properties.
    pub fn connect(config: &ClientConfig) -> Result<Self, Trouble> {
        let complaints = Complaints::default();
        let mut config = config.clone();
        config.set_log_level(RDKafkaLogLevel::Info); // where closed connections are told
        let client = config.create_with_context(complaints.clone()).map_err(|error| Trouble::of_creation(&error))?;
        Ok(Self { client, complaints })
    }

    /// How `topics` stand, without their settings. Blocks until the deadline at most.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn look(&self, topics: &[String], deadline: Instant) -> Result<Seen, Trouble> {
        let mut seen = Seen::default();
        if topics.is_empty() {
            seen.brokers = self.metadata(None, deadline)?.brokers().len();
        }
        for name in topics {
            // Topic by topic: a list of all would be silent about those that the principal may not see.
            let metadata = self.metadata(Some(name), deadline)?;
            seen.brokers = metadata.brokers().len();
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            seen.topics.insert(name.clone(), topic.map_or(Standing::Missing, standing));
        }
        Ok(seen)
    }

    /// How many partitions each of `topics` has. Blocks until the deadline at most.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn partition_counts(&self, topics: &[String], deadline: Instant) -> Result<Counts, Trouble> {
        let count = |standing| match standing {
            Standing::There(found) => Ok(found.partitions.len()),
            Standing::Missing | Standing::Hidden | Standing::Unavailable(_) => Err(standing),
        };
        let seen = self.look(topics, deadline)?;
        Ok(seen.topics.into_iter().map(|(name, standing)| (name, count(standing))).collect())
    }

    /// Which of `topics` Kafka does not have, or does not show to this principal. Blocks until the deadline at most.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn missing(&self, topics: &[String], deadline: Instant) -> Result<Vec<String>, Trouble> {
        let metadata = self.metadata(None, deadline)?;
        // One without a leader for a moment is there.
        let is_there = |topic: &MetadataTopic| {
            topic.error().map(RDKafkaErrorCode::from) != Some(RDKafkaErrorCode::UnknownTopicOrPartition)
        };
        let has = |name: &str| metadata.topics().iter().any(|topic| topic.name() == name && is_there(topic));
        Ok(topics.iter().filter(|name| !has(name)).cloned().collect())
    }

    /// Those of these topics that Kafka says, to a question about each, it has not. One that it does not show to this principal is
    /// not among them. Blocks.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn surely_missing(&self, topics: &[String], deadline: Instant) -> Result<Vec<String>, Trouble> {
        let mut missing = Vec::new();
        for name in topics {
            let metadata = self.metadata(Some(name), deadline)?;
            let is_unknown = |topic: &MetadataTopic| {
                topic.error().map(RDKafkaErrorCode::from) == Some(RDKafkaErrorCode::UnknownTopicOrPartition)
            };
            if metadata.topics().iter().any(|topic| topic.name() == name && is_unknown(topic)) {
                missing.push(name.clone());
            }
        }
        Ok(missing)
    }

    /// The first offset and the end of a partition, as the client's isolation level sees them. Blocks.
    ///
    /// # Errors
    /// Kafka does not answer, or not to this principal.
    pub fn watermarks(&self, topic: &str, partition: i32, within: Duration) -> Result<(i64, i64), KafkaError> {
        self.client.fetch_watermarks(topic, partition, within)
    }

    fn metadata(&self, topic: Option<&str>, deadline: Instant) -> Result<Metadata, Trouble> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let failed = match self.client.fetch_metadata(topic, left.min(SLICE)) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            // Complaints come through the client's queue.
            while self.client.poll(Duration::ZERO).is_some() {}
            let trouble = self.complaints.explain(&failed);
            if left.is_zero() || trouble.is_final() {
                return Err(trouble);
            }
        }
    }
}

fn standing(topic: &MetadataTopic) -> Standing {
    match topic.error().map(RDKafkaErrorCode::from) {
        None => Standing::There(Found {
            partitions: topic
                .partitions()
                .iter()
                .map(|partition| Partition {
                    has_leader: partition.leader() >= 0,
                    replicas: partition.replicas().len(),
                    in_sync: partition.isr().len(),
                })
                .collect(),
            settings: TopicSettings::NotTold("nobody asked".to_owned()),
        }),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Standing::Missing,
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Standing::Hidden,
        Some(other) => Standing::Unavailable(other.to_string()),
    }
}

/// Asks for the settings of every topic that is there.
async fn describe(client: &ClientConfig, seen: &mut Seen, deadline: Instant) {
    let admin: Result<AdminClient<Complaints>, KafkaError> = client.create_with_context(Complaints::default());
    let mut failed = admin.as_ref().err().map(|error| Trouble::of_creation(error).to_string());
    for (name, standing) in &mut seen.topics {
        let Standing::There(found) = standing else { continue };
        found.settings = match (&admin, &failed) {
            (Ok(admin), None) => settings(admin, name, deadline).await.unwrap_or_else(|error| {
                // A cluster that cannot answer for one topic is not waited for again for the others.
                let reason = error.to_string();
                failed = Some(reason.clone());
                TopicSettings::NotTold(reason)
            }),
            (_, Some(reason)) => TopicSettings::NotTold(reason.clone()),
            (Err(_), None) => TopicSettings::NotTold("there is no client".to_owned()),
        };
    }
    // Dropping it joins a thread.
    let _dropped = tokio::task::spawn_blocking(move || drop(admin)).await;
}

async fn settings(
    admin: &AdminClient<Complaints>,
    topic: &str,
    deadline: Instant,
) -> Result<TopicSettings, KafkaError> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let options = AdminOptions::new().request_timeout(Some(left));
    // One topic a request: a refusal does not tell which topic it is about.
    let told = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await?;
    Ok(match told.into_iter().next() {
        // rdkafka passes a refusal on as no settings at all.
        Some(Ok(resource)) if resource.entries.is_empty() => {
            TopicSettings::NotTold("Kafka does not tell them to this principal".to_owned())
        }
        Some(Ok(resource)) => {
            TopicSettings::Told { own: own(&resource), read_only: read_only(&resource), all: pairs(resource) }
        }
        Some(Err(code)) => TopicSettings::NotTold(code.to_string()),
        None => TopicSettings::NotTold("Kafka told nothing".to_owned()),
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
