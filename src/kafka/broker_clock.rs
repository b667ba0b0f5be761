//! Whether our wall clock agrees with the brokers', by the times that they gave to our records.
//! Pure: must not read a clock, nor know what is done about a wrong one.
//!
//! A topic with `message.timestamp.type=LogAppendTime` gives a record the leader's time, and the delivery report tells it. So
//! every acknowledgement proves our clock, or shows that it is wrong, without a question of its own.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// How far our clock may be from the brokers': far more than clocks kept by NTP differ, far less than any window.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(1);
/// For how long one broker's disagreement outweighs others' agreement. Where one of them is wrong, every other record
/// would change the verdict.
const DISAGREEMENT_HOLDS: Duration = Duration::from_secs(5);

/// Where the broker's time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// From Kafka, which stamps each record (`message.timestamp.type=LogAppendTime`).
    Stamps,
    /// The broker runs in this process, so its clock is ours, whatever it stamps: the demonstration's.
    InThisProcess,
}

/// Both of our clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// What the wall clock shows.
    pub wall: Timestamp,
    /// The monotonic clock, which nobody sets.
    pub monotonic: Instant,
}

/// How far our wall clock may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallClockTrust {
    /// No broker has told its time yet, or our clock was set since.
    Unproven,
    /// It agrees with the brokers'.
    Trusted,
    /// It is ahead of the brokers' by so much; behind where it is negative.
    Untrusted(SignedDuration),
}

/// What the brokers told.
#[derive(Debug, Default)]
pub struct BrokerClock {
    latest: Option<ClockSkew>,
    disagreeing: Option<ClockSkew>,
}

/// How far our wall clock was ahead of another when that told its time; behind where it is negative.
#[derive(Clone, Copy, Debug)]
pub struct ClockSkew {
    /// By so much.
    pub ahead: SignedDuration,
    /// Then, by ours.
    pub at: ClockReading,
}

impl ClockReading {
    /// How far the wall clock went on by more than the monotonic one since: it was set by so much, or the machine stood still.
    pub fn drift_since(self, earlier: Self) -> SignedDuration {
        let passed = signed(self.monotonic.saturating_duration_since(earlier.monotonic));
        self.wall.duration_since(earlier.wall).saturating_sub(passed)
    }
}

impl BrokerClock {
    /// A record was sent at `sent`, the broker gave it this time, and the report of it has come `now`.
    pub fn reported(&mut self, broker: Timestamp, sent: Instant, now: ClockReading) {
        let seen = ClockSkew { ahead: skew(broker, sent, now), at: now };
        if seen.disagrees() {
            self.disagreeing = Some(seen);
        }
        self.latest = Some(seen);
    }

    /// How far our wall clock is ahead of the brokers' now; none: no broker has told its time yet.
    pub fn ahead(&self, now: ClockReading) -> Option<SignedDuration> {
        self.latest.as_ref().map(|seen| seen.at_reading(now))
    }

    /// How far our wall clock may be believed now. One that was set since is taken for right if that mends it, and is
    /// not accused if that would spoil it: a machine that was suspended looks the same, and is right.
    pub fn trust(&self, now: ClockReading) -> WallClockTrust {
        let holds = |seen: &&ClockSkew| now.monotonic.saturating_duration_since(seen.at.monotonic) < DISAGREEMENT_HOLDS;
        let weighty = self.disagreeing.as_ref().filter(holds).filter(|seen| is_wrong(seen.at_reading(now)));
        match weighty.or(self.latest.as_ref()) {
            Some(seen) if !is_wrong(seen.at_reading(now)) => WallClockTrust::Trusted,
            Some(seen) if seen.disagrees() => WallClockTrust::Untrusted(seen.at_reading(now)),
            None | Some(_) => WallClockTrust::Unproven,
        }
    }
}

impl ClockSkew {
    fn disagrees(&self) -> bool {
        is_wrong(self.ahead)
    }

    /// How far the wall clock is ahead now: it may have been set since, and by so much the skew has changed.
    pub fn at_reading(&self, now: ClockReading) -> SignedDuration {
        self.ahead.saturating_add(now.drift_since(self.at))
    }
}

/// By how much our clock is ahead of the broker's at least. The broker took the record between its sending and its report,
/// so any time between the two agrees.
fn skew(broker: Timestamp, sent: Instant, now: ClockReading) -> SignedDuration {
    let on_its_way = signed(now.monotonic.saturating_duration_since(sent));
    let ahead = now.wall.duration_since(broker);
    if ahead.is_negative() { ahead } else { ahead.saturating_sub(on_its_way).max(SignedDuration::ZERO) }
}

/// How far a clock is off, for people: `4h ahead`, `12s behind`.
pub fn offset(ahead: SignedDuration) -> String {
    let side = if ahead.is_negative() { "behind" } else { "ahead" };
    format!("{:#} {side}", SignedDuration::from_secs(ahead.abs().as_secs()))
}

fn is_wrong(skew: SignedDuration) -> bool {
    skew.unsigned_abs() > SKEW_MAX.unsigned_abs()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    /// Our clocks after so many true milliseconds, the wall clock off by so many.
    struct Clocks {
        start: Instant,
        epoch: Timestamp,
    }

    impl Clocks {
        fn new() -> Self {
            Self { start: Instant::now(), epoch: "2024-05-27T02:03:00Z".parse().unwrap() }
        }

        fn at(&self, true_ms: i64, off_ms: i64) -> ClockReading {
            let monotonic = self.start + Duration::from_millis(true_ms.unsigned_abs());
            ClockReading { wall: self.true_time(true_ms + off_ms), monotonic }
        }

        fn true_time(&self, true_ms: i64) -> Timestamp {
            self.epoch + SignedDuration::from_millis(true_ms)
        }

        /// A record sent at one true time, taken by the broker, and reported at another; our clock is off by so many.
        fn report(&self, guard: &mut BrokerClock, [sent, taken, reported]: [i64; 3], off_ms: i64) {
            guard.reported(self.true_time(taken), self.at(sent, 0).monotonic, self.at(reported, off_ms));
        }
    }

    fn untrusted(trust: WallClockTrust) -> Option<i64> {
        match trust {
            WallClockTrust::Untrusted(skew) => Some(skew.as_secs()),
            WallClockTrust::Unproven | WallClockTrust::Trusted => None,
        }
    }

    #[test]
    fn believes_a_clock_by_which_the_broker_took_the_record_between_its_sending_and_its_report() {
        let clocks = Clocks::new();
        for (times, off_ms, expect) in [
            ([0, 0, 0], 0, None),
            ([0, 5, 10], 60_000, None),
            ([0, 5, 10], -60_000, None),
            ([0, 10, 10], 60_011, Some(60)),
            ([0, 0, 10], -60_011, Some(-60)),
            // Its time is anywhere in a long wait.
            ([0, 100_000, 100_000], 0, None),
            ([0, 0, 100_000], 0, None),
            ([0, 0, 100_000], 60_000, None),
            ([0, 0, 100_000], 60_001, Some(60)),
            ([0, 100_000, 100_000], -60_001, Some(-60)),
            ([0, 1, 2], -4 * HOUR_MS, Some(-14400)),
            ([0, 1, 2], 25 * HOUR_MS, Some(90000)),
        ] {
            let mut guard = BrokerClock::default();
            assert_eq!(guard.trust(clocks.at(0, off_ms)), WallClockTrust::Unproven);
            clocks.report(&mut guard, times, off_ms);
            let trust = guard.trust(clocks.at(times[2], off_ms));
            let told = untrusted(trust);
            assert!(told.zip(expect).is_none_or(|(told, expect)| (told - expect).abs() <= 1), "{times:?}: {trust:?}");
            assert_eq!(told.is_some(), expect.is_some(), "{times:?} {off_ms}: {trust:?}");
        }
    }

    #[test]
    fn a_clock_that_is_put_right_is_believed_and_one_that_was_set_is_not_accused() {
        let clocks = Clocks::new();
        let mut guard = BrokerClock::default();
        clocks.report(&mut guard, [0, 1, 2], -4 * HOUR_MS);
        assert!(untrusted(guard.trust(clocks.at(60_000, -4 * HOUR_MS))).is_some(), "it does not mend by waiting");
        assert_eq!(guard.trust(clocks.at(60_000, 0)), WallClockTrust::Trusted);
        assert!(untrusted(guard.trust(clocks.at(60_000, HOUR_MS))).is_some());

        clocks.report(&mut guard, [70_000, 70_001, 70_002], 0);
        assert_eq!(guard.trust(clocks.at(70_002, 0)), WallClockTrust::Trusted);
        assert_eq!(guard.trust(clocks.at(80_000, HOUR_MS)), WallClockTrust::Unproven);
        clocks.report(&mut guard, [80_000, 80_001, 80_002], HOUR_MS);
        assert_eq!(untrusted(guard.trust(clocks.at(80_002, HOUR_MS))), Some(3599));
    }

    #[test]
    fn one_broker_that_is_wrong_does_not_change_the_verdict_with_every_record() {
        let clocks = Clocks::new();
        let mut guard = BrokerClock::default();
        clocks.report(&mut guard, [0, 1 + HOUR_MS, 2], 0);
        clocks.report(&mut guard, [1, 2, 3], 0);
        assert!(untrusted(guard.trust(clocks.at(4_000, 0))).is_some());
        assert_eq!(guard.trust(clocks.at(6_000, 0)), WallClockTrust::Trusted);
    }
}
