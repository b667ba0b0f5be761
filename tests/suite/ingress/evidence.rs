//! What a record carries of its webhook: enough to verify the signature again from the record alone, or a hash.

use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::provider::SignedWebhook;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::bridge::{Bridge, SOURCES, decoded, event_type, key_file, sender, signed_fixture};
use crate::support::kafka::Kafka;
use crate::support::wire::{field_bytes, told};

fn sample(config: &Config, source: &str, provider: &str, part: &str) -> SignedWebhook {
    sender(config, source).sample(event_type(provider, part), Timestamp::now(), 1)
}

/// Sends a webhook, and gives the one record's evidence on the topic.
fn evidence_of(kafka: &Kafka, bridge: &Bridge, source: &str, webhook: &SignedWebhook, topic: &str) -> Value {
    let answered = bridge.post(source, webhook);
    assert_eq!(answered.status, 200, "{answered:?}");
    let id = answered.json("event_id");
    let records = kafka.read_all(&bridge.topic(topic));
    let record = records.iter().find(|record| record.header("ce_id") == Some(&id));
    let record = record.unwrap_or_else(|| panic!("{source}: {topic} has no record of {answered:?}"));
    let evidence = decoded(record)["metadata"]["evidence"].clone();
    let digest: [u8; 32] = Sha256::digest(&webhook.body).into();
    assert_eq!(field_bytes(&evidence["body_sha256"]).unwrap(), digest, "the hash is of what was sent");
    evidence
}

#[test]
fn by_hash_only_typed_events_hold_no_bytes_and_all_others_hold_theirs() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SOURCES, &[("EVIDENCE__KEEP", "hash-only")]);
    let config = &bridge.config;
    let typed = [
        ("sg-main", "smart-glocal", "payment-finished"),
        ("udt", "undostres", "payment-request-card"),
        ("unipaas", "unipaas", "payout-update"),
    ];
    for (source, provider, part) in typed {
        let webhook = sample(config, source, provider, part);
        let evidence = evidence_of(kafka, &bridge, source, &webhook, &format!("{provider}.{part}.v1"));
        assert_eq!((evidence.get("raw_body"), evidence.get("plaintext")), (None, None), "{provider}");
        assert_eq!(evidence["key_id"].as_str().map(str::len), Some(16), "{provider}");
    }
    let now = Timestamp::now();
    let signed = |source, body: &'static str| sender(config, source).sign("", body.into(), now, 0);
    let unknown = r#"{"event_type":"LOYALTY","webhook_notification_code":8000,"account_id":321}"#;
    let others = [
        ("unipaas", sample(config, "unipaas", "unipaas", "transfer-update"), "unipaas.transfer-update.v1"),
        ("other", sample(config, "other", "standard-webhooks", "received"), "standard-webhooks.received.v1"),
        ("sg-main", signed_fixture(config, "unknown-type.json"), "unrecognized.v1"),
        ("udt", signed("udt", unknown), "unrecognized.v1"),
        ("sg-main", signed("sg-main", "not JSON"), "quarantine.v1"),
        ("udt", signed("udt", r#"{"event_type":7,"account_id":321}"#), "quarantine.v1"),
    ];
    for (source, webhook, topic) in others {
        let evidence = evidence_of(kafka, &bridge, source, &webhook, topic);
        assert_eq!(field_bytes(&evidence["raw_body"]).unwrap(), webhook.body, "{source} {topic}");
        assert_eq!(evidence["plaintext"].is_string(), source == "udt", "{source} {topic}");
    }
}

/// One provider's documented scheme in openssl's words. `$1` is the folder with the record's evidence, a file a field;
/// `$2` the key file. It ends well when the evidence proves the body.
struct Verification {
    source: &'static str,
    topic: &'static str,
    webhook: fn(&Config) -> SignedWebhook,
    key: &'static str,
    script: &'static str,
}

const VERIFICATIONS: [Verification; 4] = [
    Verification {
        source: "sg-main",
        topic: "smart-glocal.payment-finished.v1",
        webhook: |config| signed_fixture(config, "payment-finished-v2.json"),
        key: "smart-glocal-public.pem",
        script: r#"
            [ "$(openssl pkey -pubin -in "$2" -outform DER | sha256sum | cut -c -16)" = "$(cat "$1/key_id")" ]
            base64 -d "$1/signature" >"$1/signature.bytes"
            openssl dgst -sha256 -verify "$2" -signature "$1/signature.bytes" "$1/raw_body""#,
    },
    Verification {
        source: "unipaas",
        topic: "unipaas.payout-update.v1",
        webhook: |config| sample(config, "unipaas", "unipaas", "payout-update"),
        key: "unipaas.key",
        script: r#"
            [ "$(tr -d '\n' <"$2" | sha256sum | cut -c -16)" = "$(cat "$1/key_id")" ]
            mac=$(openssl dgst -sha256 -hmac "$(cat "$2")" -r "$1/raw_body" | cut -c -64 | tr -d '\n' | base64 -w 0)
            [ "$mac" = "$(cat "$1/signature")" ]"#,
    },
    Verification {
        source: "other",
        topic: "standard-webhooks.received.v1",
        webhook: |config| sample(config, "other", "standard-webhooks", "received"),
        key: "standard-webhooks.key",
        script: r#"
            key=$(sed 's/^whsec_//' "$2" | base64 -d | od -An -v -tx1 | tr -d ' \n')
            printf '%s.%s.' "$(cat "$1/webhook-id")" "$(cat "$1/webhook-timestamp")" | cat - "$1/raw_body" >"$1/signed"
            mac=$(openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary "$1/signed" | base64 -w 0)
            [ "v1,$mac" = "$(cat "$1/signature")" ]"#,
    },
    Verification {
        source: "udt",
        topic: "undostres.customer.v1",
        webhook: |config| sample(config, "udt", "undostres", "customer"),
        key: "undostres.key",
        script: r#"
            key=$(sed 's/^ascii://' "$2" | tr -d '\n' | od -An -v -tx1 | tr -d ' \n')
            base64 -d "$1/raw_body" | openssl enc -d -aes-128-ecb -K "$key" >"$1/decrypted"
            cmp "$1/decrypted" "$1/plaintext""#,
    },
];

#[test]
fn a_record_alone_proves_its_webhook_to_openssl() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start(kafka, &[]);
    for verification in &VERIFICATIONS {
        let Verification { source, topic, webhook, key, .. } = verification;
        let webhook = webhook(&bridge.config);
        let evidence = evidence_of(kafka, &bridge, source, &webhook, topic);
        let folder = tempfile::tempdir().unwrap();
        write_down(&evidence, folder.path());
        assert_eq!(fs::read(folder.path().join("raw_body")).unwrap(), webhook.body);
        assert!(proves(verification, folder.path(), &key_file(key)), "{source}");
        let changed = webhook.body.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>();
        fs::write(folder.path().join("raw_body"), changed).unwrap();
        assert!(!proves(verification, folder.path(), &key_file(key)), "{source}: other bytes are not proven");
    }
    assert_eq!(told(&bridge.post("sg-main", &signed_fixture(&bridge.config, "payment-finished-v2.json"))).0, 200);
}

/// A file for each field of the evidence and for each header in it.
fn write_down(evidence: &Value, folder: &Path) {
    for name in ["raw_body", "plaintext"] {
        fs::write(folder.join(name), field_bytes(&evidence[name]).unwrap_or_default()).unwrap();
    }
    let texts = ["signature", "key_id"].map(|name| (name, &evidence[name]));
    let headers = evidence["headers"].as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value));
    for (name, text) in texts.into_iter().chain(headers) {
        fs::write(folder.join(name), text.as_str().unwrap_or_default()).unwrap();
    }
}

fn proves(verification: &Verification, folder: &Path, key: &Path) -> bool {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", verification.script, "bash"]).arg(folder).arg(key);
    command.output().unwrap().status.success()
}
