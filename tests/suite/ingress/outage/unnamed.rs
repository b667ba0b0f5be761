//! A cluster that names no broker for a moment, because all of them are fenced. librdkafka may forget all brokers then, for ever (its
//! issue 5301): such clients are replaced, and all goes on.

use jiff::Timestamp;
use paybridge::simulator::SimulatorSettings;

use super::LIMIT;
use crate::support::bridge::{Bridge, SOURCES, config, create_needed_topics, ready_to_confirm};
use crate::support::engine_setup::{EngineSetup, PROJECT, known_keys};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;
use crate::support::unnamed_brokers::UnnamedBrokers;

const FORGOTTEN: &str = "brokers_forgotten";
/// In so many answers that name no broker each client has had one, several times.
const ANSWERS: usize = 20;
/// How often librdkafka forgets all brokers is a matter of its threads' turns: half of the times here.
const ROUNDS_MAX: usize = 20;

/// Lets no broker be named for a while, again and again until the producer of webhooks has had to be replaced twice. After each time
/// all goes on, which `check` finds out.
#[track_caller]
fn name_none_again_and_again(unnamed: &UnnamedBrokers, bridge: &Bridge, check: impl Fn(usize)) {
    for round in 0..ROUNDS_MAX {
        let before = (unnamed.answers(), bridge.restarts(FORGOTTEN));
        unnamed.name_none();
        eventually(LIMIT, || {
            let answers = unnamed.answers() - before.0;
            let is_enough = answers >= ANSWERS || bridge.restarts(FORGOTTEN) > before.1;
            if is_enough { Ok(()) } else { Err(format!("{answers} answers named no broker")) }
        });
        unnamed.name_all();
        check(round);
        if bridge.restarts(FORGOTTEN) >= 2 {
            return;
        }
    }
    panic!("in {ROUNDS_MAX} rounds the producer was replaced {} times", bridge.restarts(FORGOTTEN));
}

#[test]
fn webhooks_go_on_after_kafka_has_named_no_broker_for_a_while() {
    let kafka = Kafka::shared();
    let unnamed = UnnamedBrokers::before(kafka.bootstrap());
    let config = config(&unnamed.address(), SOURCES, &[]);
    create_needed_topics(kafka, &config);
    let bridge = Bridge::launch(config);
    bridge.await_ready();
    bridge.await_following();
    name_none_again_and_again(&unnamed, &bridge, |round| {
        let webhook = ready_to_confirm(&bridge.config, u64::try_from(round).unwrap());
        eventually(LIMIT, || match bridge.post("sg-main", &webhook) {
            answered if answered.status == 200 => Ok(()),
            answered => Err(format!("{answered:?}")),
        });
        // Other replicas are told.
        eventually(LIMIT, || match kafka.read_all(&bridge.topic("dedup.v1")).len() {
            entries if entries > round => Ok(()),
            entries => Err(format!("{entries} entries")),
        });
    });
    // What others tell is heard, and the topics are looked at.
    bridge.await_following();
    kafka.delete_topic(&bridge.topic("unipaas.plan-update.v1"));
    eventually(LIMIT, || match bridge.count("paybridge_kafka_topics_missing") {
        1 => Ok(()),
        missing => Err(format!("{missing} topics are missing")),
    });
}

#[test]
fn sessions_are_decided_after_kafka_has_named_no_broker_for_a_while() {
    let unnamed = UnnamedBrokers::before(Kafka::shared().bootstrap());
    let setup =
        EngineSetup::with(Kafka::shared(), "default = \"confirm\"", SimulatorSettings::new(PROJECT, known_keys()));
    let engine = setup.engine_with(|config| config.kafka.bootstrap_servers = unnamed.address());
    name_none_again_and_again(&unnamed, &engine, |round| {
        setup.ready(&format!("ps_{round}"), Timestamp::now(), 100);
        setup.await_outcomes(round + 1);
    });
}
