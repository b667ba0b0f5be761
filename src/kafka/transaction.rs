//! Commits records and input offsets together or not at all, fenced by the membership under which the input was read.
//! Must not know what a record means, nor read any input. One thread owns it; its calls block: not for a tokio worker.

mod batch;
mod commit_error;
mod reports;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use super::client_error::ClientError;
use super::group::Generation;
pub use batch::{Batch, Destination, NextOffset, Outgoing, Unfenced};
pub use commit_error::{CommitError, CommitFailure, RecordRefusal};
use reports::{AwaitedReport, TransactionContext, Undelivered};

/// After this long Kafka aborts a transaction by itself, and nobody can read past it before.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a step of a transaction is tried: much longer than one takes, and all steps together end well before the
/// member's poll interval does.
const STEP: Duration = Duration::from_secs(5);
/// How long the call that commits input offsets may overrun its step before the producer is given up. It overruns it by some
/// seconds where brokers are away, and may never return (see [`Transactions::send_offsets`]). By then Kafka has aborted the
/// transaction.
const OFFSETS_OVERRUN: Duration = Duration::from_secs(5);
/// Between two tries of one step.
const RETRY_AFTER: Duration = Duration::from_millis(10);
/// The most bytes that wait in the producer's queue, in KiB; it is waited for room where that is too few.
const QUEUE_KBYTES_MAX: u32 = 64 * 1024;

/// What the producer of transactions is.
#[derive(Clone, Debug)]
pub struct TransactionSettings {
    /// Who writes: the same after a restart, so that a new process ends at once what the old one left open.
    pub transactional_id: String,
    /// The largest record, in bytes; not more than its topic takes.
    pub record_bytes_max: usize,
    /// After this long Kafka aborts an open transaction.
    pub timeout: Duration,
}

impl TransactionSettings {
    /// The usual timeout: 10 s.
    pub fn new(transactional_id: String, record_bytes_max: usize) -> Self {
        Self { transactional_id, record_bytes_max, timeout: TRANSACTION_TIMEOUT }
    }
}

/// Why there is no producer of transactions.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// librdkafka makes no client of the properties.
    #[error("the producer cannot be created: {0}")]
    Create(ClientError),
    /// Kafka does not take it in time, or refuses it.
    #[error("Kafka does not let the producer begin transactions: {client_error}")]
    Initialize {
        /// What was reported beside the call's own error.
        client_error: ClientError,
        /// What the call says.
        #[source]
        error: KafkaError,
    },
}

/// A producer that writes by transactions alone. Dropping it takes a fraction of a second, and leaves an open transaction
/// to its timeout; there is none between calls unless one was [`CommitError::Unknown`].
pub struct Transactions {
    config: ClientConfig,
    producer: Arc<ThreadedProducer<TransactionContext>>,
    context: TransactionContext,
}

impl Transactions {
    /// Makes the producer, and ends what an earlier one of the same transactional id left open. Blocks `within` the time.
    ///
    /// # Errors
    /// librdkafka refuses a property; Kafka does not answer in time, or refuses.
    pub fn start(client: &ClientConfig, settings: &TransactionSettings, within: Duration) -> Result<Self, StartError> {
        Self::begin(configured(client, settings), within)
    }

    fn begin(config: ClientConfig, within: Duration) -> Result<Self, StartError> {
        let context = TransactionContext::default();
        let producer: ThreadedProducer<TransactionContext> = config
            .create_with_context(context.clone())
            .map_err(|error| StartError::Create(ClientError::of_creation(&error)))?;
        let this = Self { config, producer: Arc::new(producer), context };
        repeat(within, |left| this.producer.init_transactions(left)).map_err(|error| StartError::Initialize {
            client_error: this.context.client_errors.explain(&error),
            error,
        })?;
        Ok(this)
    }

    /// Commits the batch, if its inputs still belong to the member that `generation` is of. `is_current` says whether an
    /// epoch is still the group's. Gives when the broker appended the last of its records, by the broker's clock; nothing where
    /// their topics do not keep that.
    ///
    /// # Errors
    /// What is left to do about it: see [`CommitError`].
    pub fn commit(
        &mut self,
        batch: &Batch,
        generation: &Generation,
        is_current: impl Fn(u64) -> bool,
    ) -> Result<Option<Timestamp>, CommitError> {
        if !is_current(generation.epoch) {
            return Err(CommitError::Fenced(CommitFailure::Superseded));
        }
        self.context.reports.begin();
        self.producer.begin_transaction().map_err(|error| CommitError::Unknown(CommitFailure::Begin(error)))?;
        match self.attempt(batch, generation, is_current) {
            Ok(()) => Ok(self.context.reports.appended_at()),
            Err(failed) => Err(self.end(failed)),
        }
    }

    /// Whether Kafka refuses this producer because a later one of the same transactional id has begun: in another process, or
    /// because a transaction of this one took longer than its timeout.
    pub fn was_replaced(&self) -> bool {
        use RDKafkaErrorCode as Code;
        let fatal = self.producer.client().fatal_error();
        matches!(fatal, Some((Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch, _)))
    }

    /// The steps of an open transaction. Each record's delivery is waited for, because a commit with records outstanding
    /// takes 100 ms and more, and because an acknowledgement without an offset must not be committed.
    fn attempt(
        &self,
        batch: &Batch,
        generation: &Generation,
        is_current: impl Fn(u64) -> bool,
    ) -> Result<(), CommitFailure> {
        let latest = Instant::now() + STEP;
        for (number, record) in batch.records.iter().enumerate() {
            self.send(number, record, latest)?;
        }
        self.await_deliveries(Instant::now() + STEP)?;
        if !is_current(generation.epoch) {
            return Err(CommitFailure::Superseded);
        }
        self.send_offsets(batch, generation)?;
        repeat(STEP, |left| self.producer.commit_transaction(left)).map_err(CommitFailure::Commit)
    }

    /// Puts the input offsets into the transaction. librdkafka's call does not keep to its timeout, and may never return
    /// (its issues 5456 and 5511): it waits for a change of the broker that it takes for the group's coordinator; when another
    /// broker became the coordinator meanwhile, there is no such change. So a thread of its own makes the call, and is left
    /// behind with its producer if it does not come back. Both end when the call does.
    fn send_offsets(&self, batch: &Batch, generation: &Generation) -> Result<(), CommitFailure> {
        let producer = Arc::clone(&self.producer);
        let (offsets, metadata) = (batch.offsets.clone(), Arc::clone(&generation.metadata));
        let (sender, answer) = mpsc::sync_channel(1);
        let call = move || {
            let sent = repeat(STEP, |left| producer.send_offsets_to_transaction(&offsets, &metadata, left));
            // Given back before it is told: whoever hears of it may drop the last one.
            drop(producer);
            drop(sender.send(sent)); // nobody listens after the overrun
        };
        thread::Builder::new().name("input-offsets".to_owned()).spawn(call).map_err(CommitFailure::OffsetsThread)?;
        match answer.recv_timeout(STEP + OFFSETS_OVERRUN) {
            Ok(sent) => sent.map_err(CommitFailure::Offsets),
            Err(_) => Err(CommitFailure::OffsetsUnanswered),
        }
    }

    /// Puts one record into the producer's queue; waits for room in it.
    fn send(&self, number: usize, record: &Outgoing, latest: Instant) -> Result<(), CommitFailure> {
        loop {
            let base = base_record(record, Box::new(self.context.reports.expect(number)));
            let Err((error, refused)) = self.producer.send(base) else { return Ok(()) };
            self.context.reports.forget(&refused.delivery_opaque);
            let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !is_full || Instant::now() >= latest {
                return Err(CommitFailure::Send { record: number, error });
            }
            self.context.reports.wait_for_one(latest.min(Instant::now() + RETRY_AFTER));
        }
    }

    fn await_deliveries(&self, latest: Instant) -> Result<(), CommitFailure> {
        let outstanding = self.context.reports.wait_for_all(latest);
        // Of the others it is told that they are purged, because of the one that Kafka refused.
        let mut failed = self.context.reports.failed().into_iter().collect::<Vec<_>>();
        failed.sort_by_key(|(record, undelivered)| (!undelivered.is_refused(), *record));
        if let Some((record, undelivered)) = failed.into_iter().next() {
            return Err(CommitFailure::delivery(record, undelivered));
        }
        // librdkafka counts a record until its report has been given back, which is some microseconds later; a commit that
        // finds it would wait for 100 ms.
        while outstanding == 0 && self.producer.in_flight_count() > 0 && Instant::now() < latest {
            std::thread::yield_now();
        }
        match outstanding {
            0 => Ok(()),
            outstanding => Err(CommitFailure::Unreported { outstanding }),
        }
    }

    /// Ends a transaction that failed: by an abort where one is possible.
    fn end(&mut self, failed: CommitFailure) -> CommitError {
        if !failed.can_be_aborted() {
            return CommitError::Unknown(failed);
        }
        if let Err(error) = repeat(STEP, |left| self.producer.abort_transaction(left)) {
            return CommitError::Unknown(CommitFailure::Abort { error, cause: Box::new(failed) });
        }
        // All reports are in now, so all records that share a batch that is too large are known.
        let undelivered = self.context.reports.failed();
        // A record that Kafka refused leaves a gap in the producer's sequence, and its next transaction would break on that.
        if undelivered.values().any(Undelivered::is_refused) {
            match Self::begin(self.config.clone(), STEP) {
                Ok(renewed) => *self = renewed,
                Err(error) => return CommitError::Unknown(CommitFailure::Renew { error, cause: Box::new(failed) }),
            }
        }
        CommitError::after_abort(failed, &undelivered)
    }
}

/// Makes a call again, the same one, while it fails in a way that may pass and the time is not over.
fn repeat(within: Duration, call: impl Fn(Duration) -> KafkaResult<()>) -> KafkaResult<()> {
    let latest = Instant::now() + within;
    loop {
        match call(latest.saturating_duration_since(Instant::now())) {
            Err(error) if commit_error::is_passing(&error) && Instant::now() + RETRY_AFTER < latest => {
                std::thread::sleep(RETRY_AFTER);
            }
            done => return done,
        }
    }
}

fn configured(client: &ClientConfig, settings: &TransactionSettings) -> ClientConfig {
    // A record that cannot be delivered is known to be so before its transaction times out.
    let message_timeout = settings.timeout * 4 / 5;
    let mut config = client.clone();
    config
        .set("transactional.id", &settings.transactional_id)
        .set("transaction.timeout.ms", settings.timeout.as_millis().to_string())
        .set("message.timeout.ms", message_timeout.as_millis().to_string())
        // No longer than the transaction's, or librdkafka makes no client.
        .set("socket.timeout.ms", message_timeout.as_millis().to_string())
        .set("acks", "all")
        .set("enable.idempotence", "true")
        // While the coordinator ends the last transaction it asks for patience; 100 ms, librdkafka's default, is too much.
        .set("retry.backoff.ms", "2")
        .set("linger.ms", "0")
        .set("partitioner", "murmur2_random")
        .set("message.max.bytes", settings.record_bytes_max.to_string())
        .set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX.to_string())
        .set("allow.auto.create.topics", "false")
        .set("statistics.interval.ms", "0")
        .set_log_level(RDKafkaLogLevel::Info); // where closed connections are told
    // A default that a user may change: some clusters take no lz4.
    if config.get("compression.type").is_none() {
        config.set("compression.type", "lz4");
    }
    config
}

fn base_record(record: &Outgoing, awaited: Box<AwaitedReport>) -> BaseRecord<'_, [u8], [u8], Box<AwaitedReport>> {
    let headers = OwnedHeaders::new_with_capacity(record.headers.len());
    let headers = record
        .headers
        .iter()
        .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: value.as_ref() }));
    let mut base = BaseRecord::with_opaque_to(&record.topic, awaited).key(record.key.as_slice()).headers(headers);
    base.payload = record.value.as_deref();
    base.partition = match record.destination {
        Destination::ByKey => None,
        Destination::Owned(partition) | Destination::Shared(partition) => Some(partition),
    };
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compresses_as_the_cluster_takes_it() {
        let settings = TransactionSettings::new("one".to_owned(), 1_048_576);
        let mut client = ClientConfig::new();
        assert_eq!(configured(&client, &settings).get("compression.type"), Some("lz4"));
        client.set("compression.type", "none");
        assert_eq!(configured(&client, &settings).get("compression.type"), Some("none"));
    }
}
