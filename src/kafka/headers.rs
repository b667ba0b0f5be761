//! The headers of a record that was read, copied out of librdkafka's memory. Must not know what a header means.

use rdkafka::message::{BorrowedMessage, Headers, Message};

/// Name and value of each header, in order; a value may be null.
pub(super) fn owned(record: &BorrowedMessage<'_>) -> Vec<(String, Option<Vec<u8>>)> {
    let headers = record.headers().into_iter().flat_map(Headers::iter);
    headers.map(|header| (header.key.to_owned(), header.value.map(ToOwned::to_owned))).collect()
}
