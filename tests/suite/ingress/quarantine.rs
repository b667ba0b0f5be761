//! What is kept beside events: samples of the unproven, everything while a key is wrong, and records that their topic is too
//! small for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::kafka::topics;
use paybridge::provider::SignedWebhook;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::bridge::{Bridge, config, decoded, sender, signed_fixture};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, Record};
use crate::support::wire::{SMART_GLOCAL, UNDOSTRES, field_bytes, told};

/// A webhook with somebody else's signature; another number, another body.
fn unproven(config: &Config, number: u64) -> SignedWebhook {
    let body = format!("unproven {number}").into();
    SignedWebhook { body, ..signed_fixture(config, "ready-to-confirm-v2-payout.json") }
}

fn signature(webhook: &SignedWebhook) -> &str {
    &webhook.headers.iter().find(|(name, _)| *name == "x-partner-sign").unwrap().1
}

/// What the evidence of a webhook that failed authentication says, as `reason` on its topic.
fn check_unproven(record: &Record, told: (&str, &str), message_type: &str, signature: &str) {
    let message = decoded(record);
    let metadata = &message["metadata"];
    assert_eq!(message[told.0], told.1);
    assert_eq!(metadata.get("event_id"), None, "an unproven webhook is no event");
    assert_eq!(metadata["source"], "sg-main");
    assert_eq!(metadata["evidence"]["headers"]["x-partner-sign"], signature);
    assert_eq!(metadata["evidence"].get("key_id"), None, "no key verified it");
    assert_eq!((metadata["evidence"].get("scheme"), metadata["evidence"].get("signature")), (None, None));
    assert!(field_bytes(&metadata["evidence"]["raw_body"]).unwrap().starts_with(b"unproven "));
    assert_eq!(record.key.as_deref(), Some(&b"sg-main"[..]));
    assert_eq!(record.header("ce_type"), Some(message_type));
    assert_eq!(record.header("ce_id").map(str::len), Some(32));
}

/// Each `ce_id` is there once: they are random, for there is no event to name.
fn check_ids_differ(records: &[Record]) {
    let mut ids: Vec<_> = records.iter().map(|record| record.header("ce_id").unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), records.len());
}

#[test]
fn of_unproven_webhooks_no_more_than_the_allowed_samples_are_kept_on_a_topic_of_their_own() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SMART_GLOCAL, &[("REJECTED__SAMPLES_PER_MINUTE", "60")]);
    let webhooks: Vec<_> = (0..200).map(|number| unproven(&bridge.config, number)).collect();
    let begun = std::time::Instant::now();
    for answered in bridge.post_all("sg-main", &webhooks) {
        assert_eq!(told(&answered), (401, "unauthentic".to_owned()));
    }
    // Twenty at the start, and one for each second that has passed, however long the machine took.
    let allowed = 20..=20 + usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    let counter = r#"paybridge_rejected_total{source="sg-main",reason="signature_mismatch"}"#;
    let records = eventually(LIMIT, || {
        let records = kafka.read_all(&bridge.topic("rejected.v1"));
        let shown = bridge.metric(counter).to_string();
        if records.len() < 20 || shown != records.len().to_string() {
            return Err(format!("{} records, and the counter says {shown}", records.len()));
        }
        Ok(records)
    });
    assert!(allowed.contains(&records.len()), "{} of {allowed:?}", records.len());
    for record in &records {
        let told = ("failure", "AUTHENTICATION_FAILURE_SIGNATURE_MISMATCH");
        check_unproven(record, told, "paybridge.event.v1.RejectedWebhook", signature(&webhooks[0]));
    }
    check_ids_differ(&records);
    bridge.assert_fires("PaybridgeSourceUnverified");
    bridge.assert_fires_while_it_goes_on("PaybridgeWebhooksUnverified");
    for topic in ["smart-glocal.ready-to-confirm.v1", "quarantine.v1"] {
        assert_eq!(kafka.read_all(&bridge.topic(topic)), [], "{topic}");
    }
}

#[test]
fn a_sample_has_the_beginning_of_a_large_body_and_says_so() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SMART_GLOCAL, &[("REJECTED__SAMPLE_BYTES_MAX", "256")]);
    let large = SignedWebhook { body: vec![b'x'; 1000].into(), ..unproven(&bridge.config, 0) };
    let small = unproven(&bridge.config, 1);
    for webhook in [&large, &small] {
        assert_eq!(bridge.post("sg-main", webhook).status, 401);
    }
    let records = eventually(LIMIT, || match kafka.read_all(&bridge.topic("rejected.v1")) {
        records if records.len() < 2 => Err(format!("{} samples", records.len())),
        records => Ok(records),
    });
    let [cut, whole] = [0, 1].map(|place| decoded(&records[place]));
    assert_eq!((&cut["body_cut"], &cut["body_bytes"]), (&Value::Bool(true), &Value::from("1000")));
    assert_eq!(field_bytes(&cut["metadata"]["evidence"]["raw_body"]).unwrap(), [b'x'; 256]);
    let digest = field_bytes(&cut["metadata"]["evidence"]["body_sha256"]).unwrap();
    assert_eq!(digest, Sha256::digest(&large.body)[..], "of the whole body");
    assert_eq!((whole.get("body_cut"), &whole["body_bytes"]), (None, &Value::from("10")));
    assert_eq!(field_bytes(&whole["metadata"]["evidence"]["raw_body"]).unwrap(), b"unproven 1");
}

/// What is beyond the source's budget is answered 503, and comes again.
#[test]
fn a_source_that_keeps_everything_keeps_so_many_bytes_a_second() {
    let kafka = Kafka::shared();
    let keeping = format!(
        "{SMART_GLOCAL}on_unverified = \"keep\"\nkeep_bytes_per_second = 65536\npath = \"/webhooks/s3cret/sg-main\""
    );
    let bridge = Bridge::start_with(kafka, &keeping, &[("INGRESS__BODY_BYTES_MAX", "65536")]);
    let large = |number| SignedWebhook { body: vec![b'x'; 30_000].into(), ..unproven(&bridge.config, number) };
    let webhooks: Vec<_> = (0..20).map(large).collect();
    let begun = std::time::Instant::now();
    let statuses: Vec<u16> =
        bridge.post_all("sg-main", &webhooks).iter().map(|answered| answered.status.as_u16()).collect();
    let kept = statuses.iter().filter(|status| **status == 200).count();
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!((2..=3 + 65_536 * seconds / 30_000).contains(&kept), "{kept} in {seconds} s");
    assert_eq!(kafka.read_all(&bridge.topic("quarantine.v1")).len(), kept);
}

/// That none are kept when the number is 0 is shown where all of them are refused, in `limits`.
#[test]
fn while_a_key_is_wrong_a_source_may_keep_everything() {
    let kafka = Kafka::shared();
    let sources = format!("{SMART_GLOCAL}on_unverified = \"keep\"\npath = \"/webhooks/s3cret/sg-main\"");
    let bridge = Bridge::start_with(kafka, &sources, &[("REJECTED__SAMPLES_PER_MINUTE", "0")]);
    let proven = signed_fixture(&bridge.config, "ready-to-confirm-v2-payout.json");
    let webhooks: Vec<_> = (0..30).map(|number| unproven(&bridge.config, number)).collect();
    for answered in bridge.post_all("sg-main", &webhooks) {
        assert_eq!((answered.status.as_u16(), answered.text.as_str()), (200, r#"{"status":"quarantined"}"#));
    }
    let records = kafka.read_all(&bridge.topic("quarantine.v1"));
    assert_eq!(records.len(), webhooks.len());
    for record in &records {
        let told = ("reason", "QUARANTINE_REASON_UNVERIFIED_KEPT");
        check_unproven(record, told, "paybridge.event.v1.QuarantinedWebhook", signature(&proven));
    }
    check_ids_differ(&records);
    assert_eq!(kafka.read_all(&bridge.topic("smart-glocal.ready-to-confirm.v1")), []);
    assert_eq!(kafka.read_all(&bridge.topic("unrecognized.v1")), []);
    let counted = |series: &str| format!("{}", bridge.metric(series));
    assert_eq!(counted(r#"paybridge_ingress_requests_total{source="sg-main",outcome="kept"}"#), "30");
    assert_eq!(counted(r#"paybridge_quarantined_total{source="sg-main",reason="unverified_kept"}"#), "30");
    bridge.assert_fires("PaybridgeQuarantineGrowing");
    assert_eq!(bridge.post("sg-main", &proven).json("status"), "accepted", "what is proven is still an event");
}

/// The topic of one event type, smaller than what its records may have.
const SMALL_TOPIC: &str = "undostres.customer.v1";

/// A daemon one of whose topics takes batches of at most 40,000 bytes.
fn with_a_small_topic(kafka: &Kafka, small: &str, settings: &[(&str, &str)]) -> Bridge {
    let config = config(kafka.bootstrap(), UNDOSTRES, settings);
    for topic in topics::needed(&config) {
        let mut settings: BTreeMap<&str, &str> =
            topic.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if topic.name.ends_with(small) {
            settings.insert("max.message.bytes", "40000");
        }
        kafka.create_topics(&[(topic.name.as_str(), topic.partitions, &settings.into_iter().collect::<Vec<_>>())]);
    }
    let bridge = Bridge::launch(config);
    bridge.await_ready();
    bridge
}

/// A customer's webhook of so many bytes that no compression makes fewer.
fn customer(config: &Config, number: u64, noise_bytes: usize) -> SignedWebhook {
    let noise = noise(noise_bytes);
    let body = format!(
        r#"{{"event_type":"CUSTOMER","event_type_description":"CUSTOMER_CREATED","webhook_notification_code":2000,"created_at":"2026-01-02 03:04:05","account_id":321,"customer_id":{number},"noise":"{noise}"}}"#
    );
    sender(config, "udt").sign("", body.into(), Timestamp::now(), number)
}

#[test]
fn an_event_too_large_for_its_topic_goes_without_plaintext_or_else_its_body_alone_to_quarantine() {
    let kafka = Kafka::shared();
    let bridge = with_a_small_topic(kafka, SMALL_TOPIC, &[]);
    let whole = customer(&bridge.config, 1, 6_000);
    let without_plaintext = customer(&bridge.config, 2, 16_000);
    let body_alone = customer(&bridge.config, 3, 60_000);
    assert_eq!(told(&bridge.post("udt", &whole)), (200, "accepted".to_owned()));
    assert_eq!(told(&bridge.post("udt", &without_plaintext)), (200, "accepted".to_owned()));
    let quarantined = bridge.post("udt", &body_alone);
    assert_eq!(told(&quarantined), (200, "quarantined".to_owned()));
    // What is in Kafka is known; what is in quarantine may come again, and is kept again.
    assert_eq!(bridge.post("udt", &without_plaintext).json("status"), "duplicate");
    assert_eq!(told(&bridge.post("udt", &body_alone)), (200, "quarantined".to_owned()));

    let evidence = |record: &Record| decoded(record)["metadata"]["evidence"].clone();
    let records = kafka.read_all(&bridge.topic(SMALL_TOPIC));
    let by_key =
        |key: &str| evidence(records.iter().find(|record| record.key.as_deref() == Some(key.as_bytes())).unwrap());
    assert_eq!(records.len(), 2);
    assert!(by_key("1")["plaintext"].is_string());
    assert_eq!(by_key("2").get("plaintext"), None);
    assert_eq!(field_bytes(&by_key("2")["raw_body"]).unwrap(), without_plaintext.body);
    let kept = kafka.read_all(&bridge.topic("quarantine.v1"));
    assert_eq!(kept.len(), 2);
    for record in &kept {
        let message = decoded(record);
        assert_eq!(message["reason"], "QUARANTINE_REASON_TOO_LARGE");
        assert_eq!(message["metadata"]["event_id"], Value::String(quarantined.json("event_id")));
        assert_eq!(evidence(record).get("plaintext"), None);
        assert_eq!(field_bytes(&evidence(record)["raw_body"]).unwrap(), body_alone.body);
    }
    let failures = format!(
        r#"paybridge_kafka_publish_failures_total{{topic="{}",reason="too_large"}}"#,
        bridge.topic(SMALL_TOPIC)
    );
    assert_eq!(format!("{}", bridge.metric(&failures)), "5");
}

#[test]
fn what_cannot_be_decoded_goes_to_a_small_quarantine_without_its_plaintext() {
    let kafka = Kafka::shared();
    let bridge = with_a_small_topic(kafka, "quarantine.v1", &[]);
    let body = format!(r#"{{"account_id":321,"noise":"{}"}}"#, noise(16_000));
    let webhook = sender(&bridge.config, "udt").sign("", body.into(), Timestamp::now(), 1);
    assert_eq!(told(&bridge.post("udt", &webhook)), (200, "quarantined".to_owned()));
    let records = kafka.read_all(&bridge.topic("quarantine.v1"));
    let [record] = records.as_slice() else { panic!("{} records", records.len()) };
    let message = decoded(record);
    assert_eq!(message["reason"], "QUARANTINE_REASON_WRONG_SHAPE");
    let evidence = &message["metadata"]["evidence"];
    assert_eq!(evidence.get("plaintext"), None);
    assert_eq!(field_bytes(&evidence["raw_body"]).unwrap(), webhook.body);
}

/// Text of so many random bytes, which no compression makes fewer.
fn noise(bytes: usize) -> String {
    use base64::Engine as _;
    let mut noise = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut noise).unwrap();
    base64::engine::general_purpose::STANDARD.encode(noise)
}

/// Records that share a batch with too large ones, or are together more than their topic takes at a time.
#[test]
fn an_event_that_fits_its_topic_by_itself_gets_there_in_any_company() {
    let kafka = Kafka::shared();
    // Waiting a little longer for company makes batches that are too large together.
    let bridge = with_a_small_topic(kafka, SMALL_TOPIC, &[("KAFKA__PROPERTIES__LINGER__MS", "50")]);
    let sizes = [6_000, 60_000, 100, 16_000];
    let webhooks: Vec<_> =
        (0..40).zip(sizes.into_iter().cycle()).map(|(number, bytes)| customer(&bridge.config, number, bytes)).collect();
    let answers = bridge.post_all("udt", &webhooks);
    let (mut events, mut kept) =
        (kafka.read_all(&bridge.topic(SMALL_TOPIC)), kafka.read_all(&bridge.topic("quarantine.v1")));
    for ((answered, webhook), size) in answers.iter().zip(&webhooks).zip(sizes.into_iter().cycle()) {
        let id = answered.json("event_id");
        let topic = match told(answered) {
            (200, status) if status == "accepted" => &mut events,
            (200, status) if status == "quarantined" => &mut kept,
            other => panic!("{other:?}"),
        };
        let fits = size != 60_000;
        assert_eq!(answered.json("status"), if fits { "accepted" } else { "quarantined" }, "{size} bytes of noise");
        let place = topic.iter().position(|record| record.header("ce_id") == Some(&id)).unwrap();
        let record = topic.remove(place);
        let evidence = decoded(&record)["metadata"]["evidence"].clone();
        assert_eq!(field_bytes(&evidence["raw_body"]).unwrap(), webhook.body);
        assert_eq!(evidence["plaintext"].is_string(), size < 16_000, "{size} bytes of noise");
    }
    assert!(events.is_empty() && kept.is_empty(), "nothing is there twice: {} and {}", events.len(), kept.len());
}
