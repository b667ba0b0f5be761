//! The bounds of the spool, and topics that Kafka does not take while others go on.

use std::fs;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use paybridge::provider::SignedWebhook;
use paybridge::spool::batch;

use super::{LIMIT, Spooling, TOPIC, files};
use crate::support::bridge::{count_by_id, event_type, sender};
use crate::support::daemon::program;
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;
use crate::support::stream::Random;
use crate::support::wire::short_hex;

#[test]
fn a_full_spool_answers_503_and_empties_as_ever() {
    let kafka = Kafka::start(&[]);
    let spooling = Spooling::start(&kafka, "files_max = 16");
    kafka.freeze();
    let mut ids = Vec::new();
    let refused = (0..50).find_map(|number| {
        let answered = spooling.post(&spooling.event("ps_1", number));
        if answered.status == 200 {
            ids.push(answered.json("event_id"));
        }
        (answered.status != 200).then_some(answered)
    });
    let refused = refused.expect("16 files are few");
    assert_eq!((refused.status.as_u16(), refused.json("status")), (503, "unavailable".to_owned()));
    assert!(ids.len() >= 16 && spooling.daemon.log().contains("the spool is full"), "{}", spooling.daemon.log());
    kafka.thaw();
    spooling.await_drained();
    let counts = spooling.counts(&kafka);
    assert!(ids.iter().all(|id| counts.contains_key(id)));
}

/// A record that is larger than its topic takes goes aside, and goes on when the topic takes it; other topics are not held up by one that is
/// gone.
#[test]
fn records_that_kafka_refuses_hold_up_no_others() {
    let kafka = Kafka::start(&[]);
    let spooling = Spooling::start(&kafka, "");
    let other_topic = spooling.topic().replace(TOPIC, "smart-glocal.payment-finished.v1");
    kafka.alter_topic(&spooling.topic(), &[("max.message.bytes", "6000")]);
    kafka.delete_topic(&other_topic);
    kafka.freeze();
    let large = spooling.post_well(&large(&spooling)).1;
    // Together, so that one file has both, mostly.
    let (small, of_gone_topic) = thread::scope(|scope| {
        let small = scope.spawn(|| spooling.post_well(&spooling.event("ps_1", 0)).1);
        let gone = scope.spawn(|| spooling.post_well(&finished(&spooling, 1)).1);
        (small.join().unwrap(), gone.join().unwrap())
    });
    kafka.thaw();
    // Of the topic that is gone, records wait, and others go directly.
    eventually(LIMIT, || {
        let counts = spooling.counts(&kafka);
        let is_direct = spooling.metric("paybridge_spool_engaged") < 0.5;
        (counts.contains_key(&small) && is_direct).then_some(()).ok_or_else(|| spooling.daemon.log())
    });
    assert_eq!(spooling.post_well(&spooling.event("ps_1", 1)).0, "accepted");
    let mut number = 1;
    eventually(LIMIT, || {
        number += 1;
        let answered = spooling.post(&finished(&spooling, number));
        (answered.status == 503).then_some(()).ok_or_else(|| format!("{answered:?}\n{}", spooling.daemon.log()))
    });
    eventually(LIMIT, || {
        let left: usize = fs::read_dir(spooling.path().join("new"))
            .unwrap()
            .filter_map(|file| fs::read(file.unwrap().path()).ok())
            .map(|file| batch::decode(&file).records.len())
            .sum();
        let known = spooling.metric("paybridge_spool_records");
        (format!("{left}") == format!("{known}"))
            .then_some(())
            .ok_or_else(|| format!("{left} records on disk, and not {known}"))
    });
    let dead = files(&spooling.path().join("dead"));
    assert_eq!(dead.len(), 1, "{dead:?}\n{}", spooling.daemon.log());

    kafka.create_topics(&[(&other_topic, 3, &[("message.timestamp.type", "LogAppendTime")])]);
    kafka.alter_topic(&spooling.topic(), &[("max.message.bytes", "1048576")]);
    let retried = spool_command(&spooling, "retry-dead");
    assert!(retried.contains(&dead[0]), "{retried}");
    spooling.await_drained();
    assert!(spooling.counts(&kafka).contains_key(&large));
    assert_eq!(count_by_id(&kafka.read_all(&other_topic)).get(&of_gone_topic), Some(&1));
    eventually(Duration::from_secs(30), || {
        let answered = spooling.post(&finished(&spooling, number));
        (answered.status == 200).then_some(()).ok_or_else(|| format!("{answered:?}\n{}", spooling.daemon.log()))
    });
    let status = spool_command(&spooling, "status");
    assert!(status.contains("in use by a process") && status.contains("dead: 0 files"), "{status}");
}

fn spool_command(spooling: &Spooling, command: &str) -> String {
    let mut program = program();
    program.args(["spool", command, "--directory"]).arg(spooling.path());
    let output = program.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn large(spooling: &Spooling) -> SignedWebhook {
    // Which no compression makes fewer.
    let text = short_hex(&Random::of(1).bytes(4000), 4000);
    let body = format!(
        r#"{{"type":"ready_to_confirm","session":{{"id":"ps_large","status":"in_progress","metadata":"{text}","payout_list":[{{"id":"po_1","status":"pending"}}]}}}}"#
    );
    sender(&spooling.daemon.config, "sg-main").sign("", body.into(), Timestamp::now(), 0)
}

fn finished(spooling: &Spooling, number: u64) -> SignedWebhook {
    let event_type = event_type("smart-glocal", "payment-finished");
    sender(&spooling.daemon.config, "sg-main").sample(event_type, Timestamp::UNIX_EPOCH, number)
}
