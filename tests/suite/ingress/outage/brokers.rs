//! Errors that a broker tells, from a cluster in this process that tells them on order.

use std::collections::BTreeMap;
use std::time::Duration;

use paybridge::kafka::publisher::RESTART_REASONS;
use paybridge::kafka::topics;
use paybridge::provider::SignedWebhook;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey as Request;
use rdkafka::types::RDKafkaRespErr::{
    self, RD_KAFKA_RESP_ERR__TRANSPORT as DISCONNECTED,
    RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED as CLUSTER_AUTHORIZATION_FAILED,
    RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH as INVALID_PRODUCER_EPOCH,
    RD_KAFKA_RESP_ERR_INVALID_RECORD as INVALID_RECORD, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as MSG_SIZE_TOO_LARGE,
    RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as NOT_ENOUGH_REPLICAS,
    RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND as NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
    RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER as OUT_OF_ORDER,
    RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as REQUEST_TIMED_OUT,
    RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as TOPIC_AUTHORIZATION_FAILED,
    RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID as UNKNOWN_PRODUCER_ID,
    RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as UNKNOWN_TOPIC,
};

use super::{LIMIT, await_nothing_in_flight};
use crate::support::bridge::{Bridge, SOURCES, config, count_by_id, ready_to_confirm};
use crate::support::eventually::eventually;
use crate::support::kafka::read_all;
use crate::support::stream::check_answer;

const TOPIC: &str = "smart-glocal.ready-to-confirm.v1";
/// More errors than a producer's attempts within any ack timeout here.
const PERSISTENTLY: usize = 1000;

/// A broker that fails as it is told, and a daemon that uses it.
struct Faulty {
    cluster: MockCluster<'static, DefaultProducerContext>,
    bridge: Bridge,
    /// Events by their numbers.
    webhooks: Vec<SignedWebhook>,
}

impl Faulty {
    fn start() -> Self {
        let faulty = Self::launch();
        faulty.bridge.await_ready();
        faulty
    }

    fn launch() -> Self {
        Self::launch_with(&[])
    }

    fn launch_with(more: &[(&str, &str)]) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        // Errors on order are for whoever sends next: no second producer may be there that writes entries of the dedup topic.
        let alone = [("INGRESS__ACK_TIMEOUT_MS", "3000"), ("KAFKA__PARTITIONS", "1"), ("DEDUP__MODE", "local")];
        let settings = [&alone, more].concat();
        let config = config(&cluster.bootstrap_servers(), SOURCES, &settings);
        for topic in topics::needed(&config) {
            cluster.create_topic(&topic.name, topic.partitions, 1).unwrap();
        }
        let webhooks = (0..10).map(|number| ready_to_confirm(&config, number)).collect();
        Self { cluster, bridge: Bridge::launch(config), webhooks }
    }

    /// Posts the event of this number: status code and `status`.
    fn post(&self, number: usize) -> (u16, String) {
        let answered = self.bridge.post("sg-main", &self.webhooks[number]);
        check_answer(&answered, self.bridge.config.ingress.ack_timeout());
        (answered.status.as_u16(), answered.json("status"))
    }

    /// The same until it is answered 200.
    #[track_caller]
    fn post_until_taken(&self, number: usize) -> String {
        eventually(LIMIT, || match self.post(number) {
            (200, status) => Ok(status),
            refused => Err(format!("{number}: {refused:?}, {} restarts", self.restarts())),
        })
    }

    /// How often each event is on the topic.
    fn counts(&self, topic: &str) -> Vec<usize> {
        self.ids(topic).into_values().collect()
    }

    fn ids(&self, topic: &str) -> BTreeMap<String, usize> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.cluster.bootstrap_servers()).set("allow.auto.create.topics", "false");
        count_by_id(&read_all(client, &self.bridge.topic(topic)))
    }

    fn failures(&self, reason: &str) -> u64 {
        let topic = self.bridge.topic(TOPIC);
        self.bridge.count(&format!(r#"paybridge_kafka_publish_failures_total{{topic="{topic}",reason="{reason}"}}"#))
    }

    /// Waits until so many have been told, or more: a webhook's own timer may answer it first.
    #[track_caller]
    fn await_failures(&self, reason: &str, count: u64) {
        eventually(LIMIT, || match self.failures(reason) {
            told if told >= count => Ok(()),
            told => Err(format!("{told} of {count} failures are counted as {reason}")),
        });
    }

    fn restarts(&self) -> u64 {
        RESTART_REASONS.map(|reason| self.bridge.restarts(reason)).iter().sum()
    }

    fn fail(&self, request: Request, error: RDKafkaRespErr, times: usize) {
        self.cluster.request_errors(request, &vec![error; times]);
    }
}

#[test]
fn passing_trouble_of_a_broker_is_no_trouble_of_the_sender() {
    let faulty = Faulty::start();
    let passing = [
        NOT_LEADER,
        REQUEST_TIMED_OUT,
        NOT_ENOUGH_REPLICAS,
        NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        UNKNOWN_TOPIC,
        DISCONNECTED,
    ];
    for (number, error) in (0..).zip(passing) {
        faulty.fail(Request::Produce, error, 2);
        assert_eq!(faulty.post(number), (200, "accepted".to_owned()), "{error:?}");
        assert_eq!(faulty.post(number), (200, "duplicate".to_owned()), "{error:?}");
    }
    assert_eq!(faulty.counts(TOPIC), [1; 6]);
    assert_eq!(faulty.restarts(), 0);
    await_nothing_in_flight(&faulty.bridge);
}

#[test]
fn lasting_trouble_is_refused_and_counted_by_its_reason_and_forgotten_when_it_is_over() {
    let lasting = [
        (TOPIC_AUTHORIZATION_FAILED, "not_authorized"),
        (CLUSTER_AUTHORIZATION_FAILED, "not_authorized"),
        (INVALID_RECORD, "other"),
        (NOT_ENOUGH_REPLICAS, "timed_out"),
        (NOT_LEADER, "timed_out"),
        (DISCONNECTED, "timed_out"),
    ];
    let faulty = Faulty::start();
    for (number, (error, reason)) in (0..).zip(lasting) {
        let before = faulty.failures(reason);
        faulty.fail(Request::Produce, error, PERSISTENTLY);
        assert_eq!(faulty.post(number), (503, "unavailable".to_owned()), "{error:?}");
        faulty.await_failures(reason, before + 1);
        faulty.cluster.clear_request_errors(Request::Produce);
        assert_eq!(faulty.post_until_taken(number), "accepted", "{error:?}");
    }
    assert_eq!(faulty.counts(TOPIC), [1; 6]);
    await_nothing_in_flight(&faulty.bridge);
}

#[test]
fn an_event_that_is_too_large_for_its_topic_is_kept_in_quarantine() {
    let faulty = Faulty::start();
    // Once for its batch, and once for itself.
    faulty.fail(Request::Produce, MSG_SIZE_TOO_LARGE, 2);
    assert_eq!(faulty.post(1), (200, "quarantined".to_owned()));
    assert_eq!(faulty.failures("too_large"), 1);
    assert_eq!((faulty.counts(TOPIC).len(), faulty.counts("quarantine.v1").len()), (0, 1));
    faulty.fail(Request::Produce, MSG_SIZE_TOO_LARGE, 1);
    assert_eq!(faulty.post(2), (200, "accepted".to_owned()), "it was its company that was too large");
}

#[test]
fn the_producer_goes_on_after_errors_about_its_identity() {
    let faulty = Faulty::start();
    assert_eq!(faulty.post(0), (200, "accepted".to_owned()));
    // Fatal to a producer is only what says that it may have lost the order.
    for (number, (error, restarts)) in
        (1..).zip([(UNKNOWN_PRODUCER_ID, 0), (INVALID_PRODUCER_EPOCH, 0), (OUT_OF_ORDER, 1), (OUT_OF_ORDER, 2)])
    {
        faulty.fail(Request::Produce, error, 1);
        faulty.post_until_taken(number);
        eventually(LIMIT, || match faulty.restarts() {
            count if count == restarts => Ok(()),
            count => Err(format!("{error:?}: {count} restarts")),
        });
        assert_eq!(faulty.post(number), (200, "duplicate".to_owned()), "{error:?}");
    }
    assert_eq!(faulty.counts(TOPIC).len(), 5);
    assert_eq!(faulty.bridge.admin("/readyz").status, 200);
    await_nothing_in_flight(&faulty.bridge);
}

#[test]
fn the_producer_is_not_ready_before_it_has_its_id() {
    let faulty = Faulty::launch();
    faulty.fail(Request::InitProducerId, NOT_ENOUGH_REPLICAS, 3);
    faulty.bridge.await_ready();
    assert_eq!(faulty.post(1), (200, "accepted".to_owned()));
}

#[test]
fn webhooks_are_taken_again_when_a_broker_that_was_down_is_up() {
    let faulty = Faulty::start();
    assert_eq!(faulty.post(1), (200, "accepted".to_owned()));
    faulty.cluster.broker_down(1).unwrap();
    assert_eq!(faulty.post(2), (503, "unavailable".to_owned()));
    assert_eq!(faulty.bridge.admin("/readyz").status, 200);
    eventually(LIMIT, || match faulty.bridge.count("paybridge_kafka_brokers_up") {
        0 => Ok(()),
        up => Err(format!("{up} brokers are up")),
    });
    faulty.await_failures("timed_out", 1);
    faulty.bridge.assert_fires("PaybridgeNoBroker");
    faulty.bridge.assert_fires("PaybridgeReplicaWithoutBroker");
    faulty.bridge.assert_fires_while_it_goes_on("PaybridgeAnswersPartlyUnavailable");
    faulty.bridge.assert_fires_while_it_goes_on("PaybridgePublishFailures");
    faulty.cluster.broker_up(1).unwrap();
    assert_eq!(faulty.post_until_taken(2), "accepted");
    assert_eq!(faulty.counts(TOPIC), [1, 1]);
    await_nothing_in_flight(&faulty.bridge);
}

/// A new leader refuses a request and takes the one behind it, which was on its way: it knows nothing of the producer yet
/// and so misses nothing. librdkafka takes the second acknowledgement for one of both.
#[test]
fn an_event_is_not_acknowledged_by_the_acknowledgement_of_a_later_one() {
    const ROUNDS_MAX: usize = 20;
    let faulty = Faulty::launch_with(&[("KAFKA__INGRESS__PROPERTIES__LINGER__MS", "0")]);
    faulty.bridge.await_ready();
    // Several requests are on their way before the first is answered.
    faulty.cluster.broker_round_trip_time(1, Duration::from_millis(100)).unwrap();
    let mut taken = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let webhooks: Vec<_> = (0..20).map(|number| ready_to_confirm(&faulty.bridge.config, number)).collect();
        faulty.fail(Request::Produce, NOT_LEADER, 1);
        let posts: Vec<_> = webhooks
            .iter()
            .map(|webhook| {
                let post = faulty.bridge.post_later("sg-main", webhook);
                faulty.bridge.admin("/livez"); // the time of a request, so that each gets one of its own
                post
            })
            .collect();
        let answers = posts.into_iter().map(|post| faulty.bridge.wait(post));
        taken.extend(answers.filter(|answered| answered.status == 200).map(|answered| answered.json("event_id")));
        let ids = faulty.ids(TOPIC);
        let lost: Vec<_> = taken.iter().filter(|id| !ids.contains_key(*id)).collect();
        assert!(lost.is_empty(), "answered 200 and not there: {lost:?}");
        if faulty.failures("no_offset") > 0 {
            return;
        }
    }
    panic!("the leader refused {ROUNDS_MAX} times, never with a request behind");
}
