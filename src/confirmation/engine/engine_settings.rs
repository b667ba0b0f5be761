//! What the work on every assignment has in common: settings, rules, keys, and the names of topics.
//! Pure: must not know what an input does to a session.

use std::ops::Deref;
use std::sync::Arc;

use super::partition::INPUTS;
use crate::confirmation::codec::evidence::Verifiers;
use crate::confirmation::codec::ledger::{self, ForeignLedger, LedgerOwner};
use crate::confirmation::codec::records::{RecordLocation, Records};
use crate::confirmation::rules::Rules;
use crate::confirmation::session::machine::{NextState, Policy};
use crate::confirmation::session::model::{Mode, SessionKey};
use crate::kafka::broker_clock::Broker;
use crate::kafka::group::InputRecord;
use crate::kafka::transaction::{self, Outgoing};

/// What is known before Kafka is asked.
pub struct EngineSettings {
    /// The times of sessions.
    pub policy: Policy,
    /// What decides at once.
    pub rules: Rules,
    /// Whether the provider is called.
    pub mode: Mode,
    /// Every configured source whose sessions wait for confirmation.
    pub sources: Vec<Arc<str>>,
    /// Verifies the events of those sources.
    pub verifiers: Verifiers,
    /// How many decisions of a partition may wait for sessions that are not opened.
    pub early_decisions_max: usize,
    /// Where the broker's time comes from.
    pub broker: Broker,
    /// The consumer group, which keeps the ledger.
    pub group_id: String,
    /// What the group may have been called before, where the configuration does not name it: its ledger is still ours.
    pub former_group_id: Option<&'static str>,
    /// The input topics' names, in the group's order.
    pub inputs: [Arc<str>; INPUTS],
    /// Makes records.
    pub records: Records,
}

/// The settings, and what Kafka told: nothing can be assigned before that is known.
pub struct PartitionedSettings {
    settings: EngineSettings,
    /// How many partitions each input and the ledger has.
    pub partitions: i32,
}

impl EngineSettings {
    /// The same with the number of partitions that Kafka tells.
    pub fn with_partitions(self, partitions: i32) -> PartitionedSettings {
        PartitionedSettings { settings: self, partitions }
    }
}

impl Deref for PartitionedSettings {
    type Target = EngineSettings;

    fn deref(&self) -> &EngineSettings {
        &self.settings
    }
}

impl PartitionedSettings {
    /// Who keeps the ledger.
    pub fn owner(&self) -> LedgerOwner {
        LedgerOwner {
            group_id: self.group_id.clone(),
            partitions: u32::try_from(self.partitions).unwrap_or_default(),
            dry_run: self.mode == Mode::DryRun,
        }
    }

    /// Whether the ledger of a partition is this engine's, by the owner that it names.
    ///
    /// # Errors
    /// It is somebody else's.
    pub fn check_owner(&self, partition: i32, found: LedgerOwner) -> Result<(), ForeignLedger> {
        ForeignLedger::check(partition, found, self.owner(), self.former_group_id)
    }

    /// The ledger's record of what a step made of a session; none where nothing is to be written.
    pub(super) fn ledger_record(&self, partition: i32, key: &SessionKey, next: &NextState) -> Option<Outgoing> {
        match next {
            NextState::Same | NextState::Activity(_) => None,
            NextState::Entry(open) => Some(Outgoing::owned(self.records.entry(key, &open.entry), partition)),
            NextState::Done(done) => Some(Outgoing::owned(self.records.done(key, done), partition)),
            NextState::Forgotten => Some(self.tombstone(partition, key)),
        }
    }

    pub(super) fn tombstone(&self, partition: i32, key: &SessionKey) -> Outgoing {
        Outgoing {
            topic: Arc::clone(self.records.ledger_topic()),
            destination: transaction::Destination::Owned(partition),
            key: ledger::key(key).into_bytes(),
            value: None,
            headers: Vec::new(),
        }
    }

    pub(super) fn location(&self, record: &InputRecord) -> RecordLocation<'_> {
        let topic = self.inputs.get(record.input).map_or("", AsRef::as_ref);
        RecordLocation { topic, partition: record.partition, offset: record.offset }
    }
}
