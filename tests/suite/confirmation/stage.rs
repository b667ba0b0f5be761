//! What the engine's tests play on: a simulated provider, topics on a real Kafka, and the daemon in this process.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paybridge::config::Config;
use paybridge::config::files::FileReader;
use paybridge::message::confirmation::v1::{Action, Decision, DecisionRejected, Outcome};
use paybridge::message::event::v1::{EventMetadata, Money};
use paybridge::message::smart_glocal::v1::{
    NextAction, Operation, OperationKind, PaymentFinished, ReadyToConfirm, Session, SessionStatus,
};
use paybridge::message::timestamp;
use paybridge::provider::keys::public_keys;
use paybridge::simulator::{Settings, Simulator};
use prost::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::bridge::{Bridge, config, create_needed_topics, key_file};
use crate::eventually::eventually;
use crate::kafka::Kafka;

/// How long anything may take that happens by itself.
pub const LIMIT: Duration = Duration::from_mins(1);
/// The project that the provider knows.
pub const PROJECT: &str = "shop";

/// The engine's inputs, by what stands after the prefix.
pub const READY: &str = "smart-glocal.ready-to-confirm.v1";
pub const DECISION: &str = "confirmation.decision.v1";
pub const FINISHED: &str = "smart-glocal.payment-finished.v1";

/// A provider, and topics of its own.
pub struct Stage {
    pub kafka: &'static Kafka,
    pub provider: Simulator,
    pub config: Config,
    producer: ThreadedProducer<DefaultProducerContext>,
    runtime: Runtime,
}

impl Stage {
    /// A stage with rules and keys of `[confirmation]`.
    pub fn set(confirmation: &str) -> Self {
        Self::set_with(Kafka::shared(), confirmation, Settings::new(PROJECT, known_keys()))
    }

    /// A stage on this Kafka, with a provider like this.
    pub fn set_with(kafka: &'static Kafka, confirmation: &str, settings: Settings) -> Self {
        let runtime = Runtime::new().unwrap();
        let provider = {
            let _entered = runtime.enter();
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            Simulator::start(listener, None, settings).unwrap()
        };
        let sources = sources(&format!("http://{}", provider.address));
        let text = format!("{sources}\n[confirmation]\nenabled = true\n{confirmation}");
        let config = config(kafka.bootstrap(), &text, &[]);
        create_needed_topics(kafka, &config);
        let producer = kafka.client().set("linger.ms", "0").set("partitioner", "murmur2_random").create().unwrap();
        Self { kafka, provider, config, producer, runtime }
    }

    /// A daemon that is ready.
    pub fn engine(&self) -> Bridge {
        let bridge = Bridge::launch(self.config.clone());
        bridge.await_ready();
        bridge
    }

    /// Waits for an answer of Kafka's.
    pub fn wait<T>(&self, asked: impl Future<Output = T>) -> T {
        self.runtime.block_on(asked)
    }

    /// The full name of a topic.
    pub fn topic(&self, part: &str) -> String {
        format!("{}.{part}", self.config.kafka.topic_prefix.as_ref())
    }

    /// A session that waits, as the ingress publishes it.
    pub fn ready(&self, session_id: &str, received_at: Timestamp, cents: i64) {
        let event = ready_event(session_id, &format!("ready {session_id}"), received_at, cents);
        self.write(READY, session_id, &event.encode_to_vec());
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

    /// The outcomes so far, in each partition's order.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.read("confirmation.outcome.v1")
    }

    /// The rejected decisions so far.
    pub fn rejections(&self) -> Vec<DecisionRejected> {
        self.read("confirmation.decision-rejected.v1")
    }

    fn read<M: Message + Default>(&self, part: &str) -> Vec<M> {
        let records = self.kafka.read_all(&self.topic(part));
        records.iter().map(|record| M::decode(record.value.as_deref().unwrap_or_default()).unwrap()).collect()
    }

    /// Waits until there are so many outcomes; gives them by session, each exactly once.
    #[track_caller]
    pub fn await_outcomes(&self, count: usize) -> BTreeMap<String, Outcome> {
        let outcomes = eventually(LIMIT, || match self.outcomes() {
            outcomes if outcomes.len() >= count => Ok(outcomes),
            outcomes => Err(format!("{} outcomes of {count}", outcomes.len())),
        });
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

/// The provider's idea of whose calls are authentic.
pub fn known_keys() -> Vec<paybridge::provider::keys::PublicKey> {
    public_keys(&FileReader::new(), &[key_file("smart-glocal-public.pem")]).unwrap()
}

/// The one source, whose provider listens at this URL.
pub fn sources(base_url: &str) -> String {
    let private_key = key_file("smart-glocal-private.pem");
    format!(
        "[sources.sg-main]\nprovider = \"smart-glocal\"\npublic_key_files = [\"smart-glocal-public.pem\"]\n\
         [sources.sg-main.api]\nbase_url = \"{base_url}\"\nversion = 2\nproject = \"{PROJECT}\"\nprivate_key_file = \"{}\"\n",
        private_key.display()
    )
}

/// A decision of another team on a session of the one source.
pub fn decision(session_id: &str, action: Action, decision_id: &str) -> Decision {
    Decision {
        source: "sg-main".to_owned(),
        session_id: session_id.to_owned(),
        action: action.into(),
        decided_by: "risk".to_owned(),
        reason: "looked at".to_owned(),
        decision_id: decision_id.to_owned(),
    }
}

/// A session that waits, as the ingress publishes it.
pub fn ready_event(session_id: &str, event_id: &str, received_at: Timestamp, cents: i64) -> ReadyToConfirm {
    ReadyToConfirm {
        metadata: Some(metadata(session_id, event_id, received_at)),
        session: Some(session(session_id, SessionStatus::InProgress, NextAction::Confirm, received_at, cents)),
    }
}

/// A session that the provider tells the end of.
pub fn finished_event(session_id: &str, status: SessionStatus) -> PaymentFinished {
    let now = Timestamp::now();
    PaymentFinished {
        metadata: Some(metadata(session_id, &format!("finished {session_id}"), now)),
        session: Some(session(session_id, status, NextAction::Unspecified, now, 100)),
    }
}

fn metadata(session_id: &str, event_id: &str, received_at: Timestamp) -> EventMetadata {
    EventMetadata {
        event_id: event_id.to_owned(),
        source: "sg-main".to_owned(),
        provider: "smart-glocal".to_owned(),
        subject: session_id.to_owned(),
        received_at: Some(timestamp(received_at)),
        ..EventMetadata::default()
    }
}

fn session(id: &str, status: SessionStatus, next_action: NextAction, updated_at: Timestamp, cents: i64) -> Session {
    let operation = Operation {
        id: format!("po_{id}"),
        kind: OperationKind::Payout.into(),
        amount: Some(Money { currency: Some("USD".to_owned()), minor_units: cents, exponent: Some(2) }),
        ..Operation::default()
    };
    Session {
        id: id.to_owned(),
        status: status.into(),
        next_action: next_action.into(),
        updated_at: Some(timestamp(updated_at)),
        operations: vec![operation],
        ..Session::default()
    }
}

/// This long ago.
pub fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}
