//! Clusters that keep topic settings for themselves, as managed ones do: what `topics` and `check` say, and that webhooks
//! reach such topics all the same.

use serde_json::{Value, json};

use super::{Ran, Setup, assert_found};
use crate::support::kafka::Kafka;

/// The engine too: it decides and calls nobody.
const ENGINE: &str = "[confirmation]\nenabled = true\ndry_run = true\n";

/// What no promise rests on.
const OPTIONAL: [&str; 6] = [
    "unclean.leader.election.enable",
    "segment.ms",
    "max.compaction.lag.ms",
    "min.compaction.lag.ms",
    "min.cleanable.dirty.ratio",
    "retention.bytes",
];

#[test]
fn topics_are_made_without_what_the_cluster_refuses_and_no_promise_needs() {
    let kafka = Kafka::refusing(&OPTIONAL);
    let setup = Setup::new(kafka.bootstrap(), ENGINE);
    let made = setup.run(&["topics", "--create"]);
    assert_eq!(made.code, 0, "{made:?}");
    let ledger = setup.topic("confirmation.ledger.v1");
    let told = format!(
        "created  {ledger}\n         without max.compaction.lag.ms=21600000: Kafka refuses it\n         \
         without min.cleanable.dirty.ratio=0.1: Kafka refuses it\n         \
         without min.compaction.lag.ms=0: Kafka refuses it\n         without segment.ms=3600000: Kafka refuses it\n         \
         without unclean.leader.election.enable=false: Kafka refuses it\n"
    );
    assert!(made.output.contains(&told), "no\n{told}in\n{}", made.output);
    for (name, value) in [
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "1048576"),
        ("message.timestamp.type", "LogAppendTime"),
        ("delete.retention.ms", "86400000"),
    ] {
        assert_eq!(kafka.topic_settings(&ledger)[name], value, "{name}");
    }
    let (code, found) = setup.check(&[]);
    assert_eq!(code, 0, "what no promise needs is no error: {found:#?}");
    assert_found(&found, "warning", "compaction-late", &ledger);

    // what was left out once would be missed for ever by an update, which alters all of a topic's settings or none
    let refused = setup.run(&["topics", "--update"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.output.contains("[kafka.topic_settings.\"*\"]"), "{refused:?}");
    let omitted = OPTIONAL.map(|name| format!("{name} = \"omit\"\n")).concat();
    setup.append(&format!("[kafka.topic_settings.\"*\"]\n{omitted}"));
    let own =
        [("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime"), ("min.insync.replicas", "1")];
    kafka.alter_topic(
        &ledger,
        &[&own[..], &[("max.message.bytes", "1048576"), ("delete.retention.ms", "3600000")]].concat(),
    );
    let updated = setup.run(&["topics", "--update", "--create"]);
    assert_eq!(updated.code, 0, "{updated:?}");
    assert!(
        updated.output.contains(&format!("altered  {ledger}\n         delete.retention.ms: 3600000 -> 86400000\n"))
    );
    let (code, found) = setup.check(&[]);
    assert_eq!(code, 0);
    assert!(!found.iter().any(|(_, code, _)| code == "compaction-late"), "{found:#?}");
}

#[test]
fn a_refused_setting_that_a_promise_needs_is_named_and_can_be_left_to_the_cluster() {
    let kafka = Kafka::refusing(&["min.insync.replicas", "retention.ms"]);
    let setup = Setup::new(kafka.bootstrap(), "");
    let quarantine = setup.topic("quarantine.v1");
    let of = |ran: &Ran| {
        let results: Vec<Value> = serde_json::from_str(&ran.output).unwrap_or_else(|_| panic!("{ran:?}"));
        results.into_iter().find(|result| result["name"] == quarantine.as_str()).unwrap()
    };
    let refused = setup.run(&["topics", "--create", "--format", "json"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let told = of(&refused);
    assert_eq!((&told["result"], &told["reason"]), (&json!("failed"), &json!("Kafka refuses min.insync.replicas=1")));
    assert!(told["action"].as_str().unwrap().contains("[kafka.topic_settings.\"*\"]"), "{told}");
    assert_eq!(setup.check(&[]).0, 1, "no topic was made");

    setup.append("[kafka.topic_settings.\"*\"]\nmin.insync.replicas = \"omit\"\n");
    let made = setup.run(&["topics", "--create", "--format", "json"]);
    assert_eq!((made.code, &of(&made)["left_out"]), (0, &json!({"retention.ms": "2592000000"})), "{made:?}");
    let (code, found) = setup.check(&[]);
    assert_eq!(code, 0, "{found:#?}");
}

#[test]
fn topics_have_their_own_settings_and_partitions_by_pattern() {
    let kafka = Kafka::shared();
    let setup = Setup::new(kafka.bootstrap(), "");
    setup.append(
        "[kafka.topic_settings.'*']\ncompression.type = 'lz4'\n\
         [kafka.topic_settings.'*.undostres.*']\npartitions = 1\n'retention.ms' = 86400000\n",
    );
    let listed = setup.run(&["topics", "--offline"]);
    let (undostres, others) = (7, listed.output.lines().count() - 2 - 7);
    let partitions = undostres + 3 * others;
    let sum = format!("{} topics, {partitions} partitions, {partitions} replicas of partitions\n", undostres + others);
    assert!(listed.output.ends_with(&sum), "no\n{sum}in\n{}", listed.output);
    assert_eq!(setup.run(&["topics", "--create"]).code, 0);
    for (part, settings) in [
        ("undostres.customer.v1", [("retention.ms", "86400000"), ("compression.type", "lz4")]),
        ("quarantine.v1", [("retention.ms", "2592000000"), ("compression.type", "lz4")]),
    ] {
        for (name, value) in settings {
            assert_eq!(kafka.topic_settings(&setup.topic(part))[name], value, "{name} of {part}");
        }
    }
    let (code, found) = setup.check(&[]);
    assert_eq!(code, 0, "{found:#?}");
    assert!(
        !found.iter().any(|(_, code, _)| code == "retention-short" || code.starts_with("topic-partitions")),
        "{found:#?}"
    );
}

#[test]
fn topics_that_are_read_together_are_not_made_with_other_numbers_of_partitions() {
    let kafka = Kafka::shared();
    let setup = Setup::new(kafka.bootstrap(), ENGINE);
    setup.append("[kafka.topic_settings.'*.confirmation.decision.v1']\npartitions = 2\n");
    let (code, found) = setup.check(&["--offline"]);
    assert_eq!(code, 1);
    assert_found(&found, "error", "topic-partitions-unequal", "");
    let refused = setup.run(&["topics", "--create"]);
    assert!(refused.code == 1 && refused.errors.contains("confirmation.decision.v1 should have 2"), "{refused:?}");
    let (_, found) = setup.check(&[]);
    assert_found(&found, "error", "topic-missing", "confirmation.decision.v1");
}
