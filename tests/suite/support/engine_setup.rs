//! What the engine's tests need: a simulated provider, topics on a real Kafka, and the daemon in this process.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::config::files::FileReader;
use paybridge::confirmation::codec::{inputs, ledger};
use paybridge::confirmation::session::model::{Opening, SessionEntry, SessionKey};
use paybridge::message::confirmation::v1::{Action, DecisionRejected, Outcome, RejectionReason};
use paybridge::message::event::v1::QuarantinedWebhook;
use paybridge::message::smart_glocal::v1::SessionStatus;
use paybridge::provider::keys::public_keys;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::{Simulator, SimulatorSettings};
use prost::Message;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::bridge::{Bridge, config, create_needed_topics, key_file};
use super::daemon::{self, configuration};
pub use super::engine_events::{ago, decision, event_of, finished_event, ready_body, ready_event, waiting_event};
use super::eventually::{LIMIT, eventually};
use super::kafka::{Kafka, Record};

/// The project that the provider knows.
pub const PROJECT: &str = "shop";

/// The engine's topics, without the prefix.
pub const READY: &str = "smart-glocal.ready-to-confirm.v1";
pub const FINISHED: &str = "smart-glocal.payment-finished.v1";
pub const DECISION: &str = "confirmation.decision.v1";
pub const LEDGER: &str = "confirmation.ledger.v1";
pub const OUTCOME: &str = "confirmation.outcome.v1";
pub const REJECTED: &str = "confirmation.decision-rejected.v1";
pub const QUARANTINE: &str = "quarantine.v1";

/// A provider, and topics of its own.
pub struct EngineSetup {
    pub kafka: &'static Kafka,
    pub provider: Simulator,
    pub config: Config,
    producer: ThreadedProducer<DefaultProducerContext>,
    runtime: Runtime,
}

impl EngineSetup {
    /// A setup with rules and keys of `[confirmation]`.
    pub fn new(confirmation: &str) -> Self {
        Self::with(Kafka::shared(), confirmation, SimulatorSettings::new(PROJECT, known_keys()))
    }

    /// A setup on this Kafka, with a provider like this.
    pub fn with(kafka: &'static Kafka, confirmation: &str, settings: SimulatorSettings) -> Self {
        Self::signing(kafka, confirmation, settings, &key_file("smart-glocal-private.pem"))
    }

    /// The same with calls signed by the key of this file.
    pub fn signing(kafka: &'static Kafka, confirmation: &str, settings: SimulatorSettings, private_key: &Path) -> Self {
        let (provider, runtime) = provider(settings);
        let sources = signed_sources(&format!("http://{}", provider.address), private_key);
        let text = format!("{sources}\n[confirmation]\nenabled = true\n{confirmation}");
        let replicas = kafka.nodes().len().to_string();
        let config = config(kafka.bootstrap(), &text, &[("KAFKA__REPLICATION_FACTOR", &replicas)]);
        create_needed_topics(kafka, &config);
        Self::around(kafka, provider, config, runtime)
    }

    /// A setup for the program itself, and the text of its configuration file. Topics are not made.
    pub fn for_process(kafka: &'static Kafka, confirmation: &str, settings: SimulatorSettings) -> (Self, String) {
        let (provider, runtime) = provider(settings);
        let common = configuration(kafka.bootstrap(), daemon::Settings::default());
        let (before, rest) = common.split_once("[sources.sg-main]").unwrap();
        let (_, after) = rest.split_once("[kafka]").unwrap();
        let sources = sources(&format!("http://{}", provider.address));
        let sources = sources.replace("_files = [\"", &format!("_files = [\"{}", key_file("").display()));
        let text = format!("{before}{sources}[kafka]{after}[confirmation]\nenabled = true\n{confirmation}\n");
        let config = Config::from_toml(&text, []).unwrap_or_else(|errors| panic!("{errors}"));
        (Self::around(kafka, provider, config, runtime), text)
    }

    /// The same on the shared Kafka, with its topics made.
    pub fn for_process_with_topics(confirmation: &str) -> (Self, String) {
        let kafka = Kafka::shared();
        let (setup, text) = Self::for_process(kafka, confirmation, SimulatorSettings::new(PROJECT, known_keys()));
        create_needed_topics(kafka, &setup.config);
        (setup, text)
    }

    fn around(kafka: &'static Kafka, provider: Simulator, config: Config, runtime: Runtime) -> Self {
        let producer = kafka
            .client()
            .set("linger.ms", "0")
            .set("message.max.bytes", "2000000")
            .set("partitioner", "murmur2_random")
            .create()
            .unwrap();
        Self { kafka, provider, config, producer, runtime }
    }

    /// A daemon that is ready.
    #[track_caller]
    pub fn engine(&self) -> Bridge {
        self.engine_with(|_| {})
    }

    /// A daemon that is ready and differs from the setup's configuration: in what the check of a file may refuse, too.
    #[track_caller]
    pub fn engine_with(&self, change: impl FnOnce(&mut Config)) -> Bridge {
        let mut config = self.config.clone();
        change(&mut config);
        let bridge = Bridge::launch(config);
        bridge.await_ready();
        bridge
    }

    /// Waits for an answer of Kafka's.
    pub fn wait<T>(&self, asked: impl Future<Output = T>) -> T {
        self.runtime.block_on(asked)
    }

    /// The engine's consumer group.
    pub fn group(&self) -> String {
        self.config.confirmation.group(&self.config.kafka.topic_prefix)
    }

    /// The full name of a topic.
    pub fn topic(&self, part: &str) -> String {
        format!("{}.{part}", self.config.kafka.topic_prefix.as_ref())
    }

    /// A session that waits since `updated_at`, as the ingress publishes it.
    pub fn ready(&self, session_id: &str, updated_at: Timestamp, cents: i64) {
        self.write(READY, session_id, &waiting_event(session_id, updated_at, cents).encode_to_vec());
    }

    /// A session that an engine before this one opened, as its ledger has it, with a window that began then.
    pub fn restore(&self, session_id: &str, window_began_at: Timestamp) {
        let key = SessionKey { source: "sg-main".into(), session_id: session_id.into() };
        let opening = Opening {
            ready_event_id: waiting_event(session_id, window_began_at, 100).metadata.unwrap().event_id,
            recorded_at: window_began_at,
            window_began_at,
            operations: Vec::new(),
            dry_run: false,
            failed_rule: String::new(),
        };
        let owner = ledger::LedgerOwner {
            group_id: self.config.confirmation.group(&self.config.kafka.topic_prefix),
            partitions: u32::try_from(self.config.kafka.partitions).unwrap(),
            dry_run: false,
        };
        let partition = self.partition_of(session_id);
        self.write_to(LEDGER, partition, ledger::OWNER_KEY, Some(&ledger::encode_owner(&owner)));
        let entry = ledger::encode(&key, &SessionEntry::Awaiting(Box::new(opening)));
        self.write_to(LEDGER, partition, &ledger::key(&key), Some(&entry));
    }

    /// A session that finished at the provider by itself.
    pub fn finished(&self, session_id: &str, status: SessionStatus) {
        self.write(FINISHED, session_id, &finished_event(session_id, status).encode_to_vec());
    }

    /// A decision of another team.
    pub fn decide(&self, session_id: &str, action: Action, decision_id: &str) {
        self.write(DECISION, session_id, &decision(session_id, action, decision_id).encode_to_vec());
    }

    /// Writes a record and waits for it to be there.
    pub fn write(&self, part: &str, key: &str, value: &[u8]) {
        self.send(part, key, value);
        self.producer.flush(LIMIT).unwrap();
    }

    /// Writes a record.
    pub fn send(&self, part: &str, key: &str, value: &[u8]) {
        let topic = self.topic(part);
        self.producer.send(BaseRecord::to(&topic).key(key).payload(value)).map_err(|(error, _)| error).unwrap();
    }

    /// Writes a record to a partition that is not its key's, perhaps.
    pub fn send_to(&self, part: &str, partition: i32, key: &str, value: &[u8]) {
        let topic = self.topic(part);
        let record = BaseRecord::to(&topic).partition(partition).key(key).payload(value);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    /// Writes a record to a partition, whatever its key says, and waits for it to be there; without a value, a tombstone.
    pub fn write_to(&self, part: &str, partition: i32, key: &str, value: Option<&[u8]>) {
        self.write_record(part, partition, key, value, OwnedHeaders::new());
    }

    /// The same with a header.
    pub fn write_to_with(&self, part: &str, partition: i32, key: &str, value: Option<&[u8]>, header: (&str, &str)) {
        let (name, text) = header;
        let headers = OwnedHeaders::new().insert(Header { key: name, value: Some(text) });
        self.write_record(part, partition, key, value, headers);
    }

    fn write_record(&self, part: &str, partition: i32, key: &str, value: Option<&[u8]>, headers: OwnedHeaders) {
        let topic = self.topic(part);
        let record = BaseRecord::to(&topic).key(key).partition(partition).headers(headers);
        let record = match value {
            Some(value) => record.payload(value),
            None => record,
        };
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.producer.flush(LIMIT).unwrap();
    }

    /// The partition that a session belongs to.
    pub fn partition_of(&self, session_id: &str) -> i32 {
        inputs::partition_of(session_id, self.config.kafka.partitions)
    }

    /// Ids of sessions that belong to a partition.
    pub fn sessions_of(&self, partition: i32) -> impl Iterator<Item = String> {
        (0..100_000).map(|number| format!("ps_{number}")).filter(move |id| self.partition_of(id) == partition)
    }

    /// The partition after a session's.
    pub fn other_partition(&self, session_id: &str) -> i32 {
        (self.partition_of(session_id) + 1) % self.config.kafka.partitions
    }

    /// Waits until all that was written before of the session's partition is read: a session behind it is decided.
    #[track_caller]
    pub fn await_read(&self, session_id: &str) {
        let partition = self.partition_of(session_id);
        let behind = (0..).map(|number| format!("ps_behind_{session_id}_{number}"));
        let behind =
            behind.into_iter().find(|id| self.partition_of(id) == partition && self.entries(id).is_empty()).unwrap();
        self.ready(&behind, Timestamp::now(), 100);
        self.await_outcome(&behind);
    }

    /// How often the provider was asked about a session.
    pub fn status_calls(&self, session_id: &str) -> usize {
        let received = self.provider.session(session_id).map(|session| session.received).unwrap_or_default();
        received.iter().filter(|received| received.operation == Operation::Status).count()
    }

    /// The records of a topic so far.
    pub fn records(&self, part: &str) -> Vec<Record> {
        self.kafka.read_all(&self.topic(part))
    }

    /// The outcomes so far, in each partition's order.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.read(OUTCOME)
    }

    /// The rejected decisions so far.
    pub fn rejections(&self) -> Vec<DecisionRejected> {
        self.read(REJECTED)
    }

    /// What is in quarantine so far.
    pub fn quarantined(&self) -> Vec<QuarantinedWebhook> {
        self.read(QUARANTINE)
    }

    /// Waits until there are so many rejected decisions; gives each one's identity and reason, in order.
    #[track_caller]
    pub fn await_rejections(&self, count: usize) -> Vec<(String, RejectionReason)> {
        let rejections = await_count(count, || self.rejections());
        let told = |rejected: &DecisionRejected| {
            (rejected.decision.clone().unwrap_or_default().decision_id, rejected.reason())
        };
        let mut told: Vec<_> = rejections.iter().map(told).collect();
        told.sort();
        told
    }

    /// Waits until so many records are in quarantine.
    #[track_caller]
    pub fn await_quarantined(&self, count: usize) -> Vec<QuarantinedWebhook> {
        await_count(count, || self.quarantined())
    }

    /// Waits until the ledger has so many entries of a session of the one source.
    #[track_caller]
    pub fn await_entries(&self, session_id: &str, count: usize) -> Vec<Record> {
        await_count(count, || self.entries(session_id))
    }

    /// Waits until the ledger has forgotten a session of the one source, and gives all that it ever had of it.
    #[track_caller]
    pub fn await_forgotten(&self, session_id: &str) -> Vec<Record> {
        eventually(LIMIT, || match self.entries(session_id) {
            entries if entries.last().is_some_and(|last| last.value.is_none()) => Ok(entries),
            entries => Err(format!("{} entries and no tombstone", entries.len())),
        })
    }

    fn entries(&self, session_id: &str) -> Vec<Record> {
        let key = format!("sg-main/{session_id}").into_bytes();
        self.records(LEDGER).into_iter().filter(|record| record.key.as_ref() == Some(&key)).collect()
    }

    fn read<M: Message + Default>(&self, part: &str) -> Vec<M> {
        let records = self.records(part);
        records.iter().map(|record| M::decode(record.value.as_deref().unwrap_or_default()).unwrap()).collect()
    }

    /// Waits until there are so many outcomes; gives them by session, each exactly once.
    #[track_caller]
    pub fn await_outcomes(&self, count: usize) -> BTreeMap<String, Outcome> {
        let outcomes = await_count(count, || self.outcomes());
        let by_session: BTreeMap<String, Outcome> =
            outcomes.iter().map(|outcome| (outcome.session_id.clone(), outcome.clone())).collect();
        assert_eq!((outcomes.len(), by_session.len()), (count, count), "an outcome twice, or too many");
        by_session
    }

    /// Waits for the one outcome of one session.
    #[track_caller]
    pub fn await_outcome(&self, session_id: &str) -> Outcome {
        let of_session = || {
            let all = self.outcomes();
            let mut of_session = all.into_iter().filter(|outcome| outcome.session_id == session_id);
            let first = of_session.next();
            assert!(of_session.next().is_none(), "a second outcome of {session_id}");
            first.ok_or_else(|| format!("no outcome of {session_id}"))
        };
        eventually(LIMIT, of_session)
    }
}

/// Waits until there are so many, and looks that there are no more.
#[track_caller]
fn await_count<T: Debug>(count: usize, look: impl Fn() -> Vec<T>) -> Vec<T> {
    let found = eventually(LIMIT, || match look() {
        found if found.len() >= count => Ok(found),
        found => Err(format!("{} of {count}: {found:?}", found.len())),
    });
    assert_eq!(found.len(), count, "{found:?}");
    found
}

/// Waits until a series of `/metrics` has a value.
#[track_caller]
pub fn await_metric(engine: &Bridge, series: &str, value: u64) {
    eventually(LIMIT, || match engine.metric(series).to_string() {
        shown if shown == value.to_string() => Ok(()),
        shown => Err(format!("{series} is {shown}, not {value}")),
    });
}

fn provider(settings: SimulatorSettings) -> (Simulator, Runtime) {
    let runtime = Runtime::new().unwrap();
    let provider = {
        let _entered = runtime.enter();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        Simulator::start(listener, None, settings).unwrap()
    };
    (provider, runtime)
}

/// The provider's idea of whose calls are authentic.
pub fn known_keys() -> Vec<paybridge::provider::keys::PublicKey> {
    public_keys(&FileReader::new(), &[key_file("smart-glocal-public.pem")]).unwrap()
}

/// The one source, whose provider listens at this URL.
pub fn sources(base_url: &str) -> String {
    signed_sources(base_url, &key_file("smart-glocal-private.pem"))
}

fn signed_sources(base_url: &str, private_key: &Path) -> String {
    format!(
        "[sources.sg-main]\nprovider = \"smart-glocal\"\npublic_key_files = [\"smart-glocal-public.pem\"]\n\
         [sources.sg-main.api]\nbase_url = \"{base_url}\"\nversion = 2\nproject = \"{PROJECT}\"\nprivate_key_file = \"{}\"\n",
        private_key.display()
    )
}
