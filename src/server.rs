//! The HTTP server edge: sockets, TLS, hyper for HTTP/1.1 and HTTP/2, their times and bounds, and an orderly end.
//! Serves any hyper service, and answers from its owner's table where the service cannot.
//! Must not know what the requests mean: no paths, no configuration, no metrics' names.

mod activity;
mod connection;
mod connections;
mod protocol;
mod requests;
mod socket;
#[cfg(test)]
mod tests;
pub mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use activity::ConnectionActivity;
use connections::Connections;

/// After a failed accept: file descriptors come back when connections end, which takes a moment; longer would be an outage.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What clients get to take the last answers, after `grace`: they are some hundred bytes each.
const LAST_ANSWERS: Duration = Duration::from_millis(250);
/// Connections that are taken after the stop: what the kernel holds at most in its backlog.
const BACKLOG_MAX: usize = 1024;

/// What one client, and all of them together, may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections. Beyond it one whose client is silent, or else the one that has been idle longest, makes room; where each
    /// has a request, the new one is closed at accept. Those that are ending do not count, unless they are more than an eighth.
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
    /// From the end of the last request's handler until the next request; a client that leaves its answer unread is cut by it
    /// too, but for one of HTTP/2 that goes on asking: of its answers at most `streams_max` wait.
    pub keep_alive_timeout: Duration,
}

/// What a service may know about the connection that its request came on: an extension of each request.
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
    /// A connection was closed at accept: `connections_max` are open and each has a request, or an eighth more are still ending.
    /// No `Closed` follows.
    Refused,
    /// `connections_max` were open, and the one that had been idle longest was told to end. Its `Closed` follows.
    MadeRoom,
    /// The system gave no connection: out of file descriptors or memory. Comes at most ten times a second.
    AcceptFailed,
    /// The TLS handshake failed, a missing or foreign client certificate included.
    TlsFailed,
    /// A head (or, before it, the TLS handshake) was not complete within `header_read_timeout`.
    HeadTimedOut,
    /// No request came within `keep_alive_timeout`: how most connections end.
    IdleTimedOut,
    /// A request was not HTTP/1: hyper answered 400 or 431.
    Malformed,
    /// A service panicked on a request.
    HandlerPanicked,
    /// A connection that was `Accepted` is gone, for whatever reason.
    Closed,
}

/// A request that the service gave no answer to.
#[derive(Clone, Debug)]
pub struct Unanswered {
    /// Why.
    pub why: Why,
    /// What it was for.
    pub uri: Uri,
    /// Since the end of its head.
    pub after: Duration,
}

/// Why a service gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It panicked.
    Panicked,
    /// The grace period ended first.
    GraceOver,
}

/// Is told what happens to connections. Must not block.
pub type Events = Arc<dyn Fn(ConnectionEvent) + Send + Sync>;

/// The table of answers: what is answered where the service gave none, once for each such request.
pub type Answers<B> = Arc<dyn Fn(Unanswered) -> Response<B> + Send + Sync>;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Any hyper service that always answers, a router too. It finds a [`Peer`] in each request's extensions.
pub trait WebService<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S, B> WebService<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Any body that an answer may have.
pub trait AnswerBody: Body<Data: Send, Error: Into<BoxError>> + Send + 'static {}

impl<B> AnswerBody for B where B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static {}

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
struct Server<S, B> {
    tls: Option<tls::Acceptor>,
    http: auto::Builder<TokioExecutor>,
    service: S,
    answers: Answers<B>,
    events: Events,
    /// Each HTTP/1.1 connection ends with its next answer.
    ending: CancellationToken,
    /// Requests at work.
    work: TaskTracker,
    /// Ends all requests.
    hurry: CancellationToken,
}

/// Serves `listener` until the stop, then closes it, tells every connection to finish, waits for connections and requests
/// at most the grace period, answers what is left from the table, drops what does not take that at once, and returns. Dropping
/// the future drops everything at once.
///
/// Each request is handled in its connection's task, and goes on in one of its own when its client hangs up. `service` sets its own
/// deadlines: while it works, no time of the connection runs.
pub async fn serve<S: WebService<B>, B: AnswerBody>(
    listener: TcpListener,
    tls: Option<tls::Acceptor>,
    limits: Limits,
    service: S,
    answers: Answers<B>,
    events: Events,
    end: End,
) {
    let http = protocol::builder(&limits);
    let (ending, work, hurry) = (end.drain.child_token(), TaskTracker::new(), CancellationToken::new());
    let mut connections = Connections::new(limits, Arc::clone(&events), ending.clone());
    let _hurries_when_dropped = hurry.clone().drop_guard();
    let server = Arc::new(Server { tls, http, service, answers, events, ending, work, hurry });

    // Biased by order: a cancelled `stop` wins over a full backlog.
    tokio::select! {
        biased;
        () = end.stop.cancelled() => {}
        () = accept_all(&listener, &server, &mut connections) => {}
    }
    server.ending.cancel();
    connections.stop();
    take_backlog(listener, &server, &mut connections);
    server.work.close();
    match timeout(end.grace, finish(&server, &mut connections)).await {
        Ok(()) => info!("all connections finished"),
        Err(_elapsed) => {
            warn!(
                connections = connections.len(),
                requests = server.work.len(),
                "connections or requests are dropped: their share of the grace period has ended"
            );
            server.hurry.cancel();
            // In time or not: whoever does not take its answer now is dropped with it.
            let _all_answered = timeout(LAST_ANSWERS, finish(&server, &mut connections)).await;
        }
    }
}

/// Takes connections for ever, and looks after those that it took.
async fn accept_all<S, B>(listener: &TcpListener, server: &Arc<Server<S, B>>, connections: &mut Connections)
where
    S: WebService<B>,
    B: AnswerBody,
{
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = connections.turn() => continue,
            accepted = listener.accept() => accepted,
        };
        if let Err(error) = &accepted {
            (server.events)(ConnectionEvent::AcceptFailed);
            if !failing {
                warn!(%error, "new connections cannot be accepted; raise the limit of open files if the error names it");
            }
            sleep(ACCEPT_PAUSE).await;
        }
        failing = accepted.is_err();
        if let Ok((stream, address)) = accepted {
            take(server, connections, stream, address);
        }
    }
}

/// Takes what the kernel has connected already, and closes the listener, which would reset it, request and all. The kernel
/// itself is asked: the runtime may not have heard of the last ones yet. What connects between its last answer and the
/// close, within microseconds, is reset all the same.
fn take_backlog<S, B>(listener: TcpListener, server: &Arc<Server<S, B>>, connections: &mut Connections)
where
    S: WebService<B>,
    B: AnswerBody,
{
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG_MAX {
        let Ok((stream, address)) = listener.accept() else { return };
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
            take(server, connections, stream, address);
        }
    }
}

fn take<S, B>(server: &Arc<Server<S, B>>, connections: &mut Connections, stream: TcpStream, address: SocketAddr)
where
    S: WebService<B>,
    B: AnswerBody,
{
    if !connections.make_room() {
        return (server.events)(ConnectionEvent::Refused);
    }
    // Answers are small and complete: waiting for more to send with them would only delay them. A socket that refuses the
    // option is one that its client has closed already: the first read will tell.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(ConnectionActivity::new());
    connections.add(Arc::clone(&activity), connection::run(Arc::clone(server), stream, address, activity));
}

/// Waits for all connections and requests.
async fn finish<S, B>(server: &Server<S, B>, connections: &mut Connections) {
    while connections.len() > 0 {
        connections.turn().await;
    }
    server.work.wait().await;
}
