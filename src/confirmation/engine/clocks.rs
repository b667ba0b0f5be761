//! How the engine reads its clocks, and what it does when one was set.
//! Must not judge them: the guard does.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::settings::Present;
use super::{Engine, Held, Standing};
use crate::confirmation::session::clock::ClockReading;

/// A wall clock that went on by so much more or less than the monotonic one was set, or the machine stood still.
const SET_BY: SignedDuration = SignedDuration::from_secs(5);
impl Engine {
    /// Rests and the ages of idempotency keys are times of the wall clock: where that is set they would last longer or shorter, so
    /// all begins anew.
    pub(super) fn follow_the_clock(&mut self) {
        let (before, now) = (self.seen, self.reading());
        self.seen = now;
        let passed =
            SignedDuration::try_from(now.monotonic.saturating_sub(before.monotonic)).unwrap_or(SignedDuration::MAX);
        let set_by = now.wall.duration_since(before.wall).saturating_sub(passed);
        let was_set = set_by.unsigned_abs() > SET_BY.unsigned_abs();
        if let (true, Standing::Holding(Held { assignment, .. })) = (was_set, &self.standing) {
            let seconds = set_by.as_secs();
            tracing::warn!(seconds, "the wall clock was set: the confirmation engine reads its ledger again");
            let assignment = assignment.clone();
            self.drop_epoch(Standing::Assigned(assignment, Instant::now()));
        }
    }

    /// The circumstances of the steps of this turn.
    pub(super) fn present(&self) -> Present {
        let reading = self.reading();
        let now = reading.wall;
        // The nanoseconds of two sessions' times have nothing to do with each other.
        let jitter = u8::try_from(now.subsec_nanosecond() / 1000 % 256).unwrap_or_default();
        Present { now, clock: self.clock.state(reading), disagreeing: self.clock.disagreeing(reading), jitter }
    }

    /// Both clocks.
    pub(super) fn reading(&self) -> ClockReading {
        ClockReading { wall: Timestamp::now(), monotonic: self.began.elapsed() }
    }
}
