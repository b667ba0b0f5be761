//! One file of the spool as bytes: a header, records with a checksum each, and a footer that says where each of them begins and which
//! event it is. What is damaged is told, and harms nothing else: where the footer is good it leads past a damaged record, else the
//! records' lengths do.
//! Pure: must not know files, nor when a batch is written. Reads any bytes.
//!
//! ```text
//! header   magic 8, format version 4, count of records 4, number of the batch 8, CRC32C of all that 4
//! record   length of the content 4, CRC32C of the content 4, content: `StoredRecord` as protobuf
//! footer   `StoredIndex` as protobuf
//! end      length of the footer 4, CRC32C of the footer 4, magic 8
//! ```
//!
//! Numbers are little-endian.

mod reading;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use prost::Message;

pub use reading::{Damage, DecodedBatch, decode, index};

use crate::kafka::record::Record;
use crate::provider::EventId;

const MAGIC: [u8; 8] = *b"pbspool\n";
const END_MAGIC: [u8; 8] = *b"pbspend\n";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 28;
const END_BYTES: usize = 16;
/// Before the content of a record: its length and its checksum.
const RECORD_HEAD_BYTES: usize = 8;
/// Of an event id.
const ID_BYTES: usize = 16;

/// A record that waits on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpooledRecord {
    /// For Kafka.
    pub record: Record,
    /// The event that the dedup window knows it by; none where it knows none.
    pub event_id: Option<EventId>,
}

/// What a batch holds, without the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchIndex {
    /// The topics of its records.
    pub topics: Vec<Arc<str>>,
    /// Its records, in order.
    pub entries: Vec<IndexEntry>,
}

/// What the footer says of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Where it begins in the file.
    offset: u32,
    /// The event that the dedup window knows it by.
    pub event_id: Option<EventId>,
}

/// A record, as it is stored.
#[derive(Clone, PartialEq, Eq, Message)]
struct StoredRecord {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(string, tag = "2")]
    key: String,
    #[prost(bytes = "vec", tag = "3")]
    value: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    headers: Vec<StoredHeader>,
    #[prost(bytes = "vec", optional, tag = "5")]
    event_id: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct StoredHeader {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The footer. The lists have one element a record.
#[derive(Clone, PartialEq, Eq, Message)]
struct StoredIndex {
    #[prost(string, repeated, tag = "1")]
    topics: Vec<String>,
    #[prost(fixed32, repeated, tag = "2")]
    offsets: Vec<u32>,
    /// 16 bytes each; zeroes where the record has none.
    #[prost(bytes = "vec", tag = "3")]
    event_ids: Vec<u8>,
}

/// The bytes of a batch.
pub fn encode(number: u64, records: &[SpooledRecord]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut index = StoredIndex::default();
    let mut topics = BTreeSet::new();
    put_header(&mut file, number, length(records.len()));
    for spooled in records {
        topics.insert(spooled.record.topic.as_ref());
        index.offsets.push(length(file.len()));
        index.event_ids.extend(spooled.event_id.map_or([0; ID_BYTES], |id| *id.as_bytes()));
        let content = StoredRecord::of(spooled).encode_to_vec();
        file.put_u32_le(length(content.len()));
        file.put_u32_le(crc32c::crc32c(&content));
        file.put_slice(&content);
    }
    index.topics = topics.into_iter().map(str::to_owned).collect();
    let footer = index.encode_to_vec();
    file.put_slice(&footer);
    file.put_u32_le(length(footer.len()));
    file.put_u32_le(crc32c::crc32c(&footer));
    file.put_slice(&END_MAGIC);
    file
}

fn put_header(file: &mut Vec<u8>, number: u64, count: u32) {
    file.put_slice(&MAGIC);
    file.put_u32_le(VERSION);
    file.put_u32_le(count);
    file.put_u64_le(number);
    file.put_u32_le(crc32c::crc32c(file));
}

/// A batch is some MiB: whoever gathers it sees to that.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The topics of these records, each once.
pub fn topics_of(records: &[SpooledRecord]) -> Vec<Arc<str>> {
    let topics: BTreeMap<&str, &Arc<str>> =
        records.iter().map(|spooled| (&*spooled.record.topic, &spooled.record.topic)).collect();
    topics.into_values().map(Arc::clone).collect()
}

impl StoredRecord {
    fn of(SpooledRecord { record, event_id }: &SpooledRecord) -> Self {
        let headers = record.headers.iter();
        Self {
            topic: record.topic.as_ref().to_owned(),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: headers
                .map(|(name, value)| StoredHeader { name: name.to_string(), value: value.clone() })
                .collect(),
            event_id: event_id.map(|id| id.as_bytes().to_vec()),
        }
    }

    fn into_record(self) -> SpooledRecord {
        let headers = self.headers.into_iter().map(|StoredHeader { name, value }| (Cow::Owned(name), value)).collect();
        let record = Record { topic: self.topic.into(), key: self.key, value: self.value, headers };
        SpooledRecord { record, event_id: self.event_id.as_deref().and_then(event_id) }
    }
}

/// None where the bytes are no id: zeroes stand for none.
fn event_id(bytes: &[u8]) -> Option<EventId> {
    let id: [u8; ID_BYTES] = bytes.try_into().ok()?;
    (id != [0; ID_BYTES]).then(|| EventId::from_bytes(id))
}

#[cfg(test)]
mod tests;
