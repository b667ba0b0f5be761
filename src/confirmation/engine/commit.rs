//! How the engine writes: one transaction a turn, then the calls; and what it does when a transaction fails.
//! Must not know what is written.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::settings::Pending;
use super::{Engine, EngineError, Held, OFFSETS_EVERY, Standing, telemetry};
use crate::causes;
use crate::confirmation::session::clock;
use crate::kafka::group::TakeError;
use crate::kafka::transaction::{Batch, CommitError, Transactions};
use crate::metrics::TransactionEnd;

/// How long making a producer may keep the group from being polled, and between two tries.
const PRODUCER_WITHIN: Duration = Duration::from_secs(5);
const PRODUCER_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Writes what is pending, in one transaction; then counts it, and makes the calls.
    pub(super) fn commit(&mut self) -> Result<(), EngineError> {
        let Standing::Holding(held) = &mut self.standing else { return Ok(()) };
        let nothing = held.holding.pending.records.is_empty();
        let offsets_wait = held.holding.pending.touched.is_empty() || held.committed.elapsed() < OFFSETS_EVERY;
        if nothing && (offsets_wait || !held.holding.pending.calls.is_empty()) {
            // Asking writes nothing, so it waits for nothing.
            let calls = std::mem::take(&mut held.holding.pending.calls);
            self.tally.counted(std::mem::take(&mut held.holding.pending.counts));
            let now = Instant::now();
            for call in held.holding.calls_to_make(calls) {
                self.caller.call(call, now);
                self.expects_answers = true;
            }
            return Ok(());
        }
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let offsets = held.holding.offsets();
        let Pending { records, causes, withdrawn, calls, counts, .. } = std::mem::take(&mut held.holding.pending);
        let batch = Batch::new(records, &offsets)?;
        let group = &self.group;
        // Who commits after this is a member still at this moment; how long ago the commit was, it cannot tell when it wakes.
        let owned_at = Instant::now();
        match producer.commit(&batch, &held.assignment.generation, |epoch| epoch == group.epoch()) {
            Ok(appended_at) => {
                let now = clock::ClockReading { wall: Timestamp::now(), monotonic: self.began.elapsed() };
                self.clock.stamped(appended_at, now);
                held.committed = Instant::now();
                self.tally.transaction(TransactionEnd::Committed);
                self.caller.withdraw(&withdrawn);
                self.tally.counted(counts);
                for call in held.holding.calls_to_make(calls) {
                    self.caller.call(call, owned_at);
                    self.expects_answers = true;
                }
                self.note_taken(&batch, &causes);
                Ok(())
            }
            Err(broken) => {
                if let CommitError::Refused { records } = &broken {
                    self.judge(&batch, &causes, records);
                }
                self.recover(&broken)
            }
        }
    }

    /// What a transaction did not write is not so: all that was built on it is dropped, and read again.
    fn recover(&mut self, broken: &CommitError) -> Result<(), EngineError> {
        let error = causes::told(broken);
        let end = match broken {
            CommitError::Fenced(_) => {
                tracing::warn!(error, "the confirmation engine lost its partitions; it waits for the next assignment");
                self.drop_epoch(Standing::Unassigned(Some(Instant::now())));
                self.tally.transaction(TransactionEnd::Fenced);
                return Ok(());
            }
            CommitError::Aborted(_) | CommitError::Refused { .. } => TransactionEnd::Aborted,
            CommitError::Unknown(_) => {
                if self.producer.as_ref().is_some_and(Transactions::was_replaced) {
                    telemetry::producer_replaced(&self.transaction_settings.transactional_id);
                }
                self.producer = None;
                self.tally.rebuilt();
                TransactionEnd::Unknown
            }
        };
        tracing::error!(error, "a transaction failed: the confirmation engine reads its ledger again");
        self.tally.transaction(end);
        let Standing::Holding(Held { assignment, .. }) = &self.standing else { return Ok(()) };
        let assignment = assignment.clone();
        // Nothing is read meanwhile; an assignment that is over says so with the next poll.
        match self.group.take(&assignment.generation, &[]) {
            Ok(()) | Err(TakeError::Superseded) => {}
            Err(error) => return Err(error.into()),
        }
        // A smaller batch may pass where this one was too much.
        self.at_once = (self.at_once / 2).max(1);
        let standing = self.again(assignment);
        self.drop_epoch(standing);
        Ok(())
    }

    /// Makes a producer where there is none; Kafka may be away for as long as it likes.
    pub(super) fn keep_producer(&mut self) {
        let tried_just_now = self.tried_producer.is_some_and(|tried| tried.elapsed() < PRODUCER_AGAIN);
        if self.producer.is_some() || tried_just_now {
            return;
        }
        match Transactions::start(&self.client, &self.transaction_settings, PRODUCER_WITHIN) {
            Ok(producer) => {
                self.producer = Some(producer);
                self.tally.trouble_is_over();
            }
            Err(error) => self.tally.trouble(&causes::told(&error)),
        }
        self.tried_producer = Some(Instant::now());
    }
}
