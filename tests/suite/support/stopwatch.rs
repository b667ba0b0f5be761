//! How long something took, and for how much of it the machine let somebody wait.
//! Must not know what is measured.

use std::time::{Duration, Instant};

use super::system::time_starved;

/// So much is excused at most.
const EXCUSED_MAX: Duration = Duration::from_secs(3);

/// Runs from its start on.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    begun: Instant,
    starved_before: Duration,
}

/// What a stopwatch shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// Wall time.
    pub elapsed: Duration,
    /// For how much of it some process of this machine waited for a processor.
    pub starved: Duration,
}

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Self {
        Self { begun: Instant::now(), starved_before: time_starved() }
    }

    /// What it shows now; it goes on.
    pub fn read(self) -> Took {
        Took { elapsed: self.begun.elapsed(), starved: time_starved().saturating_sub(self.starved_before) }
    }
}

impl Took {
    /// Whether it took no longer than `bound`. The bound is meant for a machine that lets everybody run. Where somebody waited for a
    /// processor meanwhile, that time is excused, but no more than three seconds of it.
    pub fn is_within(self, bound: Duration) -> bool {
        self.elapsed <= bound + self.starved.min(EXCUSED_MAX)
    }
}
