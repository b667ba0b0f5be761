//! The questions that wait while their source's provider is left alone: one of them will find out whether it is well again.
//! Pure: must not know how a call is carried out, nor read a clock.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::ProviderCall;
use super::queue::is_of_the_ended;
use crate::confirmation::session::model::SessionKey;

/// How long a question is held at least, where it is due already: as long as a call may take.
const HELD_MIN: Duration = Duration::from_secs(10);
/// The longest: who asked may have changed its mind about when to ask.
const HELD_MAX: Duration = Duration::from_mins(10);

/// Calls that wait. As many at most as there are sessions, for the engine asks for one at a time for each.
#[derive(Debug, Default)]
pub struct HeldQuestions {
    calls: Vec<HeldCall>,
}

#[derive(Debug)]
struct HeldCall {
    call: ProviderCall,
    owned_at: Instant,
    until: Instant,
}

impl HeldQuestions {
    /// Holds a call until it is due by, within bounds, as the wall clock has it.
    pub fn push(&mut self, call: ProviderCall, owned_at: Instant, now: Instant, clock: Timestamp) {
        // A due time that is over gives no duration: the question is held for the least time then.
        let left = Duration::try_from(call.due_by.duration_since(clock)).unwrap_or_default();
        let until = now + left.clamp(HELD_MIN, HELD_MAX);
        self.calls.push(HeldCall { call, owned_at, until });
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes out the call whose session failed the least often, of equals the one that is due first.
    pub fn take_first(&mut self, failures: impl Fn(&SessionKey) -> u32) -> Option<(ProviderCall, Instant)> {
        let calls = self.calls.iter().enumerate();
        let (first, _) = calls.min_by_key(|(_, held)| (failures(&held.call.key), held.call.due_by))?;
        let HeldCall { call, owned_at, .. } = self.calls.swap_remove(first);
        Some((call, owned_at))
    }

    /// Takes out those whose session need not wait any more.
    pub fn take_free(&mut self, is_free: impl Fn(&SessionKey) -> bool) -> Vec<(ProviderCall, Instant)> {
        self.calls.extract_if(.., |held| is_free(&held.call.key)).map(|held| (held.call, held.owned_at)).collect()
    }

    /// Takes out those that were held for long enough.
    pub fn take_expired(&mut self, now: Instant) -> Vec<ProviderCall> {
        self.calls.extract_if(.., |held| held.until <= now).map(|held| held.call).collect()
    }

    /// Drops all calls.
    pub fn clear(&mut self) {
        self.calls.clear();
    }

    /// Drops the calls of all epochs before `epoch`.
    pub fn forget(&mut self, epoch: u64) {
        self.calls.retain(|held| held.call.epoch >= epoch);
    }

    /// Drops the calls about sessions that have ended, but not those that ask about one that had ended before.
    pub fn withdraw(&mut self, ended: &BTreeSet<SessionKey>) {
        self.calls.retain(|held| !is_of_the_ended(&held.call, ended));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::smart_glocal::api::Operation;

    fn clock(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn question(id: &str, due_by: i64, epoch: u64) -> ProviderCall {
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
        let mut held = HeldQuestions::default();
        for (id, due_by) in [("late", 9), ("failed once, early", 1), ("early", 3), ("failed once, late", 5)] {
            held.push(question(id, due_by, 1), now, now, clock(0));
        }
        let failures = |key: &SessionKey| u32::from(key.session_id.starts_with("failed"));
        let given = std::iter::from_fn(|| held.take_first(failures).map(|(call, _)| call));
        assert_eq!(ids(given), ["early", "late", "failed once, early", "failed once, late"]);
        assert!(held.is_empty());
    }

    #[test]
    fn gives_up_what_is_due_within_bounds() {
        let now = Instant::now();
        let mut held = HeldQuestions::default();
        for (id, due_by) in [("past", -100), ("soon", 60), ("in hours", 10_000)] {
            held.push(question(id, due_by, 1), now, now, clock(0));
        }
        for (seconds, expect) in [(9, vec![]), (10, vec!["past"]), (59, vec![]), (60, vec!["soon"]), (599, vec![])] {
            assert_eq!(ids(held.take_expired(now + Duration::from_secs(seconds))), expect, "{seconds}");
        }
        assert_eq!(ids(held.take_expired(now + HELD_MAX)), ["in hours"]);
    }

    #[test]
    fn drops_what_is_of_an_old_epoch_or_of_a_session_that_has_ended() {
        let now = Instant::now();
        let mut held = HeldQuestions::default();
        for (id, epoch) in [("a", 1), ("b", 2), ("c", 2)] {
            held.push(question(id, 1, epoch), now, now, clock(0));
        }
        held.forget(2);
        held.withdraw(&BTreeSet::from([question("b", 1, 2).key]));
        assert!(held.take_free(|_| false).is_empty());
        assert_eq!(ids(held.take_free(|_| true).into_iter().map(|(call, _)| call)), ["c"]);
        assert!(held.is_empty());
    }
}
