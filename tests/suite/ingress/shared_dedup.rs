//! Dedup across replicas and restarts, by the topic that replicas share: what one has published the others do not publish again,
//! and nothing is taken for a duplicate that is none, whatever becomes of that topic.

mod kills;
mod volume;

use std::collections::BTreeSet;

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::ingress::shared_dedup::entry::{self, ClusterMark};
use paybridge::ingress::window::{EntryStep, SharedEntry, Ticket};
use paybridge::provider::{EventId, SignedWebhook};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::dedup::STATES;
use crate::support::bridge::{Bridge, config, count_by_id, create_needed_topics, ready_to_confirm, sender};
use crate::support::daemon::{Daemon, Exchange, Settings, configuration};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, User};
use crate::support::stream::Random;
use crate::support::wire::{SMART_GLOCAL, UNIPAAS};

const TOPIC: &str = "smart-glocal.ready-to-confirm.v1";
const DEDUP: &str = "dedup.v1";

/// A configuration whose topics exist.
fn installation(sources: &str) -> Config {
    let config = config(Kafka::shared().bootstrap(), sources, &[]);
    create_needed_topics(Kafka::shared(), &config);
    config
}

/// One replica, which is ready and hears of the others.
fn replica(config: &Config) -> Bridge {
    let bridge = Bridge::launch(config.clone());
    bridge.await_ready();
    bridge.await_following();
    bridge
}

#[track_caller]
fn post(bridge: &Bridge, webhook: &SignedWebhook) -> String {
    let source = bridge.config.sources.keys().next().unwrap().as_ref().to_owned();
    let answered = bridge.post(&source, webhook);
    assert_eq!(answered.status, 200, "{answered:?}");
    answered.json("status")
}

/// Waits until its window holds so many events.
#[track_caller]
fn await_entries(bridge: &Bridge, count: u64) {
    eventually(LIMIT, || match bridge.count("paybridge_dedup_entries") {
        entries if entries == count => Ok(()),
        entries => Err(format!("{entries} events are known, not {count}")),
    });
}

#[test]
fn a_redelivery_is_a_duplicate_at_another_replica_and_after_a_restart() {
    let config = installation(SMART_GLOCAL);
    let (first, second) = (replica(&config), replica(&config));
    let webhooks: Vec<_> = (0..20).map(|number| ready_to_confirm(&config, number)).collect();
    for webhook in &webhooks {
        assert_eq!(post(&first, webhook), "accepted");
    }
    await_entries(&second, 20);
    first.stop().unwrap();
    // Nothing is waited for but that it is ready.
    let restarted = Bridge::launch(config.clone());
    restarted.await_ready();
    for bridge in [&second, &restarted] {
        for webhook in &webhooks {
            assert_eq!(post(bridge, webhook), "duplicate");
        }
        assert_eq!(bridge.count(r#"paybridge_dedup_hits_total{source="sg-main",origin="shared"}"#), 20);
    }
    let topic = second.topic(TOPIC);
    assert_eq!(count_by_id(&Kafka::shared().read_all(&topic)).into_values().collect::<Vec<_>>(), [1; 20]);
    // Nobody is told what everybody knows.
    assert_eq!(Kafka::shared().read_all(&second.topic(DEDUP)).len(), 20);
}

/// One state after the other, each to any of the replicas, and at once: a provider waits for nothing but the answer.
#[test]
fn each_change_of_a_state_is_one_event_whichever_replica_it_comes_to() {
    let config = installation(UNIPAAS);
    let mut replicas = [replica(&config), replica(&config)];
    let mut random = Random::printed();
    let (name, body) = STATES[1];
    let sender = sender(&config, "unipaas");
    let (mut last, mut ids, mut duplicates) = (None, BTreeSet::new(), 0);
    for step in 0..120 {
        if step == 60 {
            // It hears of nothing at first.
            replicas[1] = Bridge::launch(config.clone());
            replicas[1].await_ready();
        }
        let (state, bridge) = (random.below(3), &replicas[random.below(2)]);
        let webhook = sender.sign(name, body.replace("STATE", &state.to_string()).into(), Timestamp::now(), 0);
        let answered = bridge.post("unipaas", &webhook);
        let is_new = ids.insert(answered.json("event_id"));
        match (answered.json("status").as_str(), last == Some(state)) {
            ("accepted", false) => assert!(is_new, "step {step}: another event has its id"),
            // At once after the first, before the other replica is told that Kafka has it.
            ("accepted", true) => {}
            ("duplicate", true) => duplicates += 1,
            other => panic!("step {step}: {other:?}"),
        }
        last = Some(state);
    }
    let topic = replicas[0].topic("unipaas.onboarding-update.v1");
    let counts = count_by_id(&Kafka::shared().read_all(&topic));
    assert_eq!(counts.into_keys().collect::<BTreeSet<_>>(), ids);
    assert!(duplicates > 5, "{duplicates} of 120 were known, though a third of them changes nothing");
}

#[test]
fn without_its_topic_webhooks_go_on_and_nothing_is_falsely_a_duplicate() {
    let kafka = Kafka::shared();
    let config = installation(&[SMART_GLOCAL, UNIPAAS].concat());
    let (first, second) = (replica(&config), replica(&config));
    let webhooks: Vec<_> = (0..3).map(|number| ready_to_confirm(&config, number)).collect();
    let status = |bridge: &Bridge, number: usize| {
        let answered = bridge.post("sg-main", &webhooks[number]);
        assert_eq!(answered.status, 200, "{answered:?}");
        answered.json("status")
    };
    assert_eq!(status(&first, 0), "accepted");
    kafka.delete_topic(&first.topic(DEDUP));
    for bridge in [&first, &second] {
        eventually(LIMIT, || match bridge.count("paybridge_dedup_following") {
            0 => Ok(()),
            _ => Err("it still reads the topic".to_owned()),
        });
        bridge.assert_fires("PaybridgeDedupNotFollowing");
    }
    assert_eq!(status(&first, 1), "accepted");
    assert_eq!(status(&first, 1), "duplicate", "it knows its own events");
    assert_eq!(status(&second, 1), "accepted", "it was not told");
    let sender = sender(&config, "unipaas");
    let is_accepted = |bridge: &Bridge, (name, body): (&str, &str), state: &str| {
        let webhook = sender.sign(name, body.replace("STATE", state).into(), Timestamp::now(), 0);
        // While Kafka still deletes the topic, it looks for moments as if it could be read.
        let answered = eventually(LIMIT, || match bridge.post("unipaas", &webhook) {
            answered if answered.status == 503 => Err(format!("{answered:?}")),
            answered => Ok(answered),
        });
        assert_eq!((answered.status.as_u16(), answered.json("status").as_str()), (200, "accepted"), "{name} {state}");
    };
    for state in ["A", "B", "A", "A"] {
        is_accepted(&first, STATES[0], state);
    }
    // What replicas would tell waits for the topic, and nobody knows whose entries it has first.
    is_accepted(&second, STATES[0], "B");
    is_accepted(&second, STATES[1], "A");
    is_accepted(&first, STATES[1], "B");
    create_needed_topics_again(&config);
    for bridge in [&first, &second] {
        bridge.await_following();
    }
    is_accepted(&first, STATES[0], "A");
    is_accepted(&first, STATES[1], "A");
    let answered = first.post("sg-main", &webhooks[2]);
    assert_eq!(answered.json("status"), "accepted");
    let id = event_id(&answered.json("event_id"));
    eventually(LIMIT, || {
        let told = kafka.read_all(&first.topic(DEDUP));
        let mut ids = told.iter().map(|record| entry::decode(record.value.as_deref().unwrap()).unwrap().0.ticket.id);
        if ids.any(|told| told == id) { Ok(()) } else { Err("it is not told".to_owned()) }
    });
    assert_eq!(status(&replica(&config), 2), "duplicate");
}

#[test]
fn a_right_to_read_that_is_withdrawn_costs_no_webhook_and_is_noticed_when_it_is_back() {
    let kafka = Kafka::shared();
    let text = configuration(kafka.bootstrap(), Settings::default());
    let config = Config::from_toml(&text, []).unwrap();
    create_needed_topics(kafka, &config);
    let prefix = config.kafka.topic_prefix.as_ref();
    let own = ["--topic", &format!("{prefix}."), "--resource-pattern-type", "prefixed", "--operation", "All"];
    let group = ["--group", prefix, "--resource-pattern-type", "prefixed", "--operation", "All"];
    kafka.allow(User::Limited, &[&own, &group]);
    let daemon = Daemon::run(&kafka.logged_in(&text, User::Limited));
    daemon.await_ready();
    let await_following = |value: &str| {
        let line = format!("\npaybridge_dedup_following {value}\n");
        eventually(LIMIT, || match daemon.client().admin("/metrics") {
            Exchange::Answered(shown) if shown.text.contains(&line) => Ok(()),
            other => Err(format!("no {line} in {other:?}\n{}", daemon.log())),
        });
    };
    let status = |source: &str, webhook: &SignedWebhook| match daemon.client().post(source, webhook) {
        Exchange::Answered(answered) if answered.status == 200 => answered.json("status"),
        other => panic!("{other:?}\n{}", daemon.log()),
    };
    await_following("1");
    let dedup = format!("{prefix}.{DEDUP}");
    let read = ["--topic", &dedup, "--operation", "Read"];
    kafka.forbid(User::Limited, &read);
    await_following("0");
    let (webhook, (name, body)) = (ready_to_confirm(&config, 1), STATES[0]);
    assert_eq!([status("sg-main", &webhook), status("sg-main", &webhook)], ["accepted", "duplicate"]);
    let state = sender(&config, "unipaas").sign(name, body.into(), Timestamp::now(), 0);
    assert_eq!([status("unipaas", &state), status("unipaas", &state)], ["accepted", "accepted"]);
    assert!(daemon.log().contains("shared topic cannot be read"), "{}", daemon.log());
    kafka.forbid_no_more(User::Limited, &read);
    await_following("1");
    assert_eq!(status("unipaas", &state), "duplicate");
}

#[test]
fn partitions_that_somebody_adds_are_read_too() {
    let config = installation(SMART_GLOCAL);
    let second = replica(&config);
    Kafka::shared().grow_topics(&[&second.topic(DEDUP)], 6);
    // One that started before would hear of them only after minutes, and writes to the others until then.
    let first = replica(&config);
    let mut count = 0;
    let mut publish = || {
        count += 1;
        let webhook = ready_to_confirm(&config, count);
        assert_eq!(post(&first, &webhook), "accepted");
        (webhook, count)
    };
    // A producer fills one partition after the other.
    let in_new_partition = || {
        let told = Kafka::shared().read_all(&first.topic(DEDUP));
        told.iter().any(|record| record.partition >= 3)
    };
    eventually(LIMIT, || {
        publish();
        if in_new_partition() { Ok(()) } else { Err("no entry is in a new partition".to_owned()) }
    });
    let (last, count) = publish();
    await_entries(&second, count);
    assert_eq!(post(&second, &last), "duplicate");
}

/// Only the one that was deleted.
fn create_needed_topics_again(config: &Config) {
    let needed = paybridge::kafka::topics::needed(config);
    let topic = needed.iter().find(|topic| topic.name.ends_with(DEDUP)).unwrap();
    let settings: Vec<(&str, &str)> =
        topic.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Kafka::shared().create_topics(&[(&topic.name, topic.partitions, &settings)]);
}

/// After a failover the topic may be a copy of another cluster's, whose events are not here.
#[test]
fn an_entry_of_another_cluster_counts_for_nothing() {
    let kafka = Kafka::shared();
    // The same webhooks have the same ids at another installation.
    let elsewhere = Bridge::start_with(kafka, SMART_GLOCAL, &[("DEDUP__MODE", "local")]);
    let webhooks = [1, 2].map(|number| ready_to_confirm(&elsewhere.config, number));
    let ids = webhooks.each_ref().map(|webhook| event_id(&elsewhere.post("sg-main", webhook).json("event_id")));
    let bridge = replica(&installation(SMART_GLOCAL));
    let asking: BaseConsumer = kafka.client().set("group.id", "none").create().unwrap();
    let cluster_id = asking.client().fetch_cluster_id(LIMIT).unwrap();
    let entry = |id: EventId, cluster: &str| entry::encode(published(id), ClusterMark::of(cluster));
    let values = [entry(ids[0], "another"), entry(ids[1], &cluster_id), b"no entry".to_vec()];
    let producer: BaseProducer = kafka.client().create().unwrap();
    for value in &values {
        producer.send(BaseRecord::<(), _>::to(&bridge.topic(DEDUP)).payload(value)).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    await_entries(&bridge, 1);
    let ignored = ["other_cluster", "unreadable"]
        .map(|reason| bridge.count(&format!("paybridge_dedup_entries_ignored_total{{reason=\"{reason}\"}}")));
    assert_eq!(ignored, [1, 1]);
    assert_eq!(webhooks.each_ref().map(|webhook| post(&bridge, webhook)), ["accepted", "duplicate"]);
}

/// What replicas tell of an event that Kafka has.
fn published(id: EventId) -> SharedEntry {
    SharedEntry { ticket: Ticket { id, state: None }, step: EntryStep::Published }
}

fn event_id(text: &str) -> EventId {
    let bytes: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect();
    EventId::from_bytes(bytes.try_into().unwrap())
}

/// A lost entry is noise: what Kafka does not take is counted, and somebody hears of it. But a state that the other replicas do not
/// hear of would make a duplicate of a webhook that is none: it is as if Kafka did not take the event.
#[test]
fn entries_that_kafka_refuses_cost_no_webhook_but_states() {
    let kafka = Kafka::shared();
    let config = installation(&[SMART_GLOCAL, UNIPAAS].concat());
    let bridge = replica(&config);
    kafka.alter_topic(&bridge.topic(DEDUP), &[("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", "1")]);
    let failed = r#"paybridge_dedup_entries_total{result="failed"}"#;
    let (name, body) = STATES[0];
    let sender = sender(&config, "unipaas");
    let mut ids = BTreeSet::new();
    eventually(LIMIT, || {
        let number = ids.len();
        let state = sender.sign(name, body.replace("STATE", &number.to_string()).into(), Timestamp::now(), 0);
        let answered = bridge.post("sg-main", &ready_to_confirm(&config, u64::try_from(number).unwrap()));
        assert_eq!((answered.status.as_u16(), answered.json("status").as_str()), (200, "accepted"));
        ids.insert(answered.json("event_id"));
        let answered = bridge.post("unipaas", &state);
        assert_eq!(answered.status, 503, "{answered:?}");
        if bridge.count(failed) > 1 { Ok(()) } else { Err("every entry is taken".to_owned()) }
    });
    bridge.assert_fires_while_it_goes_on("PaybridgeDedupEntriesFailing");
}
