//! Stops calling a provider that does not answer well, and finds out by one call at a time whether it does again.
//! Pure: must not read a clock, nor know what a call is.

use std::time::{Duration, Instant};

/// One or two failures are a network's; this many in a row are an outage, or a wrong key.
const FAILURES_TO_OPEN: u32 = 5;
/// The first pause: a provider's restart of a load balancer is over by then.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest: an ended outage is noticed soon enough for windows of hours.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Counts failures in a row, and opens.
#[derive(Debug)]
pub struct Breaker(State);

#[derive(Clone, Copy, Debug)]
enum State {
    /// Calls go through.
    Closed { failures: u32 },
    /// No call goes through for a while.
    Open { until: Instant, pause: Duration },
    /// One call is on its way to find out.
    Probing { pause: Duration },
}

/// Leave to call once; comes back with what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// As usual.
    Ordinary,
    /// To find out whether the provider is well again.
    Probe,
}

/// What became of a call, as far as the provider's health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The provider understood and decided, whatever it decided.
    Well,
    /// No answer, or one that helps no session.
    Unwell,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Calls are held back from now on.
    Opened,
    /// Calls go through again.
    Closed,
}

impl Breaker {
    /// A closed one.
    pub fn new() -> Self {
        Self(State::Closed { failures: 0 })
    }

    /// Whether a call would get leave now.
    pub fn is_passable(&self, now: Instant) -> bool {
        match self.0 {
            State::Closed { .. } => true,
            State::Open { until, .. } => now >= until,
            State::Probing { .. } => false,
        }
    }

    /// Leave for one call, where it gets one. Whoever takes it has to come back to [`Self::heard`].
    pub fn leave(&mut self, now: Instant) -> Option<Leave> {
        match self.0 {
            State::Closed { .. } => Some(Leave::Ordinary),
            State::Open { until, pause } if now >= until => {
                self.0 = State::Probing { pause };
                Some(Leave::Probe)
            }
            State::Open { .. } | State::Probing { .. } => None,
        }
    }

    /// What became of a call that had leave. A late success of a call from before the opening closes it as well; a late
    /// failure says nothing new.
    pub fn heard(&mut self, leave: Leave, health: Health, now: Instant) -> Option<Change> {
        let open = |pause: Duration| State::Open { until: now + pause, pause };
        let (next, change) = match (self.0, health, leave) {
            (State::Closed { .. }, Health::Well, _) => (State::Closed { failures: 0 }, None),
            (State::Closed { failures }, Health::Unwell, _) if failures + 1 >= FAILURES_TO_OPEN => {
                (open(PAUSE_MIN), Some(Change::Opened))
            }
            (State::Closed { failures }, Health::Unwell, _) => (State::Closed { failures: failures + 1 }, None),
            (State::Open { .. } | State::Probing { .. }, Health::Well, _) => {
                (State::Closed { failures: 0 }, Some(Change::Closed))
            }
            (State::Probing { pause }, Health::Unwell, Leave::Probe) => (open((pause * 2).min(PAUSE_MAX)), None),
            (unchanged @ (State::Open { .. } | State::Probing { .. }), Health::Unwell, _) => (unchanged, None),
        };
        self.0 = next;
        change
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fail(breaker: &mut Breaker, now: Instant) -> Option<Change> {
        let leave = breaker.leave(now).unwrap();
        breaker.heard(leave, Health::Unwell, now)
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new();
        for _ in 1..FAILURES_TO_OPEN {
            assert_eq!(fail(&mut breaker, now), None);
        }
        assert_eq!(fail(&mut breaker, now), Some(Change::Opened));
        breaker
    }

    #[test]
    fn opens_after_five_failures_in_a_row_only() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for _ in 0..3 {
            for _ in 1..FAILURES_TO_OPEN {
                assert_eq!(fail(&mut breaker, now), None);
            }
            assert_eq!(breaker.heard(Leave::Ordinary, Health::Well, now), None);
        }
        let breaker = opened(now);
        assert!(!breaker.is_passable(now + Duration::from_millis(999)));
        assert!(breaker.is_passable(now + PAUSE_MIN));
    }

    #[test]
    fn pauses_longer_after_each_failed_probe_up_to_a_bound() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let almost = now + Duration::from_millis(seconds * 1000 - 1);
            assert_eq!(breaker.leave(almost), None);
            now += Duration::from_secs(seconds);
            assert_eq!(breaker.leave(now), Some(Leave::Probe));
            assert_eq!((breaker.leave(now), breaker.is_passable(now)), (None, false), "one probe at a time");
            assert_eq!(breaker.heard(Leave::Ordinary, Health::Unwell, now), None, "a late failure");
            assert_eq!(breaker.leave(now), None);
            assert_eq!(breaker.heard(Leave::Probe, Health::Unwell, now), None);
        }
        now += PAUSE_MAX;
        assert_eq!(breaker.leave(now), Some(Leave::Probe));
        assert_eq!(breaker.heard(Leave::Probe, Health::Well, now), Some(Change::Closed));
        assert_eq!(breaker.leave(now), Some(Leave::Ordinary));
        assert!(!opened(now).is_passable(now), "the pause begins anew");
    }

    #[test]
    fn a_late_success_closes_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.heard(Leave::Ordinary, Health::Unwell, now), None);
        assert_eq!(breaker.heard(Leave::Ordinary, Health::Well, now), Some(Change::Closed));
        assert!(breaker.is_passable(now));
    }

    proptest! {
        /// However calls and answers come, changes alternate, and it never stays shut longer than the longest pause.
        #[test]
        fn changes_alternate_and_it_opens_itself_again(steps in prop::collection::vec((0_u64..3000, any::<bool>()), 0..200)) {
            let mut now = Instant::now();
            let (mut breaker, mut is_open) = (Breaker::new(), false);
            for (milliseconds, well) in steps {
                now += Duration::from_millis(milliseconds);
                let passable = breaker.is_passable(now);
                let leave = breaker.leave(now);
                prop_assert_eq!(passable, leave.is_some());
                let Some(leave) = leave else { continue };
                let change = breaker.heard(leave, if well { Health::Well } else { Health::Unwell }, now);
                match change {
                    Some(Change::Opened) => prop_assert!(!std::mem::replace(&mut is_open, true)),
                    Some(Change::Closed) => prop_assert!(std::mem::replace(&mut is_open, false)),
                    None => {}
                }
                prop_assert!(breaker.is_passable(now + PAUSE_MAX));
            }
        }
    }
}
