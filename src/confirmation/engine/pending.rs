//! What the next transaction writes, and what follows its commit.
//! Pure: must not know why it is written, nor how.

use std::collections::BTreeSet;

use super::engine_settings::PartitionedSettings;
use super::partition::SessionPartition;
use super::refused_records::RecordCause;
use super::telemetry::TelemetryEvent;
use crate::confirmation::calls::ProviderCall;
use crate::confirmation::session::model::SessionKey;
use crate::kafka::transaction::Outgoing;

/// All of one transaction.
#[derive(Default)]
pub struct PendingTransaction {
    /// The records, in order.
    pub records: Vec<Outgoing>,
    /// What each of them is written for.
    pub causes: Vec<RecordCause>,
    /// The partitions whose inputs were read, or whose ledger is written.
    pub touched: BTreeSet<i32>,
    /// Sessions that ended while a call about them waited or was on its way: it is not to be sent any more.
    pub withdrawn: BTreeSet<SessionKey>,
    /// The calls to make afterwards.
    pub calls: Vec<ProviderCall>,
    /// What to count and log afterwards.
    pub events: Vec<TelemetryEvent>,
}

impl PendingTransaction {
    /// One more record, written for `cause`.
    pub(super) fn push(&mut self, record: impl Into<Outgoing>, cause: &RecordCause) {
        self.records.push(record.into());
        self.causes.push(cause.clone());
    }

    /// The next transaction carries offsets of this partition. The first one of all names the ledger's owner, so that a
    /// ledger that is lost is not taken for one that was never begun.
    pub(super) fn touch(&mut self, partition: &mut SessionPartition, settings: &PartitionedSettings) {
        if partition.has_owner {
            self.touched.insert(partition.number);
        } else {
            self.write_owner(partition, settings);
        }
    }

    /// The next transaction names the ledger's owner.
    pub(super) fn write_owner(&mut self, partition: &mut SessionPartition, settings: &PartitionedSettings) {
        partition.has_owner = true;
        let owner = settings.records.owner(&settings.owner());
        self.push(Outgoing::owned(owner, partition.number), &RecordCause::Ledger);
        self.touched.insert(partition.number);
    }
}
