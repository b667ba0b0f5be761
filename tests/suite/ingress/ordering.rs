//! The order of one key's records: that in which their webhooks were answered.

use std::collections::BTreeMap;
use std::thread;

use jiff::Timestamp;

use crate::support::bridge::{Bridge, sender};
use crate::support::kafka::Kafka;
use crate::support::wire::SMART_GLOCAL;

/// How many events each key gets.
const EVENTS_OF_A_KEY: u64 = 60;

/// Several senders at once, each sending one key's events in order: each key's records stand in the order in which they
/// were acknowledged.
#[test]
fn records_of_one_key_stand_in_the_order_of_acknowledgement() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SMART_GLOCAL, &[]);
    let keys: Vec<String> = (0..6).map(|number| format!("ps_{number}")).collect();
    let acknowledged: BTreeMap<&str, Vec<String>> = thread::scope(|scope| {
        let senders: Vec<_> =
            keys.iter().map(|key| scope.spawn(|| (key.as_str(), send_in_order(&bridge, key)))).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let records = kafka.read_all(&bridge.topic("smart-glocal.ready-to-confirm.v1"));
    for (key, ids) in acknowledged {
        let of_key: Vec<_> = records.iter().filter(|record| record.key.as_deref() == Some(key.as_bytes())).collect();
        assert!(of_key.windows(2).all(|pair| pair[0].partition == pair[1].partition), "{key}: one partition");
        let there: Vec<&str> = of_key.iter().map(|record| record.header("ce_id").unwrap()).collect();
        assert_eq!(there, ids, "{key}");
    }
}

fn send_in_order(bridge: &Bridge, key: &str) -> Vec<String> {
    let sender = sender(&bridge.config, "sg-main");
    let send = |number: u64| {
        let body = format!(
            r#"{{"type":"ready_to_confirm","session":{{"id":"{key}","status":"in_progress","payout_list":[{{"id":"po_{number}","status":"pending"}}]}}}}"#
        );
        let answered = bridge.post("sg-main", &sender.sign("", body.into(), Timestamp::now(), number));
        assert_eq!(answered.json("status"), "accepted", "{answered:?}");
        answered.json("event_id")
    };
    (0..EVENTS_OF_A_KEY).map(send).collect()
}
