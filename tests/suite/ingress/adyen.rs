//! Adyen on a real Kafka: each of its topics and back, its answer, its passwords, and several items in one webhook.

use std::fs;

use jiff::Timestamp;
use paybridge::provider::adyen::PROVIDER;
use paybridge::provider::{Provider as _, SignedWebhook};
use serde_json::Value;

use crate::support::bridge::{Answered, Bridge, decoded, key_file, sender};
use crate::support::kafka::{Kafka, Record};

const SOURCES: &str = r#"
[sources.plain]
provider = "adyen"
secret_files = ["adyen.key"]
[sources.with-password]
provider = "adyen"
secret_files = ["adyen.key"]
basic_auth_files = ["adyen-basic-auth.key"]
"#;

#[track_caller]
fn check(answered: &Answered, status: u16, text: &str) {
    assert_eq!((answered.status.as_u16(), answered.text.as_str()), (status, text));
}

/// Each record has all that proves it, and nothing that must be known to nobody.
#[track_caller]
fn check_record(record: &Record, part: &str) -> Value {
    let message = decoded(record);
    let metadata = &message["metadata"];
    assert_eq!(record.header("ce_type"), Some("paybridge.adyen.v1.Notification"), "{part}");
    assert_eq!(metadata["evidence"]["scheme"], "SCHEME_ADYEN_HMAC_SHA256", "{part}");
    assert_eq!(
        (&metadata["evidence"]["body_signed"], &metadata["evidence"]["type_signed"]),
        (&false.into(), &true.into())
    );
    for secret in ["adyen.key", "adyen-basic-auth.key"].map(|name| fs::read_to_string(key_file(name)).unwrap()) {
        assert!(!message.to_string().contains(secret.trim()), "{part}: a secret is in {message}");
    }
    assert!(!message.to_string().to_lowercase().contains("basic "), "{part}: {message}");
    message
}

#[test]
fn every_event_comes_to_its_topic_once_and_is_answered_as_adyen_wants() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SOURCES, &[]);
    for (number, event_type) in (1000..).zip(PROVIDER.event_types()) {
        let webhook = sender(&bridge.config, "with-password").sample(event_type, Timestamp::now(), number);
        for _delivery in 0..2 {
            check(&bridge.post("with-password", &webhook), 200, "[accepted]");
        }
        let part = event_type.topic_part;
        let records = kafka.read_all(&bridge.topic(&format!("adyen.{part}.v1")));
        let [record] = records.as_slice() else { panic!("{part}: {records:?}") };
        let message = check_record(record, part);
        let original = message["original_reference"].as_str().or(message["psp_reference"].as_str());
        assert_eq!(record.key.as_deref(), original.map(str::as_bytes), "{part}");
    }
}

#[test]
fn a_changed_item_and_a_wrong_password_are_refused() {
    let bridge = Bridge::start_with(Kafka::shared(), SOURCES, &[]);
    let webhook = sender(&bridge.config, "with-password").sample(&PROVIDER.event_types()[0], Timestamp::now(), 1);
    let unauthentic = r#"{"status":"unauthentic"}"#;
    let text = String::from_utf8(webhook.body.to_vec()).unwrap();
    let changed = SignedWebhook { body: text.replace("4995", "9995").into(), ..webhook.clone() };
    check(&bridge.post("plain", &changed), 401, unauthentic);
    check(&bridge.post("with-password", &changed), 401, unauthentic);
    let mut without = webhook.clone();
    without.headers.retain(|(name, _)| *name != "authorization");
    check(&bridge.post("with-password", &without), 401, unauthentic);
    check(&bridge.post("plain", &without), 200, "[accepted]");
    check(&bridge.post("with-password", &webhook), 200, "[accepted]");
}

#[test]
fn each_item_of_a_webhook_is_a_record_and_one_bad_item_refuses_all() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SOURCES, &[]);
    let item = |psp: &str, code: &str| {
        format!(
            r#"{{"NotificationRequestItem":{{"pspReference":"{psp}","originalReference":"O","eventCode":"{code}","success":"true"}}}}"#
        )
    };
    let items = [item("A", "REFUND"), item("B", "REFUND_FAILED")].join(",");
    let webhook = sender(&bridge.config, "plain").sign(
        "",
        format!(r#"{{"live":"false","notificationItems":[{items}]}}"#).into(),
        Timestamp::now(),
        1,
    );
    let text = String::from_utf8(webhook.body.to_vec()).unwrap();
    let bad = SignedWebhook { body: text.replace("\"B\"", "\"C\"").into(), ..webhook.clone() };
    check(&bridge.post("plain", &bad), 401, r#"{"status":"unauthentic"}"#);
    for _delivery in 0..2 {
        check(&bridge.post("plain", &webhook), 200, "[accepted]");
    }
    let records = kafka.read_all(&bridge.topic("adyen.refund.v1"));
    let messages: Vec<Value> = records.iter().map(|record| check_record(record, "refund")).collect();
    let references: Vec<&Value> = messages.iter().map(|message| &message["psp_reference"]).collect();
    assert_eq!(references, ["A", "B"]);
    assert!(messages[0]["metadata"]["evidence"]["raw_body"].is_string());
    assert_eq!(messages[1]["metadata"]["evidence"]["raw_body_event_id"], messages[0]["metadata"]["event_id"]);
}
