//! One connection's requests: refuses those of doubtful framing, runs the handler, to its end even without a client, and answers for one that panics.
//! Must not know sockets or what the requests mean.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::clock::Clock;
use super::framing::{Framing, Next};
use super::head::Refusal;
use super::steps::Step;
use super::{ConnectionEvent, Peer, Server, protocol};

/// What hyper calls with each request of one connection.
pub(super) struct Requests<H, E> {
    pub(super) server: Arc<Server<H, E>>,
    pub(super) peer: Peer,
    pub(super) clock: Arc<Clock>,
    pub(super) framing: Arc<Mutex<Framing>>,
    /// Drops the handlers of HTTP/2's streams, which are in tasks of their own. Of this connection alone: a shared token
    /// would be everybody's lock.
    pub(super) hurry: CancellationToken,
}

type Handler = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

/// A handler at work, within its connection's task. Dropped before its end, because the connection is gone, it goes on in a
/// task of its own: what a client sent whole is done, whether it waits for the answer or not.
struct Work<H, E> {
    handler: Option<Handler>,
    server: Arc<Server<H, E>>,
}

/// What becomes of a handler.
enum Finished {
    /// It answered.
    Answered(Response<Full<Bytes>>),
    /// It panicked.
    Panicked,
    /// It was dropped at the end of the grace period.
    Dropped,
}

impl<H, F, E> Requests<H, E>
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
{
    /// Answers one request. All that concerns the connection happens in the call, before the future is polled:
    /// hyper reads on only afterwards.
    pub(super) fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + use<H, F, E> {
        let handling = self.clock.request_begins();
        let taken = self.take(&request).map(|next| (next, self.begin(request)));
        let server = Arc::clone(&self.server);
        // hyper polls a stream in its own task, which the connection's does not wake.
        let hurry = matches!(taken, Ok((Next::Stream, _))).then(|| self.hurry.clone());
        async move {
            let response = match taken {
                Ok((next, work)) => {
                    let finished = match hurry {
                        Some(hurry) => hurry.run_until_cancelled(work).await.unwrap_or(Finished::Dropped),
                        None => work.await,
                    };
                    let response = finished.response(&server.events);
                    match next {
                        Next::Close => closing(response),
                        Next::Request if server.steps.has_reached(Step::DRAIN) => closing(response),
                        Next::Request | Next::Stream => response,
                    }
                }
                Err(refusal) => refused(refusal, &server.events),
            };
            drop(handling);
            Ok(response)
        }
    }

    /// Brings the framing in step with hyper, and asks whether it is the only way to read it.
    fn take(&self, request: &Request<Incoming>) -> Result<Next, Refusal> {
        if request.version() == Version::HTTP_2 {
            return Ok(Next::Stream);
        }
        let head_bytes_max = protocol::head_bytes_max(&self.server.limits);
        let body_bytes = request.body().size_hint().exact();
        let next = self.framing.lock().unwrap_or_else(PoisonError::into_inner).request(head_bytes_max, body_bytes)?;
        only_chunked(request.headers()).map(|()| next)
    }

    /// The handler's work, which begins when it is polled first, or dropped.
    fn begin(&self, request: Request<Incoming>) -> Work<H, E> {
        let handler = (self.server.handler)(request, self.peer.clone());
        Work { handler: Some(Box::pin(handler)), server: Arc::clone(&self.server) }
    }
}

impl<H, E> Future for Work<H, E> {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        if self.server.steps.has_reached(Step::HURRY) {
            self.handler = None;
        }
        let Some(handler) = &mut self.handler else { return Poll::Ready(Finished::Dropped) };
        // A handler that panicked is not polled again.
        let finished = match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(response)) => Finished::Answered(response),
            Err(_panic) => Finished::Panicked,
        };
        self.handler = None;
        Poll::Ready(finished)
    }
}

impl<H, E> Drop for Work<H, E> {
    fn drop(&mut self) {
        if let Some(handler) = self.handler.take() {
            let steps = Arc::clone(&self.server.steps);
            self.server.work.spawn(async move {
                tokio::select! {
                    _unread = handler => {}
                    () = steps.reached(Step::HURRY) => {}
                }
            });
        }
    }
}

impl Finished {
    fn response<E: Fn(ConnectionEvent)>(self, events: &E) -> Response<Full<Bytes>> {
        match self {
            Self::Answered(response) => response,
            Self::Dropped => dropped(),
            Self::Panicked => {
                events(ConnectionEvent::HandlerPanicked);
                // Not the panic's text, which may hold a body's.
                error!("a request's handler panicked; it was answered 500");
                status(StatusCode::INTERNAL_SERVER_ERROR, r#"{"status":"internal_error"}"#)
            }
        }
    }
}

/// The grace period ended first. Whoever still hears it may come again.
fn dropped() -> Response<Full<Bytes>> {
    let mut response = closing(status(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"unavailable"}"#));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn refused<E: Fn(ConnectionEvent)>(refusal: Refusal, events: &E) -> Response<Full<Bytes>> {
    events(ConnectionEvent::Malformed);
    debug!(reason = %refusal, "a request was refused before its handler");
    closing(match refusal {
        Refusal::TooLarge => status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, r#"{"status":"head_too_large"}"#),
        Refusal::TwoFramings
        | Refusal::Repeated
        | Refusal::BareLineFeed
        | Refusal::UnknownCoding
        | Refusal::OutOfStep => status(StatusCode::BAD_REQUEST, r#"{"status":"bad_request"}"#),
    })
}

/// hyper takes `chunked` behind any other coding, which would hand the handler bytes that it cannot read.
fn only_chunked(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), _) => Err(Refusal::UnknownCoding),
    }
}

/// hyper reads no request after an answer with this field.
fn closing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn status(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
