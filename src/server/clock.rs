//! How long a connection may wait: for a head, for the next request, for its end. No clock runs while a request is handled.
//! The connection's task keeps one timer, and is woken only by what its timer would miss: a busy connection sets it once in
//! a while, an idle one once when it comes to rest, and then not until its time is up.
//! Must not know sockets, hyper, or what the requests mean.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// How long a closing connection's client may go on sending what nobody will read, so that it finds the answer and not a reset.
pub(super) const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The end of a head.
    Head,
    /// The next request, or the client to read its answer.
    Idle,
    /// The client to take note of the end.
    Closing,
}

/// One connection's clock, from accept to close.
#[derive(Debug)]
pub(super) struct Clock {
    header_read_timeout: Duration,
    keep_alive_timeout: Duration,
    /// How long after a request the connection is at rest.
    rest_after: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` while a request is handled.
    deadline: Option<(Instant, Wait)>,
    /// When the connection comes to rest if no request does; `None` while one is read or handled, and when it is at rest.
    rests_at: Option<Instant>,
    /// Requests being handled; more than one only on HTTP/2.
    handling: usize,
    /// A head began while a request was handled: it gets its time afterwards.
    head_waits: bool,
    /// When the task's timer goes off next.
    timer: Option<Instant>,
    /// Wakes the connection's task.
    task: Option<Waker>,
}

/// A request is being handled, until this is dropped.
pub(super) struct Handling(Arc<Clock>);

impl Clock {
    /// A clock that starts now, at accept.
    pub(super) fn new(header_read_timeout: Duration, keep_alive_timeout: Duration, rest_after: Duration) -> Arc<Self> {
        let deadline = deadline_in(header_read_timeout, Wait::Head);
        let state =
            Mutex::new(State { deadline, rests_at: None, handling: 0, head_waits: false, timer: None, task: None });
        Arc::new(Self { header_read_timeout, keep_alive_timeout, rest_after, state })
    }

    /// When to give up, and on what.
    pub(super) fn deadline(&self) -> Option<(Instant, Wait)> {
        self.state().deadline
    }

    /// When there is something to be looked at: the deadline, or whether the connection is at rest.
    pub(super) fn alarm(&self) -> Option<Instant> {
        self.state().alarm()
    }

    /// The next request is waited for, and not at rest yet.
    pub(super) fn is_idle(&self) -> bool {
        self.state().rests_at.is_some()
    }

    /// No request has come for `rest_after`. Whoever is told so and lets it be is told again after as long.
    pub(super) fn is_at_rest(&self) -> bool {
        let (mut state, now) = (self.state(), Instant::now());
        let is_at_rest = state.rests_at.is_some_and(|at| at <= now);
        if is_at_rest {
            state.rests_at = now.checked_add(self.rest_after);
        }
        is_at_rest
    }

    /// The connection rests already, or never will: nobody wants to be told until the next request's end.
    pub(super) fn needs_no_rest(&self) {
        self.state().rests_at = None;
    }

    /// What was waited for in vain: the deadline has passed.
    pub(super) fn expired(&self) -> Option<Wait> {
        self.deadline().filter(|(at, _)| *at <= Instant::now()).map(|(_, wait)| wait)
    }

    /// Returns when there is an [`Clock::alarm`] that a timer set to `timer` would miss. The connection's task polls this after the
    /// connection itself, and so sees what that did without being woken.
    pub(super) async fn outruns(&self, timer: Option<Instant>) {
        poll_fn(|context| self.poll_outruns(timer, context)).await;
    }

    fn poll_outruns(&self, timer: Option<Instant>, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        state.timer = timer;
        if state.outruns_timer() {
            return Poll::Ready(());
        }
        match &state.task {
            Some(task) if task.will_wake(context.waker()) => {}
            Some(_) | None => state.task = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// The first byte of a head came. The first head's time has run since accept.
    pub(super) fn head_begins(&self) {
        let mut state = self.state();
        match (state.handling, state.deadline) {
            (0, Some((_, Wait::Idle))) => {
                state.deadline = deadline_in(self.header_read_timeout, Wait::Head);
                state.rests_at = None;
            }
            (0, _) => {}
            (_, _) => state.head_waits = true,
        }
    }

    /// A head is complete and its request is handled from now on.
    pub(super) fn request_begins(self: &Arc<Self>) -> Handling {
        let mut state = self.state();
        state.handling = state.handling.saturating_add(1);
        state.deadline = None;
        state.rests_at = None;
        state.head_waits = false;
        drop(state);
        Handling(Arc::clone(self))
    }

    /// The last byte was written: what is left is the client's to do.
    pub(super) fn closes(&self) {
        let mut state = self.state();
        state.deadline = deadline_in(CLOSING_TIMEOUT, Wait::Closing);
        state.rests_at = None;
    }

    fn request_ends(&self) {
        let mut state = self.state();
        state.handling = state.handling.saturating_sub(1);
        match (state.handling, state.head_waits) {
            (0, true) => state.deadline = deadline_in(self.header_read_timeout, Wait::Head),
            (0, false) => {
                state.deadline = deadline_in(self.keep_alive_timeout, Wait::Idle);
                state.rests_at = Instant::now().checked_add(self.rest_after);
            }
            (_, _) => state.deadline = None,
        }
        // On HTTP/2 this is another task than the connection's.
        let task = if state.outruns_timer() { state.task.take() } else { None };
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn alarm(&self) -> Option<Instant> {
        let deadline = self.deadline.map(|(at, _)| at);
        [deadline, self.rests_at].into_iter().flatten().min()
    }

    fn outruns_timer(&self) -> bool {
        self.alarm().is_some_and(|at| self.timer.is_none_or(|timer| at < timer))
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

/// A timeout too long for the system's clock is none.
fn deadline_in(timeout: Duration, wait: Wait) -> Option<(Instant, Wait)> {
    Instant::now().checked_add(timeout).map(|at| (at, wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(5);
    const IDLE: Duration = Duration::from_secs(75);
    const REST: Duration = Duration::from_secs(1);

    fn check(clock: &Clock, expect: Option<(Duration, Wait)>) {
        let rest = clock.deadline().map(|(at, wait)| (at.duration_since(Instant::now()), wait));
        assert_eq!(rest, expect);
    }

    #[tokio::test(start_paused = true)]
    async fn runs_from_accept_pauses_for_handlers_and_idles_between_requests() {
        let clock = Clock::new(HEAD, IDLE, REST);
        tokio::time::advance(Duration::from_secs(1)).await;
        clock.head_begins();
        check(&clock, Some((Duration::from_secs(4), Wait::Head)));
        let handling = clock.request_begins();
        check(&clock, None);
        drop(handling);
        check(&clock, Some((IDLE, Wait::Idle)));
        tokio::time::advance(Duration::from_secs(70)).await;
        clock.head_begins();
        check(&clock, Some((HEAD, Wait::Head)));
        tokio::time::advance(Duration::from_secs(1)).await;
        clock.head_begins();
        check(&clock, Some((Duration::from_secs(4), Wait::Head)));
        clock.closes();
        check(&clock, Some((CLOSING_TIMEOUT, Wait::Closing)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_began_during_a_request_gets_its_time_afterwards() {
        let clock = Clock::new(HEAD, IDLE, REST);
        let handling = clock.request_begins();
        clock.head_begins();
        check(&clock, None);
        drop(handling);
        check(&clock, Some((HEAD, Wait::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn idles_only_after_the_last_of_several_requests() {
        let clock = Clock::new(HEAD, IDLE, REST);
        let (first, second) = (clock.request_begins(), clock.request_begins());
        drop(first);
        check(&clock, None);
        drop(second);
        check(&clock, Some((IDLE, Wait::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn is_at_rest_a_while_after_the_last_request_and_until_the_next() {
        let clock = Clock::new(HEAD, IDLE, REST);
        tokio::time::advance(2 * REST).await;
        assert!(!clock.is_idle() && !clock.is_at_rest(), "its first head is waited for");
        let handling = clock.request_begins();
        assert_eq!(clock.alarm(), None);
        drop(handling);
        assert_eq!(clock.alarm(), Some(Instant::now() + REST));
        assert!(clock.is_idle() && !clock.is_at_rest());
        tokio::time::advance(REST).await;
        assert!(clock.is_at_rest());
        assert_eq!(clock.alarm(), Some(Instant::now() + REST), "it is asked again");
        clock.needs_no_rest();
        check(&clock, clock.alarm().map(|at| (at.duration_since(Instant::now()), Wait::Idle)));
        drop(clock.request_begins());
        tokio::time::advance(REST).await;
        clock.head_begins();
        assert!(!clock.is_idle() && !clock.is_at_rest());
    }
}
