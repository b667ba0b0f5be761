//! What the work on every assignment has in common, and what the next transaction will write of it.
//! Pure: must not know what an input does to a session.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::partition::{INPUTS, Partition};
use super::set_aside::Cause;
use super::telemetry::Count;
use crate::confirmation::calls::Call;
use crate::confirmation::codec::evidence::Verifiers;
use crate::confirmation::codec::inputs::Mode;
use crate::confirmation::codec::ledger::ForeignLedger;
use crate::confirmation::codec::ledger::{self, LedgerOwner};
use crate::confirmation::codec::records::{RecordLocation, Records};
use crate::confirmation::rules::Rules;
use crate::confirmation::session::clock::ClockState;
use crate::confirmation::session::machine::{NextState, Policy};
use crate::confirmation::session::model::SessionKey;
use crate::kafka::broker_clock::Broker;
use crate::kafka::group::InputRecord;
use crate::kafka::transaction::{self, Outgoing};

/// What every assignment of this process has in common; until Kafka has told how many partitions there are, with [`Untold`].
pub struct Desk<Partitions = i32> {
    /// The times of sessions.
    pub policy: Policy,
    /// What decides at once.
    pub rules: Rules,
    /// Whether the provider is called.
    pub mode: Mode,
    /// Every configured source whose sessions wait for a word.
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
    /// How many partitions each of them and the ledger has.
    pub partitions: Partitions,
    /// Makes records.
    pub records: Records,
}

/// Kafka has not told it yet.
pub struct Untold;

/// The circumstances of the steps of one turn.
#[derive(Clone, Debug)]
pub struct Present {
    /// The wall clock.
    pub now: Timestamp,
    /// Whether it can be believed.
    pub clock: ClockState,
    /// The sources for whose sessions it cannot, because their provider's clock disagrees.
    pub disagreeing: Vec<Arc<str>>,
    /// Spreads retries.
    pub jitter: u8,
}

impl Present {
    /// Whether the clock can be believed for the sessions of a source.
    pub(super) fn clock_for(&self, source: &str) -> ClockState {
        let disagrees = self.disagreeing.iter().any(|disagreeing| **disagreeing == *source);
        if disagrees { ClockState::Untrusted } else { self.clock }
    }
}

/// What the next transaction writes, and what follows its commit.
#[derive(Default)]
pub struct Pending {
    /// The records, in order.
    pub records: Vec<Outgoing>,
    /// What each of them is written for.
    pub causes: Vec<Cause>,
    /// The partitions whose inputs were read, or whose ledger is written.
    pub touched: BTreeSet<i32>,
    /// Sessions that ended while a call about them waited or was on its way: it is not to be sent any more.
    pub withdrawn: BTreeSet<SessionKey>,
    /// The calls to make afterwards.
    pub calls: Vec<Call>,
    /// What to count afterwards.
    pub counts: Vec<Count>,
}

impl Pending {
    /// One more record, written for `cause`.
    pub(super) fn push(&mut self, record: impl Into<Outgoing>, cause: &Cause) {
        self.records.push(record.into());
        self.causes.push(cause.clone());
    }

    /// The next transaction carries offsets of this partition. The first one of all names the ledger's owner, so that a
    /// ledger that is lost is not taken for one that was never begun.
    pub(super) fn touch(&mut self, partition: &mut Partition, desk: &Desk) {
        if partition.has_owner {
            self.touched.insert(partition.number);
        } else {
            self.own(partition, desk);
        }
    }

    /// The next transaction names the ledger's owner.
    pub(super) fn own(&mut self, partition: &mut Partition, desk: &Desk) {
        partition.has_owner = true;
        self.push(Outgoing::owned(desk.records.owner(&desk.owner()), partition.number), &Cause::Ledger);
        self.touched.insert(partition.number);
    }
}

impl Desk<Untold> {
    /// The same with the number of partitions that Kafka tells.
    pub fn told(self, partitions: i32) -> Desk {
        let Self {
            policy,
            rules,
            mode,
            sources,
            verifiers,
            early_decisions_max,
            broker,
            group_id,
            former_group_id,
            inputs,
            partitions: Untold,
            records,
        } = self;
        Desk {
            policy,
            rules,
            mode,
            sources,
            verifiers,
            early_decisions_max,
            broker,
            group_id,
            former_group_id,
            inputs,
            partitions,
            records,
        }
    }
}

impl Desk {
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
    pub fn goes_on_with(&self, partition: i32, found: LedgerOwner) -> Result<(), ForeignLedger> {
        ForeignLedger::check(partition, found, self.owner(), self.former_group_id)
    }

    /// The ledger's record of what a step made of a session; none where nothing is to be written.
    pub(super) fn written(&self, partition: i32, key: &SessionKey, next: &NextState) -> Option<Outgoing> {
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

    pub(super) fn place(&self, record: &InputRecord) -> RecordLocation<'_> {
        let topic = self.inputs.get(record.input).map_or("", AsRef::as_ref);
        RecordLocation { topic, partition: record.partition, offset: record.offset }
    }
}
