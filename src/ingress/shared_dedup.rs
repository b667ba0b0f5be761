//! Dedup across replicas and restarts: each replica tells the others which events Kafka has acknowledged, and learns it from them.
//! Must not know webhooks, nor what becomes of a duplicate. Nothing waits for the shared topic but a state that may come back:
//! without it webhooks go on, and duplicates are missed.

pub mod entry;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::config::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::window::{Origin, Ticket, View, Window};
use crate::kafka::client_error::ClientError;
use crate::kafka::entry_producer::EntryProducer;
use crate::kafka::follower::{FollowEvent, FollowSettings, Follower, Lag};
use crate::kafka::publisher::Delivery;
use crate::metrics::SharedDedupMetrics;
use entry::ClusterMark;

/// The answer to a state waits that long for its entry, so that a replica that hears of the next state first knows of this one.
const ENTRY_WITHIN: Duration = Duration::from_millis(200);
/// A replica that has just started is ready before it has heard of the others, and lets its first webhooks wait for that; not longer.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// How long the last entries may take at the end of the process.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// What this replica tells the others, and hears of them.
pub struct SharedDedup {
    window: Arc<Window>,
    producer: EntryProducer,
    follower: Follower,
    /// The cluster that is followed; none before it is known.
    cluster: Mutex<Option<ClusterMark>>,
    catch_up: Mutex<CatchUp>,
    /// Whether all is heard that was told before the start, or cannot be.
    has_heard: watch::Sender<bool>,
    metrics: SharedDedupMetrics,
}

/// What was logged of the follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatchUp {
    /// It reads what was before, since this moment.
    CatchingUp(Instant),
    /// It has read all once since it was opened.
    CaughtUp,
}

impl SharedDedup {
    /// Tells and hears by this topic; nothing is heard before [`SharedDedup::follow`] runs.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn new(
        settings: FollowSettings,
        window: Arc<Window>,
        metrics: SharedDedupMetrics,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            window,
            producer: EntryProducer::new(&settings.client, settings.topic.clone())?,
            follower: Follower::new(settings),
            cluster: Mutex::new(None),
            catch_up: Mutex::new(CatchUp::CatchingUp(Instant::now())),
            has_heard: watch::Sender::new(false),
            metrics,
        })
    }

    /// Kafka has an event: the window knows it, and the other replicas are told. One that tells a state is known only once its
    /// entry is written, or should be: whoever is answered may send the next state to another replica at once.
    pub fn published(self: &Arc<Self>, ticket: Ticket, runtime: &Handle) {
        let Some(state) = ticket.state else {
            self.window.settle(ticket, Delivery::Acknowledged, Instant::now());
            return self.tell(ticket, &[], |_| {});
        };
        let own = Arc::clone(self);
        self.tell(ticket, state.state_key.as_bytes(), move |order| {
            let now = Instant::now();
            if let Some(order) = order {
                own.window.follow(ticket, Origin::Local, order, Duration::ZERO, now);
            }
            own.window.settle(ticket, Delivery::Acknowledged, now);
        });
        let own = Arc::clone(self);
        runtime.spawn(async move {
            sleep(ENTRY_WITHIN).await;
            // Where its entry was in time this tells nothing new.
            own.window.settle(ticket, Delivery::Acknowledged, Instant::now());
        });
    }

    /// Waits, at the start of the process alone and for a moment, until the window has the events of the others.
    pub async fn has_heard(&self) {
        if *self.has_heard.borrow() {
            return;
        }
        let mut has_heard = self.has_heard.subscribe();
        // Whether it has or not: the webhook goes on.
        let _in_time = timeout(HEARD_WITHIN, has_heard.wait_for(|has| *has)).await.is_ok();
    }

    /// Whether the window has all events that other replicas took in before this was called.
    pub async fn view(&self) -> View {
        if self.follower.has_read_all().await { View::Complete } else { View::Incomplete { salt: super::random_id() } }
    }

    /// Hears of events until `stop`. Blocks: not for a tokio worker.
    pub fn follow(&self, stop: &CancellationToken) {
        self.follower.follow(&|followed| self.heard(&followed), stop);
    }

    /// Answers whoever asks for a view, and shows how far the follower is; never ends by itself.
    pub async fn keep_view(&self) {
        self.follower.tell(&|lag| self.show(lag)).await;
    }

    /// Goes on with clients of these properties. Blocks while the old ones end.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn renew(&self, client: ClientConfig) -> Result<(), ClientError> {
        self.producer.renew(&client)?;
        self.follower.renew(client);
        Ok(())
    }

    /// Waits for the last entries. Blocks.
    pub fn flush(&self) {
        self.producer.flush(FLUSH_WITHIN);
    }

    fn tell(&self, ticket: Ticket, key: &[u8], then: impl FnOnce(Option<i64>) + Send + Sync + 'static) {
        let Some(cluster) = *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) else {
            // Its topic cannot be read, and mostly not be written.
            self.metrics.failed.increment(1);
            return then(None);
        };
        let (written, failed) = (self.metrics.written.clone(), self.metrics.failed.clone());
        let report = move |order: Option<i64>| {
            if order.is_some() {
                written.increment(1);
            } else {
                failed.increment(1);
            }
            then(order);
        };
        self.producer.send(key, &entry::encode(ticket, cluster), Box::new(report));
    }

    fn heard(&self, followed: &FollowEvent<'_>) {
        match followed {
            FollowEvent::Opened { cluster_id } => {
                let mark = cluster_id.as_deref().map(ClusterMark::of);
                *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = mark;
                *self.catch_up.lock().unwrap_or_else(PoisonError::into_inner) = CatchUp::CatchingUp(Instant::now());
                self.window.follow_anew();
            }
            FollowEvent::Failed => drop(self.has_heard.send_replace(true)),
            FollowEvent::Record { offset, appended_ms, value } => self.heard_of(*offset, *appended_ms, value),
        }
    }

    fn heard_of(&self, offset: i64, appended_ms: Option<i64>, value: &[u8]) {
        match entry::decode(value) {
            Ok((ticket, cluster)) if Some(cluster) == *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) => {
                let age_ms = appended_ms.map_or(0, |at| Timestamp::now().as_millisecond().saturating_sub(at));
                // A clock that is behind makes no entry younger than now.
                let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or_default());
                self.window.follow(ticket, Origin::Shared, offset, age, Instant::now());
            }
            Ok(_) => self.metrics.of_another_cluster.increment(1),
            Err(error) => {
                self.metrics.unreadable.increment(1);
                tracing::debug!(offset, %error, "entry of the dedup topic cannot be read");
            }
        }
    }

    fn show(&self, lag: Lag) {
        let Lag::Records(records) = lag else { return self.metrics.not_read() };
        self.metrics.lag(records);
        if records > 0 {
            return;
        }
        self.has_heard.send_replace(true);
        let mut catch_up = self.catch_up.lock().unwrap_or_else(PoisonError::into_inner);
        if let CatchUp::CatchingUp(since) = *catch_up {
            let events = self.window.coverage(Instant::now()).entries;
            tracing::info!(
                events,
                after_ms = since.elapsed().as_millis(),
                "dedup topic read to its end; redeliveries to other replicas are known"
            );
            *catch_up = CatchUp::CaughtUp;
        }
    }
}
