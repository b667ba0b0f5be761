//! Reads a batch that may be damaged or torn.

use std::sync::Arc;

use bytes::Buf;
use prost::Message;

use super::{
    BatchIndex, END_BYTES, END_MAGIC, HEADER_BYTES, ID_BYTES, IndexEntry, MAGIC, RECORD_HEAD_BYTES, SpooledRecord,
    StoredIndex, StoredRecord, VERSION, event_id,
};
use crate::provider::EventId;

/// What could be read of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecodedBatch {
    /// The records that are as they were written, in order, each with its place in the batch.
    pub records: Vec<(u32, SpooledRecord)>,
    /// What is wrong with the others, and with the rest of the file.
    pub damage: Vec<Damage>,
}

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The header; no record is harmed by that alone.
    #[error("the header is damaged")]
    Header,
    /// A later version wrote it.
    #[error("the file has format version {0}, which this version of paybridge cannot read")]
    Version(u32),
    /// The footer; no record is harmed by that alone.
    #[error("the footer is damaged or missing")]
    Footer,
    /// A record's length; the record is not harmed.
    #[error("the length of record {0} is damaged")]
    Length(u32),
    /// A record is not as it was written.
    #[error("record {place} is damaged: event {}", .event_id.map_or_else(|| "unknown".to_owned(), |id| id.to_string()))]
    Record {
        /// Its place in the batch.
        place: u32,
        /// Its event, as the footer says.
        event_id: Option<EventId>,
    },
    /// From some place on nothing can be read.
    #[error("the file ends too early: from record {from} on {} missing", match .records { Some(count) => format!("{count} are"), None => "an unknown number is".to_owned() })]
    Rest {
        /// The first record that is missing.
        from: u32,
        /// How many are missing, where the header says it.
        records: Option<u32>,
    },
}

impl Damage {
    /// The event that is lost by it, where the file says it.
    pub fn event_id(&self) -> Option<EventId> {
        match self {
            Self::Record { event_id, .. } => *event_id,
            Self::Header | Self::Version(_) | Self::Footer | Self::Length(_) | Self::Rest { .. } => None,
        }
    }

    /// How many records are lost by it; at least one where nobody knows.
    pub fn records(&self) -> u32 {
        match self {
            Self::Header | Self::Footer | Self::Length(_) => 0,
            Self::Record { .. } | Self::Version(_) => 1,
            Self::Rest { records, .. } => records.unwrap_or(1),
        }
    }
}

/// The header says how many records there are.
struct Header {
    version: u32,
    count: u32,
}

/// Reads a whole file.
pub fn decode(file: &[u8]) -> DecodedBatch {
    let mut decoded = DecodedBatch::default();
    let header = header(file);
    match &header {
        None => decoded.damage.push(Damage::Header),
        Some(header) if header.version != VERSION => {
            decoded.damage.push(Damage::Version(header.version));
            return decoded;
        }
        Some(_) => {}
    }
    if let Some((index, end)) = footer(file) {
        decoded.read_by_index(file, &index, end);
    } else {
        decoded.damage.push(Damage::Footer);
        decoded.read_by_lengths(file, header.map(|header| header.count));
    }
    decoded
}

/// Reads what a batch holds from the end of its file, which may be all of it. None: the end is damaged, or the part is too short.
pub fn index(file_or_end: &[u8]) -> Option<BatchIndex> {
    let (stored, _) = footer(file_or_end)?;
    let ids = stored.event_ids.chunks(ID_BYTES).map(event_id);
    let entries = stored.offsets.iter().zip(ids).map(|(offset, event_id)| IndexEntry { offset: *offset, event_id });
    Some(BatchIndex {
        topics: stored.topics.iter().map(|topic| Arc::from(topic.as_str())).collect(),
        entries: entries.collect(),
    })
}

fn header(file: &[u8]) -> Option<Header> {
    let (checked, mut crc) = file.get(..HEADER_BYTES)?.split_at_checked(HEADER_BYTES - 4)?;
    let mut fields = checked.strip_prefix(&MAGIC)?;
    (crc.get_u32_le() == crc32c::crc32c(checked))
        .then(|| Header { version: fields.get_u32_le(), count: fields.get_u32_le() })
}

/// The footer, and where it begins.
fn footer(file: &[u8]) -> Option<(StoredIndex, usize)> {
    let (rest, end) = file.split_at_checked(file.len().checked_sub(END_BYTES)?)?;
    let mut fields = end.strip_suffix(&END_MAGIC)?;
    let (length, crc) = (usize::try_from(fields.get_u32_le()).ok()?, fields.get_u32_le());
    let begin = rest.len().checked_sub(length)?;
    let footer = rest.get(begin..).filter(|footer| crc32c::crc32c(footer) == crc)?;
    let index = StoredIndex::decode(footer).ok()?;
    (index.event_ids.len() == index.offsets.len() * ID_BYTES).then_some((index, begin))
}

impl DecodedBatch {
    /// The footer says where each record begins; the next one's begin is its end.
    fn read_by_index(&mut self, file: &[u8], index: &StoredIndex, footer_begins: usize) {
        let begins = index.offsets.iter().map(|offset| usize::try_from(*offset).unwrap_or(usize::MAX));
        let ends = begins.clone().skip(1).chain([footer_begins]);
        let ids = index.event_ids.chunks(ID_BYTES).map(event_id);
        for (place, ((begin, end), event_id)) in (0..).zip(begins.zip(ends).zip(ids)) {
            let damaged = Damage::Record { place, event_id };
            let Some((head, content)) =
                file.get(begin..end).and_then(|bytes| bytes.split_at_checked(RECORD_HEAD_BYTES))
            else {
                self.damage.push(damaged);
                continue;
            };
            let (length, crc) = record_head(head);
            match record(content, crc) {
                Some(spooled) => {
                    if length != content.len() {
                        self.damage.push(Damage::Length(place));
                    }
                    self.records.push((place, spooled));
                }
                None => self.damage.push(damaged),
            }
        }
    }

    /// Each record says where the next one begins, as far as lengths can be right.
    fn read_by_lengths(&mut self, file: &[u8], count: Option<u32>) {
        let mut rest = file.get(HEADER_BYTES..).unwrap_or_default();
        for place in 0..count.unwrap_or(u32::MAX) {
            let missing = Damage::Rest { from: place, records: count.map(|count| count - place) };
            let Some((head, after)) = rest.split_at_checked(RECORD_HEAD_BYTES) else {
                // Without a count nobody knows whether more was there.
                self.damage.push(missing);
                return;
            };
            let (length, crc) = record_head(head);
            // No record is empty: from here on the file became zeroes.
            let Some((content, after)) = after.split_at_checked(length).filter(|_| length > 0) else {
                self.damage.push(missing);
                return;
            };
            match record(content, crc) {
                Some(spooled) => self.records.push((place, spooled)),
                None => self.damage.push(Damage::Record { place, event_id: None }),
            }
            rest = after;
        }
    }
}

/// A record's length, and its checksum.
fn record_head(mut head: &[u8]) -> (usize, u32) {
    (usize::try_from(head.get_u32_le()).unwrap_or(usize::MAX), head.get_u32_le())
}

fn record(content: &[u8], crc: u32) -> Option<SpooledRecord> {
    if crc32c::crc32c(content) != crc {
        return None;
    }
    // The checksum of nothing is zero, as a file has it that became zeroes. But each record has a topic.
    StoredRecord::decode(content).ok().filter(|stored| !stored.topic.is_empty()).map(StoredRecord::into_record)
}
