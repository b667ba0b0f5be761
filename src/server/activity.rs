//! What one connection is doing, when its time for that is over, and how far its end is. No time runs while a request is
//! handled.
//! Must not know sockets, hyper, or what the requests mean.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

/// How long a connection that has been told to end may take for it: its client reads the last answer, or takes note.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(2);
/// After the stop a connection without a request gets a moment: one may be on its way, or in the kernel already.
const REQUEST_AT_STOP: Duration = Duration::from_millis(250);

/// `idle_since` of a connection whose request is handled.
const BUSY: u64 = u64::MAX;

/// How far a connection's end is. Each step holds what those before it ask for, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// It serves.
    Serve,
    /// It ends with its next answer on HTTP/1.1, and by GOAWAY on HTTP/2.
    Drain,
    /// It ends with the answer to the request that it has; where it has none, a moment later.
    Stop,
    /// Another client needs its place: it ends with the answer to the request that it has; where it has none, now.
    MakeRoom,
    /// It is dropped.
    Drop,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The end of a head.
    Head,
    /// The next request, or the client to read its answer.
    Idle,
    /// Its own end, of which it is not told yet.
    End,
    /// The client to take note of the end.
    Closing,
}

/// One connection's activity, from accept to close.
#[derive(Debug)]
pub(super) struct Activity {
    accepted: Instant,
    header_read_timeout: Duration,
    keep_alive_timeout: Duration,
    /// The accept, or the end of the last request, in microseconds since `epoch`; [`BUSY`] while one is handled. Written
    /// under the lock, and read without it: whoever looks for the longest idle connection takes no thousand locks.
    idle_since: AtomicU64,
    epoch: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests being handled; more than one only on HTTP/2.
    handling: usize,
    /// When the last request ended; `None` before the first ends.
    answered: Option<Instant>,
    /// When the first byte of the next head came.
    head: Option<Instant>,
    /// Known from the first request on.
    is_http2: bool,
    /// Since when it ends.
    closing: Option<Instant>,
    step: Step,
    /// When that step was reached.
    stepped: Instant,
    /// Wakes the connection's task.
    task: Option<Waker>,
}

/// A request is being handled, until this is dropped.
pub(super) struct Handling(Arc<Activity>);

impl Activity {
    /// A connection that is accepted now, when the server's end is as far as `step`. `epoch` is the same for all connections.
    pub(super) fn new(header_read_timeout: Duration, keep_alive_timeout: Duration, epoch: Instant, step: Step) -> Self {
        let accepted = Instant::now();
        let state = State {
            handling: 0,
            answered: None,
            head: None,
            is_http2: false,
            closing: None,
            step,
            stepped: accepted,
            task: None,
        };
        let idle_since = AtomicU64::new(micros(accepted.duration_since(epoch)));
        Self { accepted, header_read_timeout, keep_alive_timeout, idle_since, epoch, state: Mutex::new(state) }
    }

    /// Since when no request is handled, to compare with other connections; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<u64> {
        Some(self.idle_since.load(Ordering::Relaxed)).filter(|since| *since != BUSY)
    }

    /// Tells the connection how far the end is. No step is taken back.
    pub(super) fn tell(&self, step: Step) {
        let mut state = self.state();
        if state.step < step {
            (state.step, state.stepped) = (step, Instant::now());
            wake(state);
        }
    }

    /// How far the end is.
    pub(super) fn step(&self) -> Step {
        self.state().step
    }

    /// Bytes came: the next head begins, unless they belong to a request that is handled, or to HTTP/2's frames.
    pub(super) fn bytes_came(&self) {
        let mut state = self.state();
        if state.handling == 0 && !state.is_http2 && state.head.is_none() {
            state.head = Some(Instant::now());
        }
    }

    /// A head is complete and its request is handled from now on.
    pub(super) fn request_begins(self: &Arc<Self>, is_http2: bool) -> Handling {
        let mut state = self.state();
        state.handling = state.handling.saturating_add(1);
        state.is_http2 = is_http2;
        state.head = None;
        self.idle_since.store(BUSY, Ordering::Relaxed);
        drop(state);
        Handling(Arc::clone(self))
    }

    fn request_ends(&self) {
        let (mut state, now) = (self.state(), Instant::now());
        state.handling = state.handling.saturating_sub(1);
        if state.handling == 0 {
            state.answered = Some(now);
            self.idle_since.store(micros(now.duration_since(self.epoch)), Ordering::Relaxed);
            // HTTP/1's task is at this very work.
            if state.is_http2 {
                wake(state);
            }
        }
    }

    /// The connection is told that it ends, or has written its last byte.
    pub(super) fn closes(&self) {
        self.state().closing.get_or_insert_with(Instant::now);
    }

    /// `task` is woken when [`Activity::next`] may have become earlier by somebody else.
    pub(super) fn register(&self, task: &Waker) {
        let mut state = self.state();
        match &mut state.task {
            Some(known) => known.clone_from(task),
            none => *none = Some(task.clone()),
        }
    }

    /// What happens to the connection next if nothing comes, and when; `None`: nothing.
    pub(super) fn next(&self) -> Option<(Instant, Wait)> {
        let state = self.state();
        match state.closing {
            _ if state.step == Step::Drop => Some((state.stepped, Wait::Closing)),
            Some(_) if !state.is_idle() => None,
            Some(closing) => {
                later(state.answered.map_or(closing, |at| at.max(closing)), CLOSING_TIMEOUT, Wait::Closing)
            }
            None => {
                let end = state.ends_at().map(|at| (at, Wait::End));
                end.into_iter().chain(self.deadline(&state)).min_by_key(|(at, _)| *at)
            }
        }
    }

    fn deadline(&self, state: &State) -> Option<(Instant, Wait)> {
        match (state.answered, state.head) {
            _ if !state.is_idle() => None,
            // TLS and the version's detection are part of the first head.
            (None, _) => later(self.accepted, self.header_read_timeout, Wait::Head),
            (Some(_), Some(begun)) => later(begun, self.header_read_timeout, Wait::Head),
            (Some(answered), None) => later(answered, self.keep_alive_timeout, Wait::Idle),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.handling == 0
    }

    /// When the connection is told that it ends. One that has begun a head is not: hyper would close it, and the head's own
    /// time is short.
    fn ends_at(&self) -> Option<Instant> {
        match self.step {
            Step::Serve => None,
            // HTTP/1.1 is told by an answer, with which it ends.
            Step::Drain => self.is_http2.then_some(self.stepped),
            Step::Stop if !self.is_idle() => Some(self.stepped),
            Step::Stop if self.head.is_some() => None,
            Step::Stop => self.stepped.checked_add(REQUEST_AT_STOP),
            Step::MakeRoom | Step::Drop => Some(self.stepped),
        }
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

/// Wakes the task that the state knows, when nobody holds the lock any more.
fn wake(mut state: MutexGuard<'_, State>) {
    let task = state.task.take();
    drop(state);
    if let Some(task) = task {
        task.wake();
    }
}

/// A timeout too long for the system's clock is none.
fn later(since: Instant, timeout: Duration, wait: Wait) -> Option<(Instant, Wait)> {
    since.checked_add(timeout).map(|at| (at, wait))
}

fn micros(since: Duration) -> u64 {
    u64::try_from(since.as_micros()).unwrap_or(BUSY - 1)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const HEAD: Duration = Duration::from_secs(5);
    const IDLE: Duration = Duration::from_secs(75);
    const SECOND: Duration = Duration::from_secs(1);

    fn new(step: Step) -> Arc<Activity> {
        Arc::new(Activity::new(HEAD, IDLE, Instant::now(), step))
    }

    fn check(activity: &Activity, expect: Option<(Duration, Wait)>) {
        let next = activity.next().map(|(at, wait)| (at.duration_since(Instant::now()), wait));
        assert_eq!(next, expect);
    }

    #[tokio::test(start_paused = true)]
    async fn time_runs_from_accept_pauses_for_requests_and_idles_between_them() {
        let activity = new(Step::Serve);
        advance(SECOND).await;
        activity.bytes_came();
        check(&activity, Some((4 * SECOND, Wait::Head)));
        let handling = activity.request_begins(false);
        activity.bytes_came();
        check(&activity, None);
        drop(handling);
        check(&activity, Some((IDLE, Wait::Idle)));
        advance(70 * SECOND).await;
        activity.bytes_came();
        check(&activity, Some((HEAD, Wait::Head)));
        advance(SECOND).await;
        activity.bytes_came();
        check(&activity, Some((4 * SECOND, Wait::Head)));
        activity.closes();
        check(&activity, Some((CLOSING_TIMEOUT, Wait::Closing)));
    }

    #[tokio::test(start_paused = true)]
    async fn http_2_idles_after_the_last_of_its_requests_whatever_frames_come() {
        let activity = new(Step::Serve);
        let (first, second) = (activity.request_begins(true), activity.request_begins(true));
        drop(first);
        check(&activity, None);
        assert_eq!(activity.idle_since(), None);
        drop(second);
        activity.bytes_came();
        check(&activity, Some((IDLE, Wait::Idle)));
        assert_eq!(activity.idle_since(), Some(0));
        activity.tell(Step::Drain);
        check(&activity, Some((Duration::ZERO, Wait::End)));
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_stop_a_request_is_answered_a_head_waited_for_and_the_others_get_a_moment() {
        let [silent, begun, busy, idle] = [0; 4].map(|_| new(Step::Drain));
        begun.bytes_came();
        let handling = busy.request_begins(false);
        drop(idle.request_begins(false));
        check(&silent, Some((HEAD, Wait::Head)));
        check(&idle, Some((IDLE, Wait::Idle)));
        for activity in [&silent, &begun, &busy, &idle] {
            activity.tell(Step::Stop);
            activity.tell(Step::Drain);
        }
        check(&silent, Some((REQUEST_AT_STOP, Wait::End)));
        check(&idle, Some((REQUEST_AT_STOP, Wait::End)));
        check(&begun, Some((HEAD, Wait::Head)));
        check(&busy, Some((Duration::ZERO, Wait::End)));
        busy.closes();
        check(&busy, None);
        advance(10 * SECOND).await;
        drop(handling);
        check(&busy, Some((CLOSING_TIMEOUT, Wait::Closing)));
        busy.tell(Step::Drop);
        check(&busy, Some((Duration::ZERO, Wait::Closing)));
    }
}
