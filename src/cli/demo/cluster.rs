//! The Kafka of the demonstration: librdkafka's mock cluster in this process, or a real one.
//! Must not know what is put there.

use anyhow::{Context, bail};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::config::{ClientSide, Config};
use crate::kafka::broker_clock::Broker;
use crate::kafka::create::{Creation, create};
use crate::kafka::{client, topics};

/// One broker is enough: nothing survives anyway.
const MOCK_BROKERS: i32 = 1;

/// Where the records go.
pub enum DemoCluster {
    /// In memory: nothing survives, and transactions are not real.
    Mock {
        /// Ends when dropped.
        cluster: MockCluster<'static, DefaultProducerContext>,
        /// Where it listens, on loopback.
        bootstrap_servers: String,
    },
    /// Somebody else's.
    Real {
        /// Where it listens.
        bootstrap_servers: String,
    },
}

impl DemoCluster {
    /// Starts the mock cluster, unless a real one is named.
    ///
    /// # Errors
    /// librdkafka cannot start it.
    pub fn start(real: Option<&str>) -> anyhow::Result<Self> {
        if let Some(address) = real {
            return Ok(Self::Real { bootstrap_servers: address.to_owned() });
        }
        let cluster = MockCluster::new(MOCK_BROKERS).context("the in-memory Kafka cannot be started")?;
        Ok(Self::Mock { bootstrap_servers: cluster.bootstrap_servers(), cluster })
    }

    /// Where it listens.
    pub fn bootstrap_servers(&self) -> &str {
        match self {
            Self::Mock { bootstrap_servers, .. } | Self::Real { bootstrap_servers } => bootstrap_servers,
        }
    }

    /// Where its time comes from.
    pub fn broker(&self) -> Broker {
        match self {
            Self::Mock { .. } => Broker::InThisProcess,
            Self::Real { .. } => Broker::Stamps,
        }
    }

    /// The prefix of the demonstration's topics: apart from others' on a real cluster.
    pub fn topic_prefix(&self) -> &'static str {
        match self {
            Self::Mock { .. } => "payments",
            Self::Real { .. } => "paybridge-demo",
        }
    }

    /// Makes the topics that the configuration needs and that are missing.
    ///
    /// # Errors
    /// A topic cannot be made.
    pub async fn make_topics(&self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Mock { cluster, .. } => {
                for topic in topics::needed(config) {
                    cluster
                        .create_topic(&topic.name, topic.partitions, topic.replication_factor)
                        .with_context(|| format!("{} cannot be made", topic.name))?;
                }
                Ok(())
            }
            Self::Real { .. } => {
                let client = client::base(&config.kafka, ClientSide::Common)?;
                for (name, made) in create(&client, &topics::needed(config)).await? {
                    if let Creation::Failed { reason, action } = made {
                        bail!("{name} cannot be made: {reason}: {action}");
                    }
                }
                Ok(())
            }
        }
    }
}
