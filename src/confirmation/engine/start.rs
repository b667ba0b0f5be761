//! How the engine starts: its topics are waited for, and what cannot go well is refused before anything is decided.
//! Must not decide, nor read the ledger.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::clocks::read_clocks;
use super::duplicate_instance::DuplicateInstanceCheck;
use super::engine_settings::EngineSettings;
use super::ledger_owners;
use super::partition::INPUTS;
use super::partition_counts::PartitionCountWatch;
use super::telemetry::Telemetry;
use super::{AT_ONCE, CredentialRenewals, Engine, Membership, STOP_POLL};
use crate::confirmation::calls::{CallAnswer, Caller};
use crate::confirmation::codec::ledger::ForeignLedger;
use crate::confirmation::session::clock_guard::ClockGuard;
use crate::error_chain;
use crate::kafka::client_error::ClientError;
use crate::kafka::cluster;
use crate::kafka::group::{GroupMember, GroupSettings, TakeError, offsets};
use crate::kafka::transaction::{TransactionSettings, Transactions, Unfenced};
use crate::latch::Latch;
use crate::metrics::ConfirmationMetrics;

/// How long one look at the topics may take, and between two looks.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether it is known which group to join.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It is.
    Group,
    /// The engine was stopped before.
    Stopped,
}

/// What ends the engine: no waiting mends it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The inputs and the ledger are not made alike.
    #[error(
        "these topics must have the same number of partitions, but they differ: {0}: create them again with equal numbers"
    )]
    UnequalPartitions(String),
    /// Sessions are on other partitions than their ledger by now.
    #[error(
        "the inputs had {began_with} partitions and were given more: partition counts are fixed for a topic's life. Make new \
         topics with another kafka.topic_prefix"
    )]
    MorePartitions {
        /// How many there were.
        began_with: i32,
    },
    /// Records of one session may be on different partitions by now.
    #[error(
        "these topics had other numbers of partitions when the engine began, and keys have moved: {0}. Partition counts are \
         fixed for a topic's life: make them anew with the number that they had, or new ones with another kafka.topic_prefix"
    )]
    PartitionsChanged(String),
    /// Nobody would notice that partitions were added.
    #[error("the thread that watches the partition counts has ended")]
    Unwatched,
    /// The ledger is somebody else's.
    #[error(transparent)]
    ForeignLedger(#[from] ForeignLedger),
    /// librdkafka refuses a property.
    #[error("the consumer group cannot be joined: {0}")]
    Join(#[from] ClientError),
    /// The client does not take partitions.
    #[error("the inputs cannot be read")]
    Take(#[from] TakeError),
    /// The system gives no thread.
    #[error("the thread that reads the ledger cannot be started")]
    Thread(#[from] std::io::Error),
    /// A transaction without what would fence it: a bug.
    #[error("bug: the transaction carries no input offset, so Kafka cannot fence it")]
    Unfenced(#[from] Unfenced),
}

/// What the engine is made of.
pub struct EnginePlan {
    /// What is known before Kafka tells the number of partitions.
    pub settings: EngineSettings,
    /// The engine's clients.
    pub client: ClientConfig,
    /// Who writes: the same after a restart of this process.
    pub transactional_id: String,
    /// What the member of the group calls itself: the name of this process.
    pub instance: String,
    /// The largest record.
    pub record_bytes_max: usize,
    /// Makes calls.
    pub caller: Caller,
    /// Their answers.
    pub answers: Receiver<CallAnswer>,
    /// Other properties for its clients, when credentials change.
    pub renewals: CredentialRenewals,
    /// What is told.
    pub metrics: Arc<ConfirmationMetrics>,
    /// Set once transactions can begin.
    pub ready: Latch,
    /// Ends the engine.
    pub stop: CancellationToken,
    /// How long the end may take.
    pub grace: Duration,
}

impl EngineError {
    /// Whether another start may go well while this process runs. The ledger's owner stays who it is, and whoever joins the group
    /// to find that out again takes partitions from those that can work.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::ForeignLedger(_) => false,
            Self::UnequalPartitions(_)
            | Self::MorePartitions { .. }
            | Self::PartitionsChanged(_)
            | Self::Unwatched
            | Self::Join(_)
            | Self::Take(_)
            | Self::Thread(_)
            | Self::Unfenced(_) => true,
        }
    }
}

impl EnginePlan {
    /// Waits until it can write, and for the topics, joins the group, and runs until it is stopped. Blocks: it wants a thread
    /// of its own.
    ///
    /// # Errors
    /// What no waiting mends.
    pub fn run(self) -> Result<(), EngineError> {
        let mut plan = self;
        let mut telemetry = Telemetry::new(Arc::clone(&plan.metrics), plan.settings.policy.at_deadline);
        // Topics that are missing keep no webhook from being taken: what readiness waits for comes before them.
        let Some(producer) = plan.await_producer(&mut telemetry) else { return Ok(()) };
        let Some(partitions) = plan.await_topics(&mut telemetry)? else { return Ok(()) };
        if plan.settle_group(partitions, &mut telemetry) == Settled::Stopped {
            return Ok(());
        }
        plan.engine(partitions, producer, telemetry)?.run()
    }

    fn engine(self, partitions: i32, producer: Transactions, telemetry: Telemetry) -> Result<Engine, EngineError> {
        let transaction_settings = self.transaction_settings();
        let settings = self.settings.with_partitions(partitions);
        // Before the group is joined: whoever joins takes partitions from members that can work.
        ledger_owners::check_owners(&settings, &self.client)?;
        let inputs = settings.inputs.each_ref().map(ToString::to_string).to_vec();
        let client_id = Some(self.instance.clone());
        let group_settings = GroupSettings { client_id, ..GroupSettings::new(settings.group_id.clone(), inputs) };
        let began = Instant::now();
        let now = read_clocks();
        let clock = ClockGuard::new(settings.broker, now);
        let watched = inputs_and_ledger(&settings.inputs, settings.records.ledger_topic());
        let partition_counts = PartitionCountWatch::begin(self.client.clone(), watched, partitions)?;
        let duplicate_instance = DuplicateInstanceCheck {
            client: self.client.clone(),
            group_id: settings.group_id.clone(),
            instance: self.instance,
            stop: self.stop.clone(),
        };
        duplicate_instance.look_for()?;
        Ok(Engine {
            partition_counts,
            settings: Arc::new(settings),
            group: GroupMember::join(&self.client, &group_settings)?,
            transaction_settings,
            client: self.client,
            group_settings,
            producer: Some(producer),
            tried_producer: None,
            membership: Membership::Unassigned(None),
            epoch: 0,
            caller: self.caller,
            answers: self.answers,
            renewals: self.renewals,
            expects_answers: false,
            clock,
            asked_for_the_time: began,
            telemetry,
            at_once: AT_ONCE,
            set_aside: Arc::default(),
            taking: BTreeSet::new(),
            polled: began,
            kept_up: began,
            shown: began,
            last_reading: now,
            failures: 0,
            stop: self.stop,
            grace: self.grace,
        })
    }

    fn transaction_settings(&self) -> TransactionSettings {
        TransactionSettings::new(self.transactional_id.clone(), self.record_bytes_max)
    }

    /// The first producer; nothing when it is stopped before Kafka gives one.
    fn await_producer(&mut self, telemetry: &mut Telemetry) -> Option<Transactions> {
        while !self.stop.is_cancelled() {
            match Transactions::start(&self.client, &self.transaction_settings(), LOOK_WITHIN) {
                Ok(producer) => {
                    telemetry.kafka_available();
                    tracing::info!("the confirmation engine can write to Kafka");
                    self.ready.open();
                    return Some(producer);
                }
                Err(error) => telemetry.kafka_unavailable(&error_chain::joined(&error)),
            }
            self.pause();
        }
        None
    }

    /// How many partitions the inputs and the ledger have; nothing when it is stopped before they are there.
    fn await_topics(&mut self, telemetry: &mut Telemetry) -> Result<Option<i32>, EngineError> {
        let alike = inputs_and_ledger(&self.settings.inputs, self.settings.records.ledger_topic());
        // No provider is called while what comes of it cannot be told.
        let outputs = self.settings.records.output_topics().map(ToString::to_string);
        let topics: Vec<String> = alike.iter().cloned().chain(outputs).collect();
        while !self.stop.is_cancelled() {
            match cluster::partition_counts(&self.client, &topics, Instant::now() + LOOK_WITHIN) {
                Ok(counts) => match agree(counts, &alike)? {
                    Ok(partitions) => return Ok(Some(partitions)),
                    Err(missing) => telemetry.kafka_unavailable(&format!("topics are missing: {}", missing.join(", "))),
                },
                Err(failure) => telemetry.kafka_unavailable(&failure.to_string()),
            }
            self.pause();
        }
        Ok(None)
    }

    /// Goes on as the group of an earlier version's default name, where that one has read these inputs: in another group it would
    /// read them from their beginning, and decide beside members of the old one that still run.
    fn settle_group(&mut self, partitions: i32, telemetry: &mut Telemetry) -> Settled {
        let inputs = self.settings.inputs.each_ref().map(ToString::to_string);
        while let (Some(former), false) = (self.settings.former_group_id, self.stop.is_cancelled()) {
            // Asked of our own group first: once that has read them, an old group of the former name is of no account.
            let has_read = |group: &str| offsets::has_committed(&self.client, group, &inputs, partitions, LOOK_WITHIN);
            let is_former = has_read(&self.settings.group_id)
                .and_then(|is_ours| if is_ours { Ok(false) } else { has_read(former) });
            match is_former {
                Ok(false) => return Settled::Group,
                Ok(true) => {
                    tracing::info!(
                        group = former,
                        "the confirmation engine goes on as the consumer group that has read its inputs: its name was the default of \
                         an earlier version"
                    );
                    self.settings.group_id = former.to_owned();
                    return Settled::Group;
                }
                Err(failure) => telemetry.kafka_unavailable(&failure.to_string()),
            }
            self.pause();
        }
        if self.stop.is_cancelled() { Settled::Stopped } else { Settled::Group }
    }

    /// Lets some time pass between two looks, unless it is stopped.
    fn pause(&mut self) {
        // In short naps, so that a stop is not kept waiting for the next look.
        let again = Instant::now() + LOOK_EVERY;
        while Instant::now() < again && !self.stop.is_cancelled() {
            std::thread::sleep(STOP_POLL);
        }
        self.renew();
    }
}

/// The topics whose partitions belong together.
fn inputs_and_ledger(inputs: &[Arc<str>; INPUTS], ledger: &Arc<str>) -> BTreeSet<String> {
    inputs.iter().chain([ledger]).map(ToString::to_string).collect()
}

/// The one number of partitions that the topics in `alike` have, or the topics that are not there.
fn agree(counts: cluster::Counts, alike: &BTreeSet<String>) -> Result<Result<i32, Vec<String>>, EngineError> {
    let missing: Vec<String> =
        counts.iter().filter(|(_, count)| count.is_err()).map(|(name, _)| name.clone()).collect();
    let told = counts.into_iter().filter(|(name, _)| alike.contains(name));
    let told: Vec<(String, usize)> = told.filter_map(|(name, count)| Some((name, count.ok()?))).collect();
    let different: BTreeSet<usize> = told.iter().map(|(_, count)| *count).collect();
    match (different.first(), missing.is_empty()) {
        _ if different.len() > 1 => {
            let list: Vec<String> = told.iter().map(|(name, count)| format!("{name} has {count}")).collect();
            Err(EngineError::UnequalPartitions(list.join(", ")))
        }
        (Some(count), true) => Ok(Ok(i32::try_from(*count).unwrap_or(i32::MAX))),
        _ => Ok(Err(missing)),
    }
}
