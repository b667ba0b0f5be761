//! What the chart's `KafkaUser` may do at Kafka is enough for the daemon and every command, and no more than that is asked for.

use std::fs;
use std::path::Path;

use paybridge::simulator::Settings;

use crate::cache::CHECKOUT;
use crate::confirmation::stage::{PROJECT, Stage, known_keys};
use crate::credentials::{command, succeeds, works};
use crate::kafka::{Kafka, User};

/// A rendered chart with Strimzi's user in it.
const RENDERED: &str = "tests/helm/golden/strimzi.yaml";
/// What that one calls the engine's group, and its topics begin with.
const GROUP: &str = "paybridge-confirmation";
const PREFIX: &str = "payments";

/// One rule of the rendered user, as arguments of Kafka's own tool.
type Rule = Vec<String>;

/// The rules of the rendered user, for this prefix, which is the engine's group too.
fn rules(prefix: &str) -> Vec<Rule> {
    let text = fs::read_to_string(Path::new(CHECKOUT).join(RENDERED)).unwrap();
    let (_, rest) = text.split_once("\nkind: KafkaUser\n").expect("a user is rendered");
    let user = rest.split("\n---\n").next().unwrap();
    let (_, rules) = user.split_once("acls:").expect("the user has rules");
    rules.split("- resource:").skip(1).map(|rule| arguments(rule, prefix)).collect()
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
    let name = value("name").replace(GROUP, prefix).replace(PREFIX, prefix);
    let operations = value("operations");
    let operations = operations.trim_matches(['[', ']']).split(", ").flat_map(|name| ["--operation", name]);
    [resource, &name, "--resource-pattern-type", pattern].into_iter().chain(operations).map(str::to_owned).collect()
}

#[test]
fn the_rights_of_the_charts_user_are_enough() {
    let kafka = Kafka::shared();
    let (stage, text) = Stage::for_process(kafka, "default = \"hold\"", Settings::new(PROJECT, known_keys()));
    assert!(succeeds(&text, &["topics", "--create"]).contains("created"));
    let (name, password) = User::Limited.login();
    let text = text.replace(kafka.bootstrap(), kafka.password_bootstrap())
        + &format!(
            "[kafka.properties]\nsecurity.protocol = \"sasl_plaintext\"\nsasl.mechanism = \"PLAIN\"\n\
             sasl.username = \"{name}\"\nsasl.password = \"{password}\"\n"
        );
    // Without them nothing goes, so they are what makes it go.
    let refused = command(&text, &["check"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");

    let rules = rules(stage.config.kafka.topic_prefix.as_ref());
    assert_eq!(rules.len(), 3, "{rules:?}");
    for rule in &rules {
        kafka.allow(User::Limited, &rule.iter().map(String::as_str).collect::<Vec<_>>());
    }
    works(&stage, &text);
}
