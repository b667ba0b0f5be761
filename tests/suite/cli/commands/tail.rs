//! `paybridge tail`: what it prints, and when it ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use paybridge::kafka::publish_once::publish_once;
use paybridge::kafka::record::Record;
use paybridge::message::confirmation::v1::{Awaiting, LedgerEntry, Outcome, ledger_entry::State};
use paybridge::message::event::v1::{EventMetadata, QuarantineReason, QuarantinedWebhook};
use prost::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::Value;

use super::{Setup, run};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;

/// A configuration with the engine on, its topics, and some records on them.
fn with_records(count: u64) -> Setup {
    let kafka = Kafka::shared();
    let setup = Setup::new(kafka.bootstrap(), "[confirmation]\nenabled = true\ndry_run = true\n");
    assert_eq!(setup.run(&["topics", "--create"]).code, 0);
    for number in 0..count {
        let metadata = EventMetadata { subject: format!("ps_{number}"), ..EventMetadata::default() };
        let quarantined = QuarantinedWebhook {
            metadata: Some(metadata),
            reason: QuarantineReason::NotJson.into(),
            ..QuarantinedWebhook::default()
        };
        write(&setup, "quarantine.v1", &format!("key {number}"), quarantined.encode_to_vec());
    }
    let outcome = Outcome { session_id: "ps_0".to_owned(), ..Outcome::default() };
    write(&setup, "confirmation.outcome.v1", "ps_0", outcome.encode_to_vec());
    let state = Some(State::Awaiting(Awaiting::default()));
    let entry = LedgerEntry { session_id: "ps_0".to_owned(), state, ..LedgerEntry::default() };
    write(&setup, "confirmation.ledger.v1", "sg-main/ps_0", entry.encode_to_vec());
    setup
}

fn write(setup: &Setup, topic: &str, key: &str, value: Vec<u8>) {
    let record = Record { topic: setup.topic(topic).as_str().into(), key: key.to_owned(), value, headers: Vec::new() };
    publish_once(&Kafka::shared().client(), &record, LIMIT).unwrap();
}

/// The topics of the lines that were printed, sorted, without their prefix.
fn topics(setup: &Setup, output: &str) -> Vec<String> {
    let topic = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        record["topic"].as_str().unwrap().strip_prefix(&format!("{}.", setup.prefix)).unwrap().to_owned()
    };
    let mut topics: Vec<String> = output.lines().map(topic).collect();
    topics.sort();
    topics
}

#[test]
fn topics_that_are_missing_are_named_with_what_to_do() {
    let ran = Setup::new(Kafka::shared().bootstrap(), "").run(&["tail", "quarantine", "--from-beginning"]);
    assert_eq!(ran.code, 1);
    assert!(ran.errors.contains("paybridge topics --create"), "{ran:?}");
}

#[test]
fn no_follow_prints_what_is_there_and_ends_and_the_ledger_only_where_it_is_named() {
    let setup = with_records(3);
    let ran = setup.run(&["tail", "--no-follow"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let expected = ["confirmation.outcome.v1", "quarantine.v1", "quarantine.v1", "quarantine.v1"];
    assert_eq!(topics(&setup, &ran.output), expected);
    assert!(ran.errors.contains("4 records printed"), "{ran:?}");

    let ran = setup.run(&["tail", "ledger", "--no-follow"]);
    assert_eq!((ran.code, topics(&setup, &ran.output)), (0, vec!["confirmation.ledger.v1".to_owned()]));
    assert!(ran.errors.contains("reading 1 topic from the beginning to the present end"), "{ran:?}");
    let ran = setup.run(&["tail", "confirmation", "--no-follow"]);
    assert_eq!((ran.code, topics(&setup, &ran.output).len()), (0, 2), "a group that has it names it too");

    let ran = setup.run(&["tail", "--no-follow", "--key", "key 1"]);
    assert_eq!((ran.code, topics(&setup, &ran.output).len()), (0, 1));
    let ran = setup.run(&["tail", "rejected", "--no-follow"]);
    assert_eq!((ran.code, ran.output.as_str()), (0, ""), "an empty topic has an end too: {ran:?}");
}

/// What was aborted is in the partition and is never shown; its end must be found all the same.
#[test]
fn no_follow_ends_behind_an_aborted_transaction() {
    let setup = with_records(1);
    let topic = setup.topic("quarantine.v1");
    let producer: ThreadedProducer<DefaultProducerContext> =
        Kafka::shared().client().set("transactional.id", &topic).create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    for partition in 0..3 {
        let record = BaseRecord::to(&topic).partition(partition).key("aborted").payload("x");
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    producer.abort_transaction(LIMIT).unwrap();
    let ran = setup.run(&["tail", "quarantine", "--no-follow"]);
    assert_eq!((ran.code, topics(&setup, &ran.output)), (0, vec!["quarantine.v1".to_owned()]), "{ran:?}");
}

#[test]
fn short_lines_are_for_people_and_have_no_colours_in_a_pipe() {
    let setup = with_records(1);
    let ran = setup.run(&["tail", "--no-follow", "--format", "short"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = ran.output.lines().map(words).collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert_eq!(lines[0][1..], ["confirmation.outcome", "ps_0", "unknown", "result"]);
    assert_eq!(lines[1][1..], ["quarantine", "ps_0", "not", "json"]);
    let time: jiff::Timestamp = lines[0][0].parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(time).abs() < jiff::SignedDuration::from_mins(10));
    assert!(!ran.output.contains('\u{1b}'), "{ran:?}");
}

/// `paybridge tail | head -1` ends with `head`, however long the next record is away.
#[test]
fn ends_when_nobody_reads_it_any_more() {
    let setup = with_records(1);
    for format in ["json", "short"] {
        let mut tail = spawn(&setup, &["tail", "quarantine", "--from-beginning", "--format", format]);
        let mut output = BufReader::new(tail.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.contains("ps_0"), "{line}");
        assert_eq!(tail.try_wait().unwrap(), None, "it goes on while somebody reads");
        drop(output);
        let ended = eventually(LIMIT, || tail.try_wait().unwrap().ok_or("it still runs".to_owned()));
        assert_eq!(ended.code(), Some(0));
    }
}

fn spawn(setup: &Setup, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_paybridge"))
        .args(arguments)
        .arg("--config")
        .arg(setup.file())
        .env_remove("PAYBRIDGE_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_format_that_does_not_exist_is_wrong_usage() {
    let ran = run(&["tail", "--format", "yaml"]);
    assert!(ran.code == 2 && ran.errors.contains("short, json"), "{ran:?}");
}
