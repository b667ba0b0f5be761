//! One call over HTTP: sent once, answered within its time, whatever happens on the way.
//! Must not know queues, breakers, or why the call is made.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, USER_AGENT};
use http::response::Parts;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;
use tracing::debug;

use super::{ProviderCall, content_encoding, retry_after_and_date};
use crate::error_chain;
use crate::https::{self, Connector, HttpsError, Roots};
use crate::provider::smart_glocal::api::ShownSession;
use crate::provider::smart_glocal::api::{self, FailureScope, Operation, Reply, SessionApi};

/// Connections kept for the next call: more at once are rare, and are closed again.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// How long: below the time after which most servers close, so that a call seldom meets a closing connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Heads of answers are some hundred bytes.
const HEAD_BYTES_MAX: u16 = 32 * 1024;

/// Carries calls over pooled connections.
pub(super) struct Transport {
    client: Client<Connector, Full<Bytes>>,
    timeout: Duration,
}

/// What came back.
pub(super) struct Exchange {
    pub reply: Reply,
    /// The whole session of a status's answer, where that can be read.
    pub session: Option<Box<ShownSession>>,
    /// Of a call that was not processed: whether that may concern this session alone.
    pub scope: FailureScope,
    pub times: HeadTimes,
    /// What was seen of the answer, or instead of it, for whoever is on call: nothing that a session or its customer is.
    pub seen: String,
}

/// What the answer's head said about time; nothing where none came.
#[derive(Default)]
pub(super) struct HeadTimes {
    pub retry_after: Option<Duration>,
    pub clock_skew: Option<SignedDuration>,
}

impl Exchange {
    /// Nothing came back.
    pub fn without_answer(reply: Reply, seen: String) -> Self {
        Self { reply, session: None, scope: FailureScope::Source, times: HeadTimes::default(), seen }
    }
}

impl Transport {
    /// A call and its answer take at most `timeout`, from connecting to the last byte.
    pub fn new(roots: Roots, timeout: Duration) -> Result<Self, HttpsError> {
        // A call that could not even connect had no effect: so that is told before the whole time is over.
        let connector = https::connector(roots, timeout / 2)?;
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(usize::from(HEAD_BYTES_MAX))
            .http2_max_header_list_size(u32::from(HEAD_BYTES_MAX))
            // All calls share one connection of HTTP/2. Where it has died silently it is given up within one call's time, or
            // every call would time out on it until the system notices.
            .http2_keep_alive_interval(timeout / 4)
            .http2_keep_alive_timeout(timeout / 4)
            // Only what was given back unsent, because an idle connection had just been closed.
            .retry_canceled_requests(true)
            .build(connector);
        Ok(Self { client, timeout })
    }

    /// Sends a call and reads its answer.
    pub async fn exchange(&self, api: &SessionApi, call: &ProviderCall) -> Exchange {
        let mut times = HeadTimes::default();
        // What the head said stays known when the body never ends.
        let exchange = match timeout(self.timeout, self.ask(api, call, &mut times)).await {
            Ok(asked) => asked,
            Err(_elapsed) => {
                let seen = format!("no answer within {} ms", self.timeout.as_millis());
                Exchange::without_answer(Reply::Unclear, seen)
            }
        };
        Exchange { times, ..exchange }
    }

    async fn ask(&self, api: &SessionApi, call: &ProviderCall, times: &mut HeadTimes) -> Exchange {
        let request = request(api, call);
        let (began, clock) = (Timestamp::now(), Instant::now());
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => {
                // The outermost only says that the client failed.
                let seen = error_chain::joined(&error);
                debug!(session = %call.key, operation = call.operation.as_str(), error = seen, "a call failed");
                // Neither TCP nor TLS came about: nothing was sent. Anything later may have had its effect.
                let reply = if error.is_connect() { Reply::NotProcessed } else { Reply::Unclear };
                return Exchange::without_answer(reply, seen);
            }
        };
        let (head, body) = response.into_parts();
        *times = HeadTimes::of(&head, began, clock.elapsed());
        // A body that breaks off, is too large or cannot be decoded says nothing; the status alone may.
        let body = Limited::new(body, api.response_bytes_max()).collect().await;
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        let body = content_encoding::decoded(&head.headers, body, api.response_bytes_max()).unwrap_or_default();
        let reply = api::read(call.operation, &call.key.session_id, head.status, &body);
        let seen = match &reply {
            Reply::NotProcessed | Reply::Unclear => seen(head.status, &body),
            _ => String::new(), // nobody asks
        };
        let session = match call.operation {
            Operation::Status => api::session(&call.key.session_id, head.status, &body).map(Box::new),
            Operation::Confirm | Operation::Cancel => None,
        };
        Exchange { reply, session, scope: api::failure_scope(head.status, &body), times: HeadTimes::default(), seen }
    }
}

impl HeadTimes {
    fn of(head: &Parts, began: Timestamp, passed: Duration) -> Self {
        Self {
            retry_after: retry_after_and_date::retry_after(&head.headers, began),
            clock_skew: retry_after_and_date::clock_skew(&head.headers, began, passed),
        }
    }
}

fn seen(status: StatusCode, body: &[u8]) -> String {
    match api::not_processed_code(body) {
        Some(code) => format!("HTTP status {}, {code}", status.as_u16()),
        None => format!("HTTP status {}", status.as_u16()),
    }
}

fn request(api: &SessionApi, call: &ProviderCall) -> Request<Full<Bytes>> {
    let key = call.operation.idempotency_key(&call.key.session_id, call.key_number);
    let mut request = api.request(call.operation, &call.key.session_id, key.as_deref()).map(Full::new);
    let agent = HeaderValue::from_static(concat!("paybridge/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, agent);
    // Answers are small; what comes encoded all the same is decoded.
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    request
}
