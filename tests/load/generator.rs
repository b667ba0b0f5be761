//! Sends requests over many connections, and sees how they are answered.
//! Must not know what a webhook is, nor who answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::answer_counts::{AnswerCounts, Window};
use crate::pace::{Clock, Pace};
use crate::prepared::PreparedRequests;
use crate::support::system;

/// No answer is larger.
pub const ANSWER_BYTES_MAX: usize = 4096;
/// After the end, for the last answers.
const LAST_ANSWERS_LIMIT: Duration = Duration::from_secs(15);
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// Between the last connection and the first request, so that all threads begin together.
const START_DELAY: Duration = Duration::from_millis(20);

/// What becomes of the row of webhooks when its end is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// It ends the measurement: whoever remembers events would call the others duplicates.
    Stop,
    /// It begins again.
    Again,
}

/// What to send, and how.
#[derive(Clone)]
pub struct Load {
    /// Where to.
    pub address: SocketAddr,
    /// How many connections.
    pub connections: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// Before the measurement.
    pub warm_up: Duration,
    /// The measurement's time.
    pub measure: Duration,
    /// The requests.
    pub prepared: Arc<PreparedRequests>,
    /// What becomes of the row of webhooks when its end is reached.
    pub at_end: AtEnd,
}

/// What came of it.
pub struct Outcome {
    /// What was answered.
    pub counts: AnswerCounts,
    /// The seconds of the measurement: fewer than were asked for when there were not enough webhooks.
    pub seconds: f64,
    /// What the probe gave at the end less what it gave at the begin.
    pub probed: f64,
    /// Requests that were due and never sent.
    pub unsent: u64,
    /// Requests that were sent and never answered, over connections that did not break.
    pub unanswered: u64,
}

/// The connections of one thread. They share what is here.
struct Shared {
    load: Load,
    clock: Clock,
    /// The next webhook of the row, for all threads.
    row: Arc<AtomicUsize>,
    counts: Mutex<AnswerCounts>,
}

/// Sends a load, with `probe` called at the begin and the end of the measurement.
pub fn drive(load: &Load, probe: &dyn Fn() -> f64) -> Outcome {
    let threads = (system::cores() / 2).clamp(1, load.connections);
    let row = Arc::new(AtomicUsize::new(0));
    let (connected, all_connected) = channel();
    let (finished, all_finished) = channel();
    let workers: Vec<_> = (0..threads)
        .map(|number| {
            let (load, row, connected, finished) =
                (load.clone(), Arc::clone(&row), connected.clone(), finished.clone());
            let connections = (load.connections + threads - 1 - number) / threads;
            let (begin, begins) = channel();
            let worker = thread::spawn(move || work(load, connections, threads, row, &connected, &begins, &finished));
            (begin, worker)
        })
        .collect();
    drop((connected, finished));
    for _ in 0..threads {
        all_connected.recv_timeout(CONNECT_LIMIT).expect("connections to be there in time");
    }
    let begin = Instant::now() + START_DELAY;
    for (begins, _) in &workers {
        begins.send(begin).unwrap();
    }
    let window = window(load, begin);
    thread::sleep(window.from.saturating_duration_since(Instant::now()));
    let probed_before = probe();
    await_end(&all_finished, threads, window.to);
    let probed = probe() - probed_before;
    let seconds = Instant::now().min(window.to).saturating_duration_since(window.from).as_secs_f64();
    let mut outcome = Outcome { counts: AnswerCounts::new(window), seconds, probed, unsent: 0, unanswered: 0 };
    for (_, worker) in workers {
        let (counts, unsent) = worker.join().unwrap();
        outcome.counts.merge(counts);
        outcome.unsent += unsent;
    }
    let AnswerCounts { sent, broken, .. } = &outcome.counts;
    outcome.unanswered = sent - outcome.counts.all_answers() - u64::try_from(broken.len()).unwrap();
    outcome
}

/// Waits for the end of the window, or until all have finished before it.
fn await_end(all_finished: &Receiver<()>, threads: usize, end: Instant) {
    for _ in 0..threads {
        match all_finished.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn window(load: &Load, begin: Instant) -> Window {
    let from = begin + load.warm_up;
    Window { from, to: from + load.measure }
}

/// One thread's part: connects, waits for the begin, sends until the end.
fn work(
    load: Load,
    connections: usize,
    threads: usize,
    row: Arc<AtomicUsize>,
    connected: &Sender<()>,
    begins: &Receiver<Instant>,
    finished: &Sender<()>,
) -> (AnswerCounts, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let streams = connect(&runtime, load.address, connections);
    connected.send(()).unwrap();
    let begin = begins.recv().unwrap();
    let window = window(&load, begin);
    let pace = match load.pace {
        Pace::Closed => Pace::Closed,
        Pace::Open(rate) => Pace::Open(rate / f64::from(u32::try_from(threads).unwrap())),
    };
    let limit = window.to.saturating_duration_since(Instant::now()) + LAST_ANSWERS_LIMIT;
    let clock = Clock::new(pace, begin, window);
    let shared = Arc::new(Shared { load, clock, row, counts: Mutex::new(AnswerCounts::new(window)) });
    let ticking = Arc::clone(&shared);
    let ticker = thread::spawn(move || ticking.clock.tick());
    runtime.block_on(async {
        tokio::time::sleep_until(begin.into()).await;
        let mut tasks = JoinSet::new();
        for stream in streams {
            tasks.spawn(send_all(Arc::clone(&shared), stream));
        }
        let all = async { while tasks.join_next().await.is_some_and(|ended| ended.is_ok()) {} };
        // Who is not answered in time shows in the figures.
        let _in_time = timeout(limit, all).await;
        tasks.shutdown().await;
    });
    // Nobody listens any more after the end.
    let _early = finished.send(());
    ticker.join().unwrap();
    let shared = Arc::into_inner(shared).expect("every task to have ended");
    (shared.counts.into_inner().unwrap(), shared.clock.unsent())
}

fn connect(runtime: &Runtime, address: SocketAddr, connections: usize) -> Vec<TcpStream> {
    runtime.block_on(async {
        let mut streams = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await.unwrap().unwrap();
            stream.set_nodelay(true).unwrap();
            streams.push(stream);
        }
        streams
    })
}

/// One connection: a request at a time, until the end.
async fn send_all(shared: Arc<Shared>, mut stream: TcpStream) {
    let mut request = shared.load.prepared.blank();
    let mut read = [0; ANSWER_BYTES_MAX];
    while let Some(due) = shared.clock.next().await {
        if !shared.fill(&mut request) {
            return shared.counts.lock().unwrap().ran_out = true;
        }
        shared.counts.lock().unwrap().sent += 1;
        match exchange(&mut stream, &request, &mut read).await {
            Ok(answer) => {
                let done = Instant::now();
                let mark = shared.clock.mark(due, done);
                shared.counts.lock().unwrap().add(due, done, mark, (answer.code, &read[answer.word]));
            }
            Err(reason) => return shared.counts.lock().unwrap().broken.push(reason),
        }
    }
}

impl Shared {
    /// Makes the request the next one of the row, unless that has ended.
    fn fill(&self, request: &mut [u8]) -> bool {
        let (row, prepared) = (self.row.fetch_add(1, Ordering::Relaxed), &self.load.prepared);
        match self.load.at_end {
            AtEnd::Stop if row >= prepared.len() => return false,
            AtEnd::Stop | AtEnd::Again => prepared.fill(row % prepared.len(), request),
        }
        true
    }
}

/// Sends a request, and reads its answer to the begin of `read`.
pub async fn exchange<S>(stream: &mut S, request: &[u8], read: &mut [u8]) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request).await.map_err(|error| format!("writing: {error}"))?;
    let mut filled = 0;
    loop {
        let more = stream.read(&mut read[filled..]).await.map_err(|error| format!("reading: {error}"))?;
        filled += more;
        match Answer::parse(&read[..filled])? {
            Some(answer) if answer.bytes == filled => return Ok(answer),
            Some(_) => return Err("more than one answer".to_owned()),
            None if more == 0 => return Err("closed, or an answer that is too large".to_owned()),
            None => {}
        }
    }
}
