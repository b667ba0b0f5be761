//! The configured sources, and which one a path belongs to.
//! Must not know how a source authenticates; its keys can change while it runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;
use jiff::Timestamp;
use metrics::Counter;
use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

use super::Client;
use super::answer::OUTCOMES;
use super::budget::{Budget, Share};
use super::sampling::Bucket;
use crate::config::{Config, OnUnverified, SourceName};
use crate::encode::{Bridge, Encoder};
use crate::kafka::record::Record;
use crate::log_limit::LogLimit;
use crate::metrics::{Metrics, SourceMetrics, UNVERIFIED_REASONS, unverified_label};
use crate::provider::{ApiAddress, AuthenticWebhook, KeyId, Provider, RawWebhook, Source, SuccessAnswer, Unverified};

/// One source while the daemon runs.
pub struct RunningSource {
    /// Its name.
    pub name: String,
    /// What becomes of webhooks that fail authentication.
    pub on_unverified: OnUnverified,
    /// Makes its records.
    pub encoder: Encoder,
    /// Its metrics.
    pub metrics: SourceMetrics,
    /// What its webhooks may take of the bytes in flight.
    pub share: Share,
    /// How long its sender waits for the answer, where that is less than for others.
    pub ack_timeout: Option<Duration>,
    /// What its sender wants to be answered when all is well.
    pub success_answer: Option<Arc<SuccessAnswer>>,
    allow_from: Vec<IpNet>,
    client_cert_names: Vec<ServerName<'static>>,
    with_keys: ArcSwap<SourceWithKeys>,
    /// What may be kept of its webhooks that fail authentication: samples, or bytes.
    keeping: Mutex<Bucket>,
    sample_bytes_max: usize,
    /// By the reason's label.
    unverified_logs: BTreeMap<&'static str, LogLimit<UnverifiedEvent>>,
}

/// What the log tells of a webhook that failed authentication.
struct UnverifiedEvent {
    remote_address: IpAddr,
    likely_cause: Option<&'static str>,
    /// The keys of that moment.
    tried_keys: Arc<str>,
}

/// What a head takes of what may be kept, at most.
const HEAD_BYTES_KEPT: u64 = 32 * 1024;
/// Samples of a source that may be kept at once.
const SAMPLES_BURST: u64 = 20;

/// A source with the keys of the moment, and a counter for each key.
pub struct SourceWithKeys {
    /// Authenticates and normalizes.
    pub source: Arc<Box<dyn Source>>,
    verified: Vec<(KeyId, Counter)>,
    /// The keys' ids, as metrics show them.
    labels: Arc<str>,
}

impl RunningSource {
    /// The source with the keys of the moment.
    pub fn with_keys(&self) -> Guard<Arc<SourceWithKeys>> {
        self.with_keys.load()
    }

    /// Takes new keys into use.
    pub fn replace(&self, source: Arc<Box<dyn Source>>, metrics: &Metrics) {
        self.with_keys.store(Arc::new(SourceWithKeys::new(&self.name, source, metrics)));
    }

    /// Whether the source takes webhooks from this client: by its address, and by the names in its certificate.
    pub fn allows(&self, client: &Client) -> bool {
        let address = client.address.to_canonical();
        let has_address =
            || self.allow_from.is_empty() || self.allow_from.iter().any(|network| network.contains(&address));
        let has_name = || {
            self.client_cert_names.is_empty()
                || client
                    .certificate
                    .as_ref()
                    .is_some_and(|certificate| has_any_name(certificate, &self.client_cert_names))
        };
        has_address() && has_name()
    }

    /// Whether another unauthentic webhook of so many bytes may be kept: as a sample, or with all others within a bound.
    pub fn may_keep(&self, bytes: usize, now: Instant) -> bool {
        let tokens = match self.on_unverified {
            OnUnverified::Reject => 1,
            OnUnverified::Keep => u64::try_from(bytes).unwrap_or(u64::MAX),
        };
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner).takes(tokens, now)
    }

    /// Its keys of the moment, as metrics call them.
    pub fn key_labels(&self) -> Arc<str> {
        Arc::clone(&self.with_keys().labels)
    }

    /// A webhook failed authentication: logged at once, then at most once a minute for each reason.
    pub fn failed_authentication(&self, webhook: &RawWebhook, failure: Unverified, now: Instant) {
        self.metrics.unverified(failure);
        let Some(log) = self.unverified_logs.get(unverified_label(failure)) else { return };
        // Looked for only where a line is due: it may take longer than all the rest.
        let likely_cause = if log.is_due(now) { self.with_keys().source.likely_cause(webhook) } else { None };
        log.add(UnverifiedEvent {
            remote_address: webhook.remote_address,
            likely_cause,
            tried_keys: self.key_labels(),
        });
        if let Some((count, event)) = log.due(now) {
            self.log_unverified(unverified_label(failure), count, &event);
        }
    }

    /// Logs the last webhooks of a burst that failed authentication.
    pub fn log_left_over(&self, now: Instant) {
        for (reason, log) in &self.unverified_logs {
            if let Some((count, event)) = log.left_over(now) {
                self.log_unverified(reason, count, &event);
            }
        }
    }

    fn log_unverified(&self, reason: &'static str, count: u64, event: &UnverifiedEvent) {
        let last_verified = self.metrics.last_verified_s().and_then(|second| Timestamp::from_second(second).ok());
        let (outcome, topic) = match self.on_unverified {
            OnUnverified::Reject => ("are answered 401", "rejected"),
            OnUnverified::Keep => ("are kept in quarantine, up to keep_bytes_per_second", "quarantine"),
        };
        tracing::warn!(
            source = self.name,
            reason,
            likely_cause = event.likely_cause,
            count,
            in_a_row = self.metrics.unverified_in_a_row(),
            remote_address = %event.remote_address,
            tried_keys = &*event.tried_keys,
            last_verified = last_verified.map_or_else(|| "never".to_owned(), |at| at.to_string()),
            see = format!("paybridge quarantine list --from {topic} --source {}", self.name),
            "webhooks fail authentication and {outcome}"
        );
    }

    /// The record of a sample of a webhook that failed authentication.
    pub fn sample(&self, webhook: &RawWebhook, failure: Unverified, random_id: &str) -> Record {
        self.encoder.rejected(webhook, failure, self.sample_bytes_max, random_id)
    }
}

/// Whether a certificate is for one of these names, by its subject's alternative names.
fn has_any_name(certificate: &[u8], names: &[ServerName<'static>]) -> bool {
    let certificate = CertificateDer::from(certificate);
    let Ok(certificate) = EndEntityCert::try_from(&certificate) else { return false };
    names.iter().any(|name| certificate.verify_is_valid_for_subject_name(name).is_ok())
}

impl SourceWithKeys {
    fn new(name: &str, source: Arc<Box<dyn Source>>, metrics: &Metrics) -> Self {
        let keys = source.key_ids();
        let labels = keys.iter().map(|key| key.label(name)).collect::<Vec<_>>().join(", ").into();
        Self { verified: metrics.verified(name, &keys), source, labels }
    }

    /// Counts a verified webhook, and ends the run of unverified ones.
    pub fn count_verified(&self, webhook: &AuthenticWebhook, metrics: &SourceMetrics) {
        if let Some((_, counter)) = self.verified.iter().find(|(key, _)| key == webhook.key_id()) {
            counter.increment(1);
        }
        metrics.verified(webhook.raw().received_at.as_second());
    }
}

/// All sources by their paths.
pub struct Sources {
    /// The bytes in flight of all of them.
    pub budget: Budget,
    by_path: HashMap<String, Arc<RunningSource>>,
    /// How many segments the paths of those sources have that take longer paths, most first: no request costs more
    /// look-ups than there are entries here.
    depths: Vec<usize>,
}

/// How the bytes in flight are shared out among the sources: so that one that is flooded takes none of the others' room.
struct Shares {
    /// The most that one may hold.
    own_max: usize,
    /// What is kept for those whose sessions wait for a confirmation.
    kept: usize,
}

impl Shares {
    fn new(config: &Config) -> Self {
        let all = usize::try_from(config.ingress.in_flight_bytes_max).unwrap_or(usize::MAX);
        match config.sources.len() {
            0 | 1 => Self { own_max: all, kept: 0 },
            // A webhook with its record must always have room.
            _ => {
                let least = config.ingress.in_flight_least();
                Self { own_max: (all / 2).max(least), kept: (all / 10).min(all.saturating_sub(least)) }
            }
        }
    }

    fn of(&self, budget: &Budget, sessions: &ApiAddress) -> Share {
        let spared = match sessions {
            ApiAddress::None => self.kept,
            ApiAddress::NotConfigured | ApiAddress::Configured => 0,
        };
        budget.share(self.own_max, spared)
    }
}

/// What a source is made of besides its configuration.
pub struct Configured {
    /// Its provider.
    pub provider: &'static dyn Provider,
    /// Authenticates and normalizes, with the keys read at the start.
    pub source: Arc<Box<dyn Source>>,
}

impl Sources {
    /// The sources of a configuration, each with what was made of its settings and keys.
    pub fn new(config: &Config, configured: BTreeMap<SourceName, Configured>, metrics: &Metrics) -> Self {
        let bridge = Bridge { instance: config.bridge_instance.clone(), keep: config.evidence.keep };
        let largest_body = u64::try_from(config.ingress.body_bytes_max).unwrap_or(u64::MAX);
        let budget = Budget::new(usize::try_from(config.ingress.in_flight_bytes_max).unwrap_or(usize::MAX));
        let shares = Shares::new(config);
        let mut by_path = HashMap::new();
        for (name, Configured { provider, source }) in configured {
            let Some(settings) = config.sources.get(&name) else { continue };
            let prefix = config.kafka.topic_prefix.as_ref();
            let (per_minute, burst) = match settings.on_unverified {
                OnUnverified::Reject => (u64::from(config.rejected.samples_per_minute), SAMPLES_BURST),
                // One body of any size must pass, or it would be refused for ever.
                OnUnverified::Keep => {
                    let per_second = u64::from(settings.keep_bytes_per_second);
                    (per_second.saturating_mul(60), per_second.max(largest_body.saturating_add(HEAD_BYTES_KEPT)))
                }
            };
            let running = RunningSource {
                share: shares.of(&budget, &provider.api_address(&settings.section)),
                ack_timeout: settings.ack_timeout(),
                success_answer: settings.outline.success_answer.clone(),
                on_unverified: settings.on_unverified,
                encoder: Encoder::new(&bridge, name.as_ref(), settings, prefix),
                metrics: metrics.source(name.as_ref(), &OUTCOMES),
                allow_from: settings.allow_from.clone(),
                client_cert_names: settings.client_cert_names.clone(),
                with_keys: ArcSwap::from_pointee(SourceWithKeys::new(name.as_ref(), source, metrics)),
                keeping: Mutex::new(Bucket::new(per_minute, burst, Instant::now())),
                sample_bytes_max: config.rejected.sample_bytes_max,
                unverified_logs: UNVERIFIED_REASONS.into_iter().map(|reason| (reason, LogLimit::default())).collect(),
                name: name.to_string(),
            };
            by_path.insert(settings.path(&name), Arc::new(running));
        }
        let takes_longer = by_path.iter().filter(|(_, source)| source.with_keys().source.takes_longer_paths());
        let depths: BTreeSet<usize> = takes_longer.map(|(path, _)| path.matches('/').count()).collect();
        Self { budget, by_path, depths: depths.into_iter().rev().collect() }
    }

    /// The source that a path belongs to, and what follows the source's own path; one trailing slash does not count.
    pub fn find<'p>(&self, path: &'p str) -> Option<(&Arc<RunningSource>, &'p str)> {
        let path = path.strip_suffix('/').unwrap_or(path);
        self.by_path.get(path).map(|source| (source, "")).or_else(|| self.find_shorter(path))
    }

    fn find_shorter<'p>(&self, path: &'p str) -> Option<(&Arc<RunningSource>, &'p str)> {
        self.depths.iter().find_map(|depth| {
            let (end, _) = path.match_indices('/').nth(*depth)?;
            let source = self.by_path.get(path.get(..end)?)?;
            let longer = source.with_keys().source.takes_longer_paths();
            longer.then_some((source, path.get(end + 1..)?))
        })
    }

    /// Every source.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RunningSource>> {
        self.by_path.values()
    }
}
