//! The way of a webhook from its request to Kafka's acknowledgement and its answer.
//! Must not know any provider, nor the confirmation engine.

pub mod answer;
pub mod budget;
pub mod encode;
pub mod sampling;
pub mod source;
pub mod window;

mod body;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::OnUnverified;
use crate::kafka::publisher::{Delivery, Publisher};
use crate::kafka::record::Record;
use crate::message::event::v1::QuarantineReason;
use crate::metrics::{Metrics, SourceMetrics};
use crate::provider::{AuthenticWebhook, Content, EventId, EventIds, Normalized, RawWebhook, Rejected, Undecodable};
use answer::Answer;
use budget::{Budget, Hold};
use encode::Carry;
use source::{RunningSource, Sources};
use window::{Entry, Window};

/// A request's task, buffers and bookkeeping, roughly: so that very many tiny requests are bounded too.
const REQUEST_OVERHEAD_BYTES: usize = 1024;

/// The bounds of one request.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The largest body.
    pub body_bytes_max: usize,
    /// From the end of the head to the end of the body.
    pub body_read_timeout: Duration,
    /// From the end of the head to the answer.
    pub ack_timeout: Duration,
}

/// Everything that a webhook needs on its way.
pub struct Ingress {
    /// The sources.
    pub sources: Sources,
    /// Sends records.
    pub publisher: Arc<Publisher>,
    /// Which events are known; none when dedup is off.
    pub window: Option<Arc<Window>>,
    /// Bytes in flight.
    pub budget: Budget,
    /// The bounds of one request.
    pub bounds: Bounds,
    /// The daemon's metrics.
    pub metrics: Arc<Metrics>,
    /// The metrics of requests that no source has.
    pub unknown: SourceMetrics,
    /// Cancelled when nothing more is taken.
    pub stopping: CancellationToken,
}

impl Ingress {
    /// Takes one request from the end of its head to its answer.
    pub async fn take(&self, request: Request<Incoming>, client: IpAddr) -> Answer {
        let begun = Instant::now();
        let found = self.sources.find(request.uri().path()).map(|(source, suffix)| (source, suffix.to_owned()));
        let (metrics, answer) = match found {
            None => (&self.unknown, Answer::UnknownSource),
            Some((source, suffix)) => (&source.metrics, self.accept(source, suffix, request, client, begun).await),
        };
        metrics.answered(answer.outcome(), begun.elapsed());
        answer
    }

    /// Shows how much the dedup window holds and covers.
    pub fn show_window(&self) {
        if let Some(window) = &self.window {
            let coverage = window.coverage(std::time::Instant::now());
            self.metrics.dedup_entries.set(f64::from(u32::try_from(coverage.entries).unwrap_or(u32::MAX)));
            self.metrics.dedup_window.set(coverage.covers.as_secs_f64());
        }
    }

    /// Takes one webhook of a source from its bytes to Kafka's acknowledgement.
    async fn accept(
        &self,
        source: &RunningSource,
        path_suffix: String,
        request: Request<Incoming>,
        remote_address: IpAddr,
        begun: Instant,
    ) -> Answer {
        if request.method() != Method::POST {
            return Answer::MethodNotAllowed;
        }
        if !source.allows(remote_address) {
            return Answer::Forbidden;
        }
        if self.stopping.is_cancelled() {
            return Answer::ShuttingDown;
        }
        let Ok(mut hold) = self.budget.take(head_size(&request)) else { return Answer::Overloaded };
        let received_at = Timestamp::now();
        let (head, body) = request.into_parts();
        let body_deadline = begun + self.bounds.body_read_timeout.min(self.bounds.ack_timeout);
        let read = body::read(body, &head.headers, self.bounds.body_bytes_max, &self.budget, body_deadline).await;
        let body = match read {
            Ok((body, bytes)) => {
                hold.merge(bytes);
                body
            }
            Err(answer) => return answer,
        };
        self.metrics.receive.record(begun.elapsed());
        let arrival = Arrival { hold: Arc::new(hold), deadline: begun + self.bounds.ack_timeout };
        let raw = RawWebhook { path_suffix, headers: head.headers, body, remote_address, received_at };

        let verifying = Instant::now();
        let keyed = source.keyed();
        let authenticated = AuthenticWebhook::authenticate(&*keyed.source, raw);
        self.metrics.verify.record(verifying.elapsed());
        match authenticated {
            Ok(webhook) => {
                keyed.count_verified(&webhook, &source.metrics);
                let event = keyed.source.normalize(&source.name, &webhook);
                drop(keyed);
                self.publish(source, &webhook, &event, &arrival).await
            }
            Err(rejected) => {
                drop(keyed);
                self.refuse(source, &rejected, &arrival).await
            }
        }
    }

    /// Puts an authentic webhook where it belongs: nothing authentic is dropped.
    async fn publish(
        &self,
        source: &RunningSource,
        webhook: &AuthenticWebhook,
        event: &Normalized,
        arrival: &Arrival,
    ) -> Answer {
        let id = event.ids.id;
        let encoding = Instant::now();
        let (record, done) = match &event.content {
            Content::Event(message) => {
                (source.encoder.event(webhook, event, message, Carry::AsConfigured), Answer::Accepted(id))
            }
            Content::Unrecognized => (source.encoder.unrecognized(webhook, event), Answer::Unrecognized(id)),
            Content::Undecodable(why) => {
                let record = source.encoder.quarantined(webhook, event, why);
                tracing::debug!(source = source.name, event_id = %id, why.detail, "authentic webhook that cannot be decoded");
                return self.quarantine(source, &record, why.reason, Answer::Quarantined(id), arrival).await;
            }
        };
        self.metrics.encode.record(encoding.elapsed());
        match self.send_once(event.ids, &record, arrival).await {
            Sent::InKafka => {
                if done == Answer::Unrecognized(id) {
                    source.metrics.unrecognized.increment(1);
                    tracing::debug!(source = source.name, event_id = %id, "authentic webhook of unknown type");
                }
                done
            }
            Sent::TooLarge => self.send_smaller(source, webhook, event, arrival).await,
            Sent::Before(id) => Self::duplicate(source, id),
            Sent::Not(answer) => answer,
        }
    }

    /// An event that is too large for its topic goes without its plaintext, else as the body alone into quarantine.
    async fn send_smaller(
        &self,
        source: &RunningSource,
        webhook: &AuthenticWebhook,
        event: &Normalized,
        arrival: &Arrival,
    ) -> Answer {
        let id = event.ids.id;
        if let (Content::Event(message), Some(_)) = (&event.content, webhook.plaintext()) {
            let record = source.encoder.event(webhook, event, message, Carry::WithoutPlaintext);
            match self.send_once(event.ids, &record, arrival).await {
                Sent::InKafka => return Answer::Accepted(id),
                Sent::Before(id) => return Self::duplicate(source, id),
                Sent::Not(answer) => return answer,
                Sent::TooLarge => {}
            }
        }
        let record = source.encoder.too_large(webhook, event);
        self.quarantine(source, &record, QuarantineReason::TooLarge, Answer::Quarantined(id), arrival).await
    }

    /// Refuses a webhook that is not believed, and keeps a sample of it, or all where the source says so.
    async fn refuse(&self, source: &RunningSource, rejected: &Rejected, arrival: &Arrival) -> Answer {
        source.metrics.unverified(rejected.reason);
        tracing::debug!(source = source.name, reason = %rejected.reason, "webhook that failed authentication");
        let keep = |reason| {
            let why = Undecodable { reason, detail: rejected.reason.to_string() };
            source.encoder.unverified(&rejected.raw, &why, &random_id())
        };
        match source.on_unverified {
            OnUnverified::Keep => {
                let record = keep(QuarantineReason::UnverifiedKept);
                self.quarantine(source, &record, QuarantineReason::UnverifiedKept, Answer::Kept, arrival).await
            }
            OnUnverified::Reject => {
                if source.keeps_sample(rejected.raw.body.len(), std::time::Instant::now()) {
                    let record = keep(QuarantineReason::Unauthentic);
                    // A sample: nobody waits for it, and its loss is counted by the publisher.
                    if self.send(&record, arrival, |_| {}).is_ok() {
                        source.metrics.quarantined(QuarantineReason::Unauthentic);
                    }
                }
                Answer::Unauthentic
            }
        }
    }

    fn duplicate(source: &RunningSource, id: EventId) -> Answer {
        source.metrics.dedup_hits.increment(1);
        Answer::Duplicate(id)
    }

    /// Sends a record to quarantine, which has no dedup, and waits for its acknowledgement.
    async fn quarantine(
        &self,
        source: &RunningSource,
        record: &Record,
        reason: QuarantineReason,
        done: Answer,
        arrival: &Arrival,
    ) -> Answer {
        match self.send_and_wait(record, arrival).await {
            Sent::InKafka | Sent::Before(_) => {
                source.metrics.quarantined(reason);
                done
            }
            Sent::TooLarge => Answer::NotAcknowledged,
            Sent::Not(answer) => answer,
        }
    }

    /// Sends an event unless it is in Kafka; where it is on its way already, waits for the same acknowledgement.
    async fn send_once(&self, ids: EventIds, record: &Record, arrival: &Arrival) -> Sent {
        let Some(window) = &self.window else { return self.send_and_wait(record, arrival).await };
        // Taken before the window is entered: whoever enters it as new must send.
        let Ok(hold) = self.budget.take(record.size()) else { return Sent::Not(Answer::Overloaded) };
        match window.enter(ids, std::time::Instant::now()) {
            Entry::InKafka(id) => Sent::Before(id),
            Entry::InFlight(fate) => match self.wait(fate, arrival.deadline).await {
                Sent::InKafka => Sent::Before(ids.id),
                Sent::TooLarge => Sent::Not(Answer::NotAcknowledged),
                other => other,
            },
            Entry::New(fate) => {
                let window = Arc::clone(window);
                let settle = move |delivery| window.settle(ids.id, delivery, std::time::Instant::now());
                self.send_held(record, hold, arrival, settle);
                self.wait(fate, arrival.deadline).await
            }
        }
    }

    async fn send_and_wait(&self, record: &Record, arrival: &Arrival) -> Sent {
        let (sender, fate) = oneshot::channel();
        let settle = move |delivery| {
            // Whoever waited may have answered 503 and gone.
            let _gone = sender.send(delivery);
        };
        match self.send(&record, arrival, settle) {
            Ok(()) => self.wait(fate, arrival.deadline).await,
            Err(answer) => Sent::Not(answer),
        }
    }

    fn send(
        &self,
        record: &Record,
        arrival: &Arrival,
        settle: impl FnOnce(Delivery) + Send + Sync + 'static,
    ) -> Result<(), Answer> {
        let hold = self.budget.take(record.size()).map_err(|_| Answer::Overloaded)?;
        self.send_held(record, hold, arrival, settle);
        Ok(())
    }

    /// Sends a record; its bytes and its body's are given back by the delivery report, past the answer too.
    fn send_held(
        &self,
        record: &Record,
        hold: Hold,
        arrival: &Arrival,
        settle: impl FnOnce(Delivery) + Send + Sync + 'static,
    ) {
        let body_hold = Arc::clone(&arrival.hold);
        let report = move |delivery| {
            drop((hold, body_hold));
            settle(delivery);
        };
        self.publisher.publish(record, Box::new(report));
    }

    async fn wait(&self, fate: oneshot::Receiver<Delivery>, deadline: Instant) -> Sent {
        let sent = Instant::now();
        let delivery = timeout_at(deadline, fate).await;
        self.metrics.publish.record(sent.elapsed());
        match delivery {
            Ok(Ok(Delivery::Acknowledged)) => Sent::InKafka,
            Ok(Ok(Delivery::TooLarge)) => Sent::TooLarge,
            Ok(Ok(Delivery::Failed(_)) | Err(_)) | Err(_) => Sent::Not(Answer::NotAcknowledged),
        }
    }
}

/// A webhook whose body is read: what it holds, and until when it must be answered.
struct Arrival {
    hold: Arc<Hold>,
    deadline: Instant,
}

/// What became of a record, as its sender sees it.
enum Sent {
    InKafka,
    Before(EventId),
    TooLarge,
    Not(Answer),
}

/// What a request takes besides its body: its head as received, and about what its task and buffers take.
fn head_size(request: &Request<Incoming>) -> usize {
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    request.uri().path().len() + headers + REQUEST_OVERHEAD_BYTES
}

/// Stands for the event id where there is none.
fn random_id() -> String {
    let mut bytes = [0; 16];
    // Without randomness the id is all zeroes: a sample is still a sample.
    let _filled = aws_lc_rs::rand::fill(&mut bytes);
    EventId::from_bytes(bytes).to_string()
}
