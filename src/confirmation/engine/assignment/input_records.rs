//! What each input's records do: a session that waits, one that finished, a decision; and what is no such record.
//! Pure: must not know what a step makes of a session.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Assignment, TurnContext};
use crate::confirmation::codec::decision;
use crate::confirmation::codec::inputs::{
    self, EventProof, FinishedEvent, ReadyEvent, RecordProblem, UndecodableRecord,
};
use crate::confirmation::codec::records::was_passed_on;
use crate::confirmation::engine::refused_records::{InputLocation, RecordCause};
use crate::confirmation::engine::telemetry::TelemetryEvent;
use crate::confirmation::rules::{HoldReason, RuleVerdict};
use crate::confirmation::session::machine::{Input, SessionOwner, SessionState, StatusDetails};
use crate::confirmation::session::model::{Action, Decider, Mode, Opening, RuleBasis, SessionEntry, SessionKey};
use crate::kafka::group::InputRecord;
use crate::message::confirmation::v1::RejectionReason;
use crate::message::event::v1::QuarantineReason;
use crate::message::smart_glocal::v1::Session;
use crate::provider::smart_glocal::api::ShownSession;

/// What the rules say of a session.
struct Judgement {
    /// What is done; nothing where they hold.
    verdict: Option<(Action, Decider)>,
    /// The rule that failed, and therefore holds; empty: none.
    failed_rule: String,
}

impl Assignment {
    pub(super) fn ready(&mut self, record: &InputRecord, turn: &TurnContext) {
        let value = record.value.as_deref().unwrap_or_default();
        let read = inputs::ready(value, recorded_at(record, turn), &self.settings.verifiers)
            .and_then(|ready| self.in_place(ready, record))
            .and_then(|ready| self.of_its_source(ready, record.partition));
        match read {
            Ok(ready) => {
                let (basis, failed_rule) = self.judge_event(record.partition, &ready);
                let (opening, age) = ready.opening(self.settings.mode);
                let opening = Opening { failed_rule, ..opening };
                let input = Input::Ready { opening, basis, age };
                self.feed(record.partition, &ready.key, input, Some(location_of(record)), turn);
            }
            Err(why) => self.quarantine(record, &why, turn.now),
        }
    }

    /// What the rules go by, and say, of a session that may open: of one that cannot there is nothing to count. With it the
    /// rule that failed; empty: none.
    fn judge_event(&mut self, partition: i32, ready: &ReadyEvent) -> (RuleBasis, String) {
        let may_open =
            self.partitions.get(&partition).is_some_and(|partition| partition.state(&ready.key).takes_rules());
        let is_known = self.settings.sources.contains(&ready.key.source);
        match (ready.proof, self.settings.mode) {
            _ if !may_open => (RuleBasis::Webhook(None), String::new()),
            (_, Mode::DryRun) if !is_known => {
                self.pending.events.push(TelemetryEvent::UnknownSource(ready.key.clone()));
                (RuleBasis::Webhook(None), String::new())
            }
            // Nobody can ask until the source is configured: it waits, and its decisions with it.
            (EventProof::Unverifiable, Mode::Live) => {
                if !is_known {
                    self.pending.events.push(TelemetryEvent::UnknownSource(ready.key.clone()));
                }
                (RuleBasis::Status, String::new())
            }
            // In a dry run there is nobody to ask, and nobody is called.
            (EventProof::Verified, _) | (EventProof::Unverifiable, Mode::DryRun) => {
                let Judgement { verdict, failed_rule } = self.judge(&ready.key, &ready.session, &ready.unread_fields);
                (RuleBasis::Webhook(verdict), failed_rule)
            }
        }
    }

    fn judge(&mut self, key: &SessionKey, session: &Session, unread_fields: &[String]) -> Judgement {
        match self.settings.rules.judge(&key.source, session, unread_fields) {
            RuleVerdict::Act(action, decider) => {
                Judgement { verdict: Some((action, decider)), failed_rule: String::new() }
            }
            RuleVerdict::Hold(held) => {
                let failed_rule = match &held {
                    HoldReason::Failed { rule, .. } => rule.clone(),
                    HoldReason::Rule(_)
                    | HoldReason::NoRule
                    | HoldReason::NotEvaluated
                    | HoldReason::UnreadField(_) => String::new(),
                };
                let deadline = inputs::began_at(session).map(|began_at| self.settings.policy.deadline_of(began_at));
                self.pending.events.push(TelemetryEvent::Held(key.clone(), held, deadline));
                Judgement { verdict: None, failed_rule }
            }
        }
    }

    /// What an answer shows of a session whose event could not be verified.
    pub(super) fn shown(&mut self, partition: i32, key: &SessionKey, shown: &ShownSession) -> Option<StatusDetails> {
        match self.partitions.get(&partition)?.state(key) {
            SessionState::Open(open) => match &open.entry {
                SessionEntry::Checking(checking) if checking.basis == RuleBasis::Status => {}
                SessionEntry::Checking(_)
                | SessionEntry::Early(_)
                | SessionEntry::Awaiting(_)
                | SessionEntry::Decided(_) => return None,
            },
            SessionState::Absent | SessionState::Ended(_) => return None,
        }
        let ShownSession { session, unread_fields } = shown;
        let Judgement { verdict, failed_rule } = self.judge(key, session, unread_fields);
        let (began_at, operations) = (inputs::began_at(session), inputs::operations(session));
        Some(StatusDetails { began_at, operations, verdict, failed_rule })
    }

    pub(super) fn finished(&mut self, record: &InputRecord, turn: &TurnContext) {
        let value = record.value.as_deref().unwrap_or_default();
        let read = inputs::finished(value, recorded_at(record, turn), &self.settings.verifiers);
        match read.and_then(|finished| self.in_place(finished, record)) {
            Ok(FinishedEvent { key, recorded_at, view, proof }) => {
                let input = match (proof, self.settings.mode) {
                    (EventProof::Unverifiable, Mode::Live) => Input::Unverified,
                    (EventProof::Verified, _) | (EventProof::Unverifiable, Mode::DryRun) => {
                        Input::Finished { view, recorded_at }
                    }
                };
                self.feed(record.partition, &key, input, Some(location_of(record)), turn);
            }
            Err(why) => self.quarantine(record, &why, turn.now),
        }
    }

    pub(super) fn decision(&mut self, record: &InputRecord, turn: &TurnContext) {
        let value = record.value.as_deref().unwrap_or_default();
        let (key, decision) = match decision::read(value, record.offset, recorded_at(record, turn)) {
            Ok(read) => read,
            Err(malformed) => {
                let found = (self.settings.location(record), record.key.as_deref());
                let rejection = self.settings.records.malformed(value, &malformed, found, turn.now);
                self.pending.push(rejection, &RecordCause::Input(location_of(record)));
                self.pending.events.push(TelemetryEvent::Rejected(RejectionReason::Malformed));
                return;
            }
        };
        let right = inputs::partition_of(&key.session_id, self.settings.partitions);
        if right == record.partition {
            let place = Some(location_of(record));
            return self.feed(record.partition, &key, Input::Decision(decision), place, turn);
        }
        let found = self.settings.location(record);
        // Passed on once it is on a wrong partition still: its number of partitions and ours differ, and it would go round for
        // ever.
        if was_passed_on(record.headers.iter().map(|(name, _)| name.as_str())) {
            let misrouted = self.settings.records.misrouted(found, value, &key, turn.now);
            self.pending.push(misrouted, &RecordCause::Input(location_of(record)));
            self.pending.events.push(TelemetryEvent::Quarantined(QuarantineReason::MisroutedDecision));
        } else {
            let passed_on = self.settings.records.passed_on(
                found,
                record.key.clone(),
                value.to_vec(),
                record.headers.clone(),
                right,
            );
            self.pending.push(passed_on, &RecordCause::Input(location_of(record)));
            self.pending.events.push(TelemetryEvent::PassedOn);
        }
    }

    /// A session on another partition than its id's would have two ledgers.
    fn in_place<T: OfSession>(&self, read: T, record: &InputRecord) -> Result<T, UndecodableRecord> {
        let key = read.key();
        if inputs::partition_of(&key.session_id, self.settings.partitions) == record.partition {
            return Ok(read);
        }
        Err(UndecodableRecord { problem: RecordProblem::OtherPartition, source_name: Some(Arc::clone(&key.source)) })
    }

    /// A session belongs to the source that opened it first: a signature names no source, so the same webhook may come to two.
    fn of_its_source(&self, ready: ReadyEvent, partition: i32) -> Result<ReadyEvent, UndecodableRecord> {
        match self.partitions.get(&partition).map(|partition| partition.owner_of_unopened(&ready.key)) {
            Some(SessionOwner::OtherSource) => {
                Err(UndecodableRecord { problem: RecordProblem::OtherSource, source_name: Some(ready.key.source) })
            }
            Some(SessionOwner::NoOther) | None => Ok(ready),
        }
    }

    pub(super) fn quarantine(&mut self, record: &InputRecord, why: &UndecodableRecord, now: Timestamp) {
        let value = record.value.as_deref().unwrap_or_default();
        let quarantined = self.settings.records.undecodable(self.settings.location(record), value, why, now);
        self.pending.push(quarantined, &RecordCause::Input(location_of(record)));
        self.pending.events.push(TelemetryEvent::Quarantined(why.problem.reason()));
    }
}

/// When Kafka appended a record, by the broker's clock; ours where the topic does not keep that (`message.timestamp.type`).
fn recorded_at(record: &InputRecord, turn: &TurnContext) -> Timestamp {
    record.appended_at.unwrap_or(turn.now)
}

pub(super) fn location_of(record: &InputRecord) -> InputLocation {
    InputLocation { input: record.input, partition: record.partition, offset: record.offset }
}

/// What is read of a topic whose records are of one session each.
trait OfSession {
    fn key(&self) -> &SessionKey;
}

impl OfSession for ReadyEvent {
    fn key(&self) -> &SessionKey {
        &self.key
    }
}

impl OfSession for FinishedEvent {
    fn key(&self) -> &SessionKey {
        &self.key
    }
}
