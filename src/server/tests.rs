//! The server over real sockets. Waits are for conditions; nothing is asserted to be fast.

mod clocks;
mod end;
mod half_closed;
mod http2;
mod room;
mod smuggling;
mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{ConnectionEvent, End, Limits, Peer, Unanswered, Why, serve};

/// A timeout that tests wait out.
const SHORT: Duration = Duration::from_millis(300);
/// Longer than any test: what it bounds must not come.
const NEVER: Duration = Duration::from_mins(10);
/// When a test gives up on something that must come.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than a megabyte of answer, so that no socket buffers it.
const LARGE: usize = 32 * 1024 * 1024;

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/// A running server whose handler answers `{method} {path} {body}` and remembers the paths it saw.
struct Edge {
    address: SocketAddr,
    drain: CancellationToken,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    events: Arc<Mutex<Vec<ConnectionEvent>>>,
    seen: Arc<Mutex<Vec<String>>>,
    /// What was answered from the table, and for which path.
    unanswered: Arc<Mutex<Vec<(Why, String)>>>,
    /// `/wait` answers when it gets a permit.
    gate: Arc<Semaphore>,
}

fn limits() -> Limits {
    Limits {
        connections_max: 100,
        head_bytes_max: 16_384,
        headers_max: 64,
        streams_max: 128,
        header_read_timeout: NEVER,
        keep_alive_timeout: NEVER,
    }
}

impl Edge {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, None, PATIENCE).await
    }

    async fn start_with(limits: Limits, tls: Option<super::tls::Acceptor>, grace: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (drain, stop, gate) = (CancellationToken::new(), CancellationToken::new(), Arc::new(Semaphore::new(0)));
        let (events, seen) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let unanswered = Arc::<Mutex<Vec<_>>>::default();
        let (said, handler_seen, handler_gate) = (Arc::clone(&events), Arc::clone(&seen), Arc::clone(&gate));
        let service = service_fn(move |request: Request<Incoming>| {
            handler_seen.lock().unwrap().push(request.uri().path().to_owned());
            let answer = handle(request, Arc::clone(&handler_gate), Arc::clone(&handler_seen));
            async { Ok(answer.await) }
        });
        let asked = Arc::clone(&unanswered);
        let answers = Arc::new(move |unanswered: Unanswered| {
            asked.lock().unwrap().push((unanswered.why, unanswered.uri.path().to_owned()));
            let response = Response::builder().status(StatusCode::IM_A_TEAPOT).header("table", "this");
            response.body(Full::from(format!("{:?}", unanswered.why))).unwrap()
        });
        let note = Arc::new(move |event| said.lock().unwrap().push(event));
        let end = End { drain: drain.clone(), stop: stop.clone(), grace };
        let serving = tokio::spawn(serve(listener, tls, limits, service, answers, note, end));
        Self { address, drain, stop, serving, events, seen, unanswered, gate }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    fn count(&self, event: ConnectionEvent) -> usize {
        self.events.lock().unwrap().iter().filter(|said| **said == event).count()
    }

    async fn until_event(&self, event: ConnectionEvent) {
        until(|| self.count(event) > 0).await;
    }

    fn saw(&self, path: &str) -> bool {
        self.seen.lock().unwrap().iter().any(|seen| seen == path)
    }

    /// The paths that were answered from the table, all for this reason.
    fn unanswered(&self, why: Why) -> Vec<String> {
        let unanswered = self.unanswered.lock().unwrap();
        assert!(unanswered.iter().all(|(other, _)| *other == why), "{unanswered:?}");
        unanswered.iter().map(|(_, path)| path.clone()).collect()
    }

    async fn until_seen(&self, path: &str) {
        until(|| self.saw(path)).await;
    }

    async fn ends(self) {
        timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }
}

async fn handle(
    request: Request<Incoming>,
    gate: Arc<Semaphore>,
    seen: Arc<Mutex<Vec<String>>>,
) -> Response<Full<Bytes>> {
    let peer = request.extensions().get::<Peer>().unwrap().clone();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match path.as_str() {
        "/panic" => panic!("as asked"),
        "/wait-and-panic" => {
            let _permit = gate.acquire().await.unwrap();
            panic!("as asked");
        }
        "/early" => return Response::new(Full::from("early")),
        "/large" => return Response::new(Full::from(vec![b'x'; LARGE])),
        "/certificate" => return Response::new(Full::from(peer.client_certificate.is_some().to_string())),
        "/wait" => {
            let _permit = gate.acquire().await.unwrap();
            seen.lock().unwrap().push("/wait finished".to_owned());
        }
        _ => {}
    }
    let (status, body) = match request.into_body().collect().await {
        Ok(body) => (StatusCode::OK, body.to_bytes()),
        Err(_) => (StatusCode::BAD_REQUEST, Bytes::from_static(b"unreadable")),
    };
    let text = format!("{method} {path} {}", String::from_utf8_lossy(&body));
    Response::builder().status(status).body(Full::from(text)).unwrap()
}

/// A client that writes bytes, not requests.
struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// All that comes until the server closes. A reset ends it, too.
    async fn rest(&mut self) -> String {
        let mut received = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut received)).await.expect("the server closes");
        String::from_utf8(received).unwrap()
    }

    /// Reads until `end` came.
    async fn read_until(&mut self, end: &str) -> String {
        let mut received = String::new();
        while !received.ends_with(end) {
            let byte = timeout(PATIENCE, self.0.read_u8()).await.expect("an answer comes");
            received.push(char::from(byte.unwrap_or_else(|_| panic!("closed after {received:?}"))));
        }
        received
    }

    /// One request, answered on a connection that stays open.
    async fn hello(&mut self) {
        self.send(HELLO).await;
        assert!(self.read_until("GET /hello ").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, met).await.expect("the condition is met");
}
