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

use super::super::complaints::Complaints;
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
pub(super) struct Ticket {
    transaction: u64,
    record: usize,
}

/// The reports of the present transaction.
#[derive(Default)]
pub(super) struct Reports {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The present transaction; reports of earlier ones come late, and count for nothing.
    transaction: u64,
    outstanding: usize,
    failed: BTreeMap<usize, Undelivered>,
    /// The latest time at which the broker appended a record of it.
    appended_at: Option<Timestamp>,
}

impl Reports {
    /// A new transaction begins.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        *state = State { transaction: state.transaction + 1, ..State::default() };
    }

    /// One more record is about to be sent.
    pub(super) fn expect(&self, record: usize) -> Ticket {
        let mut state = self.state();
        state.outstanding += 1;
        Ticket { transaction: state.transaction, record }
    }

    /// It was not sent after all.
    pub(super) fn forget(&self, ticket: &Ticket) {
        self.settle(ticket, None);
    }

    /// Waits for the next report, but not past `latest`.
    pub(super) fn wait_for_one(&self, latest: Instant) {
        let state = self.state();
        let _woken = self.changed.wait_timeout(state, left(latest));
    }

    /// Waits until all reports are in, or one says that its record failed. How many are missing then.
    pub(super) fn wait_for_all(&self, latest: Instant) -> usize {
        let waits = |state: &mut State| state.outstanding > 0 && state.failed.is_empty();
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

    fn appended(&self, ticket: &Ticket, at: Option<Timestamp>) {
        let mut state = self.state();
        if ticket.transaction == state.transaction {
            state.appended_at = state.appended_at.max(at);
        }
    }

    fn settle(&self, ticket: &Ticket, failure: Option<Undelivered>) {
        let mut state = self.state();
        if ticket.transaction == state.transaction {
            state.outstanding = state.outstanding.saturating_sub(1);
            state.failed.extend(failure.map(|failure| (ticket.record, failure)));
            self.changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn left(latest: Instant) -> Duration {
    latest.saturating_duration_since(Instant::now())
}

/// What librdkafka calls for the transactions' producer.
#[derive(Clone, Default)]
pub(super) struct Context {
    pub(super) reports: Arc<Reports>,
    pub(super) complaints: Complaints,
}

impl ClientContext for Context {
    /// Why a transaction fails is told here first; what comes after is often no more than that its records were purged.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "TXNERR" {
            tracing::warn!(reason = message, "a transaction fails");
        }
        self.complaints.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let failure = match result {
            Ok(message) if message.offset() >= 0 => {
                self.reports.appended(&ticket, appended_at(message.timestamp()));
                None
            }
            Ok(_) => Some(Undelivered::NoOffset),
            Err((error, _)) => Some(Undelivered::Failed(error.clone())),
        };
        self.reports.settle(&ticket, failure);
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
        let reports = Reports::default();
        reports.begin();
        let tickets = [0, 1, 2].map(|record| reports.expect(record));
        assert_eq!(reports.wait_for_all(now()), 3);
        reports.settle(&tickets[0], None);
        reports.forget(&tickets[1]);
        assert_eq!(reports.wait_for_all(now()), 1);
        reports.settle(&tickets[2], Some(Undelivered::NoOffset));
        assert_eq!(reports.wait_for_all(now()), 0);
        assert_eq!(reports.failed().into_keys().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_failure_ends_the_wait_for_the_others() {
        let reports = Reports::default();
        reports.begin();
        let [first, _second] = [0, 1].map(|record| reports.expect(record));
        reports.settle(&first, Some(Undelivered::NoOffset));
        assert_eq!(reports.wait_for_all(now() + Duration::from_mins(1)), 1);
    }

    #[test]
    fn a_late_report_of_an_earlier_transaction_counts_for_nothing() {
        let reports = Reports::default();
        reports.begin();
        let late = reports.expect(0);
        reports.begin();
        let _present = reports.expect(0);
        reports.settle(&late, Some(Undelivered::NoOffset));
        assert_eq!(reports.wait_for_all(now()), 1);
        assert!(reports.failed().is_empty());
    }
}
