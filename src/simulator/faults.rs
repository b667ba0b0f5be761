//! What the simulated provider does wrong, and when: on demand, or at random from a seed.
//! Pure: must not know how a fault is carried out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::provider::smart_glocal::api::Operation;

/// One way in which a provider, or the network before it, can disappoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Waits, then does as usual.
    Delay(Duration),
    /// Waits until the handle releases it, then does as usual.
    Hold,
    /// 500 with a body that is not JSON; nothing was done.
    FailBefore,
    /// Does as usual, then answers 500 with a body that is not JSON.
    FailAfter,
    /// Closes the connection; nothing was done.
    LoseRequest,
    /// Does as usual, then closes the connection.
    LoseAnswer,
    /// Remembers the idempotency key, does nothing else, and answers `internal_error`.
    BurnKey,
    /// Answers an error with this code; nothing was done.
    Refuse(&'static str),
    /// The same without `status` beside the error, as the provider's own examples have it.
    RefuseBarely(&'static str),
    /// 401 with a body that is not JSON; nothing was done.
    Unauthorized,
    /// 404 with a body that is not JSON; nothing was done.
    NotFound,
    /// 429 with this `Retry-After`; nothing was done.
    TooMany(&'static str),
    /// A redirect to the same place; nothing was done.
    Redirect,
    /// Does as usual, then answers 200 with a body that is not JSON.
    Garbage,
    /// Does as usual, then answers with [`HUGE_BYTES`] of spaces before the body.
    Huge,
    /// Does as usual, then answers a space every 20 ms, for ten minutes, before the body.
    Drip,
    /// Does as usual, then compresses the answer, which nobody asked for.
    Gzip,
    /// Does as usual, then puts a byte order mark before the answer.
    Mark,
    /// Forgets all idempotency keys, then does as usual.
    ForgetKeys,
    /// Forgets the session: from then on it is unknown to the calls, not to the handle.
    ForgetSession,
}

/// Larger than any answer that makes sense, and than the default of `response_bytes_max`.
pub const HUGE_BYTES: u32 = 16 * 1024 * 1024;

/// Faults at random: the same calls in the same order meet the same faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Where chance begins.
    pub seed: u64,
    /// How many of a thousand calls meet each fault; of what is beyond a thousand, none does.
    pub per_mille: Vec<(u32, Fault)>,
}

/// Which call meets which fault.
#[derive(Debug)]
pub(super) struct FaultPlan {
    scripted: Vec<Scripted>,
    random: Faults,
    met: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Scripted {
    /// Of which operation; of all, where none is named.
    operation: Option<Operation>,
    fault: Fault,
    left: u32,
}

impl FaultPlan {
    pub(super) fn new(random: Faults) -> Self {
        Self { scripted: Vec::new(), random, met: BTreeMap::new() }
    }

    /// The next `count` calls of an operation meet the fault, after those that were asked for before.
    pub(super) fn add(&mut self, operation: Option<Operation>, fault: Fault, count: u32) {
        self.scripted.push(Scripted { operation, fault, left: count });
    }

    /// Takes back what was asked for and has not been met.
    pub(super) fn clear(&mut self) {
        self.scripted.clear();
    }

    /// What this call meets.
    pub(super) fn next(&mut self, operation: Operation) -> Option<Fault> {
        self.scripted.retain(|scripted| scripted.left > 0);
        let meets = |scripted: &&mut Scripted| scripted.operation.is_none_or(|named| named == operation);
        let fault = match self.scripted.iter_mut().find(meets) {
            Some(scripted) => {
                scripted.left -= 1;
                Some(scripted.fault.clone())
            }
            None => self.random.draw(),
        };
        if let Some(fault) = &fault {
            *self.met.entry(fault.name()).or_default() += 1;
        }
        fault
    }

    /// How many calls have met a fault, by the fault's name.
    pub(super) fn met(&self) -> &BTreeMap<&'static str, u64> {
        &self.met
    }
}

impl Fault {
    /// What it is called where faults are counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::Hold => "hold",
            Self::FailBefore => "fail before",
            Self::FailAfter => "fail after",
            Self::LoseRequest => "lose request",
            Self::LoseAnswer => "lose answer",
            Self::BurnKey => "burn key",
            Self::Refuse(_) => "refuse",
            Self::RefuseBarely(_) => "refuse barely",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not found",
            Self::TooMany(_) => "too many",
            Self::Redirect => "redirect",
            Self::Garbage => "garbage",
            Self::Huge => "huge",
            Self::Drip => "drip",
            Self::Gzip => "gzip",
            Self::Mark => "mark",
            Self::ForgetKeys => "forget keys",
            Self::ForgetSession => "forget session",
        }
    }
}

impl Faults {
    fn draw(&mut self) -> Option<Fault> {
        if self.per_mille.is_empty() {
            return None;
        }
        let mut drawn = u32::try_from(self.random() % 1000).ok()?;
        for (rate, fault) in &self.per_mille {
            match drawn.checked_sub(*rate) {
                None => return Some(fault.clone()),
                Some(rest) => drawn = rest,
            }
        }
        None
    }

    /// `SplitMix64`: enough for chance that can be repeated.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripted_faults_come_in_order_and_to_their_operation_only() {
        let mut plan = FaultPlan::new(Faults::default());
        plan.add(Some(Operation::Status), Fault::NotFound, 1);
        plan.add(None, Fault::Garbage, 2);
        plan.add(None, Fault::Huge, 0);
        assert_eq!(plan.next(Operation::Confirm), Some(Fault::Garbage));
        assert_eq!(plan.next(Operation::Status), Some(Fault::NotFound));
        assert_eq!(plan.next(Operation::Status), Some(Fault::Garbage));
        assert_eq!(plan.next(Operation::Status), None);
        plan.add(None, Fault::Garbage, 2);
        assert_eq!(plan.next(Operation::Status), Some(Fault::Garbage));
        plan.clear();
        assert_eq!(plan.next(Operation::Status), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_about_as_often_as_asked() {
        let faults = |seed| {
            let mut plan =
                FaultPlan::new(Faults { seed, per_mille: vec![(100, Fault::Garbage), (50, Fault::NotFound)] });
            (0..10_000).map(|_| plan.next(Operation::Confirm)).collect::<Vec<_>>()
        };
        assert_eq!(faults(1), faults(1));
        assert_ne!(faults(1), faults(2));
        for (fault, about) in [(Some(Fault::Garbage), 1000), (Some(Fault::NotFound), 500), (None, 8500)] {
            let met = faults(7).into_iter().filter(|met| *met == fault).count();
            assert!(met.abs_diff(about) < 150, "{fault:?}: {met}");
        }
    }
}
