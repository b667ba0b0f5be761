//! How many records a topic took since some time ago, by its offsets alone: no record is read.
//! Must not know what the records mean. Blocks: not for a tokio worker.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::config::ClientConfig;

use super::reader::{self, ReadError};

/// The records of the last `span`.
///
/// # Errors
/// The topic is missing or may not be read, or Kafka does not answer `within` the time.
pub fn of_last(client: &ClientConfig, topic: &str, span: Duration, within: Duration) -> Result<u64, ReadError> {
    let deadline = Instant::now() + within;
    let partitions = reader::partitions(client, &[topic.to_owned()], deadline)?;
    let (consumer, client_errors) = reader::ending_consumer(client)?;
    let starts = reader::offsets_at(&consumer, &client_errors, &partitions, span_begin_ms(span), deadline)?;
    let ends = reader::end_offsets(&consumer, &client_errors, &partitions, deadline)?;
    // A partition without a start has no record as young as that.
    let records =
        reader::told_offsets(&ends).into_iter().filter_map(|(partition, end)| Some(end - starts.get(&partition)?));
    Ok(records.map(|records| u64::try_from(records).unwrap_or_default()).sum())
}

/// When a span that ends now began, in milliseconds since 1970.
pub(super) fn span_begin_ms(span: Duration) -> i64 {
    let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::now().as_millisecond().saturating_sub(span_ms).max(0)
}
