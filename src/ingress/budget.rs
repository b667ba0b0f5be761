//! Bounds the bytes of bodies and records that wait for Kafka, so that an outage never becomes memory growth.
//! Must not know what the bytes are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes to share out.
#[derive(Clone)]
pub struct Budget(Arc<Amount>);

/// What one source may take of a budget: not all of it, where others need some.
#[derive(Clone)]
pub struct Share {
    budget: Budget,
    /// What the source itself may hold.
    own: Budget,
    /// How much must be left for others.
    spared: usize,
}

struct Amount {
    bytes_max: usize,
    taken: AtomicUsize,
}

/// Bytes taken by a source; given back when dropped.
pub struct BudgetReservation {
    share: Share,
    bytes: usize,
}

/// The budget is spent: the answer is 503.
#[derive(Debug, PartialEq, Eq)]
pub struct Spent;

impl Budget {
    /// A budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Amount { bytes_max, taken: AtomicUsize::new(0) }))
    }

    /// A share of it: at most `own_max` bytes, and none of the last `spared`.
    pub fn share(&self, own_max: usize, spared: usize) -> Share {
        Share { budget: self.clone(), own: Self::new(own_max), spared }
    }

    /// How many bytes are taken.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    // Relaxed: nothing else is read by what this number says.
    fn take(&self, bytes: usize, spared: usize) -> Result<(), Spent> {
        let bytes_max = self.0.bytes_max.saturating_sub(spared);
        let with_these = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= bytes_max);
        match self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_these) {
            Ok(_before) => Ok(()),
            Err(_taken) => Err(Spent),
        }
    }

    fn give_back(&self, bytes: usize) {
        self.0.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Share {
    /// Takes `bytes`, at once or not at all.
    ///
    /// # Errors
    /// [`Spent`] when there are not as many left, for this source or at all.
    pub fn take(&self, bytes: usize) -> Result<BudgetReservation, Spent> {
        self.take_more(bytes)?;
        Ok(BudgetReservation { share: self.clone(), bytes })
    }

    fn take_more(&self, bytes: usize) -> Result<(), Spent> {
        self.own.take(bytes, 0)?;
        self.budget.take(bytes, self.spared).inspect_err(|Spent| self.own.give_back(bytes))
    }
}

impl BudgetReservation {
    /// Takes so many bytes more of the same budget, at once or not at all.
    ///
    /// # Errors
    /// [`Spent`] when there are not as many left.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Spent> {
        self.share.take_more(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

impl Drop for BudgetReservation {
    fn drop(&mut self) {
        self.share.own.give_back(self.bytes);
        self.share.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_no_more_than_it_has_and_takes_back_what_it_gave() {
        let budget = Budget::new(10);
        let share = budget.share(10, 0);
        let mut first = share.take(6).ok().unwrap();
        assert!(share.take(5).is_err());
        assert_eq!(first.grow(5), Err(Spent));
        first.grow(4).unwrap();
        assert!(share.take(1).is_err());
        assert!(share.take(usize::MAX).is_err());
        assert_eq!(budget.taken(), 10);
        drop(first);
        assert_eq!(budget.taken(), 0);
        assert!(share.take(10).is_ok());
    }

    #[test]
    fn a_share_leaves_something_for_others() {
        let budget = Budget::new(100);
        let (flooded, other, preferred) = (budget.share(50, 10), budget.share(50, 10), budget.share(50, 0));
        let flood = flooded.take(50).ok().unwrap();
        assert!(flooded.take(1).is_err(), "half of all is the most");
        let held = other.take(40).ok().unwrap();
        assert!(other.take(1).is_err(), "the rest is spared");
        assert!(preferred.take(10).is_ok());
        assert_eq!(budget.taken(), 90, "what was refused is not held");
        drop((flood, held));
        assert_eq!(budget.taken(), 0);
    }
}
