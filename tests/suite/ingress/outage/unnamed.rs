//! A cluster that names no broker for a while, because all of them are fenced. librdkafka may forget all brokers then, for ever (its
//! issue 5301): such clients are replaced, and all goes on.

use std::slice;
use std::time::Duration;

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::kafka::reader::{ReadError, Start, TopicReader};
use paybridge::provider::SignedWebhook;

use super::LIMIT;
use crate::support::bridge::{Bridge, event_type, sender};
use crate::support::daemon::{Client, Daemon, Exchange};
use crate::support::engine_setup::EngineSetup;
use crate::support::eventually::{eventually, pause};
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::unnamed_brokers::UnnamedBrokers;

/// So many answers name no broker: more than there are clients.
const ANSWERS: usize = 20;
/// Whether librdkafka forgets brokers is a matter of its threads' turns: half of the times here.
const ROUNDS_MAX: usize = 20;
/// What the log says of each client that lives for long, when it is replaced.
const REPLACED: [&str; 5] = [
    "the producer knows no Kafka broker any more and is rebuilt",
    "the topic's producer knows no Kafka broker any more and is rebuilt",
    // the follower of the dedup topic
    "the Kafka client knows no broker any more and cannot connect again",
    // the member that reads requests for releases
    "consumer group member failed and cannot go on: it knows no Kafka broker any more",
    "consumer failed fatally; the confirmation engine rejoins the consumer group",
];
/// The engine's producer.
const REBUILDS: &str = "paybridge_confirmation_rebuilds_total";

#[test]
fn all_goes_on_after_kafka_has_named_no_broker_for_a_while() {
    let kafka = Kafka::shared();
    let unnamed = UnnamedBrokers::before(kafka.bootstrap());
    let (setup, text) = EngineSetup::for_process_with_topics("default = \"confirm\"");
    let daemon = Daemon::run(&text.replace(kafka.bootstrap(), &unnamed.address()));
    daemon.await_ready();
    let client = daemon.client();
    for round in 0.. {
        let log = daemon.log();
        let mut missing: Vec<&str> = REPLACED.into_iter().filter(|line| !log.contains(line)).collect();
        if client.metric(REBUILDS).unwrap() == 0 {
            missing.push(REBUILDS);
        }
        if missing.is_empty() {
            println!("each client was replaced within {round} rounds");
            break;
        }
        assert!(round < ROUNDS_MAX, "in {ROUNDS_MAX} rounds nothing was logged of {missing:?}");
        name_none_for_a_while(&unnamed);
        eventually(LIMIT, || match client.post("sg-main", &webhook(&setup.config, round)) {
            Exchange::Answered(answered) if answered.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        setup.ready(&format!("ps_{round}"), Timestamp::now(), 100);
        setup.await_outcomes(round + 1);
    }
    check_replicas_hear_each_other(&client, &setup.config);
    kafka.delete_topic(&setup.topic("smart-glocal.ready-to-capture.v1"));
    eventually(LIMIT, || match client.metric("paybridge_kafka_topics_missing") {
        Some(1) => Ok(()),
        missing => Err(format!("{missing:?} topics are missing")),
    });
}

/// What a command reads with. Nothing replaces it, so it must not wait for ever.
#[test]
fn a_reader_that_knows_no_broker_says_so() {
    let kafka = Kafka::shared();
    let unnamed = UnnamedBrokers::before(kafka.bootstrap());
    let topic = unique_prefix();
    kafka.create_topics(&[(topic.as_str(), 1, &[])]);
    let mut properties = kafka.client();
    properties.set("bootstrap.servers", unnamed.address());
    for _ in 0..ROUNDS_MAX {
        let reader = TopicReader::open(&properties, slice::from_ref(&topic), Start::Beginning, LIMIT).unwrap();
        let before = unnamed.answers();
        unnamed.name_none();
        let told = eventually(LIMIT, || match reader.next(Duration::from_millis(100)) {
            Err(error) => Ok(Some(error)),
            Ok(_) if unnamed.answers() - before >= ANSWERS => Ok(None),
            Ok(step) => Err(format!("{step:?}")),
        });
        unnamed.name_all();
        match told {
            Some(ReadError::BrokersForgotten) => return,
            Some(error) => panic!("{error}"),
            None => {}
        }
    }
    panic!("in {ROUNDS_MAX} rounds no reader knew no broker");
}

fn name_none_for_a_while(unnamed: &UnnamedBrokers) {
    let before = unnamed.answers();
    unnamed.name_none();
    eventually(LIMIT, || match unnamed.answers() - before {
        ANSWERS.. => Ok(()),
        answers => Err(format!("{answers} answers named no broker")),
    });
    unnamed.name_all();
}

fn webhook(config: &Config, number: usize) -> SignedWebhook {
    let event_type = event_type("smart-glocal", "payment-refunded");
    sender(config, "sg-main").sample(event_type, Timestamp::now(), u64::try_from(number).unwrap())
}

/// Each tells what it has published, and knows what the other one has.
fn check_replicas_hear_each_other(client: &Client, config: &Config) {
    let mut config = config.clone();
    config.confirmation.enabled = false;
    let other = Bridge::launch(config);
    other.await_ready();
    other.await_following();
    let from_daemon = |webhook: &SignedWebhook| match client.post("sg-main", webhook) {
        Exchange::Answered(answered) => answered.json("status"),
        unanswered => panic!("{unanswered:?}"),
    };
    let from_other = |webhook: &SignedWebhook| other.post("sg-main", webhook).json("status");
    let mut number = ROUNDS_MAX;
    let mut hears = |first: &dyn Fn(&SignedWebhook) -> String, second: &dyn Fn(&SignedWebhook) -> String| {
        eventually(LIMIT, || {
            number += 1;
            let webhook = webhook(&other.config, number);
            assert_eq!(first(&webhook), "accepted");
            // Other replicas hear of it within a second.
            pause(Duration::from_secs(1));
            match second(&webhook).as_str() {
                "duplicate" => Ok(()),
                status => Err(format!("a redelivery to the other replica was answered {status}")),
            }
        });
    };
    hears(&from_daemon, &from_other);
    hears(&from_other, &from_daemon);
}
