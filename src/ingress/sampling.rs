//! How much of what failed authentication is kept of a source: a token bucket of samples, or of bytes.
//! Must not know what is kept, and reads no clock.

use std::time::Instant;

/// Units of a token: a bucket that gains one token a minute gains one unit a millisecond.
const UNITS: u64 = 60_000;

/// Allows so many tokens a minute, and a first burst.
pub struct Bucket {
    per_minute: u64,
    units_max: u64,
    units: u64,
    refilled: Instant,
}

impl Bucket {
    /// A full bucket. Without tokens a minute it is empty for ever.
    pub fn new(per_minute: u64, burst: u64, now: Instant) -> Self {
        let units_max = if per_minute == 0 { 0 } else { burst.saturating_mul(UNITS) };
        Self { per_minute, units_max, units: units_max, refilled: now }
    }

    /// Takes so many tokens, if there are as many.
    pub fn takes(&mut self, tokens: u64, now: Instant) -> bool {
        self.refill(now);
        match self.units.checked_sub(tokens.saturating_mul(UNITS)) {
            Some(left) => {
                self.units = left;
                true
            }
            None => false,
        }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed_ms = u64::try_from(now.saturating_duration_since(self.refilled).as_millis()).unwrap_or(u64::MAX);
        if elapsed_ms > 0 {
            let gained = elapsed_ms.saturating_mul(self.per_minute);
            self.units = self.units.saturating_add(gained).min(self.units_max);
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn allows_a_burst_and_then_so_many_a_minute() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, 20, now);
        assert_eq!((0..30).filter(|_| bucket.takes(1, now)).count(), 20);
        let later = now + Duration::from_secs(30);
        assert_eq!((0..30).filter(|_| bucket.takes(1, later)).count(), 5);
        let much_later = later + Duration::from_hours(1);
        assert_eq!((0..30).filter(|_| bucket.takes(1, much_later)).count(), 20, "no more than the burst");
    }

    #[test]
    fn a_refill_of_less_than_a_token_is_not_lost() {
        let now = Instant::now();
        let mut bucket = Bucket::new(60, 1, now);
        assert!(bucket.takes(1, now));
        let taken = (1..=2000).filter(|ms| bucket.takes(1, now + Duration::from_millis(*ms))).count();
        assert_eq!(taken, 2);
    }

    #[test]
    fn allows_nothing_when_it_is_off() {
        let now = Instant::now();
        assert!(!Bucket::new(0, 20, now).takes(1, now + Duration::from_hours(9)));
    }
}
