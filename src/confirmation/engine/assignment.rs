//! What the engine holds under one assignment: its partitions, and what their next transaction will write.
//! Pure: it feeds the machine and collects what that says. Must not know how a transaction is committed or a call made.

mod input_records;

use std::collections::{BTreeMap, BTreeSet};
use std::iter::zip;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::engine_settings::PartitionedSettings;
use super::partition::SessionPartition;
use super::pending::PendingTransaction;
use super::refused_records::{InputLocation, RecordCause, SetAside};
use super::telemetry::FirstTimes;
use super::telemetry::TelemetryEvent;
use crate::confirmation::calls::{CallAnswer, ProviderCall};
use crate::confirmation::codec::inputs::{self, RecordProblem};
use crate::confirmation::session::clock_guard::ClockState;
use crate::confirmation::session::machine::{
    self, Effect, Input, InputProgress, NextState, SessionState, StepContext, Transition, timing,
};
use crate::confirmation::session::model::SessionKey;
use crate::kafka::group::InputRecord;
use crate::kafka::transaction::NextOffset;
use input_records::location_of;

/// The place of sessions that wait, in the group's list of inputs.
const READY: usize = 0;
/// The place of other teams' decisions.
const DECISION: usize = 1;
/// The place of sessions that finished at the provider.
const FINISHED: usize = 2;

/// How many ended sessions are forgotten in one transaction, so that others are not kept waiting.
const FORGOTTEN_AT_ONCE: usize = 500;

/// One assignment.
pub struct Assignment {
    settings: Arc<PartitionedSettings>,
    epoch: u64,
    partitions: BTreeMap<i32, SessionPartition>,
    /// What the next transaction will write.
    pub pending: PendingTransaction,
    /// What Kafka refuses for good.
    set_aside: Arc<SetAside>,
    /// Which partition's timers come first: another one each time.
    rotation: usize,
}

/// The circumstances of the steps of one turn.
#[derive(Clone, Debug)]
pub struct TurnContext {
    /// The wall clock.
    pub now: Timestamp,
    /// Whether it can be believed.
    pub clock: ClockState,
    /// The sources for whose sessions it cannot, because their provider's clock disagrees.
    pub disagreeing: Vec<Arc<str>>,
    /// Spreads retries.
    pub jitter: u8,
}

impl TurnContext {
    /// Whether the clock can be believed for the sessions of a source.
    fn clock_for(&self, source: &str) -> ClockState {
        let disagrees = self.disagreeing.iter().any(|disagreeing| **disagreeing == *source);
        if disagrees { ClockState::Untrusted } else { self.clock }
    }
}

impl Assignment {
    /// What was restored for an assignment, of which Kafka refuses some for good.
    pub fn new(
        settings: Arc<PartitionedSettings>,
        epoch: u64,
        partitions: Vec<SessionPartition>,
        set_aside: Arc<SetAside>,
        now: Timestamp,
    ) -> Self {
        let behind = |mut partition: SessionPartition| {
            partition.progress = InputProgress::Behind { since: now };
            (partition.number, partition)
        };
        let partitions = partitions.into_iter().map(behind).collect();
        Self { settings, epoch, partitions, pending: PendingTransaction::default(), set_aside, rotation: 0 }
    }

    /// The partitions.
    pub fn partitions(&self) -> impl Iterator<Item = &SessionPartition> {
        self.partitions.values()
    }

    /// How many sessions were opened and have not ended.
    pub fn open_sessions(&self) -> usize {
        self.partitions.values().map(SessionPartition::open_sessions).sum()
    }

    /// The window of an open session that closes first, and the deadline that comes first.
    pub fn first_times(&self) -> FirstTimes {
        let (partitions, policy) = (self.partitions.values(), &self.settings.policy);
        FirstTimes {
            window_end: partitions.clone().filter_map(|partition| partition.first_window_end(policy)).min(),
            deadline: partitions.filter_map(|partition| partition.first_deadline(policy)).min(),
        }
    }

    /// Notes how far the inputs were read, where that was not known yet.
    pub fn note_progress(&mut self, is_caught_up: impl Fn(&SessionPartition) -> bool) {
        for partition in self.partitions.values_mut() {
            if partition.progress != InputProgress::CaughtUp && is_caught_up(partition) {
                partition.progress = InputProgress::CaughtUp;
            }
        }
    }

    /// Writes each ledger's owner again: that proves that the ledger can be written, and tells the broker's time, before
    /// anything is decided.
    pub fn write_owners(&mut self) {
        for partition in self.partitions.values_mut() {
            self.pending.write_owner(partition, &self.settings);
        }
    }

    /// Writes one ledger's owner again, for the broker's time alone.
    pub fn ask_for_the_time(&mut self) {
        if let Some(partition) = self.partitions.values_mut().next() {
            self.pending.write_owner(partition, &self.settings);
        }
    }

    /// Takes one record of an input.
    pub fn record(&mut self, record: &InputRecord, turn: &TurnContext) {
        let Some(partition) = self.partitions.get_mut(&record.partition) else { return };
        if let Some(next) = partition.next.get_mut(record.input) {
            *next = record.offset.saturating_add(1);
        }
        // Also for a record that changes nothing: its offset is committed with the next transaction.
        self.pending.touch(partition, &self.settings);
        if self.set_aside.has_input(&location_of(record)) {
            return self.quarantine(record, &RecordProblem::Refused.into(), turn.now);
        }
        match record.input {
            READY => self.ready(record, turn),
            DECISION => self.decision(record, turn),
            FINISHED => self.finished(record, turn),
            _ => {} // the group reads no other
        }
    }

    /// Takes the answer of a call; one of another epoch does not count.
    pub fn answer(&mut self, answer: CallAnswer, turn: &TurnContext) {
        let CallAnswer { call, reply, retry_after, session, .. } = answer;
        // It was made under an assignment that is over. The session may be somebody else's by now, or was read again here:
        // then the provider is asked before anything is done.
        if call.epoch != self.epoch {
            return;
        }
        let retry_after = retry_after.map(|after| SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX));
        let partition = inputs::partition_of(&call.key.session_id, self.settings.partitions);
        let details = session.and_then(|session| self.shown(partition, &call.key, &session)).map(Box::new);
        let input = Input::Answer { number: call.number, operation: call.operation, reply, retry_after, details };
        self.feed(partition, &call.key, input, None, turn);
    }

    /// Fires the timers that are due, at most `max` of them.
    pub fn fire(&mut self, max: usize, turn: &TurnContext) {
        // Another one begins each time, so that a busy partition does not keep others waiting.
        let mut numbers: Vec<i32> = self.partitions.keys().copied().collect();
        self.rotation = self.rotation.wrapping_add(1);
        let first = self.rotation % numbers.len().max(1);
        numbers.rotate_left(first);
        let mut fired = 0;
        for number in numbers {
            // A step may set another timer of the same partition that is due already: `max` bounds that, too.
            while fired < max {
                let due = self.partitions.get(&number).and_then(|partition| partition.due(turn.now));
                let Some(key) = due else { break };
                self.feed(number, &key, Input::Timer, None, turn);
                fired += 1;
            }
        }
    }

    /// Forgets sessions that ended long ago, but not by a clock that may be wrong: what is forgotten too early is decided
    /// twice when it comes again.
    pub fn forget(&mut self, turn: &TurnContext) {
        if turn.clock == ClockState::Untrusted {
            return;
        }
        let before = timing::later(turn.now, -self.settings.policy.remembered());
        for (number, partition) in &mut self.partitions {
            for key in partition.expired(before, FORGOTTEN_AT_ONCE) {
                partition.forget(&key, &self.settings.policy);
                self.pending.touched.insert(*number);
                self.pending.push(self.settings.tombstone(*number, &key), &RecordCause::Session(key, None));
            }
        }
    }

    /// The sources of open sessions that are not configured here: nobody can call their provider.
    pub fn unknown_sources(&self) -> BTreeSet<Arc<str>> {
        let open = self.partitions.values().flat_map(SessionPartition::open_sources);
        open.filter(|source| !self.settings.sources.contains(source)).collect()
    }

    /// When the first timer is due.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.partitions.values().filter_map(SessionPartition::next_timer).min()
    }

    /// The next offsets of every partition that the pending transaction touches: whoever lost one of them is refused.
    pub fn offsets(&self) -> Vec<NextOffset> {
        let touched = self.pending.touched.iter().filter_map(|number| self.partitions.get(number));
        let of_inputs = |partition: &SessionPartition| {
            let number = partition.number;
            let pairs: Vec<NextOffset> = zip(&self.settings.inputs, partition.next)
                .map(|(topic, next)| NextOffset { topic: Arc::clone(topic), partition: number, next })
                .collect();
            pairs
        };
        touched.flat_map(of_inputs).collect()
    }

    /// The calls to make now that they are written; those whose session has gone on meanwhile are not made.
    pub fn calls_to_make(&self, calls: Vec<ProviderCall>) -> impl Iterator<Item = ProviderCall> {
        calls.into_iter().filter(|call| {
            let number = inputs::partition_of(&call.key.session_id, self.settings.partitions);
            self.partitions
                .get(&number)
                .is_some_and(|partition| partition.state(&call.key).awaits(call.number, call.operation))
        })
    }

    /// One step of one session: what it writes, then the session itself, then what else it asks for. `place` is that of the
    /// record which feeds it, where one does.
    fn feed(&mut self, number: i32, key: &SessionKey, input: Input, place: Option<InputLocation>, turn: &TurnContext) {
        let Self { settings, epoch, partitions, pending, set_aside, .. } = self;
        let Some(partition) = partitions.get_mut(&number) else { return };
        let context = StepContext {
            now: turn.now,
            clock: turn.clock_for(&key.source),
            progress: partition.progress,
            owner: partition.owner_for(key, &input),
            early_room: partition.early_room(settings.early_decisions_max),
            jitter: turn.jitter,
        };
        let state = partition.state(key);
        // Looked at before the step: afterwards the session may have ended, and its call would go on waiting.
        let was_calling = state.is_calling();
        let cause = &match (state, place) {
            (SessionState::Absent, Some(place)) => RecordCause::Input(place),
            (SessionState::Absent | SessionState::Open(_) | SessionState::Ended(_), place) => {
                RecordCause::Session(key.clone(), place)
            }
        };
        let step = machine::step(state, input, &settings.policy, &context);
        // What Kafka refused as too large is written without its large part, from the step on that was refused.
        let is_trimmed = set_aside.has_session(key);
        let Transition { next, effects } = if is_trimmed { step.without_operations() } else { step };
        if was_calling && matches!(next, NextState::Done(_)) {
            pending.withdrawn.insert(key.clone());
        }
        // The record is made before the partition takes the step over: it needs the entry, which then moves.
        if let Some(record) = settings.ledger_record(number, key, &next) {
            pending.touch(partition, settings);
            pending.push(record, cause);
        }
        partition.apply(key, next, &settings.policy);
        let due_by = partition.window_end(key, &settings.policy).unwrap_or(turn.now);
        if is_trimmed && effects.iter().any(|effect| matches!(effect, Effect::Outcome(_))) {
            pending.events.push(TelemetryEvent::Trimmed(key.clone()));
        }
        for effect in effects {
            match effect {
                Effect::Outcome(outcome) => {
                    pending.touch(partition, settings);
                    pending.events.push(TelemetryEvent::Ended(key.clone(), outcome.clone()));
                    pending.push(settings.records.outcome(key, &outcome), cause);
                }
                Effect::Reject(decision, reason) => {
                    pending.touch(partition, settings);
                    pending.events.push(TelemetryEvent::Rejected(reason));
                    let rejection = settings.records.rejected(key, &decision, number, reason, turn.now);
                    pending.push(rejection, cause);
                }
                Effect::Call { operation, number, key_number } => {
                    let call = ProviderCall { key: key.clone(), epoch: *epoch, number, operation, key_number, due_by };
                    pending.calls.push(call);
                }
                Effect::Note(note) => pending.events.push(TelemetryEvent::Noted(key.clone(), note)),
            }
        }
    }
}
