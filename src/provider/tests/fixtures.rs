//! Runs every body below `tests/fixtures/{provider}` through its provider and compares all that comes out, as JSON,
//! with the `.expected.json` beside it; `given` in there is what the webhook has besides its body: path suffix, headers.
//! `PAYBRIDGE_BLESS=1 cargo test --lib fixtures` writes what is missing or changed: read the difference before you commit it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use figment::Figment;
use figment::providers::{Format, Toml};
use http::{HeaderMap, HeaderName};
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::message::DESCRIPTORS;
use crate::provider::{
    AuthenticWebhook, Content, Identity, KeyFiles, Normalized, PROVIDERS, RawWebhook, Source, Understood,
};
use crate::settings::Section;

/// The folder of all fixtures.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Reads key files from `tests/fixtures/keys`.
pub struct FixtureKeys;

impl KeyFiles for FixtureKeys {
    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        fs::read(folder().join("keys").join(path)).map(Zeroizing::new)
    }
}

/// Key files by name, with what they hold.
pub struct Files(pub &'static [(&'static str, &'static str)]);

impl KeyFiles for Files {
    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let file = self.0.iter().find(|(name, _)| Path::new(name) == path);
        let (_, text) = file.ok_or(io::ErrorKind::NotFound)?;
        Ok(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

/// A section of these TOML lines.
pub fn section(toml: &str) -> Section {
    Section::new("sources.test", Figment::from(Toml::string(toml)).extract().unwrap())
}

/// A webhook of this body, received on 2024-05-27.
pub fn raw(path_suffix: &str, body: impl Into<Bytes>) -> RawWebhook {
    RawWebhook {
        path_suffix: path_suffix.to_owned(),
        query: String::new(),
        headers: HeaderMap::new(),
        body: body.into(),
        remote_address: [192, 0, 2, 1].into(),
        received_at: "2024-05-27T10:20:30Z".parse().unwrap(),
    }
}

/// What a source makes of a body that is taken as authentic; of several events the first.
pub fn normalized(source: &dyn Source, path_suffix: &str, body: impl Into<Bytes>) -> Normalized {
    events(source.normalize("test", &AuthenticWebhook::assumed(raw(path_suffix, body)))).remove(0)
}

/// The events of one webhook, at least one.
pub fn events(understood: Understood) -> Vec<Normalized> {
    match understood {
        Understood::Event(event) => vec![event],
        Understood::Batch(events) => events,
        Understood::Handshake(_) => panic!("a handshake is no event"),
    }
}

#[test]
fn every_fixture_normalizes_as_expected() {
    let bless = std::env::var_os("PAYBRIDGE_BLESS").is_some();
    let mut different = Vec::new();
    for provider in PROVIDERS.iter() {
        let folder = folder().join(provider.name());
        let settings = fs::read_to_string(folder.join("source.toml")).unwrap();
        let source = provider.configure(&section(&settings), &FixtureKeys).unwrap();
        let mut seen: Vec<String> = Vec::new();
        for body in bodies(&folder) {
            let expected = body.with_extension("expected.json");
            let before: Value = fs::read(&expected).map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap());
            let given = before.get("given").cloned().unwrap_or_else(|| json!({"path_suffix": ""}));
            let understood = source.normalize("test", &authentic(&given, fs::read(&body).unwrap()));
            let is_batch = matches!(understood, Understood::Batch(_));
            let each: Vec<Value> = events(understood).into_iter().map(shown).collect();
            seen.extend(each.iter().filter_map(|then| then["topic"].as_str().map(str::to_owned)));
            let then = if is_batch { Value::from(each) } else { each[0].clone() };
            let now = json!({"given": given, "then": then});
            if now != before {
                different.push(expected.clone());
                if bless {
                    fs::write(&expected, format!("{now:#}\n")).unwrap();
                }
            }
        }
        for event_type in provider.event_types() {
            assert!(seen.iter().any(|part| part == event_type.topic_part), "no fixture makes {event_type:?}");
        }
    }
    assert!(bless || different.is_empty(), "not as expected: {different:#?}");
}

/// A webhook of this body, taken as authentic, with the path suffix and headers that are given.
fn authentic(given: &Value, body: Vec<u8>) -> AuthenticWebhook {
    let mut webhook = raw(given["path_suffix"].as_str().unwrap_or_default(), body);
    given["query"].as_str().unwrap_or_default().clone_into(&mut webhook.query);
    for (name, value) in given["headers"].as_object().into_iter().flatten() {
        webhook.headers.insert(HeaderName::try_from(name).unwrap(), value.as_str().unwrap().try_into().unwrap());
    }
    AuthenticWebhook::assumed(webhook)
}

/// The files that hold a body: `NAME.json`, without `NAME.expected.json`.
fn bodies(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_body = |path: &PathBuf| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_body = !stem.ends_with(".expected") && stem != "vectors";
        path.extension().is_some_and(|extension| extension == "json") && is_body
    };
    let mut paths: Vec<PathBuf> = entries.filter(is_body).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no fixtures in {}", folder.display());
    paths
}

fn shown(normalized: Normalized) -> Value {
    let mut then = json!({
        "event_type": normalized.event_type,
        "identity": match normalized.identity {
            Identity::Event(id) => json!({"event_id": id.to_string()}),
            Identity::Content(id) => json!({"content_id": id.to_string()}),
            Identity::ContentOfKey(id) => json!({"content_id_of_key": id.to_string()}),
        },
        "subject": normalized.subject,
        "key": normalized.key,
        "occurred_at": normalized.occurred_at.map(|at| at.to_string()),
        "unread_fields": normalized.unread_fields,
    });
    match normalized.content {
        Content::Event(encoded) => {
            then["topic"] = json!(encoded.event_type.topic_part);
            then["message_type"] = json!(encoded.event_type.message);
            let descriptor = DESCRIPTORS.get_message_by_name(encoded.event_type.message).unwrap();
            let message = DynamicMessage::decode(descriptor, encoded.fields.as_slice()).unwrap();
            assert_eq!(message.unknown_fields().count(), 0);
            let options = SerializeOptions::new().use_proto_field_name(true);
            then["message"] = message.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
        }
        Content::Unrecognized => then["unrecognized"] = json!(true),
        Content::Undecodable(undecodable) => {
            then["undecodable"] = json!([undecodable.reason.as_str_name(), undecodable.detail]);
        }
    }
    then
}
