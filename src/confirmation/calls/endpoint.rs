//! The way to one source's provider: whether it is left alone, and the questions that wait meanwhile.
//! Must not know how a call travels, nor which of those that may go goes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use metrics::Gauge;

use super::breaker::{Breaker, Change, Health, Leave};
use super::held_questions::Held;
use super::transport::Exchange;
use super::{Call, NOT_SENT};
use crate::confirmation::session::model::SessionKey;
use crate::provider::smart_glocal::api::{Reply, SessionApi, Whose, is_of_account};

/// The way to one source's provider.
pub(super) struct Line {
    /// Its name.
    pub source: Arc<str>,
    /// How it is called.
    pub api: Arc<ArcSwap<SessionApi>>,
    breaker: Mutex<Breaker>,
    waiting_room: Mutex<WaitingRoom>,
    open: Gauge,
}

/// The questions about a source's sessions that wait until its provider is well again.
#[derive(Default)]
struct WaitingRoom {
    held: Held,
    /// Whether somebody looks after them.
    is_attended: bool,
}

/// What became of the questions that were held back.
pub(super) struct Attended {
    /// Held for long enough: to be answered as not sent.
    pub expired: Vec<Call>,
    /// To be sent now, and since when their sessions were ours for certain.
    pub released: Vec<(Call, Instant)>,
    /// None are left, and nobody looks after them any more.
    pub is_over: bool,
}

impl Line {
    pub(super) fn new(source: Arc<str>, api: Arc<ArcSwap<SessionApi>>, open: Gauge) -> Self {
        Self { source, api, breaker: Mutex::default(), waiting_room: Mutex::default(), open }
    }

    /// Whether a call about this session may be sent now.
    pub(super) fn is_passable(&self, session: &SessionKey) -> bool {
        self.breaker().is_passable(session, Instant::now())
    }

    /// Leave to send it, where it gets one; whoever takes it comes back to [`Self::heard`].
    pub(super) fn leave(&self, session: &SessionKey) -> Option<Leave> {
        self.breaker().leave(session, Instant::now())
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting_room(&self) -> MutexGuard<'_, WaitingRoom> {
        self.waiting_room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a question back; whether somebody has to come who looks after it.
    pub(super) fn hold(&self, call: Call, owned_at: Instant) -> bool {
        let mut room = self.waiting_room();
        room.held.push(call, owned_at, Instant::now(), Timestamp::now());
        !std::mem::replace(&mut room.is_attended, true)
    }

    /// Changes what is held back.
    pub(super) fn change_held(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.waiting_room().held);
    }

    /// Looks after the questions that are held back.
    pub(super) fn attend(&self, now: Instant) -> Attended {
        let mut room = self.waiting_room();
        let expired = room.held.take_expired(now);
        let breaker = self.breaker();
        let mut released = room.held.take_free(|session| breaker.is_free(session));
        if breaker.is_probe_due(now) {
            released.extend(room.held.take_first(|session| breaker.failures(session)));
        }
        let is_over = room.held.is_empty();
        room.is_attended = !is_over;
        Attended { expired, released, is_over }
    }

    /// Tells the breaker, and the world where that changes something.
    pub(super) fn heard(&self, session: &SessionKey, leave: Leave, health: Health, seen: &str) {
        let source = &*self.source;
        match self.breaker().heard(session, leave, health, Instant::now()) {
            Some(Change::Opened) => {
                self.open.set(1.0);
                tracing::error!(
                    source,
                    seen,
                    "calls about five sessions failed without a good answer between them; calls are held back, and one at a \
                     time finds out when the provider answers them again"
                );
            }
            Some(Change::Closed) => {
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
        Reply::OurTrouble => match exchange.whose {
            Whose::OneSession => (Health::UnwellAlone, "our_trouble"),
            Whose::All => (Health::Unwell, "our_trouble"),
        },
        Reply::NotSent => (Health::Unwell, NOT_SENT),
        Reply::Unclear => (Health::Unwell, "unclear"),
    }
}
