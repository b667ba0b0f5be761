//! The HTTP server edge: sockets, TLS, HTTP/1.1 and HTTP/2, their clocks and bounds, and an orderly end.
//! A handler gets whole heads and streaming bodies of requests whose framing leaves no doubt.
//! Must not know what the requests mean: no paths, no configuration, no metrics' names.

mod alarm;
mod clock;
mod connection;
pub mod forwarded;
mod framing;
mod head;
mod protocol;
mod requests;
mod socket;
mod steps;
#[cfg(test)]
mod tests;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use protocol::Protocol;
use steps::{Step, Steps};

/// After a failed accept: file descriptors come back when connections end, which takes a moment; longer would be an outage.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// When a connection that waits for its next request is at rest: a client that sends one webhook after another does not pause
/// so long.
const REST_AFTER: Duration = Duration::from_secs(1);
/// Connections with hyper's buffers, of some 20 KiB each, beyond which one gives them back as soon as it has nothing to do:
/// many clients that send one webhook each, all within `REST_AFTER`, would take as much as if none came to rest. Whom so many
/// clients keep busy at once has less to fear from making hyper anew for each request.
const AWAKE_MAX: usize = 1024;

/// What clients get to take the last answers, after `grace`: they are some hundred bytes each.
const LAST_ANSWERS: Duration = Duration::from_millis(250);
/// Connections that are taken after the stop: what the kernel holds at most in its backlog.
const BACKLOG_MAX: usize = 1024;

/// What one client, and all of them together, may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections; the next is closed at accept.
    pub connections_max: usize,
    /// Bytes of a request's head; at least 8192, the smallest buffer that hyper works with.
    pub head_bytes_max: u32,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// From accept, TLS and version detection included, to the end of the first request's head;
    /// on HTTP/1 also from the first byte of a later request's head to its end.
    pub header_read_timeout: Duration,
    /// From the end of the last request's handler until the next request; a client that leaves its answer unread is cut by it too.
    pub keep_alive_timeout: Duration,
}

/// What a handler may know about the connection that its request came on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the TCP connection: a proxy, perhaps.
    pub address: SocketAddr,
    /// The certificate that the peer showed, in DER: the client CA signed it.
    pub client_certificate: Option<Arc<[u8]>>,
}

/// What happened to connections, for whoever counts it. `Accepted` minus `Closed` is the number of open ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionEvent {
    /// A connection was taken.
    Accepted,
    /// A connection was closed at accept, because `connections_max` are open. No `Closed` follows.
    Refused,
    /// The system gave no connection: out of file descriptors or memory. Comes at most ten times a second.
    AcceptFailed,
    /// The TLS handshake failed, a missing or foreign client certificate included.
    TlsFailed,
    /// A head (or, before it, the TLS handshake) was not complete within `header_read_timeout`.
    HeadTimedOut,
    /// No request came within `keep_alive_timeout`: how most connections end.
    IdleTimedOut,
    /// A request was not HTTP, or its end was open to more than one reading. It was answered 400 (or 414, 431).
    Malformed,
    /// A handler panicked; its request was answered 500.
    HandlerPanicked,
    /// A connection that was `Accepted` is gone, for whatever reason.
    Closed,
}

/// How a server ends: in three steps.
#[derive(Clone, Debug)]
pub struct End {
    /// Serve on, and let each connection end as soon as it was told so: HTTP/1.1 with its next answer, HTTP/2 with GOAWAY after
    /// its first request. Its client connects anew, elsewhere perhaps. One that ends untold may have a request on its way
    /// to it, which nobody would answer.
    pub drain: CancellationToken,
    /// Take no more.
    pub stop: CancellationToken,
    /// How long connections and handlers have after the stop.
    pub grace: Duration,
}

/// What every connection of one listener shares.
struct Server<H, E> {
    tls: Option<tls::Acceptor>,
    limits: Limits,
    /// One for each connection that may be open.
    places: Arc<Semaphore>,
    protocol: Protocol,
    handler: H,
    events: E,
    /// Connections and handlers: whom the end waits for.
    work: TaskTracker,
    /// How far the end is.
    steps: Arc<Steps>,
    resting: Arc<Resting>,
}

/// When connections give hyper's buffers back, and how many have not.
struct Resting {
    /// So long after a request.
    after: Duration,
    /// More than so many do it at once when nothing is to be done.
    awake_max: usize,
    awake: AtomicUsize,
}

/// Drops every connection and handler when it is dropped itself.
struct Kills(Arc<Steps>);

/// Serves `listener` until the stop, then closes it, tells every connection to finish, waits for connections and handlers
/// at most the grace period, answers 503 to what is left, drops what does not take that at once, and returns. Dropping the
/// future drops everything at once.
///
/// `handler` runs in its connection's task, or its stream's, and goes on in one of its own when its client hangs up. Its panic
/// is a 500. It sets its own deadlines: while it runs, no clock of the connection does. `events` must not block.
pub async fn serve<H, F, E>(
    listener: TcpListener,
    tls: Option<tls::Acceptor>,
    limits: Limits,
    handler: H,
    events: E,
    end: End,
) where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
{
    serve_resting(listener, Server::new(tls, limits, handler, events, Arc::default()), end).await;
}

async fn serve_resting<H, F, E>(listener: TcpListener, server: Server<H, E>, end: End)
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
{
    let (work, steps, server) = (server.work.clone(), Arc::clone(&server.steps), Arc::new(server));
    let _kills = Kills(Arc::clone(&steps));

    // Biased by order: a cancelled `stop` wins over a full backlog.
    tokio::select! {
        biased;
        () = end.stop.cancelled() => {}
        () = drains(&end.drain, &steps) => {}
        () = accept_all(&listener, &server) => {}
    }
    steps.reach(Step::STOP);
    take_backlog(listener, &server);
    work.close();
    match timeout(end.grace, work.wait()).await {
        Ok(()) => info!("all connections finished"),
        Err(_elapsed) => {
            warn!(
                unfinished = work.len(),
                "connections or requests are dropped: their part of the grace period is over"
            );
            steps.reach(Step::HURRY);
            // In time or not: whoever does not take its answer now is dropped with it.
            let _all_answered = timeout(LAST_ANSWERS, work.wait()).await;
        }
    }
}

/// Passes the word on, and then only waits.
async fn drains(drain: &CancellationToken, steps: &Steps) {
    drain.cancelled().await;
    steps.reach(Step::DRAIN);
    std::future::pending::<()>().await;
}

/// Takes connections for ever.
async fn accept_all<H, F, E>(listener: &TcpListener, server: &Arc<Server<H, E>>)
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
{
    let mut failing = false;
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                (server.events)(ConnectionEvent::AcceptFailed);
                if !failing {
                    warn!(%error, "no connections can be accepted for now; the open files limit, perhaps");
                }
                failing = true;
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        failing = false;
        take(server, stream, address);
    }
}

/// Takes what the kernel has connected already, and closes the listener, which would reset it, request and all. The kernel
/// itself is asked: the runtime may not have heard of the last ones yet. What connects between its last answer and the
/// close, within microseconds, is reset all the same.
fn take_backlog<H, F, E>(listener: TcpListener, server: &Arc<Server<H, E>>)
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
{
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG_MAX {
        let Ok((stream, address)) = listener.accept() else { return };
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
            take(server, stream, address);
        }
    }
}

fn take<H, F, E>(server: &Arc<Server<H, E>>, stream: TcpStream, address: SocketAddr)
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
{
    let Ok(place) = Arc::clone(&server.places).try_acquire_owned() else {
        return (server.events)(ConnectionEvent::Refused);
    };
    no_delay(&stream);
    server.work.spawn(connection::run(Arc::clone(server), stream, address, place));
}

/// Answers are small and complete: waiting for more to send with them would only delay them.
fn no_delay(stream: &TcpStream) {
    // A socket that refuses the option is one that its client has closed already: the first read will tell.
    let _ = stream.set_nodelay(true);
}

impl Drop for Kills {
    fn drop(&mut self) {
        self.0.reach(Step::KILL);
    }
}

impl<H, E> Server<H, E> {
    fn new(tls: Option<tls::Acceptor>, limits: Limits, handler: H, events: E, resting: Arc<Resting>) -> Self {
        let protocol = Protocol::new(&limits);
        let places = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
        let (work, steps) = (TaskTracker::new(), Arc::default());
        Self { tls, limits, places, protocol, handler, events, work, steps, resting }
    }
}

impl Default for Resting {
    fn default() -> Self {
        Self { after: REST_AFTER, awake_max: AWAKE_MAX, awake: AtomicUsize::new(0) }
    }
}

impl Resting {
    fn is_crowded(&self) -> bool {
        self.awake.load(Ordering::Relaxed) > self.awake_max
    }
}
