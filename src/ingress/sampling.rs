//! How many unauthentic webhooks of a source are kept: a token bucket of records and one of bytes.
//! Must not know what is kept, and reads no clock.

use std::time::Instant;

/// Allows at most so many samples and bytes a second, with a burst of one second's worth.
pub struct Sampling {
    records: Bucket,
    bytes: Bucket,
}

impl Sampling {
    /// Full buckets.
    pub fn new(records_per_second: u32, bytes_per_second: u32, now: Instant) -> Self {
        Self { records: Bucket::new(records_per_second, now), bytes: Bucket::new(bytes_per_second, now) }
    }

    /// Whether a sample of `bytes` may be kept now; if so it is counted.
    pub fn allows(&mut self, bytes: usize, now: Instant) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.records.refill(now);
        self.bytes.refill(now);
        let allowed = self.records.has(1) && self.bytes.has(bytes);
        if allowed {
            self.records.take(1);
            self.bytes.take(bytes);
        }
        allowed
    }
}

/// Counts in thousandths, so that a refill after a millisecond is not lost.
struct Bucket {
    per_second: u64,
    thousandths: u64,
    refilled: Instant,
}

impl Bucket {
    fn new(per_second: u32, now: Instant) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, thousandths: per_second * 1000, refilled: now }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed_ms = u64::try_from(now.saturating_duration_since(self.refilled).as_millis()).unwrap_or(u64::MAX);
        if elapsed_ms > 0 {
            let gained = elapsed_ms.saturating_mul(self.per_second);
            self.thousandths = self.thousandths.saturating_add(gained).min(self.per_second * 1000);
            self.refilled = now;
        }
    }

    fn has(&self, count: u64) -> bool {
        self.thousandths >= count.saturating_mul(1000)
    }

    fn take(&mut self, count: u64) {
        self.thousandths = self.thousandths.saturating_sub(count.saturating_mul(1000));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn allows_so_many_a_second_by_number_and_by_bytes() {
        let now = Instant::now();
        let mut sampling = Sampling::new(2, 1000, now);
        assert!(sampling.allows(400, now) && sampling.allows(400, now));
        assert!(!sampling.allows(1, now), "more than two records");
        let later = now + Duration::from_millis(500);
        assert!(!sampling.allows(701, later), "more bytes than came back");
        assert!(sampling.allows(700, later));
    }

    #[test]
    fn allows_nothing_when_it_is_off() {
        let now = Instant::now();
        assert!(!Sampling::new(0, 65536, now).allows(1, now + Duration::from_secs(9)));
    }
}
