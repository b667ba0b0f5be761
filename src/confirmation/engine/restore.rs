//! Reads the partitions of an assignment back from the ledger, on a thread of its own while the engine goes on polling.
//! Must not decide anything: what cannot be read in full stops its partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use rdkafka::ClientConfig;

use super::partition::{INPUTS, Partition};
use super::settings::Desk;
use crate::confirmation::codec::ledger::{self, ForeignLedger, LedgerError, LedgerRecord};
use crate::confirmation::session::model::SessionKey;
use crate::kafka::restore::{self, PATIENCE, RestoreError, Restored, Wanted};
use crate::metrics::Stop;

/// A restore on its way; dropping it ends it.
pub struct Restoring {
    cancelled: Arc<AtomicBool>,
    read: Receiver<Result<Read, NotRestored>>,
}

/// What was read.
pub struct Read {
    /// The partitions that can be worked on.
    pub partitions: Vec<Partition>,
    /// Those that cannot, and why.
    pub stopped: Vec<(i32, Unreadable)>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum NotRestored {
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
pub enum Unreadable {
    /// An entry that this version does not know in full.
    #[error("an entry of the ledger cannot be understood, maybe because a later version wrote it")]
    Entry(#[from] LedgerError),
    /// There are entries and none says whose.
    #[error("the ledger has entries and does not say whose they are: was its topic not compacted alone?")]
    NoOwner,
    /// The inputs were read and the ledger is empty: a topic that was made anew.
    #[error(
        "its inputs were read and its ledger is gone, so nobody knows what was decided: bring the ledger's topic back, or give \
         the engine new topics with a kafka.topic_prefix of its own"
    )]
    Lost,
    /// A tombstone of no session.
    #[error("a tombstone of the ledger is of no session")]
    Tombstone,
    /// An input too few.
    #[error("where the inputs go on is not known")]
    Inputs,
}

impl Unreadable {
    /// What is to be done about it: another version helps, or nobody knows any more what was decided.
    pub fn stop(&self) -> Stop {
        match self {
            Self::Entry(_) | Self::Tombstone | Self::Inputs => Stop::Unreadable,
            Self::NoOwner | Self::Lost => Stop::Lost,
        }
    }
}

impl Restoring {
    /// Begins to read `partitions`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn begin(desk: Arc<Desk>, client: ClientConfig, partitions: Vec<i32>) -> std::io::Result<Self> {
        let (sender, read) = mpsc::channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let is_cancelled = Arc::clone(&cancelled);
        thread::Builder::new().name("ledger restore".to_owned()).spawn(move || {
            let restored = restore(&desk, &client, &partitions, &|| is_cancelled.load(Ordering::SeqCst));
            // Whoever dropped the other end does not want it any more.
            let _unwanted = sender.send(restored);
        })?;
        Ok(Self { cancelled, read })
    }

    /// What was read, once it is.
    pub fn poll(&self) -> Option<Result<Read, NotRestored>> {
        match self.read.try_recv() {
            Ok(restored) => Some(restored),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(NotRestored::Died)),
        }
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }
}

fn restore(
    desk: &Desk,
    client: &ClientConfig,
    numbers: &[i32],
    cancelled: &dyn Fn() -> bool,
) -> Result<Read, NotRestored> {
    let inputs = desk.inputs.each_ref().map(ToString::to_string);
    let wanted = Wanted {
        group_id: &desk.group_id,
        inputs: &inputs,
        ledger: desk.records.ledger_topic(),
        partitions: numbers,
        patience: PATIENCE,
    };
    let mut shelf = Shelf::new(desk, numbers);
    let restored = restore::restore(client, &wanted, cancelled, &mut |partition, key, value| {
        shelf.take(partition, key, value);
    })?;
    shelf.finish(restored)
}

/// The partitions while they are read.
struct Shelf<'a> {
    desk: &'a Desk,
    partitions: BTreeMap<i32, Result<Partition, Unreadable>>,
    other_owner: Option<ForeignLedger>,
}

impl<'a> Shelf<'a> {
    fn new(desk: &'a Desk, numbers: &[i32]) -> Self {
        let partitions = numbers.iter().map(|number| (*number, Ok(Partition::new(*number)))).collect();
        Self { desk, partitions, other_owner: None }
    }

    fn take(&mut self, number: i32, key: &[u8], value: Option<&[u8]>) {
        let Some(slot) = self.partitions.get_mut(&number) else { return };
        let Ok(partition) = slot else { return };
        let taken = match value {
            None => tombstone(self.desk, partition, key),
            Some(value) => match ledger::decode(key, value) {
                Ok(LedgerRecord::Owner(found)) => {
                    partition.has_owner = true;
                    if let Err(other) = self.desk.goes_on_with(number, found) {
                        self.other_owner.get_or_insert(other);
                    }
                    Ok(())
                }
                Ok(kept) => {
                    entry(self.desk, partition, kept);
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
        };
        if let Err(unreadable) = taken {
            *slot = Err(unreadable);
        }
    }

    fn finish(self, restored: Vec<Restored>) -> Result<Read, NotRestored> {
        if let Some(other) = self.other_owner {
            return Err(other.into());
        }
        let mut places: BTreeMap<i32, Restored> = restored.into_iter().map(|place| (place.partition, place)).collect();
        let mut read = Read { partitions: Vec::new(), stopped: Vec::new() };
        for (number, partition) in self.partitions {
            match partition.and_then(|partition| in_place(partition, places.remove(&number))) {
                Ok(partition) => read.partitions.push(partition),
                Err(unreadable) => read.stopped.push((number, unreadable)),
            }
        }
        Ok(read)
    }
}

fn entry(desk: &Desk, partition: &mut Partition, kept: LedgerRecord) {
    match kept {
        LedgerRecord::Owner(_) => partition.has_owner = true,
        LedgerRecord::Entry(key, entry) => partition.take_over(key, entry, &desk.policy),
        LedgerRecord::Done(key, done) => partition.end(&key, &done, &desk.policy),
    }
}

fn tombstone(desk: &Desk, partition: &mut Partition, key: &[u8]) -> Result<(), Unreadable> {
    let key = SessionKey::parse(key).ok_or(Unreadable::Tombstone)?;
    partition.forget(&key, &desk.policy);
    Ok(())
}

fn in_place(partition: Partition, place: Option<Restored>) -> Result<Partition, Unreadable> {
    let Restored { next, ends, was_read, .. } = place.ok_or(Unreadable::Inputs)?;
    if !partition.has_owner && !partition.is_empty() {
        return Err(Unreadable::NoOwner);
    }
    if !partition.has_owner && was_read {
        return Err(Unreadable::Lost);
    }
    let offsets = |list: Vec<i64>| <[i64; INPUTS]>::try_from(list).map_err(|_| Unreadable::Inputs);
    let mut partition = partition;
    partition.next = offsets(next)?;
    partition.ends = offsets(ends)?;
    Ok(partition)
}
