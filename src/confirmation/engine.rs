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
mod ledger_owners;
mod partition;
mod partition_counts;
mod refusals;
mod restore;
mod resume;
mod set_aside;
mod settings;
mod start;
mod telemetry;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

pub use credentials::{Renewal, Renewals};
pub use settings::{Desk, Untold};
pub use start::{EngineError, Plan};

use crate::confirmation::calls::{Answer, Caller};
use crate::confirmation::session::clock::{ClockGuard, ClockReading, ClockState};
use crate::kafka::group::{Generation, GroupMember, GroupSettings, InputPosition, Polled};
use crate::kafka::transaction::{TransactionSettings, Transactions};
use assignment::Holding;
use partition::Partition;
use partition_counts::Watch;
use restore::Restoring;
use set_aside::SetAside;
use telemetry::Tally;

/// The most records, answers and timers that one transaction is made of: large enough for any backlog, and done in
/// milliseconds.
const AT_ONCE: usize = 500;
/// How long a poll waits: idle, while a timer or a restore may come, and while answers are on their way.
const IDLE: Duration = Duration::from_millis(100);
const BUSY: Duration = Duration::from_millis(2);
/// However many calls wait, the group is polled this often: rebalances wait for it.
const POLL_AT_LEAST_EVERY: Duration = Duration::from_millis(500);
/// Offsets of records that changed nothing are committed this often: reading them again changes nothing either.
const OFFSETS_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether the inputs are read, and ended sessions are forgotten.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// How often metrics are set: all open sessions are looked at.
const SHOWN_EVERY: Duration = Duration::from_secs(5);
/// How often the broker is asked for the time while the clock is not trusted.
const ASK_FOR_THE_TIME_EVERY: Duration = Duration::from_secs(30);
/// A member that was fenced hears of its next assignment long before this; else it joins anew.
const REJOIN_AFTER: Duration = Duration::from_secs(30);
/// How long the end waits for calls on their way, and for leaving the group.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// The engine, running.
pub struct Engine {
    desk: Arc<Desk>,
    client: ClientConfig,
    group_settings: GroupSettings,
    transaction_settings: TransactionSettings,
    group: GroupMember,
    producer: Option<Transactions>,
    tried_producer: Option<Instant>,
    standing: Standing,
    /// Raised whenever what is held is dropped: answers to calls of an earlier one do not count.
    epoch: u64,
    caller: Caller,
    answers: Receiver<Answer>,
    renewals: Renewals,
    watch: Watch,
    /// Whether an answer may come, or has come and is not taken.
    expects_answers: bool,
    clock: ClockGuard,
    asked_for_the_time: Instant,
    began: Instant,
    tally: Tally,
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
    seen: ClockReading,
    /// Failed transactions and restores since a transaction was last committed.
    failures: u32,
    stop: CancellationToken,
    grace: Duration,
}

/// What this member has.
enum Standing {
    /// No partitions; since when, if it was fenced.
    Unassigned(Option<Instant>),
    /// Partitions whose ledger is to be read once there is a producer. What became of the last transaction of an earlier
    /// one may be open still, and only the start of the next one ends that for certain; what is read before may miss it.
    /// And not before this moment: what failed just now is not tried again at once.
    Assigned(Assignment, Instant),
    /// Partitions whose ledger is being read.
    Restoring(Assignment, Restoring),
    /// Partitions that it works on.
    Holding(Held),
}

/// What the group assigned.
#[derive(Clone)]
struct Assignment {
    generation: Generation,
    partitions: Vec<i32>,
}

struct Held {
    assignment: Assignment,
    holding: Holding,
    committed: Instant,
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

    /// Read, answer, let time pass; write all that came of it; then call.
    fn turn(&mut self) -> Result<(), EngineError> {
        self.watch.look()?;
        self.renew();
        self.keep_producer();
        self.read()?;
        self.begin_restore()?;
        self.take_restored()?;
        // One by one after a refusal: what is refused again is then alone in its transaction.
        if !self.has_one_by_one() {
            self.take_answers(self.at_once)?;
        }
        if !self.has_one_by_one() {
            self.let_time_pass()?;
        }
        self.commit()
    }

    /// Takes what the group brings, up to a transaction's worth, or until it asks for as many calls as can be made soon: a
    /// backlog waits on its topics, not as calls that get too old to be sent. Most records ask for none.
    fn read(&mut self) -> Result<(), EngineError> {
        let room = self.caller.room();
        if !self.has_room(room) && self.polled.elapsed() < POLL_AT_LEAST_EVERY {
            return match self.answers.recv_timeout(BUSY) {
                Ok(answer) => self.take_answer(answer),
                Err(_) => Ok(()),
            };
        }
        self.polled = Instant::now();
        let mut polled = self.group.poll(self.patience());
        for _ in 1..self.at_once {
            match polled {
                Polled::Idle => return Ok(()),
                polled => self.follow(polled)?,
            }
            if !self.has_room(room) {
                return Ok(());
            }
            polled = self.group.poll(Duration::ZERO);
        }
        self.follow(polled)
    }

    /// Whether something is to be written by itself.
    fn has_one_by_one(&self) -> bool {
        let is_pending = match &self.standing {
            Standing::Holding(held) => !held.holding.pending.records.is_empty(),
            Standing::Unassigned(_) | Standing::Assigned(..) | Standing::Restoring(..) => false,
        };
        self.at_once == 1 && is_pending
    }

    /// Whether fewer calls than `room` wait for the next commit.
    fn has_room(&self, room: usize) -> bool {
        match &self.standing {
            Standing::Holding(held) => held.holding.pending.calls.len() < room,
            Standing::Unassigned(_) | Standing::Assigned(..) | Standing::Restoring(..) => true,
        }
    }

    fn follow(&mut self, polled: Polled) -> Result<(), EngineError> {
        match polled {
            Polled::Record(record) => {
                self.tally.trouble_is_over();
                let present = self.present();
                if let Standing::Holding(held) = &mut self.standing {
                    held.holding.record(&record, &present);
                }
            }
            Polled::Assigned { generation, partitions } => {
                tracing::info!(?partitions, "the confirmation engine is assigned partitions");
                if partitions.iter().any(|partition| *partition >= self.desk.partitions) {
                    return Err(EngineError::MorePartitions { began_with: self.desk.partitions });
                }
                let standing = match partitions.as_slice() {
                    [] => {
                        self.tally.accepted();
                        Standing::Unassigned(None)
                    }
                    _ => Standing::Assigned(Assignment { generation, partitions }, Instant::now()),
                };
                self.drop_epoch(standing);
            }
            Polled::Revoked(revocation) => {
                tracing::info!(?revocation, "the confirmation engine's partitions are taken from it");
                self.drop_epoch(Standing::Unassigned(None));
            }
            Polled::Error(trouble) => self.tally.trouble(&trouble.to_string()),
            Polled::Fatal(reason) => {
                tracing::error!(reason, "the group's member is of no use any more, and joins anew");
                self.rejoin()?;
            }
            Polled::Idle => {}
        }
        Ok(())
    }

    /// Whatever was built under the last epoch is worthless.
    fn drop_epoch(&mut self, standing: Standing) {
        self.epoch = self.epoch.saturating_add(1);
        self.caller.forget(self.epoch);
        self.standing = standing;
        self.tally.assigned(0, &[]);
        if matches!(self.standing, Standing::Unassigned(_)) {
            self.tally.nothing_held();
        }
        let is_waiting = matches!(self.standing, Standing::Assigned(..));
        self.tally.restoring(is_waiting.then(Timestamp::now));
    }

    /// Takes the answers that are there, at most `max` of them.
    fn take_answers(&mut self, max: usize) -> Result<(), EngineError> {
        // Looked at before: a call that ends meanwhile gives its answer first, and its place back then.
        self.expects_answers = self.caller.in_flight() > 0;
        for _ in 0..max {
            let Ok(answer) = self.answers.try_recv() else { return Ok(()) };
            self.take_answer(answer)?;
        }
        self.expects_answers = true;
        Ok(())
    }

    fn take_answer(&mut self, answer: Answer) -> Result<(), EngineError> {
        if let Some(skew) = answer.clock_skew {
            self.clock.heard(&answer.call.key.source, skew, self.reading());
        }
        let present = self.present();
        if let Standing::Holding(held) = &mut self.standing {
            held.holding.answer(answer, &present);
        }
        Ok(())
    }

    /// Fires timers; now and then forgets what ended long ago, and shows how things stand.
    fn let_time_pass(&mut self) -> Result<(), EngineError> {
        self.follow_the_clock();
        let (present, now) = (self.present(), self.reading());
        let is_time = self.kept_up.elapsed() >= UPKEEP_EVERY;
        let is_time_to_show = self.shown.elapsed() >= SHOWN_EVERY;
        if is_time {
            self.kept_up = Instant::now();
        }
        if let Standing::Holding(held) = &mut self.standing {
            held.holding.fire(self.at_once, &present);
            if present.clock == ClockState::Untrusted && self.asked_for_the_time.elapsed() >= ASK_FOR_THE_TIME_EVERY {
                self.asked_for_the_time = Instant::now();
                held.holding.ask_for_the_time();
            }
            if is_time {
                let positions = self.group.positions().unwrap_or_default();
                held.holding.note_progress(|partition| is_caught_up(&positions, partition));
                // Tombstones in company would keep a record from being refused alone.
                if self.at_once > 1 {
                    held.holding.forget(&present);
                }
                if held.holding.partitions().next().is_some() {
                    let is_trusted = present.clock == ClockState::Trusted && present.disagreeing.is_empty();
                    let trust = if is_trusted { ClockState::Trusted } else { ClockState::Untrusted };
                    self.tally.clock(trust, self.clock.ahead(now));
                }
            }
            if is_time_to_show {
                self.shown = Instant::now();
                self.tally.show(&held.holding, &self.desk.policy, self.group.lag().ok(), present.now);
            }
        }
        match self.standing {
            Standing::Unassigned(Some(since)) if since.elapsed() > REJOIN_AFTER => self.rejoin(),
            _ => Ok(()),
        }
    }

    fn rejoin(&mut self) -> Result<(), EngineError> {
        self.replace_member(GroupMember::join(&self.client, &self.group_settings)?);
        Ok(())
    }

    fn replace_member(&mut self, group: GroupMember) {
        std::mem::replace(&mut self.group, group).leave(LEAVE_WITHIN);
        self.drop_epoch(Standing::Unassigned(None));
    }

    /// Withdraws the calls that wait, drops what is held, and leaves the group: nothing more is decided here.
    fn abandon(mut self) {
        self.drop_epoch(Standing::Unassigned(None));
        self.group.leave(LEAVE_WITHIN);
    }

    /// Waits for the calls on their way, writes what their answers bring, and leaves the group.
    fn finish(mut self) -> Result<(), EngineError> {
        let deadline = Instant::now() + self.grace.saturating_sub(LEAVE_WITHIN);
        self.caller.forget(u64::MAX);
        loop {
            // Looked at first: what was answered before it is in the queue of answers.
            let is_last = self.caller.in_flight() == 0 || Instant::now() >= deadline;
            match self.group.poll(BUSY) {
                // What comes now is the next owner's.
                Polled::Record(_) => {}
                polled => self.follow(polled)?,
            }
            self.take_answers(usize::MAX)?;
            if let Standing::Holding(held) = &mut self.standing {
                held.holding.pending.calls.clear();
            }
            self.commit()?;
            if is_last {
                break;
            }
        }
        self.group.leave(LEAVE_WITHIN);
        tracing::info!("the confirmation engine has left its group");
        Ok(())
    }

    /// How long the next poll may wait.
    fn patience(&self) -> Duration {
        match &self.standing {
            _ if self.expects_answers => BUSY,
            Standing::Restoring(..) => BUSY,
            Standing::Unassigned(_) | Standing::Assigned(..) => IDLE,
            Standing::Holding(held) => {
                let until = held.holding.next_timer().map(|due| due.duration_since(Timestamp::now()));
                until.map_or(IDLE, |until| Duration::try_from(until).unwrap_or(Duration::ZERO)).min(IDLE)
            }
        }
    }
}

/// Whether the inputs were read up to where they ended when the partition was assigned.
fn is_caught_up(positions: &[InputPosition], partition: &Partition) -> bool {
    let reached = |input: usize, end: i64| {
        let is_it = |position: &&InputPosition| position.input == input && position.partition == partition.number;
        positions.iter().find(is_it).is_some_and(|position| position.next >= end)
    };
    (0..).zip(partition.ends).all(|(input, end)| reached(input, end))
}
