//! `paybridge topics --update` and what `check` says before and after it, against a real Kafka.

use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use serde_json::Value;

use super::{Setup, assert_found};
use crate::support::kafka::{Kafka, Record, User};

/// The engine too: it decides and calls nobody.
const ENGINE: &str = "[confirmation]\nenabled = true\ndry_run = true\n";
const HOUR_MS: i64 = 60 * 60 * 1000;

/// One of the engine's topics, and one that it does not use.
const TOPICS: [(&str, &str, &str); 2] = [
    ("smart-glocal.ready-to-confirm.v1", "error", "timestamp-type-unsafe"),
    ("undostres.customer.v1", "warning", "timestamp-type-unproven"),
];

/// As somebody made them who did not know better, with settings of his own beside.
const OLD: [(&str, &str); 4] = [
    ("message.timestamp.type", "CreateTime"),
    ("segment.bytes", "12345678"),
    ("retention.ms", "3600000"),
    ("max.message.bytes", "2000000"),
];

#[test]
fn a_topic_with_its_producers_time_is_found_by_check_and_mended_by_an_update() {
    let kafka = Kafka::shared();
    let setup = Setup::new(kafka.bootstrap(), ENGINE);
    for (part, _, _) in TOPICS {
        kafka.create_topics(&[(&setup.topic(part), 3, &OLD)]);
    }
    let unfit = setup.run(&["topics", "--update"]);
    assert_eq!(unfit.code, 1, "topics are missing: {unfit:?}");
    assert!(unfit.output.contains("missing  ") && unfit.output.contains("topics --create"), "{unfit:?}");
    for (part, _, _) in TOPICS {
        kafka.alter_topic(&setup.topic(part), &OLD);
    }
    assert_eq!(setup.run(&["topics", "--create"]).code, 0);

    let (code, found) = setup.check(&[]);
    assert_eq!(code, 1);
    for (part, severity, finding) in TOPICS {
        assert_found(&found, severity, finding, part);
        let record = one_record_of_long_ago(kafka, &setup.topic(part));
        assert!(age_ms(&record) > 3 * HOUR_MS, "{record:?}");
    }

    let updated = setup.run(&["topics", "--update"]);
    assert_eq!(updated.code, 0, "{updated:?}");
    for (part, _, _) in TOPICS {
        let told = format!(
            "altered  {}\n         message.timestamp.type: CreateTime -> LogAppendTime\n         \
             retention.ms: 3600000 -> 604800000\n",
            setup.topic(part)
        );
        assert!(updated.output.contains(&told), "no\n{told}in\n{}", updated.output);
        let settings = kafka.topic_settings(&setup.topic(part));
        for (name, value) in [
            ("message.timestamp.type", "LogAppendTime"),
            ("segment.bytes", "12345678"),
            ("retention.ms", "604800000"),
            ("max.message.bytes", "2000000"),
        ] {
            assert_eq!(settings[name], value, "{name} of {part}");
        }
        let record = one_record_of_long_ago(kafka, &setup.topic(part));
        assert!(age_ms(&record).abs() < HOUR_MS, "{record:?}");
    }
    assert_eq!(updated.output.matches("altered  ").count(), TOPICS.len(), "{updated:?}");

    let (code, found) = setup.check(&[]);
    assert_eq!(code, 0, "{found:#?}");
    assert!(!found.iter().any(|(_, code, _)| code.starts_with("timestamp-type")), "{found:#?}");
    let again = setup.run(&["topics", "--update", "--create", "--format", "json"]);
    let results: Vec<Value> = serde_json::from_str(&again.output).unwrap();
    assert!(
        again.code == 0 && !results.is_empty() && results.iter().all(|topic| topic["result"] == "fits"),
        "{again:?}"
    );
}

#[test]
fn an_update_that_is_not_allowed_says_what_to_do_and_alters_nothing() {
    let kafka = Kafka::shared();
    let setup = Setup::new(kafka.bootstrap(), "");
    let topic = setup.topic("undostres.customer.v1");
    kafka.create_topics(&[(&topic, 3, &OLD)]);
    assert_eq!(setup.run(&["topics", "--create"]).code, 0);
    kafka.allow(User::Limited, &[&["--operation", "Describe", "--operation", "DescribeConfigs", "--topic", &topic]]);
    setup.log_in(kafka, User::Limited);
    let ran = setup.run(&["topics", "--update", "--format", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let results: Vec<Value> = serde_json::from_str(&ran.output).unwrap();
    let of = |name: &str| results.iter().find(|result| result["name"] == name).unwrap();
    assert_eq!(of(&topic)["result"], "failed");
    assert!(of(&topic)["action"].as_str().unwrap().contains("AlterConfigs"), "{ran:?}");
    assert_eq!(kafka.topic_settings(&topic)["message.timestamp.type"], "CreateTime");
}

#[test]
fn strimzis_manifests_and_an_update_are_not_asked_for_together() {
    let ran = Setup::new("localhost:1", "").run(&["topics", "--update", "--format", "strimzi"]);
    assert!(ran.code == 2 && ran.errors.contains("give one of the two"), "{ran:?}");
}

/// The last record of a topic, after one is written by a producer that says it made it four hours ago.
fn one_record_of_long_ago(kafka: &Kafka, topic: &str) -> Record {
    let producer: FutureProducer = kafka.client().create().unwrap();
    let record = FutureRecord::to(topic).key("one").payload("x").timestamp(now_ms() - 4 * HOUR_MS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let delivery = runtime.block_on(producer.send(record, Timeout::Never)).unwrap();
    let mut records = kafka.read_all(topic);
    records.retain(|record| (record.partition, record.offset) == (delivery.partition, delivery.offset));
    records.remove(0)
}

fn age_ms(record: &Record) -> i64 {
    now_ms() - record.timestamp.to_millis().unwrap()
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
