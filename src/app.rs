//! Puts the daemon together: makes the parts, binds nothing itself, runs them, and ends them in order.
//! The only place that starts long-lived tasks; the first of them to end ends the process.

mod credentials;
mod engine;
pub mod key_files;
pub mod keys;
mod readiness;
mod releases;
mod spool;
mod thread;
mod webhooks;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::config::Config;
use crate::error_chain;
use crate::ingress::source::Sources;
use crate::kafka::broker_clock::Broker;
use crate::kafka::topics;
use crate::metrics::Metrics;
use crate::server::{self, End, Limits, Unanswered, Why};
use credentials::{ClientOwner, CredentialWatch};
use engine::Verification;
use keys::KeyWatch;
use readiness::Needed;
use webhooks::Webhooks;

/// How often histograms are tidied and gauges of the dedup window are set.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How long admin requests may take to finish.
const ADMIN_GRACE: Duration = Duration::from_secs(1);
/// What the grace period leaves at its end for the last delivery reports, and for ending the producer.
const FLUSH_RESERVE: Duration = Duration::from_secs(2);
/// What it leaves for ending the producer: half a second where records are left.
const PRODUCER_END_RESERVE: Duration = Duration::from_secs(1);

/// What the parts' tasks are called that end in order.
const WEBHOOK_SERVER: &str = "webhook server";
const CONFIRMATION_ENGINE: &str = "confirmation engine";

/// The sockets that the daemon serves; bound by the caller, so that tests can use port 0.
pub struct Listeners {
    /// For webhooks, where they are taken.
    pub ingress: Option<TcpListener>,
    /// For `/livez`, `/readyz` and `/metrics`.
    pub admin: TcpListener,
}

impl Listeners {
    /// Binds the addresses of a configuration.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = async |key: &str, address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("{key}: {address} cannot be bound"))
        };
        let ingress =
            if config.ingress.enabled { Some(bind("ingress.listen", config.ingress.listen).await?) } else { None };
        Ok(Self { ingress, admin: bind("admin.listen", config.admin.listen).await? })
    }
}

/// Runs the daemon until `stop` is cancelled, then ends it in order. `broker` says where Kafka's time comes from.
///
/// # Errors
/// A part cannot be made, or one ended by itself.
pub async fn serve(
    config: Config,
    listeners: Listeners,
    broker: Broker,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if !config.ingress.enabled && !config.confirmation.enabled {
        bail!("ingress.enabled and confirmation.enabled are both false: nothing to run");
    }
    let metrics = Metrics::new().context("metrics")?;
    let mut credentials = CredentialWatch::new(&config.kafka, &metrics);
    let loaded = keys::load(&config).map_err(|problems| anyhow!(joined(problems)))?;
    let certificate = keys::certificate(config.ingress.tls.as_ref())?;
    let tls = certificate.as_ref().map(|certificate| certificate.acceptor.clone());
    let sources = Arc::new(Sources::new(&config, loaded.sources, &metrics));
    log_sources(&config);
    let watch = KeyWatch::new(&config, &sources, &loaded.apis, &loaded.verifiers, loaded.files, Arc::clone(&metrics));
    let watch = watch.with_certificate(certificate);
    let readiness = Readiness::default();
    let ends = Ends::default();

    // Whatever ends first, wanted or not, ends the process.
    let mut tasks = JoinSet::new();
    let webhooks = if let Some(listener) = listeners.ingress {
        let webhooks = Webhooks::new(&config, Arc::clone(&sources), Arc::clone(&metrics), broker, ends.parts.clone())?;
        webhooks.start(&mut tasks, listener, tls, &readiness);
        releases::start(&config, &sources, webhooks.publisher(), &metrics, &mut tasks, ends.parts.clone());
        credentials.add(ClientOwner::Ingress(webhooks.publisher(), webhooks.shared_dedup()));
        Some(webhooks)
    } else {
        readiness.producer_id.open();
        None
    };
    if config.confirmation.enabled {
        let verification = Verification { verifiers: loaded.verifiers, broker };
        let renew =
            engine::start(&config, loaded.apis, verification, &metrics, &readiness, &mut tasks, ends.parts.clone())?;
        credentials.add(ClientOwner::Engine(renew));
    } else {
        readiness.transactions.open();
    }
    let admin = serve_admin(listeners.admin, readiness.clone(), Arc::clone(&metrics), ends.admin.clone());
    tasks.spawn(named("admin server", admin));
    tasks.spawn(named("key watch", watch.run()));
    tasks.spawn(named("credential watch", credentials.run()));
    tasks.spawn(named("metrics upkeep", upkeep(Arc::clone(&metrics))));
    let needed = Needed { topics: topics::needed(&config), equal: topics::equal_counts(&config) };
    let publisher = webhooks.as_ref().map(Webhooks::publisher);
    let topics =
        readiness::watch_topics(needed, config.kafka.clone(), readiness.clone(), Arc::clone(&metrics), publisher);
    tasks.spawn(named("topics", topics));

    log_start(&config);
    tokio::select! {
        ended = tasks.join_next() => {
            let part = ended.and_then(Result::ok).unwrap_or("a part that panicked");
            bail!("{part} ended by itself: the daemon stops")
        }
        () = stop.cancelled() => {}
    }
    drain(&config, webhooks.as_ref(), &readiness, &ends, &mut tasks).await;
    tracing::info!("paybridge stopped");
    Ok(())
}

/// Says which sources there are, and which keys their files hold.
fn log_sources(config: &Config) {
    for (name, settings) in &config.sources {
        let keys = key_files::of_source(name, settings);
        let keys = keys.iter().map(|file| format!("{} = {}", file.path.display(), file.key_ids.join(" and ")));
        let keys = keys.collect::<Vec<_>>().join(", ");
        tracing::info!(source = %name, provider = settings.provider, keys, "source configured");
    }
}

/// Says what runs. A source's path and Kafka's properties may be secrets.
fn log_start(config: &Config) {
    let confirmation = match (config.confirmation.enabled, config.confirmation.dry_run) {
        (false, _) => "off",
        (true, true) => "dry run",
        (true, false) => "on",
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        instance = config.bridge_instance,
        ingress = config.ingress.enabled.then(|| tracing::field::display(config.ingress.listen)),
        admin = %config.admin.listen,
        brokers = %config.kafka.bootstrap_servers,
        topic_prefix = %config.kafka.topic_prefix,
        confirmation,
        sources = config.sources.len(),
        "paybridge started"
    );
    if config.ingress.enabled && config.sources.is_empty() {
        tracing::warn!("no source is configured; every webhook is answered 404");
    }
}

/// What ends the parts, and last of all the admin server.
#[derive(Default)]
struct Ends {
    parts: CancellationToken,
    admin: CancellationToken,
}

/// Not ready; serve on while endpoints are withdrawn and connections end with their next answers; take no more; finish what is in flight; then the admin port last.
async fn drain(
    config: &Config,
    webhooks: Option<&Webhooks>,
    readiness: &Readiness,
    ends: &Ends,
    tasks: &mut JoinSet<&'static str>,
) {
    readiness.draining.cancel();
    tracing::info!(
        delay_ms = config.shutdown.drain_delay_ms,
        "shutting down: readiness withdrawn, accepting webhooks until the drain delay ends"
    );
    sleep(config.shutdown.drain_delay()).await;
    let deadline = Instant::now() + grace_without(config, PRODUCER_END_RESERVE, 8);
    ends.parts.cancel();
    let engine = config.confirmation.enabled.then_some(CONFIRMATION_ENGINE);
    let mut ending: BTreeSet<&str> = webhooks.map(|_| WEBHOOK_SERVER).into_iter().chain(engine).collect();
    while !ending.is_empty() {
        match timeout_at(deadline, tasks.join_next()).await {
            // Whatever else ends now has failed, and there is no waiting for it.
            Ok(Some(Ok(part))) => ending.remove(part),
            Ok(Some(Err(_)) | None) | Err(_) => break,
        };
    }
    if let Some(webhooks) = webhooks {
        webhooks.flush(deadline).await;
    }
    ends.admin.cancel();
    tasks.shutdown().await;
}

/// The grace period without what is kept for its end: at most that part of it, so that a short one is a grace still.
fn grace_without(config: &Config, reserve: Duration, part: u32) -> Duration {
    let grace = config.shutdown.grace();
    grace.saturating_sub(reserve.min(grace / part))
}

/// Serves the admin port: few clients, small answers, no TLS.
async fn serve_admin(listener: TcpListener, readiness: Readiness, metrics: Arc<Metrics>, stop: CancellationToken) {
    let limits = Limits {
        connections_max: 256,
        head_bytes_max: 16 * 1024,
        headers_max: 100,
        streams_max: 16,
        header_read_timeout: Duration::from_secs(5),
        keep_alive_timeout: Duration::from_secs(75),
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = admin::answer(request.method(), request.uri().path(), &readiness, &metrics);
        std::future::ready(Ok(answer))
    });
    let answers = Arc::new(|unanswered: Unanswered| {
        admin::unanswered(match unanswered.why {
            Why::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            Why::GraceOver => StatusCode::SERVICE_UNAVAILABLE,
        })
    });
    // It is asked to the last, mostly whether it is ready.
    let end = End { drain: CancellationToken::new(), stop, grace: ADMIN_GRACE };
    server::serve(listener, None, limits, service, answers, Arc::new(|_| {}), end).await;
}

/// Tidies histograms.
async fn upkeep(metrics: Arc<Metrics>) {
    let mut ticks = upkeep_ticks();
    loop {
        ticks.tick().await;
        metrics.upkeep();
    }
}

fn upkeep_ticks() -> tokio::time::Interval {
    let mut ticks = interval(UPKEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

fn joined(problems: Vec<keys::SourceProblem>) -> String {
    let lines: Vec<String> = problems.into_iter().map(|problem| error_chain::joined(&problem)).collect();
    lines.join("\n")
}
