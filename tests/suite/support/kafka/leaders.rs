//! Who leads the partitions of a topic, moved to other nodes in good order, by Kafka's own tools.

use std::fs;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::MetadataTopic;
use serde_json::json;

use super::Kafka;
use super::broker::METADATA_LIMIT;
use crate::support::cache;
use crate::support::eventually::{LIMIT, eventually, try_eventually};

/// The topics whose leaders coordinate transactions and consumer groups.
pub const COORDINATORS: [&str; 2] = ["__transaction_state", "__consumer_offsets"];

/// A partition, its leader, the nodes that have it, in the order in which they are wished for, and how many have all of it.
struct Led {
    topic: String,
    partition: i32,
    leader: i32,
    replicas: Vec<i32>,
    in_sync: usize,
}

impl Kafka {
    /// Has another node lead each partition of these topics, and returns when they all do. Nothing is lost by it, and nothing
    /// else moves: every node has the partitions as before.
    #[track_caller]
    pub fn move_leaders(&self, topics: &[&str]) {
        let mut wanted: Vec<Led> = topics.iter().flat_map(|topic| self.led(topic).unwrap()).collect();
        for led in &mut wanted {
            let place = led.replicas.iter().position(|replica| *replica == led.leader).unwrap();
            led.replicas.rotate_left(place + 1);
        }
        self.wish_for(&wanted).unwrap();
        eventually(LIMIT, || {
            let now = topics.iter().map(|topic| self.led(topic)).collect::<Result<Vec<_>, _>>()?;
            let late = now.iter().flatten().zip(&wanted).find(|(now, wanted)| now.leader != wanted.replicas[0]);
            late.map_or(Ok(()), |(now, _)| Err(format!("node {} leads {} {}", now.leader, now.topic, now.partition)))
        });
    }

    /// The node that leads each partition of a topic.
    #[track_caller]
    pub fn leaders(&self, topic: &str) -> Vec<i32> {
        eventually(LIMIT, || self.led(topic)).iter().map(|led| led.leader).collect()
    }

    /// The first replica of each is to lead; then it is elected.
    fn wish_for(&self, wanted: &[Led]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wanted.json");
        let order: Vec<_> = wanted
            .iter()
            .map(|led| json!({"topic": led.topic, "partition": led.partition, "replicas": led.replicas}))
            .collect();
        fs::write(&file, json!({"version": 1, "partitions": order}).to_string()).unwrap();
        let mut reassign = self.broker().tool("org.apache.kafka.tools.reassign.ReassignPartitionsCommand");
        cache::run(reassign.args(["--execute", "--reassignment-json-file"]).arg(&file))?;
        try_eventually(LIMIT, || {
            let mut elect = self.broker().tool("org.apache.kafka.tools.LeaderElectionCommand");
            cache::run(elect.args(["--election-type", "PREFERRED", "--path-to-json-file"]).arg(&file)).map(drop)
        })
    }

    fn led(&self, topic: &str) -> Result<Vec<Led>, String> {
        let client: BaseConsumer = self.client().create().unwrap();
        let metadata =
            client.fetch_metadata(Some(topic), METADATA_LIMIT).map_err(|error| format!("{topic}: {error}"))?;
        let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
        let mut led: Vec<Led> = partitions
            .map(|one| Led {
                topic: topic.to_owned(),
                partition: one.id(),
                leader: one.leader(),
                replicas: one.replicas().to_vec(),
                in_sync: one.isr().len(),
            })
            .collect();
        led.sort_by_key(|led| led.partition);
        if led.is_empty() { Err(format!("there is no topic {topic}")) } else { Ok(led) }
    }

    /// Waits until every node has all that is on these topics, as after a start.
    #[track_caller]
    pub fn await_in_sync<'t>(&self, topics: impl IntoIterator<Item = &'t str>) {
        for topic in topics {
            eventually(LIMIT, || {
                let led = self.led(topic)?;
                let behind = led.iter().find(|led| led.in_sync < led.replicas.len());
                behind
                    .map_or(Ok(()), |led| Err(format!("{topic} {} is in sync on {} nodes", led.partition, led.in_sync)))
            });
        }
    }
}
