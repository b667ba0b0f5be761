//! How the engine reads its clocks, and what it does when one was set.
//! Must not judge them: the guard does.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::assignment::TurnContext;
use super::{Engine, Membership};
use crate::kafka::broker_clock::ClockReading;

/// A wall clock that went on by so much more or less than the monotonic one was set, or the machine stood still.
const SET_BY: SignedDuration = SignedDuration::from_secs(5);

impl Engine {
    /// Backoffs and the ages of idempotency keys are times of the wall clock: where that is set they would last longer or shorter, so
    /// all begins anew.
    pub(super) fn follow_the_clock(&mut self) {
        // A virtual machine that was paused looks the same: its monotonic clock stood still, or went on where the wall clock did
        // not. Either way nobody knows which of the times in memory are still right.
        let (before, now) = (self.last_reading, read_clocks());
        self.last_reading = now;
        let set_by = now.drift_since(before);
        let was_set = set_by.unsigned_abs() > SET_BY.unsigned_abs();
        if let (true, Membership::Working { assigned, .. }) = (was_set, &self.membership) {
            let seconds = set_by.as_secs();
            tracing::warn!(seconds, "the wall clock was set: the confirmation engine reads its ledger again");
            let assigned = assigned.clone();
            self.change_membership(Membership::Assigned(assigned, Instant::now()));
        }
    }

    /// The circumstances of the steps of this turn.
    pub(super) fn turn_context(&self) -> TurnContext {
        let reading = read_clocks();
        let now = reading.wall;
        // The nanoseconds of two sessions' times have nothing to do with each other.
        let jitter = u8::try_from(now.subsec_nanosecond() / 1000 % 256).unwrap_or_default();
        TurnContext { now, clock: self.clock.state(reading), disagreeing: self.clock.disagreeing(reading), jitter }
    }
}

/// Both clocks.
pub(super) fn read_clocks() -> ClockReading {
    ClockReading { wall: Timestamp::now(), monotonic: Instant::now() }
}
