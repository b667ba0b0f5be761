//! `/metrics` is what the catalogue says, no more and no less, from the first scrape on; and so is the table of docs/metrics.md.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use paybridge::config::SourceConfig;
use paybridge::config::files::FileReader;
use paybridge::confirmation::calls;
use paybridge::ingress::answer::OUTCOMES;
use paybridge::kafka::publisher::{FAILURE_REASONS, RESTART_REASONS};
use paybridge::kafka::topics;
use paybridge::metrics::UNKNOWN_SOURCE;
use paybridge::metrics::catalogue::{BUCKETS_SECONDS, METRICS, Metric, MetricKind};
use paybridge::provider::{self, SignedWebhook};
use tempfile::TempDir;

use crate::docs::tables::check_generated;
use crate::support::bridge::{
    Bridge, config, create_needed_topics, key_file, ready_to_confirm, sender, signed_fixture,
};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::exposition::Exposition;
use crate::support::kafka::Kafka;
use crate::support::wire::{SMART_GLOCAL, UNIPAAS, post_to};

const SOURCES: [&str; 2] = ["sg-main", "unipaas"];

/// The engine's part of the configuration, but for its source's key. Nobody is called: every session is held.
const ENGINE: &str = r#"
[confirmation]
enabled = true
[[confirmation.rules]]
name = "large"
when = "session.operations.exists(o, o.amount.minor_units > 100000000)"
then = "hold"
[[confirmation.rules]]
name = "strange"
when = 'session.status == "strange"'
then = "hold"
[sources.sg-main.api]
base_url = "http://127.0.0.1:9"
version = 2
project = "shop"
"#;
const VERDICTS: [&str; 12] = [
    "unspecified",
    "released",
    "released_before",
    "still_undecodable",
    "still_unrecognized",
    "not_authentic",
    "address_not_allowed",
    "body_cut",
    "too_large",
    "source_not_configured",
    "no_webhook",
    "unreadable",
];
const RULES: [&str; 2] = ["large", "strange"];

/// A daemon with all its parts, and the folder of its spool.
fn start() -> (Bridge, TempDir) {
    let private_key = key_file("smart-glocal-private.pem");
    let engine = format!("{ENGINE}private_key_file = '{}'\n", private_key.display());
    let folder = tempfile::tempdir().unwrap();
    let spool = format!("[spool]\nenabled = true\ndirectory = '{}/spool'\n", folder.path().display());
    let kafka = Kafka::shared();
    let config = config(kafka.bootstrap(), &format!("{SMART_GLOCAL}{UNIPAAS}{engine}{spool}"), &[]);
    create_needed_topics(kafka, &config);
    let bridge = Bridge::launch(config);
    bridge.await_ready();
    (bridge, folder)
}

fn exposition(bridge: &Bridge) -> Exposition {
    Exposition::read(&bridge.admin("/metrics").text)
}

fn labels(metric: &Metric) -> Vec<&'static str> {
    metric.labels.split(',').filter(|label| !label.is_empty()).collect()
}

/// Every value that a label may have, by what the daemon is configured for.
fn closed_set(bridge: &Bridge, metric: &Metric, label: &str) -> Vec<String> {
    if let Some(part) = metric.name.strip_prefix("paybridge_confirmation_") {
        return owned(&closed_set_of_the_engine(part, label));
    }
    match (label, metric.name) {
        ("source", "paybridge_key_reloads_total") => [owned(&SOURCES), owned(&["_kafka"])].concat(),
        ("source", _) => owned(&SOURCES),
        ("outcome", _) => owned(&OUTCOMES),
        ("topic", _) => topics::needed(&bridge.config).into_iter().map(|topic| topic.name).collect(),
        ("part", _) => owned(&["ingress", "engine"]),
        ("stage", _) => owned(&["receive", "verify", "encode", "publish"]),
        ("result", "paybridge_dedup_entries_total") => owned(&["written", "failed"]),
        ("origin", _) => owned(&["local", "shared"]),
        ("reason", "paybridge_dedup_entries_ignored_total") => owned(&["other_cluster", "unreadable"]),
        ("result", "paybridge_release_requests_total") => owned(&["done", "refused", "failed"]),
        ("result", _) => owned(&["used", "unusable"]),
        ("verdict", _) => owned(&VERDICTS),
        ("version", _) => owned(&[env!("CARGO_PKG_VERSION")]),
        ("event", _) => owned(&[
            "accepted",
            "refused",
            "made_room",
            "accept_failed",
            "tls_failed",
            "head_timed_out",
            "idle_timed_out",
            "malformed",
            "handler_panicked",
        ]),
        ("reason", "paybridge_spool_records_refused_total") => owned(&["full", "disk"]),
        ("reason", "paybridge_kafka_publish_failures_total") => owned(&FAILURE_REASONS),
        ("reason", "paybridge_kafka_producer_restarts_total") => owned(&RESTART_REASONS),
        ("reason", "paybridge_quarantined_total") => {
            owned(&["not_utf8", "not_json", "wrong_shape", "name_contradicts_body", "too_large", "unverified_kept"])
        }
        ("reason", _) => owned(&[
            "header_missing",
            "signature_malformed",
            "signature_mismatch",
            "timestamp_outside_tolerance",
            "not_decryptable",
            "foreign_account",
        ]),
        ("key_id", _) => {
            bridge.config.sources.iter().flat_map(|(name, source)| key_labels(name.as_ref(), source)).collect()
        }
        (other, name) => panic!("{name} has the new label {other}: say here what values it may have"),
    }
}

/// The same for the confirmation engine's metrics.
fn closed_set_of_the_engine(part: &str, label: &str) -> Vec<&'static str> {
    match (part, label) {
        (_, "operation") => vec!["confirm", "cancel", "status"],
        (_, "outcome") => calls::OUTCOMES.to_vec(),
        (_, "source") => vec!["sg-main"],
        (_, "action") => vec!["none", "confirm", "cancel"],
        ("outcomes_total", "result") => {
            vec!["accepted", "already_done", "refused", "expired", "superseded", "dry_run"]
        }
        ("transactions_total", "result") => vec!["committed", "aborted", "fenced", "unknown"],
        ("decisions_total", "kind") => vec!["rule", "decision", "default", "deadline"],
        ("decisions_total", "rule") => [&RULES[..], &[""]].concat(),
        (_, "rule") => RULES.to_vec(),
        ("alerts_total", "kind") => vec![
            "clock_untrusted",
            "unknown_source",
            "open_after_done",
            "too_old",
            "session_of_another_source",
            "record_refused",
        ],
        ("held_total", "reason") => vec!["rule", "no_rule", "not_evaluated", "rule_failed", "unread_field"],
        ("rejected_total", "reason") => {
            vec!["already_decided", "expired", "unknown_session", "source_mismatch", "malformed", "too_many_early"]
        }
        ("quarantined_total", "reason") => vec![
            "undecodable_record",
            "misrouted_decision",
            "session_of_another_source",
            "evidence_does_not_verify",
            "record_refused",
        ],
        ("stopped_partitions", "reason") => vec!["unreadable", "lost"],
        (part, label) => panic!("{part} has the new label {label}: say here what values it may have"),
    }
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Only a rule decides by a rule.
fn is_possible(metric: &Metric, series: &[String]) -> bool {
    match (metric.name, series) {
        ("paybridge_confirmation_decisions_total", [kind, rule]) => (kind == "rule") != rule.is_empty(),
        _ => true,
    }
}

fn key_labels(name: &str, source: &SourceConfig) -> Vec<String> {
    let provider = provider::find(&source.provider).unwrap();
    let source = provider.configure(&source.section, &FileReader::new()).unwrap();
    source.key_ids().iter().map(|key| key.label(name)).collect()
}

/// Every combination of a metric's label values, with the labels in the order of their names.
fn all_series(bridge: &Bridge, metric: &Metric) -> BTreeSet<Vec<String>> {
    let mut names = labels(metric);
    names.sort_unstable();
    let mut all = BTreeSet::from([Vec::new()]);
    for name in names {
        let values = closed_set(bridge, metric, name);
        let longer = |begun: &Vec<String>| {
            values.iter().map(|value| [begun.clone(), vec![value.clone()]].concat()).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all.retain(|series| is_possible(metric, series));
    all
}

#[test]
fn every_metric_is_there_from_the_start_described_and_its_counters_at_zero() {
    let (bridge, _spool) = start();
    let shown = exposition(&bridge);
    for metric in METRICS {
        assert_eq!(shown.help.get(metric.name).map(String::as_str), Some(metric.meaning), "{}", metric.name);
        assert_eq!(shown.kind.get(metric.name).map(String::as_str), Some(kind(metric)), "{}", metric.name);
        // The process has used the processor before it was asked.
        if metric.kind != MetricKind::Counter || metric.labels.contains("key_id") || metric.name.starts_with("process_")
        {
            continue;
        }
        let values = shown.values(metric.name);
        for series in all_series(&bridge, metric) {
            let labels: Vec<&str> = series.iter().map(String::as_str).collect();
            assert_eq!(
                values.get(&labels).map(ToString::to_string).as_deref(),
                Some("0"),
                "{} {labels:?}",
                metric.name
            );
        }
    }
    let verified = shown.values("paybridge_ingress_verified_total");
    assert_eq!(verified.len(), SOURCES.len(), "one key each: {verified:?}");
    assert!(verified.values().all(|value| value.to_string() == "0"));
    for outcome in OUTCOMES {
        let unknown = shown.values("paybridge_ingress_requests_total");
        assert!(unknown.contains_key(&vec![outcome, UNKNOWN_SOURCE]), "{outcome}");
    }
    assert_eq!(
        shown.values("paybridge_ready").values().copied().map(|value| value.to_string()).collect::<Vec<_>>(),
        ["1"]
    );
    assert_eq!(shown.values("paybridge_dedup_window_seconds").len(), 1);
}

/// One request of as many kinds as a healthy Kafka gives, on a connection of its own each.
fn mixture(bridge: &Bridge) -> Vec<(&'static str, &'static str)> {
    let now = Timestamp::now();
    let smart_glocal = |body: &'static str| sender(&bridge.config, "sg-main").sign("", body.into(), now, 0);
    let unipaas = |name: &str, body: &'static str| sender(&bridge.config, "unipaas").sign(name, body.into(), now, 0);
    let good = ready_to_confirm(&bridge.config, 1);
    let unsigned = SignedWebhook { headers: vec![], ..good.clone() };
    let large = SignedWebhook { body: vec![b' '; bridge.config.ingress.body_bytes_max + 1].into(), ..good.clone() };
    let requests = [
        ("sg-main", "accepted", good.clone()),
        ("sg-main", "duplicate", good.clone()),
        ("sg-main", "unauthentic", unsigned),
        ("sg-main", "unauthentic", SignedWebhook { body: "x".into(), ..good.clone() }),
        ("sg-main", "body_too_large", large),
        ("sg-main", "quarantined", smart_glocal("not JSON")),
        ("sg-main", "quarantined", smart_glocal("[]")),
        ("sg-main", "unrecognized", signed_fixture(&bridge.config, "unknown-type.json")),
        ("unipaas", "accepted", unipaas("transfer/update", "{}")),
        ("unipaas", "unrecognized", unipaas("invented/by-the-sender", "{}")),
        (UNKNOWN_SOURCE, "unknown_source", good),
    ];
    for (source, outcome, webhook) in &requests {
        let path = match *source {
            UNKNOWN_SOURCE => "/nobody/knows".to_owned(),
            known => format!("{}/{}", bridge.path(known), webhook.path_suffix),
        };
        let answered = post_to(bridge, &path, webhook, &[("connection", "close")]);
        assert_eq!(answered.json("status"), *outcome);
    }
    requests.iter().map(|(source, outcome, _)| (*source, *outcome)).collect()
}

#[test]
fn whatever_is_sent_no_series_is_outside_the_catalogue_and_every_request_is_counted_once() {
    let (bridge, _spool) = start();
    let sent = mixture(&bridge);
    let shown = exposition(&bridge);
    for series in &shown.series {
        let metric = METRICS.iter().find(|metric| names(metric).contains(&series.name));
        let metric = metric.unwrap_or_else(|| panic!("{series:?} is not in the catalogue"));
        let label_names: Vec<&str> = series.labels.keys().map(String::as_str).collect();
        let mut expected = labels(metric);
        expected.sort_unstable();
        assert_eq!(label_names, expected, "{series:?}");
        for (label, value) in &series.labels {
            let is_unknown = label == "source" && value == UNKNOWN_SOURCE;
            assert!(is_unknown || closed_set(&bridge, metric, label).contains(value), "{series:?}: {label}");
        }
    }
    let mut expected: BTreeMap<Vec<&str>, usize> = BTreeMap::new();
    for (source, outcome) in &sent {
        *expected.entry(vec![outcome, source]).or_default() += 1;
    }
    for (labels, value) in shown.values("paybridge_ingress_requests_total") {
        let count = expected.get(&labels).copied().unwrap_or_default();
        assert_eq!(value.to_string(), count.to_string(), "{labels:?}");
    }
    check_histograms(&shown, sent.len());
    for gauge in ["paybridge_ingress_connections", "paybridge_ingress_in_flight_bytes"] {
        eventually(LIMIT, || match bridge.metric(gauge).to_string().as_str() {
            "0" => Ok(()),
            other => Err(format!("{gauge} is {other} when all is done")),
        });
    }
    let accepted = r#"paybridge_ingress_connection_events_total{event="accepted"}"#;
    assert_eq!(bridge.metric(accepted).to_string(), sent.len().to_string());
}

fn check_histograms(shown: &Exposition, requests: usize) {
    for metric in METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram) {
        let counts = shown.values(&format!("{}_count", metric.name));
        let sums = shown.values(&format!("{}_sum", metric.name));
        let buckets = shown.buckets(metric.name);
        assert!(!counts.is_empty(), "{}", metric.name);
        for (labels, count) in counts {
            let of_labels = buckets.get(&labels).unwrap_or_else(|| panic!("{} {labels:?} has no buckets", metric.name));
            let bounds: Vec<String> = of_labels.iter().map(|(bound, _)| bound.to_string()).collect();
            let expected: Vec<String> =
                BUCKETS_SECONDS.iter().chain(&[f64::INFINITY]).map(ToString::to_string).collect();
            assert_eq!(bounds, expected, "{}", metric.name);
            assert!(of_labels.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{} {labels:?} shrinks", metric.name);
            assert_eq!(of_labels.last().unwrap().1.to_string(), count.to_string(), "{} {labels:?}", metric.name);
            assert!(sums[&labels] >= 0.0 && (count < 1.0 || sums[&labels] > 0.0), "{} {labels:?}", metric.name);
        }
    }
    let answered: f64 = shown.values("paybridge_ingress_request_duration_seconds_count").values().sum();
    assert_eq!(answered.to_string(), requests.to_string());
}

/// The names of a metric's series.
fn names(metric: &Metric) -> Vec<String> {
    let suffixes: &[&str] = if metric.kind == MetricKind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
    suffixes.iter().map(|suffix| format!("{}{suffix}", metric.name)).collect()
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}

/// `PAYBRIDGE_BLESS=1` writes the table anew.
#[test]
fn the_table_of_metrics_is_the_catalogue() {
    let row = |metric: &Metric| {
        let labels: Vec<String> = labels(metric).iter().map(|label| format!("`{label}`")).collect();
        let meaning = metric.meaning.replace('|', "\\|");
        format!("| `{}` | {} | {} | {meaning} |\n", metric.name, kind(metric), labels.join(", "))
    };
    let rows: String = METRICS.iter().map(row).collect();
    let head = "| name | kind | labels | meaning |\n| --- | --- | --- | --- |\n";
    check_generated("docs/metrics.md", "metrics", &format!("{head}{rows}"));
}
