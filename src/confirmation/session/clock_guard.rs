//! Whether the wall clock may be believed, for what a wrong one would decide: that a session's window is over.
//! Pure: must not read a clock, nor know what is held back while it is not believed.
//!
//! A clock that is wrong would cancel sessions that other teams still think about, or pass over fresh ones, for ever. So it
//! is held against three others: the broker's, which stamps every record that the engine writes; the monotonic clock, which
//! nobody sets, since the broker's last stamp; and the provider's, by which the window is really measured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::kafka::broker_clock::{Broker, ClockReading, ClockSkew};

/// How far wall and monotonic clock may come apart between two stamps of the broker. Slewing keeps them together and a leap
/// second is one second: more is a clock that was set, or a machine that stood still.
const DRIFT_MAX: SignedDuration = SignedDuration::from_secs(5);
/// How far the wall clock may be from the broker's and the provider's: far more than a healthy network's delay and the second
/// that `Date` is cut to, far less than any margin before a deadline.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(60);
/// How long a provider's `Date` counts: before anything is done by the clock the provider is asked, and tells it again. What it
/// told long ago says nothing of a clock that the broker has proven since, and a provider may have put its own right.
const DATE_COUNTS_FOR: Duration = Duration::from_mins(10);

/// Whether the wall clock may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockState {
    /// It agrees with the broker's and the monotonic one, and for the sessions of a source with its provider's.
    Trusted,
    /// It disagrees with one of them, or the broker has not told its time yet.
    Untrusted,
}

/// Holds the wall clock against the others.
#[derive(Clone, Debug)]
pub struct ClockGuard {
    broker: Broker,
    /// The broker's last stamp.
    proof: Option<ClockSkew>,
    /// The last `Date` of each source's provider.
    dates: BTreeMap<Arc<str>, ClockSkew>,
}

impl ClockGuard {
    /// A guard that nobody has told a time yet.
    pub fn new(broker: Broker, now: ClockReading) -> Self {
        let proof = match broker {
            Broker::Stamps => None,
            Broker::InThisProcess => Some(ClockSkew { at: now, ahead: SignedDuration::ZERO }),
        };
        Self { broker, proof, dates: BTreeMap::new() }
    }

    /// The broker stamped a record with `stamp`, if it stamps records of its topic, and acknowledged it at `now`. Only the last
    /// stamp counts, so a clock that was put right is believed again.
    pub fn stamped(&mut self, stamp: Option<Timestamp>, now: ClockReading) {
        let stamp = match self.broker {
            Broker::Stamps => stamp,
            Broker::InThisProcess => Some(now.wall),
        };
        if let Some(stamp) = stamp {
            self.proof = Some(ClockSkew { at: now, ahead: now.wall.duration_since(stamp) });
        }
    }

    /// The provider of a source told its time at `now`: ours minus its. Only its last one counts, and for a while.
    pub fn heard(&mut self, source: &Arc<str>, ahead: SignedDuration, now: ClockReading) {
        self.dates.insert(Arc::clone(source), ClockSkew { at: now, ahead });
    }

    /// Whether the wall clock may be believed now, by the broker and the monotonic clock.
    pub fn state(&self, now: ClockReading) -> ClockState {
        let Some(proof) = self.proof else { return ClockState::Untrusted };
        let within = |skew: SignedDuration, most: SignedDuration| skew.unsigned_abs() <= most.unsigned_abs();
        // By how it was at the stamp and by what happened since: a clock that was set back to right is believed at the next stamp.
        let agrees = within(now.drift_since(proof.at), DRIFT_MAX) && within(proof.ahead, SKEW_MAX);
        if agrees { ClockState::Trusted } else { ClockState::Untrusted }
    }

    /// The sources whose provider's `Date` disagrees with the wall clock: for their sessions it is not trusted. One provider whose
    /// clock is wrong does not hold the sessions of another.
    pub fn disagreeing(&self, now: ClockReading) -> Vec<Arc<str>> {
        let disagrees = |ahead: SignedDuration| ahead.unsigned_abs() > SKEW_MAX.unsigned_abs();
        let sources = self.recent_dates(now).filter(|(_, ahead)| disagrees(*ahead));
        sources.map(|(source, _)| Arc::clone(source)).collect()
    }

    /// How far the wall clock is ahead of the broker's, and of the provider's that is farthest from it: for whoever has to put it
    /// right.
    pub fn ahead(&self, now: ClockReading) -> [Option<SignedDuration>; 2] {
        let farthest = self.recent_dates(now).map(|(_, ahead)| ahead).max_by_key(|ahead| ahead.unsigned_abs());
        [self.proof.map(|proof| proof.at_reading(now)), farthest]
    }

    fn recent_dates(&self, now: ClockReading) -> impl Iterator<Item = (&Arc<str>, SignedDuration)> {
        let is_recent =
            move |date: &ClockSkew| now.monotonic.saturating_duration_since(date.at.monotonic) <= DATE_COUNTS_FOR;
        self.dates
            .iter()
            .filter(move |(_, date)| is_recent(date))
            .map(move |(source, date)| (source, date.at_reading(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    const START: &str = "2024-05-27T02:03:00Z";
    /// What the monotonic clock shows at [`START`].
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

    fn reading(wall_ms: i64, monotonic_ms: u64) -> ClockReading {
        let start: Timestamp = START.parse().unwrap();
        let wall = start + SignedDuration::from_millis(wall_ms);
        ClockReading { wall, monotonic: *BEGAN + Duration::from_millis(monotonic_ms) }
    }

    /// After the broker stamped a record when the wall clock was `ahead` of its own, the clocks moved by `wall` and
    /// `monotonic`, and the provider was heard; all in milliseconds.
    fn trust(ahead: i64, wall: i64, monotonic: u64, skews: &[i64]) -> ClockState {
        let mut guard = ClockGuard::new(Broker::Stamps, reading(0, 0));
        guard.stamped(Some(reading(-ahead, 0).wall), reading(0, 0));
        for skew in skews {
            guard.heard(&"sg".into(), SignedDuration::from_millis(*skew), reading(0, 0));
        }
        of_source(&guard, reading(wall, monotonic))
    }

    /// For the sessions of the one source.
    fn of_source(guard: &ClockGuard, now: ClockReading) -> ClockState {
        if guard.disagreeing(now).is_empty() { guard.state(now) } else { ClockState::Untrusted }
    }

    #[test]
    fn believes_nothing_that_disagrees() {
        use ClockState::{Trusted, Untrusted};
        for (ahead, wall, monotonic, skews, expect) in [
            (60_001, 0, 0, &[][..], Untrusted),
            (-60_001, 0, 0, &[], Untrusted),
            (-14_400_000, 0, 0, &[0], Untrusted),
            (0, 5001, 0, &[0], Untrusted),
            (0, -5001, 0, &[0], Untrusted),
            (0, 0, 5001, &[0], Untrusted),
            (0, 3_600_000, 3_605_001, &[0], Untrusted),
            (0, 5001, 0, &[], Untrusted),
            (0, 0, 0, &[60_001], Untrusted),
            (0, 0, 0, &[-60_001], Untrusted),
            (0, 0, 0, &[0, 3_600_000], Untrusted),
            (0, i64::from(i32::MIN), 0, &[0], Untrusted),
            (60_000, 0, 0, &[], Trusted),
            (-60_000, 5000, 0, &[], Trusted),
            (0, 0, 0, &[60_000], Trusted),
            (0, 0, 0, &[-60_000], Trusted),
            (0, -5000, 0, &[1000], Trusted),
            (0, 3_600_000, 3_605_000, &[1000], Trusted),
            (0, 0, 0, &[3_600_000, 0], Trusted),
        ] {
            assert_eq!(trust(ahead, wall, monotonic, skews), expect, "{ahead} {wall} {monotonic} {skews:?}");
        }
    }

    #[test]
    fn is_trusted_by_the_brokers_stamps_alone_and_again_after_it_was_put_right() {
        let mut guard = ClockGuard::new(Broker::Stamps, reading(0, 0));
        assert_eq!(guard.state(reading(0, 0)), ClockState::Untrusted, "nobody has told a time");
        guard.stamped(None, reading(0, 0));
        assert_eq!(guard.state(reading(0, 0)), ClockState::Untrusted, "without a stamp it proves nothing");
        guard.stamped(Some(reading(0, 0).wall), reading(0, 0));
        assert_eq!(guard.state(reading(100, 100)), ClockState::Trusted);
        let jumped = reading(14_400_000, 1000);
        assert_eq!(guard.state(jumped), ClockState::Untrusted);
        guard.stamped(Some(reading(1000, 0).wall), jumped);
        assert_eq!(guard.state(jumped), ClockState::Untrusted, "it is four hours ahead");
        assert_eq!(guard.ahead(jumped)[0], Some(SignedDuration::from_millis(14_399_000)));
        guard.stamped(Some(reading(2000, 0).wall), reading(2000, 2000));
        assert_eq!(guard.state(reading(2000, 2000)), ClockState::Trusted);
    }

    #[test]
    fn each_providers_last_date_counts_for_a_while_for_its_own_sessions_and_moves_with_our_clock() {
        let hours = |hours| SignedDuration::from_hours(hours);
        let disagreeing =
            |guard: &ClockGuard, now| guard.disagreeing(now).iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut guard = ClockGuard::new(Broker::InThisProcess, reading(0, 0));
        guard.heard(&"one".into(), hours(4), reading(0, 0));
        guard.heard(&"two".into(), hours(0), reading(0, 0));
        assert_eq!(disagreeing(&guard, reading(1000, 1000)), ["one"]);
        assert_eq!(guard.state(reading(1000, 1000)), ClockState::Trusted);
        // Our clock is put right, and nobody tells the time again.
        let right = reading(1000 - 14_400_000, 1000);
        guard.stamped(None, right);
        assert_eq!(disagreeing(&guard, right), ["two"], "it was right before");
        assert_eq!(guard.ahead(right)[1], Some(-hours(4)));
        guard.heard(&"two".into(), hours(0), right);
        assert_eq!(disagreeing(&guard, right), [""; 0]);
        guard.heard(&"two".into(), hours(4), right);
        let later = reading(1000 - 14_400_000 + 600_001, 601_001);
        assert_eq!(disagreeing(&guard, later), [""; 0], "it says nothing any more");
    }

    #[test]
    fn a_broker_of_this_process_has_this_clock() {
        let mut guard = ClockGuard::new(Broker::InThisProcess, reading(0, 0));
        assert_eq!(guard.state(reading(0, 0)), ClockState::Trusted);
        assert_eq!(guard.state(reading(6000, 0)), ClockState::Untrusted, "it was set");
        guard.stamped(None, reading(6000, 0));
        assert_eq!(guard.state(reading(6000, 0)), ClockState::Trusted);
    }

    proptest! {
        #[test]
        fn is_trusted_exactly_within_all_bounds(
            ahead in -120_000_i64..120_000,
            wall in -20_000_i64..20_000,
            monotonic in 0_u64..20_000,
            skew in -120_000_i64..120_000,
        ) {
            let drift = wall - i64::try_from(monotonic).unwrap();
            let expect = drift.abs() <= 5000 && (skew + drift).abs() <= 60_000 && ahead.abs() <= 60_000;
            prop_assert_eq!(trust(ahead, wall, monotonic, &[skew]) == ClockState::Trusted, expect);
        }

        #[test]
        fn any_times_are_judged(wall in any::<i32>(), monotonic in any::<u32>(), skew in any::<i64>()) {
            let start: Timestamp = START.parse().unwrap();
            let now = ClockReading { wall: start + SignedDuration::from_secs(wall.into()), monotonic: *BEGAN };
            let far = ClockReading { wall: Timestamp::MAX, monotonic: *BEGAN + Duration::from_secs(monotonic.into()) };
            let mut guard = ClockGuard::new(Broker::Stamps, far);
            guard.heard(&"sg".into(), SignedDuration::from_secs(skew), far);
            guard.stamped(Some(Timestamp::MIN), far);
            guard.state(now);
            guard.stamped(Some(Timestamp::MAX), now);
            guard.state(far);
        }
    }
}
