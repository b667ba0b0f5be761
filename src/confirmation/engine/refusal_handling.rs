//! What the engine does about records that Kafka refuses for good: the one session is set aside, or all wait.
//! Must not know what a record means.

use std::sync::Arc;

use super::refused_records::{RecordCause, RefusalAction, RefusalJudgement, RefusedRecord, Trimming};
use super::{AT_ONCE, Engine};
use crate::kafka::transaction::{Batch, RecordRefusal};

impl Engine {
    /// The records of these numbers were refused.
    pub(super) fn judge(&mut self, batch: &Batch, causes: &[RecordCause], numbers: &[(usize, RecordRefusal)]) {
        let refused = |&(number, refusal): &(usize, RecordRefusal)| {
            let record = batch.records().get(number)?;
            let cause = causes.get(number)?.clone();
            let is_quarantine = record.topic == *self.settings.records.quarantine_topic();
            let trimming = match &cause {
                RecordCause::Session(key, _) if !self.set_aside.has_session(key) => Trimming::SameRecord,
                RecordCause::Input(_) if is_quarantine => Trimming::SameRecord,
                RecordCause::Ledger | RecordCause::Input(_) | RecordCause::Session(..) => Trimming::NoRecord,
            };
            Some(RefusedRecord { refusal, topic: Arc::clone(&record.topic), bytes: record.bytes(), cause, trimming })
        };
        let refused: Vec<RefusedRecord> = numbers.iter().filter_map(refused).collect();
        let RefusalJudgement { action, is_new } = Arc::make_mut(&mut self.set_aside).judge(&refused, &self.taking);
        if is_new {
            self.taking.clear();
        }
        self.at_once = 1;
        let first = refused.first();
        let (topic, bytes) = first.map_or(("", 0), |refused| (&*refused.topic, refused.bytes));
        let cause = first.map(|refused| &refused.cause);
        match action {
            RefusalAction::Divide => {
                tracing::warn!(
                    topic,
                    records = refused.len(),
                    "Kafka refuses records; they are written one by one to find which"
                );
            }
            RefusalAction::SetAside => {
                tracing::error!(
                    topic,
                    bytes,
                    ?cause,
                    "Kafka refuses a record permanently; its session is set aside, and the other sessions continue"
                );
            }
            RefusalAction::Wait => {
                tracing::error!(
                    topic,
                    bytes,
                    ?cause,
                    "Kafka refuses a record; it is written again. If that goes on, the topic's settings are wrong: compare them \
                     with `paybridge topics`"
                );
            }
        }
    }

    /// After a transaction: more may be in the next one.
    pub(super) fn note_taken(&mut self, batch: &Batch, causes: &[RecordCause]) {
        for record in batch.records() {
            if !self.taking.contains(&record.topic) {
                self.taking.insert(Arc::clone(&record.topic));
            }
        }
        // The ledger's owner alone proves nothing of what was refused.
        if causes.is_empty() || causes.iter().any(|cause| *cause != RecordCause::Ledger) {
            self.at_once = self.at_once.saturating_mul(2).min(AT_ONCE);
            self.failures = 0;
        }
    }
}
