//! Counts the delivery reports of one transaction after another, and keeps what failed.
//! Must not know what a failed delivery means for its transaction.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use super::super::client_error::ClientErrors;
use super::super::group::appended_at;

/// What became of a record that is not proven to be there.
#[derive(Clone, Debug)]
pub(super) enum Undelivered {
    /// Kafka or the client says so.
    Failed(KafkaError),
    /// The client says that it is there and cannot say where, which proves nothing.
    NoOffset,
}

impl Undelivered {
    /// Whether it failed by itself, and not because its transaction was ended.
    pub(super) fn is_refused(&self) -> bool {
        use RDKafkaErrorCode as Code;
        match self {
            Self::Failed(error) => !matches!(error.rdkafka_error_code(), Some(Code::PurgeQueue | Code::PurgeInflight)),
            Self::NoOffset => true,
        }
    }
}

/// Which record of which transaction a report is about.
pub(super) struct AwaitedReport {
    transaction: u64,
    record: usize,
}

/// The reports of the present transaction.
#[derive(Default)]
pub(super) struct DeliveryReports {
    state: Mutex<ReportedDeliveries>,
    changed: Condvar,
}

#[derive(Default)]
struct ReportedDeliveries {
    /// The present transaction; reports of earlier ones come late, and count for nothing.
    transaction: u64,
    outstanding: usize,
    failed: BTreeMap<usize, Undelivered>,
    /// The latest time at which the broker appended a record of it.
    appended_at: Option<Timestamp>,
}

impl DeliveryReports {
    /// A new transaction begins.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        *state = ReportedDeliveries { transaction: state.transaction + 1, ..ReportedDeliveries::default() };
    }

    /// One more record is about to be sent.
    pub(super) fn expect(&self, record: usize) -> AwaitedReport {
        let mut state = self.state();
        state.outstanding += 1;
        AwaitedReport { transaction: state.transaction, record }
    }

    /// It was not sent after all.
    pub(super) fn forget(&self, awaited: &AwaitedReport) {
        self.settle(awaited, None);
    }

    /// Waits for the next report, but not past `latest`.
    pub(super) fn wait_for_one(&self, latest: Instant) {
        let state = self.state();
        let _woken = self.changed.wait_timeout(state, left(latest));
    }

    /// Waits until all reports are in, or one says that its record failed. How many are missing then.
    pub(super) fn wait_for_all(&self, latest: Instant) -> usize {
        let waits = |state: &mut ReportedDeliveries| state.outstanding > 0 && state.failed.is_empty();
        let waited = self.changed.wait_timeout_while(self.state(), left(latest), waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.outstanding
    }

    /// The records that failed, by their number.
    pub(super) fn failed(&self) -> BTreeMap<usize, Undelivered> {
        self.state().failed.clone()
    }

    /// When the broker appended the last of the records that are there, by its clock; none where their topics do not keep that.
    pub(super) fn appended_at(&self) -> Option<Timestamp> {
        self.state().appended_at
    }

    fn appended(&self, awaited: &AwaitedReport, at: Option<Timestamp>) {
        let mut state = self.state();
        if awaited.transaction == state.transaction {
            state.appended_at = state.appended_at.max(at);
        }
    }

    fn settle(&self, awaited: &AwaitedReport, failure: Option<Undelivered>) {
        let mut state = self.state();
        if awaited.transaction == state.transaction {
            state.outstanding = state.outstanding.saturating_sub(1);
            state.failed.extend(failure.map(|failure| (awaited.record, failure)));
            self.changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, ReportedDeliveries> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn left(latest: Instant) -> Duration {
    latest.saturating_duration_since(Instant::now())
}

/// What librdkafka calls for the transactions' producer.
#[derive(Clone, Default)]
pub(super) struct TransactionContext {
    pub(super) reports: Arc<DeliveryReports>,
    pub(super) client_errors: ClientErrors,
}

impl ClientContext for TransactionContext {
    /// Why a transaction fails is told here first; what comes after is often no more than that its records were purged.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "TXNERR" {
            tracing::warn!(reason = message, "a transaction fails");
        }
        self.client_errors.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client_errors.error(error, reason);
    }
}

impl ProducerContext for TransactionContext {
    type DeliveryOpaque = Box<AwaitedReport>;

    fn delivery(&self, result: &DeliveryResult<'_>, awaited: Box<AwaitedReport>) {
        let failure = match result {
            Ok(message) if message.offset() >= 0 => {
                self.reports.appended(&awaited, appended_at(message.timestamp()));
                None
            }
            Ok(_) => Some(Undelivered::NoOffset),
            Err((error, _)) => Some(Undelivered::Failed(error.clone())),
        };
        self.reports.settle(&awaited, failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn waits_for_every_report_unless_one_failed() {
        let reports = DeliveryReports::default();
        reports.begin();
        let awaited = [0, 1, 2].map(|record| reports.expect(record));
        assert_eq!(reports.wait_for_all(now()), 3);
        reports.settle(&awaited[0], None);
        reports.forget(&awaited[1]);
        assert_eq!(reports.wait_for_all(now()), 1);
        reports.settle(&awaited[2], Some(Undelivered::NoOffset));
        assert_eq!(reports.wait_for_all(now()), 0);
        assert_eq!(reports.failed().into_keys().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_failure_ends_the_wait_for_the_others() {
        let reports = DeliveryReports::default();
        reports.begin();
        let [first, _second] = [0, 1].map(|record| reports.expect(record));
        reports.settle(&first, Some(Undelivered::NoOffset));
        assert_eq!(reports.wait_for_all(now() + Duration::from_mins(1)), 1);
    }

    #[test]
    fn a_late_report_of_an_earlier_transaction_counts_for_nothing() {
        let reports = DeliveryReports::default();
        reports.begin();
        let late = reports.expect(0);
        reports.begin();
        let _present = reports.expect(0);
        reports.settle(&late, Some(Undelivered::NoOffset));
        assert_eq!(reports.wait_for_all(now()), 1);
        assert!(reports.failed().is_empty());
    }
}
