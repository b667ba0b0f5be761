//! From a signed webhook to its record: each provider, each event type, once, on the right topic, decodable.

use std::process::Command;

use jiff::Timestamp;
use paybridge::provider;
use serde_json::Value;

use crate::support::bridge::{Bridge, SOURCES, decoded, key_file, sender, signed_fixture};
use crate::support::cache::CHECKOUT;
use crate::support::kafka::{Kafka, Record};

#[test]
fn every_event_type_of_every_provider_arrives_on_its_topic() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start(kafka, &[]);
    for (source, settings) in &bridge.config.sources {
        let provider = provider::find(&settings.provider).unwrap();
        let sender = sender(&bridge.config, source.as_ref());
        for event_type in provider.event_types() {
            let webhook = sender.sample(event_type, Timestamp::now(), 7);
            let answered = bridge.post(source.as_ref(), &webhook);
            assert_eq!(
                (answered.status.as_u16(), answered.json("status").as_str()),
                (200, "accepted"),
                "{event_type:?}"
            );
            let topic = bridge.topic(&format!("{}.{}.v1", provider.name(), event_type.topic_part));
            let records = kafka.read_all(&topic);
            let [record] = records.as_slice() else { panic!("{topic}: {records:?}") };
            assert_eq!(record.header("ce_id"), Some(answered.json("event_id").as_str()));
            assert_eq!(record.header("ce_type"), Some(event_type.message));
            assert_eq!(record.header("ce_source"), Some(format!("/paybridge/{source}").as_str()));
            assert_eq!(record.header("content-type"), Some("application/protobuf"));
            check_metadata(&decoded(record)["metadata"], source.as_ref(), provider.name(), &answered.json("event_id"));
        }
    }
}

fn check_metadata(metadata: &Value, source: &str, provider: &str, event_id: &str) {
    assert_eq!(metadata["source"], source);
    assert_eq!(metadata["provider"], provider);
    assert_eq!(metadata["event_id"], event_id);
    assert_eq!(metadata["bridge_instance"], "test");
    assert_eq!(metadata["bridge_version"], env!("CARGO_PKG_VERSION"));
    let evidence = &metadata["evidence"];
    assert!(evidence["raw_body"].is_string() && evidence["body_sha256"].is_string(), "{evidence}");
    assert_eq!(evidence["key_id"].as_str().map(str::len), Some(16));
    assert_eq!(evidence["plaintext"].is_string(), provider == "undostres");
    assert_eq!(evidence["remote_address"], "127.0.0.1");
}

/// The four examples of the contract, signed by openssl and sent by curl: nothing of ours makes them.
#[test]
fn webhooks_signed_with_openssl_and_sent_with_curl_arrive_keyed_by_their_session() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start(kafka, &[]);
    let names = ["v1-payout", "v1-payment", "v2-payout", "v2-payment"];
    for name in names {
        assert_eq!(curl(&bridge, &format!("ready-to-confirm-{name}.json")).0, "200", "{name}");
    }
    assert!(curl(&bridge, "ready-to-confirm-v1-payout.json").1.contains(r#""status":"duplicate""#));
    let records = kafka.read_all(&bridge.topic("smart-glocal.ready-to-confirm.v1"));
    assert_eq!(records.len(), names.len());
    assert!(records.iter().all(|record| record.key.as_deref() == Some(b"ps_3230")));
    // One key, one partition, the order of acknowledgement.
    let [v1_payout, v1_payment, v2_payout, v2_payment] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(decoded(v1_payout)["session"], decoded(v2_payout)["session"]);
    assert_eq!(decoded(v1_payment)["session"], decoded(v2_payment)["session"]);
    assert_ne!(decoded(v1_payout)["session"], decoded(v1_payment)["session"]);
}

/// Gives the status code and the body.
fn curl(bridge: &Bridge, fixture: &str) -> (String, String) {
    let script = r#"signature=$(openssl dgst -sha256 -sign "$1" "$2" | base64 -w 0)
        curl -s -w '\n%{http_code}' -H "X-PARTNER-SIGN: $signature" --data-binary "@$2" "$3""#;
    let output = Command::new("bash")
        .args(["-euc", script, "bash"])
        .arg(key_file("smart-glocal-private.pem"))
        .arg(format!("{CHECKOUT}/tests/fixtures/smart-glocal/{fixture}"))
        .arg(format!("{}{}", bridge.url, bridge.path("sg-main")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, code) = text.rsplit_once('\n').unwrap();
    (code.to_owned(), body.to_owned())
}

#[test]
fn the_same_body_twice_is_one_record_and_one_changed_byte_is_none() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start(kafka, &[]);
    let webhook = signed_fixture(&bridge.config, "ready-to-confirm-v2-payout.json");
    let (first, second) = (bridge.post("sg-main", &webhook), bridge.post("sg-main", &webhook));
    assert_eq!((first.json("status"), second.json("status")), ("accepted".to_owned(), "duplicate".to_owned()));
    assert_eq!(first.json("event_id"), second.json("event_id"));
    let mut changed = webhook.clone();
    changed.body = String::from_utf8(webhook.body.to_vec()).unwrap().replace("10000", "10001").into();
    let answered = bridge.post("sg-main", &changed);
    assert_eq!((answered.status.as_u16(), answered.text.as_str()), (401, r#"{"status":"unauthentic"}"#));
    let records = kafka.read_all(&bridge.topic("smart-glocal.ready-to-confirm.v1"));
    assert_eq!(records.len(), 1);
    assert_eq!(bridge.metric(r#"paybridge_dedup_hits_total{source="sg-main",origin="local"}"#).to_string(), "1");
}

#[test]
fn an_authentic_webhook_of_unknown_type_is_kept_and_known_again() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start(kafka, &[]);
    let webhook = signed_fixture(&bridge.config, "unknown-type.json");
    assert_eq!(bridge.post("sg-main", &webhook).json("status"), "unrecognized");
    assert_eq!(bridge.post("sg-main", &webhook).json("status"), "duplicate");
    bridge.assert_fires("PaybridgeUnrecognizedGrowing");
    let records = kafka.read_all(&bridge.topic("unrecognized.v1"));
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record.key.as_deref(), Some(&b"sg-main"[..]));
    assert_eq!(decoded(record)["metadata"]["event_type"], "session_opened");
}

#[test]
fn nothing_authentic_is_lost_whatever_is_in_it() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start(kafka, &[]);
    let sender = sender(&bridge.config, "sg-main");
    let bodies: [&[u8]; 8] = [
        b"",
        b"not JSON",
        b"{\"type\":\"ready_to_confirm\"}",
        b"{\"type\":\"ready_to_confirm\",\"session\":{\"id\":\"\xff\xfe\"}}",
        b"{\"type\":\"ready_to_confirm\",\"session\":{\"id\":{},\"payments\":[]}}",
        &b"[".repeat(50_000),
        &[b"{\"type\":\"ready_to_confirm\",\"session\":".as_slice(), &b"[".repeat(50_000), &b"]".repeat(50_000), b"}"]
            .concat(),
        b"\0\0\0",
    ];
    for body in bodies {
        let webhook = sender.sign("", body.to_vec().into(), Timestamp::now(), 0);
        let answered = bridge.post("sg-main", &webhook);
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!((answered.status.as_u16(), answered.json("status").as_str()), (200, "quarantined"), "{shown}");
        assert_eq!(answered.json("event_id").len(), 32);
    }
    let records = kafka.read_all(&bridge.topic("quarantine.v1"));
    let kept: Vec<Vec<u8>> = records.iter().map(raw_body).collect();
    assert_eq!(kept, bodies.map(<[u8]>::to_vec), "every body as it was received, in order");
    assert!(records.iter().all(|record| decoded(record)["reason"].is_string()));
    // What tells its type and its session is an event, however odd the rest is.
    let odd = br#"{"type":"ready_to_confirm","session":{"id":"ps_1","payments":[{"id":7,"amount_details":{"amount":1e99}}]}}"#;
    let webhook = sender.sign("", odd.to_vec().into(), Timestamp::now(), 0);
    assert_eq!(bridge.post("sg-main", &webhook).json("status"), "accepted");
}

fn raw_body(record: &Record) -> Vec<u8> {
    use base64::Engine as _;
    let message = decoded(record);
    let text = message["metadata"]["evidence"]["raw_body"].as_str().unwrap();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn records_of_one_key_are_where_every_java_client_puts_them() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SOURCES, &[("KAFKA__PARTITIONS", "12")]);
    for number in 0..20 {
        bridge.post("sg-main", &crate::support::bridge::ready_to_confirm(&bridge.config, number));
    }
    let records = kafka.read_all(&bridge.topic("smart-glocal.ready-to-confirm.v1"));
    assert_eq!(records.len(), 20);
    for record in &records {
        let key = record.key.as_deref().unwrap();
        assert_eq!(record.partition, i32::try_from((murmur2(key) & 0x7fff_ffff) % 12).unwrap());
    }
}

/// Kafka's own partitioner, written from `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ u32::try_from(data.len()).unwrap();
    let mut chunks = data.chunks_exact(4);
    for chunk in chunks.by_ref() {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    for (place, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * place);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}
