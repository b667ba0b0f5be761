//! Follows a topic that replicas share: reads all of its partitions without a group, from some time ago on, for as long as the
//! process runs, and tells how far it has come.
//! Must not know what a record means. Whatever fails is tried again: nothing waits for what is read here.

mod share;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::client_error::{ClientError, ClientErrors};
use super::known_brokers::STATISTICS_INTERVAL_MS;
use super::present_records::{self, RecordPeriod};
use super::reader::{self, ReadError};
use crate::log_limit::LogLimit;
use share::starts;

/// How long Kafka may take to tell where a topic begins and ends, or the cluster's id: on a loaded machine seconds.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before a topic is opened again that could not be read.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long one look for records blocks, and so how late the end is seen.
const SLICE: Duration = Duration::from_millis(100);
/// Who asks whether all was read has gone on without an answer after this time.
const READ_WITHIN: Duration = Duration::from_millis(200);
/// How often the lag is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while something is to be read.
const LOOK_OFTEN: Duration = Duration::from_millis(50);
/// So many may ask at once; for others the answer is no.
const ASKING_MAX: usize = 1024;

/// What is followed.
pub struct FollowSettings {
    /// What every client of ours has, with the user's properties.
    pub client: ClientConfig,
    /// The topic.
    pub topic: String,
    /// From so long ago on.
    pub span: Duration,
    /// So many of the newest records, about.
    pub records_max: usize,
}

/// What a follower meets.
pub enum FollowEvent<'a> {
    /// The topic is read from its start, now or once more, on this cluster.
    Opened {
        /// The cluster's id.
        cluster_id: String,
    },
    /// The topic cannot be read at the moment.
    Failed,
    /// A record.
    Record {
        /// Its partition.
        partition: i32,
        /// Its offset there.
        offset: i64,
        /// When it was appended, in milliseconds since 1970; by the broker's clock where the topic has it so.
        appended_ms: Option<i64>,
        /// Its value.
        value: &'a [u8],
    },
}

/// How far the follower is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// So many records are to be read.
    Records(u64),
    /// The topic cannot be read.
    NotRead,
}

/// Follows one topic. Cheap to share.
pub struct Follower {
    client: Mutex<ClientConfig>,
    /// Grows where the topic is to be opened anew.
    generation: AtomicU64,
    topic: String,
    span: Duration,
    records_max: usize,
    /// What is being read, and how far.
    reading: Mutex<Option<OpenTopic>>,
    /// Whether it was the topic or the permissions that ended the last reading, and not this replica's own trouble.
    nobody_reads: AtomicBool,
    /// Something was read.
    advanced: Notify,
    asking: mpsc::Sender<oneshot::Sender<bool>>,
    asked: Mutex<Option<mpsc::Receiver<oneshot::Sender<bool>>>>,
    log: LogLimit<String>,
}

/// A topic that is open.
#[derive(Clone)]
struct OpenTopic {
    consumer: Arc<BaseConsumer<ClientErrors>>,
    /// Asks where the topic ends. On the other one's connection an answer would wait for its fetches, half a second each.
    asking: Arc<BaseConsumer<ClientErrors>>,
    client_errors: ClientErrors,
    partitions: Arc<[(String, i32)]>,
    /// The next offset of each partition.
    next: Arc<Mutex<BTreeMap<i32, i64>>>,
}

impl Follower {
    /// Follows nothing before [`Follower::follow`] runs.
    pub fn new(settings: FollowSettings) -> Self {
        let FollowSettings { client, topic, span, records_max } = settings;
        let (asking, asked) = mpsc::channel(ASKING_MAX);
        Self {
            client: Mutex::new(client),
            generation: AtomicU64::new(0),
            topic,
            span,
            records_max,
            reading: Mutex::new(None),
            nobody_reads: AtomicBool::new(false),
            advanced: Notify::new(),
            asking,
            asked: Mutex::new(Some(asked)),
            log: LogLimit::default(),
        }
    }

    /// Whether all records were read that stood on the topic when this was called; not where that cannot be known in time.
    pub async fn has_read_all(&self) -> bool {
        let (answer, told) = oneshot::channel();
        self.asking.try_send(answer).is_ok() && matches!(timeout(READ_WITHIN, told).await, Ok(Ok(true)))
    }

    /// Reads until `stop`, and gives `each` what it meets. Blocks: not for a tokio worker.
    pub fn follow(&self, each: &dyn Fn(FollowEvent<'_>), stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let generation = self.generation.load(Ordering::Acquire);
            let ended = self.open(each).and_then(|reading| self.read(&reading, generation, each, stop));
            if let Err(error) = &ended {
                self.nobody_reads.store(error.is_of_everybody(), Ordering::Release);
            }
            *self.reading() = None;
            if let Err(error) = ended {
                each(FollowEvent::Failed);
                self.cannot_read(&error);
                let again = Instant::now() + OPEN_AGAIN_AFTER;
                while Instant::now() < again && !stop.is_cancelled() {
                    std::thread::sleep(SLICE);
                }
            }
        }
    }

    /// Answers who asks whether all was read, and tells `show` the lag; never ends by itself.
    pub async fn tell(&self, show: &(dyn Fn(Lag) + Sync)) {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut asked) = asked else { return std::future::pending().await };
        let mut look_after = LOOK_OFTEN;
        let mut looked_at = Instant::now();
        loop {
            let first = timeout(look_after, asked.recv()).await.ok().flatten();
            // All of them asked before Kafka is.
            let waiting: Vec<_> = first.into_iter().chain(std::iter::from_fn(|| asked.try_recv().ok())).collect();
            let within = if waiting.is_empty() { LOOK_EVERY } else { READ_WITHIN };
            let mut has_read_all = false;
            let mut lag = Lag::NotRead;
            if let Some((reading, ends)) = self.ends(within).await {
                has_read_all = !waiting.is_empty() && self.reaches(&reading, &ends, READ_WITHIN).await;
                lag = Lag::Records(reading.behind(&ends));
            }
            look_after = if lag == Lag::Records(0) { LOOK_EVERY } else { LOOK_OFTEN };
            show(lag);
            if looked_at.elapsed() >= LOOK_EVERY {
                self.look_for_new_partitions().await;
                looked_at = Instant::now();
            }
            for answer in waiting {
                // Whoever asked may have gone on.
                let _gone = answer.send(has_read_all);
            }
        }
    }

    /// Opens the topic anew where it has more partitions than are read. Nobody should add any, and what stands there must not be
    /// missed.
    async fn look_for_new_partitions(&self) {
        let Some(reading) = self.reading().clone() else { return };
        let (asking, topic) = (Arc::clone(&reading.asking), self.topic.clone());
        let look = move || {
            let metadata = asking.fetch_metadata(Some(&topic), LOOK_EVERY).ok()?;
            metadata.topics().first().map(|topic| topic.partitions().len())
        };
        let count = tokio::task::spawn_blocking(look).await.ok().flatten();
        if count.is_some_and(|count| count > reading.partitions.len()) {
            tracing::warn!(
                topic = self.topic,
                "shared topic has new partitions; it is read again from the start of its window"
            );
            self.open_anew();
        }
    }

    /// Goes on with a client of these properties.
    pub fn renew(&self, client: ClientConfig) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        self.open_anew();
    }

    /// Whether no replica reads the topic, because it is not there or may not be read. What this one alone cannot read, others can.
    pub fn nobody_reads(&self) -> bool {
        self.reading().is_none() && self.nobody_reads.load(Ordering::Acquire)
    }

    fn open_anew(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        *self.reading() = None;
    }

    fn reading(&self) -> MutexGuard<'_, Option<OpenTopic>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the topic ends; nothing where it is not read.
    async fn ends(&self, within: Duration) -> Option<(OpenTopic, TopicPartitionList)> {
        let reading = self.reading().clone()?;
        let read_before = reading.next().clone();
        // What is read may have ended meanwhile: the end of its clients blocks, so it is not kept here.
        let ends = tokio::task::spawn_blocking(move || {
            let OpenTopic { asking, client_errors, partitions, .. } = &reading;
            let ends = reader::end_offsets(asking, client_errors, partitions, Instant::now() + within);
            ends.map(|ends| (reading, ends))
        });
        let (reading, ends) = ends.await.ok()?.ok()?;
        let is_cut = |(partition, end)| read_before.get(&partition).is_some_and(|next| *next > end);
        if reader::told_offsets(&ends).into_iter().any(is_cut) {
            tracing::warn!(
                topic = self.topic,
                "shared topic is shorter than before, so it was created again or cut; it is read again from the start of its window"
            );
            self.open_anew();
            return None;
        }
        Some((reading, ends))
    }

    /// Waits until all before `ends` was read; whether it was, within the time.
    async fn reaches(&self, reading: &OpenTopic, ends: &TopicPartitionList, within: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let advanced = self.advanced.notified();
            tokio::pin!(advanced);
            // Before the look: what is read between the two counts.
            advanced.as_mut().enable();
            if reading.behind(ends) == 0 {
                return true;
            }
            if timeout_at(deadline, advanced).await.is_err() {
                return false;
            }
        }
    }

    fn open(&self, each: &dyn Fn(FollowEvent<'_>)) -> Result<OpenTopic, ReadError> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let spans = present_records::spans(&client, &self.topic, RecordPeriod::last(self.span), OPEN_WITHIN)?;
        let starts = starts(&spans, self.records_max);
        let (asking, client_errors) = consumer(&client)?;
        let (consumer, _) = consumer(&client)?;
        let mut assigned = TopicPartitionList::with_capacity(starts.len());
        for (partition, start) in &starts {
            let start = Offset::Offset(*start);
            assigned.add_partition_offset(&self.topic, *partition, start).map_err(ReadError::Ended)?;
        }
        let reading = OpenTopic {
            consumer: Arc::new(consumer),
            asking: Arc::new(asking),
            client_errors,
            partitions: starts.keys().map(|partition| (self.topic.clone(), *partition)).collect(),
            next: Arc::new(Mutex::new(starts)),
        };
        let cluster_id = reading.asking.client().fetch_cluster_id(OPEN_WITHIN).ok_or_else(|| {
            ReadError::Unavailable { topic: self.topic.clone(), reason: "the cluster tells no id".to_owned() }
        })?;
        each(FollowEvent::Opened { cluster_id });
        reading.consumer.assign(&assigned).map_err(ReadError::Ended)?;
        Ok(reading)
    }

    /// It counts as read from the first record or end on: who may see a topic may not read it yet.
    fn read(
        &self,
        reading: &OpenTopic,
        generation: u64,
        each: &dyn Fn(FollowEvent<'_>),
        stop: &CancellationToken,
    ) -> Result<(), ReadError> {
        let mut looked_at = Instant::now();
        while !stop.is_cancelled() && self.generation.load(Ordering::Acquire) == generation {
            match reading.consumer.poll(SLICE) {
                Some(Ok(record)) => {
                    let (partition, offset) = (record.partition(), record.offset());
                    let (appended_ms, value) = (record.timestamp().to_millis(), record.payload().unwrap_or_default());
                    each(FollowEvent::Record { partition, offset, appended_ms, value });
                    reading.next().insert(partition, offset.saturating_add(1));
                    self.is_read(reading);
                    self.advanced.notify_waiters();
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.is_read(reading),
                Some(Err(error)) => ended(error).map_or(Ok(()), Err)?,
                None => {}
            }
            if looked_at.elapsed() >= SLICE {
                looked_at = Instant::now();
                // Nobody else takes what the other one tells of itself: one report at a time, of one a second.
                let _none = reading.asking.poll(Duration::ZERO);
                if reading.has_forgotten_brokers() {
                    return Err(ReadError::BrokersForgotten);
                }
            }
        }
        Ok(())
    }

    fn is_read(&self, reading: &OpenTopic) {
        // Before it is there: when it is opened anew later, others go on reading.
        self.nobody_reads.store(false, Ordering::Release);
        self.reading().get_or_insert_with(|| reading.clone());
    }

    fn cannot_read(&self, error: &ReadError) {
        self.log.add(error.to_string());
        if let Some((count, error)) = self.log.due(Instant::now()) {
            tracing::warn!(
                topic = self.topic,
                error,
                count,
                "shared topic cannot be read; retrying, and until then this replica does not know what other replicas have published"
            );
        }
    }
}

impl OpenTopic {
    fn next(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of its clients can connect no more.
    fn has_forgotten_brokers(&self) -> bool {
        [&self.consumer, &self.asking].into_iter().any(|client| client.context().has_forgotten_brokers())
    }

    /// How many records before `ends` were not read.
    fn behind(&self, ends: &TopicPartitionList) -> u64 {
        let next = self.next();
        let behind = |(partition, end): (i32, i64)| {
            let next = next.get(&partition).copied().unwrap_or_default();
            u64::try_from(end.saturating_sub(next)).unwrap_or_default()
        };
        reader::told_offsets(ends).into_iter().map(behind).sum()
    }
}

/// What no waiting mends, and an offset that does not exist any more: the topic was made again, or cut faster than it was read.
fn ended(error: KafkaError) -> Option<ReadError> {
    use rdkafka::error::RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::OffsetOutOfRange | Code::AutoOffsetReset) => Some(ReadError::Ended(error)),
        _ => reader::end(error),
    }
}

fn consumer(client: &ClientConfig) -> Result<(BaseConsumer<ClientErrors>, ClientErrors), ReadError> {
    let mut config = reader::without_group(client);
    config
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "100") // librdkafka's mock tells of a new record only when the wait is over
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_string())
        .set("isolation.level", "read_uncommitted") // nobody writes transactions here, and none that hangs holds it up
        .set("auto.offset.reset", "error"); // then it is opened again, and begins where it should
    let client_errors = ClientErrors::default();
    let consumer = config
        .create_with_context(client_errors.clone())
        .map_err(|error| ReadError::Kafka(ClientError::of_creation(&error)))?;
    Ok((consumer, client_errors))
}
