//! The calls that wait for a slot: whatever is due first goes first.
//! Pure: must not know how a call is carried out.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Instant;

use super::ProviderCall;
use crate::confirmation::session::machine::AFTER_THE_END;
use crate::confirmation::session::model::SessionKey;
use crate::provider::smart_glocal::api::Operation;

/// Action calls before status calls, so that none gets too old to be sent while others are asked about; then in the order of their
/// `due_by`; of equals, the first that came. Holds at most as many as there are sessions whose call was asked for and not
/// answered, for the engine asks for one at a time for each, and one for each event about a session that has ended.
#[derive(Debug, Default)]
pub struct CallQueue {
    waiting: BinaryHeap<WaitingCall>,
    /// How many of them are actions.
    actions: usize,
    pushed: u64,
}

#[derive(Debug)]
struct WaitingCall {
    call: ProviderCall,
    owned_at: Instant,
    sequence: u64,
}

impl CallQueue {
    /// Puts a call in its place; at `owned_at` its session was this process's.
    pub fn push(&mut self, call: ProviderCall, owned_at: Instant) {
        self.pushed = self.pushed.saturating_add(1);
        let waiting = WaitingCall { call, owned_at, sequence: self.pushed };
        self.actions += usize::from(!waiting.is_status());
        self.waiting.push(waiting);
    }

    /// Takes out what is due first, and what it was put in with.
    pub fn pop(&mut self) -> Option<(ProviderCall, Instant)> {
        let waiting = self.waiting.pop()?;
        self.actions -= usize::from(!waiting.is_status());
        Some((waiting.call, waiting.owned_at))
    }

    /// How many actions wait.
    pub fn actions(&self) -> usize {
        self.actions
    }

    /// Drops the calls of all epochs before `epoch`.
    pub fn forget(&mut self, epoch: u64) {
        self.retain(|call| call.epoch >= epoch);
    }

    /// Drops the calls about sessions that have ended, but not those that ask about one that had ended before.
    pub fn withdraw(&mut self, ended: &BTreeSet<SessionKey>) {
        if !ended.is_empty() {
            self.retain(|call| !is_of_the_ended(call, ended));
        }
    }

    /// Drops all calls.
    pub fn clear(&mut self) {
        self.retain(|_| false);
    }

    fn retain(&mut self, keep: impl Fn(&ProviderCall) -> bool) {
        self.waiting.retain(|waiting| keep(&waiting.call));
        self.actions = self.waiting.iter().filter(|waiting| !waiting.is_status()).count();
    }
}

/// Whether a call is about one of these sessions, which have ended; one that asks about a session that had ended before is not.
pub fn is_of_the_ended(call: &ProviderCall, ended: &BTreeSet<SessionKey>) -> bool {
    call.number != AFTER_THE_END && ended.contains(&call.key)
}

impl WaitingCall {
    fn is_status(&self) -> bool {
        self.call.operation == Operation::Status
    }
}

/// The greatest is taken first: so the earliest is the greatest.
impl Ord for WaitingCall {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.is_status(), other.call.due_by, other.sequence).cmp(&(self.is_status(), self.call.due_by, self.sequence))
    }
}

impl PartialOrd for WaitingCall {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for WaitingCall {}

impl PartialEq for WaitingCall {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn call(number: u32, due_by: i64, epoch: u64) -> ProviderCall {
        ProviderCall {
            key: SessionKey { source: "sg".into(), session_id: "ps".into() },
            epoch,
            number,
            operation: Operation::Confirm,
            key_number: 1,
            due_by: Timestamp::from_second(due_by).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn gives_what_is_due_first_and_nothing_of_an_old_epoch(
            calls in prop::collection::vec((0_i64..5, 0_u64..4), 0..30),
            epoch in 0_u64..5,
        ) {
            let mut queue = CallQueue::default();
            let mut expect = Vec::new();
            for (number, (due_by, of)) in (0..).zip(&calls) {
                queue.push(call(number, *due_by, *of), Instant::now());
                if *of >= epoch {
                    expect.push((*due_by, number));
                }
            }
            expect.sort_unstable();
            queue.forget(epoch);
            prop_assert_eq!(queue.actions(), expect.len());
            let given: Vec<(i64, u32)> =
                std::iter::from_fn(|| queue.pop()).map(|(call, _)| (call.due_by.as_second(), call.number)).collect();
            prop_assert_eq!(given, expect);
        }
    }

    #[test]
    fn gives_nothing_after_it_was_cleared() {
        let mut queue = CallQueue::default();
        queue.push(call(1, 1, 1), Instant::now());
        queue.clear();
        assert!(queue.pop().is_none());
    }
}
