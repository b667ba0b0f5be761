//! Whether a part of the process believes its wall clock; a series only for a part that runs.
//! Must not know why it does or does not.

use metrics::{Gauge, gauge};

use super::catalogue;

/// Whether the wall clock may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockTrust {
    /// Nothing speaks against it.
    Trusted,
    /// It is wrong.
    Untrusted,
}

/// Shows it for one part.
pub struct ClockGauge {
    gauge: Gauge,
    offset: Gauge,
}

impl ClockGauge {
    pub(super) fn new(part: &'static str) -> Self {
        let gauge = Self {
            gauge: gauge!(catalogue::CLOCK_TRUSTED, "part" => part),
            offset: gauge!(catalogue::CLOCK_OFFSET, "part" => part),
        };
        gauge.offset.set(0.0);
        gauge.show(ClockTrust::Trusted);
        gauge
    }

    /// It is so many seconds ahead of the brokers'.
    pub fn show_offset(&self, seconds_ahead: f64) {
        self.offset.set(seconds_ahead);
    }

    /// From now on it is so.
    pub fn show(&self, trust: ClockTrust) {
        self.gauge.set(match trust {
            ClockTrust::Trusted => 1.0,
            ClockTrust::Untrusted => 0.0,
        });
    }
}
