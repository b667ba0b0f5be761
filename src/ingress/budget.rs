//! Bounds the bytes of bodies and records that wait for Kafka, so that an outage never becomes memory growth.
//! Must not know what the bytes are.

use std::sync::Arc;

use metrics::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of bytes to share out.
#[derive(Clone)]
pub struct Budget {
    bytes: Arc<Semaphore>,
    in_flight: Gauge,
}

/// Bytes taken from a budget; given back when dropped.
pub struct Hold {
    permit: OwnedSemaphorePermit,
    in_flight: Gauge,
}

/// The budget is spent: the answer is 503.
#[derive(Debug, PartialEq, Eq)]
pub struct Spent;

impl Budget {
    /// A budget of `bytes_max`, shown by the gauge `in_flight`.
    pub fn new(bytes_max: u32, in_flight: Gauge) -> Self {
        Self { bytes: Arc::new(Semaphore::new(usize::try_from(bytes_max).unwrap_or(usize::MAX))), in_flight }
    }

    /// Takes `bytes`, at once or not at all.
    ///
    /// # Errors
    /// [`Spent`] when there are not as many left.
    pub fn take(&self, bytes: usize) -> Result<Hold, Spent> {
        let count = u32::try_from(bytes).map_err(|_| Spent)?;
        let permit = Arc::clone(&self.bytes).try_acquire_many_owned(count).map_err(|_| Spent)?;
        self.in_flight.increment(f64::from(count));
        Ok(Hold { permit, in_flight: self.in_flight.clone() })
    }
}

impl Hold {
    /// Adds another hold of the same budget to this one.
    pub fn merge(&mut self, mut other: Self) {
        // The other's drop finds nothing left to give back.
        if let Some(permit) = other.permit.split(other.permit.num_permits()) {
            self.permit.merge(permit);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let count = u32::try_from(self.permit.num_permits()).unwrap_or(u32::MAX);
        self.in_flight.decrement(f64::from(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_no_more_than_it_has_and_takes_back_what_it_gave() {
        let budget = Budget::new(10, Gauge::noop());
        let mut first = budget.take(6).ok().unwrap();
        assert!(budget.take(5).is_err());
        first.merge(budget.take(4).ok().unwrap());
        assert!(budget.take(1).is_err());
        drop(first);
        assert!(budget.take(10).is_ok());
    }
}
