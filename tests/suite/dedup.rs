//! The dedup window in the whole daemon: off, short, small; and the ids of bodies that may repeat after an hour.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use paybridge::provider::SignedWebhook;
use sha2::{Digest, Sha256};

use crate::bridge::{Bridge, count_by_id, event_type, ready_to_confirm, sender};
use crate::eventually::eventually;
use crate::kafka::Kafka;
use crate::wire::{SMART_GLOCAL, UNIPAAS, short_hex};

const LIMIT: Duration = Duration::from_secs(30);
const TOPIC: &str = "smart-glocal.ready-to-confirm.v1";

fn status(bridge: &Bridge, webhook: &SignedWebhook) -> String {
    bridge.post("sg-main", webhook).json("status")
}

#[test]
fn without_a_window_a_redelivery_is_published_again_under_the_same_id() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SMART_GLOCAL, &[("DEDUP__MODE", "off")]);
    let webhook = ready_to_confirm(&bridge.config, 1);
    let ids: Vec<_> = (0..3).map(|_| bridge.post("sg-main", &webhook).json("event_id")).collect();
    let counts = count_by_id(&kafka.read_all(&bridge.topic(TOPIC)));
    assert_eq!(counts, BTreeMap::from([(ids[0].clone(), 3)]));
    assert_eq!(format!("{}", bridge.metric(r#"paybridge_dedup_hits_total{source="sg-main"}"#)), "0");
}

#[test]
fn an_event_is_forgotten_when_the_window_has_passed() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SMART_GLOCAL, &[("DEDUP__WINDOW_S", "5")]);
    let webhook = ready_to_confirm(&bridge.config, 1);
    assert_eq!(status(&bridge, &webhook), "accepted");
    assert_eq!(status(&bridge, &webhook), "duplicate");
    eventually(LIMIT, || match status(&bridge, &webhook).as_str() {
        "accepted" => Ok(()),
        other => Err(format!("{other} long after the window")),
    });
    assert_eq!(kafka.read_all(&bridge.topic(TOPIC)).len(), 2);
}

#[test]
fn a_full_window_forgets_the_oldest_event() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SMART_GLOCAL, &[("DEDUP__ENTRIES_MAX", "2")]);
    let webhooks = [1, 2, 3].map(|number| ready_to_confirm(&bridge.config, number));
    let statuses: Vec<_> = webhooks.iter().map(|webhook| status(&bridge, webhook)).collect();
    assert_eq!(statuses, ["accepted"; 3]);
    assert_eq!(
        (status(&bridge, &webhooks[2]), status(&bridge, &webhooks[1])),
        ("duplicate".to_owned(), "duplicate".to_owned())
    );
    assert_eq!(status(&bridge, &webhooks[0]), "accepted", "two events were remembered after it");
    assert_eq!(kafka.read_all(&bridge.topic(TOPIC)).len(), 4);
    eventually(LIMIT, || match format!("{}", bridge.metric("paybridge_dedup_entries")).as_str() {
        "2" => Ok(()),
        other => Err(format!("{other} entries are shown")),
    });
}

/// Sent together, one is published, and all are answered by its fate.
#[test]
fn redeliveries_of_an_event_on_its_way_wait_for_the_same_record() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SMART_GLOCAL, &[]);
    let webhooks = vec![ready_to_confirm(&bridge.config, 1); 30];
    let answers = bridge.post_all("sg-main", &webhooks);
    assert!(answers.iter().all(|answered| answered.status == 200));
    assert_eq!(answers.iter().filter(|answered| answered.json("status") == "accepted").count(), 1);
    assert_eq!(kafka.read_all(&bridge.topic(TOPIC)).len(), 1);
}

/// A `UNIPaaS` body without a time of its own is one event within the hour of its first receipt, and its id says the hour.
#[test]
fn a_body_without_a_time_has_an_id_of_its_hour_and_is_known_again_within_it() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, UNIPAAS, &[]);
    let sender = sender(&bridge.config, "unipaas");
    for (name, part) in [
        ("authorization/update", "authorization-update"),
        ("onboarding/update", "onboarding-update"),
        ("ewallet/create", "ewallet-create"),
    ] {
        let webhook = sender.sample(event_type("unipaas", part), Timestamp::now(), 1);
        let before = Timestamp::now();
        let first = bridge.post("unipaas", &webhook);
        let id_at = |instant| hourly_id("unipaas", name, &webhook.body, instant);
        let id = first.json("event_id");
        assert!([id_at(before), id_at(Timestamp::now())].contains(&id), "{name}: {id}");
        let again = bridge.post("unipaas", &webhook);
        assert_eq!((again.json("status"), again.json("event_id")), ("duplicate".to_owned(), id), "{name}");
    }
}

/// SHA-256 over source, name, body and the hour since 1970, each after its length: the first 32 hex digits.
fn hourly_id(source: &str, name: &str, body: &Bytes, instant: Timestamp) -> String {
    let hour = instant.as_second().div_euclid(3600).to_be_bytes();
    let mut hash = Sha256::new();
    for part in [source.as_bytes(), name.as_bytes(), body, &hour] {
        hash.update(u64::try_from(part.len()).unwrap().to_be_bytes());
        hash.update(part);
    }
    short_hex(&hash.finalize(), 16)
}
