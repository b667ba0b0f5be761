//! One turn of the engine: what came is read, answered and timed, and written in one transaction.
//! Must not know what is decided, nor how it is written.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::assignment::TurnContext;
use super::clocks::read_clocks;
use super::partition::SessionPartition;
use super::{AssignedPartitions, BUSY, Engine, EngineError, Membership};
use crate::confirmation::calls::CallAnswer;
use crate::confirmation::session::clock_guard::ClockState;
use crate::kafka::group::{Generation, InputPosition, Polled};

/// How long a poll waits with nothing to do: a timer or a restore may come.
const IDLE: Duration = Duration::from_millis(100);
/// However many calls wait, the group is polled this often: rebalances wait for it.
const POLL_AT_LEAST_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether the inputs are read, and ended sessions are forgotten.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// How often metrics are set: all open sessions are looked at.
const SHOWN_EVERY: Duration = Duration::from_secs(5);
/// How often the broker is asked for the time while the clock is not trusted.
const ASK_FOR_THE_TIME_EVERY: Duration = Duration::from_secs(30);
/// A member that was fenced hears of its next assignment long before this; else it joins anew.
const REJOIN_AFTER: Duration = Duration::from_secs(30);

impl Engine {
    /// Read, answer, let time pass; write all that came of it; then call.
    pub(super) fn turn(&mut self) -> Result<(), EngineError> {
        self.partition_counts.check()?;
        self.renew_credentials();
        self.keep_producer();
        self.read()?;
        self.begin_restore()?;
        self.take_restored()?;
        // One by one after a refusal: what is refused again is then alone in its transaction.
        if !self.has_one_by_one() {
            self.take_answers(self.at_once);
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
            // Every place is taken: an answer frees one, and is waited for instead of a record.
            if let Ok(answer) = self.answers.recv_timeout(BUSY) {
                self.take_answer(answer);
            }
            return Ok(());
        }
        self.polled = Instant::now();
        // Only the first poll waits: what is there already comes without waiting, and one transaction takes it all.
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
    fn has_one_by_one(&mut self) -> bool {
        self.at_once == 1 && self.assignment().is_some_and(|assignment| !assignment.pending.records.is_empty())
    }

    /// Whether fewer calls than `room` wait for the next commit.
    fn has_room(&mut self, room: usize) -> bool {
        self.assignment().is_none_or(|assignment| assignment.pending.calls.len() < room)
    }

    /// Takes what one poll brought.
    pub(super) fn follow(&mut self, polled: Polled) -> Result<(), EngineError> {
        match polled {
            Polled::Record(record) => {
                self.telemetry.kafka_available();
                let turn = self.turn_context();
                if let Some(assignment) = self.assignment() {
                    assignment.record(&record, &turn);
                }
            }
            Polled::Assigned { generation, partitions } => self.assigned(generation, partitions)?,
            Polled::Revoked(revocation) => {
                // Nothing is written any more: what is pending was read, and the next owner reads it again.
                tracing::info!(
                    ?revocation,
                    "partitions were revoked from the confirmation engine; other replicas decide on their sessions"
                );
                self.change_membership(Membership::Unassigned(None));
            }
            Polled::Error(error) => self.telemetry.kafka_unavailable(&error.to_string()),
            Polled::Fatal(reason) => {
                // librdkafka's consumer never works again after a fatal error: only another one does.
                tracing::error!(reason, "consumer failed fatally; the confirmation engine rejoins the consumer group");
                self.rejoin()?;
            }
            Polled::Idle => {}
        }
        Ok(())
    }

    fn assigned(&mut self, generation: Generation, partitions: Vec<i32>) -> Result<(), EngineError> {
        if partitions.iter().any(|partition| *partition >= self.settings.partitions) {
            return Err(EngineError::MorePartitions { began_with: self.settings.partitions });
        }
        let membership = if partitions.is_empty() {
            tracing::info!("no partition was assigned to the confirmation engine; other replicas have them all");
            // This member is well, and shows it.
            self.telemetry.accepted();
            Membership::Unassigned(None)
        } else {
            tracing::info!(?partitions, "partitions were assigned to the confirmation engine; it reads their ledger");
            Membership::Assigned(AssignedPartitions { generation, partitions }, Instant::now())
        };
        self.change_membership(membership);
        Ok(())
    }

    /// Takes the answers that are there, at most `max` of them.
    pub(super) fn take_answers(&mut self, max: usize) {
        // Looked at before: a call that ends meanwhile gives its answer first, and its place back then.
        self.expects_answers = self.caller.in_flight() > 0;
        for _ in 0..max {
            let Ok(answer) = self.answers.try_recv() else { return };
            self.take_answer(answer);
        }
        self.expects_answers = true;
    }

    fn take_answer(&mut self, answer: CallAnswer) {
        // Before it is judged: its `Date` may show that our clock is wrong, and then it decides nothing by that clock.
        if let Some(skew) = answer.clock_skew {
            self.clock.heard(&answer.call.key.source, skew, read_clocks());
        }
        let turn = self.turn_context();
        if let Some(assignment) = self.assignment() {
            assignment.answer(answer, &turn);
        }
    }

    /// Fires timers; now and then forgets what ended long ago, and shows how things stand.
    fn let_time_pass(&mut self) -> Result<(), EngineError> {
        self.follow_the_clock();
        let (turn, at_once) = (self.turn_context(), self.at_once);
        if let Some(assignment) = self.assignment() {
            assignment.fire(at_once, &turn);
        }
        if turn.clock == ClockState::Untrusted && self.asked_for_the_time.elapsed() >= ASK_FOR_THE_TIME_EVERY {
            self.ask_for_the_time();
        }
        if self.kept_up.elapsed() >= UPKEEP_EVERY {
            self.kept_up = Instant::now();
            self.keep_up(&turn);
        }
        if self.shown.elapsed() >= SHOWN_EVERY {
            self.shown = Instant::now();
            self.show(turn.now);
            self.telemetry.log_due(self.shown);
        }
        match self.membership {
            Membership::Unassigned(Some(since)) if since.elapsed() > REJOIN_AFTER => self.rejoin(),
            _ => Ok(()),
        }
    }

    fn ask_for_the_time(&mut self) {
        if let Membership::Working { assignment, .. } = &mut self.membership {
            self.asked_for_the_time = Instant::now();
            assignment.ask_for_the_time();
        }
    }

    fn keep_up(&mut self, turn: &TurnContext) {
        let Membership::Working { assignment, .. } = &mut self.membership else { return };
        let positions = self.group.positions().unwrap_or_default();
        assignment.note_progress(|partition| is_caught_up(&positions, partition));
        // Tombstones in company would keep a record from being refused alone.
        if self.at_once > 1 {
            assignment.forget(turn);
        }
        if assignment.partitions().next().is_some() {
            let is_trusted = turn.clock == ClockState::Trusted && turn.disagreeing.is_empty();
            let clock = if is_trusted { ClockState::Trusted } else { ClockState::Untrusted };
            let reading = read_clocks();
            self.telemetry.clock(clock, self.clock.ahead(reading), reading.wall);
        }
    }

    fn show(&self, now: Timestamp) {
        if let Membership::Working { assignment, .. } = &self.membership {
            let first = assignment.first_times();
            self.telemetry.show(assignment.open_sessions(), first, self.group.lag().ok(), now);
        }
    }

    /// How long the next poll may wait.
    fn patience(&self) -> Duration {
        match &self.membership {
            _ if self.expects_answers => BUSY,
            Membership::Restoring(..) => BUSY,
            Membership::Unassigned(_) | Membership::Assigned(..) => IDLE,
            Membership::Working { assignment, .. } => {
                let until = assignment.next_timer().map(|due| due.duration_since(Timestamp::now()));
                until.map_or(IDLE, |until| Duration::try_from(until).unwrap_or(Duration::ZERO)).min(IDLE)
            }
        }
    }
}

/// Whether the inputs were read up to where they ended when the partition was assigned.
fn is_caught_up(positions: &[InputPosition], partition: &SessionPartition) -> bool {
    let reached = |input: usize, end: i64| {
        let is_it = |position: &&InputPosition| position.input == input && position.partition == partition.number;
        positions.iter().find(is_it).is_some_and(|position| position.next >= end)
    };
    (0..).zip(partition.ends).all(|(input, end)| reached(input, end))
}
