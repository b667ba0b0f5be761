//! How an assignment becomes work: its ledger is read, then its inputs are taken from where that says.
//! Must not know what the ledger holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::assignment::Assignment;
use super::ledger_restore::{LedgerRestore, LedgerRestoreError, RestoredPartitions};
use super::{AssignedPartitions, Engine, EngineError, Membership};
use crate::error_chain;
use crate::kafka::group::{InputPosition, TakeError};

/// The pauses after failed transactions and restores.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

impl Engine {
    /// Begins to read the ledger of what was assigned.
    pub(super) fn begin_restore(&mut self) -> Result<(), EngineError> {
        match &self.membership {
            Membership::Assigned(assigned, not_before) if self.producer.is_some() && Instant::now() >= *not_before => {
                self.membership = self.restore(assigned.clone())?;
            }
            _ => {}
        }
        Ok(())
    }

    fn restore(&self, assigned: AssignedPartitions) -> Result<Membership, EngineError> {
        let partitions = assigned.partitions.clone();
        let restore = LedgerRestore::begin(Arc::clone(&self.settings), self.client.clone(), partitions)?;
        Ok(Membership::Restoring(assigned, restore))
    }

    /// Begins to work on partitions once their ledger is read.
    pub(super) fn take_restored(&mut self) -> Result<(), EngineError> {
        let Membership::Restoring(assigned, restore) = &self.membership else { return Ok(()) };
        let Some(restored) = restore.poll() else { return Ok(()) };
        let assigned = assigned.clone();
        match restored {
            Ok(restored) => self.work_on(assigned, restored),
            Err(LedgerRestoreError::ForeignLedger(other)) => Err(other.into()),
            Err(error) => {
                tracing::error!(
                    error = error_chain::joined(&error),
                    "ledger could not be read; the ledger is read again after a pause"
                );
                self.membership = self.again(assigned);
                Ok(())
            }
        }
    }

    /// What was assigned, to be restored after a pause that grows with each failure in a row.
    pub(super) fn again(&mut self, assigned: AssignedPartitions) -> Membership {
        // A ledger that cannot be read is mostly a broker that is away: all members would ask for it at once, again and again.
        let pause =
            RETRY_MIN.saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        Membership::Assigned(assigned, Instant::now() + pause)
    }

    fn work_on(&mut self, assigned: AssignedPartitions, restored: RestoredPartitions) -> Result<(), EngineError> {
        let positions = restored.partitions.iter().flat_map(|partition| {
            let next = (0..).zip(partition.next);
            next.map(|(input, next)| InputPosition { input, partition: partition.number, next })
        });
        let positions: Vec<InputPosition> = positions.collect();
        let working = restored.partitions.len();
        // From where the restore says, not from where the client would go on by itself: those offsets and the ledger are of the
        // same transactions.
        match self.group.take(&assigned.generation, &positions) {
            Ok(()) => {}
            // The event that says so comes with the next poll.
            Err(TakeError::Superseded) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let stopped = restored.stopped.len();
        tracing::info!(
            partitions = working,
            stopped,
            "the confirmation engine has read its ledger and decides on sessions"
        );
        let mut assignment = Assignment::new(
            Arc::clone(&self.settings),
            self.epoch,
            restored.partitions,
            Arc::clone(&self.set_aside),
            Timestamp::now(),
        );
        assignment.write_owners();
        self.telemetry.unknown_sources(&assignment.unknown_sources());
        self.membership = Membership::Working { assigned, assignment, committed: Instant::now() };
        self.telemetry.assigned(working, &restored.stopped);
        self.telemetry.accepted();
        self.telemetry.restoring(None);
        self.asked_for_the_time = Instant::now();
        // Before any input is looked at: by then the broker has told its time.
        self.commit()
    }
}
