//! What the engine refuses to go on with: topics that were made anew, or changed, under its feet.

use jiff::Timestamp;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::support::bridge::ready_to_confirm;
use crate::support::engine_setup::{EngineSetup, LIMIT, await_metric};
use crate::support::eventually::eventually;

fn admin(setup: &EngineSetup) -> AdminClient<DefaultClientContext> {
    setup.kafka.client().create().unwrap()
}

#[test]
fn partitions_whose_ledger_was_made_anew_stand_still() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine();
    setup.ready("ps_1", Timestamp::now(), 100);
    setup.await_outcome("ps_1");
    engine.stop().unwrap();

    let ledger = setup.topic("confirmation.ledger.v1");
    let deleted = setup.wait(admin(&setup).delete_topics(&[&ledger], &AdminOptions::new())).unwrap();
    assert_eq!(deleted, [Ok(ledger.clone())]);
    // The broker deletes it in its own time.
    let again = NewTopic::new(&ledger, 3, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    eventually(LIMIT, || {
        match setup.wait(admin(&setup).create_topics([&again], &AdminOptions::new())).unwrap().remove(0) {
            Ok(_) => Ok(()),
            Err((_, error)) => Err(format!("not made again: {error}")),
        }
    });

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
