//! Reads the partitions of an assignment back from the ledger, on a thread of its own while the engine goes on polling.
//! Must not decide anything: what cannot be read in full stops its partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use rdkafka::ClientConfig;

use super::engine_settings::PartitionedSettings;
use super::partition::{INPUTS, SessionPartition};
use crate::confirmation::codec::ledger::{self, ForeignLedger, LedgerError, LedgerRecord};
use crate::confirmation::session::model::SessionKey;
use crate::kafka::restore::{self, PATIENCE, RestoreError, Restored, Wanted};
use crate::metrics::Stop;

/// A restore on its way; dropping it ends it.
pub struct LedgerRestore {
    cancelled: Arc<AtomicBool>,
    read: Receiver<Result<RestoredPartitions, LedgerRestoreError>>,
}

/// What was read.
pub struct RestoredPartitions {
    /// The partitions that can be worked on.
    pub partitions: Vec<SessionPartition>,
    /// Those that cannot, and why.
    pub stopped: Vec<(i32, UnreadablePartition)>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum LedgerRestoreError {
    /// Kafka does not let it.
    #[error("the ledger cannot be read")]
    Restore(#[from] RestoreError),
    /// The ledger is somebody else's.
    #[error(transparent)]
    ForeignLedger(#[from] ForeignLedger),
    /// The thread ended without a word.
    #[error("the thread that reads the ledger died")]
    Died,
}

/// Why a partition stops.
#[derive(Debug, thiserror::Error)]
pub enum UnreadablePartition {
    /// An entry that this version does not know in full.
    #[error("the ledger has an entry that this version does not understand; perhaps a later version wrote it")]
    Entry(#[from] LedgerError),
    /// There are entries and none says whose.
    #[error("the ledger has entries, but no entry that names its owner; was its cleanup.policy not compact alone?")]
    NoOwner,
    /// The inputs were read and the ledger is empty: a topic that was made anew.
    #[error(
        "its inputs were read and its ledger is gone, so nobody knows what was decided: bring the ledger's topic back, or give \
         the engine new topics with a kafka.topic_prefix of its own"
    )]
    Lost,
    /// A tombstone of no session.
    #[error("the ledger has a tombstone whose key names no session")]
    Tombstone,
    /// An input too few.
    #[error("the positions in the inputs are not known")]
    Inputs,
}

impl UnreadablePartition {
    /// What is to be done about it: another version helps, or nobody knows any more what was decided.
    pub fn stop(&self) -> Stop {
        match self {
            Self::Entry(_) | Self::Tombstone | Self::Inputs => Stop::Unreadable,
            Self::NoOwner | Self::Lost => Stop::Lost,
        }
    }
}

impl LedgerRestore {
    /// Begins to read `partitions`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn begin(
        settings: Arc<PartitionedSettings>,
        client: ClientConfig,
        partitions: Vec<i32>,
    ) -> std::io::Result<Self> {
        let (sender, read) = mpsc::channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let is_cancelled = Arc::clone(&cancelled);
        thread::Builder::new().name("ledger restore".to_owned()).spawn(move || {
            let restored = restore(&settings, &client, &partitions, &|| is_cancelled.load(Ordering::SeqCst));
            // Whoever dropped the other end does not want it any more.
            let _unwanted = sender.send(restored);
        })?;
        Ok(Self { cancelled, read })
    }

    /// What was read, once it is.
    pub fn poll(&self) -> Option<Result<RestoredPartitions, LedgerRestoreError>> {
        match self.read.try_recv() {
            Ok(restored) => Some(restored),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(LedgerRestoreError::Died)),
        }
    }
}

impl Drop for LedgerRestore {
    fn drop(&mut self) {
        // The thread ends by itself, soon: joining it would keep the group from being polled.
        self.cancelled.store(true, Ordering::SeqCst);
    }
}

fn restore(
    settings: &PartitionedSettings,
    client: &ClientConfig,
    numbers: &[i32],
    cancelled: &dyn Fn() -> bool,
) -> Result<RestoredPartitions, LedgerRestoreError> {
    let inputs = settings.inputs.each_ref().map(ToString::to_string);
    let wanted = Wanted {
        group_id: &settings.group_id,
        inputs: &inputs,
        ledger: settings.records.ledger_topic(),
        partitions: numbers,
        patience: PATIENCE,
    };
    let mut reader = PartitionReader::new(settings, numbers);
    let restored = restore::restore(client, &wanted, cancelled, &mut |partition, key, value| {
        reader.take(partition, key, value);
    })?;
    reader.finish(restored)
}

/// The partitions while they are read.
struct PartitionReader<'a> {
    settings: &'a PartitionedSettings,
    partitions: BTreeMap<i32, Result<SessionPartition, UnreadablePartition>>,
    other_owner: Option<ForeignLedger>,
}

impl<'a> PartitionReader<'a> {
    fn new(settings: &'a PartitionedSettings, numbers: &[i32]) -> Self {
        let partitions = numbers.iter().map(|number| (*number, Ok(SessionPartition::new(*number)))).collect();
        Self { settings, partitions, other_owner: None }
    }

    fn take(&mut self, number: i32, key: &[u8], value: Option<&[u8]>) {
        let Some(slot) = self.partitions.get_mut(&number) else { return };
        // One entry that is not understood stops its whole partition: nobody knows whose session it is.
        let Ok(partition) = slot else { return };
        let taken = match value {
            None => tombstone(self.settings, partition, key),
            Some(value) => match ledger::decode(key, value) {
                Ok(LedgerRecord::Owner(found)) => {
                    partition.has_owner = true;
                    if let Err(other) = self.settings.check_owner(number, found) {
                        self.other_owner.get_or_insert(other);
                    }
                    Ok(())
                }
                Ok(kept) => {
                    entry(self.settings, partition, kept);
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
        };
        if let Err(unreadable) = taken {
            *slot = Err(unreadable);
        }
    }

    fn finish(self, restored: Vec<Restored>) -> Result<RestoredPartitions, LedgerRestoreError> {
        if let Some(other) = self.other_owner {
            return Err(other.into());
        }
        let mut places: BTreeMap<i32, Restored> = restored.into_iter().map(|place| (place.partition, place)).collect();
        let mut read = RestoredPartitions { partitions: Vec::new(), stopped: Vec::new() };
        for (number, partition) in self.partitions {
            match partition.and_then(|partition| in_place(partition, places.remove(&number))) {
                Ok(partition) => read.partitions.push(partition),
                Err(unreadable) => read.stopped.push((number, unreadable)),
            }
        }
        Ok(read)
    }
}

fn entry(settings: &PartitionedSettings, partition: &mut SessionPartition, kept: LedgerRecord) {
    match kept {
        LedgerRecord::Owner(_) => partition.has_owner = true,
        LedgerRecord::Entry(key, entry) => partition.take_over(key, entry, &settings.policy),
        LedgerRecord::Done(key, done) => partition.end(&key, &done, &settings.policy),
    }
}

fn tombstone(
    settings: &PartitionedSettings,
    partition: &mut SessionPartition,
    key: &[u8],
) -> Result<(), UnreadablePartition> {
    let key = SessionKey::parse(key).ok_or(UnreadablePartition::Tombstone)?;
    partition.forget(&key, &settings.policy);
    Ok(())
}

fn in_place(partition: SessionPartition, place: Option<Restored>) -> Result<SessionPartition, UnreadablePartition> {
    let Restored { next, ends, was_read, .. } = place.ok_or(UnreadablePartition::Inputs)?;
    if !partition.has_owner && !partition.is_empty() {
        return Err(UnreadablePartition::NoOwner);
    }
    // Offsets without a ledger: what was decided up to them is lost, and would be decided again.
    if !partition.has_owner && was_read {
        return Err(UnreadablePartition::Lost);
    }
    let offsets = |list: Vec<i64>| <[i64; INPUTS]>::try_from(list).map_err(|_| UnreadablePartition::Inputs);
    let mut partition = partition;
    partition.next = offsets(next)?;
    partition.ends = offsets(ends)?;
    Ok(partition)
}
