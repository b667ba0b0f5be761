//! One connection, from accept to close: TLS, then HTTP, on one clock. hyper has it only while there is something to do: a
//! connection at rest is a socket, a clock and a timer, for hyper's buffers would be most of what idle connections take.
//! Must not know what the requests mean.

mod awake;
mod resting;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::alarm::Alarm;
use super::clock::Clock;
use super::framing::Framing;
use super::socket::{OverTcp, Socket, Traffic};
use super::steps::{Step, Steps};
use super::{ConnectionEvent, Peer, Server, tls};

/// How old a connection must be at the stop to be closed when it has no request.
const FIRST_REQUEST_AT_STOP: Duration = Duration::from_millis(250);
/// How often a connection that is to be closed is looked at again, because a request is on its way.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Says that a connection opened and, however it ends, that it closed.
struct Open<E: Fn(ConnectionEvent)>(E);

/// What a connection has from its first byte of HTTP to its last, at rest or awake.
struct Line<'a, H, E> {
    server: &'a Arc<Server<H, E>>,
    peer: Peer,
    opened: Instant,
    clock: Arc<Clock>,
    framing: Arc<Mutex<Framing>>,
    traffic: Arc<Traffic>,
}

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
    let connection = pin!(speak(&server, stream, address));
    server.steps.attend(connection).await;
}

async fn speak<H, F, E>(server: &Arc<Server<H, E>>, stream: TcpStream, address: SocketAddr)
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
{
    let clock = Clock::new(server.limits.header_read_timeout, server.limits.keep_alive_timeout, server.resting.after);
    match &server.tls {
        None => http(server, stream, Peer { address, client_certificate: None }, clock).await,
        // In a box: a connection without TLS would be as large as one with it.
        Some(acceptor) => Box::pin(https(server, acceptor, stream, address, clock)).await,
    }
}

async fn https<H, F, E>(
    server: &Arc<Server<H, E>>,
    acceptor: &tls::Acceptor,
    stream: TcpStream,
    address: SocketAddr,
    clock: Arc<Clock>,
) where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
{
    let opened = Instant::now();
    let shaken = tokio::select! {
        shaken = handshake(acceptor, stream, &clock, &server.events) => shaken,
        () = stops(&server.steps, opened) => None,
    };
    let Some(stream) = shaken else { return };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let client_certificate = shown.map(|certificate| Arc::from(certificate.as_ref()));
    http(server, stream, Peer { address, client_certificate }, clock).await;
}

/// Shakes hands while the first head's time runs.
async fn handshake<E: Fn(ConnectionEvent)>(
    acceptor: &tls::Acceptor,
    stream: TcpStream,
    clock: &Clock,
    events: &E,
) -> Option<TlsStream<TcpStream>> {
    // In a box: it is gone when the hands are shaken.
    let handshake = Box::pin(acceptor.accept(stream));
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

/// Speaks HTTP until the client, the clock, or the server's stop ends it: by turns at rest and awake, at rest first.
/// The future has what is made here, and not what it is made of, too.
fn http<H, F, E, S>(
    server: &Arc<Server<H, E>>,
    stream: S,
    peer: Peer,
    clock: Arc<Clock>,
) -> impl Future<Output = ()> + Send
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
    S: AsyncRead + AsyncWrite + OverTcp + Unpin + Send + 'static,
{
    let (framing, traffic) = (Arc::<Mutex<Framing>>::default(), Arc::<Traffic>::default());
    let mut socket = Socket::new(stream, Arc::clone(&framing), Arc::clone(&clock), Arc::clone(&traffic));
    let line = Line { server, peer, opened: Instant::now(), clock, framing, traffic };
    let mut alarm = Alarm::new();
    async move {
        while let Some(version) = resting::wakes(&line, &mut socket, &mut alarm).await {
            // In a box, which is gone while the connection rests.
            match Box::pin(awake::serves(&line, socket, version, &mut alarm)).await {
                Some(rested) => socket = rested,
                None => return,
            }
        }
    }
}

/// A connection that is new at the stop gets a moment for its first request, which may be in the socket already:
/// hyper closes a connection that has none, and the kernel then resets what was not read.
async fn stops(steps: &Steps, opened: Instant) {
    steps.seen(Step::STOP).await;
    sleep_until(opened + FIRST_REQUEST_AT_STOP).await;
}

fn locked(framing: &Mutex<Framing>) -> MutexGuard<'_, Framing> {
    framing.lock().unwrap_or_else(PoisonError::into_inner)
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
