//! Three nodes that each have every record, and one of them killed: nothing that was answered 200 is lost, and the two that are
//! left take what comes.

use std::collections::BTreeMap;

use super::{AT_ONCE, LIMIT};
use crate::support::bridge::{Bridge, SOURCES, config, count_by_id, create_needed_topics};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;
use crate::support::stream::{self, Event, Events, Random, Stream, check_answer};

/// The one that is not the controller, which is one alone here.
const VICTIM: usize = 1;

#[test]
fn a_stream_of_webhooks_survives_the_death_of_one_node_of_three() {
    let kafka = Kafka::start_cluster(3, &[]);
    let settings = [("KAFKA__REPLICATION_FACTOR", "3"), ("INGRESS__ACK_TIMEOUT_MS", "2000")];
    let config = config(kafka.bootstrap(), SOURCES, &settings);
    create_needed_topics(&kafka, &config);
    let bridge = Bridge::launch(config);
    bridge.await_ready();
    let mut random = Random::printed();
    let mut events = Events::new(&bridge.config);
    let strike_at = 50 + random.below(100);
    let disturb = |stream: &Stream| {
        stream.await_answers(strike_at);
        kafka.nodes()[VICTIM].kill_9();
    };
    let post = |event: &Event| Some(bridge.post(&event.source, &event.webhook));
    let account = stream::run(events.some(400, &mut random), AT_ONCE, post, disturb);
    let mut taken: Vec<(Event, String)> = Vec::new();
    for (event, answered) in account {
        let mut answered = answered.unwrap();
        check_answer(&answered, bridge.config.ingress.ack_timeout());
        // as the provider would, until the partition has another leader
        eventually(LIMIT, || {
            if answered.status != 200 {
                answered = bridge.post(&event.source, &event.webhook);
                check_answer(&answered, bridge.config.ingress.ack_timeout());
            }
            if answered.status == 200 { Ok(()) } else { Err(format!("not taken by two nodes: {answered:?}")) }
        });
        taken.push((event, answered.json("event_id")));
    }
    let mut known = BTreeMap::new();
    for (event, id) in taken {
        let there = known.entry(event.topic).or_insert_with_key(|topic| count_by_id(&kafka.read_all(topic)));
        assert!(there.contains_key(&id), "{id} was answered 200 and is lost");
    }
    eventually(LIMIT, || match bridge.count("paybridge_kafka_brokers_up") {
        2 => Ok(()),
        up => Err(format!("{up} of three nodes are up after the death of one")),
    });
}
