//! What the engine refuses to go on with: topics that were made anew, changed or deleted under its feet, and a group whose offsets
//! are gone.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use paybridge::message::confirmation::v1::Action;
use paybridge::provider::smart_glocal::api::Operation;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::support::bridge::ready_to_confirm;
use crate::support::engine_setup::{EngineSetup, LEDGER, await_metric};
use crate::support::eventually::{LIMIT, eventually};

/// Whoever is on call knows of it then, and nothing more is decided.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

fn admin(setup: &EngineSetup) -> AdminClient<DefaultClientContext> {
    setup.kafka.client().create().unwrap()
}

/// The broker deletes the old one in its own time.
fn make_ledger(setup: &EngineSetup) {
    let name = setup.topic(LEDGER);
    let again = NewTopic::new(&name, 3, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    eventually(LIMIT, || {
        match setup.wait(admin(setup).create_topics([&again], &AdminOptions::new())).unwrap().remove(0) {
            Ok(_) => Ok(()),
            Err((_, error)) => Err(format!("not made again: {error}")),
        }
    });
}

#[test]
fn partitions_whose_ledger_was_made_anew_stand_still() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine();
    setup.ready("ps_1", Timestamp::now(), 100);
    setup.await_outcome("ps_1");
    engine.stop().unwrap();

    let ledger = setup.topic(LEDGER);
    setup.kafka.delete_topic(&ledger);
    make_ledger(&setup);

    setup.ready("ps_1", Timestamp::now(), 100);
    let engine = setup.engine();
    eventually(LIMIT, || match engine.count("paybridge_confirmation_stopped_partitions{reason=\"lost\"}") {
        3 => Ok(()),
        stopped => Err(format!("{stopped} partitions stand still")),
    });
    assert_eq!(engine.count("paybridge_confirmation_assigned_partitions"), 0);
    engine.assert_fires("PaybridgeLedgerLost");
    assert_eq!(setup.provider.session("ps_1").unwrap().received.len(), 1, "it is decided again");
    engine.stop().unwrap();
}

/// The group's member hears of them by itself here, before the watch over the counts does.
#[test]
fn inputs_with_more_partitions_than_at_the_start_stop_the_engine_and_not_the_daemon() {
    let setup = EngineSetup::new("[kafka.engine.properties]\n'topic.metadata.refresh.interval.ms' = 500");
    let engine = setup.engine();
    let topics = ["smart-glocal.ready-to-confirm", "smart-glocal.payment-finished", "confirmation.decision"];
    let topics = topics.map(|part| setup.topic(&format!("{part}.v1")));
    setup.kafka.grow_topics(&topics.each_ref().map(String::as_str), 4);
    await_metric(&engine, "paybridge_confirmation_engine_refused", 1);
    await_metric(&engine, "paybridge_confirmation_assigned_partitions", 0);
    engine.assert_fires("PaybridgeEngineRefused");
    engine.assert_fires("PaybridgePartitionsUnassigned");
    assert_eq!(engine.post("sg-main", &ready_to_confirm(&engine.config, 1)).status, 200);
    assert_eq!(engine.admin("/readyz").status, 200);
    engine.stop().unwrap();
}

/// Without its ledger the engine decides nothing, nor with a new one that does not know what was decided.
#[test]
fn a_ledger_that_is_deleted_under_the_engine_is_told_and_nothing_more_is_decided() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine();
    setup.ready("ps_1", Timestamp::now(), 100);
    setup.await_outcome("ps_1");

    let since = Instant::now();
    setup.kafka.delete_topic(&setup.topic(LEDGER));
    await_metric(&engine, "paybridge_kafka_topics_missing", 1);
    assert!(since.elapsed() < NOTICED_WITHIN, "noticed after {:?}", since.elapsed());
    engine.assert_fires("PaybridgeTopicsMissing");
    setup.ready("ps_2", Timestamp::now(), 100);
    setup.decide("ps_1", Action::Cancel, "late");
    await_metric(&engine, "paybridge_confirmation_transactions_total{result=\"unknown\"}", 1);
    make_ledger(&setup);
    await_metric(&engine, "paybridge_confirmation_stopped_partitions{reason=\"lost\"}", 3);
    engine.assert_fires("PaybridgeLedgerLost");
    assert_eq!((setup.provider.calls(), setup.outcomes().len(), setup.rejections().len()), (1, 1, 0));
    assert_eq!(engine.post("sg-main", &ready_to_confirm(&engine.config, 1)).status, 200);
    engine.stop().unwrap();
}

/// Kafka deletes no offsets of a group that is at work. Without any, all inputs are read again, and the ledger knows them.
#[test]
fn a_group_without_its_offsets_reads_all_again_and_decides_nothing_twice() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine();
    setup.ready("ps_1", Timestamp::now(), 100);
    setup.await_outcome("ps_1");
    let group = setup.group();
    let delete = || setup.wait(admin(&setup).delete_groups(&[&group], &AdminOptions::new())).unwrap().remove(0);
    assert!(delete().is_err(), "the group has a member");
    engine.stop().unwrap();
    delete().unwrap();
    let engine = setup.engine();
    setup.ready("ps_2", Timestamp::now(), 100);
    setup.await_outcomes(2);
    engine.stop().unwrap();
    assert_eq!(setup.provider.session("ps_1").unwrap().actions(), [Operation::Confirm]);
}
