//! The bounds of the spool, and topics that Kafka does not take while others go on.

use std::fs;
use std::thread;

use jiff::Timestamp;
use paybridge::provider::SignedWebhook;
use paybridge::spool::batch;

use super::{LIMIT, Spooling, files};
use crate::support::bridge::{count_by_id, sender};
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

/// What is on disk fills it and cannot go, and what comes cannot be stored: that is as without a spool.
#[test]
fn a_spool_that_is_full_of_a_topic_that_takes_nothing_holds_up_no_others() {
    let kafka = Kafka::start(&[]);
    let mut spooling = Spooling::start(&kafka, "files_max = 16");
    let topic = spooling.other_topic();
    // Each record is too old for it.
    kafka.alter_topic(&topic, &[("message.timestamp.type", "CreateTime"), ("message.timestamp.before.max.ms", "0")]);
    kafka.freeze();
    let mut kept = Vec::new();
    let refused = (0..50).find(|number| {
        let answered = spooling.post(&spooling.other_event(*number));
        kept.extend((answered.status == 200).then(|| answered.json("event_id")));
        answered.status != 200
    });
    assert!(refused.is_some() && kept.len() >= 16, "{kept:?}\n{}", spooling.daemon.log());
    kafka.thaw();
    let mut number = 0;
    let mut goes_on = |spooling: &Spooling| {
        eventually(LIMIT, || {
            number += 1;
            let answered = spooling.post(&spooling.event("ps_1", number));
            (answered.status == 200).then_some(()).ok_or_else(|| format!("{answered:?}\n{}", spooling.daemon.log()))
        });
    };
    goes_on(&spooling);
    eventually(LIMIT, || {
        let shown = ["paybridge_spool_engaged", "paybridge_spool_files"].map(|name| spooling.metric(name));
        (format!("{shown:?}") == "[0.0, 16.0]").then_some(()).ok_or_else(|| format!("{shown:?}"))
    });
    assert_eq!(spooling.post(&spooling.other_event(99)).status, 503, "behind the others there is no room");
    // A process that finds it so, too.
    spooling.daemon.signal("TERM");
    assert_eq!(spooling.daemon.await_end(), Some(0), "{}", spooling.daemon.log());
    spooling.daemon.start_again();
    goes_on(&spooling);
    kafka.alter_topic(&topic, &[("message.timestamp.type", "LogAppendTime")]);
    spooling.await_drained();
    let counts = count_by_id(&kafka.read_all(&topic));
    assert!(kept.iter().all(|id| counts.contains_key(id)), "{kept:?} {counts:?}");
}

/// A record that is larger than its topic takes goes aside, and goes on when the topic takes it; other topics are not held up by one that is
/// gone.
#[test]
fn records_that_kafka_refuses_hold_up_no_others() {
    let kafka = Kafka::start(&[]);
    let spooling = Spooling::start(&kafka, "");
    let other_topic = spooling.other_topic();
    kafka.alter_topic(&spooling.topic(), &[("max.message.bytes", "6000")]);
    kafka.delete_topic(&other_topic);
    kafka.freeze();
    // Together, so that one file has all of them, mostly.
    let [large, small, of_gone_topic] = thread::scope(|scope| {
        let (spooling, webhooks) = (&spooling, [large(&spooling), spooling.event("ps_1", 0), spooling.other_event(1)]);
        let posts = webhooks.map(|webhook| scope.spawn(move || spooling.post_well(&webhook).1));
        posts.map(|post| post.join().unwrap())
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
        let answered = spooling.post(&spooling.other_event(number));
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
    let mut dead = files(&spooling.path().join("dead"));
    assert_eq!(dead.len(), 1, "{dead:?}\n{}", spooling.daemon.log());

    // The rest of the file cannot go either, and is as dead as what was before it.
    let settings = |bytes| [("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", bytes)];
    kafka.create_topics(&[(&other_topic, 3, &settings("400"))]);
    eventually(LIMIT, || match spooling.metric("paybridge_spool_records") {
        records if records < 0.5 => Ok(()),
        records => Err(format!("{records} records wait\n{}", spooling.daemon.log())),
    });
    let before = std::mem::replace(&mut dead, files(&spooling.path().join("dead")));
    assert!(dead.len() > 1 && dead.contains(&before[0]), "{before:?} {dead:?}");
    for topic in [&spooling.topic(), &other_topic] {
        kafka.alter_topic(topic, &[("max.message.bytes", "1048576")]);
    }
    let retried = spool_command(&spooling, "retry-dead");
    assert!(dead.iter().all(|file| retried.contains(file)), "{retried}");
    eventually(LIMIT, || {
        let [of_topic, of_other] = [spooling.counts(&kafka), count_by_id(&kafka.read_all(&other_topic))];
        let counts = [of_topic.get(&large), of_other.get(&of_gone_topic)];
        (counts == [Some(&1); 2]).then_some(()).ok_or_else(|| format!("{counts:?}\n{}", spooling.daemon.log()))
    });
    spooling.await_drained();
    eventually(LIMIT, || {
        let answered = spooling.post(&spooling.other_event(number));
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
