//! How an assignment becomes work: its ledger is read, then its inputs are taken from where that says.
//! Must not know what the ledger holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::assignment::Holding;
use super::restore::{NotRestored, Read, Restoring};
use super::{Assignment, Engine, EngineError, Held, Standing};
use crate::causes;
use crate::kafka::group::{InputPosition, TakeError};

/// The pauses after failed transactions and restores.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(30);

impl Engine {
    /// Begins to read the ledger of what was assigned.
    pub(super) fn begin_restore(&mut self) -> Result<(), EngineError> {
        match &self.standing {
            Standing::Assigned(assignment, not_before) if self.producer.is_some() && Instant::now() >= *not_before => {
                self.standing = self.restore(assignment.clone())?;
            }
            _ => {}
        }
        Ok(())
    }

    fn restore(&self, assignment: Assignment) -> Result<Standing, EngineError> {
        let partitions = assignment.partitions.clone();
        let restoring = Restoring::begin(Arc::clone(&self.desk), self.client.clone(), partitions)?;
        Ok(Standing::Restoring(assignment, restoring))
    }

    /// Begins to work on partitions once their ledger is read.
    pub(super) fn take_restored(&mut self) -> Result<(), EngineError> {
        let Standing::Restoring(assignment, restoring) = &self.standing else { return Ok(()) };
        let Some(restored) = restoring.poll() else { return Ok(()) };
        let assignment = assignment.clone();
        match restored {
            Ok(read) => self.hold(assignment, read),
            Err(NotRestored::ForeignLedger(other)) => Err(other.into()),
            Err(error) => {
                tracing::error!(error = causes::told(&error), "the ledger is read again");
                self.standing = self.again(assignment);
                Ok(())
            }
        }
    }

    /// What was assigned, to be restored after a pause that grows with each failure in a row.
    pub(super) fn again(&mut self, assignment: Assignment) -> Standing {
        let pause =
            AGAIN_MIN.saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX)).min(AGAIN_MAX);
        self.failures = self.failures.saturating_add(1);
        Standing::Assigned(assignment, Instant::now() + pause)
    }

    fn hold(&mut self, assignment: Assignment, read: Read) -> Result<(), EngineError> {
        let positions = read.partitions.iter().flat_map(|partition| {
            let next = (0..).zip(partition.next);
            next.map(|(input, next)| InputPosition { input, partition: partition.number, next })
        });
        let positions: Vec<InputPosition> = positions.collect();
        let held = read.partitions.len();
        match self.group.take(&assignment.generation, &positions) {
            Ok(()) => {}
            // The event that says so comes with the next poll.
            Err(TakeError::Superseded) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let stopped = read.stopped.len();
        tracing::info!(partitions = held, stopped, "the ledger is read: the confirmation engine works");
        let mut holding = Holding::new(
            Arc::clone(&self.desk),
            self.epoch,
            read.partitions,
            Arc::clone(&self.set_aside),
            Timestamp::now(),
        );
        holding.write_owners();
        self.tally.unknown_sources(&holding.unknown_sources());
        self.standing = Standing::Holding(Held { assignment, holding, committed: Instant::now() });
        self.tally.assigned(held, &read.stopped);
        self.tally.accepted();
        self.tally.restoring(None);
        self.asked_for_the_time = Instant::now();
        // Before any input is looked at: by then the broker has told its time.
        self.commit()
    }
}
