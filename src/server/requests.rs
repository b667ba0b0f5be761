//! One connection's requests: each has a task of its own, which goes on when its client hangs up, and is answered from the
//! server's table when it panics or the server's end comes first.
//! Must not know sockets or what the requests mean.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
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
        // In a box: the future is some kilobytes, and a task's is copied several times before its first poll.
        let call = Box::pin(server.service.call(request));
        let work = server.work.spawn(work(Arc::clone(&server), call, unanswered.clone()));
        async move {
            let mut response = match work.await {
                Ok(response) => response,
                Err(_panic) => {
                    (server.events)(ConnectionEvent::HandlerPanicked);
                    // Not the panic's text, which may hold a body's.
                    error!("a request's handler panicked; it was answered 500");
                    (server.answers)(unanswered(Why::Panicked))
                }
            };
            // hyper reads no request after an answer with this field; HTTP/2 has GOAWAY.
            if !is_http2 && server.ending.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            drop(handling);
            Ok(response)
        }
    }
}

/// The request's own task: the service, or the end of the grace period.
async fn work<S: WebService<B>, B: AnswerBody>(
    server: Arc<Server<S, B>>,
    call: Pin<Box<S::Future>>,
    unanswered: impl Fn(Why) -> Unanswered,
) -> Response<B> {
    match server.hurry.run_until_cancelled(call).await {
        Some(Ok(response)) => response,
        None => (server.answers)(unanswered(Why::GraceOver)),
    }
}
