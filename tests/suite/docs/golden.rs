//! One record value of every message type that goes to a topic, as some version wrote it: every later version reads them.
//!
//! `PAYBRIDGE_BLESS=1 cargo test --test suite docs::golden` adds those that are missing, made from the fixtures. It never writes
//! an existing one anew: what is on other teams' topics stays there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use paybridge::config::EvidenceKeep;
use paybridge::config::files::FileReader;
use paybridge::confirmation::codec::decision;
use paybridge::confirmation::codec::records::{RecordLocation, Records};
use paybridge::confirmation::session::model::{Action, Decider, Opening, Outcome, ProviderRefusal};
use paybridge::encode::{Bridge, Encoder, RecordForm};
use paybridge::ingress::window::DedupKey;
use paybridge::kafka::record::Record;
use paybridge::kafka::topics::{
    DECISION_MESSAGE, DECISION_REJECTED_MESSAGE, OUTCOME_MESSAGE, QUARANTINED_MESSAGE, REJECTED_MESSAGE,
    UNRECOGNIZED_MESSAGE,
};
use paybridge::message::DESCRIPTORS;
use paybridge::message::confirmation::v1::{self, RejectionReason};
use paybridge::message::event::v1::Money;
use paybridge::provider::{self, AuthenticWebhook, PROVIDERS, RawWebhook, Sender, SignedWebhook, Source, Unverified};
use prost::Message as _;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;

use crate::support::bridge::{SOURCES, config, sender};
use crate::support::cache::CHECKOUT;

/// The full name of every message type that goes to a topic.
fn message_types() -> Vec<&'static str> {
    let events = PROVIDERS.iter().flat_map(|provider| provider.event_types()).map(|event_type| event_type.message);
    events.chain([UNRECOGNIZED_MESSAGE, QUARANTINED_MESSAGE, REJECTED_MESSAGE]).chain(ENGINE).collect()
}

/// A sender that configuration describes, and one that is answered in its own words.
const DECLARED: &str = "[sources.adyen]\nprovider = \"adyen\"\nsecret_files = [\"adyen.key\"]\n[sources.shop]\nprovider = \"stripe\"\nsecret_files = [\"stripe.key\"]\n";

/// Those that no webhook is behind. The ledger's entries have their own golden bytes, beside their code.
const ENGINE: [&str; 3] = [DECISION_MESSAGE, DECISION_REJECTED_MESSAGE, OUTCOME_MESSAGE];

fn golden(message: &str, extension: &str) -> PathBuf {
    Path::new(CHECKOUT).join("tests/fixtures/golden").join(format!("{message}.{extension}"))
}

#[test]
fn what_any_version_wrote_is_read_whole() {
    if env::var_os("PAYBRIDGE_BLESS").is_some() {
        add_missing();
    }
    for message in message_types() {
        let bytes = fs::read(golden(message, "bin"));
        let bytes = bytes.unwrap_or_else(|error| panic!("{message}.bin: {error}; add it with PAYBRIDGE_BLESS=1"));
        let expected: Value = serde_json::from_slice(&fs::read(golden(message, "json")).unwrap()).unwrap();
        let decoded = decoded(message, &bytes);
        assert_eq!(decoded.unknown_fields().count(), 0, "{message}: a field is gone");
        assert_eq!(json(&decoded), expected, "{message}: a field has another name, number, type or meaning");
        // Maps have no order, so the bytes may; but every one of them means something.
        let sorted = |mut bytes: Vec<u8>| {
            bytes.sort_unstable();
            bytes
        };
        assert_eq!(sorted(decoded.encode_to_vec()), sorted(bytes), "{message}: written otherwise than it was");
        let is_whole = ENGINE.contains(&message) || expected["metadata"]["evidence"]["raw_body"].is_string();
        assert!(is_whole, "{message}: it is a whole record");
    }
}

#[test]
fn there_is_no_golden_message_of_a_type_that_is_gone() {
    let known = message_types();
    for entry in fs::read_dir(Path::new(CHECKOUT).join("tests/fixtures/golden")).unwrap() {
        let path = entry.unwrap().path();
        let message = path.file_stem().unwrap().to_str().unwrap();
        assert!(known.contains(&message), "{message}: a type that was on topics must stay; bring it back");
    }
}

fn decoded(message: &str, bytes: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(DESCRIPTORS.get_message_by_name(message).unwrap(), bytes).unwrap()
}

fn json(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// Of all that the fixtures make of a type, the one that fills the most fields.
fn add_missing() {
    let mut richest: BTreeMap<String, (usize, Vec<u8>)> = BTreeMap::new();
    for (message, value) in records_of_fixtures().into_iter().chain(records_of_engine()) {
        let fields = filled(&json(&decoded(&message, &value)));
        let best = richest.entry(message).or_default();
        if fields > best.0 {
            *best = (fields, value);
        }
    }
    for message in message_types().into_iter().filter(|message| !golden(message, "bin").exists()) {
        let (_, value) = richest.get(message).unwrap_or_else(|| panic!("no fixture makes {message}"));
        fs::create_dir_all(golden(message, "bin").parent().unwrap()).unwrap();
        fs::write(golden(message, "bin"), value).unwrap();
        fs::write(golden(message, "json"), format!("{:#}\n", json(&decoded(message, value)))).unwrap();
    }
}

/// How many fields are filled, at any depth.
fn filled(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.values().map(filled).sum(),
        Value::Array(elements) => elements.iter().map(filled).max().unwrap_or_default(),
        _ => 1,
    }
}

/// When all of them were received.
fn now() -> Timestamp {
    "2026-02-03T04:05:06.789Z".parse().unwrap()
}

/// The message type and value of the record of every fixture that its source believes.
fn records_of_fixtures() -> Vec<(String, Vec<u8>)> {
    let config = config("127.0.0.1:1", &[SOURCES, DECLARED].concat(), &[("SOURCES__UDT__CURRENCY", "MXN")]);
    let bridge = Bridge { instance: "paybridge-0".to_owned(), keep: EvidenceKeep::Inline };
    let mut records = Vec::new();
    for (name, settings) in &config.sources {
        let provider = provider::find(&settings.provider).unwrap();
        let source = provider.configure(&settings.section, &FileReader::new()).unwrap();
        let encoder = Encoder::new(&bridge, name.as_ref(), settings, "payments");
        let sender = sender(&config, name.as_ref());
        for fixture in fixtures(provider.name()) {
            let webhook = received(&*sender, &fixture);
            let Ok(authentic) = AuthenticWebhook::authenticate(&*source, webhook.clone()) else { continue };
            // Of a batch only the first record is whole, and it is like any other.
            let Some(record) = record(&*source, &encoder, &authentic) else { continue };
            let failure = Unverified::SignatureMismatch;
            let rejected = encoder.rejected(&webhook, failure, 64, "00112233445566778899aabbccddeeff");
            records.push((REJECTED_MESSAGE.to_owned(), rejected.value));
            let message = &record.headers.iter().find(|(name, _)| *name == "ce_type").unwrap().1;
            let message = String::from_utf8(message.to_vec()).unwrap();
            records.push((message, record.value));
        }
    }
    records
}

/// The same of each record of the engine, with every field filled.
fn records_of_engine() -> Vec<(String, Vec<u8>)> {
    let text = str::to_owned;
    let decision = v1::Decision {
        source: text("sg-main"),
        session_id: text("ps_3230"),
        action: v1::Action::Cancel.into(),
        decided_by: text("risk"),
        reason: text("asked by phone"),
        decision_id: text("d-1"),
    };
    let written = decision.encode_to_vec();
    let (key, complete) = decision::read(&written, 41, now()).unwrap();
    let amount = Money { currency: Some(text("USD")), minor_units: 10_000, exponent: Some(2) };
    let payout = v1::Operation { id: text("po_1313"), kind: v1::OperationKind::Payout.into(), amount: Some(amount) };
    let decider = Decider {
        kind: v1::DeciderKind::Decision,
        name: complete.decided_by.clone(),
        decision_id: complete.decision_id.clone(),
        reason: complete.reason.clone(),
    };
    let outcome = Outcome {
        opening: Opening {
            ready_event_id: text("e5a20a9b4376573f5ec05721afbb5f83"),
            recorded_at: now(),
            window_began_at: now(),
            operations: vec![payout],
            dry_run: true,
            failed_rule: String::new(),
        },
        decided: Some((Action::Cancel, decider, now())),
        result: v1::Result::Refused,
        refusal: Some(ProviderRefusal { code: text("account_not_found"), description: text("no such account") }),
        attempts: 2,
        answered_at: Some(now()),
        known_at: now(),
        remaining_seconds: 14_399,
        verified: true,
    };
    let records = Records::new("payments", "paybridge-0", 1_048_576);
    let reason = RejectionReason::AlreadyDecided;
    let malformed = v1::Decision { action: 3, ..decision }.encode_to_vec(); // an action of later days
    let why = decision::read(&malformed, 41, now()).unwrap_err();
    let found = RecordLocation { topic: "payments.confirmation.decision.v1", partition: 3, offset: 41 };
    vec![
        (text(DECISION_MESSAGE), written),
        (text(DECISION_REJECTED_MESSAGE), records.rejected(&key, &complete, 3, reason, now()).value),
        (text(DECISION_REJECTED_MESSAGE), records.malformed(&malformed, &why, (found, Some(b"ps_3230")), now()).value),
        (text(OUTCOME_MESSAGE), records.outcome(&key, &outcome).value),
    ]
}

/// The record of a webhook of one event.
fn record(source: &dyn Source, encoder: &Encoder, webhook: &AuthenticWebhook) -> Option<Record> {
    let event = source.normalize("golden", webhook).event()?;
    let id = DedupKey::of("golden", &event, webhook.raw().received_at).id_alone();
    Some(encoder.authentic(webhook, &event, id, RecordForm::AsConfigured))
}

/// The bodies of a provider's fixtures, in the order of their names.
fn fixtures(provider: &str) -> Vec<PathBuf> {
    let folder = Path::new(CHECKOUT).join("tests/fixtures").join(provider);
    let expected = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut bodies: Vec<PathBuf> = expected
        .filter_map(|path| Some(path.to_str()?.strip_suffix(".expected.json")?.to_owned()))
        .map(|stem| PathBuf::from(format!("{stem}.json")))
        .collect();
    bodies.sort();
    bodies
}

/// A fixture's body as its provider would have sent it, to the path that the fixture gives.
fn received(sender: &dyn Sender, fixture: &Path) -> RawWebhook {
    let expected = fs::read(fixture.with_extension("expected.json")).unwrap();
    let given = serde_json::from_slice::<Value>(&expected).unwrap()["given"].take();
    let path_suffix = given["path_suffix"].as_str().unwrap_or_default();
    let SignedWebhook { path_suffix, query, headers, body } =
        sender.sign(path_suffix, fs::read(fixture).unwrap().into(), now(), 7);
    let headers =
        headers.iter().map(|(name, value)| ((*name).try_into().unwrap(), HeaderValue::from_str(value).unwrap()));
    RawWebhook {
        path_suffix,
        query,
        headers: headers.collect::<HeaderMap>(),
        body,
        remote_address: [192, 0, 2, 1].into(),
        received_at: now(),
    }
}
