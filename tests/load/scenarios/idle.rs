//! What a daemon takes that has nothing to do: alone, and with many connections that wait, plaintext ones or of TLS.
//! Must not judge.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::generator::{ANSWER_BYTES_MAX, exchange};
use crate::pace::Pace;
use crate::prepared::PreparedRequests;
use crate::process::Process;
use crate::report::{Bound, Report};
use crate::setup::{Case, LoadSetup};
use crate::subject::Running;
use crate::support::authority::Authority;
use crate::webhooks::{Kind, Size};

const NAME: &str = "idle";
/// Share of a core, in percent.
const PROCESSOR_PERCENT: Bound = Bound::AtMost(1.0);
/// With all connections, without TLS.
const MEMORY_MIB: Bound = Bound::AtMost(100.0);
/// Files that a process has open beside its connections, generously.
const OTHER_FILES: u64 = 500;
/// How long opening one connection and sending its webhook may take.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// Well before the daemon closes connections that are idle.
const WATCH_MAX: Duration = Duration::from_secs(30);
/// Connections that are being opened at once.
const OPENING_MAX: usize = 128;

/// A client's connection. With TLS it keeps the session.
enum Client {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A daemon without connections, and then with many, each of which has sent one webhook; and the same with TLS.
pub fn measure(setup: &mut LoadSetup) -> Report {
    let mut report = Report::default();
    let count = setup.sizes.idle_connections.min(connections_max());
    let case =
        Case { kind: Kind::of("unipaas"), size: Size::Bytes(1024), sources: 1, linger_ms: 1, pace: Pace::Closed };
    let prepared = setup.webhooks(case, u64::try_from(count).unwrap());
    // the clock of processor time ticks a hundred times a second
    let during = (setup.sizes.measure * 3).min(WATCH_MAX);

    let running = setup.daemon(case, None);
    report.tell(NAME, "processor", percent(&running.process, during), "% of a core", PROCESSOR_PERCENT);
    report.tell(NAME, "memory", running.process.memory_mib(), "MiB", Bound::None);
    let with = format!("with {count} idle connections");
    let figures = watch(&running, count, &prepared, None, during);
    report.tell(NAME, format!("processor {with}"), figures.percent, "% of a core", PROCESSOR_PERCENT);
    report.tell(NAME, format!("memory {with}"), figures.memory_mib, "MiB", MEMORY_MIB);
    report.tell(NAME, format!("peak of memory {with}"), figures.peak_mib, "MiB", Bound::None);
    drop(running);

    let authority = Authority::new();
    let running = setup.daemon(case, Some(Arc::new(authority.sign("load"))));
    let with = format!("with {count} idle TLS connections");
    let figures = watch(&running, count, &prepared, Some(connector(&authority)), during);
    report.tell(NAME, format!("memory {with}"), figures.memory_mib, "MiB", Bound::None);
    report.tell(NAME, format!("peak of memory {with}"), figures.peak_mib, "MiB", Bound::None);
    report
}

/// What a daemon takes with so many idle connections.
struct Figures {
    percent: f64,
    memory_mib: f64,
    peak_mib: f64,
}

fn watch(
    running: &Running,
    count: usize,
    prepared: &Arc<PreparedRequests>,
    connector: Option<TlsConnector>,
    during: Duration,
) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clients = runtime.block_on(open(running.address, count, prepared, connector));
    let figures = Figures {
        percent: percent(&running.process, during),
        memory_mib: running.process.memory_mib(),
        peak_mib: running.process.peak_memory_mib(),
    };
    let gone = runtime.block_on(async { closed(clients) });
    assert_eq!(gone, 0, "connections were closed meanwhile: these were no idle ones");
    figures
}

/// Shakes hands with who has a certificate of this authority.
fn connector(authority: &Authority) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth()).into()
}

/// Percent of a core that a process uses while nobody asks anything of it.
fn percent(process: &Process, during: Duration) -> f64 {
    let before = process.processor_seconds();
    thread::sleep(during);
    (process.processor_seconds() - before) * 100.0 / during.as_secs_f64()
}

/// Connections, on each of which one webhook was sent and answered.
async fn open(
    address: SocketAddr,
    count: usize,
    prepared: &Arc<PreparedRequests>,
    connector: Option<TlsConnector>,
) -> Vec<Client> {
    let (mut clients, mut opening) = (Vec::with_capacity(count), JoinSet::new());
    for index in 0..count {
        if opening.len() >= OPENING_MAX {
            clients.extend(opening.join_next().await.transpose().unwrap());
        }
        let (prepared, connector) = (Arc::clone(prepared), connector.clone());
        let opened = async move { send_one(address, index, &prepared, connector).await };
        opening.spawn(async move { timeout(OPEN_LIMIT, opened).await.unwrap() });
    }
    clients.extend(opening.join_all().await);
    clients
}

async fn send_one(
    address: SocketAddr,
    index: usize,
    prepared: &PreparedRequests,
    connector: Option<TlsConnector>,
) -> Client {
    let (mut request, mut read) = (prepared.blank(), [0; ANSWER_BYTES_MAX]);
    prepared.fill(index, &mut request);
    let stream = TcpStream::connect(address).await.unwrap();
    let mut client = match connector {
        None => Client::Plain(stream),
        Some(connector) => {
            let name = ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into());
            Client::Tls(Box::new(connector.connect(name, stream).await.unwrap()))
        }
    };
    let answer = match &mut client {
        Client::Plain(stream) => exchange(stream, &request, &mut read).await,
        Client::Tls(stream) => exchange(stream, &request, &mut read).await,
    };
    assert_eq!(answer.unwrap().code, 200);
    client
}

/// How many of these connections the other side has closed.
fn closed(clients: Vec<Client>) -> usize {
    // The kernel itself is asked: the runtime may not have heard of an end yet.
    let is_closed = |client: Client| {
        let stream = match client {
            Client::Plain(stream) => stream,
            Client::Tls(stream) => stream.into_inner().0,
        };
        let read = stream.into_std().unwrap().read(&mut [0]);
        !read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    clients.into_iter().map(is_closed).filter(|is_closed| *is_closed).count()
}

/// How many connections a process may have here.
fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX)
}
