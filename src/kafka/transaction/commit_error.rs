//! What a transaction failed for, and what is left to do: Kafka's many errors put into four answers.
//! Must not call Kafka.

use std::collections::BTreeMap;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::StartError;
use super::reports::Undelivered;

/// A transaction that was not committed, as far as is known, by what is left to do.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It was aborted. What was built on it is worthless: drop the epoch and restore. The producer goes on, unless the failure
    /// [wants another one](CommitFailure::wants_another_producer).
    #[error("the transaction was aborted")]
    Aborted(#[source] CommitFailure),
    /// It was aborted because Kafka refuses these records for good, and the producer goes on. The inputs are still this member's: commit them
    /// with something smaller in the record's place. Several were refused together, and each may be small enough: commit
    /// them by themselves to learn which is not.
    #[error(
        "the transaction was aborted, because Kafka refuses its records {records:?} for good: too large, or invalid"
    )]
    Refused {
        /// Their numbers in the batch, from 0, in order; at least one.
        records: Vec<(usize, RecordRefusal)>,
    },
    /// It was aborted, or not begun: the inputs may be another member's by now. Wait for the next assignment.
    #[error("the transaction was aborted, because its partitions were revoked")]
    Fenced(#[source] CommitFailure),
    /// What became of it is not known. Drop the producer, start another, and restore only then: its start ends what may
    /// still be under way, and the ledger says what was committed.
    #[error("it is unknown whether the transaction was committed")]
    Unknown(#[source] CommitFailure),
}

/// Why Kafka does not take a record, whenever it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordRefusal {
    /// It is larger than the producer or its topic takes.
    TooLarge,
    /// Its topic has rules for records that it breaks.
    Invalid,
}

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum CommitFailure {
    /// The epoch is over.
    #[error("the consumer group has a newer assignment")]
    Superseded,
    /// The producer cannot begin a transaction.
    #[error("the transaction cannot begin")]
    Begin(#[source] KafkaError),
    /// A record was not taken into the producer's queue.
    #[error("the producer did not accept record {record}")]
    Send {
        /// Its number in the batch.
        record: usize,
        /// Why.
        #[source]
        error: KafkaError,
    },
    /// A record was not delivered.
    #[error("record {record} was not delivered")]
    Delivery {
        /// Its number in the batch.
        record: usize,
        /// Why.
        #[source]
        error: KafkaError,
    },
    /// A record is said to be delivered, and nobody can say where.
    #[error("record {record} was acknowledged without an offset")]
    NoOffset {
        /// Its number in the batch.
        record: usize,
    },
    /// Delivery reports did not come in time.
    #[error("{outstanding} records got no delivery report in time")]
    Unreported {
        /// How many.
        outstanding: usize,
    },
    /// The offsets are not taken into the transaction.
    #[error("Kafka did not accept the input offsets")]
    Offsets(#[source] KafkaError),
    /// The call that puts the offsets into the transaction does not come back.
    #[error("the call that sends the input offsets does not return")]
    OffsetsUnanswered,
    /// The thread for that call cannot be started.
    #[error("no thread can be started to send the input offsets")]
    OffsetsThread(#[source] std::io::Error),
    /// The commit failed.
    #[error("the commit failed")]
    Commit(#[source] KafkaError),
    /// After something else failed, the abort failed too.
    #[error("{cause}; then the abort failed")]
    Abort {
        /// Why.
        #[source]
        error: KafkaError,
        /// What failed before.
        cause: Box<CommitFailure>,
    },
    /// After a record was refused, and the abort, no new producer begins.
    #[error("{cause}; then a new producer could not start")]
    Renew {
        /// Why.
        #[source]
        error: StartError,
        /// What failed before.
        cause: Box<CommitFailure>,
    },
}

impl CommitFailure {
    pub(super) fn delivery(record: usize, undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::Failed(error) => Self::Delivery { record, error },
            Undelivered::NoOffset => Self::NoOffset { record },
        }
    }

    /// Whether another producer should begin the next one: this one did not deliver in time, and its client may know no broker any
    /// more (librdkafka's issue 5301).
    pub fn wants_another_producer(&self) -> bool {
        matches!(self, Self::Unreported { .. })
    }

    /// Whether an abort may end it. Not where the producer is of no use any more, nor where a commit is still under way.
    pub(super) fn can_be_aborted(&self) -> bool {
        match self {
            Self::Begin(_) | Self::OffsetsUnanswered | Self::Abort { .. } | Self::Renew { .. } => false,
            Self::Offsets(error) => !is_fatal(error),
            Self::Commit(error) => !is_fatal(error) && !is_passing(error),
            Self::Superseded
            | Self::Send { .. }
            | Self::Delivery { .. }
            | Self::NoOffset { .. }
            | Self::OffsetsThread(_)
            | Self::Unreported { .. } => true,
        }
    }
}

impl CommitError {
    /// What is left to do when the abort is done; `undelivered` are the records that were not delivered, by their number.
    pub(super) fn after_abort(failed: CommitFailure, undelivered: &BTreeMap<usize, Undelivered>) -> Self {
        let refused = refused(undelivered);
        if let CommitFailure::Send { record, error } = &failed
            && let Some(refusal) = refusal(error)
        {
            return Self::Refused { records: vec![(*record, refusal)] };
        }
        match failed {
            // Another record's report may have come first; and without end the same records would be aborted again.
            CommitFailure::Delivery { .. } | CommitFailure::NoOffset { .. } | CommitFailure::Unreported { .. }
                if !refused.is_empty() =>
            {
                Self::Refused { records: refused }
            }
            CommitFailure::Offsets(error) if is_another_member(&error) => Self::Fenced(CommitFailure::Offsets(error)),
            CommitFailure::Superseded => Self::Fenced(failed),
            CommitFailure::Begin(_)
            | CommitFailure::Send { .. }
            | CommitFailure::Delivery { .. }
            | CommitFailure::NoOffset { .. }
            | CommitFailure::Unreported { .. }
            | CommitFailure::Offsets(_)
            | CommitFailure::OffsetsUnanswered
            | CommitFailure::OffsetsThread(_)
            | CommitFailure::Commit(_)
            | CommitFailure::Abort { .. }
            | CommitFailure::Renew { .. } => Self::Aborted(failed),
        }
    }
}

/// Whether the same call, made again, may go through.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable() && !error.is_fatal() && !error.txn_requires_abort(),
        _ => false,
    }
}

/// Whether the producer is of no use any more.
fn is_fatal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let says_so = matches!(error, KafkaError::Transaction(error) if error.is_fatal());
    let means_so = matches!(
        error.rdkafka_error_code(),
        Some(Code::Fatal | Code::Fenced | Code::Conflict | Code::InvalidProducerEpoch | Code::ProducerFenced)
    );
    says_so || means_so
}

fn is_another_member(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress | Code::FencedInstanceId)
    )
}

/// Why no second try helps, where none does. Rights and times are no fault of a record.
fn refusal(error: &KafkaError) -> Option<RecordRefusal> {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => Some(RecordRefusal::TooLarge),
        Some(Code::InvalidRecord) => Some(RecordRefusal::Invalid),
        _ => None,
    }
}

fn refused(undelivered: &BTreeMap<usize, Undelivered>) -> Vec<(usize, RecordRefusal)> {
    let refused = |(record, undelivered): (&usize, &Undelivered)| match undelivered {
        Undelivered::Failed(error) => refusal(error).map(|refusal| (*record, refusal)),
        Undelivered::NoOffset => None,
    };
    undelivered.iter().filter_map(refused).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: RDKafkaErrorCode) -> KafkaError {
        KafkaError::MessageProduction(code)
    }

    /// What is left to do after each failure, where an abort is possible and done.
    fn left_to_do(failed: CommitFailure) -> &'static str {
        if !failed.can_be_aborted() {
            return "unknown";
        }
        match CommitError::after_abort(failed, &BTreeMap::new()) {
            CommitError::Aborted(_) => "aborted",
            CommitError::Refused { .. } => "refused",
            CommitError::Fenced(_) => "fenced",
            CommitError::Unknown(_) => "unknown",
        }
    }

    #[test]
    fn every_failure_has_one_answer() {
        use RDKafkaErrorCode as Code;
        for (failed, expected) in [
            (CommitFailure::Superseded, "fenced"),
            (CommitFailure::Begin(error(Code::State)), "unknown"),
            (CommitFailure::Send { record: 0, error: error(Code::QueueFull) }, "aborted"),
            (CommitFailure::Send { record: 0, error: error(Code::MessageSizeTooLarge) }, "refused"),
            (CommitFailure::Delivery { record: 0, error: error(Code::MessageTimedOut) }, "aborted"),
            (CommitFailure::NoOffset { record: 0 }, "aborted"),
            (CommitFailure::Unreported { outstanding: 1 }, "aborted"),
            (CommitFailure::Offsets(error(Code::UnknownMemberId)), "fenced"),
            (CommitFailure::Offsets(error(Code::IllegalGeneration)), "fenced"),
            (CommitFailure::Offsets(error(Code::Conflict)), "unknown"),
            (CommitFailure::Offsets(error(Code::Fenced)), "unknown"),
            (CommitFailure::Offsets(error(Code::GroupAuthorizationFailed)), "aborted"),
            (CommitFailure::OffsetsUnanswered, "unknown"),
            (CommitFailure::Commit(error(Code::Fenced)), "unknown"),
            (CommitFailure::Commit(error(Code::InvalidProducerIdMapping)), "aborted"),
            (CommitFailure::Commit(error(Code::UnknownMemberId)), "aborted"),
            (CommitFailure::Abort { error: error(Code::State), cause: Box::new(CommitFailure::Superseded) }, "unknown"),
        ] {
            let told = format!("{failed:?}");
            assert_eq!(left_to_do(failed), expected, "{told}");
        }
    }

    #[test]
    fn all_records_that_are_refused_for_good_are_named_and_no_other() {
        let undelivered = BTreeMap::from([
            (1, Undelivered::Failed(error(RDKafkaErrorCode::MessageSizeTooLarge))),
            (2, Undelivered::Failed(error(RDKafkaErrorCode::PurgeQueue))),
            (3, Undelivered::NoOffset),
            (4, Undelivered::Failed(error(RDKafkaErrorCode::InvalidRecord))),
            (5, Undelivered::Failed(error(RDKafkaErrorCode::TopicAuthorizationFailed))),
            (6, Undelivered::Failed(error(RDKafkaErrorCode::InvalidTimestamp))),
        ]);
        // Whichever report came first.
        for failed in [
            CommitFailure::Delivery { record: 1, error: error(RDKafkaErrorCode::MessageSizeTooLarge) },
            CommitFailure::Delivery { record: 2, error: error(RDKafkaErrorCode::PurgeQueue) },
            CommitFailure::NoOffset { record: 3 },
            CommitFailure::Unreported { outstanding: 4 },
        ] {
            let commit_error = CommitError::after_abort(failed, &undelivered);
            assert!(
                matches!(&commit_error, CommitError::Refused { records } if *records == [(1, RecordRefusal::TooLarge), (4, RecordRefusal::Invalid)]),
                "{commit_error:?}"
            );
        }
    }
}
