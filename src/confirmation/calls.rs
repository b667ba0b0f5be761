//! Carries the engine's calls out: a bounded number at once, whatever is due first, each answered exactly once.
//! Must not know why a call is made, nor what its answer leads to.

pub mod breaker;
pub mod coding;
mod endpoint;
pub mod headers;
pub mod held_questions;
pub mod queue;
mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::confirmation::session::model::SessionKey;
use crate::https::{HttpsError, Roots};
use crate::metrics::{CallMetrics, Metrics};
use crate::provider::smart_glocal::api::ShownSession;
use crate::provider::smart_glocal::api::{Operation, Reply, SessionApi};
use breaker::Leave;
use endpoint::{Attended, Line, judge};
use held_questions::Held;
use queue::Queue;
use transport::{Exchange, Times, Transport};

/// A call of the provider's session API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The session.
    pub key: SessionKey,
    /// The epoch under which the engine asks.
    pub epoch: u64,
    /// The engine's own number for it.
    pub number: u32,
    /// What is called.
    pub operation: Operation,
    /// The idempotency key's number; of no account for a status.
    pub key_number: u32,
    /// When it should be answered at the latest: earlier ones go first, and a late one goes all the same.
    pub due_by: Timestamp,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The call.
    pub call: Call,
    /// What the provider says, or that it says nothing.
    pub reply: Reply,
    /// The whole session of a status's answer, where that can be read.
    pub session: Option<Box<ShownSession>>,
    /// How long it asks for peace; at most 15 minutes.
    pub retry_after: Option<Duration>,
    /// Our wall clock minus the provider's; nothing where it did not tell its time.
    pub clock_skew: Option<SignedDuration>,
}

/// How calls are carried out.
pub struct Settings {
    /// From sending a call, connecting included, to the last byte of its answer.
    pub timeout: Duration,
    /// Calls on their way at once, at least one.
    pub in_flight_max: usize,
    /// An action that waits for longer than this is not sent: its session may be another process's by then.
    pub send_within: Duration,
    /// Whose certificates are believed.
    pub roots: Roots,
}

/// Everything that a call can come to, as counted: `not_sent` for one that the breaker held back, that waited for too long,
/// or whose source has no api.
pub const OUTCOMES: [&str; 8] =
    ["ok", "refused", "unknown_code", "try_again", "key_exists", "our_trouble", "unclear", NOT_SENT];

const NOT_SENT: &str = "not_sent";

/// Actions that wait for each place: enough that none is ever empty, and few enough that the last is sent within a second or
/// two also where a call takes half of that.
const WAITING_FOR_EACH_PLACE: usize = 4;
/// How often the questions that are held back are looked after: a small part of the shortest pause of a breaker.
const LOOK_AFTER_HELD_EVERY: Duration = Duration::from_millis(100);

/// Takes calls. Dropping it drops the calls that wait; those on their way end by themselves.
pub struct Caller {
    shared: Arc<Shared>,
}

/// What the calls on their way have in common.
struct Shared {
    lines: BTreeMap<Arc<str>, Line>,
    transport: Transport,
    handle: Handle,
    in_flight_max: usize,
    send_within: Duration,
    work: Mutex<Work>,
    answers: Sender<Answer>,
    metrics: CallMetrics,
}

#[derive(Default)]
struct Work {
    waiting: Queue,
    /// Workers, each with one call on its way.
    in_flight: usize,
}

impl Caller {
    /// Carries calls out on the runtime of `handle`; each one's answer comes to the receiver. A source that is not among
    /// `apis` cannot be called.
    ///
    /// # Errors
    /// There is no TLS, or nobody to believe.
    pub fn start(
        settings: Settings,
        apis: BTreeMap<Arc<str>, Arc<ArcSwap<SessionApi>>>,
        handle: Handle,
        metrics: &Metrics,
    ) -> Result<(Self, Receiver<Answer>), HttpsError> {
        let (answers, receiver) = mpsc::channel();
        let line = |(source, api): (Arc<str>, Arc<ArcSwap<SessionApi>>)| {
            let open = metrics.breaker_open(&source);
            (Arc::clone(&source), Line::new(source, api, open))
        };
        let shared = Shared {
            lines: apis.into_iter().map(line).collect(),
            transport: Transport::new(settings.roots, settings.timeout)?,
            handle,
            in_flight_max: settings.in_flight_max.max(1),
            send_within: settings.send_within,
            work: Mutex::default(),
            answers,
            metrics: metrics.calls(&Operation::ALL.map(Operation::as_str), &OUTCOMES),
        };
        Ok((Self { shared: Arc::new(shared) }, receiver))
    }

    /// Takes a call; never blocks. While its source's provider is left alone, an action is answered at once as not sent, and a
    /// question is held: one of them finds out whether the provider is well again; the others are sent when it is, or answered
    /// as not sent when they are due.
    ///
    /// At `owned_at` its session was this process's for certain: an action is sent within the set time after that, or not at
    /// all. Or this would happen: the action is committed; the process freezes; another takes the session over, acts with the
    /// same key, hears an error that is worth another key, and acts with that; the process wakes, and sends what waited.
    pub fn call(&self, call: Call, owned_at: Instant) {
        let Some(line) = self.shared.lines.get(&call.key.source) else { return self.shared.not_sent(call) };
        if line.is_passable(&call.key) {
            self.shared.send(call, owned_at);
        } else {
            self.shared.hold_back(line, call, owned_at);
        }
    }

    /// Drops the waiting calls of all epochs before `epoch`, without an answer. Those on their way are answered.
    pub fn forget(&self, epoch: u64) {
        self.shared.work().waiting.forget(epoch);
        self.shared.lines.values().for_each(|line| line.change_held(|held| held.forget(epoch)));
    }

    /// Drops the waiting calls about sessions that have ended, without an answer: nothing is done to a session whose outcome
    /// is told.
    pub fn withdraw(&self, ended: &BTreeSet<SessionKey>) {
        self.shared.work().waiting.withdraw(ended);
        self.shared.lines.values().for_each(|line| line.change_held(|held| held.withdraw(ended)));
    }

    /// How many more actions may be put to wait: beyond some for each place they would get too old to be sent.
    pub fn room(&self) -> usize {
        let most = self.shared.in_flight_max.saturating_mul(WAITING_FOR_EACH_PLACE);
        most.saturating_sub(self.shared.work().waiting.actions())
    }

    /// Calls on their way.
    pub fn in_flight(&self) -> usize {
        self.shared.work().in_flight
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.shared.work().waiting.clear();
        self.shared.lines.values().for_each(|line| line.change_held(Held::clear));
    }
}

/// Carries out what waits until nothing does. There are at most `in_flight_max` of these, each with one call at a time.
async fn work(shared: Arc<Shared>) {
    let mut place = Place { shared: &shared, taken: true };
    while let Some((call, owned_at)) = place.next() {
        shared.carry_out(call, owned_at).await;
    }
}

/// Looks after the questions of one source that are held back, until there are none: sends one to find out whether the
/// provider is well again, all when it is, and gives up those that are due.
async fn attend(shared: Arc<Shared>, source: Arc<str>) {
    let Some(line) = shared.lines.get(&source) else { return };
    loop {
        sleep(LOOK_AFTER_HELD_EVERY).await;
        let Attended { expired, released, is_over } = line.attend(Instant::now());
        for call in expired {
            shared.not_sent(call);
        }
        for (call, owned_at) in released {
            shared.send(call, owned_at);
        }
        if is_over {
            return;
        }
    }
}

/// One of the `in_flight_max` places; given back whatever happens.
struct Place<'s> {
    shared: &'s Shared,
    taken: bool,
}

impl Place<'_> {
    /// The next call; or the place is given back in the same moment, so that no call is put to wait for it any more.
    fn next(&mut self) -> Option<(Call, Instant)> {
        let mut work = self.shared.work();
        let call = work.waiting.pop();
        if call.is_none() {
            self.taken = false;
            self.shared.leave(&mut work);
        }
        call
    }
}

/// The runtime ends, and with it the work on this place.
impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.taken {
            self.shared.leave(&mut self.shared.work());
        }
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a call to wait for a place, and takes one for it where one is free.
    fn send(self: &Arc<Self>, call: Call, owned_at: Instant) {
        if self.enqueue(call, owned_at) {
            self.handle.spawn(work(Arc::clone(self)));
        }
    }

    /// A call whose source's provider is left alone. An action is not put off: it would be too old to be sent; and it may
    /// have an effect that nobody hears of, so it is not what should find out whether the provider is well.
    fn hold_back(self: &Arc<Self>, line: &Line, call: Call, owned_at: Instant) {
        if call.operation != Operation::Status {
            return self.not_sent(call);
        }
        if line.hold(call, owned_at) {
            self.handle.spawn(attend(Arc::clone(self), Arc::clone(&line.source)));
        }
    }

    /// Puts a call to wait; whether there is a place for a worker to take it, which is then taken.
    fn enqueue(&self, call: Call, owned_at: Instant) -> bool {
        let mut work = self.work();
        work.waiting.push(call, owned_at);
        let free = work.in_flight < self.in_flight_max;
        if free {
            work.in_flight += 1;
            self.metrics.in_flight.increment(1.0);
        }
        free
    }

    fn leave(&self, work: &mut Work) {
        work.in_flight = work.in_flight.saturating_sub(1);
        self.metrics.in_flight.decrement(1.0);
    }

    async fn carry_out(self: &Arc<Self>, call: Call, owned_at: Instant) {
        if call.operation != Operation::Status && owned_at.elapsed() > self.send_within {
            return self.not_sent(call);
        }
        let Some(line) = self.lines.get(&call.key.source) else { return self.not_sent(call) };
        // It may have opened while the call waited.
        let leave = line.leave(&call.key);
        let Some(leave) = leave else { return self.hold_back(line, call, owned_at) };
        let underway = Underway { shared: self, line, leave, call, began: Instant::now(), exchange: None };
        let exchange = self.transport.exchange(&line.api.load_full(), &underway.call).await;
        underway.end(exchange);
    }

    fn not_sent(&self, call: Call) {
        self.metrics.answered(call.operation.as_str(), NOT_SENT);
        self.answer(call, Exchange::without_answer(Reply::NotSent, String::new()));
    }

    fn answer(&self, call: Call, exchange: Exchange) {
        let Exchange { reply, session, times: Times { retry_after, clock_skew }, .. } = exchange;
        // An engine that has ended wants no answer.
        let _ = self.answers.send(Answer { call, reply, session, retry_after, clock_skew });
    }
}

/// A call that was sent. However its work ends, it is answered once and the breaker hears of it.
struct Underway<'s> {
    shared: &'s Shared,
    line: &'s Line,
    leave: Leave,
    call: Call,
    began: Instant,
    exchange: Option<Exchange>,
}

impl Underway<'_> {
    fn end(mut self, exchange: Exchange) {
        self.exchange = Some(exchange);
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        // None when the runtime ends meanwhile: the call may have had its effect.
        let exchange = self.exchange.take();
        let exchange =
            exchange.unwrap_or_else(|| Exchange::without_answer(Reply::Unclear, "this process ended".to_owned()));
        let (health, outcome) = judge(&exchange);
        self.line.heard(&self.call.key, self.leave, health, &exchange.seen);
        let operation = self.call.operation.as_str();
        self.shared.metrics.answered(operation, outcome);
        self.shared.metrics.lasted(operation, self.began.elapsed());
        self.shared.answer(self.call.clone(), exchange);
    }
}
