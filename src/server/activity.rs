//! What one connection is doing: written by its task, and read by whoever looks whose time is over.
//! Must not know sockets, hyper, or what the requests mean.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Version;
use tokio::sync::Notify;
use tokio::time::Instant;

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
}

/// A request is being handled, until this is dropped.
pub(super) struct Handling(Arc<ConnectionActivity>);

impl ConnectionActivity {
    /// A connection that is accepted now.
    pub(super) fn new() -> Self {
        let seen = Seen { handling: 0, idle_since: Instant::now(), head_since: None, version: None };
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
        seen.handling = seen.handling.saturating_add(1);
        seen.version = Some(version);
        seen.head_since = None;
        Handling(Arc::clone(self))
    }

    /// Tells the connection to end.
    pub(super) fn tell_end(&self) {
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
        let mut seen = self.0.lock();
        seen.handling = seen.handling.saturating_sub(1);
        seen.idle_since = Instant::now();
    }
}
