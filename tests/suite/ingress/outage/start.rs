//! Kafka, or its topics, or the right to write, not there when the daemon starts.

use std::time::Duration;

use paybridge::provider::SignedWebhook;

use super::LIMIT;
use crate::support::bridge::{Bridge, SOURCES, config, create_needed_topics, ready_to_confirm, restarts_series};
use crate::support::eventually::{eventually, pause};
use crate::support::kafka::{Kafka, User};
use crate::support::stream::check_answer;

/// Long enough for many restarts of a producer if nothing held them back.
const OBSERVED: Duration = Duration::from_secs(4);

#[test]
fn starts_without_kafka_and_becomes_ready_when_it_comes_and_stays_so_when_it_goes() {
    let kafka = Kafka::start(&[]);
    let config = config(kafka.bootstrap(), SOURCES, &[("INGRESS__ACK_TIMEOUT_MS", "2000")]);
    create_needed_topics(&kafka, &config);
    kafka.stop();
    let bridge = Bridge::launch(config);
    let webhook = check_not_ready(&bridge, "kafka metadata, producer id");
    kafka.restart();
    bridge.await_ready();
    // What was refused while Kafka was away is taken now.
    let answered = bridge.post("sg-main", &webhook);
    assert_eq!((answered.status.as_u16(), answered.json("status").as_str()), (200, "accepted"));
    assert_eq!(kafka.read_all(&bridge.topic("smart-glocal.ready-to-confirm.v1")).len(), 1);

    kafka.kill_9();
    let answered = bridge.post("sg-main", &ready_to_confirm(&bridge.config, 2));
    assert_eq!(answered.status, 503);
    check_answer(&answered, bridge.config.ingress.ack_timeout());
    bridge.assert_fires_while_it_goes_on("PaybridgeAnswersUnavailable");
    assert_eq!(
        (bridge.admin("/readyz").status, bridge.admin("/livez").status),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    bridge.stop().unwrap();
}

/// One topic that somebody forgot must not cost the webhooks of all others.
#[test]
fn is_ready_without_its_topics_and_says_that_they_are_missing_until_they_are_made() {
    let kafka = Kafka::shared();
    let config = config(kafka.bootstrap(), SOURCES, &[("INGRESS__ACK_TIMEOUT_MS", "2000")]);
    let bridge = Bridge::launch(config.clone());
    bridge.await_ready();
    let missing = || bridge.metric("paybridge_kafka_topics_missing");
    assert!(missing() > 20.0, "{}", missing());
    let webhook = ready_to_confirm(&bridge.config, 1);
    bridge.assert_fires("PaybridgeTopicsMissing");
    let answered = bridge.post("sg-main", &webhook);
    assert_eq!(answered.status, 503);
    check_answer(&answered, bridge.config.ingress.ack_timeout());

    create_needed_topics(kafka, &config);
    eventually(LIMIT, || if missing() < 1.0 { Ok(()) } else { Err(format!("{} topics are missing", missing())) });
    let accepted = eventually(LIMIT, || match bridge.post("sg-main", &webhook) {
        answered if answered.status == 200 => Ok(answered.json("status")),
        answered => Err(answered.text),
    });
    assert_eq!(accepted, "accepted");
    assert_eq!(kafka.read_all(&bridge.topic("smart-glocal.ready-to-confirm.v1")).len(), 1);
}

/// Alive, not ready for this reason, and webhooks refused in time; gives one that was.
#[track_caller]
fn check_not_ready(bridge: &Bridge, why: &str) -> SignedWebhook {
    let webhook = ready_to_confirm(&bridge.config, 1);
    let answered = bridge.post("sg-main", &webhook);
    assert_eq!(answered.status, 503);
    check_answer(&answered, bridge.config.ingress.ack_timeout());
    assert_eq!(bridge.admin("/livez").status, 200);
    let ready = bridge.admin("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains(why), "{ready:?}");
    webhook
}

/// The broker gives no producer id to who may not write, and librdkafka calls that fatal: each new producer dies at once.
#[test]
fn rebuilds_a_producer_that_may_not_write_only_so_often() {
    let kafka = Kafka::shared();
    let reader = kafka.client_as(User::Reader);
    let property = |name| reader.get(name).unwrap().to_owned();
    let settings: Vec<(String, String)> = ["security.protocol", "sasl.mechanism", "sasl.username", "sasl.password"]
        .map(|name| (format!("KAFKA__PROPERTIES__{}", name.to_uppercase().replace('.', "__")), property(name)))
        .into();
    let mut settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    settings.push(("INGRESS__ACK_TIMEOUT_MS", "2000"));
    let config = config(&property("bootstrap.servers"), SOURCES, &settings);
    create_needed_topics(kafka, &config);
    let bridge = Bridge::launch(config);
    let restarts = || bridge.metric(&restarts_series("fatal_error"));
    eventually(LIMIT, || if restarts() > 0.0 { Ok(()) } else { Err("the producer was never rebuilt".to_owned()) });
    check_not_ready(&bridge, "producer id");
    bridge.assert_fires("PaybridgeProducerRestarts");
    bridge.assert_fires("PaybridgeReplicaNotReady");
    bridge.assert_fires("PaybridgeNoReplicaTakesWebhooks");
    let (begun, before) = (std::time::Instant::now(), restarts());
    pause(OBSERVED);
    let (seconds, rebuilt) = (begun.elapsed().as_secs_f64(), restarts() - before);
    assert!(rebuilt <= seconds + 1.0, "rebuilt {rebuilt} times in {seconds} s");
}
