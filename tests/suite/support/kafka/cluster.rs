//! Nodes that are one cluster, started for a longer life than a test's: their Java machines become fast.
//! Must not know what is done with it.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::broker::{Broker, Life, METADATA_LIMIT, Place, START_LIMIT};
use super::count_this_test;
use crate::support::eventually::eventually;

/// Running nodes of one cluster. They end, and their data with them, when this value or the process does.
pub struct Cluster {
    /// The first one is the controller too.
    nodes: Vec<Broker>,
}

impl Cluster {
    /// Starts so many nodes, with broker properties beside or instead of the usual, and returns when each knows them all.
    #[track_caller]
    pub fn start(nodes: usize, properties: &[(&str, &str)]) -> Self {
        let mut cluster = Self { nodes: Vec::new() };
        for number in 1..=nodes {
            let place = cluster.nodes.first().map_or(Place::First, |first| Place::Further(first, number));
            match Broker::launch(place, Life::Long, properties) {
                Ok(node) => cluster.nodes.push(node),
                Err(error) => panic!("no Kafka to test against: {error}"),
            }
        }
        cluster.await_whole();
        count_this_test();
        cluster
    }

    /// Where clients find it: every node's `host:port`, joined by commas, without authentication.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(Broker::bootstrap).collect();
        addresses.join(",")
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Settings of a client that may do everything and makes no topic by accident.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.bootstrap()).set("allow.auto.create.topics", "false");
        client
    }

    /// Kills a node, counted from 0, as `kill -9` does, and returns when it is gone.
    pub fn kill_9(&mut self, node: usize) {
        self.nodes[node].order("KILL");
    }

    fn await_whole(&self) {
        for node in &self.nodes {
            let mut client = self.client();
            let prober: BaseConsumer = client.set("bootstrap.servers", node.bootstrap()).create().unwrap();
            eventually(START_LIMIT, || match prober.fetch_metadata(None, METADATA_LIMIT) {
                Ok(metadata) if metadata.brokers().len() == self.nodes.len() => Ok(()),
                Ok(metadata) => Err(format!("{} knows {} nodes", node.bootstrap(), metadata.brokers().len())),
                Err(error) => Err(format!("{} does not answer: {error}", node.bootstrap())),
            });
        }
    }
}
