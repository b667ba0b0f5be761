//! Test vectors that senders publish, or that were computed with their official algorithm: `tests/fixtures/*/vectors.json`.
//! Each is judged as it says. Must not know any sender.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Toml};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::fixtures::{folder, raw};
use crate::provider::{self, KeyFiles, PRESETS, Provider};
use crate::settings::Section;

/// A webhook, and whether it verifies.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    /// Where it is published, or what computed it.
    said_by: String,
    /// What the file of the secret holds.
    secret: String,
    /// The URL that is registered with the sender, where it is signed.
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: String,
    body: String,
    /// When it is received; the same moment for all where the sender signs no time.
    at: Option<String>,
    verifies: bool,
}

/// Key files that all hold the same.
struct Same<'s>(&'s str);

impl KeyFiles for Same<'_> {
    fn read(&self, _path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(self.0.as_bytes().to_vec()))
    }
}

#[test]
fn vectors_of_senders_verify_as_they_say() {
    let mut judged = BTreeSet::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(text) = fs::read(folder.join("vectors.json")) else { continue };
        let vectors: Vec<Vector> =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let settings = fs::read_to_string(folder.join("source.toml")).unwrap();
        let name = folder.file_name().unwrap().to_str().unwrap();
        for vector in &vectors {
            check(name, &settings, vector);
            judged.insert((name.to_owned(), vector.verifies));
        }
    }
    for preset in PRESETS.iter() {
        let both = [true, false].map(|verifies| judged.contains(&(preset.name().to_owned(), verifies)));
        assert_eq!(both, [true; 2], "{} has vectors that verify, and that do not", preset.name());
    }
}

fn check(name: &str, settings: &str, vector: &Vector) {
    let provider = provider::find(name).unwrap_or_else(|| panic!("there are vectors, and no provider, of {name}"));
    let figment = Figment::from(Toml::string(settings));
    let figment = match &vector.url {
        Some(url) => figment.merge(("signature.url", url)),
        None => figment,
    };
    let section = Section::new("sources.test", figment.extract().unwrap());
    let source = provider.configure(&section, &Same(&vector.secret));
    let source = source.unwrap_or_else(|error| panic!("{name}: {error}: {vector:?}"));
    let mut webhook = raw("", vector.body.clone());
    webhook.query.clone_from(&vector.query);
    if let Some(at) = &vector.at {
        webhook.received_at = at.parse().unwrap();
    }
    for (name, value) in &vector.headers {
        webhook.headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let reason = source.authenticate(&webhook).err();
    assert_eq!(reason.is_none(), vector.verifies, "{name}, {}: {reason:?}: {vector:?}", vector.said_by);
}
