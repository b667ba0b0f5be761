//! What the chart's `KafkaUser`s may do at Kafka is enough for the daemon and its commands, and each has no more than its
//! workload needs.

use std::fs;
use std::path::Path;

use paybridge::kafka::publish_once::publish_once;
use paybridge::message::release::v1::release_request::What;
use paybridge::message::release::v1::{ReleaseFilter, ReleaseRequest, ReleaseState};
use paybridge::release::marker;
use paybridge::simulator::SimulatorSettings;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use crate::kafka::credentials::{command, succeeds, works};
use crate::support::bridge::ready_to_confirm;
use crate::support::cache::CHECKOUT;
use crate::support::daemon::{Daemon, Exchange};
use crate::support::engine_setup::{EngineSetup, PROJECT, known_keys};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, User};

/// A rendered chart with Strimzi's user in it, and one with a user for each of its two workloads.
const RENDERED: &str = "tests/helm/golden/strimzi.yaml";
const RENDERED_SPLIT: &str = "tests/helm/golden/strimzi-split.yaml";
/// What its topics and the engine's group begin with.
const PREFIX: &str = "payments";

/// One rule of the rendered user, as arguments of Kafka's own tool.
type Rule = Vec<String>;

/// The rules of the rendered user whose name ends so, for this prefix.
fn rules(rendered: &str, user: &str, prefix: &str) -> Vec<Rule> {
    let text = fs::read_to_string(Path::new(CHECKOUT).join(rendered)).unwrap();
    let users = text.split("\n---\n").filter(|document| document.contains("\nkind: KafkaUser\n"));
    let named = |document: &&str| document.lines().any(|line| line.starts_with("  name: ") && line.ends_with(user));
    let document = users.into_iter().find(named).unwrap_or_else(|| panic!("no user {user} is rendered"));
    let (_, rules) = document.split_once("acls:").expect("the user has rules");
    rules.split("- resource:").skip(1).map(|rule| arguments(rule, prefix)).collect()
}

/// What another configuration needs to connect as the user without rights, who gets those of this rendered user.
fn as_user(kafka: &Kafka, text: &str, rules: &[Rule]) -> String {
    let rules: Vec<Vec<&str>> = rules.iter().map(|rule| rule.iter().map(String::as_str).collect()).collect();
    kafka.allow(User::Limited, &rules.iter().map(Vec::as_slice).collect::<Vec<_>>());
    kafka.logged_in(text, User::Limited)
}

fn arguments(rule: &str, prefix: &str) -> Rule {
    let value = |key: &str| {
        let line = rule.lines().map(str::trim).find_map(|line| line.strip_prefix(&format!("{key}: ")));
        line.unwrap_or_else(|| panic!("no {key} in {rule}")).to_owned()
    };
    let resource = match value("type").as_str() {
        "topic" => "--topic",
        "group" => "--group",
        "transactionalId" => "--transactional-id",
        other => panic!("a right to {other}"),
    };
    let pattern = match value("patternType").as_str() {
        "prefix" => "prefixed",
        "literal" => "literal",
        other => panic!("a pattern of type {other}"),
    };
    let name = value("name").replace(PREFIX, prefix);
    let operations = value("operations");
    let operations = operations.trim_matches(['[', ']']).split(", ").flat_map(|name| ["--operation", name]);
    [resource, &name, "--resource-pattern-type", pattern].into_iter().chain(operations).map(str::to_owned).collect()
}

#[test]
fn the_rights_of_the_charts_user_are_enough() {
    let kafka = Kafka::shared();
    let (setup, text) =
        EngineSetup::for_process(kafka, "default = \"hold\"", SimulatorSettings::new(PROJECT, known_keys()));
    assert!(succeeds(&text, &["topics", "--create"]).contains("created"));
    // Without them nothing goes, so they are what makes it go.
    let refused = command(&as_user(kafka, &text, &[]), &["check"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");

    let rules = rules(RENDERED, "paybridge", setup.config.kafka.topic_prefix.as_ref());
    works(&setup, &as_user(kafka, &text, &rules));
}

/// The topics that only the other of the two workloads writes.
const OF_THE_ENGINE: [&str; 4] = [
    "confirmation.decision.v1",
    "confirmation.outcome.v1",
    "confirmation.decision-rejected.v1",
    "confirmation.ledger.v1",
];
const OF_THE_INGRESS: [&str; 3] =
    ["smart-glocal.ready-to-confirm.v1", "smart-glocal.payment-finished.v1", "unrecognized.v1"];

#[test]
fn who_takes_webhooks_may_not_decide_and_has_all_that_it_needs() {
    let (text, prefix) = one_workload("-ingress", |text| text.replace("enabled = true", "enabled = false"));
    let daemon = Daemon::run(&text);
    daemon.await_ready();
    let Exchange::Answered(answered) = daemon.client().post("sg-main", &ready_to_confirm(&daemon.config, 1)) else {
        panic!("no answer:\n{}", daemon.log());
    };
    assert_eq!(answered.status, 200, "{answered:?}\n{}", daemon.log());
    let released = succeeds(&text, &["quarantine", "release", "--yes"]);
    assert!(released.contains("0 released"), "{released}");
    check_requests_are_carried_out(&daemon, &prefix);
    check_refused(&prefix, &OF_THE_ENGINE);
}

#[test]
fn a_principal_that_may_not_use_the_group_of_releases_is_found() {
    let kafka = Kafka::shared();
    let (setup, text) =
        EngineSetup::for_process(kafka, "default = \"hold\"", SimulatorSettings::new(PROJECT, known_keys()));
    assert!(succeeds(&text, &["topics", "--create"]).contains("created"));
    let rules = rules(RENDERED_SPLIT, "-ingress", setup.config.kafka.topic_prefix.as_ref());
    let of_topics: Vec<Rule> = rules.into_iter().filter(|rule| rule[0] == "--topic").collect();
    let text = as_user(kafka, &text.replace("enabled = true", "enabled = false"), &of_topics);
    let checked = succeeds(&text, &["check"]);
    assert!(checked.contains("group-not-authorized  group "), "{checked}");
}

/// The daemon may join the group of those who carry requests for releases out, and write their results.
#[track_caller]
fn check_requests_are_carried_out(daemon: &Daemon, prefix: &str) {
    let request = ReleaseRequest {
        request_id: "r1".to_owned(),
        requested_by: "me".to_owned(),
        state: ReleaseState::Requested.into(),
        what: Some(What::Filter(ReleaseFilter::default())),
        ..ReleaseRequest::default()
    };
    publish_once(&Kafka::shared().client(), &marker::request(prefix, request), LIMIT).unwrap();
    eventually(LIMIT, || match daemon.log() {
        log if log.contains("release request finished") => Ok(()),
        log => Err(log),
    });
}

#[test]
fn who_decides_may_make_no_event_and_has_all_that_it_needs() {
    let (text, prefix) = one_workload("-engine", |text| text.replace("[ingress]\n", "[ingress]\nenabled = false\n"));
    let mut daemon = Daemon::run(&text);
    daemon.await_ready();
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    check_refused(&prefix, &OF_THE_INGRESS);
}

/// The configuration of one of two workloads, whose user has what the chart gives it; `check` finds nothing to want.
fn one_workload(user: &str, only: impl Fn(&str) -> String) -> (String, String) {
    let kafka = Kafka::shared();
    let (setup, text) =
        EngineSetup::for_process(kafka, "default = \"hold\"", SimulatorSettings::new(PROJECT, known_keys()));
    assert!(succeeds(&text, &["topics", "--create"]).contains("created"));
    let prefix = setup.config.kafka.topic_prefix.as_ref().to_owned();
    let text = as_user(kafka, &only(&text), &rules(RENDERED_SPLIT, user, &prefix));
    let checked = succeeds(&text, &["check"]);
    assert!(checked.contains("write-proven") && checked.contains("read-proven"), "{checked}");
    assert!(!checked.contains("group-not-authorized"), "{checked}");
    (text, prefix)
}

/// Kafka takes no record for these topics of the user without other rights.
#[track_caller]
fn check_refused(prefix: &str, topics: &[&str]) {
    let producer: FutureProducer = Kafka::shared().client_as(User::Limited).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for topic in topics {
        let topic = format!("{prefix}.{topic}");
        let record = FutureRecord::to(&topic).key("key").payload("forged");
        let (error, _) = runtime.block_on(producer.send(record, Timeout::Never)).unwrap_err();
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::TopicAuthorizationFailed), "{topic}");
    }
}
