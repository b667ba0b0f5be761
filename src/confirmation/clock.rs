//! Whether the wall clock may be believed, for what a wrong one would decide: that a session's window is closing.
//! Pure: must not read a clock, nor know what is held back while it is not believed.
//!
//! A clock that runs ahead would cancel sessions that other teams still think about, and for ever. So it is held against
//! two others: the monotonic clock, which nobody sets, and the provider's, by which the window is really measured.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How far wall and monotonic clock may come apart. Slewing keeps them together and a leap second is one second: more is
/// a clock that was set, or a machine that stood still.
const DRIFT_MAX: SignedDuration = SignedDuration::from_secs(5);
/// How far the wall clock may be from the provider's: far more than a healthy network's delay and the second that `Date`
/// is cut to, far less than any margin before a deadline.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(60);

/// How far the wall clock may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It agrees with the monotonic clock and with the provider's.
    Trusted,
    /// It agrees with the monotonic clock; the provider has not told its time yet.
    Unproven,
    /// It disagrees with one of them.
    Drifted,
}

/// Holds the wall clock against the two others.
#[derive(Clone, Debug)]
pub struct ClockGuard {
    wall_at_start: Timestamp,
    monotonic_at_start: Duration,
    skew: Option<SignedDuration>,
}

impl ClockGuard {
    /// Both clocks as they stand now; the monotonic one since any fixed moment.
    pub fn new(wall: Timestamp, monotonic: Duration) -> Self {
        Self { wall_at_start: wall, monotonic_at_start: monotonic, skew: None }
    }

    /// The provider told its time: ours minus its. Only the last one counts, so a clock that was put right is believed again.
    pub fn heard(&mut self, skew: SignedDuration) {
        self.skew = Some(skew);
    }

    /// How far the wall clock may be believed now. A difference to the monotonic clock stays until the process starts
    /// anew: which times since the start were wrong cannot be known.
    pub fn trust(&self, wall: Timestamp, monotonic: Duration) -> Trust {
        let wall_passed = wall.duration_since(self.wall_at_start);
        let passed = SignedDuration::try_from(monotonic.saturating_sub(self.monotonic_at_start));
        let drift = wall_passed.saturating_sub(passed.unwrap_or(SignedDuration::MAX));
        match self.skew {
            _ if drift.unsigned_abs() > DRIFT_MAX.unsigned_abs() => Trust::Drifted,
            None => Trust::Unproven,
            Some(skew) if skew.unsigned_abs() > SKEW_MAX.unsigned_abs() => Trust::Drifted,
            Some(_) => Trust::Trusted,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: &str = "2024-05-27T02:03:00Z";

    /// After the wall clock moved by `wall` milliseconds, the monotonic one by `monotonic`, and the provider was heard.
    fn trust(wall: i64, monotonic: u64, skews: &[i64]) -> Trust {
        let start: Timestamp = START.parse().unwrap();
        let mut guard = ClockGuard::new(start, Duration::from_secs(1000));
        for skew in skews {
            guard.heard(SignedDuration::from_millis(*skew));
        }
        let monotonic = Duration::from_secs(1000) + Duration::from_millis(monotonic);
        guard.trust(start + SignedDuration::from_millis(wall), monotonic)
    }

    #[test]
    fn believes_nothing_that_disagrees() {
        for (wall, monotonic, skews, expect) in [
            (5001, 0, &[0][..], Trust::Drifted),
            (-5001, 0, &[0], Trust::Drifted),
            (0, 5001, &[0], Trust::Drifted),
            (3_600_000, 3_605_001, &[0], Trust::Drifted),
            (5001, 0, &[], Trust::Drifted),
            (0, 0, &[60_001], Trust::Drifted),
            (0, 0, &[-60_001], Trust::Drifted),
            (0, 0, &[0, 3_600_000], Trust::Drifted),
            (i64::from(i32::MIN), 0, &[0], Trust::Drifted),
            (0, 0, &[], Trust::Unproven),
            (5000, 0, &[], Trust::Unproven),
            (0, 0, &[60_000], Trust::Trusted),
            (0, 0, &[-60_000], Trust::Trusted),
            (-5000, 0, &[1000], Trust::Trusted),
            (3_600_000, 3_605_000, &[1000], Trust::Trusted),
            (0, 0, &[3_600_000, 0], Trust::Trusted),
        ] {
            assert_eq!(trust(wall, monotonic, skews), expect, "{wall} {monotonic} {skews:?}");
        }
    }

    proptest! {
        #[test]
        fn is_trusted_exactly_within_both_bounds(
            wall in -20_000_i64..20_000,
            monotonic in 0_u64..20_000,
            skew in -120_000_i64..120_000,
        ) {
            let near = (wall - i64::try_from(monotonic).unwrap()).abs() <= 5000 && skew.abs() <= 60_000;
            prop_assert_eq!(trust(wall, monotonic, &[skew]) == Trust::Trusted, near);
        }

        #[test]
        fn any_times_are_judged(wall in any::<i32>(), monotonic in any::<u64>(), skew in any::<i64>()) {
            let start: Timestamp = START.parse().unwrap();
            let mut guard = ClockGuard::new(start, Duration::from_secs(monotonic));
            guard.heard(SignedDuration::from_secs(skew));
            guard.trust(start + SignedDuration::from_secs(wall.into()), Duration::ZERO);
            let guard = ClockGuard::new(start, Duration::ZERO);
            guard.trust(start, Duration::from_secs(monotonic));
        }
    }
}
