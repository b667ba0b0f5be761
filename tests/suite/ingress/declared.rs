//! Senders that configuration describes, on a real Kafka: every preset from its webhook to its topics and back, batches, answers in a
//! sender's own words, handshakes and times to answer.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use paybridge::provider::{PRESETS, Provider as _, SignedWebhook};
use serde_json::Value;

use crate::support::bridge::{Bridge, decoded, key_file, sender};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, Record};

/// A batch in which each event has an id, a type and a payment.
const BATCHES: &str = r#"
[sources.batches]
provider = "custom"
secret_files = ["unipaas.key"]
[sources.batches.signature]
algorithm = "hmac-sha256"
from = "header:x-signature"
signed = "{body}"
[sources.batches.event]
each = "pointer:/events"
id = "pointer:/id"
type = "pointer:/type"
key = "pointer:/payment"
[sources.batches.topics]
"payment.*" = "payment"
[sources.batches.answer]
status = 202
body = "[accepted]"
handshake = { when = "pointer:/ask=who", echo = "pointer:/word" }
"#;

/// A source of every preset. Who signs no body needs a path that nobody knows.
fn presets() -> String {
    PRESETS.iter().fold(String::new(), |mut text, preset| {
        let name = preset.name();
        let own =
            std::fs::read_to_string(format!("{}/tests/fixtures/{name}/source.toml", crate::support::cache::CHECKOUT));
        let _written = write!(
            text,
            "[sources.at-{name}]\nprovider = \"{name}\"\npath = \"/webhooks/s3cret/{name}\"\n{}\n",
            own.unwrap().replace("\n[", &format!("\n[sources.at-{name}."))
        );
        text
    })
}

#[test]
fn every_preset_brings_its_events_to_its_topics() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, &presets(), &[]);
    for preset in PRESETS.iter() {
        let source = format!("at-{}", preset.name());
        let sender = sender(&bridge.config, &source);
        for (number, event_type) in (1000..).zip(preset.event_types()) {
            let webhook = sender.sample(event_type, Timestamp::now(), number);
            let answered = bridge.post(&source, &webhook);
            assert_eq!(answered.status, 200, "{source}: {event_type:?}: {answered:?}");
            let records = kafka.read_all(&bridge.topic(&format!("{}.{}.v1", preset.name(), event_type.topic_part)));
            let [record] = records.as_slice() else { panic!("{source}: {event_type:?}: {records:?}") };
            check_record(record, &webhook, preset.name());
        }
        let webhook = sender.sample(&preset.event_types()[0], Timestamp::now(), 5000);
        check_refusals(&bridge, &source, preset.evidence_headers()[0], &webhook);
    }
}

fn check_record(record: &Record, webhook: &SignedWebhook, preset: &str) {
    assert_eq!(record.header("ce_type"), Some("paybridge.webhook.v1.WebhookReceived"));
    let message = decoded(record);
    let payload = STANDARD.decode(message["payload"].as_str().unwrap()).unwrap();
    let body = String::from_utf8(webhook.body.to_vec()).unwrap();
    assert!(body.contains(std::str::from_utf8(&payload).unwrap()), "{preset}: {body}");
    let metadata = &message["metadata"];
    assert_eq!(
        (metadata["provider"].as_str(), metadata["evidence"]["scheme"].as_str()),
        (Some(preset), Some("SCHEME_DECLARED"))
    );
    let signed = metadata["evidence"]["body_signed"].as_bool().unwrap();
    assert_eq!(
        signed,
        metadata["evidence"]["signed_template"].as_str().unwrap_or_default().contains("{body}"),
        "{preset}"
    );
    let secret = std::fs::read_to_string(key_file(&format!("{preset}.key"))).unwrap();
    assert!(!metadata.to_string().contains(secret.trim()), "{preset}: its secret is in {metadata}");
}

/// A wrong byte, a stale time and a doubled header of a single value are answered 401.
fn check_refusals(bridge: &Bridge, source: &str, signature: &str, webhook: &SignedWebhook) {
    let outline = &bridge.config.sources.get(source).unwrap().outline;
    let mut spoilt = Vec::new();
    if !outline.body_unsigned {
        let mut body = webhook.body.to_vec();
        body[0] ^= 1;
        spoilt.push(SignedWebhook { body: body.into(), ..webhook.clone() });
    }
    let sender = sender(&bridge.config, source);
    let old = sender.sign("", webhook.body.clone(), "2020-01-01T00:00:00Z".parse().unwrap(), 5000);
    let now = sender.sign("", webhook.body.clone(), Timestamp::now(), 5000);
    // Where no time is signed, an old webhook is the same as a new one.
    if old.headers != now.headers {
        spoilt.push(old);
    }
    for webhook in &spoilt {
        assert_eq!(bridge.post(source, webhook).status, 401, "{source}: {webhook:?}");
    }
    let signature = webhook.headers.iter().find(|(header, _)| *header == signature).unwrap().clone();
    let mut doubled = webhook.clone();
    doubled.headers.push(signature);
    let answered = bridge.post(source, &doubled);
    // A list of signatures may have its entries on several lines, as long as there is one time.
    let is_list = ["at-worldpay", "at-mollie"].contains(&source);
    assert_eq!(answered.status, if is_list { 200 } else { 401 }, "{source}: {doubled:?}");
}

fn batch(bridge: &Bridge, events: &str) -> SignedWebhook {
    sender(&bridge.config, "batches").sign("", format!(r#"{{"events":[{events}]}}"#).into(), Timestamp::now(), 1)
}

fn evidence(record: &Record) -> Value {
    decoded(record)["metadata"]["evidence"].take()
}

#[test]
fn each_event_of_a_batch_is_a_record_and_the_body_is_with_the_first_new_one() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, &BATCHES.replace("status = 202\nbody = \"[accepted]\"\n", ""), &[]);
    let known = r#"{"id":"e0","type":"payment.a","payment":"p0"}"#;
    assert_eq!(bridge.post("batches", &batch(&bridge, known)).text, r#"{"status":"accepted","events":1}"#);
    let events: Vec<String> = (1..1000)
        .map(|number| format!(r#"{{"id":"e{number}","type":"payment.a","payment":"p{}"}}"#, number % 7))
        .collect();
    let webhook = batch(&bridge, &format!("{known},{},7", events.join(",")));
    assert_eq!(bridge.post("batches", &webhook).text, r#"{"status":"accepted","events":1001}"#);
    let records = kafka.read_all(&bridge.topic("batches.payment.v1"));
    assert_eq!(records.len(), 1000);
    let carriers: Vec<&Record> = records.iter().filter(|record| evidence(record)["raw_body"].is_string()).collect();
    assert_eq!(carriers.len(), 2, "the first batch's only event, and the first new one of the second");
    let carrier = carriers.iter().find(|record| decoded(record)["id"] == "e1").unwrap();
    let others = records.iter().filter(|record| !evidence(record)["raw_body"].is_string());
    for record in others {
        let evidence = evidence(record);
        assert_eq!(evidence["raw_body_event_id"].as_str(), carrier.header("ce_id"));
        assert_eq!(evidence["body_sha256"], self::evidence(carrier)["body_sha256"]);
    }
    check_order(&records);
    // The element that is no event is held by itself, with the whole body.
    let held = kafka.read_all(&bridge.topic("quarantine.v1"));
    let [held] = held.as_slice() else { panic!("{held:?}") };
    assert_eq!(STANDARD.decode(evidence(held)["raw_body"].as_str().unwrap()).unwrap(), webhook.body);
    // The same again is all duplicates, but for what is held, which has no dedup.
    assert_eq!(bridge.post("batches", &webhook).text, r#"{"status":"quarantined","events":1001}"#);
    assert_eq!(kafka.read_all(&bridge.topic("batches.payment.v1")).len(), 1000);
}

/// Of each key the events are in the order of the batch.
fn check_order(records: &[Record]) {
    let number = |record: &Record| decoded(record)["id"].as_str().unwrap()[1..].parse::<u32>().unwrap();
    for key in 1..7 {
        let of_key = records.iter().filter(|record| record.key.as_deref() == Some(format!("p{key}").as_bytes()));
        let numbers: Vec<u32> = of_key.map(number).collect();
        assert!(numbers.is_sorted(), "p{key}: {numbers:?}");
        assert!(numbers.len() > 100, "p{key}: {numbers:?}");
    }
}

#[test]
fn a_good_answer_is_said_as_the_sender_wants_it() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, BATCHES, &[]);
    let webhook = batch(&bridge, r#"{"id":"e1","type":"payment.a"}"#);
    for _delivery in 0..2 {
        let answered = bridge.post("batches", &webhook);
        assert_eq!((answered.status.as_u16(), answered.text.as_str()), (202, "[accepted]"));
        assert_eq!(answered.headers["content-type"], "text/plain; charset=utf-8");
    }
    let unsigned = SignedWebhook { headers: Vec::new(), ..webhook };
    assert_eq!(bridge.post("batches", &unsigned).text, r#"{"status":"unauthentic"}"#);
}

#[test]
fn a_handshake_is_answered_only_when_it_is_authentic_and_is_no_event() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, BATCHES, &[]);
    let asks = r#"{"ask":"who","word":"3eZbrw1a"}"#;
    let webhook = sender(&bridge.config, "batches").sign("", asks.into(), Timestamp::now(), 1);
    let answered = bridge.post("batches", &webhook);
    assert_eq!((answered.status.as_u16(), answered.text.as_str()), (200, r#"{"word":"3eZbrw1a"}"#));
    let unsigned = SignedWebhook { headers: Vec::new(), ..webhook };
    assert_eq!(bridge.post("batches", &unsigned).status, 401);
    for topic in ["batches.payment.v1", "batches.received.v1", "unrecognized.v1", "quarantine.v1"] {
        assert!(kafka.read_all(&bridge.topic(topic)).is_empty(), "{topic}");
    }
    assert_eq!(bridge.count(r#"paybridge_ingress_requests_total{source="batches",outcome="handshake"}"#), 1);
}

/// The sender's limit ends the answer alone: what was taken goes to Kafka when it is back.
#[test]
fn a_source_has_its_own_time_to_answer() {
    let kafka = Kafka::start(&[]);
    let sources = BATCHES.replace("secret_files", "ack_timeout_ms = 500\nsecret_files");
    let bridge = Bridge::start_with(&kafka, &sources, &[]);
    kafka.freeze();
    let answered = bridge.post("batches", &batch(&bridge, r#"{"id":"e1","type":"payment.a"}"#));
    assert_eq!(answered.status, 503);
    assert!(answered.elapsed < Duration::from_secs(3), "{answered:?}");
    kafka.thaw();
    eventually(LIMIT, || match kafka.read_all(&bridge.topic("batches.payment.v1")).len() {
        1 => Ok(()),
        count => Err(format!("{count} records")),
    });
}
