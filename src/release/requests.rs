//! Carries out requests for releases that stand on the topic of releases, and puts each result in its request's place.
//! Must not know who writes them. One thread owns it; its calls block: not for a tokio worker.
//!
//! Replicas share the topic's partitions as a consumer group, so one of them takes each request. No offset is committed:
//! what waits is what the topic says. An owner reads a partition again from a week ago on; so a request whose owner was
//! killed is carried out again by the next one, which skips what is marked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::judge::Judge;
use super::marker::{self, ReleasedEvents};
use super::pending::{PendingRequest, PendingRequests, RequestedRecords};
use super::reading::{self, ChunkBounds, HeldReader};
use super::run::{ReleaseError, ReleaseMode, ReleaseRun, publish_all};
use super::verdict::Tally;
use crate::config::{ClientSide, Kafka};
use crate::kafka::client;
use crate::kafka::client_error::ClientError;
use crate::kafka::group::{Generation, GroupError, GroupMember, GroupSettings, InputPosition, Polled, TakeError};
use crate::kafka::present_records::{self, RecordPeriod};
use crate::kafka::publisher::{Delivery, Publisher};
use crate::kafka::reader::ReadError;
use crate::kafka::topics;
use crate::log_limit::LogLimit;
use crate::message::release::v1::{ReleaseRequest, ReleaseState};
use crate::message::timestamp;
use crate::metrics::ReleaseMetrics;
use crate::settings::ConfigErrors;

/// How long one poll takes, and so the end of the thread.
const POLL_WITHIN: Duration = Duration::from_millis(200);
/// How long Kafka may take to tell where to begin, and until held records are read.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// How long markers are read: longer than this a member of the group may not be silent. What is not read in time may be
/// released again, under the same id.
const MARKERS_WITHIN: Duration = Duration::from_secs(20);
/// A request that nobody carried out for so long is not waited for any more.
const REQUESTS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// After an error, how long until it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How often that time is doubled at most: to eleven minutes.
const DOUBLED_MAX: u32 = 6;
/// How long leaving the group may take.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);
/// What is read and published together: little beside what webhooks have in flight.
const CHUNK: ChunkBounds = ChunkBounds { records_max: 50, bytes_max: 1024 * 1024 };
/// So many events of the group are taken between two chunks at most.
const TAKEN_MAX: usize = 2000;
/// Records a second at most, so that webhooks do not feel it.
const RECORDS_PER_SECOND: u32 = 500;

/// The reader of requests of one process.
pub struct RequestReader {
    /// How to connect. Read anew after each failure, for files of credentials may have changed.
    pub kafka: Kafka,
    /// What this process is called in results.
    pub instance: String,
    /// Says what would become of records.
    pub judge: Judge,
    /// The ingress's producer.
    pub publisher: Arc<Publisher>,
    /// What is counted.
    pub metrics: ReleaseMetrics,
    /// Ends it.
    pub stop: CancellationToken,
}

/// Why requests cannot be read, or one not be carried out at the moment.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Properties(ConfigErrors),
    #[error(transparent)]
    Client(ClientError),
    #[error("consumer group member failed and cannot go on: {0}; it joins the group again")]
    Membership(String),
    #[error(transparent)]
    Take(TakeError),
    #[error(transparent)]
    Positions(ReadError),
    #[error(transparent)]
    Group(GroupError),
    #[error(transparent)]
    Read(ReadError),
    #[error(transparent)]
    Release(ReleaseError),
}

impl RequestError {
    /// Whether the member of the group has to join anew, whatever becomes of a request.
    fn is_of_membership(&self) -> bool {
        matches!(self, Self::Membership(_) | Self::Take(_) | Self::Positions(_))
    }
}

/// The consumer group of the readers of one installation.
pub fn group(prefix: &str) -> String {
    format!("{prefix}.paybridge-release")
}

impl RequestReader {
    /// Carries requests out until it is stopped. Errors are logged, once a minute at most, and do not end it.
    pub fn run(&self) {
        let failures = LogLimit::default();
        while !self.stop.is_cancelled() {
            if let Err(error) = self.follow(&failures) {
                log(&failures, error);
                self.pause(AGAIN_AFTER);
            }
        }
    }

    /// Joins the group, and follows the topic until the end, or until it has to join anew.
    fn follow(&self, failures: &LogLimit<RequestError>) -> Result<(), RequestError> {
        let client = client::base(&self.kafka, ClientSide::Common).map_err(RequestError::Properties)?;
        let prefix = self.kafka.topic_prefix.as_ref();
        let mut settings = GroupSettings::new(group(prefix), vec![topics::release_topic(prefix)]);
        settings.client_id = Some(self.instance.clone());
        let member = GroupMember::join(&client, &settings).map_err(RequestError::Client)?;
        let mut followed =
            Followed { reader: self, client, member, pending: PendingRequests::default(), unread: BTreeMap::new() };
        let (mut again_at, mut failed_in_a_row) = (Instant::now(), 0);
        while !self.stop.is_cancelled() {
            let polled = followed.member.poll(POLL_WITHIN);
            followed.take(polled, failures)?;
            if !followed.unread.is_empty() || Instant::now() < again_at {
                continue;
            }
            let Some(pending) = followed.pending.next() else {
                if followed.pending.passed_over() {
                    // Joins anew, and reads them then.
                    break;
                }
                continue;
            };
            match followed.carry_out(&pending, failures) {
                Ok(()) => failed_in_a_row = 0,
                Err(error) if error.is_of_membership() => return Err(error),
                Err(error) => {
                    log(failures, error);
                    followed.pending.failed(&pending);
                    self.metrics.failed.increment(1);
                    // What it published before it failed it publishes again: less and less often.
                    again_at = Instant::now() + AGAIN_AFTER * 2_u32.pow(failed_in_a_row.min(DOUBLED_MAX));
                    failed_in_a_row += 1;
                }
            }
        }
        followed.member.leave(LEAVE_WITHIN);
        Ok(())
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.stop.is_cancelled() && Instant::now() < until {
            std::thread::sleep(POLL_WITHIN.min(time));
        }
    }
}

/// The topic as a member of the group follows it.
struct Followed<'r> {
    reader: &'r RequestReader,
    client: ClientConfig,
    member: GroupMember,
    pending: PendingRequests,
    /// The ends of the partitions that are not read yet: whether a request still waits may stand before them.
    unread: BTreeMap<i32, i64>,
}

impl Followed<'_> {
    /// Takes what a poll brought. Whether the partitions are still the same, the epoch tells.
    fn take(&mut self, polled: Polled, failures: &LogLimit<RequestError>) -> Result<(), RequestError> {
        match polled {
            Polled::Assigned { generation, partitions } => self.assigned(&generation, &partitions)?,
            Polled::Revoked(_) => {
                self.pending.clear();
                self.unread.clear();
            }
            Polled::Record(record) => {
                let at = record.appended_at.unwrap_or_else(Timestamp::now);
                let key = record.key.as_deref().unwrap_or_default();
                self.pending.see(key, record.value.as_deref(), at);
            }
            Polled::Idle => {}
            Polled::Error(error) => log(failures, RequestError::Group(error)),
            Polled::Fatal(reason) => return Err(RequestError::Membership(reason)),
        }
        if !self.unread.is_empty() {
            let positions = self.member.positions().unwrap_or_default();
            let read = |partition: i32, end: i64| {
                positions.iter().any(|position| position.partition == partition && position.next >= end)
            };
            self.unread.retain(|partition, end| !read(*partition, *end));
        }
        Ok(())
    }

    fn assigned(&mut self, generation: &Generation, partitions: &[i32]) -> Result<(), RequestError> {
        self.pending.clear();
        self.unread.clear();
        if partitions.is_empty() {
            return Ok(());
        }
        let topic = topics::release_topic(self.reader.kafka.topic_prefix.as_ref());
        let since = Timestamp::now().checked_sub(REQUESTS_KEPT).ok();
        let period = RecordPeriod { since, until: None };
        let spans =
            present_records::spans(&self.client, &topic, period, OPEN_WITHIN).map_err(RequestError::Positions)?;
        let mut positions = Vec::new();
        for partition in partitions {
            let Some(span) = spans.get(partition) else { continue };
            positions.push(InputPosition { input: 0, partition: *partition, next: span.start });
            if span.start < span.end {
                self.unread.insert(*partition, span.end);
            }
        }
        match self.member.take(generation, &positions) {
            // The next event says so.
            Ok(()) | Err(TakeError::Superseded) => Ok(()),
            Err(error) => Err(RequestError::Take(error)),
        }
    }

    /// Carries one request out, unless it is another replica's, or withdrawn, before it is done.
    fn carry_out(&mut self, pending: &PendingRequest, failures: &LogLimit<RequestError>) -> Result<(), RequestError> {
        let request = &pending.request;
        tracing::info!(request = request.request_id, "release request started");
        let result = match pending.check(self.reader.kafka.topic_prefix.as_ref()) {
            Err(problem) => {
                let problem = problem.to_string();
                self.ended(ReleaseRequest { problem, ..request.clone() }, ReleaseState::Refused)
            }
            Ok((records, author)) => {
                let run = ReleaseRun {
                    judge: &self.reader.judge,
                    mode: ReleaseMode::Publish(Arc::clone(&self.reader.publisher)),
                    prefix: self.reader.kafka.topic_prefix.as_ref().to_owned(),
                    author,
                    released: self.released_before(request.again)?,
                    tally: Tally::default(),
                };
                let Some(tally) = self.release(pending, records, run, failures)? else { return Ok(()) };
                self.ended(ReleaseRequest { counts: tally.verdict_counts(), ..request.clone() }, ReleaseState::Done)
            }
        };
        let (state, ended) = match result.state() {
            ReleaseState::Refused => ("refused", &self.reader.metrics.refused),
            ReleaseState::Unspecified | ReleaseState::Requested | ReleaseState::Done => {
                ("done", &self.reader.metrics.done)
            }
        };
        let record = marker::request(self.reader.kafka.topic_prefix.as_ref(), result);
        let failed = publish_all(&self.reader.publisher, [&record].into_iter()).into_iter().find_map(Delivery::reason);
        if let Some(reason) = failed {
            return Err(RequestError::Release(ReleaseError::NotAcknowledged(reason)));
        }
        tracing::info!(request = request.request_id, state, "release request finished");
        ended.increment(1);
        self.pending.end(pending);
        Ok(())
    }

    /// What became of the records; nothing where this process has no more to do with it.
    fn release(
        &mut self,
        pending: &PendingRequest,
        records: RequestedRecords,
        mut run: ReleaseRun<'_>,
        failures: &LogLimit<RequestError>,
    ) -> Result<Option<Tally>, RequestError> {
        let prefix = self.reader.kafka.topic_prefix.as_ref();
        let mut held = match records {
            RequestedRecords::Filter(filter) => HeldReader::scan(&self.client, prefix, filter, OPEN_WITHIN),
            RequestedRecords::Places(places) => HeldReader::places(&self.client, places),
        }
        .map_err(RequestError::Read)?;
        let (epoch, metrics) = (self.member.epoch(), &self.reader.metrics);
        loop {
            self.catch_up(failures)?;
            if self.reader.stop.is_cancelled() || self.member.epoch() != epoch || !self.pending.has(pending) {
                return Ok(None);
            }
            let Some(chunk) = held.next_chunk(CHUNK).map_err(RequestError::Read)? else { return Ok(Some(run.tally)) };
            run.carry_out(&chunk.records, &mut |_, verdict, _| metrics.judged(verdict))
                .map_err(RequestError::Release)?;
            let records = u32::try_from(chunk.records.len()).unwrap_or(u32::MAX);
            self.reader.pause(Duration::from_secs(1).saturating_mul(records) / RECORDS_PER_SECOND);
        }
    }

    /// Takes all that came meanwhile: a withdrawal of the request may stand behind many markers of its own. Also a sign of life to the
    /// group.
    fn catch_up(&mut self, failures: &LogLimit<RequestError>) -> Result<(), RequestError> {
        for _ in 0..TAKEN_MAX {
            let polled = self.member.poll(Duration::ZERO);
            let is_idle = matches!(polled, Polled::Idle);
            self.take(polled, failures)?;
            if is_idle {
                break;
            }
        }
        Ok(())
    }

    fn released_before(&self, again: bool) -> Result<ReleasedEvents, RequestError> {
        if again {
            return Ok(ReleasedEvents::default());
        }
        let prefix = self.reader.kafka.topic_prefix.as_ref();
        let markers = reading::released(&self.client, prefix, MARKERS_WITHIN).map_err(RequestError::Read)?;
        Ok(markers.released)
    }

    fn ended(&self, request: ReleaseRequest, state: ReleaseState) -> ReleaseRequest {
        ReleaseRequest {
            state: state.into(),
            carried_out_by: self.reader.instance.clone(),
            ended_at: Some(timestamp(Timestamp::now())),
            ..request
        }
    }
}

fn log(failures: &LogLimit<RequestError>, error: RequestError) {
    failures.add(error);
    if let Some((count, error)) = failures.due(Instant::now()) {
        tracing::warn!(%error, count, "requests to release held webhooks cannot be read or carried out; retrying (webhooks and sessions go on)");
    }
}
