//! A broker that is frozen: connections stay, and nobody answers. What waits, what is refused, and what comes of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use paybridge::provider::SignedWebhook;
use tokio::task::JoinHandle;

use super::hangup::http1_head;
use super::{LIMIT, await_nothing_in_flight, in_flight_bytes};
use crate::support::bridge::{
    Answered, Bridge, config, count_by_id, create_needed_topics, event_type, ready_to_confirm, sender,
};
use crate::support::eventually::{eventually, pause};
use crate::support::kafka::Kafka;
use crate::support::stream::check_answer;
use crate::support::wire::SMART_GLOCAL;

const TOPIC: &str = "smart-glocal.ready-to-confirm.v1";
/// Longer than an announcement of a state has at least.
const SLOW: Duration = Duration::from_secs(6);
/// An ack timeout that is long enough for many large webhooks to be in flight at once, also on a busy machine.
const ALL_AT_ONCE: (&str, &str) = ("INGRESS__ACK_TIMEOUT_MS", "30000");
/// Redeliveries at once.
const DELIVERIES: usize = 5;

/// The broker that the tests here freeze, one after the other.
fn broker() -> MutexGuard<'static, Kafka> {
    static BROKER: OnceLock<Mutex<Kafka>> = OnceLock::new();
    BROKER.get_or_init(|| Mutex::new(Kafka::start(&[]))).lock().unwrap_or_else(PoisonError::into_inner)
}

/// A frozen broker; thawed when dropped, a failed test's too.
struct Frost<'k>(&'k Kafka);

impl<'k> Frost<'k> {
    fn new(kafka: &'k Kafka) -> Self {
        kafka.freeze();
        Self(kafka)
    }
}

impl Drop for Frost<'_> {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

/// A daemon whose producer has sent to the topic, so that it knows all about it. The broker may be cold.
fn warm_bridge(kafka: &Kafka, settings: &[(&str, &str)]) -> Bridge {
    let bridge = Bridge::start(kafka, settings);
    let webhook = ready_to_confirm(&bridge.config, 1_000_000);
    eventually(LIMIT, || match bridge.post("sg-main", &webhook) {
        answered if answered.status == 200 => Ok(()),
        answered => Err(format!("{answered:?}")),
    });
    await_nothing_in_flight(&bridge);
    bridge
}

#[test]
fn redeliveries_of_an_event_on_its_way_wait_for_the_same_acknowledgement() {
    let kafka = broker();
    let bridge = warm_bridge(&kafka, &[("INGRESS__ACK_TIMEOUT_MS", "20000")]);
    let webhook = ready_to_confirm(&bridge.config, 1);
    let frost = Frost::new(&kafka);
    let verified = passed(&bridge, "verify");
    let posts: Vec<_> = (0..DELIVERIES).map(|_| bridge.post_later("sg-main", &webhook)).collect();
    // Only the first of them makes a record.
    await_passed(&bridge, "verify", verified + DELIVERIES);
    assert!(posts.iter().all(|post| !post.is_finished()), "answered before the acknowledgement");
    drop(frost);
    let answers: Vec<Answered> = posts.into_iter().map(|post| bridge.wait(post)).collect();
    let mut statuses: Vec<String> = answers.iter().map(|answered| answered.json("status")).collect();
    statuses.sort();
    assert_eq!(statuses, ["accepted", "duplicate", "duplicate", "duplicate", "duplicate"]);
    let counts = count_by_id(&kafka.read_all(&bridge.topic(TOPIC)));
    assert_eq!(counts.get(&answers[0].json("event_id")), Some(&1));
    await_nothing_in_flight(&bridge);
}

#[test]
fn an_event_without_acknowledgement_in_time_is_refused_to_all_and_taken_when_it_comes_again() {
    let kafka = broker();
    let bridge = warm_bridge(&kafka, &[("INGRESS__ACK_TIMEOUT_MS", "2000")]);
    let webhook = ready_to_confirm(&bridge.config, 1);
    let frost = Frost::new(&kafka);
    for answered in bridge.post_all("sg-main", &vec![webhook.clone(); DELIVERIES]) {
        assert_eq!(answered.status, 503, "{answered:?}");
        check_answer(&answered, bridge.config.ingress.ack_timeout());
    }
    drop(frost);
    let mut deliveries = DELIVERIES;
    let answered = eventually(LIMIT, || {
        deliveries += 1;
        let answered = bridge.post("sg-main", &webhook);
        check_answer(&answered, bridge.config.ingress.ack_timeout());
        if answered.status == 200 { Ok(answered) } else { Err(format!("{answered:?}")) }
    });
    let counts = count_by_id(&kafka.read_all(&bridge.topic(TOPIC)));
    let count = counts.get(&answered.json("event_id")).copied().unwrap_or_default();
    assert!((1..=deliveries).contains(&count), "{count} records of {deliveries} deliveries");
    assert_eq!(bridge.post("sg-main", &webhook).json("status"), "duplicate");
    await_nothing_in_flight(&bridge);
}

/// The body comes late, so the answer is due while librdkafka still tries; the broker thaws between the two.
#[test]
fn an_acknowledgement_after_the_503_makes_the_redelivery_a_duplicate() {
    let kafka = broker();
    let settings = [("INGRESS__ACK_TIMEOUT_MS", "20000"), ("INGRESS__BODY_READ_TIMEOUT_MS", "20000")];
    let bridge = warm_bridge(&kafka, &settings);
    let webhook = ready_to_confirm(&bridge.config, 1);
    let published = format!(r#"paybridge_kafka_records_published_total{{topic="{}"}}"#, bridge.topic(TOPIC));
    let before = bridge.count(&published);
    let frost = Frost::new(&kafka);
    let answer = post_slowly(&bridge, &webhook, Duration::from_secs(12));
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
    drop(frost);
    eventually(LIMIT, || match bridge.count(&published) - before {
        1 => Ok(()),
        count => Err(format!("{count} records are acknowledged")),
    });
    let answered = bridge.post("sg-main", &webhook);
    assert_eq!(answered.json("status"), "duplicate");
    let counts = count_by_id(&kafka.read_all(&bridge.topic(TOPIC)));
    assert_eq!(counts.get(&answered.json("event_id")), Some(&1));
    await_nothing_in_flight(&bridge);
}

/// It is told to the other replicas before it is published, and that takes its time, too.
#[test]
fn a_state_waits_for_a_slow_broker_as_any_webhook_does() {
    let kafka = broker();
    let bridge = warm_bridge(&kafka, &[("INGRESS__ACK_TIMEOUT_MS", "60000")]);
    let (unipaas, onboarding) = (sender(&bridge.config, "unipaas"), event_type("unipaas", "onboarding-update"));
    let state = |number| unipaas.sample(onboarding, Timestamp::now(), number);
    assert_eq!(bridge.post("unipaas", &state(1)).json("status"), "accepted");
    let frost = Frost::new(&kafka);
    let post = bridge.post_later("unipaas", &state(2));
    pause(SLOW);
    assert!(!post.is_finished(), "{:?}", bridge.wait(post));
    drop(frost);
    let answered = bridge.wait(post);
    assert_eq!((answered.status.as_u16(), answered.json("status").as_str()), (200, "accepted"), "{answered:?}");
    await_nothing_in_flight(&bridge);
}

/// Sends the head, and the body so much later; gives the answer.
fn post_slowly(bridge: &Bridge, webhook: &SignedWebhook, later: Duration) -> String {
    let mut stream = TcpStream::connect(bridge.url.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(&http1_head(&bridge.path("sg-main"), webhook)).unwrap();
    pause(later);
    stream.write_all(&webhook.body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Bodies as large as they may be.
#[test]
fn what_is_nearly_full_has_an_alert() {
    let kafka = broker();
    // A debug build on a busy machine needs seconds until it has read the last of them.
    let settings = [ALL_AT_ONCE, ("INGRESS__BODY_READ_TIMEOUT_MS", "30000")];
    let config = config(kafka.bootstrap(), SMART_GLOCAL, &settings);
    create_needed_topics(&kafka, &config);
    let bridge = Bridge::launch(config);
    bridge.await_ready();
    let sender = sender(&bridge.config, "sg-main");
    let webhooks: Vec<_> = (0..110)
        .map(|number| {
            let mut body = ready_to_confirm(&bridge.config, number).body.to_vec();
            body.resize(bridge.config.ingress.body_bytes_max, b' ');
            sender.sign("", body.into(), Timestamp::now(), 0)
        })
        .collect();
    let frost = Frost::new(&kafka);
    let waiting: Vec<_> = webhooks.iter().map(|webhook| bridge.post_later("sg-main", webhook)).collect();
    let near = u64::from(bridge.config.ingress.in_flight_bytes_max) * 85 / 100;
    eventually(LIMIT, || match in_flight_bytes(&bridge) {
        bytes if bytes > near => Ok(()),
        bytes => Err(format!("{bytes} bytes are in flight, not {near}")),
    });
    bridge.assert_fires("PaybridgeInFlightNearBound");
    for post in waiting {
        assert_eq!(bridge.wait(post).status, 503);
    }
    // The next test needs a broker that has nothing to make up for.
    drop(frost);
    await_nothing_in_flight(&bridge);
}

/// Enough of them for a 99th percentile, with the settings that the alert is made for.
#[test]
fn what_is_answered_late_has_an_alert() {
    let kafka = broker();
    let bridge = warm_bridge(&kafka, &[]);
    let frost = Frost::new(&kafka);
    let post = |number| bridge.post_later("sg-main", &ready_to_confirm(&bridge.config, number));
    let waiting: Vec<_> = (1..=110).map(post).collect();
    for post in waiting {
        assert_eq!(bridge.wait(post).status, 503);
    }
    bridge.assert_fires_while_it_goes_on("PaybridgeAnswersSlow");
    drop(frost);
    await_nothing_in_flight(&bridge);
}

#[test]
fn more_than_fits_in_flight_is_refused_at_once_and_the_rest_goes_on() {
    const BYTES_MAX: usize = 103_424;
    let kafka = broker();
    let settings = [ALL_AT_ONCE, ("INGRESS__BODY_BYTES_MAX", "1024"), ("INGRESS__IN_FLIGHT_BYTES_MAX", "103424")];
    let bridge = warm_bridge(&kafka, &settings);
    let webhooks: Vec<_> = (0..100).map(|number| ready_to_confirm(&bridge.config, number)).collect();
    // Each that waits holds its body as received and inside its record, and 1 KiB for the work on it.
    let fit = BYTES_MAX / (2 * webhooks[0].body.len() + 1024);
    let frost = Frost::new(&kafka);
    let mut waiting: Vec<_> = webhooks.iter().map(|webhook| bridge.post_later("sg-main", webhook)).collect();
    eventually(LIMIT, || {
        let bytes = in_flight_bytes(&bridge);
        assert!(bytes <= u64::try_from(BYTES_MAX).unwrap(), "{bytes} bytes are in flight");
        match waiting.iter().filter(|post| !post.is_finished()).count() {
            wait if wait <= fit => Ok(()),
            wait => Err(format!("{wait} wait where {fit} fit")),
        }
    });
    let refused: Vec<_> = waiting.extract_if(.., |post| post.is_finished()).collect();
    assert!(!waiting.is_empty(), "nobody waits for Kafka");
    for post in refused {
        let answered = bridge.wait(post);
        assert_eq!((answered.status.as_u16(), answered.json("status").as_str()), (503, "overloaded"));
        check_answer(&answered, bridge.config.ingress.ack_timeout());
    }
    drop(frost);
    for post in waiting {
        // Kafka may be slow to take its broker back: the promise is an answer in time.
        check_answer(&bridge.wait(post), bridge.config.ingress.ack_timeout());
    }
    await_nothing_in_flight(&bridge);
    for webhook in &webhooks {
        let answered = bridge.post("sg-main", webhook);
        assert_eq!(answered.status, 200, "{answered:?}");
    }
    assert_eq!(count_by_id(&kafka.read_all(&bridge.topic(TOPIC))).len(), 1 + webhooks.len());
}

/// How many webhooks have passed a stage.
fn passed(bridge: &Bridge, stage: &str) -> usize {
    let series = format!("paybridge_ingress_stage_duration_seconds_count{{stage=\"{stage}\"}}");
    usize::try_from(bridge.count(&series)).unwrap()
}

/// Waits until so many have.
#[track_caller]
fn await_passed(bridge: &Bridge, stage: &str, count: usize) {
    eventually(LIMIT, || match passed(bridge, stage) {
        passed if passed >= count => Ok(()),
        passed => Err(format!("{passed} of {count} have passed {stage}")),
    });
}

/// Half of all is the most that one source holds, so another's webhooks wait for the broker, and are not refused.
#[test]
fn a_source_that_is_flooded_leaves_room_for_others() {
    const BYTES_MAX: u64 = 2_700_000;
    let kafka = broker();
    let bridge = warm_bridge(&kafka, &[ALL_AT_ONCE, ("INGRESS__IN_FLIGHT_BYTES_MAX", &BYTES_MAX.to_string())]);
    let frost = Frost::new(&kafka);
    let unipaas = sender(&bridge.config, "unipaas");
    let large = |number: usize| {
        let body =
            format!(r#"{{"payoutId":"{number}","updatedDate":"2026-01-02T03:04:05Z","x":"{}"}}"#, "x".repeat(100_000));
        let mut webhook = unipaas.sign("payout/update", body.into(), Timestamp::now(), number.try_into().unwrap());
        // What is refused before its body is read ends its connection: no other request may follow on it.
        webhook.headers.push(("connection", "close".to_owned()));
        webhook
    };
    let refused = |source: &str| {
        bridge.count(&format!("paybridge_ingress_requests_total{{source=\"{source}\",outcome=\"overloaded\"}}"))
    };
    let mut flood = Vec::new();
    // One after the other: each waits for the broker before the next comes, or is refused.
    while refused("unipaas") == 0 {
        assert!(flood.len() < 40, "nothing is refused");
        flood.push(post_on(&bridge, "unipaas", &large(flood.len())));
    }
    eventually(LIMIT, || match u64::try_from(flood.iter().filter(|post| post.is_finished()).count()).unwrap() {
        finished if finished == refused("unipaas") => Ok(()),
        finished => Err(format!("{finished} are answered, {} refused", refused("unipaas"))),
    });
    let of_flood = in_flight_bytes(&bridge);
    assert!(of_flood <= BYTES_MAX / 2, "{of_flood} bytes are in flight");
    let other = post_on(&bridge, "sg-main", &ready_to_confirm(&bridge.config, 1));
    drop(frost);
    let answered = bridge.wait(other);
    assert_eq!((answered.status.as_u16(), refused("sg-main")), (200, 0), "it waited for the broker: {answered:?}");
    for post in flood {
        check_answer(&bridge.wait(post), bridge.config.ingress.ack_timeout());
    }
    await_nothing_in_flight(&bridge);
}

/// Sends a webhook, and returns when its record waits for the broker, or when it is answered.
fn post_on(bridge: &Bridge, source: &str, webhook: &SignedWebhook) -> JoinHandle<Answered> {
    let before = in_flight_bytes(bridge);
    // Its body as received and inside its record, and 1 KiB for the work on it.
    let whole = u64::try_from(2 * webhook.body.len() + 1024).unwrap();
    let post = bridge.post_later(source, webhook);
    eventually(LIMIT, || match in_flight_bytes(bridge) {
        bytes if bytes >= before + whole || post.is_finished() => Ok(()),
        bytes => Err(format!("{bytes} bytes are in flight, {before} before, and it is not answered")),
    });
    post
}
