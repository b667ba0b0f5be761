//! `paybridge decide` against a real Kafka, with the engine's answers written by the test.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use paybridge::confirmation::codec::records::Records;
use paybridge::confirmation::codec::{decision, inputs};
use paybridge::confirmation::session::model::{Action, Decider, Decision, Opening, Outcome, SessionEntry, SessionKey};
use paybridge::kafka::publish_once::publish_once;
use paybridge::kafka::record::Record as Written;
use paybridge::message::confirmation::v1::{self, RejectionReason};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::bridge::key_file;
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, unique_prefix};

const PARTITIONS: i32 = 3;

/// The engine's topics, and nobody who reads them but the test.
struct Setup {
    kafka: &'static Kafka,
    folder: TempDir,
    prefix: String,
    records: Records,
}

impl Setup {
    fn new() -> Self {
        let (kafka, prefix) = (Kafka::shared(), unique_prefix());
        let text = format!(
            "[ingress]\nenabled = false\n[confirmation]\nenabled = true\ndry_run = true\n\
             [sources.sg-main]\nprovider = \"smart-glocal\"\npublic_key_files = [\"{}\"]\n\
             [kafka]\nbootstrap_servers = \"{}\"\n\
             topic_prefix = \"{prefix}\"\npartitions = {PARTITIONS}\nreplication_factor = 1\n",
            key_file("smart-glocal-public.pem").display(),
            kafka.bootstrap()
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("paybridge.toml"), text).unwrap();
        let records = Records::new(&prefix, "test", 65_536);
        let setup = Self { kafka, folder, prefix, records };
        let made = setup.command(&["topics", "--create"]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        setup
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paybridge"));
        command.args(arguments).arg("--config").arg(self.folder.path().join("paybridge.toml"));
        command.env_remove("PAYBRIDGE_CONFIG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts a command, and gives the decision that it put on its topic, with its partition.
    fn decide(&self, session: &str) -> (Child, Decision, i32) {
        let arguments = ["decide", "sg-main", session, "cancel", "--reason", "no", "--early"];
        let child = self.command(&arguments).spawn().unwrap();
        let topic = format!("{}.confirmation.decision.v1", self.prefix);
        let found = eventually(LIMIT, || {
            let mut records = self.kafka.read_all(&topic).into_iter();
            records.find(|record| record.key.as_deref() == Some(session.as_bytes())).ok_or("no decision".to_owned())
        });
        let (key, decision) = decision::read(&found.value.unwrap(), found.offset, Timestamp::now()).unwrap();
        assert_eq!(key, key_of(session));
        assert_eq!((decision.action, decision.reason.as_str()), (Action::Cancel, "no"));
        assert_eq!(decision.decision_id.len(), 32);
        assert_eq!(found.partition, inputs::partition_of(session, PARTITIONS));
        (child, decision, found.partition)
    }

    fn write(&self, record: &Written) {
        publish_once(&self.kafka.client(), record, LIMIT).unwrap();
    }
}

fn key_of(session: &str) -> SessionKey {
    SessionKey { source: "sg-main".into(), session_id: session.into() }
}

fn outcome(kind: v1::DeciderKind, name: &str, decision_id: &str) -> Outcome {
    let now = Timestamp::now();
    let decider = Decider { kind, name: name.to_owned(), decision_id: decision_id.to_owned(), reason: String::new() };
    Outcome {
        opening: Opening {
            ready_event_id: "r".to_owned(),
            recorded_at: now,
            window_began_at: now,
            operations: Vec::new(),
            dry_run: false,
            failed_rule: String::new(),
        },
        decided: Some((Action::Cancel, decider, now)),
        result: v1::Result::Accepted,
        refusal: None,
        attempts: 1,
        answered_at: Some(now),
        known_at: now,
        remaining_seconds: 7,
        verified: true,
    }
}

#[track_caller]
fn check(child: Child, code: i32, told: &str) -> Option<Value> {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (output, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{output}{errors}");
    assert!(errors.contains(told), "no `{told}` in {errors}");
    assert!(output.lines().count() <= 1, "{output}");
    output.lines().next().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn a_rejection_is_told_with_its_reason() {
    let setup = Setup::new();
    let (child, decision, partition) = setup.decide("ps_1");
    let other = Decision { decision_id: "another's".to_owned(), offset: 99, ..decision.clone() };
    for (decision, reason) in [(&other, RejectionReason::Expired), (&decision, RejectionReason::AlreadyDecided)] {
        setup.write(&setup.records.rejected(&key_of("ps_1"), decision, partition, reason, Timestamp::now()));
    }
    let line = check(child, 1, "decided before").unwrap();
    assert_eq!(line["message"]["reason"], "REJECTION_REASON_ALREADY_DECIDED");
    assert_eq!(line["message"]["decision"]["decision_id"], decision.decision_id);
}

#[test]
fn an_outcome_that_another_decided_is_told_as_such() {
    let setup = Setup::new();
    let (child, _, _) = setup.decide("ps_1");
    let by_rule = outcome(v1::DeciderKind::Rule, "small payouts", "");
    setup.write(&setup.records.outcome(&key_of("ps_1"), &by_rule));
    let line = check(child, 1, "DECIDER_KIND_RULE `small payouts` decided").unwrap();
    assert_eq!(line["message"]["decided_by_name"], "small payouts");
}

#[test]
fn an_outcome_of_this_decision_is_success() {
    let setup = Setup::new();
    // What is there before is no answer.
    setup.write(&setup.records.outcome(&key_of("ps_1"), &outcome(v1::DeciderKind::Rule, "old", "")));
    let (child, decision, _) = setup.decide("ps_1");
    let own = outcome(v1::DeciderKind::Decision, "paybridge decide", &decision.decision_id);
    let foreign = SessionKey { source: "sg-other".into(), ..key_of("ps_1") };
    setup.write(&setup.records.outcome(&key_of("ps_2"), &own));
    setup.write(&setup.records.outcome(&foreign, &own));
    setup.write(&setup.records.outcome(&key_of("ps_1"), &own));
    let line = check(child, 0, "decided by this decision: RESULT_ACCEPTED").unwrap();
    assert_eq!(line["message"]["session_id"], "ps_1");
    assert_eq!(line["headers"]["ce_type"], "paybridge.confirmation.v1.Outcome");
}

#[test]
fn nothing_in_time_and_wrong_usage_say_what_to_do() {
    let setup = Setup::new();
    let run = |arguments: &[&str]| setup.command(&[&["decide", "sg-main"], arguments].concat()).spawn().unwrap();
    let in_vain = run(&["ps_1", "confirm", "--reason", "x", "--early", "--timeout", "5s"]);
    assert_eq!(check(in_vain, 1, "look again with `paybridge why ps_1`"), None);
    let long = "x".repeat(1025);
    check(run(&["ps_1", "confirm", "--reason", &long]), 2, "--reason must have 1 to 1024 bytes");
    check(run(&["", "confirm", "--reason", "x"]), 2, "SESSION must have 1 to 255 bytes");
    check(run(&["ps_1", "confirm", "--reason", "x", "--timeout=-1s"]), 2, "--timeout");
    check(run(&["ps_1", "confirm", "--reason", "x", "--timeout=200h"]), 2, "--timeout");
}

#[test]
fn a_session_that_nobody_knows_is_told_before_anything_is_written() {
    let setup = Setup::new();
    let decide = |session: &str, more: &[&str]| {
        let arguments =
            [&["decide", "sg-main", session, "confirm", "--reason", "x", "--timeout", "20s"], more].concat();
        setup.command(&arguments).spawn().unwrap()
    };
    check(decide("ps_nobody", &[]), 1, "no session `ps_nobody` of `sg-main` is known, so nothing was written");
    let opening = || outcome(v1::DeciderKind::Rule, "r", "").opening;
    // The engine writes a session's entry on the session's partition; so does the test where the entry's key gives the same.
    let session_of = |source: &str| {
        let mut ids = (0..).map(|number| format!("ps_{number}"));
        ids.find(|id| {
            inputs::partition_of(&format!("{source}/{id}"), PARTITIONS) == inputs::partition_of(id, PARTITIONS)
        })
        .unwrap()
    };
    let open = |source: &str, session: &str| {
        let key = SessionKey { source: source.into(), ..key_of(session) };
        setup.write(&setup.records.entry(&key, &SessionEntry::Awaiting(Box::new(opening()))));
    };
    let other = session_of("sg-other");
    open("sg-other", &other);
    for more in [&[][..], &["--early"]] {
        let told = format!("the session `{other}` is of the source `sg-other`, not of `sg-main`");
        check(decide(&other, more), 1, &told);
    }
    let decisions = format!("{}.confirmation.decision.v1", setup.prefix);
    assert_eq!(setup.kafka.read_all(&decisions).len(), 0, "nothing was written");

    let known = session_of("sg-main");
    open("sg-main", &known);
    let arguments = ["decide", "sg-main", &known, "confirm", "--reason", "x", "--timeout", "5s"];
    check(setup.command(&arguments).spawn().unwrap(), 1, "nothing came within 5s");
    assert_eq!(setup.kafka.read_all(&decisions).len(), 1);
}

#[test]
fn the_timeout_is_kept_without_a_kafka() {
    let setup = Setup::new();
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = setup.command(&["decide", "sg-main", "ps_1", "confirm", "--reason", "x", "--timeout", "2s"]);
    command.env("PAYBRIDGE_KAFKA__BOOTSTRAP_SERVERS", silent.local_addr().unwrap().to_string());
    let begun = Instant::now();
    check(command.spawn().unwrap(), 1, "Kafka does not answer");
    // The client needs a moment to close its connections.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

/// Such a configuration leaves the engine's topics out, so that making its topics would not help.
#[test]
fn missing_topics_of_an_engine_that_is_off_are_told_with_the_reason() {
    let setup = Setup::new();
    let mut command = setup.command(&["decide", "sg-main", "ps_1", "confirm", "--reason", "x"]);
    command.env("PAYBRIDGE_KAFKA__TOPIC_PREFIX", unique_prefix());
    check(command.spawn().unwrap(), 1, "topics do not exist");
    command.env("PAYBRIDGE_CONFIRMATION__ENABLED", "false").env("PAYBRIDGE_INGRESS__ENABLED", "true");
    check(command.spawn().unwrap(), 1, "confirmation.enabled is false in this configuration");
}

/// murmur2 is librdkafka's and Java's: records are where we say that they are.
#[test]
fn records_are_on_the_partition_that_is_computed() {
    let kafka = Kafka::shared();
    let topic = unique_prefix();
    kafka.create_topics(&[(&topic, 7, &[])]);
    for number in 0..24_usize {
        let key = format!("ps_{}{number}", "é".repeat(number));
        let record = Written { topic: topic.as_str().into(), key: key.clone(), value: Vec::new(), headers: Vec::new() };
        let stored = publish_once(&kafka.client(), &record, LIMIT).unwrap();
        assert_eq!(stored.partition, inputs::partition_of(&key, 7), "{key}");
    }
}

/// The commands that were there before know the engine's topics.
#[test]
fn tail_and_check_know_the_engines_topics() {
    let setup = Setup::new();
    let (child, decision, partition) = setup.decide("ps_1");
    setup.write(&setup.records.rejected(
        &key_of("ps_1"),
        &decision,
        partition,
        RejectionReason::Expired,
        Timestamp::now(),
    ));
    check(child, 1, "window had closed");
    setup.write(&setup.records.outcome(&key_of("ps_1"), &outcome(v1::DeciderKind::Rule, "r", "")));
    setup.write(
        &setup
            .records
            .entry(&key_of("ps_1"), &SessionEntry::Awaiting(Box::new(outcome(v1::DeciderKind::Rule, "r", "").opening))),
    );
    for (topic, field, expected) in [
        ("decision", "decision_id", decision.decision_id.as_str()),
        ("decision-rejected", "reason", "REJECTION_REASON_EXPIRED"),
        ("outcome", "decided_by_name", "r"),
        ("ledger", "session_id", "ps_1"),
    ] {
        let tail = setup.command(&["tail", topic, "--from-beginning", "--count", "1"]).spawn().unwrap();
        let line = check(tail, 0, "reading 1 topic from the beginning").unwrap();
        assert_eq!(line["message"][field], expected, "{line}");
    }
    let output = setup.command(&["check", "--format", "json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let wrong = report["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "error");
    assert_eq!(wrong.count(), 0, "{report:#}");
    let about_ledger = |finding: &&Value| finding["subject"].as_str().unwrap().ends_with(".ledger.v1");
    assert_eq!(report["findings"].as_array().unwrap().iter().filter(about_ledger).count(), 0, "{report:#}");
}
