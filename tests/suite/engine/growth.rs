//! A topic of the engine's gets more partitions while the engine runs: keys have moved, so nothing more is decided, on any
//! partition. Webhooks are taken as before.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use paybridge::confirmation::codec::inputs;
use paybridge::message::confirmation::v1::Action;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::SimulatorSettings;
use prost::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::clocks::SMALL_ARE_CONFIRMED;
use super::start::{await_accepted, await_refused, check_takes_webhooks, for_process, grow};
use crate::support::bridge::{Bridge, create_needed_topics};
use crate::support::daemon::Daemon;
use crate::support::engine_setup::{
    DECISION, EngineSetup, FINISHED, LEDGER, PROJECT, READY, await_metric, known_keys, ready_event,
};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;

/// Within this time of the growth nothing more may be decided.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

/// Waits until the engine's group has so many members.
fn await_members(setup: &EngineSetup, count: usize) {
    let consumer: BaseConsumer = setup.kafka.client().create().unwrap();
    eventually(LIMIT, || {
        let groups = consumer.fetch_group_list(Some(&setup.group()), LIMIT).map_err(|error| error.to_string())?;
        match groups.groups().iter().map(|group| group.members().len()).sum::<usize>() {
            members if members == count => Ok(()),
            members => Err(format!("{members} members")),
        }
    });
}

fn check_stops(grown: &[&str], told: &str) {
    let (setup, text) = for_process("");
    create_needed_topics(setup.kafka, &setup.config);
    let mut daemon = Daemon::run(&text);
    daemon.await_ready();
    let ids: Vec<String> = (0..3).map(|partition| setup.sessions_of(partition).next().unwrap()).collect();
    for id in &ids {
        setup.ready(id, Timestamp::now(), 100);
        setup.await_entries(id, 1);
    }

    grow(&setup, grown);
    let since = Instant::now();
    await_refused(&daemon);
    assert!(since.elapsed() < NOTICED_WITHIN, "noticed after {:?}", since.elapsed());
    let log = daemon.log();
    assert!(log.contains(told) && log.contains("the confirmation engine refuses to work"), "no `{told}` in {log}");
    // Whoever is no member reads nothing, and so decides nothing.
    await_members(&setup, 0);
    for id in &ids {
        setup.decide(id, Action::Confirm, "late");
    }
    check_takes_webhooks(&daemon);
    daemon.await_ready();

    // A restart is no way out, and no webhook is lost by it.
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    daemon.start_again();
    await_refused(&daemon);
    check_takes_webhooks(&daemon);
    daemon.await_ready();
    assert_eq!(setup.provider.calls(), 0);
    assert!(setup.outcomes().is_empty(), "{:?}", setup.outcomes());
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
}

#[test]
fn partitions_added_to_the_decision_topic_stop_the_engine_on_every_partition_and_no_webhook() {
    check_stops(&[DECISION], "confirmation.decision.v1 has 4 instead of 3");
}

#[test]
fn partitions_added_to_every_topic_of_the_engine_stop_it_too() {
    check_stops(&[DECISION, FINISHED, LEDGER, READY], "confirmation.ledger.v1 has 4 instead of 3");
}

#[test]
fn an_engine_alone_ends_when_partitions_are_added() {
    let (setup, text) = for_process("");
    create_needed_topics(setup.kafka, &setup.config);
    let mut daemon = Daemon::run(&text.replace("[ingress]", "[ingress]\nenabled = false"));
    daemon.await_ready();
    // It has begun once it has written.
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.await_entries("ps_one", 1);
    grow(&setup, &[READY]);
    assert_eq!(daemon.await_end(), Some(1), "{}", daemon.log());
    assert!(daemon.log().contains("ready-to-confirm.v1 has 4 instead of 3"), "{}", daemon.log());
}

#[test]
fn the_first_engine_of_a_process_that_is_refused_is_followed_by_one_that_works() {
    let (setup, text) = for_process("default = \"confirm\"");
    create_needed_topics(setup.kafka, &setup.config);
    grow(&setup, &[DECISION]);
    let mut daemon = Daemon::run(&text);
    await_refused(&daemon);
    // Nothing was decided yet, so the others may have as many.
    grow(&setup, &[FINISHED, LEDGER, READY]);
    setup.ready("ps_one", Timestamp::now(), 100);
    eventually(LIMIT, || match setup.outcomes().len() {
        1 => Ok(()),
        outcomes => Err(format!("{outcomes} outcomes: {}", daemon.log())),
    });
    await_accepted(&daemon);
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
}

/// A session ended under three partitions. All topics get a fourth one while no engine runs; then three replicas start at once,
/// and a later event of the session is on the new partition, whose owner knows nothing of the old ones.
#[test]
fn replicas_that_start_on_grown_topics_decide_nothing_also_where_one_gets_the_new_partition_alone() {
    // Long enough for all three to join before the group hands out partitions.
    let kafka: &'static Kafka = Box::leak(Box::new(Kafka::start(&[("group.initial.rebalance.delay.ms", "3000")])));
    let setup = EngineSetup::with(kafka, SMALL_ARE_CONFIRMED, SimulatorSettings::new(PROJECT, known_keys()));
    let id = setup.sessions_of(0).find(|id| inputs::partition_of(id, 4) == 3).unwrap();
    let engine = setup.engine();
    setup.ready(&id, Timestamp::now(), 600);
    setup.await_entries(&id, 1);
    setup.decide(&id, Action::Cancel, "by hand");
    setup.await_outcome(&id);
    engine.stop().unwrap();
    grow(&setup, &[DECISION, FINISHED, LEDGER, READY]);
    let event = ready_event(&id, "a later event", Timestamp::now(), 100).encode_to_vec();
    // The setup's own producer knows three partitions.
    let producer: BaseProducer = kafka.client().create().unwrap();
    let topic = setup.topic(READY);
    producer.send(BaseRecord::to(&topic).partition(3).key(&id).payload(&event)).map_err(|(error, _)| error).unwrap();
    producer.flush(LIMIT).unwrap();

    let replica = |number| {
        let mut config = setup.config.clone();
        config.bridge_instance = format!("replica-{number}");
        Bridge::launch(config)
    };
    let replicas: Vec<Bridge> = (0..3).map(replica).collect();
    for replica in &replicas {
        await_metric(replica, "paybridge_confirmation_engine_refused", 1);
    }
    // Nobody is left who could decide.
    await_members(&setup, 0);
    let written = setup.records(LEDGER).into_iter().filter(|record| record.partition == 3).count();
    assert_eq!((setup.provider.session(&id).unwrap().actions(), written), (vec![Operation::Cancel], 0));
    setup.await_outcomes(1);
    for replica in replicas {
        replica.stop().unwrap();
    }
}
