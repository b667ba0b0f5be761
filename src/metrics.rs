//! The daemon's metrics: the only place that names them. Handles are made once, so recording is an atomic operation.
//! Must not know what is measured beyond its labels, which come from closed sets.

mod calls;
pub mod catalogue;
mod clock;
mod confirmation;
mod dedup;
mod exposition;
mod process;
mod release;
mod spool;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::message::event::v1::QuarantineReason;
use crate::provider::{KeyId, Unverified};
pub use calls::CallMetrics;
use catalogue::{BUCKETS_SECONDS, METRICS, MetricKind};
pub use clock::{ClockGauge, ClockTrust};
pub use dedup::SharedDedupMetrics;

use process::ProcessMetrics;

pub use confirmation::{Alert, ConfirmationMetrics, HoldLabel, Stop, TransactionEnd};
pub use release::{ReleaseMetrics, verdict_label};
pub use spool::SpoolMetrics;

/// The `source` of requests whose path no source has: not a possible source name.
pub const UNKNOWN_SOURCE: &str = "_unknown";

/// One registry of metrics, with a handle for everything that is not a source's own.
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    in_flight_bytes: Gauge,
    /// Tells the bytes that are held until their delivery report; asked only when somebody looks.
    held_bytes: OnceLock<Box<dyn Fn() -> usize + Send + Sync>>,
    /// Open connections.
    pub connections: Gauge,
    /// Time to read a body.
    pub receive: Histogram,
    /// Time to authenticate.
    pub verify: Histogram,
    /// Time to normalize and encode.
    pub encode: Histogram,
    /// Time from the send to the delivery report.
    pub publish: Histogram,
    /// Brokers connected.
    pub brokers_up: Gauge,
    /// Needed topics that Kafka does not have.
    pub topics_missing: Gauge,
    /// Events in the dedup window.
    pub dedup_entries: Gauge,
    /// Seconds that the dedup window covers.
    pub dedup_window: Gauge,
    /// When the first certificate of the webhook listener expires, in seconds since 1970.
    pub certificate_expiry: Gauge,
    /// Whether `/readyz` answers 200.
    pub ready: Gauge,
    process: ProcessMetrics,
}

impl Metrics {
    /// A registry of its own: several in one process do not disturb each other.
    ///
    /// # Errors
    /// The exporter refuses the buckets.
    pub fn new() -> Result<Arc<Self>, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS_SECONDS)?
            .build_recorder();
        let recorder = Arc::new(recorder);
        let metrics = metrics::with_local_recorder(&*recorder, || {
            describe();
            gauge!(catalogue::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            let stage = |stage: &'static str| histogram!(catalogue::STAGE_DURATION, "stage" => stage);
            Self {
                handle: recorder.handle(),
                recorder: Arc::clone(&recorder),
                in_flight_bytes: gauge!(catalogue::IN_FLIGHT_BYTES),
                held_bytes: OnceLock::new(),
                connections: gauge!(catalogue::CONNECTIONS),
                receive: stage("receive"),
                verify: stage("verify"),
                encode: stage("encode"),
                publish: stage("publish"),
                brokers_up: gauge!(catalogue::BROKERS_UP),
                topics_missing: gauge!(catalogue::TOPICS_MISSING),
                dedup_entries: gauge!(catalogue::DEDUP_ENTRIES),
                dedup_window: gauge!(catalogue::DEDUP_WINDOW),
                certificate_expiry: gauge!(catalogue::CERTIFICATE_EXPIRY),
                ready: gauge!(catalogue::READY),
                process: ProcessMetrics::new(),
            }
        });
        Ok(Arc::new(metrics))
    }

    /// Shows the bytes in flight as `held` tells them. Only the first one is asked.
    pub fn show_in_flight_bytes(&self, held: impl Fn() -> usize + Send + Sync + 'static) {
        self.held_bytes.get_or_init(|| Box::new(held));
    }

    /// Everything in Prometheus's text format, in an order that stays the same.
    pub fn render(&self) -> String {
        if let Some(held) = self.held_bytes.get() {
            self.in_flight_bytes.set(f64::from(u32::try_from(held()).unwrap_or(u32::MAX)));
        }
        self.process.collect();
        self.handle.run_upkeep();
        exposition::in_order(&self.handle.render())
    }

    /// Moves recorded durations into their buckets, so that they do not pile up between two scrapes.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The metrics of one source, zeroed; `outcomes` are all that a request can end with.
    pub fn source(&self, source: &str, outcomes: &[&'static str]) -> SourceMetrics {
        metrics::with_local_recorder(&*self.recorder, || SourceMetrics::new(source, outcomes))
    }

    /// The counters of verified webhooks of one source, one a key.
    pub fn verified(&self, source: &str, keys: &[KeyId]) -> Vec<(KeyId, Counter)> {
        metrics::with_local_recorder(&*self.recorder, || {
            let count = |key: &KeyId| counter!(catalogue::VERIFIED, "source" => source.to_owned(), "key_id" => key.label(source));
            keys.iter().map(|key| (key.clone(), zeroed(count(key)))).collect()
        })
    }

    /// The metrics of one topic, zeroed; `reasons` are all that a send can fail with.
    pub fn topic(&self, topic: &str, reasons: &[&'static str]) -> TopicMetrics {
        metrics::with_local_recorder(&*self.recorder, || TopicMetrics {
            published: zeroed(counter!(catalogue::PUBLISHED, "topic" => topic.to_owned())),
            failures: labelled(
                reasons,
                |reason| counter!(catalogue::PUBLISH_FAILURES, "topic" => topic.to_owned(), "reason" => reason),
            ),
        })
    }

    /// A counter for each event of a connection's life.
    pub fn connection_events(&self, events: &[&'static str]) -> Labelled {
        metrics::with_local_recorder(&*self.recorder, || {
            labelled(events, |event| counter!(catalogue::CONNECTION_EVENTS, "event" => event))
        })
    }

    /// Counters of producers that took another's place, zeroed; `reasons` are all there are.
    pub fn producer_restarts(&self, reasons: &[&'static str]) -> Labelled {
        metrics::with_local_recorder(&*self.recorder, || {
            labelled(reasons, |reason| counter!(catalogue::PRODUCER_RESTARTS, "reason" => reason))
        })
    }

    /// Shows whether the ingress believes its clock.
    pub fn ingress_clock(&self) -> ClockGauge {
        metrics::with_local_recorder(&*self.recorder, || ClockGauge::new("ingress"))
    }

    /// The metrics of the confirmation engine, zeroed; `rules` are the names of all its rules.
    pub fn confirmation(&self, rules: &[String]) -> ConfirmationMetrics {
        metrics::with_local_recorder(&*self.recorder, || ConfirmationMetrics::new(rules))
    }

    /// Counters of requests for releases.
    pub fn releases(&self) -> ReleaseMetrics {
        metrics::with_local_recorder(&*self.recorder, ReleaseMetrics::new)
    }

    /// Counters of key files taken into use, and of unusable ones.
    pub fn key_reloads(&self, source: &str) -> KeyReloads {
        metrics::with_local_recorder(&*self.recorder, || {
            let count = |result: &'static str| {
                zeroed(counter!(catalogue::KEY_RELOADS, "source" => source.to_owned(), "result" => result))
            };
            KeyReloads { used: count("used"), unusable: count("unusable") }
        })
    }
}

/// Counters that differ in one label, of a closed set of values.
pub type Labelled = BTreeMap<&'static str, Counter>;

/// The metrics of one source.
pub struct SourceMetrics {
    requests: Labelled,
    unverified: Labelled,
    rejected: Labelled,
    quarantined: Labelled,
    /// From head to answer.
    pub duration: Histogram,
    /// Signatures that no key matches since the last that one matched; and how many they are.
    unverified_run: Gauge,
    unverified_in_a_row: AtomicU64,
    /// When the last of the webhooks came that were verified; in seconds since 1970.
    last_verified: Gauge,
    last_verified_s: AtomicI64,
    /// Redeliveries of events that this process took in, answered without publishing.
    pub dedup_hits_local: Counter,
    /// The same of events that another replica took in, or this one before its restart.
    pub dedup_hits_shared: Counter,
    /// Webhooks of unknown type.
    pub unrecognized: Counter,
    /// Fields that could not be read.
    pub unread_fields: Counter,
}

fn dedup_hits(source: String, origin: &'static str) -> Counter {
    zeroed(counter!(catalogue::DEDUP_HITS, "source" => source, "origin" => origin))
}

impl SourceMetrics {
    fn new(source: &str, outcomes: &[&'static str]) -> Self {
        let name = || source.to_owned();
        Self {
            requests: labelled(
                outcomes,
                |outcome| counter!(catalogue::REQUESTS, "source" => name(), "outcome" => outcome),
            ),
            unverified: labelled(
                &UNVERIFIED_REASONS,
                |reason| counter!(catalogue::UNVERIFIED, "source" => name(), "reason" => reason),
            ),
            rejected: labelled(
                &UNVERIFIED_REASONS,
                |reason| counter!(catalogue::REJECTED, "source" => name(), "reason" => reason),
            ),
            quarantined: labelled(
                &QUARANTINE_REASONS,
                |reason| counter!(catalogue::QUARANTINED, "source" => name(), "reason" => reason),
            ),
            duration: histogram!(catalogue::REQUEST_DURATION, "source" => name()),
            unverified_run: gauge!(catalogue::UNVERIFIED_RUN, "source" => name()),
            unverified_in_a_row: AtomicU64::new(0),
            last_verified: gauge!(catalogue::LAST_VERIFIED, "source" => name()),
            last_verified_s: AtomicI64::new(0),
            dedup_hits_local: dedup_hits(name(), "local"),
            dedup_hits_shared: dedup_hits(name(), "shared"),
            unrecognized: zeroed(counter!(catalogue::UNRECOGNIZED, "source" => name())),
            unread_fields: zeroed(counter!(catalogue::UNREAD_FIELDS, "source" => name())),
        }
    }

    /// A request ended with `outcome` after `elapsed`.
    pub fn answered(&self, outcome: &'static str, elapsed: Duration) {
        count(&self.requests, outcome);
        self.duration.record(elapsed);
    }

    /// A webhook failed authentication. Only what may be the provider's, under another key, makes a run.
    pub fn unverified(&self, reason: Unverified) {
        count(&self.unverified, unverified_label(reason));
        match reason {
            Unverified::SignatureMismatch | Unverified::NotDecryptable => {
                self.unverified_run.increment(1.0);
                self.unverified_in_a_row.fetch_add(1, Ordering::Release);
            }
            Unverified::HeaderMissing
            | Unverified::SignatureMalformed
            | Unverified::TimestampOutsideTolerance
            | Unverified::ForeignAccount => {}
        }
    }

    /// A webhook, received at this second since 1970, was verified. Gauges are set only where they change: every webhook
    /// comes here, on every thread.
    pub fn verified(&self, second: i64) {
        if self.unverified_in_a_row.load(Ordering::Relaxed) > 0
            && self.unverified_in_a_row.swap(0, Ordering::Acquire) > 0
        {
            self.unverified_run.set(0.0);
        }
        let before = self.last_verified_s.load(Ordering::Relaxed);
        if before < second && self.last_verified_s.fetch_max(second, Ordering::Relaxed) < second {
            self.last_verified.set(Duration::from_secs(second.try_into().unwrap_or_default()).as_secs_f64());
        }
    }

    /// How many signatures in a row no key matched.
    pub fn unverified_in_a_row(&self) -> u64 {
        self.unverified_in_a_row.load(Ordering::Relaxed)
    }

    /// When the last of the webhooks came that were verified, in seconds since 1970; none since the start.
    pub fn last_verified_s(&self) -> Option<i64> {
        Some(self.last_verified_s.load(Ordering::Relaxed)).filter(|second| *second > 0)
    }

    /// A sample of a webhook that failed authentication is on the topic of rejected webhooks.
    pub fn sampled(&self, reason: Unverified) {
        count(&self.rejected, unverified_label(reason));
    }

    /// A webhook is on the quarantine topic.
    pub fn quarantined(&self, reason: QuarantineReason) {
        count(&self.quarantined, quarantine_label(reason));
    }
}

/// The metrics of one topic.
pub struct TopicMetrics {
    /// Records acknowledged.
    pub published: Counter,
    failures: Labelled,
}

impl TopicMetrics {
    /// A record was not acknowledged.
    pub fn failed(&self, reason: &'static str) {
        count(&self.failures, reason);
    }
}

/// Counters of changed key files.
pub struct KeyReloads {
    /// Taken into use.
    pub used: Counter,
    /// Unusable: the old keys stay.
    pub unusable: Counter,
}

/// Every `reason` of a webhook that failed authentication.
pub const UNVERIFIED_REASONS: [&str; 6] = [
    "header_missing",
    "signature_malformed",
    "signature_mismatch",
    "timestamp_outside_tolerance",
    "not_decryptable",
    "foreign_account",
];

/// A reason as metrics and log lines write it.
pub fn unverified_label(reason: Unverified) -> &'static str {
    match reason {
        Unverified::HeaderMissing => "header_missing",
        Unverified::SignatureMalformed => "signature_malformed",
        Unverified::SignatureMismatch => "signature_mismatch",
        Unverified::TimestampOutsideTolerance => "timestamp_outside_tolerance",
        Unverified::NotDecryptable => "not_decryptable",
        Unverified::ForeignAccount => "foreign_account",
    }
}

const QUARANTINE_REASONS: [&str; 6] =
    ["not_utf8", "not_json", "wrong_shape", "name_contradicts_body", "too_large", "unverified_kept"];

fn quarantine_label(reason: QuarantineReason) -> &'static str {
    match reason {
        QuarantineReason::NotUtf8 => "not_utf8",
        QuarantineReason::NotJson => "not_json",
        QuarantineReason::WrongShape | QuarantineReason::Unspecified => "wrong_shape",
        QuarantineReason::NameContradictsBody => "name_contradicts_body",
        QuarantineReason::TooLarge => "too_large",
        QuarantineReason::UnverifiedKept => "unverified_kept",
        // The confirmation engine's, which counts them itself.
        QuarantineReason::UndecodableRecord => "undecodable_record",
        QuarantineReason::MisroutedDecision => "misrouted_decision",
        QuarantineReason::SessionOfAnotherSource => "session_of_another_source",
        QuarantineReason::EvidenceDoesNotVerify => "evidence_does_not_verify",
        QuarantineReason::RecordRefused => "record_refused",
    }
}

fn labelled(values: &[&'static str], make: impl Fn(&'static str) -> Counter) -> Labelled {
    values.iter().map(|value| (*value, zeroed(make(value)))).collect()
}

fn zeroed(counter: Counter) -> Counter {
    counter.absolute(0);
    counter
}

/// Counts one; a value outside the closed set is not counted.
pub fn count(counters: &Labelled, value: &str) {
    if let Some(counter) = counters.get(value) {
        counter.increment(1);
    }
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.meaning),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.meaning),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, metric.meaning),
        }
    }
}
