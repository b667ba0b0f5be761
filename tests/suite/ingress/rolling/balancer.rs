//! A balancer of TCP connections, as Kubernetes' Service is one: a new connection goes to a backend that was ready when it
//! last heard, and stays there.
//! Must not know HTTP, beyond what `/readyz` answers, and hides nothing: it tries no second backend and repeats nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often a backend is asked.
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// How long its answer is on the way to where connections are balanced. With the former: how long a draining backend is
/// given new connections.
const HEARD_AFTER: Duration = Duration::from_millis(400);
/// How long a probe may take, as the kubelet's.
const PROBE_WITHIN: Duration = Duration::from_secs(1);
/// So many probes without an answer, one after the other, are taken for one that says no, as by the kubelet: a machine may be busy.
const UNANSWERED_MAX: u32 = 3;

/// One process that takes webhooks.
pub struct Backend {
    /// Where connections go.
    ingress: SocketAddr,
    /// Where `/readyz` is.
    admin: SocketAddr,
    is_ready: AtomicBool,
}

impl Backend {
    /// One that nothing is known of.
    pub fn new(ingress: SocketAddr, admin: SocketAddr) -> Self {
        Self { ingress, admin, is_ready: AtomicBool::new(false) }
    }

    /// Asks for ever, and hears late.
    async fn watch(&self) {
        let mut unanswered = 0;
        loop {
            let answer = timeout(PROBE_WITHIN, self.probe()).await;
            sleep(HEARD_AFTER).await;
            unanswered = if matches!(answer, Ok(Ok(_))) { 0 } else { unanswered + 1 };
            match answer {
                Ok(Ok(is_ready)) => self.is_ready.store(is_ready, Ordering::Relaxed),
                _ if unanswered >= UNANSWERED_MAX => self.is_ready.store(false, Ordering::Relaxed),
                _ => {}
            }
            sleep(PROBE_EVERY).await;
        }
    }

    async fn probe(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(self.admin).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: balancer\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.starts_with("HTTP/1.1 200 "))
    }
}

/// The balancer, until it is dropped.
pub struct Balancer {
    /// Where clients connect.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    backends: Vec<Backend>,
    turn: AtomicUsize,
    /// Connections that a backend which was believed ready did not take, or that found none.
    unplaced: AtomicUsize,
}

impl Balancer {
    /// Listens on a port of loopback, on the runtime of `handle`.
    pub fn start(backends: Vec<Backend>, handle: &Handle) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared { backends, turn: AtomicUsize::new(0), unplaced: AtomicUsize::new(0) });
        for number in 0..shared.backends.len() {
            let shared = Arc::clone(&shared);
            handle.spawn(stop.clone().run_until_cancelled_owned(async move { shared.backends[number].watch().await }));
        }
        let listener = handle.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = accept(listener, Arc::clone(&shared), stop.clone());
        handle.spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self { address, shared, _stop: stop.drop_guard() }
    }

    /// The backends that it gives connections to: their places in the list.
    pub fn ready(&self) -> Vec<usize> {
        let all = self.shared.backends.iter().enumerate();
        all.filter(|(_, backend)| backend.is_ready.load(Ordering::Relaxed)).map(|(number, _)| number).collect()
    }

    /// Connections that it could not place; their clients found them closed.
    pub fn unplaced(&self) -> usize {
        self.shared.unplaced.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move { shared.forward(client).await }));
    }
}

impl Shared {
    /// Bytes both ways until both sides have ended, or one of them broke: the other then breaks, too.
    async fn forward(&self, mut client: TcpStream) {
        let Some(mut backend) = self.place().await else {
            self.unplaced.fetch_add(1, Ordering::Relaxed);
            return;
        };
        for stream in [&client, &backend] {
            stream.set_nodelay(true).unwrap();
        }
        // Who lost what by it, the clients tell.
        let _ = copy_bidirectional(&mut client, &mut backend).await;
    }

    /// A connection to the next backend that is believed to be ready.
    async fn place(&self) -> Option<TcpStream> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let ready: Vec<&Backend> =
            self.backends.iter().filter(|backend| backend.is_ready.load(Ordering::Relaxed)).collect();
        let backend = ready.get(turn % ready.len().max(1))?;
        TcpStream::connect(backend.ingress).await.ok()
    }
}
