//! The engine: one thread that owns a member of the consumer group, its partitions and its transactions.
//! Must not decide anything: the machine does; nor wait for a provider: calls come back as answers.
//!
//! Rebalances are heard inside a poll, and no transaction is open then, for this thread polls and commits by turns. So what
//! it holds is always of the assignment that it believes to have; whether that is still true, Kafka checks at each commit.

mod assignment;
mod clocks;
mod commit;
mod credentials;
mod duplicate_instance;
mod engine_settings;
mod ledger_owners;
mod ledger_restore;
mod partition;
mod partition_counts;
mod pending;
mod refusal_handling;
mod refused_records;
mod resume;
mod start;
mod telemetry;
mod turn;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

pub use credentials::{CredentialRenewal, CredentialRenewals};
pub use engine_settings::EngineSettings;
pub use start::{EngineError, EnginePlan};

use crate::confirmation::calls::{CallAnswer, Caller};
use crate::confirmation::session::clock_guard::ClockGuard;
use crate::kafka::broker_clock::ClockReading;
use crate::kafka::group::{Generation, GroupMember, GroupSettings, Polled};
use crate::kafka::transaction::{TransactionSettings, Transactions};
use assignment::Assignment;
use engine_settings::PartitionedSettings;
use ledger_restore::LedgerRestore;
use partition_counts::PartitionCountWatch;
use refused_records::SetAside;
use telemetry::Telemetry;

/// How often a wait looks whether it is stopped.
const STOP_POLL: Duration = Duration::from_millis(50);
/// The most records, answers and timers that one transaction is made of: large enough for any backlog, and done in
/// milliseconds.
const AT_ONCE: usize = 500;
/// How long a poll waits while answers are on their way.
const BUSY: Duration = Duration::from_millis(2);
/// How long the end waits for calls on their way, and for leaving the group.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// The engine, running.
pub struct Engine {
    settings: Arc<PartitionedSettings>,
    client: ClientConfig,
    group_settings: GroupSettings,
    transaction_settings: TransactionSettings,
    group: GroupMember,
    producer: Option<Transactions>,
    tried_producer: Option<Instant>,
    membership: Membership,
    /// Raised whenever the membership changes: answers to calls of an earlier one do not count.
    epoch: u64,
    caller: Caller,
    answers: Receiver<CallAnswer>,
    renewals: CredentialRenewals,
    partition_counts: PartitionCountWatch,
    /// Whether an answer may come, or has come and is not taken.
    expects_answers: bool,
    clock: ClockGuard,
    asked_for_the_time: Instant,
    telemetry: Telemetry,
    /// The most records for the next transaction: fewer after one was too large.
    at_once: usize,
    /// What Kafka refuses for good.
    set_aside: Arc<SetAside>,
    /// The topics that took a record since one was refused.
    taking: BTreeSet<Arc<str>>,
    /// When the group was last polled.
    polled: Instant,
    kept_up: Instant,
    shown: Instant,
    /// Both clocks when they were last looked at.
    last_reading: ClockReading,
    /// Failed transactions and restores since a transaction was last committed.
    failures: u32,
    stop: CancellationToken,
    grace: Duration,
}

/// What this member of the group has.
enum Membership {
    /// No partitions; since when, if it was fenced.
    Unassigned(Option<Instant>),
    /// Partitions whose ledger is to be read once there is a producer. What became of the last transaction of an earlier
    /// one may be open still, and only the start of the next one ends that for certain; what is read before may miss it.
    /// And not before this moment: what failed just now is not tried again at once.
    Assigned(AssignedPartitions, Instant),
    /// Partitions whose ledger is being read.
    Restoring(AssignedPartitions, LedgerRestore),
    /// Partitions that it works on.
    Working {
        assigned: AssignedPartitions,
        assignment: Assignment,
        /// When a transaction was last committed.
        committed: Instant,
    },
}

/// What the group assigned.
#[derive(Clone)]
struct AssignedPartitions {
    generation: Generation,
    partitions: Vec<i32>,
}

impl Engine {
    /// Runs until it is stopped.
    ///
    /// # Errors
    /// What no waiting mends.
    pub fn run(mut self) -> Result<(), EngineError> {
        while !self.stop.is_cancelled() {
            if let Err(error) = self.turn() {
                self.abandon();
                return Err(error);
            }
        }
        self.finish()
    }

    /// What it works on; nothing without partitions, or while their ledger is read.
    fn assignment(&mut self) -> Option<&mut Assignment> {
        match &mut self.membership {
            Membership::Working { assignment, .. } => Some(assignment),
            Membership::Unassigned(_) | Membership::Assigned(..) | Membership::Restoring(..) => None,
        }
    }

    /// Whatever was built under the last membership is worthless.
    fn change_membership(&mut self, membership: Membership) {
        self.epoch = self.epoch.saturating_add(1);
        // Calls that wait are dropped; those on their way are answered, and their answers have an older epoch. What they did
        // is found out by whoever has the partition next: it asks the provider before it calls.
        self.caller.forget(self.epoch);
        self.membership = membership;
        self.telemetry.assigned(0, &[]);
        if matches!(self.membership, Membership::Unassigned(_)) {
            self.telemetry.unassigned();
        }
        let is_waiting = matches!(self.membership, Membership::Assigned(..));
        self.telemetry.restoring(is_waiting.then(Timestamp::now));
    }

    fn rejoin(&mut self) -> Result<(), EngineError> {
        self.replace_member(GroupMember::join(&self.client, &self.group_settings)?);
        Ok(())
    }

    fn replace_member(&mut self, group: GroupMember) {
        // The new one has joined by now: partitions go over in one rebalance, not in two.
        std::mem::replace(&mut self.group, group).leave(LEAVE_WITHIN);
        self.change_membership(Membership::Unassigned(None));
    }

    /// Withdraws the calls that wait, drops what is held, and leaves the group: nothing more is decided here.
    fn abandon(mut self) {
        self.change_membership(Membership::Unassigned(None));
        self.group.leave(LEAVE_WITHIN);
    }

    /// Waits for the calls on their way, writes what their answers bring, and leaves the group.
    fn finish(mut self) -> Result<(), EngineError> {
        let deadline = Instant::now() + self.grace.saturating_sub(LEAVE_WITHIN);
        self.caller.forget(u64::MAX);
        loop {
            // Looked at first: what was answered before it is in the queue of answers.
            let is_last = self.caller.in_flight() == 0 || Instant::now() >= deadline;
            // A member that does not poll is thought dead, and its commits are fenced.
            match self.group.poll(BUSY) {
                // What comes now is the next owner's.
                Polled::Record(_) => {}
                polled => self.follow(polled)?,
            }
            self.take_answers(usize::MAX);
            if let Some(assignment) = self.assignment() {
                assignment.pending.calls.clear();
            }
            self.commit()?;
            if is_last {
                break;
            }
        }
        self.telemetry.log_due(Instant::now());
        self.group.leave(LEAVE_WITHIN);
        tracing::info!("the confirmation engine has left its consumer group");
        Ok(())
    }
}
