//! The ledger's format: what is known of a session, as one record of a compacted topic, and back.
//! Pure, and strict: what this version does not know in full it refuses, or it would decide anew. Must not know Kafka.

mod owner;
mod reading;
mod writing;

use crate::confirmation::session::model::{Done, SessionEntry, SessionKey};

pub use owner::ForeignLedger;
pub use reading::decode;
pub use writing::{encode, encode_done, encode_owner};

/// Version of the format. Another one is refused: version N of the program writes what N-1 reads, so a field, state or
/// value is first read by one version, and written by the next.
pub const SCHEMA: u32 = 1;

/// The key of the owner's entry: no session's, for those have a slash.
pub const OWNER_KEY: &str = "owner";

/// The key of a session's entry: `{source}/{session_id}`. A source's name has no slash.
pub fn key(session: &SessionKey) -> String {
    session.to_string()
}

/// What one record of the ledger holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerRecord {
    /// A session that has not ended.
    Entry(SessionKey, SessionEntry),
    /// A session that has.
    Done(SessionKey, Done),
    /// Who keeps the ledger.
    Owner(LedgerOwner),
}

/// Who keeps the ledger of a partition: its first entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerOwner {
    /// The consumer group.
    pub group_id: String,
    /// Number of partitions of the ledger and of each input.
    pub partitions: u32,
    /// Whether the group only pretends to decide.
    pub dry_run: bool,
}

/// Why an entry is not known in full. Any of these stops its partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The value is no protobuf of this message.
    #[error("the entry cannot be decoded")]
    NotProtobuf(#[source] prost::DecodeError),
    /// Another version's format.
    #[error("the entry has schema {0}, but this version knows only {SCHEMA}")]
    Schema(u32),
    /// Bytes that this version's message has no field for.
    #[error("the entry has a field that this version does not know")]
    UnknownField,
    /// No state, so one that this version does not know.
    #[error("the entry has a state that this version does not know")]
    UnknownState,
    /// A part that every entry of its state has.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An enum's value that this version does not know.
    #[error("{0} has a value that this version does not know")]
    UnknownValue(&'static str),
    /// A time that is none.
    #[error("{0} is not a valid timestamp")]
    Time(&'static str),
    /// Parts that contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

#[cfg(test)]
mod tests;
