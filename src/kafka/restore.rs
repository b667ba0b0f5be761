//! Reads what a ledger's partitions hold, after everything that an earlier owner may still commit is decided.
//! Must not know what a ledger's record means. Blocks for seconds: for a thread of its own.

mod offsets;

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;

use super::client_error::ClientError;
use offsets::{OffsetClients, Offsets};

/// The usual patience: longer than Kafka needs to abort a dead owner's transaction, which is up to 20 s after it began.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// How long a step blocks before it is looked whether the restore is still wanted.
const SLICE: Duration = Duration::from_secs(1);
/// Between two questions about what is not yet so.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Takes a record of the ledger: its partition, key and value. No value: a tombstone.
pub type OnLedgerRecord<'a> = dyn FnMut(i32, &[u8], Option<&[u8]>) + 'a;

/// What is to be restored.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The group whose offsets count; it is not joined.
    pub group_id: &'a str,
    /// The input topics.
    pub inputs: &'a [String],
    /// The ledger's topic.
    pub ledger: &'a str,
    /// The partitions, the same of each topic. They belong to this process since before the restore began.
    pub partitions: &'a [i32],
    /// How long each step may take without getting on; usually [`PATIENCE`].
    pub patience: Duration,
}

/// A partition whose ledger is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The partition.
    pub partition: i32,
    /// Where reading each input goes on, in the inputs' order.
    pub next: Vec<i64>,
    /// Whether the group has committed an offset of one of its inputs.
    pub was_read: bool,
    /// Where each input ended when this was restored, in the inputs' order; open transactions and markers included.
    pub ends: Vec<i64>,
}

/// What a restore waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreStep {
    /// The group's offsets, once no transaction that has some is open.
    CommittedOffsets,
    /// Where the ledger's partitions end.
    LedgerEnds,
    /// The end of every transaction in the ledger that was open when its end was looked at.
    OpenTransactions,
    /// The ledger's records.
    LedgerRecords,
    /// Where the inputs begin and end.
    InputEnds,
}

impl RestoreStep {
    /// What is likely wrong where it takes too long.
    fn hint(self) -> &'static str {
        match self {
            Self::CommittedOffsets | Self::OpenTransactions => {
                "; maybe a transaction hangs: look for it with `kafka-transactions.sh find-hanging --max-transaction-timeout 1`"
            }
            Self::LedgerEnds | Self::LedgerRecords | Self::InputEnds => "",
        }
    }
}

impl fmt::Display for RestoreStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommittedOffsets => "the group's committed offsets",
            Self::LedgerEnds => "the ends of the ledger's partitions",
            Self::OpenTransactions => "the end of transactions that are open in the ledger",
            Self::LedgerRecords => "the ledger's records",
            Self::InputEnds => "the beginnings and ends of the inputs' partitions",
        })
    }
}

/// Why nothing is restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Nobody wants it any more.
    #[error("the restore was cancelled, because its partitions were revoked")]
    Cancelled,
    /// librdkafka makes no client of the properties.
    #[error("the client that restores the ledger cannot be created: {0}")]
    Create(ClientError),
    /// A step does not get on.
    #[error("the restore waited {} s for {step}: {reason}{}", .patience.as_secs(), .step.hint())]
    Stuck {
        /// How long.
        patience: Duration,
        /// What it waits for.
        step: RestoreStep,
        /// What Kafka or the client said last.
        reason: String,
    },
    /// The client does not take the ledger's partitions.
    #[error("the client cannot read the ledger")]
    Assign(#[source] KafkaError),
    /// The client cannot read on.
    #[error("the client failed while it read the ledger")]
    Read(#[source] KafkaError),
}

/// Gives every committed record of the ledger's partitions to `each`, in each partition's order, and says where to go on.
/// The order of the steps is what makes it see every commit of an earlier owner:
///
/// 1. The group's offsets, stable: who had sent offsets before it lost the partitions may still commit, so this waits for it.
///    Who had not can commit no more.
/// 2. The ledger's end, with all that is open; what may still be committed lies before it.
/// 3. Until nothing before that end is open. A commit is answered before its markers are written, so step 1 does not do.
/// 4. The ledger from its start to an end that was seen after that.
///
/// `cancelled` is looked at again and again, and ends it.
///
/// # Errors
/// It was cancelled, or a step does not get on within the patience.
pub fn restore(
    client: &ClientConfig,
    wanted: &Wanted<'_>,
    cancelled: &dyn Fn() -> bool,
    each: &mut OnLedgerRecord<'_>,
) -> Result<Vec<Restored>, RestoreError> {
    // Kafka takes no question about nothing.
    if wanted.partitions.is_empty() {
        return Ok(Vec::new());
    }
    let restore = Restore { clients: OffsetClients::open(client, wanted.group_id)?, wanted, cancelled };
    let committed =
        restore.until(RestoreStep::CommittedOffsets, |clients| clients.committed(&restore.of_inputs(), SLICE))?;
    let end = restore.until(RestoreStep::LedgerEnds, |clients| clients.ends(&restore.of_ledger(), SLICE))?;
    restore.until(RestoreStep::OpenTransactions, |clients| clients.are_stable(&end, SLICE))?;
    restore.read(each)?;
    let starts = restore.until(RestoreStep::InputEnds, |clients| clients.starts(&restore.of_inputs(), SLICE))?;
    let ends = restore.until(RestoreStep::InputEnds, |clients| clients.ends(&restore.of_inputs(), SLICE))?;
    Ok(wanted.partitions.iter().map(|partition| restore.restored(*partition, &committed, &starts, &ends)).collect())
}

struct Restore<'a> {
    clients: OffsetClients,
    wanted: &'a Wanted<'a>,
    cancelled: &'a dyn Fn() -> bool,
}

impl Restore<'_> {
    /// Asks again until there is something to see.
    fn until<T>(
        &self,
        step: RestoreStep,
        look: impl Fn(&OffsetClients) -> Result<T, String>,
    ) -> Result<T, RestoreError> {
        let latest = Instant::now() + self.wanted.patience;
        loop {
            match look(&self.clients) {
                Ok(seen) => return Ok(seen),
                Err(_) if (self.cancelled)() => return Err(RestoreError::Cancelled),
                Err(reason) if Instant::now() >= latest => return Err(self.stuck(step, reason)),
                Err(_) => std::thread::sleep(LOOK_AGAIN_AFTER),
            }
        }
    }

    /// Reads every partition from its start to its first end. The partitions are assigned here and not before: an end that
    /// is seen while a transaction is open is that transaction's beginning.
    fn read(&self, each: &mut OnLedgerRecord<'_>) -> Result<(), RestoreError> {
        let consumer = self.clients.committed_reader();
        let list = list(&self.of_ledger(), Offset::Beginning).map_err(RestoreError::Assign)?;
        consumer.assign(&list).map_err(RestoreError::Assign)?;
        let mut unread: BTreeSet<i32> = self.wanted.partitions.iter().copied().collect();
        let mut latest = Instant::now() + self.wanted.patience;
        while !unread.is_empty() {
            if (self.cancelled)() {
                return Err(RestoreError::Cancelled);
            }
            let polled = consumer.poll(SLICE);
            match polled {
                Some(Ok(record)) if unread.contains(&record.partition()) => give(&record, each),
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(unread.remove(&partition)),
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(RestoreError::Read(error)),
                // Records after the end, and errors that may pass.
                Some(_) | None => {
                    if Instant::now() >= latest {
                        let reason = self.clients.explain(&format!("the end of partitions {unread:?} is not reached"));
                        return Err(self.stuck(RestoreStep::LedgerRecords, reason));
                    }
                    continue;
                }
            }
            latest = Instant::now() + self.wanted.patience;
        }
        consumer.unassign().map_err(RestoreError::Assign)
    }

    fn stuck(&self, step: RestoreStep, reason: String) -> RestoreError {
        RestoreError::Stuck { patience: self.wanted.patience, step, reason }
    }

    /// Where to go on: at the committed offset, or at the start where there is none, or where the partition has no such
    /// place any more, because records were removed or the topic was made anew.
    fn restored(&self, partition: i32, committed: &Offsets, starts: &Offsets, ends: &Offsets) -> Restored {
        let at = |offsets: &Offsets, input: &str| offsets.get(&(input.to_owned(), partition)).copied();
        let next = |input: &String| {
            let (start, end) = (at(starts, input).unwrap_or(0), at(ends, input).unwrap_or(i64::MAX));
            at(committed, input).filter(|next| (start..=end).contains(next)).unwrap_or(start)
        };
        let end = |input: &String| at(ends, input).unwrap_or(0);
        let has_committed = |input: &String| at(committed, input).is_some();
        Restored {
            partition,
            was_read: self.wanted.inputs.iter().any(has_committed),
            next: self.wanted.inputs.iter().map(next).collect(),
            ends: self.wanted.inputs.iter().map(end).collect(),
        }
    }

    fn of_inputs(&self) -> Vec<(String, i32)> {
        self.wanted.inputs.iter().flat_map(|input| self.partitions_of(input)).collect()
    }

    fn of_ledger(&self) -> Vec<(String, i32)> {
        self.partitions_of(self.wanted.ledger).collect()
    }

    fn partitions_of(&self, topic: &str) -> impl Iterator<Item = (String, i32)> {
        self.wanted.partitions.iter().map(move |partition| (topic.to_owned(), *partition))
    }
}

fn give(record: &BorrowedMessage<'_>, each: &mut OnLedgerRecord<'_>) {
    each(record.partition(), record.key().unwrap_or_default(), record.payload());
}

fn list(partitions: &[(String, i32)], offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}
