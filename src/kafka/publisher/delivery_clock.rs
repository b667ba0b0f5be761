//! Holds our wall clock against the brokers' with every delivery report, shows whether it may be believed, and tells when that
//! changes. Must not know what a wrong clock spoils.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use crate::kafka::broker_clock::{Broker, BrokerClock, ClockReading, WallClockTrust, offset};
use crate::metrics::{ClockGauge, ClockTrust};

/// The one clock of the process, as all producers see it.
pub(super) struct ClockWatch {
    seen: Mutex<ClockAgreement>,
    gauge: ClockGauge,
    broker: Broker,
}

struct ClockAgreement {
    brokers: BrokerClock,
    shown: ClockTrust,
}

impl ClockWatch {
    /// A clock that is not proven, and not accused.
    pub(super) fn new(gauge: ClockGauge, broker: Broker) -> Self {
        gauge.show(ClockTrust::Trusted);
        Self {
            seen: Mutex::new(ClockAgreement { brokers: BrokerClock::default(), shown: ClockTrust::Trusted }),
            gauge,
            broker,
        }
    }

    /// A record that was sent at `sent` has its time from the broker. Called for every record.
    pub(super) fn reported(&self, broker_ms: i64, sent: Instant) {
        let broker = match self.broker {
            Broker::Stamps => Timestamp::from_millisecond(broker_ms),
            Broker::InThisProcess => Ok(Timestamp::now()),
        };
        let Ok(broker) = broker else { return };
        self.look(|brokers, now| brokers.reported(broker, sent, now));
    }

    /// How far our clock may be believed now.
    pub(super) fn trust(&self) -> WallClockTrust {
        self.look(|_, _| {})
    }

    /// Shows how far our clock is off, and whether it may be believed: it may have been set since the last record.
    pub(super) fn show(&self) {
        let ahead = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.brokers.ahead(ClockReading { wall: Timestamp::now(), monotonic: Instant::now() })
        };
        self.gauge.show_offset(ahead.unwrap_or_default().as_secs_f64());
        self.trust();
    }

    fn look(&self, learn: impl FnOnce(&mut BrokerClock, ClockReading)) -> WallClockTrust {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Inside the lock, so that moments come in their order.
        let now = ClockReading { wall: Timestamp::now(), monotonic: Instant::now() };
        learn(&mut seen.brokers, now);
        let trust = seen.brokers.trust(now);
        let shown = match trust {
            WallClockTrust::Unproven | WallClockTrust::Trusted => ClockTrust::Trusted,
            WallClockTrust::Untrusted(_) => ClockTrust::Untrusted,
        };
        if std::mem::replace(&mut seen.shown, shown) != shown {
            self.gauge.show(shown);
            drop(seen);
            tell(trust, now.wall);
        }
        trust
    }
}

fn tell(trust: WallClockTrust, ours: Timestamp) {
    match trust {
        WallClockTrust::Unproven | WallClockTrust::Trusted => {
            tracing::info!(%ours, "the clock of this host agrees with the brokers' clocks again");
        }
        WallClockTrust::Untrusted(ahead) => {
            let theirs = ours.saturating_sub(ahead).unwrap_or(ours);
            tracing::error!(
                %ours,
                %theirs,
                offset = offset(ahead),
                "the clock of this host differs from the brokers' clocks; webhooks are accepted, but received_at of their events is wrong; correct the time service (NTP)"
            );
        }
    }
}
