//! A topic that Kafka has not: its webhooks are answered 503 at once, all others are taken, and it works once the topic is there.

use std::time::Duration;

use jiff::Timestamp;
use paybridge::kafka::topics::{self, Topic};

use crate::support::bridge::{Bridge, config, create_topics, event_type, sender};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;
use crate::support::wire::{UNDOSTRES, told};

/// The topic that is missing at first.
const MISSING: &str = "undostres.customer.v1";
/// librdkafka holds a record for a topic that it does not know for longer.
const AT_ONCE: Duration = Duration::from_secs(3);
/// By then it must be in use.
const GOOD_AGAIN: Duration = Duration::from_secs(10);

#[test]
fn a_webhook_for_a_missing_topic_is_answered_at_once_and_taken_once_the_topic_is_there() {
    let kafka = Kafka::shared();
    let config = config(kafka.bootstrap(), UNDOSTRES, &[]);
    let (missing, there): (Vec<Topic>, Vec<Topic>) =
        topics::needed(&config).into_iter().partition(|topic| topic.name.ends_with(MISSING));
    create_topics(kafka, &there);
    let bridge = Bridge::launch(config);
    bridge.await_ready();
    let customer =
        |number| sender(&bridge.config, "udt").sample(event_type("undostres", "customer"), Timestamp::now(), number);
    for number in 0..3 {
        let answered = bridge.post("udt", &customer(number));
        assert_eq!(told(&answered), (503, "unavailable".to_owned()));
        assert!(answered.elapsed < AT_ONCE, "{answered:?}");
    }
    let failures = |reason: &str| {
        let topic = bridge.topic(MISSING);
        bridge
            .metric(&format!(r#"paybridge_kafka_publish_failures_total{{topic="{topic}",reason="{reason}"}}"#))
            .to_string()
    };
    assert_eq!((failures("unknown_topic"), failures("timed_out")), ("3".to_owned(), "0".to_owned()));
    let account = sender(&bridge.config, "udt").sample(event_type("undostres", "account"), Timestamp::now(), 1);
    assert_eq!(told(&bridge.post("udt", &account)), (200, "accepted".to_owned()), "all others are taken");

    create_topics(kafka, &missing);
    let webhook = customer(0);
    eventually(GOOD_AGAIN, || match told(&bridge.post("udt", &webhook)) {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(kafka.read_all(&bridge.topic(MISSING)).len(), 1);
}
