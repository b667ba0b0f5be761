//! Each alert of the chart is judged over what a daemon with its fault shows, by a test of this suite, or says why not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::alerts::{assert_none_fires_but, rules};
use crate::support::bridge::{Bridge, ready_to_confirm};
use crate::support::cache::CHECKOUT;
use crate::support::kafka::Kafka;

/// Alerts that no daemon of these tests can cause, with the reason. The chart's own tests judge them over invented series.
const NOT_CAUSED: [(&str, &str); 5] = [
    ("PaybridgeAbsent", "no series at all is what it is about"),
    ("PaybridgeReplicaNotScraped", "it is about Prometheus's own series"),
    ("PaybridgeSourceSilent", "it compares with the day and the week before"),
    ("PaybridgeHandlerPanicked", "no request makes the handler panic"),
    ("PaybridgeEngineLag", "an engine that is behind has caught up before somebody can look"),
];

#[test]
fn every_alert_is_judged_over_a_real_fault_or_says_why_not() {
    let alerts: BTreeSet<&str> = rules().lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let mut judged = BTreeSet::new();
    for folder in ["engine", "ingress", "ingress/outage", "kafka"] {
        for file in fs::read_dir(Path::new(CHECKOUT).join("tests/suite").join(folder)).unwrap() {
            let path = file.unwrap().path();
            let text = if path.is_file() { fs::read_to_string(path).unwrap() } else { String::new() };
            judged.extend(alerts.iter().filter(|alert| is_judged(&text, alert)).copied());
        }
    }
    let excused: BTreeSet<&str> = NOT_CAUSED.iter().map(|(alert, _)| *alert).collect();
    let both: Vec<_> = judged.intersection(&excused).collect();
    assert!(both.is_empty(), "judged, and excused all the same: {both:?}");
    let told: BTreeSet<&str> = judged.union(&excused).copied().collect();
    assert_eq!(told, alerts, "call assert_fires where a test has the fault, or say in NOT_CAUSED why there is none");
}

fn is_judged(text: &str, alert: &str) -> bool {
    ["assert_fires", "assert_fires_while_it_goes_on"].iter().any(|judge| text.contains(&format!("{judge}(\"{alert}\"")))
}

/// Partitions are counted against the chart's own number.
#[test]
fn no_alert_fires_for_a_daemon_that_works() {
    let bridge = Bridge::start(Kafka::shared(), &[]);
    // What cannot be told to other replicas before that is an alert of its own.
    bridge.await_following();
    for number in 1..=3 {
        assert_eq!(bridge.post("sg-main", &ready_to_confirm(&bridge.config, number)).status, 200);
    }
    assert_none_fires_but(&bridge.admin("/metrics").text, &["PaybridgePartitionsUnassigned"]);
}
