//! One record, ready for Kafka. Must not know how it gets there.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

/// A record for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The topic's full name.
    pub topic: Arc<str>,
    /// The key: records of one key stay in order.
    pub key: String,
    /// The protobuf message.
    pub value: Vec<u8>,
    /// The headers, in order.
    pub headers: Vec<(Cow<'static, str>, Bytes)>,
}

impl Record {
    /// Bytes that the record takes while it waits for its delivery report, as far as they matter.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.value.len() + self.key.len() + headers
    }
}

/// A record as somebody else wrote it, for one partition of a topic: key and headers need not be text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRecord {
    /// The topic's full name.
    pub topic: Arc<str>,
    /// The partition, whatever the key says.
    pub partition: i32,
    /// The key; none where there was none.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Vec<u8>,
    /// The headers, in order; a value may be null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}
