//! One source's provider: whether it is called at all, and the questions that wait meanwhile.
//! Must not know how a call travels, nor which of those that may go goes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use metrics::Gauge;

use super::breaker::{Breaker, BreakerChange, Health, Permit};
use super::held_questions::HeldQuestions;
use super::transport::Exchange;
use super::{NOT_SENT, ProviderCall};
use crate::confirmation::session::model::SessionKey;
use crate::provider::smart_glocal::api::{FailureScope, Reply, SessionApi, is_of_account};

/// One source's provider, to call.
pub(super) struct SourceEndpoint {
    /// Its name.
    pub source: Arc<str>,
    /// How it is called.
    pub api: Arc<ArcSwap<SessionApi>>,
    breaker: Mutex<Breaker>,
    hold: Mutex<BreakerHold>,
    open: Gauge,
}

/// The questions about a source's sessions that wait until its provider is well again.
#[derive(Default)]
struct BreakerHold {
    questions: HeldQuestions,
    /// Whether a task looks after them.
    has_task: bool,
}

/// The questions that were held back and need not wait any more.
pub(super) struct ReleasedQuestions {
    /// Held for long enough: to be answered as not sent.
    pub expired: Vec<ProviderCall>,
    /// To be sent now, and since when their sessions were ours for certain.
    pub released: Vec<(ProviderCall, Instant)>,
    /// None are left, and no task looks after them any more.
    pub is_over: bool,
}

impl SourceEndpoint {
    pub(super) fn new(source: Arc<str>, api: Arc<ArcSwap<SessionApi>>, open: Gauge) -> Self {
        Self { source, api, breaker: Mutex::default(), hold: Mutex::default(), open }
    }

    /// Whether a call about this session may be sent now.
    pub(super) fn is_passable(&self, session: &SessionKey) -> bool {
        self.breaker().is_passable(session, Instant::now())
    }

    /// A permit to send it, where it gets one; whoever takes it comes back to [`Self::record`].
    pub(super) fn permit(&self, session: &SessionKey) -> Option<Permit> {
        self.breaker().permit(session, Instant::now())
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self) -> MutexGuard<'_, BreakerHold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a question back; whether a task has to be started that looks after it.
    pub(super) fn hold_back(&self, call: ProviderCall, owned_at: Instant) -> bool {
        let mut hold = self.hold();
        hold.questions.push(call, owned_at, Instant::now(), Timestamp::now());
        !std::mem::replace(&mut hold.has_task, true)
    }

    /// Changes what is held back.
    pub(super) fn change_held(&self, change: impl FnOnce(&mut HeldQuestions)) {
        change(&mut self.hold().questions);
    }

    /// Takes out the questions that need not wait any more.
    pub(super) fn release(&self, now: Instant) -> ReleasedQuestions {
        let mut hold = self.hold();
        let expired = hold.questions.take_expired(now);
        let breaker = self.breaker();
        // Only when the breaker is closed is every session free; while it is open, those that never failed may be.
        let mut released = hold.questions.take_free(|session| breaker.is_free(session));
        if breaker.is_probe_due(now) {
            released.extend(hold.questions.take_first(|session| breaker.failures(session)));
        }
        let is_over = hold.questions.is_empty();
        hold.has_task = !is_over;
        ReleasedQuestions { expired, released, is_over }
    }

    /// Tells the breaker; logs where that changes something.
    pub(super) fn record(&self, session: &SessionKey, permit: Permit, health: Health, seen: &str) {
        let source = &*self.source;
        match self.breaker().record(session, permit, health, Instant::now()) {
            Some(BreakerChange::Opened) => {
                self.open.set(1.0);
                tracing::error!(
                    source,
                    seen,
                    "calls about five sessions failed without a good answer between them; calls are held back, and one at a \
                     time finds out when the provider answers them again"
                );
            }
            Some(BreakerChange::Closed) => {
                self.open.set(0.0);
                tracing::info!(source, "the provider answers calls again");
            }
            None => {}
        }
    }
}

/// What an exchange says of the provider's health, and how it is counted.
pub(super) fn judge(exchange: &Exchange) -> (Health, &'static str) {
    let of_code = |code: &str| if is_of_account(code) { Health::WellIfEver } else { Health::Well };
    match &exchange.reply {
        Reply::Ok(_) => (Health::Well, "ok"),
        Reply::Refused { code, .. } => (of_code(code), "refused"),
        Reply::UnknownCode { code, .. } => (of_code(code), "unknown_code"),
        Reply::TryAgain => (Health::Well, "try_again"),
        Reply::KeyExists => (Health::Well, "key_exists"),
        Reply::NotProcessed => match exchange.scope {
            FailureScope::Session => (Health::UnwellAlone, "not_processed"),
            FailureScope::Source => (Health::Unwell, "not_processed"),
        },
        Reply::NotSent => (Health::Unwell, NOT_SENT),
        Reply::Unclear => (Health::Unwell, "unclear"),
    }
}
