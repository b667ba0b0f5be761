//! Bounds the bytes of bodies and records that wait for Kafka, so that an outage never becomes memory growth.
//! Must not know what the bytes are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes to share out.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    bytes_max: usize,
    taken: AtomicUsize,
}

/// Bytes taken from a budget; given back when dropped.
pub struct Hold {
    shared: Arc<Shared>,
    bytes: usize,
}

/// The budget is spent: the answer is 503.
#[derive(Debug, PartialEq, Eq)]
pub struct Spent;

impl Budget {
    /// A budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared { bytes_max, taken: AtomicUsize::new(0) }))
    }

    /// Takes `bytes`, at once or not at all.
    ///
    /// # Errors
    /// [`Spent`] when there are not as many left.
    pub fn take(&self, bytes: usize) -> Result<Hold, Spent> {
        self.0.take(bytes)?;
        Ok(Hold { shared: Arc::clone(&self.0), bytes })
    }

    /// How many bytes are taken.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }
}

impl Shared {
    // Relaxed: nothing else is read by what this number says.
    fn take(&self, bytes: usize) -> Result<(), Spent> {
        let with_these = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.bytes_max);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_these) {
            Ok(_before) => Ok(()),
            Err(_taken) => Err(Spent),
        }
    }
}

impl Hold {
    /// Takes so many bytes more of the same budget, at once or not at all.
    ///
    /// # Errors
    /// [`Spent`] when there are not as many left.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Spent> {
        self.shared.take(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_no_more_than_it_has_and_takes_back_what_it_gave() {
        let budget = Budget::new(10);
        let mut first = budget.take(6).ok().unwrap();
        assert!(budget.take(5).is_err());
        assert_eq!(first.grow(5), Err(Spent));
        first.grow(4).unwrap();
        assert!(budget.take(1).is_err());
        assert!(budget.take(usize::MAX).is_err());
        assert_eq!(budget.taken(), 10);
        drop(first);
        assert_eq!(budget.taken(), 0);
        assert!(budget.take(10).is_ok());
    }
}
