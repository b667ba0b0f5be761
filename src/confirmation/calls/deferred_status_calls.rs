//! The status calls that wait while their source's breaker is open: one of them will find out whether the provider answers again.
//! Pure: must not know how a call is carried out, nor read a clock.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::ProviderCall;
use super::queue::is_of_the_ended;
use crate::confirmation::session::model::SessionKey;

/// How long a status call waits at least, where it is due already: as long as a call may take.
const DEFERRED_MIN: Duration = Duration::from_secs(10);
/// The longest: who asked may have changed its mind about when to ask.
const DEFERRED_MAX: Duration = Duration::from_mins(10);

/// Calls that wait. As many at most as there are sessions, for the engine asks for one at a time for each.
#[derive(Debug, Default)]
pub struct DeferredStatusCalls {
    calls: Vec<DeferredStatusCall>,
}

#[derive(Debug)]
struct DeferredStatusCall {
    call: ProviderCall,
    owned_at: Instant,
    until: Instant,
}

impl DeferredStatusCalls {
    /// Defers a call until it is due, within bounds, as the wall clock has it.
    pub fn push(&mut self, call: ProviderCall, owned_at: Instant, now: Instant, clock: Timestamp) {
        // A due time that is over gives no duration: the call waits for the least time then.
        let left = Duration::try_from(call.due_by.duration_since(clock)).unwrap_or_default();
        let until = now + left.clamp(DEFERRED_MIN, DEFERRED_MAX);
        self.calls.push(DeferredStatusCall { call, owned_at, until });
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes out the call whose session failed the least often, of equals the one that is due first.
    pub fn take_first(&mut self, failures: impl Fn(&SessionKey) -> u32) -> Option<(ProviderCall, Instant)> {
        let calls = self.calls.iter().enumerate();
        let (first, _) = calls.min_by_key(|(_, deferred)| (failures(&deferred.call.key), deferred.call.due_by))?;
        let DeferredStatusCall { call, owned_at, .. } = self.calls.swap_remove(first);
        Some((call, owned_at))
    }

    /// Takes out those for whose session the breaker is closed.
    pub fn take_closed_for(&mut self, is_closed_for: impl Fn(&SessionKey) -> bool) -> Vec<(ProviderCall, Instant)> {
        self.calls
            .extract_if(.., |deferred| is_closed_for(&deferred.call.key))
            .map(|deferred| (deferred.call, deferred.owned_at))
            .collect()
    }

    /// Takes out those that waited for long enough.
    pub fn take_expired(&mut self, now: Instant) -> Vec<ProviderCall> {
        self.calls.extract_if(.., |deferred| deferred.until <= now).map(|deferred| deferred.call).collect()
    }

    /// Drops all calls.
    pub fn clear(&mut self) {
        self.calls.clear();
    }

    /// Drops the calls of all epochs before `epoch`.
    pub fn forget(&mut self, epoch: u64) {
        self.calls.retain(|deferred| deferred.call.epoch >= epoch);
    }

    /// Drops the calls about sessions that have ended, but not those that ask about one that had ended before.
    pub fn withdraw(&mut self, ended: &BTreeSet<SessionKey>) {
        self.calls.retain(|deferred| !is_of_the_ended(&deferred.call, ended));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::smart_glocal::api::Operation;

    fn clock(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status_call(id: &str, due_by: i64, epoch: u64) -> ProviderCall {
        ProviderCall {
            key: SessionKey { source: "sg".into(), session_id: id.into() },
            epoch,
            number: 1,
            operation: Operation::Status,
            key_number: 0,
            due_by: clock(due_by),
        }
    }

    fn ids(calls: impl IntoIterator<Item = ProviderCall>) -> Vec<String> {
        calls.into_iter().map(|call| call.key.session_id.to_string()).collect()
    }

    #[test]
    fn gives_first_what_failed_the_least_then_what_is_due_first() {
        let now = Instant::now();
        let mut deferred = DeferredStatusCalls::default();
        for (id, due_by) in [("late", 9), ("failed once, early", 1), ("early", 3), ("failed once, late", 5)] {
            deferred.push(status_call(id, due_by, 1), now, now, clock(0));
        }
        let failures = |key: &SessionKey| u32::from(key.session_id.starts_with("failed"));
        let given = std::iter::from_fn(|| deferred.take_first(failures).map(|(call, _)| call));
        assert_eq!(ids(given), ["early", "late", "failed once, early", "failed once, late"]);
        assert!(deferred.is_empty());
    }

    #[test]
    fn gives_up_what_is_due_within_bounds() {
        let now = Instant::now();
        let mut deferred = DeferredStatusCalls::default();
        for (id, due_by) in [("past", -100), ("soon", 60), ("in hours", 10_000)] {
            deferred.push(status_call(id, due_by, 1), now, now, clock(0));
        }
        for (seconds, expect) in [(9, vec![]), (10, vec!["past"]), (59, vec![]), (60, vec!["soon"]), (599, vec![])] {
            assert_eq!(ids(deferred.take_expired(now + Duration::from_secs(seconds))), expect, "{seconds}");
        }
        assert_eq!(ids(deferred.take_expired(now + DEFERRED_MAX)), ["in hours"]);
    }

    #[test]
    fn drops_what_is_of_an_old_epoch_or_of_a_session_that_has_ended() {
        let now = Instant::now();
        let mut deferred = DeferredStatusCalls::default();
        for (id, epoch) in [("a", 1), ("b", 2), ("c", 2)] {
            deferred.push(status_call(id, 1, epoch), now, now, clock(0));
        }
        deferred.forget(2);
        deferred.withdraw(&BTreeSet::from([status_call("b", 1, 2).key]));
        assert!(deferred.take_closed_for(|_| false).is_empty());
        assert_eq!(ids(deferred.take_closed_for(|_| true).into_iter().map(|(call, _)| call)), ["c"]);
        assert!(deferred.is_empty());
    }
}
