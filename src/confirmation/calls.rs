//! Carries the engine's calls out: a bounded number at once, whatever is due first, each answered exactly once.
//! Must not know why a call is made, nor what its answer leads to; when a call is repeated stands in `session::machine`.

pub mod breaker;
pub mod content_encoding;
pub mod deferred_status_calls;
mod endpoint;
pub mod queue;
pub mod retry_after_and_date;
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
use breaker::Permit;
use deferred_status_calls::DeferredStatusCalls;
use endpoint::{ReleasedStatusCalls, SourceEndpoint, judge};
use queue::CallQueue;
use transport::{Exchange, HeadTimes, Transport};

/// A call of the provider's session API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderCall {
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
pub struct CallAnswer {
    /// The call.
    pub call: ProviderCall,
    /// What the provider says, or that it says nothing.
    pub reply: Reply,
    /// The whole session of a status's answer, where that can be read.
    pub session: Option<Box<ShownSession>>,
    /// Its Retry-After, at most 15 minutes.
    pub retry_after: Option<Duration>,
    /// Our wall clock minus the provider's; nothing where it did not tell its time.
    pub clock_skew: Option<SignedDuration>,
}

/// How calls are carried out.
pub struct CallSettings {
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
    ["ok", "refused", "unknown_code", "try_again", "key_exists", "not_processed", "unclear", NOT_SENT];

const NOT_SENT: &str = "not_sent";

/// Actions that wait for each slot: enough that none is ever empty, and few enough that the last is sent within a second or
/// two also where a call takes half of that.
const WAITING_FOR_EACH_SLOT: usize = 4;
/// How often the deferred status calls are looked after: a small part of the shortest pause of a breaker.
const RELEASE_DEFERRED_EVERY: Duration = Duration::from_millis(100);

/// Takes calls. Dropping it drops the calls that wait; those on their way end by themselves.
pub struct Caller {
    shared: Arc<CallerShared>,
}

/// What the calls on their way have in common.
struct CallerShared {
    endpoints: BTreeMap<Arc<str>, SourceEndpoint>,
    transport: Transport,
    handle: Handle,
    in_flight_max: usize,
    send_within: Duration,
    state: Mutex<CallerState>,
    answers: Sender<CallAnswer>,
    metrics: CallMetrics,
}

#[derive(Default)]
struct CallerState {
    waiting: CallQueue,
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
        settings: CallSettings,
        apis: BTreeMap<Arc<str>, Arc<ArcSwap<SessionApi>>>,
        handle: Handle,
        metrics: &Metrics,
    ) -> Result<(Self, Receiver<CallAnswer>), HttpsError> {
        let (answers, receiver) = mpsc::channel();
        let endpoint = |(source, api): (Arc<str>, Arc<ArcSwap<SessionApi>>)| {
            let open = metrics.breaker_open(&source);
            (Arc::clone(&source), SourceEndpoint::new(source, api, open))
        };
        let shared = CallerShared {
            endpoints: apis.into_iter().map(endpoint).collect(),
            transport: Transport::new(settings.roots, settings.timeout)?,
            handle,
            in_flight_max: settings.in_flight_max.max(1),
            send_within: settings.send_within,
            state: Mutex::default(),
            answers,
            metrics: metrics.calls(&Operation::ALL.map(Operation::as_str), &OUTCOMES),
        };
        Ok((Self { shared: Arc::new(shared) }, receiver))
    }

    /// Takes a call; never blocks. While its source's breaker is open, an action call is answered at once as not sent, and a
    /// status call is deferred: one of them finds out whether the provider answers again; the others are sent when it does,
    /// or answered as not sent when they are due.
    ///
    /// At `owned_at` its session was this process's for certain: an action is sent within the set time after that, or not at
    /// all. Or this would happen: the action is committed; the process freezes; another takes the session over, acts with the
    /// same key, hears an error that is worth another key, and acts with that; the process wakes, and sends what waited.
    pub fn call(&self, call: ProviderCall, owned_at: Instant) {
        let Some(endpoint) = self.shared.endpoints.get(&call.key.source) else { return self.shared.not_sent(call) };
        if endpoint.allows(&call.key) {
            self.shared.send(call, owned_at);
        } else {
            self.shared.defer(endpoint, call, owned_at);
        }
    }

    /// Drops the waiting calls of all epochs before `epoch`, without an answer. Those on their way are answered.
    pub fn forget(&self, epoch: u64) {
        self.shared.state().waiting.forget(epoch);
        self.shared.endpoints.values().for_each(|endpoint| endpoint.change_deferred(|deferred| deferred.forget(epoch)));
    }

    /// Drops the waiting calls about sessions that have ended, without an answer: nothing is done to a session whose outcome
    /// is told.
    pub fn withdraw(&self, ended: &BTreeSet<SessionKey>) {
        self.shared.state().waiting.withdraw(ended);
        self.shared
            .endpoints
            .values()
            .for_each(|endpoint| endpoint.change_deferred(|deferred| deferred.withdraw(ended)));
    }

    /// How many more actions may be put to wait: beyond some for each slot they would get too old to be sent.
    pub fn room(&self) -> usize {
        let most = self.shared.in_flight_max.saturating_mul(WAITING_FOR_EACH_SLOT);
        most.saturating_sub(self.shared.state().waiting.actions())
    }

    /// Calls on their way.
    pub fn in_flight(&self) -> usize {
        self.shared.state().in_flight
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.shared.state().waiting.clear();
        self.shared.endpoints.values().for_each(|endpoint| endpoint.change_deferred(DeferredStatusCalls::clear));
    }
}

/// Carries out what waits until nothing does. There are at most `in_flight_max` of these, each with one call at a time.
async fn work(shared: Arc<CallerShared>) {
    let mut slot = WorkerSlot { shared: &shared, taken: true };
    while let Some((call, owned_at)) = slot.next() {
        shared.carry_out(call, owned_at).await;
    }
}

/// Releases the deferred status calls of one source, until there are none: sends one to find out whether the
/// provider answers again, all when it does, and gives up those that are due.
async fn release_deferred(shared: Arc<CallerShared>, source: Arc<str>) {
    let Some(endpoint) = shared.endpoints.get(&source) else { return };
    loop {
        sleep(RELEASE_DEFERRED_EVERY).await;
        let ReleasedStatusCalls { expired, released, is_over } = endpoint.release(Instant::now());
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

/// One of the `in_flight_max` slots for calls on their way; given back whatever happens.
struct WorkerSlot<'s> {
    shared: &'s CallerShared,
    taken: bool,
}

impl WorkerSlot<'_> {
    /// The next call; or the slot is given back in the same moment, so that no call is put to wait for it any more.
    fn next(&mut self) -> Option<(ProviderCall, Instant)> {
        // Under one lock: between finding no call and freeing the slot a call could be put to wait that no worker takes.
        let mut state = self.shared.state();
        let call = state.waiting.pop();
        if call.is_none() {
            self.taken = false;
            self.shared.free_slot(&mut state);
        }
        call
    }
}

/// The runtime ends, and with it the work on this slot.
impl Drop for WorkerSlot<'_> {
    fn drop(&mut self) {
        if self.taken {
            self.shared.free_slot(&mut self.shared.state());
        }
    }
}

impl CallerShared {
    fn state(&self) -> MutexGuard<'_, CallerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a call to wait for a slot, and takes one for it where one is free.
    fn send(self: &Arc<Self>, call: ProviderCall, owned_at: Instant) {
        if self.enqueue(call, owned_at) {
            self.handle.spawn(work(Arc::clone(self)));
        }
    }

    /// A call whose source's breaker is open. An action call is not put off: it would be too old to be sent; and it may
    /// have an effect that nobody hears of, so it is not what should find out whether the provider answers.
    fn defer(self: &Arc<Self>, endpoint: &SourceEndpoint, call: ProviderCall, owned_at: Instant) {
        if call.operation != Operation::Status {
            return self.not_sent(call);
        }
        if endpoint.defer(call, owned_at) {
            self.handle.spawn(release_deferred(Arc::clone(self), Arc::clone(&endpoint.source)));
        }
    }

    /// Puts a call to wait; whether there is a slot for a worker to take it, which is then taken.
    fn enqueue(&self, call: ProviderCall, owned_at: Instant) -> bool {
        let mut state = self.state();
        state.waiting.push(call, owned_at);
        // The slot is taken here and not by the task, which may start much later: else a burst would start too many.
        let free = state.in_flight < self.in_flight_max;
        if free {
            state.in_flight += 1;
            self.metrics.in_flight.increment(1.0);
        }
        free
    }

    fn free_slot(&self, state: &mut CallerState) {
        state.in_flight = state.in_flight.saturating_sub(1);
        self.metrics.in_flight.decrement(1.0);
    }

    async fn carry_out(self: &Arc<Self>, call: ProviderCall, owned_at: Instant) {
        // Counted from when the session was ours, not from when the call was queued. A status has no effect, so it may be late.
        if call.operation != Operation::Status && owned_at.elapsed() > self.send_within {
            return self.not_sent(call);
        }
        let Some(endpoint) = self.endpoints.get(&call.key.source) else { return self.not_sent(call) };
        // It may have opened while the call waited.
        let permit = endpoint.permit(&call.key);
        let Some(permit) = permit else { return self.defer(endpoint, call, owned_at) };
        let in_flight = InFlightCall { shared: self, endpoint, permit, call, began: Instant::now(), exchange: None };
        let exchange = self.transport.exchange(&endpoint.api.load_full(), &in_flight.call).await;
        in_flight.end(exchange);
    }

    fn not_sent(&self, call: ProviderCall) {
        self.metrics.answered(call.operation.as_str(), NOT_SENT);
        self.answer(call, Exchange::without_answer(Reply::NotSent, String::new()));
    }

    fn answer(&self, call: ProviderCall, exchange: Exchange) {
        let Exchange { reply, session, times: HeadTimes { retry_after, clock_skew }, .. } = exchange;
        // An engine that has ended wants no answer.
        let _ = self.answers.send(CallAnswer { call, reply, session, retry_after, clock_skew });
    }
}

/// A call that was sent. However its work ends, it is answered once and the breaker hears of it.
struct InFlightCall<'s> {
    shared: &'s CallerShared,
    endpoint: &'s SourceEndpoint,
    permit: Permit,
    call: ProviderCall,
    began: Instant,
    exchange: Option<Exchange>,
}

impl InFlightCall<'_> {
    fn end(mut self, exchange: Exchange) {
        self.exchange = Some(exchange);
    }
}

impl Drop for InFlightCall<'_> {
    fn drop(&mut self) {
        // None when the runtime ends meanwhile: the call may have had its effect.
        let exchange = self.exchange.take();
        let exchange =
            exchange.unwrap_or_else(|| Exchange::without_answer(Reply::Unclear, "this process ended".to_owned()));
        let (health, outcome) = judge(&exchange);
        self.endpoint.record(&self.call.key, self.permit, health, &exchange.seen);
        let operation = self.call.operation.as_str();
        self.shared.metrics.answered(operation, outcome);
        self.shared.metrics.lasted(operation, self.began.elapsed());
        self.shared.answer(self.call.clone(), exchange);
    }
}
