//! What one connection is doing: written by its task, and read by whoever looks whose time is over.
//! Must not know sockets, hyper, or what the requests mean.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Version;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a connection that was told to end has for it: its client reads the last answer, or takes note.
pub(super) const CLOSING_TIMEOUT: Duration = Duration::from_secs(2);

/// One connection's activity, from accept to close.
#[derive(Debug)]
pub(super) struct ConnectionActivity {
    seen: Mutex<Seen>,
    end: Notify,
}

/// What a connection is doing at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Requests being handled; more than one only on HTTP/2.
    pub(super) handling: usize,
    /// When the last request was handled; before the first, the accept.
    pub(super) idle_since: Instant,
    /// When the first byte of the next head came; on HTTP/1 alone, for HTTP/2 has frames of its own.
    pub(super) head_since: Option<Instant>,
    /// Of its last request; `None` before the first.
    pub(super) version: Option<Version>,
    /// When it was told to end.
    told_end: Option<Instant>,
}

/// A request is being handled, until this is dropped. None where it came long after its client was told to send no more on this
/// connection: it is answered if there is time, and does not keep the connection.
pub(super) struct Handling(Option<Arc<ConnectionActivity>>);

impl ConnectionActivity {
    /// A connection that is accepted now.
    pub(super) fn new() -> Self {
        let seen = Seen { handling: 0, idle_since: Instant::now(), head_since: None, version: None, told_end: None };
        Self { seen: Mutex::new(seen), end: Notify::new() }
    }

    /// What it is doing now.
    pub(super) fn seen(&self) -> Seen {
        *self.lock()
    }

    /// Bytes came: the next head begins, unless they belong to a request that is handled, or to HTTP/2's frames.
    pub(super) fn bytes_came(&self) {
        let mut seen = self.lock();
        if seen.handling == 0 && seen.head_since.is_none() && seen.version != Some(Version::HTTP_2) {
            seen.head_since = Some(Instant::now());
        }
    }

    /// A head is complete, and its request is handled from now on.
    pub(super) fn request_begins(self: &Arc<Self>, version: Version) -> Handling {
        let mut seen = self.lock();
        if seen.told_end.is_some_and(|told| told.elapsed() >= CLOSING_TIMEOUT) {
            return Handling(None);
        }
        seen.handling = seen.handling.saturating_add(1);
        seen.version = Some(version);
        seen.head_since = None;
        Handling(Some(Arc::clone(self)))
    }

    /// Tells the connection to end.
    pub(super) fn tell_end(&self, now: Instant) {
        self.lock().told_end = Some(now);
        self.end.notify_one();
    }

    /// Is over when the connection is told to end.
    pub(super) async fn told_end(&self) {
        self.end.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let Some(activity) = &self.0 else { return };
        let mut seen = activity.lock();
        seen.handling = seen.handling.saturating_sub(1);
        seen.idle_since = Instant::now();
    }
}
