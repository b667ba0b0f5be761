//! Whether a consumer group has read topics, and whether it may be seen, without joining it.
//! Must not change the group, nor wait for its transactions. Blocks: not for a tokio worker.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;

use crate::kafka::client_error::{ClientError, ClientErrors};

/// How long one question waits before it is looked what the client complains of.
const SLICE: Duration = Duration::from_millis(500);

/// Whether `group_id` has committed an offset of one of these topics, each with so many partitions. A group that the principal
/// may not see is none of its own: it has not.
///
/// # Errors
/// Kafka does not answer `within` the time.
pub fn has_committed(
    client: &ClientConfig,
    group_id: &str,
    topics: &[String],
    partitions: i32,
    within: Duration,
) -> Result<bool, ClientError> {
    let committed = committed(client, group_id, topics, partitions, within)?;
    Ok(committed
        .is_some_and(|told| told.elements().iter().any(|element| matches!(element.offset(), Offset::Offset(_)))))
}

/// Whether the principal may see `group_id`, asked by the first partition of a topic that is there.
///
/// # Errors
/// Kafka does not answer `within` the time.
pub fn is_visible(client: &ClientConfig, group_id: &str, topic: &str, within: Duration) -> Result<bool, ClientError> {
    committed(client, group_id, &[topic.to_owned()], 1, within).map(|told| told.is_some())
}

/// What the group has committed; nothing where the principal may not see it.
fn committed(
    client: &ClientConfig,
    group_id: &str,
    topics: &[String],
    partitions: i32,
    within: Duration,
) -> Result<Option<TopicPartitionList>, ClientError> {
    let client_errors = ClientErrors::default();
    let consumer: BaseConsumer<ClientErrors> = client
        .clone()
        .set("group.id", group_id)
        .set("group.protocol", "classic")
        .set("enable.auto.commit", "false")
        // Those that are part of an open transaction are as good.
        .set("isolation.level", "read_uncommitted")
        .set("allow.auto.create.topics", "false")
        .create_with_context(client_errors.clone())
        .map_err(|error| ClientError::of_creation(&error))?;
    let mut list = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..partitions {
            list.add_partition(topic, partition);
        }
    }
    let latest = Instant::now() + within;
    loop {
        let left = latest.saturating_duration_since(Instant::now());
        let failed = match consumer.committed_offsets(list.clone(), left.min(SLICE)) {
            Ok(told) => return Ok(Some(told)),
            Err(failed) => failed,
        };
        // Errors come through the client's queue; that the group is hidden comes there alone, and the answer never.
        let polled = std::iter::from_fn(|| consumer.poll(Duration::ZERO)).filter_map(Result::err);
        if polled.chain([failed.clone()]).any(|error| is_hidden(&error)) {
            return Ok(None);
        }
        let client_error = client_errors.explain(&failed);
        if left.is_zero() || client_error.is_final() {
            return Err(client_error);
        }
    }
}

fn is_hidden(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
}
