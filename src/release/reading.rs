//! Reads held records and what was released, in bounded memory: some records at a time.
//! Must not know what becomes of them. Every call blocks: not for a tokio worker.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;

use super::filter::HeldFilter;
use super::held::{HeldRecord, HeldTopic};
use super::marker::{self, ReleasedEvents};
use crate::kafka::client_error::ClientError;
use crate::kafka::decoded::ReadRecord;
use crate::kafka::present_records::PresentRecords;
use crate::kafka::reader::{ReadError, ReadStep};
use crate::kafka::record_at::RecordLookUp;
use crate::kafka::scan::{Scanned, scan};
use crate::kafka::topics;
use crate::message::release::v1::release_entry::Entry;
use crate::message::release::v1::{RecordPlace, ReleaseMarker};

/// How long one look for records takes at most: whoever reads has other things to look after.
const CHUNK_WITHIN: Duration = Duration::from_millis(250);
/// How long one poll of it blocks.
const POLL_WITHIN: Duration = Duration::from_millis(50);
/// How long Kafka may take for a single record.
const RECORD_WITHIN: Duration = Duration::from_secs(15);

/// How much is read at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkBounds {
    /// Records that are meant.
    pub records_max: usize,
    /// Bytes of their values; one of any size is taken.
    pub bytes_max: usize,
}

/// What one look brought.
#[derive(Debug, Default)]
pub struct HeldChunk {
    /// Records that are meant, of each partition in order; there may be none yet.
    pub records: Vec<HeldRecord>,
    /// Kafka cannot be reached at the moment; reading goes on when it can.
    pub interrupted: Option<ClientError>,
}

/// Where held records come from.
pub enum HeldReader {
    /// Topics, looked through.
    Scan {
        /// What is read.
        records: PresentRecords,
        /// What is meant of it.
        filter: HeldFilter,
        /// What the topics' names begin with.
        prefix: String,
    },
    /// Single places.
    Places {
        /// Finds them.
        look_up: RecordLookUp,
        /// What was not looked up yet.
        places: VecDeque<(HeldTopic, RecordPlace)>,
    },
}

impl HeldReader {
    /// Looks through the topics of the filter, up to their present ends.
    ///
    /// # Errors
    /// A topic is missing or may not be read, or Kafka does not answer `within` the time.
    pub fn scan(client: &ClientConfig, prefix: &str, filter: HeldFilter, within: Duration) -> Result<Self, ReadError> {
        let topics: Vec<String> = filter.topics().into_iter().map(|topic| topic.name(prefix)).collect();
        let records = PresentRecords::open(client, &topics, filter.period, within)?;
        Ok(Self::Scan { records, filter, prefix: prefix.to_owned() })
    }

    /// Looks single records up.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn places(
        client: &ClientConfig,
        places: impl IntoIterator<Item = (HeldTopic, RecordPlace)>,
    ) -> Result<Self, ReadError> {
        Ok(Self::Places { look_up: RecordLookUp::open(client)?, places: places.into_iter().collect() })
    }

    /// How many records are still to be looked at, at most.
    pub fn left(&self) -> u64 {
        match self {
            Self::Scan { records, .. } => records.left(),
            Self::Places { places, .. } => u64::try_from(places.len()).unwrap_or(u64::MAX),
        }
    }

    /// The next records; nothing once all were given. Blocks for a moment at most, unless Kafka does not answer.
    ///
    /// # Errors
    /// Reading cannot go on.
    pub fn next_chunk(&mut self, bounds: ChunkBounds) -> Result<Option<HeldChunk>, ReadError> {
        let (began, mut chunk, mut bytes) = (Instant::now(), HeldChunk::default(), 0_usize);
        while chunk.records.len() < bounds.records_max && bytes < bounds.bytes_max && began.elapsed() < CHUNK_WITHIN {
            let (topic, record) = match self.next()? {
                None if chunk.records.is_empty() => return Ok(None),
                None => break,
                Some(NextHeld::Record(topic, record)) => (topic, record),
                Some(NextHeld::Nothing) => continue,
                Some(NextHeld::Interrupted(error)) => {
                    chunk.interrupted = Some(error);
                    break;
                }
            };
            let held = HeldRecord::decode(topic, &record);
            if self.takes(&held) {
                bytes = bytes.saturating_add(record.value.as_ref().map_or(0, Vec::len));
                chunk.records.push(held);
            }
        }
        Ok(Some(chunk))
    }

    fn next(&mut self) -> Result<Option<NextHeld>, ReadError> {
        match self {
            Self::Scan { records, prefix, .. } => {
                let Some(step) = records.next(POLL_WITHIN)? else { return Ok(None) };
                Ok(Some(match step {
                    ReadStep::Record(record) => match HeldTopic::of_name(&record.topic, prefix) {
                        Some(topic) => NextHeld::Record(topic, record),
                        None => NextHeld::Nothing,
                    },
                    ReadStep::Idle => NextHeld::Nothing,
                    ReadStep::Interrupted(error) => NextHeld::Interrupted(error),
                }))
            }
            Self::Places { look_up, places } => {
                let Some((topic, place)) = places.pop_front() else { return Ok(None) };
                let found = look_up.find((&place.topic, place.partition, place.offset), RECORD_WITHIN)?;
                Ok(Some(found.map_or(NextHeld::Nothing, |record| NextHeld::Record(topic, Box::new(record)))))
            }
        }
    }

    fn takes(&self, held: &HeldRecord) -> bool {
        match self {
            Self::Scan { filter, .. } => filter.takes(held),
            Self::Places { .. } => true,
        }
    }
}

/// What comes next.
enum NextHeld {
    Record(HeldTopic, Box<ReadRecord>),
    /// Nothing came in time, or no record of ours.
    Nothing,
    Interrupted(ClientError),
}

/// What was released, and whether all of it was read in time.
pub struct ReadMarkers {
    /// The events.
    pub released: ReleasedEvents,
    /// Whether every partition was read to its end.
    pub is_complete: bool,
}

/// Reads what was released.
///
/// # Errors
/// The topic is missing or may not be read, or Kafka does not answer.
pub fn released(client: &ClientConfig, prefix: &str, within: Duration) -> Result<ReadMarkers, ReadError> {
    let mut released = ReleasedEvents::default();
    let scanned = each_marker(client, prefix, within, &mut |marker| released.remember(&marker))?;
    let is_complete = scanned.unread.is_empty() && released.forgotten() == 0;
    Ok(ReadMarkers { released, is_complete })
}

/// Gives every marker that is there, of each partition from the oldest one on.
///
/// # Errors
/// As [`released`].
pub fn each_marker(
    client: &ClientConfig,
    prefix: &str,
    within: Duration,
    each: &mut dyn FnMut(ReleaseMarker),
) -> Result<Scanned, ReadError> {
    scan(client, &topics::release_topic(prefix), within, &mut |_, _, value| {
        if let Some(Entry::Marker(marker)) = value.and_then(marker::decode) {
            each(marker);
        }
        ControlFlow::Continue(())
    })
}
