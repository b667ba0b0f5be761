//! What the engine does about records that Kafka refuses for good: the one session is set aside, or all wait.
//! Must not know what a record means.

use std::sync::Arc;

use super::set_aside::{Cause, Judgement, Refused, Trimming, Verdict};
use super::{AT_ONCE, Engine};
use crate::kafka::transaction::{Batch, RecordRefusal};

impl Engine {
    /// The records of these numbers were refused.
    pub(super) fn judge(&mut self, batch: &Batch, causes: &[Cause], numbers: &[(usize, RecordRefusal)]) {
        let refused = |&(number, refusal): &(usize, RecordRefusal)| {
            let record = batch.records().get(number)?;
            let cause = causes.get(number)?.clone();
            let is_quarantine = record.topic == *self.desk.records.quarantine_topic();
            let trimming = match &cause {
                Cause::Session(key, _) if !self.set_aside.has_session(key) => Trimming::SameRecord,
                Cause::Input(_) if is_quarantine => Trimming::SameRecord,
                Cause::Ledger | Cause::Input(_) | Cause::Session(..) => Trimming::NoRecord,
            };
            Some(Refused { refusal, topic: Arc::clone(&record.topic), bytes: record.bytes(), cause, trimming })
        };
        let refused: Vec<Refused> = numbers.iter().filter_map(refused).collect();
        let Judgement { verdict, is_new } = Arc::make_mut(&mut self.set_aside).judge(&refused, &self.taking);
        if is_new {
            self.taking.clear();
        }
        self.at_once = 1;
        let first = refused.first();
        let (topic, bytes) = first.map_or(("", 0), |refused| (&*refused.topic, refused.bytes));
        let cause = first.map(|refused| &refused.cause);
        match verdict {
            Verdict::Divide => {
                tracing::warn!(
                    topic,
                    records = refused.len(),
                    "Kafka refuses records; they are written one by one to find which"
                );
            }
            Verdict::SetAside => {
                tracing::error!(
                    topic,
                    bytes,
                    ?cause,
                    "Kafka refuses a record for good; what it is for is set aside, and the other sessions go on"
                );
            }
            Verdict::Wait => {
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
    pub(super) fn note_taken(&mut self, batch: &Batch, causes: &[Cause]) {
        for record in batch.records() {
            if !self.taking.contains(&record.topic) {
                self.taking.insert(Arc::clone(&record.topic));
            }
        }
        // The ledger's owner alone proves nothing of what was refused.
        if causes.is_empty() || causes.iter().any(|cause| *cause != Cause::Ledger) {
            self.at_once = self.at_once.saturating_mul(2).min(AT_ONCE);
            self.failures = 0;
        }
    }
}
