//! What a daemon takes that has nothing to do: alone, and with very many connections that wait.
//! Must not judge.

use std::io::{ErrorKind, Read as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::arena::Arena;
use crate::generator::{ANSWER_BYTES_MAX, exchange};
use crate::pace::Pace;
use crate::process::Process;
use crate::report::{Bound, Report};
use crate::stage::{Case, Stage};
use crate::webhooks::{Kind, Size};

const NAME: &str = "idle";
/// Share of a core, in percent.
const PROCESSOR_PERCENT: Bound = Bound::AtMost(1.0);
/// With all connections.
const MEMORY_MIB: Bound = Bound::AtMost(100.0);
/// Files that a process has open beside its connections, generously.
const OTHER_FILES: u64 = 500;
/// How long opening one connection and sending its webhook may take.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// Well before the daemon closes connections that are idle.
const WATCH_MAX: Duration = Duration::from_secs(30);
/// Connections that are being opened at once.
const OPENING_MAX: usize = 128;

/// A daemon without connections, and then with many, each of which has sent one webhook.
pub fn measure(stage: &mut Stage) -> Report {
    let mut report = Report::default();
    let kind = Kind::of("unipaas");
    let count = stage.sizes.idle_connections.min(connections_max());
    let case = Case { kind, size: Size::Bytes(1024), sources: 1, linger_ms: 1, pace: Pace::Closed };
    let arena = stage.webhooks(case, u64::try_from(count).unwrap());
    let running = stage.daemon(case);
    // the clock of processor time ticks a hundred times a second
    let during = (stage.sizes.measure * 3).min(WATCH_MAX);

    report.tell(NAME, "processor", percent(&running.process, during), "% of a core", PROCESSOR_PERCENT);
    report.tell(NAME, "memory", running.process.memory_mib(), "MiB", Bound::None);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let streams = runtime.block_on(open(running.address, count, arena));
    let with = format!("with {count} idle connections");
    let processor = percent(&running.process, during);
    report.tell(NAME, format!("processor {with}"), processor, "% of a core", PROCESSOR_PERCENT);
    report.tell(NAME, format!("memory {with}"), running.process.memory_mib(), "MiB", MEMORY_MIB);
    report.tell(NAME, format!("peak of memory {with}"), running.process.peak_memory_mib(), "MiB", Bound::None);
    let gone = runtime.block_on(async { closed(streams) });
    assert_eq!(gone, 0, "connections were closed meanwhile: these were no idle ones");
    report
}

/// Percent of a core that a process uses while nobody asks anything of it.
fn percent(process: &Process, during: Duration) -> f64 {
    let before = process.processor_seconds();
    thread::sleep(during);
    (process.processor_seconds() - before) * 100.0 / during.as_secs_f64()
}

/// Connections, on each of which one webhook was sent and answered.
async fn open(address: SocketAddr, count: usize, arena: Arc<Arena>) -> Vec<TcpStream> {
    let (mut streams, mut opening) = (Vec::with_capacity(count), JoinSet::new());
    for index in 0..count {
        if opening.len() >= OPENING_MAX {
            streams.extend(opening.join_next().await.transpose().unwrap());
        }
        let arena = Arc::clone(&arena);
        opening.spawn(async move { timeout(OPEN_LIMIT, send_one(address, index, &arena)).await.unwrap() });
    }
    streams.extend(opening.join_all().await);
    streams
}

async fn send_one(address: SocketAddr, index: usize, arena: &Arena) -> TcpStream {
    let mut request = arena.blank();
    arena.fill(index, &mut request);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let answer = exchange(&mut stream, &request, &mut [0; ANSWER_BYTES_MAX]).await.unwrap();
    assert_eq!(answer.code, 200);
    stream
}

/// How many of these connections the other side has closed.
fn closed(streams: Vec<TcpStream>) -> usize {
    // The kernel itself is asked: the runtime may not have heard of an end yet.
    let is_closed = |stream: TcpStream| {
        let read = stream.into_std().unwrap().read(&mut [0]);
        !read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    streams.into_iter().map(is_closed).filter(|is_closed| *is_closed).count()
}

/// How many connections a process may have here.
fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX)
}
