//! Which topics configurations need, and how they are set.

use std::collections::BTreeSet;

use super::*;

#[test]
fn names_follow_prefix_provider_event_type_and_version() {
    let provider = provider::find("smart-glocal").unwrap();
    let names: Vec<String> =
        provider.event_types().iter().map(|event| event_topic("payments", provider.name(), event)).collect();
    assert_eq!(names[0], "payments.smart-glocal.ready-to-confirm.v1");
    assert!(names.iter().all(|name| !name.contains('_')));
}

fn names_and_policies(toml: &str) -> Vec<(String, String)> {
    let topics = needed(&Config::from_toml(toml, []).unwrap());
    topics.into_iter().map(|topic| (topic.name, topic.settings["cleanup.policy"].clone())).collect()
}

fn check(toml: &str, expected: &[(&str, &str)]) {
    let owned = |(name, policy): &(&str, &str)| (format!("payments.{name}.v1"), (*policy).to_owned());
    let expected: BTreeMap<String, String> = expected.iter().map(owned).collect();
    assert_eq!(names_and_policies(toml), expected.into_iter().collect::<Vec<_>>(), "{toml}");
}

const ENGINE: [(&str, &str); 7] = [
    ("confirmation.decision", "delete"),
    ("confirmation.decision-rejected", "delete"),
    ("confirmation.ledger", "compact"),
    ("confirmation.outcome", "delete"),
    ("quarantine", "delete"),
    ("smart-glocal.payment-finished", "delete"),
    ("smart-glocal.ready-to-confirm", "delete"),
];

#[test]
fn each_part_needs_its_own_topics_and_what_both_need_once() {
    let (on, off) = ("[confirmation]\nenabled = true\ndry_run = true\n", "[ingress]\nenabled = false\n");
    let other = "[sources.other]\nprovider = 'standard-webhooks'\n";
    let sg = "[sources.sg]\nprovider = 'smart-glocal'\n";
    check(off, &[]);
    check(&format!("{on}{off}{sg}"), &ENGINE);
    let ingress = [
        ("dedup", "delete"),
        ("quarantine", "delete"),
        ("quarantine-release", "compact,delete"),
        ("rejected", "delete"),
        ("standard-webhooks.received", "delete"),
        ("unrecognized", "delete"),
    ];
    check(other, &ingress);
    assert_eq!(names_and_policies(&format!("{on}{sg}")).len(), names_and_policies(sg).len() + 4);
}

const ON: &str = "[confirmation]\nenabled = true\ndry_run = true\n[sources.sg]\nprovider = 'smart-glocal'";

#[test]
fn the_engines_topics_are_named_as_their_events() {
    let group = equal_counts(&Config::from_toml(ON, []).unwrap());
    let events = ["smart-glocal.ready-to-confirm", "smart-glocal.payment-finished"];
    for name in [&events[..], &["confirmation.decision", "confirmation.ledger"]].concat() {
        assert!(group.contains(&format!("payments.{name}.v1")), "{group:?}");
    }
    assert_eq!(group.len(), 4);
    assert_eq!(equal_counts(&Config::from_toml("", []).unwrap()), Vec::<String>::new());
}

#[test]
fn every_record_has_the_brokers_time_and_the_engine_needs_it_on_its_own_topics() {
    let topics = needed(&Config::from_toml(ON, []).unwrap());
    assert!(topics.iter().all(|topic| topic.settings["message.timestamp.type"] == LOG_APPEND_TIME));
    let bounding = topics.iter().filter(|topic| topic.times == RecordTimes::BoundWindows);
    let names: BTreeSet<String> = bounding.map(|topic| topic.name.clone()).collect();
    assert_eq!(names, BTreeSet::from(ENGINE.map(|(name, _)| format!("payments.{name}.v1"))));
}

#[test]
fn events_are_written_by_who_takes_webhooks_and_only_read_by_an_engine_alone() {
    let read = |toml: &str| {
        let topics = needed(&Config::from_toml(toml, []).unwrap());
        let read = topics.into_iter().filter(|topic| topic.access == Access::Read);
        read.map(|topic| topic.name).collect::<Vec<_>>()
    };
    assert_eq!(read(ON), Vec::<String>::new());
    let inputs = ["payment-finished", "ready-to-confirm"].map(|part| format!("payments.smart-glocal.{part}.v1"));
    assert_eq!(read(&format!("[ingress]\nenabled = false\n{ON}")), inputs);
}

#[test]
fn the_ledger_forgets_nothing_by_age_and_keeps_tombstones_for_a_day() {
    let topics = needed(&Config::from_toml(ON, []).unwrap());
    let ledger = topics.iter().find(|topic| topic.message == LEDGER_MESSAGE).unwrap();
    assert_eq!(ledger.settings.get("retention.ms"), None);
    let number = |name: &str| ledger.settings[name].parse::<u64>().unwrap();
    assert!(number("delete.retention.ms") >= DAY_MS);
    assert!(number("segment.ms") <= number("max.compaction.lag.ms") && number("max.compaction.lag.ms") < DAY_MS);
    assert!(topics.iter().all(|topic| topic.partitions == ledger.partitions));
}
