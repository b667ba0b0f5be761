//! Puts the daemon together: makes the parts, binds nothing itself, runs them, and ends them in order.
//! The only place that starts long-lived tasks; the first of them to end ends the process.

pub mod keys;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::Request;
use hyper::body::Incoming;
use ipnet::IpNet;
use rdkafka::ClientConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::config::{ClientSide, Config, DedupMode};
use crate::finding::{Finding, Severity};
use crate::ingress::answer::OUTCOMES;
use crate::ingress::budget::Budget;
use crate::ingress::sending::Sending;
use crate::ingress::source::Sources;
use crate::ingress::window::Window;
use crate::ingress::{Bounds, Ingress};
use crate::kafka::inspect::topic_findings;
use crate::kafka::publisher::{Publisher, Settings};
use crate::kafka::topics::Topic;
use crate::kafka::{client, topics};
use crate::metrics::{self, Metrics, UNKNOWN_SOURCE};
use crate::server::{self, ConnectionEvent, Limits, Peer, forwarded};
use keys::Watch;

/// How long before the ack timeout librdkafka gives a record up, so that its fate is mostly known when the answer is due.
const GIVE_UP_BEFORE_ANSWER: Duration = Duration::from_secs(1);
/// How often histograms are tidied and gauges of the dedup window are set.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How often Kafka is asked for its topics until all are there, and how long one look may take.
const TOPICS_EVERY: Duration = Duration::from_secs(2);
/// How long the one look at the topics' settings may take.
const LOOK_WITHIN: Duration = Duration::from_secs(15);
/// How long admin requests may take to finish.
const ADMIN_GRACE: Duration = Duration::from_secs(1);
/// What the grace period leaves at its end for the last delivery reports, and for ending the producer.
const FLUSH_RESERVE: Duration = Duration::from_secs(2);
/// What it leaves of these for ending the producer: half a second where records are left.
const PRODUCER_END_RESERVE: Duration = Duration::from_secs(1);

/// The sockets that the daemon serves; bound by the caller, so that tests can use port 0.
pub struct Listeners {
    /// For webhooks.
    pub ingress: TcpListener,
    /// For `/livez`, `/readyz` and `/metrics`.
    pub admin: TcpListener,
}

impl Listeners {
    /// Binds both addresses of a configuration.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = async |key: &str, address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("{key}: {address} cannot be bound"))
        };
        Ok(Self {
            ingress: bind("ingress.listen", config.ingress.listen).await?,
            admin: bind("admin.listen", config.admin.listen).await?,
        })
    }
}

/// Runs the daemon until `stop` is cancelled, then ends it in order.
///
/// # Errors
/// A part cannot be made, or one ended by itself.
pub async fn serve(config: Config, listeners: Listeners, stop: CancellationToken) -> anyhow::Result<()> {
    if !config.ingress.enabled {
        bail!("ingress.enabled is false and there is no other part in this version: nothing to run");
    }
    let metrics = Metrics::new().context("metrics")?;
    let loaded = keys::load(&config).map_err(|problems| anyhow!(joined(problems)))?;
    let certificate = keys::certificate(config.ingress.tls.as_ref())?;
    let publisher = Arc::new(publisher(&config, &metrics)?);
    let sources = Sources::new(&config, loaded.sources, &metrics);
    let watch = Watch::new(&config, &sources, loaded.files, Arc::clone(&metrics));
    let tls = certificate.as_ref().map(|certificate| certificate.acceptor.clone());
    let ingress = Arc::new(ingress(&config, sources, Arc::clone(&publisher), Arc::clone(&metrics)));
    let readiness = Readiness::default();
    let ends = Ends { webhooks: CancellationToken::new(), admin: CancellationToken::new() };

    // Whatever ends first, wanted or not, ends the process.
    let mut tasks = JoinSet::new();
    let webhooks = Webhooks::new(&config, Arc::clone(&ingress));
    tasks.spawn(named("webhook server", webhooks.serve(listeners.ingress, tls, ends.webhooks.clone())));
    let admin = serve_admin(listeners.admin, readiness.clone(), Arc::clone(&metrics), ends.admin.clone());
    tasks.spawn(named("admin server", admin));
    tasks.spawn(named("key watch", watch.with_certificate(certificate).run()));
    tasks.spawn(named("metrics upkeep", upkeep(Arc::clone(&ingress))));
    tasks.spawn(named("Kafka producer", keep_producer(Arc::clone(&publisher))));
    let look = client::base(&config.kafka, ClientSide::Common)?;
    tasks.spawn(named("readiness", become_ready(topics::needed(&config), publisher, look, readiness.clone(), metrics)));

    tracing::info!(instance = config.bridge_instance, sources = config.sources.len(), "paybridge runs");
    tokio::select! {
        ended = tasks.join_next() => {
            let part = ended.and_then(Result::ok).unwrap_or("a part that panicked");
            bail!("{part} ended by itself: the daemon stops")
        }
        () = stop.cancelled() => {}
    }
    drain(&config, &ingress, &readiness, &ends, &mut tasks).await;
    Ok(())
}

/// What ends each server.
struct Ends {
    webhooks: CancellationToken,
    admin: CancellationToken,
}

/// Not ready; serve on while endpoints are withdrawn; take no more; finish what is in flight; then the admin port last.
async fn drain(
    config: &Config,
    ingress: &Ingress,
    readiness: &Readiness,
    ends: &Ends,
    tasks: &mut JoinSet<&'static str>,
) {
    readiness.draining.cancel();
    tracing::info!(delay_ms = config.shutdown.drain_delay_ms, "stopping: not ready any more, serving on for a while");
    sleep(config.shutdown.drain_delay()).await;
    let deadline = Instant::now() + grace_without(config, PRODUCER_END_RESERVE, 8);
    ingress.stopping.cancel();
    ends.webhooks.cancel();
    // Only the webhook server was asked to end; whatever else ends now has failed, and there is no waiting for it.
    let _ended = timeout_at(deadline, tasks.join_next()).await;
    if ingress.sending.publisher.drain(deadline).await {
        tracing::info!("every record is acknowledged or given up");
    } else {
        tracing::warn!(
            "records were still in flight at the end of the grace period; their webhooks were not answered 200"
        );
    }
    ends.admin.cancel();
    tasks.shutdown().await;
}

fn publisher(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<Publisher> {
    let in_flight_bytes_max = usize::try_from(config.ingress.in_flight_bytes_max)?;
    let settings = Settings {
        client: client::base(&config.kafka, ClientSide::Ingress)?,
        record_bytes_max: config.ingress.record_bytes_max(),
        // The budget stops webhooks first; the queue's own bound is the second line.
        queue_bytes_max: in_flight_bytes_max.saturating_mul(2),
        message_timeout: config.ingress.ack_timeout().saturating_sub(GIVE_UP_BEFORE_ANSWER),
    };
    let names: Vec<String> = topics::needed(config).into_iter().map(|topic| topic.name).collect();
    Publisher::start(settings, &names, Arc::clone(metrics))
        .context("the Kafka producer cannot be made: see [kafka.properties]")
}

fn ingress(config: &Config, sources: Sources, publisher: Arc<Publisher>, metrics: Arc<Metrics>) -> Ingress {
    let window = || Window::new(config.dedup.window(), config.dedup.entries_max, std::time::Instant::now());
    Ingress {
        sources,
        sending: Sending {
            publisher,
            window: match config.dedup.mode {
                DedupMode::Local => Some(Arc::new(window())),
                DedupMode::Off => None,
            },
            budget: Budget::new(config.ingress.in_flight_bytes_max, metrics.in_flight_bytes.clone()),
            duration: metrics.publish.clone(),
        },
        bounds: Bounds {
            body_bytes_max: config.ingress.body_bytes_max,
            body_read_timeout: config.ingress.body_read_timeout(),
            ack_timeout: config.ingress.ack_timeout(),
        },
        unknown: metrics.source(UNKNOWN_SOURCE, &OUTCOMES),
        metrics,
        stopping: CancellationToken::new(),
    }
}

/// The grace period without what is kept for its end: at most that part of it, so that a short one is a grace still.
fn grace_without(config: &Config, reserve: Duration, part: u32) -> Duration {
    let grace = config.shutdown.grace();
    grace.saturating_sub(reserve.min(grace / part))
}

/// Serves webhooks.
struct Webhooks {
    ingress: Arc<Ingress>,
    limits: Limits,
    trusted_proxies: Arc<[IpNet]>,
    grace: Duration,
}

impl Webhooks {
    fn new(config: &Config, ingress: Arc<Ingress>) -> Self {
        let limits = Limits {
            connections_max: config.ingress.connections_max,
            head_bytes_max: 16 * 1024, // signatures and proxies' headers take a tenth of it
            headers_max: 100,
            streams_max: 128,
            header_read_timeout: config.ingress.header_read_timeout(),
            keep_alive_timeout: config.ingress.keep_alive_timeout(),
        };
        let grace = grace_without(config, FLUSH_RESERVE, 2);
        Self { ingress, limits, trusted_proxies: config.ingress.trusted_proxies.clone().into(), grace }
    }

    async fn serve(self, listener: TcpListener, tls: Option<server::tls::Acceptor>, stop: CancellationToken) {
        let Self { ingress, limits, trusted_proxies, grace } = self;
        let connections = ingress.metrics.connections.clone();
        let counters = Arc::new(ingress.metrics.connection_events(&CONNECTION_EVENTS));
        let events = move |event| match event {
            ConnectionEvent::Closed => connections.decrement(1.0),
            other => {
                if other == ConnectionEvent::Accepted {
                    connections.increment(1.0);
                }
                metrics::count(&counters, event_label(other));
            }
        };
        let handler = move |request: Request<Incoming>, peer: Peer| {
            let (ingress, trusted) = (Arc::clone(&ingress), Arc::clone(&trusted_proxies));
            async move {
                let client = forwarded::client_address(peer.address.ip(), request.headers(), &trusted);
                ingress.take(request, client).await.response()
            }
        };
        server::serve(listener, tls, limits, handler, events, stop, grace).await;
    }
}

/// Every `event` of a connection that is counted.
const CONNECTION_EVENTS: [&str; 8] = [
    "accepted",
    "refused",
    "accept_failed",
    "tls_failed",
    "head_timed_out",
    "idle_timed_out",
    "malformed",
    "handler_panicked",
];

fn event_label(event: ConnectionEvent) -> &'static str {
    match event {
        ConnectionEvent::Accepted => "accepted",
        ConnectionEvent::Refused => "refused",
        ConnectionEvent::AcceptFailed => "accept_failed",
        ConnectionEvent::TlsFailed => "tls_failed",
        ConnectionEvent::HeadTimedOut => "head_timed_out",
        ConnectionEvent::IdleTimedOut => "idle_timed_out",
        ConnectionEvent::Malformed => "malformed",
        ConnectionEvent::HandlerPanicked => "handler_panicked",
        ConnectionEvent::Closed => "closed",
    }
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
    let handler = move |request: Request<Incoming>, _: Peer| {
        let answer = admin::answer(request.method(), request.uri().path(), &readiness, &metrics);
        std::future::ready(answer)
    };
    server::serve(listener, None, limits, handler, |_| {}, stop, ADMIN_GRACE).await;
}

/// Tidies histograms, and shows what the dedup window covers.
async fn upkeep(ingress: Arc<Ingress>) {
    let mut ticks = interval(UPKEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        ingress.metrics.upkeep();
        ingress.show_window();
    }
}

async fn keep_producer(publisher: Arc<Publisher>) {
    if let Err(error) = publisher.keep_alive().await {
        tracing::error!(%error, "the producer cannot be rebuilt");
    }
}

/// Sets the latches of readiness, tells which topics are missing until none is, tells once what `check` would say of
/// them, and then only waits. Missing topics do not keep the daemon from being ready: their webhooks are answered 503,
/// and all others would be lost to their providers if it were not.
async fn become_ready(
    needed: Vec<Topic>,
    publisher: Arc<Publisher>,
    look: ClientConfig,
    readiness: Readiness,
    metrics: Arc<Metrics>,
) {
    let topics = find_topics(&needed, &publisher, &readiness, &metrics);
    let producer_id = async {
        publisher.has_producer_id().await;
        readiness.producer_id.cancel();
        tracing::info!("the producer has its id");
    };
    tokio::join!(topics, producer_id);
    for Finding { severity, code, subject, message, action } in topic_findings(&look, &needed, LOOK_WITHIN).await {
        match severity {
            Severity::Error => tracing::error!(code = code.as_str(), subject, action, "{message}"),
            Severity::Warning => tracing::warn!(code = code.as_str(), subject, action, "{message}"),
            Severity::Info => tracing::debug!(code = code.as_str(), subject, action, "{message}"),
        }
    }
    std::future::pending::<()>().await;
}

/// Asks Kafka for its topics until none is missing; its first answer is the latch.
async fn find_topics(needed: &[Topic], publisher: &Arc<Publisher>, readiness: &Readiness, metrics: &Metrics) {
    let names: Vec<String> = needed.iter().map(|topic| topic.name.clone()).collect();
    let mut told = String::new();
    loop {
        let (asking, names) = (Arc::clone(publisher), names.clone());
        let asked = tokio::task::spawn_blocking(move || asking.missing_topics(&names, TOPICS_EVERY)).await;
        let finding = match asked {
            Ok(Ok(missing)) => {
                readiness.metadata.cancel();
                metrics.topics_missing.set(f64::from(u32::try_from(missing.len()).unwrap_or(u32::MAX)));
                if missing.is_empty() {
                    return tracing::info!("every topic is there");
                }
                format!("topics are missing, make them with `paybridge topics --create`: {}", missing.join(", "))
            }
            Ok(Err(error)) => format!("Kafka does not tell its topics: {error}"),
            Err(error) => format!("the look for topics failed: {error}"),
        };
        if finding != told {
            tracing::error!("{finding}");
            told = finding;
        }
        sleep(TOPICS_EVERY).await;
    }
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

fn joined(problems: Vec<keys::SourceProblem>) -> String {
    let lines: Vec<String> = problems.into_iter().map(|problem| format!("{:#}", anyhow::Error::new(problem))).collect();
    lines.join("\n")
}
