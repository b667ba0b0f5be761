//! The ingress as a part of the daemon: its sources, its producer and its server, and how they end.
//! Must not know the other parts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{FLUSH_RESERVE, WEBHOOK_SERVER, grace_without, named, spool, thread, upkeep_ticks};
use crate::admin::Readiness;
use crate::config::{ClientSide, Config, DedupMode};
use crate::ingress::answer::{Answer, OUTCOMES, WordedAnswer};
use crate::ingress::forwarded;
use crate::ingress::sending::{KnownEvents, Sending, Untold};
use crate::ingress::shared_dedup::SharedDedup;
use crate::ingress::source::Sources;
use crate::ingress::window::Window;
use crate::ingress::{Bounds, Client, Ingress};
use crate::kafka::broker_clock::Broker;
use crate::kafka::follower::FollowSettings;
use crate::kafka::publisher::{Otherwise, Publisher, PublisherSettings};
use crate::kafka::{client, topics};
use crate::metrics::{self, Metrics, UNKNOWN_SOURCE};
use crate::server::{self, ConnectionEvent, End, Events, Limits, Peer, Unanswered, Why};

/// How long before the ack timeout librdkafka gives a record up, so that its fate is mostly known when the answer is due.
const GIVE_UP_BEFORE_ANSWER: Duration = Duration::from_secs(1);
/// The producer's queue has room for so many bytes at least: for all that a spool publishes together, and what waits beside it.
const QUEUE_BYTES_MIN: usize = 16 * 1024 * 1024;

/// The part that takes webhooks.
pub struct Webhooks {
    ingress: Arc<Ingress>,
    limits: Limits,
    trusted_proxies: Arc<[IpNet]>,
    grace: Duration,
}

impl Webhooks {
    /// Makes its parts; nothing runs yet but the producer, which connects. Once `stop` is cancelled, requests are answered
    /// 503 and no more connections are taken.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn new(
        config: &Config,
        sources: Arc<Sources>,
        metrics: Arc<Metrics>,
        broker: Broker,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let limits = Limits {
            connections_max: config.ingress.connections_max,
            head_bytes_max: 16 * 1024, // signatures and proxies' headers take a tenth of it
            headers_max: 100,
            streams_max: 16, // a client that reads no answer leaves so many in memory
            header_read_timeout: config.ingress.header_read_timeout(),
            keep_alive_timeout: config.ingress.keep_alive_timeout(),
        };
        let publisher = Arc::new(publisher(config, &metrics, broker)?);
        let shown = sources.budget.clone();
        metrics.show_in_flight_bytes(move || shown.taken());
        let dedup = dedup(config, &metrics)?;
        let spool = spool::open(config, &publisher, dedup.as_ref(), sources.budget.clone(), &metrics)?;
        let sending = Sending { publisher, spool, dedup, duration: metrics.publish.clone() };
        let ingress = Arc::new(ingress(config, sources, sending, metrics, stop));
        let trusted_proxies = config.ingress.trusted_proxies.clone().into();
        Ok(Self { ingress, limits, trusted_proxies, grace: grace_without(config, FLUSH_RESERVE, 2) })
    }

    /// Starts its tasks.
    pub fn start(
        &self,
        tasks: &mut JoinSet<&'static str>,
        listener: TcpListener,
        tls: Option<server::tls::Acceptor>,
        readiness: &Readiness,
    ) {
        tasks.spawn(named(WEBHOOK_SERVER, self.serve(listener, tls, readiness.draining.clone())));
        tasks.spawn(named("ingress upkeep", keep_up(Arc::clone(&self.ingress))));
        tasks.spawn(named("Kafka producer", keep_producer(self.publisher())));
        tasks.spawn(named("producer id", await_producer_id(self.publisher(), readiness.clone())));
        if let Some(spool) = &self.ingress.sending.spool {
            spool::start(spool, tasks, &self.ingress.stopping);
        }
        if let Some(shared) = self.shared_dedup() {
            let stop = self.ingress.stopping.clone();
            tasks.spawn(named("dedup follower", follow(Arc::clone(&shared), stop)));
            tasks.spawn(named("dedup view", async move { shared.keep_view().await }));
        }
    }

    /// What tells other replicas of its events, where the configuration says so.
    pub fn shared_dedup(&self) -> Option<Arc<SharedDedup>> {
        self.ingress.sending.dedup.as_ref()?.shared.clone()
    }

    /// What puts its records on Kafka.
    pub fn publisher(&self) -> Arc<Publisher> {
        Arc::clone(&self.ingress.sending.publisher)
    }

    /// Waits for the last delivery reports, until the deadline.
    pub async fn flush(&self, deadline: Instant) {
        let spool = self.ingress.sending.spool.as_ref();
        if let Some(spool) = spool {
            spool.close();
        }
        // What is on disk is safe, and what is sent from there is not waited for.
        let is_safe = spool.is_some_and(|spool| spool.is_spooling());
        if is_safe {
            tracing::info!("records that Kafka does not take are on disk; they are published after the next start");
        } else if self.ingress.sending.publisher.drain(deadline).await {
            tracing::info!("all records are acknowledged or have failed");
        } else {
            tracing::warn!(
                "records were still in flight at the end of the grace period; their webhooks were not answered 200"
            );
        }
        if let Some(shared) = self.shared_dedup() {
            // Entries that are lost make missed duplicates, so nothing is said of it.
            let _flushed = tokio::task::spawn_blocking(move || shared.flush()).await;
        }
    }

    fn serve(
        &self,
        listener: TcpListener,
        tls: Option<server::tls::Acceptor>,
        drain: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (ingress, trusted_proxies) = (Arc::clone(&self.ingress), Arc::clone(&self.trusted_proxies));
        let end = End { drain, stop: self.ingress.stopping.clone(), grace: self.grace };
        let events = connection_events(&ingress.metrics);
        let table = Arc::clone(&ingress);
        let answers = Arc::new(move |unanswered: Unanswered| {
            let Unanswered { why, uri, after } = unanswered;
            table.answered_without_it(uri.path(), answer_instead(why), after).response()
        });
        let service = service_fn(move |request| {
            let (ingress, trusted) = (Arc::clone(&ingress), Arc::clone(&trusted_proxies));
            async move { Ok(answer(&ingress, &trusted, request).await.response()) }
        });
        server::serve(listener, tls, self.limits.clone(), service, answers, events, end)
    }
}

async fn answer(ingress: &Ingress, trusted: &[IpNet], mut request: Request<Incoming>) -> WordedAnswer {
    // The server gives each request its peer.
    let Some(peer) = request.extensions_mut().remove::<Peer>() else {
        return ingress.answered_without_it(request.uri().path(), Answer::InternalError, Duration::ZERO).into();
    };
    let address = forwarded::client_address(peer.address.ip(), request.headers(), trusted);
    ingress.take(request, Client { address, certificate: peer.client_certificate }).await
}

/// The row of the table for a request that was not answered.
fn answer_instead(why: Why) -> Answer {
    match why {
        Why::Panicked => Answer::InternalError,
        Why::GraceOver => Answer::ShuttingDown,
    }
}

async fn keep_producer(publisher: Arc<Publisher>) {
    if let Err(error) = publisher.keep_alive().await {
        tracing::error!(%error, "the producer cannot be rebuilt");
    }
}

/// Sets its latch, and then only waits.
async fn await_producer_id(publisher: Arc<Publisher>, readiness: Readiness) {
    publisher.has_producer_id().await;
    readiness.producer_id.open();
    tracing::info!("the producer is ready: it has its producer id");
    std::future::pending::<()>().await;
}

/// Reads until the process takes no more webhooks, or this is dropped.
async fn follow(shared: Arc<SharedDedup>, stop: CancellationToken) {
    let ended = stop.child_token();
    let _ends_with_this = ended.clone().drop_guard();
    thread::run("dedup follower", stop, move || shared.follow(&ended)).await;
}

async fn keep_up(ingress: Arc<Ingress>) {
    let mut ticks = upkeep_ticks();
    loop {
        ticks.tick().await;
        ingress.keep_up();
    }
}

fn publisher(config: &Config, metrics: &Arc<Metrics>, broker: Broker) -> anyhow::Result<Publisher> {
    let in_flight_bytes_max = usize::try_from(config.ingress.in_flight_bytes_max)?;
    let settings = PublisherSettings {
        client: client::base(&config.kafka, ClientSide::Ingress)?,
        record_bytes_max: config.ingress.record_bytes_max(),
        // The budget stops webhooks first; the queue's own bound is the second line.
        queue_bytes_max: in_flight_bytes_max.saturating_mul(2).max(QUEUE_BYTES_MIN),
        message_timeout: config.ingress.ack_timeout().saturating_sub(GIVE_UP_BEFORE_ANSWER),
        broker,
        otherwise: if config.spool.enabled { Otherwise::Spooled } else { Otherwise::Refused },
    };
    let names: Vec<String> = topics::needed(config).into_iter().map(|topic| topic.name).collect();
    Publisher::start(settings, &names, Arc::clone(metrics))
        .context("the Kafka producer cannot be made: see [kafka.properties]")
}

/// What knows events that come again.
fn dedup(config: &Config, metrics: &Metrics) -> anyhow::Result<Option<KnownEvents>> {
    let window = config.dedup.window();
    let entries_max = config.dedup.entries_max;
    let shared_metrics = metrics.shared_dedup();
    let untold = if config.spool.enabled { Untold::SpooledStates } else { Untold::Nothing };
    let new_window = || Arc::new(Window::new(window, entries_max, std::time::Instant::now()));
    Ok(match config.dedup.mode {
        DedupMode::Off => None,
        DedupMode::Local => Some(KnownEvents { window: new_window(), shared: None, untold }),
        DedupMode::Shared => {
            let settings = FollowSettings {
                client: client::base(&config.kafka, ClientSide::Ingress)?,
                topic: topics::dedup_topic(config.kafka.topic_prefix.as_ref()),
                span: window,
                records_max: entries_max,
            };
            let window = new_window();
            let shared = SharedDedup::new(settings, Arc::clone(&window), shared_metrics)
                .context("the producer of dedup entries cannot be made: see [kafka.properties]")?;
            Some(KnownEvents { window, shared: Some(Arc::new(shared)), untold })
        }
    })
}

fn ingress(
    config: &Config,
    sources: Arc<Sources>,
    sending: Sending,
    metrics: Arc<Metrics>,
    stopping: CancellationToken,
) -> Ingress {
    Ingress {
        sources,
        sending,
        bounds: Bounds {
            body_bytes_max: config.ingress.body_bytes_max,
            body_read_timeout: config.ingress.body_read_timeout(),
            ack_timeout: config.ingress.ack_timeout(),
        },
        unknown: metrics.source(UNKNOWN_SOURCE, &OUTCOMES),
        metrics,
        stopping,
    }
}

/// Counts what happens to connections, and shows how many are open.
fn connection_events(metrics: &Metrics) -> Events {
    let (connections, counters) = (metrics.connections.clone(), metrics.connection_events(&CONNECTION_EVENTS));
    Arc::new(move |event| match event {
        ConnectionEvent::Closed => connections.decrement(1.0),
        other => {
            if other == ConnectionEvent::Accepted {
                connections.increment(1.0);
            }
            metrics::count(&counters, event_label(other));
        }
    })
}

/// Every `event` of a connection that is counted.
const CONNECTION_EVENTS: [&str; 9] = [
    "accepted",
    "refused",
    "made_room",
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
        ConnectionEvent::MadeRoom => "made_room",
        ConnectionEvent::AcceptFailed => "accept_failed",
        ConnectionEvent::TlsFailed => "tls_failed",
        ConnectionEvent::HeadTimedOut => "head_timed_out",
        ConnectionEvent::IdleTimedOut => "idle_timed_out",
        ConnectionEvent::Malformed => "malformed",
        ConnectionEvent::HandlerPanicked => "handler_panicked",
        ConnectionEvent::Closed => "closed",
    }
}
