//! What a body says, whatever its kind: every kind's file makes one. Must not know the kinds.

use jiff::Timestamp;

/// What a body says.
pub struct UnipaasBody {
    /// The id of what it is about.
    pub subject: Option<String>,
    /// The body's own time.
    pub occurred_at: Option<Timestamp>,
    /// The message without its metadata, in protobuf's wire format.
    pub fields: Vec<u8>,
}
