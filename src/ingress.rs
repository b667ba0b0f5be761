//! The way of a webhook from its request to Kafka's acknowledgement and its answer.
//! Must not know any provider, nor the confirmation engine.

pub mod answer;
mod batch;
pub mod budget;
pub mod forwarded;
pub mod sampling;
pub mod sending;
pub mod shared_dedup;
pub mod source;
pub mod window;

mod body;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::OnUnverified;
use crate::encode::RecordForm;
use crate::kafka::broker_clock::WallClockTrust;
use crate::kafka::record::Record;
use crate::message::event::v1::QuarantineReason;
use crate::metrics::{Metrics, SourceMetrics};
use crate::provider::{AuthenticWebhook, Content, EventId, Normalized, RawWebhook, Rejected, Understood, Unverified};
use answer::{Answer, WordedAnswer, Wording};
use sending::{InFlightRequest, Published, Sending, Sent};
use source::{RunningSource, Sources};
use window::{DedupKey, Origin};

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

/// Who sent a request, as far as the connection tells.
#[derive(Clone, Debug)]
pub struct Client {
    /// The peer's address, or what a trusted proxy said of it.
    pub address: IpAddr,
    /// The certificate that it showed, in DER, signed by the client CA.
    pub certificate: Option<Arc<[u8]>>,
}

/// Everything that a webhook needs on its way.
pub struct Ingress {
    /// The sources.
    pub sources: Arc<Sources>,
    /// Sends their records.
    pub sending: Sending,
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
    pub async fn take(&self, request: Request<Incoming>, client: Client) -> WordedAnswer {
        let begun = Instant::now();
        let found = self.sources.find(request.uri().path()).map(|(source, suffix)| (source, suffix.to_owned()));
        let (metrics, reply) = match found {
            None => (&self.unknown, Answer::UnknownSource.into()),
            Some((source, suffix)) => (&source.metrics, self.accept(source, suffix, request, client, begun).await),
        };
        metrics.answered(reply.answer.outcome(), begun.elapsed());
        reply
    }

    /// Counts a request to `path` that [`Ingress::take`] gave no answer to, and that is answered `answer` in its stead.
    pub fn answered_without_it(&self, path: &str, answer: Answer, after: Duration) -> Answer {
        let metrics = self.sources.find(path).map_or(&self.unknown, |(source, _)| &source.metrics);
        metrics.answered(answer.outcome(), after);
        answer
    }

    /// Shows how much the dedup window holds and covers, and logs what is due about webhooks that fail authentication.
    pub fn keep_up(&self) {
        let now = std::time::Instant::now();
        for source in self.sources.iter() {
            source.log_left_over(now);
        }
        if let Some(dedup) = &self.sending.dedup {
            let coverage = dedup.window.coverage(now);
            self.metrics.dedup_entries.set(f64::from(u32::try_from(coverage.entries).unwrap_or(u32::MAX)));
            self.metrics.dedup_window.set(coverage.covers.as_secs_f64());
        }
    }

    /// Takes one webhook of a source from its bytes to Kafka's acknowledgement.
    async fn accept(
        &self,
        source: &Arc<RunningSource>,
        path_suffix: String,
        request: Request<Incoming>,
        client: Client,
        begun: Instant,
    ) -> WordedAnswer {
        if request.method() != Method::POST {
            return Answer::MethodNotAllowed.into();
        }
        if !source.allows(&client) {
            return Answer::Forbidden.into();
        }
        if self.stopping.is_cancelled() {
            return Answer::ShuttingDown.into();
        }
        let Ok(mut reservation) = source.share.take(head_size(&request)) else { return Answer::Overloaded.into() };
        let ack_timeout = source.ack_timeout.map_or(self.bounds.ack_timeout, |own| own.min(self.bounds.ack_timeout));
        let received_at = Timestamp::now();
        let (head, body) = request.into_parts();
        let body_deadline = begun + self.bounds.body_read_timeout.min(ack_timeout);
        let read = body::read(body, self.bounds.body_bytes_max, &mut reservation, body_deadline).await;
        let body = match read {
            Ok(body) => body,
            Err(answer) => return answer.into(),
        };
        let received = Instant::now();
        self.metrics.receive.record(received - begun);
        let share = source.share.clone();
        let in_flight = InFlightRequest { reservation: Arc::new(reservation), share, deadline: begun + ack_timeout };
        let remote_address = client.address;
        let query = head.uri.query().unwrap_or_default().to_owned();
        let raw = RawWebhook { path_suffix, query, headers: head.headers, body, remote_address, received_at };

        let with_keys = source.with_keys();
        let authenticated = AuthenticWebhook::receive(&**with_keys.source, raw);
        let verified = Instant::now();
        self.metrics.verify.record(verified - received);
        match authenticated {
            Ok(webhook) => {
                with_keys.count_verified(&webhook, &source.metrics);
                let understood = with_keys.source.normalize(&source.name, &webhook);
                drop(with_keys);
                self.answer(source, &webhook, understood, verified, &in_flight).await
            }
            Err(rejected) => {
                drop(with_keys);
                match self.refuse(source, &rejected, &in_flight).await {
                    Answer::Kept => worded(source, Answer::Kept, Wording::Table),
                    answer => answer.into(),
                }
            }
        }
    }

    /// Publishes what an authentic webhook has, and answers in its sender's words.
    async fn answer(
        &self,
        source: &RunningSource,
        webhook: &AuthenticWebhook,
        understood: Understood,
        verified: Instant,
        in_flight: &InFlightRequest,
    ) -> WordedAnswer {
        let (answer, wording) = match understood {
            Understood::Event(event) => {
                (self.publish(source, webhook, &event, None, verified, in_flight).await, Wording::Table)
            }
            Understood::Batch(events) => {
                let answer = self.publish_batch(source, webhook, &events, verified, in_flight).await;
                (answer, Wording::Events(events.len()))
            }
            Understood::Handshake(body) => {
                return WordedAnswer { answer: Answer::Handshake, wording: Wording::Echo(body) };
            }
        };
        worded(source, answer, wording)
    }

    /// Puts an authentic webhook where it belongs. What is too large for its topic goes without its plaintext, else as
    /// the body alone into quarantine: nothing authentic is dropped. Where the record of another event has the body already,
    /// `body_is_with` is that event's id.
    async fn publish(
        &self,
        source: &RunningSource,
        webhook: &AuthenticWebhook,
        event: &Normalized,
        body_is_with: Option<EventId>,
        verified: Instant,
        in_flight: &InFlightRequest,
    ) -> Answer {
        let first = body_is_with.map_or(RecordForm::AsConfigured, RecordForm::BodyElsewhere);
        let forms: &[RecordForm] = match webhook.plaintext() {
            Some(_) => &[first, RecordForm::WithoutPlaintext],
            None => &[first],
        };
        if let Content::Undecodable(_) = event.content {
            // Quarantine has no dedup: a redelivery after a fix must get through.
            return self.quarantine_undecodable(source, webhook, event, forms, in_flight).await;
        }
        let dedup_key = DedupKey::of(&source.name, event, webhook.raw().received_at);
        for form in forms {
            let encode = |id| {
                let record = source.encoder.authentic(webhook, event, id, *form);
                if *form != RecordForm::WithoutPlaintext {
                    self.metrics.encode.record(verified.elapsed());
                }
                record
            };
            match self.sending.publish_once(dedup_key, encode, in_flight).await {
                Sent::Safe(id) => return published(source, event, id),
                Sent::Duplicate(id, origin) => return duplicate(source, id, origin),
                Sent::Failed(answer) => return answer,
                Sent::TooLarge => {}
            }
        }
        self.quarantine_too_large(source, webhook, event, in_flight).await
    }

    /// Puts what cannot be decoded into quarantine.
    async fn quarantine_undecodable(
        &self,
        source: &RunningSource,
        webhook: &AuthenticWebhook,
        event: &Normalized,
        forms: &[RecordForm],
        in_flight: &InFlightRequest,
    ) -> Answer {
        let id = event.identity.of_webhook();
        for form in forms {
            let record = source.encoder.authentic(webhook, event, id, *form);
            match self.sending.publish(record, in_flight).await {
                Published::Safe => return published(source, event, id),
                Published::Failed(answer) => return answer,
                Published::TooLarge => {}
            }
        }
        self.quarantine_too_large(source, webhook, event, in_flight).await
    }

    /// Puts the body alone of what is too large for its topic into quarantine.
    async fn quarantine_too_large(
        &self,
        source: &RunningSource,
        webhook: &AuthenticWebhook,
        event: &Normalized,
        in_flight: &InFlightRequest,
    ) -> Answer {
        let record = source.encoder.too_large(webhook, event);
        let done = Answer::Quarantined(event.identity.of_webhook());
        self.publish_to_quarantine(source, record, QuarantineReason::TooLarge, done, in_flight).await
    }

    /// Refuses a webhook that is not believed, and keeps a sample of it, or all where the source says so.
    async fn refuse(&self, source: &Arc<RunningSource>, rejected: &Rejected, in_flight: &InFlightRequest) -> Answer {
        let answer = self.refusal(rejected.reason);
        let now = std::time::Instant::now();
        if answer == Answer::Unauthentic {
            source.failed_authentication(&rejected.raw, rejected.reason, now);
        } else {
            tracing::debug!(source = source.name, reason = %rejected.reason, "webhook is answered 503, because the clock is not proven");
        }
        let may_keep = source.may_keep(kept_size(&rejected.raw), now);
        match source.on_unverified {
            OnUnverified::Keep if may_keep => {
                let record = source.encoder.unverified(&rejected.raw, rejected.reason, &random_id().to_string());
                self.publish_to_quarantine(source, record, QuarantineReason::UnverifiedKept, Answer::Kept, in_flight)
                    .await
            }
            OnUnverified::Keep => Answer::Overloaded,
            OnUnverified::Reject => {
                if may_keep {
                    let (sampled, reason) = (Arc::clone(source), rejected.reason);
                    let count = move || sampled.metrics.sampled(reason);
                    self.sending.publish_without_waiting(
                        &source.sample(&rejected.raw, reason, &random_id().to_string()),
                        in_flight,
                        count,
                    );
                }
                answer
            }
        }
    }

    /// A time that is not now is the sender's fault only by a clock that is known to be right. Where no broker has told its
    /// time yet, the sample that is kept of this webhook brings it: when it comes again, our clock is proven, or is not.
    fn refusal(&self, reason: Unverified) -> Answer {
        match reason {
            Unverified::TimestampOutsideTolerance => match self.sending.publisher.clock_trust() {
                WallClockTrust::Trusted => Answer::Unauthentic,
                WallClockTrust::Unproven | WallClockTrust::Untrusted(_) => Answer::ClockUnproven,
            },
            Unverified::HeaderMissing
            | Unverified::SignatureMalformed
            | Unverified::SignatureMismatch
            | Unverified::NotDecryptable
            | Unverified::ForeignAccount => Answer::Unauthentic,
        }
    }

    /// Sends a record to quarantine and waits for its acknowledgement.
    async fn publish_to_quarantine(
        &self,
        source: &RunningSource,
        record: Record,
        reason: QuarantineReason,
        done: Answer,
        in_flight: &InFlightRequest,
    ) -> Answer {
        match self.sending.publish(record, in_flight).await {
            Published::Safe => {
                source.metrics.quarantined(reason);
                done
            }
            Published::TooLarge => Answer::NotAcknowledged,
            Published::Failed(answer) => answer,
        }
    }
}

/// An authentic webhook is safe.
fn published(source: &RunningSource, event: &Normalized, id: EventId) -> Answer {
    match &event.content {
        Content::Event(_) => {
            count_unread_fields(source, event, id);
            Answer::Accepted(id)
        }
        Content::Unrecognized => {
            source.metrics.unrecognized.increment(1);
            tracing::debug!(source = source.name, event_id = %id, "authentic webhook of unknown type");
            Answer::Unrecognized(id)
        }
        Content::Undecodable(why) => {
            source.metrics.quarantined(why.reason);
            tracing::debug!(source = source.name, event_id = %id, why.detail, "authentic webhook that cannot be decoded");
            Answer::Quarantined(id)
        }
    }
}

fn count_unread_fields(source: &RunningSource, event: &Normalized, id: EventId) {
    if event.unread_fields.is_empty() {
        return;
    }
    source.metrics.unread_fields.increment(u64::try_from(event.unread_fields.len()).unwrap_or(u64::MAX));
    let fields = event.unread_fields.join(", ");
    tracing::debug!(source = source.name, event_id = %id, fields, "event published without fields that could not be read");
}

fn duplicate(source: &RunningSource, id: EventId, origin: Origin) -> Answer {
    match origin {
        Origin::Local => source.metrics.dedup_hits_local.increment(1),
        Origin::Shared => source.metrics.dedup_hits_shared.increment(1),
    }
    Answer::Duplicate(id)
}

/// An answer in the words that the source's sender wants, else in these.
fn worded(source: &RunningSource, answer: Answer, otherwise: Wording) -> WordedAnswer {
    WordedAnswer { answer, wording: source.success_answer.clone().map_or(otherwise, Wording::Own) }
}

/// What a request takes besides its body: its head as received, and about what its task and buffers take.
fn head_size(request: &Request<Incoming>) -> usize {
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target = request.uri().path().len() + request.uri().query().map_or(0, str::len);
    target + headers + REQUEST_OVERHEAD_BYTES
}

/// What keeping a webhook takes, about: without its head, requests without a body would cost nothing.
fn kept_size(webhook: &RawWebhook) -> usize {
    let headers: usize = webhook.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    webhook.body.len() + webhook.path_suffix.len() + webhook.query.len() + headers + REQUEST_OVERHEAD_BYTES
}

/// Stands for an event id where there is none.
fn random_id() -> EventId {
    let mut bytes = [0; 16];
    // Without randomness the id is all zeroes, which no event has either.
    let _filled = aws_lc_rs::rand::fill(&mut bytes);
    EventId::from_bytes(bytes)
}
