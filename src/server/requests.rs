//! One connection's requests: each goes on when its client hangs up, and is answered from the server's table when it panics or
//! the server's end comes first.
//! Must not know sockets or what the requests mean.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::error;

use super::activity::ConnectionActivity;
use super::{AnswerBody, ConnectionEvent, Peer, Server, Unanswered, WebService, Why};

/// What hyper calls with each request of one connection.
pub(super) struct Requests<S, B> {
    pub(super) server: Arc<Server<S, B>>,
    pub(super) peer: Peer,
    pub(super) activity: Arc<ConnectionActivity>,
}

impl<S: WebService<B>, B: AnswerBody> Requests<S, B> {
    /// Answers one request. That it is handled is noted in the call, before the future is polled: hyper reads on only
    /// afterwards.
    pub(super) fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<B>, Infallible>> + Send + use<S, B> {
        let is_http2 = request.version() == Version::HTTP_2;
        let handling = self.activity.request_begins(request.version());
        request.extensions_mut().insert(self.peer.clone());
        let (server, uri, begun) = (Arc::clone(&self.server), request.uri().clone(), Instant::now());
        let unanswered = move |why| Unanswered { why, uri: uri.clone(), after: begun.elapsed() };
        // In a box: the future is some kilobytes, and would be copied with each that holds it.
        let call = Box::pin(server.service.call(request));
        let work = DetachedWhenDropped::new(server.work.track_future(work(Arc::clone(&server), call, unanswered)));
        async move {
            let mut response = work.await;
            // hyper reads no request after an answer with this field; HTTP/2 has GOAWAY.
            if !is_http2 && server.ending.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            drop(handling);
            Ok(response)
        }
    }
}

/// The work on one request: the service's, unless it panics or the end of the grace period comes first.
async fn work<S: WebService<B>, B: AnswerBody>(
    server: Arc<Server<S, B>>,
    mut call: Pin<Box<S::Future>>,
    unanswered: impl Fn(Why) -> Unanswered,
) -> Response<B> {
    let guarded = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
        Ok(polled) => polled.map(Some),
        Err(_panic) => Poll::Ready(None),
    });
    match server.hurry.run_until_cancelled(guarded).await {
        Some(Some(Ok(response))) => response,
        Some(None) => {
            (server.events)(ConnectionEvent::HandlerPanicked);
            // Not the panic's text, which may hold a body's.
            error!("bug: the handler of a request panicked; the request is answered 500");
            (server.answers)(unanswered(Why::Panicked))
        }
        None => (server.answers)(unanswered(Why::GraceOver)),
    }
}

/// A future that its owner polls as its own, and that goes on in a task when its owner drops it: hyper drops the answers of a
/// connection that broke. A task for each request from the start would take some 2,800 instructions more.
struct DetachedWhenDropped<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> DetachedWhenDropped<F> {
    fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for DetachedWhenDropped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // It is gone once it was ready, and nobody polls after that.
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let output = ready!(future.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for DetachedWhenDropped<F> {
    fn drop(&mut self) {
        // Without a runtime nothing can go on: the process ends.
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            drop(runtime.spawn(future));
        }
    }
}
