//! Whether a member of a group has been without a connection for so long that it matters.
//! Must not know what the member reads, and reads no clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long no broker is connected before that is an error. Brokers, and load balancers before them, close idle connections, all
/// of them at one moment now and then; the client opens them again at once.
const ERROR_AFTER: Duration = Duration::from_secs(5);

/// Follows the connections of one member, as its statistics tell them.
#[derive(Default)]
pub(super) struct BrokerContact {
    lost_since: Mutex<Option<Instant>>,
}

impl BrokerContact {
    /// Whether any broker is connected now.
    pub(super) fn connected(&self, is_connected: bool, now: Instant) {
        let mut lost_since = self.lost_since.lock().unwrap_or_else(PoisonError::into_inner);
        *lost_since = if is_connected { None } else { lost_since.or(Some(now)) };
    }

    /// Whether no broker has been connected for some seconds.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        let lost_since = *self.lost_since.lock().unwrap_or_else(PoisonError::into_inner);
        lost_since.is_some_and(|since| now.saturating_duration_since(since) >= ERROR_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_closed_for_a_moment_are_not_lost() {
        let (contact, begin) = (BrokerContact::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(!contact.is_lost(at(60)), "nothing is known yet");
        contact.connected(false, at(0));
        contact.connected(false, at(2));
        assert!(!contact.is_lost(at(4)) && contact.is_lost(at(5)));
        contact.connected(true, at(6));
        contact.connected(false, at(8));
        assert!(!contact.is_lost(at(12)) && contact.is_lost(at(13)));
    }
}
