//! How long something took, and for how much of it the machine let somebody wait.
//! Must not know what is measured.

use std::time::{Duration, Instant};

use super::system::time_starved;

/// Runs from its start on.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    begun: Instant,
    starved_before: Duration,
}

/// What a stopwatch shows.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// Wall time.
    pub elapsed: Duration,
    /// For how much of it some process of this machine waited for a processor.
    pub starved: Duration,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { begun: Instant::now(), starved_before: time_starved() }
    }

    pub fn read(self) -> Took {
        Took { elapsed: self.begun.elapsed(), starved: time_starved().saturating_sub(self.starved_before) }
    }
}

impl Took {
    /// Whether it took as long as it may. The bound is meant for a machine that lets everybody run: where it does not, the time in
    /// which somebody waited for a processor is added, and the bound is doubled at most.
    pub fn is_within(self, bound: Duration) -> bool {
        self.elapsed <= bound + self.starved.min(bound)
    }
}
