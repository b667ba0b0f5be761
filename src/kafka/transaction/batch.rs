//! What one transaction writes, checked before anything is sent: no ledger's partition without an input's offset beside it.
//! Must not know how it is sent, nor what a record means.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::topic_partition_list::Offset;

use super::super::record::{ForeignRecord, Record};

/// A record to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The topic's full name.
    pub topic: Arc<str>,
    /// Which of its partitions.
    pub destination: Destination,
    /// The key.
    pub key: Vec<u8>,
    /// The value; none: a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<(Cow<'static, str>, Option<Vec<u8>>)>,
}

/// Where in its topic a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Where its key says.
    ByKey,
    /// Into this partition, which everybody may write to.
    Shared(i32),
    /// Into the partition that belongs to the input partition of the same number, and so to its owner alone: the transaction
    /// has to carry an offset of it.
    Owned(i32),
}

/// By its key.
impl From<Record> for Outgoing {
    fn from(record: Record) -> Self {
        let headers = record.headers.into_iter();
        Self {
            topic: record.topic,
            destination: Destination::ByKey,
            key: record.key.into_bytes(),
            value: Some(record.value),
            headers: headers.map(|(name, value)| (name, Some(value.into()))).collect(),
        }
    }
}

/// Into its own partition.
impl From<ForeignRecord> for Outgoing {
    fn from(record: ForeignRecord) -> Self {
        Self {
            topic: record.topic,
            destination: Destination::Shared(record.partition),
            key: record.key.unwrap_or_default(),
            value: Some(record.value),
            headers: record.headers.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect(),
        }
    }
}

/// What a header takes beside its name and value, at most.
const HEADER_OVERHEAD_BYTES: usize = 16;

impl Outgoing {
    /// About as many bytes as it takes: of key, value and headers.
    pub fn bytes(&self) -> usize {
        let header = |(name, value): &(Cow<'static, str>, Option<Vec<u8>>)| {
            name.len() + value.as_ref().map_or(0, Vec::len) + HEADER_OVERHEAD_BYTES
        };
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + self.headers.iter().map(header).sum::<usize>()
    }

    /// A record of a partition that belongs to its owner alone.
    pub fn owned(record: Record, partition: i32) -> Self {
        Self { destination: Destination::Owned(partition), ..record.into() }
    }
}

/// The next offset of one partition of an input: what is before it has been dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextOffset {
    /// The input's full name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The member's own number, 0 or more. The same number as before is as good as another, and fences as well.
    pub next: i64,
}

/// Why something is no transaction: it would be committed even by a member that has lost its partitions. A bug of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfenced {
    /// Kafka silently ignores an empty list, and then checks nothing.
    #[error("bug: the transaction carries no input offset")]
    NoOffsets,
    /// Kafka silently ignores it.
    #[error("bug: {0:?} is not an offset")]
    InvalidOffset(NextOffset),
    /// A record goes to an owned partition, and no offset shows who owns it.
    #[error("bug: the transaction has a record for partition {0}, but no input offset of that partition")]
    NoOffsetOf(i32),
}

/// Records and offsets that become visible together, or not at all.
#[derive(Clone, Debug)]
pub struct Batch {
    pub(super) records: Vec<Outgoing>,
    pub(super) offsets: TopicPartitionList,
}

impl Batch {
    /// A batch, if its commit can be fenced. It may have no record.
    ///
    /// # Errors
    /// What is missing.
    pub fn new(records: Vec<Outgoing>, offsets: &[NextOffset]) -> Result<Self, Unfenced> {
        if offsets.is_empty() {
            return Err(Unfenced::NoOffsets);
        }
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for offset in offsets {
            let invalid = || Unfenced::InvalidOffset(offset.clone());
            if offset.next < 0 || offset.partition < 0 {
                return Err(invalid());
            }
            list.add_partition_offset(&offset.topic, offset.partition, Offset::Offset(offset.next))
                .map_err(|_| invalid())?;
        }
        let fenced: BTreeSet<i32> = offsets.iter().map(|offset| offset.partition).collect();
        for record in &records {
            match record.destination {
                Destination::Owned(partition) if !fenced.contains(&partition) => {
                    return Err(Unfenced::NoOffsetOf(partition));
                }
                Destination::Owned(_) | Destination::Shared(_) | Destination::ByKey => {}
            }
        }
        Ok(Self { records, offsets: list })
    }

    /// The records, in the order in which a refusal counts them.
    pub fn records(&self) -> &[Outgoing] {
        &self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(partition: i32, next: i64) -> NextOffset {
        NextOffset { topic: "input".into(), partition, next }
    }

    fn record(destination: Destination) -> Outgoing {
        Outgoing { topic: "ledger".into(), destination, key: Vec::new(), value: None, headers: Vec::new() }
    }

    #[test]
    fn is_made_only_with_an_offset_of_every_owned_partition_that_it_writes() {
        let owned = |partition| record(Destination::Owned(partition));
        for (records, offsets, expected) in [
            (vec![], vec![], Err(Unfenced::NoOffsets)),
            (vec![record(Destination::ByKey)], vec![], Err(Unfenced::NoOffsets)),
            (vec![], vec![offset(0, -1001)], Err(Unfenced::InvalidOffset(offset(0, -1001)))),
            (vec![], vec![offset(0, 1), offset(1, -1)], Err(Unfenced::InvalidOffset(offset(1, -1)))),
            (vec![], vec![offset(-1, 1)], Err(Unfenced::InvalidOffset(offset(-1, 1)))),
            (vec![owned(0), owned(1)], vec![offset(0, 1)], Err(Unfenced::NoOffsetOf(1))),
            (vec![owned(1), owned(0)], vec![offset(0, 0), offset(1, 7)], Ok(2)),
            (vec![record(Destination::ByKey)], vec![offset(3, 1)], Ok(1)),
            (vec![], vec![offset(3, 1)], Ok(0)),
        ] {
            let made = Batch::new(records.clone(), &offsets).map(|batch| batch.records().len());
            assert_eq!(made, expected, "{records:?} {offsets:?}");
        }
    }

    #[test]
    fn a_record_goes_where_its_key_says_with_all_it_has() {
        let record = Record {
            topic: "outcomes".into(),
            key: "ps_1".to_owned(),
            value: b"value".to_vec(),
            headers: vec![("ce_id".into(), "1".into())],
        };
        let expected = Outgoing {
            topic: "outcomes".into(),
            destination: Destination::ByKey,
            key: b"ps_1".to_vec(),
            value: Some(b"value".to_vec()),
            headers: vec![("ce_id".into(), Some(b"1".to_vec()))],
        };
        assert_eq!(Outgoing::from(record), expected);
    }
}
