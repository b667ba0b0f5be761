//! How the engine writes: one transaction a turn, then the calls; and what it does when a transaction fails.
//! Must not know what is written.

use std::time::{Duration, Instant};

use super::clocks::read_clocks;
use super::pending::PendingTransaction;
use super::telemetry::{self, TelemetryEvent};
use super::{Engine, EngineError, Membership};
use crate::confirmation::calls::ProviderCall;
use crate::error_chain;
use crate::kafka::group::TakeError;
use crate::kafka::transaction::{Batch, CommitError, Transactions};
use crate::metrics::TransactionEnd;

/// How long making a producer may keep the group from being polled, and between two tries.
const PRODUCER_WITHIN: Duration = Duration::from_secs(5);
const PRODUCER_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Offsets of records that changed nothing are committed this often: reading them again changes nothing either.
const OFFSETS_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    /// Writes what is pending, in one transaction; then counts it, and makes the calls.
    pub(super) fn commit(&mut self) -> Result<(), EngineError> {
        let Membership::Working { assigned, assignment, committed } = &mut self.membership else { return Ok(()) };
        let pending = &assignment.pending;
        let offsets_wait = pending.touched.is_empty() || committed.elapsed() < OFFSETS_EVERY;
        if pending.records.is_empty() && (offsets_wait || !pending.calls.is_empty()) {
            // Asking writes nothing, so it waits for nothing.
            let calls = std::mem::take(&mut assignment.pending.calls);
            let events = std::mem::take(&mut assignment.pending.events);
            self.follow_commit(events, calls, Instant::now());
            return Ok(());
        }
        // There is one whenever there is an assignment: what ends a producer ends the assignment, too.
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let offsets = assignment.offsets();
        let PendingTransaction { records, causes, withdrawn, calls, events, .. } =
            std::mem::take(&mut assignment.pending);
        let batch = Batch::new(records, &offsets)?;
        let group = &self.group;
        // Who commits after this is a member still at this moment; how long ago the commit was, it cannot tell when it wakes.
        let owned_at = Instant::now();
        match producer.commit(&batch, &assigned.generation, |epoch| epoch == group.epoch()) {
            Ok(appended_at) => {
                *committed = Instant::now();
                self.clock.stamped(appended_at, read_clocks());
                self.telemetry.transaction(TransactionEnd::Committed);
                // Before new calls are queued: a session that ended may have a call of before among those that wait.
                self.caller.withdraw(&withdrawn);
                self.follow_commit(events, calls, owned_at);
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

    /// What is written may be told and acted upon; at `owned_at` the sessions were this process's for certain.
    fn follow_commit(&mut self, events: Vec<TelemetryEvent>, calls: Vec<ProviderCall>, owned_at: Instant) {
        self.telemetry.record_all(events);
        let Membership::Working { assignment, .. } = &self.membership else { return };
        for call in assignment.calls_to_make(calls) {
            self.caller.call(call, owned_at);
            self.expects_answers = true;
        }
    }

    /// What a transaction did not write is not so: all that was built on it is dropped, and read again.
    fn recover(&mut self, broken: &CommitError) -> Result<(), EngineError> {
        let error = error_chain::joined(broken);
        let end = match broken {
            // Others have the partitions by now, and read what was committed: what failed here was never written.
            CommitError::Fenced(_) => {
                tracing::warn!(error, "the confirmation engine lost its partitions; it waits for the next assignment");
                self.change_membership(Membership::Unassigned(Some(Instant::now())));
                self.telemetry.transaction(TransactionEnd::Fenced);
                return Ok(());
            }
            // Nothing of it was written, and Kafka said so: the same producer begins the next one, where it can.
            CommitError::Aborted(failure) => {
                if failure.wants_another_producer() {
                    self.producer = None;
                    self.telemetry.rebuilt();
                }
                TransactionEnd::Aborted
            }
            CommitError::Refused { .. } => TransactionEnd::Aborted,
            // It may be committed. Only the start of another producer of the same transactional id ends it for certain, so the
            // ledger is read after that.
            CommitError::Unknown(_) => {
                if self.producer.as_ref().is_some_and(Transactions::was_replaced) {
                    telemetry::producer_replaced(&self.transaction_settings.transactional_id);
                }
                self.producer = None;
                self.telemetry.rebuilt();
                TransactionEnd::Unknown
            }
        };
        tracing::error!(
            error,
            "a transaction of the confirmation engine failed; the engine decides nothing until it has read its ledger again"
        );
        self.telemetry.transaction(end);
        let Membership::Working { assigned, .. } = &self.membership else { return Ok(()) };
        let assigned = assigned.clone();
        // Nothing is read meanwhile; an assignment that is over says so with the next poll.
        match self.group.take(&assigned.generation, &[]) {
            Ok(()) | Err(TakeError::Superseded) => {}
            Err(error) => return Err(error.into()),
        }
        // A smaller batch may pass where this one was too much; down to one record, so that a refused one is found.
        self.at_once = (self.at_once / 2).max(1);
        let membership = self.again(assigned);
        self.change_membership(membership);
        Ok(())
    }

    /// Makes a producer where there is none; Kafka may be away for as long as it likes.
    pub(super) fn keep_producer(&mut self) {
        let tried_just_now = self.tried_producer.is_some_and(|tried| tried.elapsed() < PRODUCER_RETRY_AFTER);
        if self.producer.is_some() || tried_just_now {
            return;
        }
        match Transactions::start(&self.client, &self.transaction_settings, PRODUCER_WITHIN) {
            Ok(producer) => {
                self.producer = Some(producer);
                self.telemetry.kafka_available();
            }
            Err(error) => self.telemetry.kafka_unavailable(&error_chain::joined(&error)),
        }
        self.tried_producer = Some(Instant::now());
    }
}
