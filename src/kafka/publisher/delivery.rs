//! What became of a record, and why not: librdkafka's codes put into a closed set.
//! Must not know what is done about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Every in-sync replica has it.
    Acknowledged,
    /// It was taken back, and is safe on disk until it is sent again; the producer never says so.
    Spooled,
    /// It is larger than its topic or the producer allows: sending it again cannot help.
    TooLarge,
    /// It was not acknowledged, and will not be unless it is sent again.
    Failed(DeliveryFailure),
}

/// Why a record was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// No acknowledgement within `message.timeout.ms`.
    TimedOut,
    /// The producer's queue is full.
    QueueFull,
    /// The topic does not exist.
    UnknownTopic,
    /// The principal may not write.
    NotAuthorized,
    /// Purged while the producer was rebuilt, or stopped.
    Purged,
    /// The client says that it is there, and cannot say where.
    NoOffset,
    /// Anything else that Kafka or the client says.
    Other,
}

/// Every `reason` of a failed send.
pub const FAILURE_REASONS: [&str; 8] =
    ["timed_out", "queue_full", "unknown_topic", "not_authorized", "purged", "no_offset", "too_large", "other"];

impl Delivery {
    pub(super) fn of(error: &KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        let failure = match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => return Self::TooLarge,
            Some(Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut) => DeliveryFailure::TimedOut,
            Some(Code::QueueFull) => DeliveryFailure::QueueFull,
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
                DeliveryFailure::UnknownTopic
            }
            Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => DeliveryFailure::NotAuthorized,
            Some(Code::PurgeQueue | Code::PurgeInflight) => DeliveryFailure::Purged,
            _ => DeliveryFailure::Other,
        };
        Self::Failed(failure)
    }

    /// Why it was not acknowledged, one of [`FAILURE_REASONS`]; nothing where it was.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Acknowledged | Self::Spooled => None,
            Self::TooLarge => Some("too_large"),
            Self::Failed(DeliveryFailure::TimedOut) => Some("timed_out"),
            Self::Failed(DeliveryFailure::QueueFull) => Some("queue_full"),
            Self::Failed(DeliveryFailure::UnknownTopic) => Some("unknown_topic"),
            Self::Failed(DeliveryFailure::NotAuthorized) => Some("not_authorized"),
            Self::Failed(DeliveryFailure::Purged) => Some("purged"),
            Self::Failed(DeliveryFailure::NoOffset) => Some("no_offset"),
            Self::Failed(DeliveryFailure::Other) => Some("other"),
        }
    }
}
