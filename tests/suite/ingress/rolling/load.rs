//! Webhooks from clients of different habits, each webhook sent once, until told to stop; and the account of how each ended.
//! Must not know how many processes answer, nor what happens to them.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::provider::{EventType, Sender};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::bridge::{Answered, event_type, sender, webhook_request};
use crate::support::stream::{Event, Random};

/// Longer than any answer is promised to take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// Webhooks at most, whatever else happens.
const WEBHOOKS_MAX: u64 = 6000;

/// How a client uses its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Habit {
    /// One connection for as long as it lasts.
    KeepsAlive,
    /// The same, and longer pauses than any drain.
    Seldom,
    /// A connection for each webhook.
    OneEach,
    /// One connection of HTTP/2 for as long as it lasts; several such clients share it.
    Http2,
}

/// How many clients of each habit, and how long they pause at most between two webhooks.
const CLIENTS: [(Habit, usize, Duration); 3] = [
    (Habit::KeepsAlive, 24, Duration::from_millis(600)),
    (Habit::Seldom, 12, Duration::from_secs(6)),
    (Habit::OneEach, 4, Duration::from_millis(120)),
];
/// Connections of HTTP/2, clients on each, and their pause.
const HTTP2: (usize, usize, Duration) = (2, 3, Duration::from_millis(200));

/// What became of one webhook.
pub struct Delivery {
    /// Who sent it.
    pub habit: Habit,
    /// The webhook.
    pub event: Event,
    /// Its answer, or how the connection broke under it.
    pub end: Result<Answered, String>,
}

/// A connection that ended without being told by its last answer.
#[derive(Clone, Copy, Debug)]
pub struct SilentEnd {
    /// How long after its last answer.
    pub idle: Duration,
}

/// The clients at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    handle: Handle,
}

/// What the clients have in common.
struct Shared {
    config: Config,
    address: SocketAddr,
    kinds: Vec<Kind>,
    numbers: AtomicU64,
    taken: AtomicUsize,
    stop: AtomicBool,
    deliveries: Mutex<Vec<Delivery>>,
    silent: Mutex<Vec<SilentEnd>>,
    /// Connections made, by habit.
    connections: Mutex<BTreeMap<Habit, usize>>,
}

/// A kind of webhook: another number, another event.
struct Kind {
    source: &'static str,
    topic: String,
    event_type: &'static EventType,
    sender: Box<dyn Sender>,
}

impl Kind {
    fn new(config: &Config, source: &'static str, provider: &str, part: &str) -> Self {
        let topic = format!("{}.{provider}.{part}.v1", config.kafka.topic_prefix.as_ref());
        Self { source, topic, event_type: event_type(provider, part), sender: sender(config, source) }
    }
}

impl Load {
    /// Starts all clients on the runtime of `handle`: they connect to `address`, and send webhooks of sources of `config`.
    pub fn start(config: &Config, address: SocketAddr, seed: u64, handle: &Handle) -> Self {
        let kinds = vec![
            Kind::new(config, "sg-main", "smart-glocal", "payment-finished"),
            Kind::new(config, "unipaas", "unipaas", "authorization-update"),
        ];
        let shared = Arc::new(Shared {
            config: config.clone(),
            address,
            kinds,
            numbers: AtomicU64::new(0),
            taken: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            deliveries: Mutex::default(),
            silent: Mutex::default(),
            connections: Mutex::default(),
        });
        let mut seeds = (1..).map(|number| seed.wrapping_add(number));
        let mut clients = Vec::new();
        for (habit, count, pause) in CLIENTS {
            clients.extend(seeds.by_ref().take(count).map(|seed| {
                handle.spawn(one_by_one(Arc::clone(&shared), habit, Pauses { random: Random::of(seed), most: pause }))
            }));
        }
        let (connections, each, pause) = HTTP2;
        clients.extend(seeds.take(connections).map(|seed| {
            let pauses = move |client| Pauses { random: Random::of(seed.wrapping_mul(1000) + client), most: pause };
            handle.spawn(side_by_side(Arc::clone(&shared), (0..).take(each).map(pauses).collect()))
        }));
        Self { shared, clients, handle: handle.clone() }
    }

    /// How many webhooks were answered 200 so far.
    pub fn taken(&self) -> usize {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// Ends the clients: each awaits its last answer. Gives what became of every webhook, which connections ended silently,
    /// and how many connections there were.
    pub fn stop(self) -> (Vec<Delivery>, Vec<SilentEnd>, BTreeMap<Habit, usize>) {
        assert!(!self.shared.is_over(), "the load reached its bound before the restarts were over");
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            self.handle.block_on(client).unwrap();
        }
        let Some(shared) = Arc::into_inner(self.shared) else { panic!("a client is still at work") };
        let connections = shared.connections.into_inner().unwrap();
        (shared.deliveries.into_inner().unwrap(), shared.silent.into_inner().unwrap(), connections)
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.numbers.load(Ordering::Relaxed) >= WEBHOOKS_MAX
    }

    /// The next webhook, signed now; none when it is over.
    fn next(&self) -> Option<Event> {
        if self.is_over() {
            return None;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let kind = &self.kinds[usize::try_from(number).unwrap() % self.kinds.len()];
        let webhook = kind.sender.sample(kind.event_type, Timestamp::now(), number);
        Some(Event { source: kind.source.to_owned(), webhook, topic: kind.topic.clone() })
    }

    /// As HTTP/2 has it, and a client's proxy.
    fn request(&self, event: &Event) -> Request<Full<Bytes>> {
        let (name, settings) = self.config.sources.get_key_value(event.source.as_str()).unwrap();
        webhook_request(&format!("http://{}{}", self.address, settings.path(name)), &event.webhook)
    }

    async fn connect(&self, habit: Habit) -> Result<TokioIo<TcpStream>, String> {
        *self.connections.lock().unwrap().entry(habit).or_default() += 1;
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("{error:?}"))?;
        stream.set_nodelay(true).unwrap();
        Ok(TokioIo::new(stream))
    }

    fn note(&self, habit: Habit, event: Event, end: Result<Answered, String>) {
        if end.as_ref().is_ok_and(|answered| answered.status == 200) {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        self.deliveries.lock().unwrap().push(Delivery { habit, event, end });
    }
}

/// Pauses at random.
struct Pauses {
    random: Random,
    most: Duration,
}

impl Pauses {
    async fn pause(&mut self) {
        let most = usize::try_from(self.most.as_millis()).unwrap();
        sleep(Duration::from_millis(u64::try_from(self.random.below(most)).unwrap())).await;
    }
}

/// One client of HTTP/1.1.
async fn one_by_one(shared: Arc<Shared>, habit: Habit, mut pauses: Pauses) {
    let mut kept: Option<Connection> = None;
    while let Some(event) = shared.next() {
        let (end, left) = send(&shared, habit, kept.take(), &event).await;
        shared.note(habit, event, end);
        kept = left.filter(|_| habit != Habit::OneEach);
        pauses.pause().await;
    }
    // What was closed while it paused last counts as well.
    if let Some(closed) = kept.filter(|kept| kept.sender.is_closed()) {
        closed.ended_silently(&shared).await;
    }
}

/// Sends one webhook, on the kept connection or, where that has ended or did not take it, on a new one. Gives the connection
/// back if it can be used again.
async fn send(
    shared: &Shared,
    habit: Habit,
    mut kept: Option<Connection>,
    event: &Event,
) -> (Result<Answered, String>, Option<Connection>) {
    loop {
        let mut request = shared.request(event);
        let path = request.uri().path_and_query().unwrap().to_string();
        *request.uri_mut() = path.parse().unwrap();
        request.headers_mut().insert(HOST, HeaderValue::from_static("balancer"));
        let (mut connection, is_new) = match kept.take() {
            Some(kept) => (kept, false),
            None => match Connection::open(shared, habit).await {
                Ok(new) => (new, true),
                Err(error) => return (Err(format!("no connection: {error}")), None),
            },
        };
        match answer(connection.sender.try_send_request(request)).await {
            Ok(answered) => {
                connection.answered = Instant::now();
                let is_told = answered.headers.get(CONNECTION).is_some_and(|value| value == "close");
                return (Ok(answered), Some(connection).filter(|_| !is_told));
            }
            Err(Unanswered::Unsent | Unanswered::Crossed) if !is_new => connection.ended_silently(shared).await,
            Err(unanswered) => {
                let idle = connection.answered.elapsed().as_millis();
                return (Err(format!("{unanswered}; {idle} ms before, it opened or answered")), None);
            }
        }
    }
}

/// A kept connection of HTTP/1.1.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// When its last answer came; before that, when it opened.
    answered: Instant,
    /// When it ended.
    ended: JoinHandle<Instant>,
}

impl Connection {
    async fn open(shared: &Shared, habit: Habit) -> Result<Self, String> {
        let stream = shared.connect(habit).await?;
        let (sender, connection) = http1::handshake(stream).await.map_err(|error| format!("{error:?}"))?;
        let ended = tokio::spawn(async {
            drop(connection.await);
            Instant::now()
        });
        Ok(Self { sender, answered: Instant::now(), ended })
    }

    async fn ended_silently(self, shared: &Shared) {
        let idle = self.ended.await.unwrap().saturating_duration_since(self.answered);
        shared.silent.lock().unwrap().push(SilentEnd { idle });
    }
}

/// Clients that share a connection of HTTP/2 for as long as it lasts.
async fn side_by_side(shared: Arc<Shared>, mut clients: Vec<Pauses>) {
    let mut unsent: Vec<Event> = Vec::new();
    while !shared.is_over() || !unsent.is_empty() {
        let opened = async {
            let stream = shared.connect(Habit::Http2).await?;
            http2::handshake(TokioExecutor::new(), stream).await.map_err(|error| format!("{error:?}"))
        };
        let (sender, connection) = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                let Some(event) = unsent.pop().or_else(|| shared.next()) else { break };
                shared.note(Habit::Http2, event, Err(format!("no connection: {error}")));
                continue;
            }
        };
        let ended = tokio::spawn(async { drop(connection.await) });
        let streams = clients.into_iter().map(|pauses| {
            let (shared, sender, first) = (Arc::clone(&shared), sender.clone(), unsent.pop());
            tokio::spawn(streams(shared, sender, pauses, first))
        });
        let streams: Vec<_> = streams.collect();
        drop(sender);
        clients = Vec::new();
        for client in streams {
            let (pauses, left) = client.await.unwrap();
            clients.push(pauses);
            unsent.extend(left);
        }
        ended.await.unwrap();
    }
}

/// One client on a shared connection, until that takes no more: then the webhook that it did not take is given back.
async fn streams(
    shared: Arc<Shared>,
    mut sender: http2::SendRequest<Full<Bytes>>,
    mut pauses: Pauses,
    mut first: Option<Event>,
) -> (Pauses, Option<Event>) {
    while sender.ready().await.is_ok() {
        let Some(event) = first.take().or_else(|| shared.next()) else { return (pauses, None) };
        match answer(sender.try_send_request(shared.request(&event))).await {
            Err(Unanswered::Unsent | Unanswered::NotTaken) => return (pauses, Some(event)),
            Ok(answered) => shared.note(Habit::Http2, event, Ok(answered)),
            Err(unanswered) => shared.note(Habit::Http2, event, Err(unanswered.to_string())),
        }
        pauses.pause().await;
    }
    (pauses, first)
}

/// Why there is no answer.
#[derive(Debug)]
enum Unanswered {
    /// The connection had ended before a byte of the request was written: it is as if it had not been tried.
    Unsent,
    /// The server said where it ends, and the request crossed that word: it is as if it had not been tried, and safe to send
    /// anew (RFC 9113 section 6.8).
    NotTaken,
    /// The connection ended without a byte of an answer. Where it was idle, the request crossed its end on the way, which
    /// nobody can avoid (RFC 9112 section 9.5): it was not read, and its client sends it anew.
    Crossed,
    /// The connection ended later.
    Broken(String),
    /// Nothing came.
    Late,
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsent => f.write_str("the connection ended before its first request"),
            Self::NotTaken => f.write_str("the server had said that it takes no more"),
            Self::Crossed => f.write_str("the connection ended without a byte of an answer"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Late => write!(f, "no answer within {} s", ANSWERED_WITHIN.as_secs()),
        }
    }
}

/// Waits for the whole answer.
async fn answer(
    asked: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>>,
) -> Result<Answered, Unanswered> {
    let begun = Instant::now();
    let whole = async {
        let response = asked.await.map_err(|mut error| match error.take_message() {
            Some(_request) => Unanswered::Unsent,
            None => ended(&error.into_error()),
        })?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| Unanswered::Broken(format!("in its answer: {error:?}")))?;
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        Ok(Answered { status: head.status, headers: head.headers, text, elapsed: begun.elapsed() })
    };
    timeout(ANSWERED_WITHIN, whole).await.unwrap_or(Err(Unanswered::Late))
}

/// What it means that a request has no answer.
fn ended(error: &hyper::Error) -> Unanswered {
    let http2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    match http2 {
        Some(http2) if http2.is_go_away() && http2.is_remote() && http2.reason() == Some(h2::Reason::NO_ERROR) => {
            Unanswered::NotTaken
        }
        None if error.is_incomplete_message() => Unanswered::Crossed,
        Some(_) | None => Unanswered::Broken(format!("{error:?}")),
    }
}
