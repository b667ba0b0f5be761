//! The dedup window in the whole daemon: off, short, small; and the ids of bodies that may repeat after an hour.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use paybridge::provider::SignedWebhook;
use sha2::{Digest, Sha256};

use crate::support::bridge::{Bridge, count_by_id, ready_to_confirm, sender};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;
use crate::support::wire::{SMART_GLOCAL, UNIPAAS, short_hex};

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
    assert_eq!(format!("{}", bridge.metric(r#"paybridge_dedup_hits_total{source="sg-main",origin="local"}"#)), "0");
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
    bridge.assert_fires("PaybridgeDedupWindowShort");
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

/// The bodies of UNIPaaS that have no time of their own.
pub const STATES: [(&str, &str); 4] = [
    ("authorization/update", r#"{"authorizationId":"a-1","authorizationStatus":"STATE"}"#),
    ("onboarding/update", r#"{"vendorId":"v-17","onboardingStatus":"STATE"}"#),
    ("ewallet/create", r#"{"eWalletId":"7","platformId":"p","status":"STATE"}"#),
    ("mandate/update", r#"{"id":"m-1","mandateReference":"r","status":"STATE"}"#),
];

#[test]
fn a_state_that_comes_back_is_a_new_event_and_each_one_sent_again_is_none() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, UNIPAAS, &[]);
    bridge.await_following();
    let sender = sender(&bridge.config, "unipaas");
    for (name, body) in STATES {
        let mut ids = Vec::new();
        for state in ["ACTIVE", "SUSPENDED", "ACTIVE", "SUSPENDED"] {
            let webhook = sender.sign(name, body.replace("STATE", state).into(), Timestamp::now(), 0);
            let first = bridge.post("unipaas", &webhook);
            let again = bridge.post("unipaas", &webhook);
            assert_eq!(
                (first.json("status").as_str(), again.json("status").as_str()),
                ("accepted", "duplicate"),
                "{name}"
            );
            assert_eq!(first.json("event_id"), again.json("event_id"), "{name}");
            ids.push(first.json("event_id"));
        }
        let topic = bridge.topic(&format!("unipaas.{}.v1", name.replace('/', "-")));
        let published = count_by_id(&kafka.read_all(&topic));
        assert_eq!(published, ids.into_iter().map(|id| (id, 1)).collect(), "{name}: four events");
    }
}

/// The first event of a thing goes by its content, the hour, and nothing before it.
#[test]
fn the_id_of_a_state_is_computed_as_documented() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, UNIPAAS, &[]);
    bridge.await_following();
    let (name, body) = (STATES[1].0, Bytes::from(STATES[1].1));
    let webhook = sender(&bridge.config, "unipaas").sign(name, body.clone(), Timestamp::now(), 0);
    let before = Timestamp::now();
    let id = bridge.post("unipaas", &webhook).json("event_id");
    let id_at = |instant: Timestamp| {
        let content = hashed(&[b"unipaas", name.as_bytes(), &body]);
        let hour = instant.as_second().div_euclid(3600).to_be_bytes();
        short_hex(&hashed(&[&content[..16], &hour, b""]), 16)
    };
    assert!([id_at(before), id_at(Timestamp::now())].contains(&id), "{id}");
}

/// SHA-256 over these parts, each after its length.
fn hashed(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

const PAYOUT: &str = r#"{"payoutId":"p-1","status":"sent","amount":1200,"updatedDate":"2024-05-27T11:30:00Z"}"#;
const STRANGE: &str = r#"{"strange":true}"#;

/// One signed body under many names: nobody signs the path.
#[test]
fn a_signed_body_makes_one_event_under_whatever_name_it_is_sent() {
    let kafka = Kafka::shared();
    let exempting = UNIPAAS.replace("secret_files", "shape_exempt = [\"plan/update\"]\nsecret_files");
    let bridge = Bridge::start_with(kafka, &exempting, &[]);
    let sender = sender(&bridge.config, "unipaas");
    let post = |name: &str, body: &'static str| {
        let answered = bridge.post("unipaas", &sender.sign(name, body.into(), Timestamp::now(), 0));
        assert_eq!(answered.status, 200, "{name}");
        answered.json("status")
    };
    assert_eq!(post("payout/update", PAYOUT), "accepted");
    for name in ["authorization/update", "transfer/update", "subscription/chargeSuccess", "plan/create"] {
        assert_eq!(post(name, PAYOUT), "quarantined", "{name}");
    }
    assert_eq!(post("plan/update", PAYOUT), "accepted", "its name is exempt");
    assert_eq!(post("", PAYOUT), "duplicate", "known by its shape");
    for number in 0..20 {
        assert_eq!(post(&format!("invented/name-{number}"), PAYOUT), "duplicate", "known by its shape");
    }
    let answers: Vec<String> = (0..20).map(|number| post(&format!("invented/name-{number}"), STRANGE)).collect();
    assert_eq!(answers.iter().filter(|status| *status == "unrecognized").count(), 1, "{answers:?}");
    let contradicted = r#"paybridge_quarantined_total{source="unipaas",reason="name_contradicts_body"}"#;
    assert_eq!(format!("{}", bridge.metric(contradicted)), "4");
}
