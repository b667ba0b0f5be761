//! One connection, from accept to close: TLS, then HTTP, on one clock.
//! Must not know what the requests mean.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::clock::{Clock, Wait};
use super::framing::Framing;
use super::requests::Requests;
use super::socket::{OverTcp, Socket, Unread};
use super::{ConnectionEvent, Peer, Server, tls};

/// How old a connection must be at the stop to be closed when it has no request.
const FIRST_REQUEST_AT_STOP: Duration = Duration::from_millis(250);
/// How often a connection that is to be closed is looked at again, because a request is on its way.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Says that a connection opened and, however it ends, that it closed.
struct Open<E: Fn(ConnectionEvent)>(E);

/// Serves one accepted connection until it ends. `_place` is its share of `connections_max`.
pub(super) async fn run<H, F, E>(
    server: Arc<Server<H, E>>,
    stream: TcpStream,
    address: SocketAddr,
    _place: OwnedSemaphorePermit,
) where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
{
    let _open = Open::new(server.events.clone());
    let clock = Clock::new(server.limits.header_read_timeout, server.limits.keep_alive_timeout);
    let Some(acceptor) = &server.tls else {
        return http(&server, stream, Peer { address, client_certificate: false }, clock).await;
    };
    let opened = Instant::now();
    let shaken = tokio::select! {
        shaken = handshake(acceptor, stream, &clock, &server.events) => shaken,
        () = stops(&server.stop, opened) => None,
    };
    let Some(stream) = shaken else { return };
    let client_certificate = stream.get_ref().1.peer_certificates().is_some();
    http(&server, stream, Peer { address, client_certificate }, clock).await;
}

/// Shakes hands while the first head's time runs.
async fn handshake<E: Fn(ConnectionEvent)>(
    acceptor: &tls::Acceptor,
    stream: TcpStream,
    clock: &Clock,
    events: &E,
) -> Option<TlsStream<TcpStream>> {
    let handshake = acceptor.accept(stream);
    let result = match clock.deadline() {
        Some((at, _)) => timeout_at(at, handshake).await,
        None => Ok(handshake.await),
    };
    match result {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            events(ConnectionEvent::TlsFailed);
            debug!(%error, "TLS handshake failed");
            None
        }
        Err(_elapsed) => {
            events(ConnectionEvent::HeadTimedOut);
            None
        }
    }
}

/// Speaks HTTP until the client, the clock, or the server's stop ends it.
async fn http<H, F, E, S>(server: &Arc<Server<H, E>>, stream: S, peer: Peer, clock: Arc<Clock>)
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
    S: AsyncRead + AsyncWrite + OverTcp + Unpin + Send + 'static,
{
    let opened = Instant::now();
    let (framing, unread) = (Arc::new(Mutex::new(Framing::default())), Arc::new(Unread::default()));
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&framing), Arc::clone(&clock), Arc::clone(&unread)));
    // Of this connection alone: shared tokens would be everybody's lock.
    let (drain, hurry) = (server.drain.child_token(), server.hurry.child_token());
    let requests = Requests {
        server: Arc::clone(server),
        peer,
        clock: Arc::clone(&clock),
        framing: Arc::clone(&framing),
        drain: drain.clone(),
        hurry: hurry.clone(),
    };
    let mut connection = pin!(server.http.serve_connection(socket, service_fn(|request| requests.answer(request))));
    let mut drained = pin!(drain.cancelled());
    let mut stop = pin!(async {
        server.stop.cancelled().await;
        drain.cancel();
        stops(&server.stop, opened).await;
        rests(&unread, &framing, &clock).await;
    });
    let mut hurried = pin!(hurry.cancelled());
    let (mut draining, mut told, mut finishing, mut hurrying) = (false, false, false, false);
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut timer_at = None;

    loop {
        match clock.deadline() {
            Some((at, _)) if timer_at.is_none_or(|timer_at| at < timer_at) => {
                timer.as_mut().reset(at);
                timer_at = Some(at);
            }
            Some(_) | None => {}
        }
        // Biased by order: what the connection did may have moved the deadline, or be what others wait for.
        tokio::select! {
            biased;
            ended = connection.as_mut() => return log_end(ended, &server.events),
            () = clock.outruns(timer_at) => {}
            () = timer.as_mut(), if timer_at.is_some() => {
                timer_at = None;
                match clock.expired() {
                    Some(Wait::Head) => return (server.events)(ConnectionEvent::HeadTimedOut),
                    Some(Wait::Idle) => {
                        (server.events)(ConnectionEvent::IdleTimedOut);
                        // Tells an HTTP/2 client which requests it may send again elsewhere.
                        connection.as_mut().graceful_shutdown();
                        clock.closes();
                    }
                    Some(Wait::Closing) => {
                        // Once more: the socket sees the time, too, and lets hyper say how it ended.
                        return tokio::select! {
                            biased;
                            ended = connection.as_mut() => log_end(ended, &server.events),
                            () = std::future::ready(()) => {}
                        };
                    }
                    // Set for what is over by now.
                    None => {}
                }
            },
            () = drained.as_mut(), if !draining => draining = true,
            // HTTP/1.1 is told with an answer.
            () = asked_by_http2(&framing, &clock), if draining && !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = stop.as_mut(), if !finishing => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            // Its request finds the token cancelled.
            () = hurried.as_mut(), if !hurrying => hurrying = true,
        }
    }
}

/// Returns when an HTTP/2 connection has had its first request. Both change only while the connection is polled, and this is
/// polled after it.
async fn asked_by_http2(framing: &Mutex<Framing>, clock: &Clock) {
    poll_fn(|_| {
        let in_first_head = || matches!(clock.deadline(), Some((_, Wait::Head)));
        if locked(framing).is_http2() && !in_first_head() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn locked(framing: &Mutex<Framing>) -> MutexGuard<'_, Framing> {
    framing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that is new at the stop gets a moment for its first request, which may be in the socket already:
/// hyper closes a connection that has none, and the kernel then resets what was not read.
async fn stops(stop: &CancellationToken, opened: Instant) {
    stop.cancelled().await;
    sleep_until(opened + FIRST_REQUEST_AT_STOP).await;
}

/// Returns when the connection handles a request, whose answer then is its last, or when nothing of one has come: hyper closes
/// a connection without a request, half a head or not, and what the kernel has of one.
async fn rests(unread: &Unread, framing: &Mutex<Framing>, clock: &Clock) {
    unread.ask();
    loop {
        // The connection is polled before this is, so hyper has read, and found what the kernel had just now.
        sleep(LOOK_AGAIN).await;
        let is_handling = clock.deadline().is_none();
        let has_begun = unread.are_there() || locked(framing).is_in_head();
        if is_handling || !has_begun {
            return;
        }
    }
}

/// A client may end as it likes: worth counting only when what it sent was not HTTP.
fn log_end<E: Fn(ConnectionEvent)>(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>, events: &E) {
    let Err(error) = ended else { return };
    if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        events(ConnectionEvent::Malformed);
    }
    debug!(%error, "a connection ended with an error");
}

impl<E: Fn(ConnectionEvent)> Open<E> {
    fn new(events: E) -> Self {
        events(ConnectionEvent::Accepted);
        Self(events)
    }
}

impl<E: Fn(ConnectionEvent)> Drop for Open<E> {
    fn drop(&mut self) {
        (self.0)(ConnectionEvent::Closed);
    }
}
