//! The nodes of a cluster: each is killed, frozen and started again by itself, or all of them at once.
//! Must not know what is done with it.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::broker::{Broker, METADATA_LIMIT};
use super::{Kafka, count_this_test};
use crate::support::eventually::{LIMIT, try_eventually};
use crate::support::turn::take_turn;

/// Nodes of the cluster that tests share.
const SHARED_NODES: usize = 3;

/// One node.
pub struct Node(Mutex<Broker>);

/// A cluster that tests use one after the other. Each leaves it whole.
pub struct SharedCluster {
    kafka: &'static Kafka,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for SharedCluster {
    type Target = &'static Kafka;

    fn deref(&self) -> &Self::Target {
        &self.kafka
    }
}

impl Drop for SharedCluster {
    /// After a failed test too, the next one has all nodes.
    fn drop(&mut self) {
        self.kafka.nodes.iter().for_each(Node::revive);
    }
}

impl Kafka {
    /// Three nodes that the tests of this process share, of which each may do with them what it likes: it has them alone
    /// until the value is dropped.
    #[track_caller]
    pub fn shared_cluster() -> SharedCluster {
        static CLUSTER: OnceLock<Kafka> = OnceLock::new();
        let turn = take_turn();
        let kafka = CLUSTER.get_or_init(|| Self::start_cluster(SHARED_NODES, &[]));
        count_this_test();
        kafka.await_whole().unwrap();
        SharedCluster { kafka, _turn: turn }
    }

    /// Every node, in the order of their numbers, which begin with 1.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Kills every node as `kill -9` does, and returns when all are gone.
    pub fn kill_9(&self) {
        self.nodes.iter().for_each(Node::kill_9);
    }

    /// Ends every node in good order (SIGTERM), and returns when all are gone.
    pub fn stop(&self) {
        self.nodes.iter().for_each(|node| drop(node.broker().order("TERM")));
    }

    /// Freezes every node (SIGSTOP): connections stay, and nobody answers.
    pub fn freeze(&self) {
        self.nodes.iter().for_each(Node::freeze);
    }

    /// Lets every frozen node go on (SIGCONT).
    pub fn thaw(&self) {
        self.nodes.iter().for_each(Node::thaw);
    }

    /// Starts every node that was ended, on the same ports and data, and returns when they answer. One alone does not: a
    /// majority of them elects the controller.
    pub fn restart(&self) {
        self.nodes.iter().for_each(Node::begin);
        self.nodes.iter().for_each(Node::await_started);
    }

    /// Waits until each node knows them all.
    pub fn await_whole(&self) -> Result<(), String> {
        for node in &self.nodes {
            let address = node.broker().bootstrap();
            let prober: BaseConsumer = self.client().set("bootstrap.servers", &address).create().unwrap();
            try_eventually(LIMIT, || match prober.fetch_metadata(None, METADATA_LIMIT) {
                Ok(metadata) if metadata.brokers().len() == self.nodes.len() => Ok(()),
                Ok(metadata) => Err(format!("{address} knows {} nodes", metadata.brokers().len())),
                Err(error) => Err(format!("{address} does not answer: {error}")),
            })?;
        }
        Ok(())
    }
}

impl Node {
    pub(super) fn new(broker: Broker) -> Self {
        Self(Mutex::new(broker))
    }

    pub(super) fn broker(&self) -> MutexGuard<'_, Broker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills it as `kill -9` does, and returns when it is gone.
    pub fn kill_9(&self) {
        self.broker().order("KILL");
    }

    /// Freezes it (SIGSTOP): connections stay, and it does not answer.
    pub fn freeze(&self) {
        self.broker().order("STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.broker().order("CONT");
    }

    /// Starts it after its end, and returns when it answers.
    pub fn restart(&self) {
        self.begin();
        self.await_started();
    }

    /// Whatever was done to it, it goes on.
    fn revive(&self) {
        let mut broker = self.broker();
        match broker.order("ALIVE").as_str() {
            "gone" => broker.order("START"),
            _ => broker.order("CONT"),
        };
    }

    fn begin(&self) {
        self.broker().order("START");
    }

    fn await_started(&self) {
        if let Err(error) = self.broker().await_started() {
            panic!("Kafka does not come back: {error}");
        }
    }
}
