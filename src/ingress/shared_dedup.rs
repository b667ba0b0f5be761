//! Dedup across replicas and restarts: each replica tells the others which events Kafka has acknowledged, and learns it from them.
//! Must not know webhooks, nor what becomes of a duplicate. Without the shared topic webhooks go on, and duplicates are missed. For
//! it wait only webhooks in the first seconds of the process, and states that may come back.

pub mod entry;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::config::ClientConfig;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use super::window::{EntryPlace, EntryStep, Origin, SharedEntry, StateKey, Ticket, TicketState, View, Window};
use crate::kafka::client_error::ClientError;
use crate::kafka::entry_producer::EntryProducer;
use crate::kafka::follower::{FollowEvent, FollowSettings, Follower, Lag};
use crate::kafka::publisher::Delivery;
use crate::log_limit::LogLimit;
use crate::metrics::SharedDedupMetrics;
use entry::ClusterMark;

/// The announcement of a state may take half of the time that is left, or so long where that is more. Where nobody reads the topic, it
/// may take no longer than this.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(1);
/// A replica that has just started is ready before it has heard of the others. In so many first seconds its webhooks wait for that.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// What they leave of their time to publish.
const LEFT_TO_PUBLISH: Duration = Duration::from_secs(1);
/// How long the last entries may take at the end of the process.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// What this replica tells the others, and hears of them.
pub struct SharedDedup {
    window: Arc<Window>,
    producer: EntryProducer,
    follower: Follower,
    /// The cluster whose entries count; none before a client is connected to it.
    cluster: Mutex<Option<ClusterMark>>,
    catch_up: Mutex<CatchUp>,
    /// How far it has come with what others told.
    hearing: watch::Sender<Hearing>,
    /// When [`SharedDedup::has_heard`] does not wait any more.
    heard_by: tokio::time::Instant,
    /// Why states were not announced.
    unannounced: LogLimit<&'static str>,
    metrics: SharedDedupMetrics,
}

/// How far this replica is with what others told before its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hearing {
    NotYet,
    /// The cluster is known: entries can be told.
    ClusterKnown,
    /// All is heard, or cannot be.
    Over,
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
            hearing: watch::Sender::new(Hearing::NotYet),
            heard_by: tokio::time::Instant::now() + HEARD_WITHIN,
            unannounced: LogLimit::default(),
            metrics,
        })
    }

    /// An event is about to be published. Of a state the other replicas hear first, so that none takes the state before it for the
    /// last one; whether it may go on. It may not where Kafka does not take what they should hear: that is as if it did not take
    /// the event. Where the topic is not there or may not be read, no replica takes a state for a duplicate, and it goes on; where this
    /// replica alone cannot read it, others may.
    pub async fn announce(&self, ticket: Ticket, deadline: tokio::time::Instant) -> bool {
        let Some(state) = ticket.state else { return true };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let half = left / 2;
        let within = if self.follower.nobody_reads() {
            half.min(ANNOUNCED_WITHIN)
        } else {
            half.max(left.min(ANNOUNCED_WITHIN))
        };
        let until = tokio::time::Instant::now() + within;
        // Before the cluster is known, nothing can be told.
        self.await_hearing(Hearing::ClusterKnown, until).await;
        let (report, reported) = oneshot::channel();
        let entry = SharedEntry { ticket, step: EntryStep::Intended };
        self.tell(entry, state.state_key.as_bytes(), move |place| {
            // Whoever waited may have gone.
            let _gone = report.send(place);
        });
        let why = match timeout_at(until, reported).await {
            Ok(Ok(Some(place))) => {
                self.window.follow(&entry, Origin::Local, place, Duration::ZERO, Instant::now());
                return true;
            }
            Ok(Ok(None) | Err(_)) => "Kafka does not take it, or no broker is connected",
            Err(_) => "Kafka did not answer in time",
        };
        let goes_on = self.follower.nobody_reads();
        if goes_on {
            self.make_unknown(state.state_key);
        } else {
            self.log_unannounced(why);
        }
        goes_on
    }

    /// A state goes on unannounced. Entries wait for a topic that is missing, and replicas write theirs in any order once it is there. So
    /// behind its announcement, which may be written after all, stands that nobody knows the thing's last state: the next one is new.
    fn make_unknown(&self, state_key: StateKey) {
        let nothing = super::random_id();
        let ticket = Ticket { id: nothing, state: Some(TicketState { state_key, content: nothing }) };
        self.tell(SharedEntry { ticket, step: EntryStep::Intended }, state_key.as_bytes(), |_| {});
    }

    fn log_unannounced(&self, why: &'static str) {
        self.unannounced.add(why);
        if let Some((count, why)) = self.unannounced.due(Instant::now()) {
            tracing::warn!(
                topic = self.producer.topic(),
                why,
                count,
                "entry of a state was not written to the dedup topic; the state's webhook is answered 503"
            );
        }
    }

    /// Kafka has an event: the window knows it, and the other replicas are told, without waiting for it.
    pub fn published(&self, ticket: Ticket) {
        self.window.settle(ticket, Delivery::Acknowledged, Instant::now());
        let key = ticket.state.map(|state| *state.state_key.as_bytes());
        let key = key.as_ref().map_or(&[][..], |key| key.as_slice());
        self.tell(SharedEntry { ticket, step: EntryStep::Published }, key, |_| {});
    }

    /// Waits, in the first seconds of the process alone, until the window has the events of the others, or the deadline is near.
    pub async fn has_heard(&self, deadline: tokio::time::Instant) {
        let until = self.heard_by.min(deadline.checked_sub(LEFT_TO_PUBLISH).unwrap_or(deadline));
        self.await_hearing(Hearing::Over, until).await;
    }

    /// Waits until it has come so far, at most until this moment.
    async fn await_hearing(&self, far: Hearing, until: tokio::time::Instant) {
        if *self.hearing.borrow() >= far || tokio::time::Instant::now() >= until {
            return;
        }
        let mut hearing = self.hearing.subscribe();
        // Whether it has or not: the webhook goes on.
        let _in_time = timeout_at(until, hearing.wait_for(|reached| *reached >= far)).await.is_ok();
    }

    /// Whether the window has all events that other replicas took in before this was called.
    pub async fn view(&self) -> View {
        if self.follower.has_read_all().await { View::Complete } else { View::unknown() }
    }

    /// Hears of events until `stop`. Blocks: not for a tokio worker.
    pub fn follow(&self, stop: &CancellationToken) {
        self.follower.follow(&|followed| self.heard(&followed), stop);
    }

    /// Answers whoever asks for a view, shows how far the follower is, and learns the cluster before that; keeps the producer alive.
    /// Never ends by itself.
    pub async fn keep_view(&self) {
        let show = |lag| self.show(lag);
        tokio::join!(self.follower.tell(&show), self.producer.keep_alive());
    }

    /// Goes on with clients of these properties. Blocks until the producer is connected, and while the old ones end.
    ///
    /// # Errors
    /// librdkafka refuses a property, or the producer does not connect in time.
    pub fn renew(&self, client: ClientConfig) -> Result<(), ClientError> {
        self.producer.renew(&client)?;
        self.follower.renew(client);
        Ok(())
    }

    /// Waits for the last entries. Blocks.
    pub fn flush(&self) {
        self.producer.flush(FLUSH_WITHIN);
    }

    fn tell(&self, entry: SharedEntry, key: &[u8], then: impl FnOnce(Option<EntryPlace>) + Send + Sync + 'static) {
        let Some(cluster) = *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) else {
            // No client is connected yet.
            self.metrics.failed.increment(1);
            return then(None);
        };
        let (written, failed) = (self.metrics.written.clone(), self.metrics.failed.clone());
        let report = move |place: Option<(i32, i64)>| {
            if place.is_some() {
                written.increment(1);
            } else {
                failed.increment(1);
            }
            then(place.map(|(partition, offset)| EntryPlace { partition, offset }));
        };
        self.producer.send(key, &entry::encode(entry, cluster), Box::new(report));
    }

    fn heard(&self, followed: &FollowEvent<'_>) {
        match followed {
            FollowEvent::Opened { cluster_id } => {
                let mark = ClusterMark::of(cluster_id);
                let before = self.cluster.lock().unwrap_or_else(PoisonError::into_inner).replace(mark);
                self.cluster_is_known();
                if before.is_some_and(|before| before != mark) {
                    tracing::warn!(
                        cluster_id,
                        "Kafka cluster changed; dedup window emptied, redeliveries of earlier events are published again"
                    );
                    self.window.forget();
                }
                *self.catch_up.lock().unwrap_or_else(PoisonError::into_inner) = CatchUp::CatchingUp(Instant::now());
                self.window.follow_anew();
            }
            FollowEvent::Failed => {
                self.metrics.not_read();
                // What this replica alone cannot read, it may be able to read soon.
                if self.follower.nobody_reads() {
                    self.hearing.send_replace(Hearing::Over);
                }
            }
            FollowEvent::Record { partition, offset, appended_ms, value } => {
                self.heard_of(EntryPlace { partition: *partition, offset: *offset }, *appended_ms, value);
            }
        }
    }

    /// Entries can be told before the topic is open, which takes longer than to connect.
    fn look_for_cluster(&self) {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if cluster.is_some() {
            return;
        }
        let Some(cluster_id) = self.producer.cluster_id() else { return };
        *cluster = Some(ClusterMark::of(&cluster_id));
        self.cluster_is_known();
    }

    fn cluster_is_known(&self) {
        self.hearing.send_if_modified(|hearing| {
            let is_news = *hearing == Hearing::NotYet;
            *hearing = Hearing::ClusterKnown.max(*hearing);
            is_news
        });
    }

    fn heard_of(&self, place: EntryPlace, appended_ms: Option<i64>, value: &[u8]) {
        match entry::decode(value) {
            Ok((entry, cluster)) if Some(cluster) == *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) => {
                let age_ms = appended_ms.map_or(0, |at| Timestamp::now().as_millisecond().saturating_sub(at));
                // A clock that is behind makes no entry younger than now.
                let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or_default());
                self.window.follow(&entry, Origin::Shared, place, age, Instant::now());
            }
            Ok(_) => self.metrics.of_another_cluster.increment(1),
            Err(error) => {
                self.metrics.unreadable.increment(1);
                tracing::debug!(?place, %error, "entry of the dedup topic cannot be read");
            }
        }
    }

    fn show(&self, lag: Lag) {
        let Lag::Records(records) = lag else {
            self.look_for_cluster();
            return self.metrics.not_read();
        };
        self.metrics.lag(records);
        if records > 0 {
            return;
        }
        self.hearing.send_replace(Hearing::Over);
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
