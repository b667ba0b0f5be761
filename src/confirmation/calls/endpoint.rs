//! One source's provider: whether it is called at all, and the status calls that wait meanwhile.
//! Must not know how a call travels, nor which of those that may go goes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use metrics::Gauge;

use super::breaker::{Breaker, BreakerChange, Health, Permit};
use super::deferred_status_calls::DeferredStatusCalls;
use super::transport::Exchange;
use super::{NOT_SENT, ProviderCall};
use crate::confirmation::session::model::SessionKey;
use crate::log_limit::LogLimit;
use crate::provider::smart_glocal::api::{FailureScope, Reply, SessionApi, is_of_account};

/// One source's provider, to call.
pub(super) struct SourceEndpoint {
    /// Its name.
    pub source: Arc<str>,
    /// How it is called.
    pub api: Arc<ArcSwap<SessionApi>>,
    breaker: Mutex<Breaker>,
    deferred: Mutex<DeferredState>,
    open: Gauge,
    /// Calls that failed; the session and what was seen.
    failures: LogLimit<(SessionKey, String)>,
}

/// The status calls about a source's sessions that wait until its provider answers again.
#[derive(Default)]
struct DeferredState {
    calls: DeferredStatusCalls,
    /// Whether a task looks after them.
    has_task: bool,
}

/// The status calls that were deferred and need not wait any more.
pub(super) struct ReleasedStatusCalls {
    /// Deferred for long enough: to be answered as not sent.
    pub expired: Vec<ProviderCall>,
    /// To be sent now, and since when their sessions were ours for certain.
    pub released: Vec<(ProviderCall, Instant)>,
    /// None are left, and no task looks after them any more.
    pub is_over: bool,
}

impl SourceEndpoint {
    pub(super) fn new(source: Arc<str>, api: Arc<ArcSwap<SessionApi>>, open: Gauge) -> Self {
        Self { source, api, breaker: Mutex::default(), deferred: Mutex::default(), open, failures: LogLimit::default() }
    }

    /// Whether a call about this session may be sent now.
    pub(super) fn allows(&self, session: &SessionKey) -> bool {
        self.breaker().allows(session, Instant::now())
    }

    /// A permit to send it, where it gets one; whoever takes it comes back to [`Self::record`].
    pub(super) fn permit(&self, session: &SessionKey) -> Option<Permit> {
        self.breaker().permit(session, Instant::now())
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deferred(&self) -> MutexGuard<'_, DeferredState> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Defers a status call; whether a task has to be started that looks after it.
    pub(super) fn defer(&self, call: ProviderCall, owned_at: Instant) -> bool {
        let mut deferred = self.deferred();
        deferred.calls.push(call, owned_at, Instant::now(), Timestamp::now());
        !std::mem::replace(&mut deferred.has_task, true)
    }

    /// Changes what is deferred.
    pub(super) fn change_deferred(&self, change: impl FnOnce(&mut DeferredStatusCalls)) {
        change(&mut self.deferred().calls);
    }

    /// Takes out the status calls that need not wait any more.
    pub(super) fn release(&self, now: Instant) -> ReleasedStatusCalls {
        let mut deferred = self.deferred();
        let expired = deferred.calls.take_expired(now);
        let breaker = self.breaker();
        // It may be open for the sessions that failed, and closed for the others.
        let mut released = deferred.calls.take_closed_for(|session| breaker.is_closed_for(session));
        if breaker.is_probe_due(now) {
            released.extend(deferred.calls.take_first(|session| breaker.failures(session)));
        }
        let is_over = deferred.calls.is_empty();
        deferred.has_task = !is_over;
        ReleasedStatusCalls { expired, released, is_over }
    }

    /// Tells the breaker; logs where that changes something.
    pub(super) fn record(&self, session: &SessionKey, permit: Permit, health: Health, seen: &str) {
        let source = &*self.source;
        if matches!(health, Health::SessionFailure | Health::ProviderFailure) {
            self.failures.add((session.clone(), seen.to_owned()));
        }
        if let Some((count, (session, seen))) = self.failures.due(Instant::now()) {
            tracing::warn!(
                source,
                %session,
                seen,
                count,
                "calls to the provider failed; they are repeated until the window of their session closes; then the provider cancels the operation"
            );
        }
        match self.breaker().record(session, permit, health, Instant::now()) {
            Some(BreakerChange::Opened) => {
                self.open.set(1.0);
                tracing::error!(
                    source,
                    seen,
                    "calls about five sessions failed without a good answer between them; calls are held back, and one at a \
                     time tries whether the provider answers again; if the provider is not away, check base_url, project and \
                     private_key_file in the api section of the source: sessions of another project fail so too"
                );
            }
            Some(BreakerChange::Closed) => {
                self.open.set(0.0);
                tracing::info!(source, "the provider answers calls again; calls that were held back are made now");
            }
            None => {}
        }
    }
}

/// What an exchange says of the provider's health, and how it is counted.
pub(super) fn judge(exchange: &Exchange) -> (Health, &'static str) {
    let of_code = |code: &str| if is_of_account(code) { Health::SuccessOnceProven } else { Health::Success };
    match &exchange.reply {
        Reply::Ok(_) => (Health::Success, "ok"),
        Reply::Refused { code, .. } => (of_code(code), "refused"),
        Reply::UnknownCode { code, .. } => (of_code(code), "unknown_code"),
        Reply::TryAgain => (Health::Success, "try_again"),
        Reply::KeyExists => (Health::Success, "key_exists"),
        Reply::NotProcessed => match exchange.scope {
            FailureScope::Session => (Health::SessionFailure, "not_processed"),
            FailureScope::Source => (Health::ProviderFailure, "not_processed"),
        },
        Reply::NotSent => (Health::ProviderFailure, NOT_SENT),
        Reply::Unclear => (Health::ProviderFailure, "unclear"),
    }
}
