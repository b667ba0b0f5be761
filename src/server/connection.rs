//! One connection, from accept to close: TLS, then hyper, until the client, its time, or the server's end ends it.
//! Must not know what the requests mean.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::activity::{Activity, Wait};
use super::places::Place;
use super::requests::Requests;
use super::socket::Socket;
use super::{AnswerBody, BoxError, ConnectionEvent, Events, Peer, Server, WebService, tls};

/// Says that a connection opened and, however it ends, that it closed.
struct Open(Events);

/// Serves one accepted connection until it ends. `place` is its share of `connections_max`.
pub(super) async fn run<S, B>(server: Arc<Server<S, B>>, stream: TcpStream, address: SocketAddr, place: Place)
where
    S: WebService<B>,
    B: AnswerBody,
{
    let _open = Open::new(Arc::clone(&server.events));
    let Some(acceptor) = &server.tls else {
        return http(&server, stream, Peer { address, client_certificate: None }, &place.activity).await;
    };
    // In a box: it is gone when the hands are shaken.
    let Some(stream) = Box::pin(handshake(acceptor, stream, &place.activity, &server.events)).await else { return };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let client_certificate = shown.map(|certificate| Arc::from(certificate.as_ref()));
    http(&server, stream, Peer { address, client_certificate }, &place.activity).await;
}

/// Shakes hands while the first head's time runs.
async fn handshake(
    acceptor: &tls::Acceptor,
    stream: TcpStream,
    activity: &Arc<Activity>,
    events: &Events,
) -> Option<TlsStream<TcpStream>> {
    let mut time = Time::new(activity);
    tokio::select! {
        biased;
        shaken = acceptor.accept(stream) => {
            shaken.inspect_err(|error| {
                events(ConnectionEvent::TlsFailed);
                debug!(%error, "TLS handshake failed");
            })
            .ok()
        }
        over = std::future::poll_fn(|context| time.poll(context)) => {
            if over == Wait::Head {
                events(ConnectionEvent::HeadTimedOut);
            }
            None
        }
    }
}

/// Speaks HTTP, the version that the client chooses.
async fn http<S, B, I>(server: &Arc<Server<S, B>>, stream: I, peer: Peer, activity: &Arc<Activity>)
where
    S: WebService<B>,
    B: AnswerBody,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let events = &server.events;
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(activity)));
    let requests = Requests { server: Arc::clone(server), peer, activity: Arc::clone(activity) };
    let service = service_fn(move |request| requests.answer(request));
    let mut hyper = Box::pin(server.http.serve_connection(socket, service));
    let mut time = Time::new(activity);
    loop {
        // Biased by order: what came counts before the time is looked at, and a request may have put it off.
        let over = tokio::select! {
            biased;
            ended = hyper.as_mut() => return log_end(ended, events),
            over = std::future::poll_fn(|context| time.poll(context)) => over,
        };
        match over {
            Wait::Head => return events(ConnectionEvent::HeadTimedOut),
            Wait::Closing => return,
            Wait::Idle => events(ConnectionEvent::IdleTimedOut),
            Wait::End => {}
        }
        // HTTP/1.1 ends with the answer that is on its way, or at once where there is none; HTTP/2 tells its client which
        // requests it may send again elsewhere.
        hyper.as_mut().graceful_shutdown();
        activity.closes();
    }
}

/// A client may end as it likes: worth counting only when what it sent was not HTTP.
fn log_end(ended: Result<(), BoxError>, events: &Events) {
    let Err(error) = ended else { return };
    if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        events(ConnectionEvent::Malformed);
    }
    debug!(error, "a connection ended with an error");
}

/// The one timer of a connection. It is set anew only when it would ring too late: a busy connection, whose time is put off
/// with each request, leaves it alone until it rings for what is over by then.
struct Time<'a> {
    activity: &'a Activity,
    timer: Pin<Box<Sleep>>,
}

impl<'a> Time<'a> {
    fn new(activity: &'a Activity) -> Self {
        let at = activity.next().map_or_else(Instant::now, |(at, _)| at);
        Self { activity, timer: Box::pin(sleep_until(at)) }
    }

    /// Gives what was waited for too long. Polled after the connection, it sees what that did.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Wait> {
        self.activity.register(context.waker());
        while let Some((at, wait)) = self.activity.next() {
            if at <= Instant::now() {
                return Poll::Ready(wait);
            }
            if at < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(at);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Pending
    }
}

impl Open {
    fn new(events: Events) -> Self {
        events(ConnectionEvent::Accepted);
        Self(events)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.0)(ConnectionEvent::Closed);
    }
}
