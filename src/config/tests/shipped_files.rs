//! Keeps `config/*.toml` equal to the code: every key, every default, every bound.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::super::*;
use crate::confirmation::rules::Rules;
use crate::provider::Provider as _;
use crate::provider::{self, ConfigureError, KeyFiles};

const DEFAULT: &str = include_str!("../../../config/default.toml");
const LOCAL: &str = include_str!("../../../config/local.toml");
const PRODUCTION: &str = include_str!("../../../config/production.toml");

/// The file with every example key in force: a line that begins with `#` and no space.
fn with_examples(text: &str) -> String {
    let example = |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).map(str::to_owned);
    text.lines().map(|line| example(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

fn table(text: &str) -> Dict {
    Toml::from_str(text).unwrap()
}

fn inner<'a>(table: &'a Dict, path: &[&str]) -> &'a Dict {
    path.iter().fold(table, |table, name| table[*name].as_dict().unwrap())
}

fn json(value: impl Serialize) -> serde_json::Value {
    let mut value = serde_json::to_value(value).unwrap();
    if let Some(table) = value.as_object_mut() {
        table.retain(|_, value| !value.is_null());
    }
    value
}

/// The keys that a type takes.
fn keys_of<T: DeserializeOwned>() -> BTreeSet<String> {
    environment::keys_of::<T>().iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn default_toml_holds_exactly_the_defaults() {
    fn check<T: Default + Serialize>(name: &str) {
        assert_eq!(json(&table(DEFAULT)[name]), json(T::default()), "[{name}]");
    }
    check::<IngressConfig>("ingress");
    check::<Admin>("admin");
    check::<Kafka>("kafka");
    check::<Dedup>("dedup");
    check::<Spool>("spool");
    check::<RejectedSamples>("rejected");
    check::<Evidence>("evidence");
    check::<Shutdown>("shutdown");
    check::<Log>("log");
    check::<Confirmation>("confirmation");
    let config = Config::from_toml(DEFAULT, []).unwrap();
    let empty = Config::from_toml("", []).unwrap();
    assert_eq!((config.ingress, config.kafka, config.sources.len()), (empty.ingress, empty.kafka, 0));
}

#[test]
fn default_toml_lists_every_key() {
    fn check<T: DeserializeOwned>(path: &[&str]) {
        let file = table(&with_examples(DEFAULT));
        assert_eq!(inner(&file, path).keys().cloned().collect::<BTreeSet<_>>(), keys_of::<T>(), "{path:?}");
    }
    check::<IngressConfig>(&["ingress"]);
    check::<IngressTls>(&["ingress", "tls"]);
    check::<Admin>(&["admin"]);
    check::<Kafka>(&["kafka"]);
    check::<KafkaSide>(&["kafka", "ingress"]);
    check::<KafkaSide>(&["kafka", "engine"]);
    check::<Dedup>(&["dedup"]);
    check::<Spool>(&["spool"]);
    check::<RejectedSamples>(&["rejected"]);
    check::<Evidence>(&["evidence"]);
    check::<Shutdown>(&["shutdown"]);
    check::<Log>(&["log"]);
    check::<Confirmation>(&["confirmation"]);
    let file = table(&with_examples(DEFAULT));
    for rule in inner(&file, &["confirmation"])["rules"].as_array().unwrap() {
        let keys: BTreeSet<String> = rule.as_dict().unwrap().keys().cloned().collect();
        assert_eq!(keys, keys_of::<Rule>(), "{rule:?}");
    }
    let top: BTreeSet<&str> = file.keys().map(String::as_str).collect();
    assert_eq!(top, BTreeSet::from(TOP_KEYS));
    let source: BTreeSet<&str> = inner(&file, &["sources", "sg-main"]).keys().map(String::as_str).collect();
    assert!(source::COMMON_KEYS.iter().all(|key| source.contains(key)), "{source:?}");
}

#[test]
fn default_toml_states_every_bound() {
    for (section, value) in table(DEFAULT) {
        for key in value.as_dict().unwrap().iter().filter(|(_, value)| value.to_num().is_some()).map(|(key, _)| key) {
            let told = Config::from_toml(&format!("[{section}]\n{key} = -1"), []).unwrap_err().to_string();
            let (_, bounds) = told.split_once("a whole number from ").unwrap();
            let (bounds, _) = bounds.split_once(": ").unwrap();
            let (_, below) = DEFAULT.split_once(&format!("\n[{section}]\n")).unwrap();
            let (before, _) = below.split_once(&format!("\n{key} = ")).unwrap();
            let comment: String = before.lines().rev().take_while(|line| line.starts_with('#')).collect();
            assert!(comment.contains(bounds), "the comment of {section}.{key} should say {bounds}");
        }
    }
}

#[test]
fn every_key_has_a_comment_before_it() {
    let mut commented = false;
    let mut provider_examples = false;
    for line in DEFAULT.lines() {
        provider_examples |= line.starts_with("#[sources.");
        let is_key = line.trim_start_matches('#').split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let needs_none = line.contains("provider = ") || line.contains("enabled = false") || line.contains('.');
        assert!(!is_key || commented || needs_none, "{line}");
        commented = line.starts_with("# ");
    }
    assert!(provider_examples);
}

struct NoFiles;

impl KeyFiles for NoFiles {
    fn read(&self, _: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[test]
fn every_providers_example_is_understood_by_it() {
    let mut layers = Layers::new("default.toml", &with_examples(DEFAULT), []);
    let Some(Value::Dict(_, sources)) = layers.table.get_mut("sources") else { panic!("no sources") };
    sources.retain(|_, source| provider::find(source.as_dict().unwrap()["provider"].as_str().unwrap()).is_some());
    let config = Config::read(layers).unwrap();
    let is_preset = |name: &str| provider::PRESETS.iter().any(|preset| preset.name() == name);
    for provider in
        provider::PROVIDERS.iter().filter(|provider| !is_preset(provider.name()) || provider.name() == "stripe")
    {
        let example = config.sources.values().find(|source| source.provider == provider.name());
        let example = example.unwrap_or_else(|| panic!("default.toml has no example of {}", provider.name()));
        match provider.configure(&example.section, &NoFiles) {
            Err(ConfigureError::KeyFile(_)) => {}
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{} needs no keys", provider.name()),
        }
    }
}

#[test]
fn the_other_files_are_valid() {
    let local = Config::from_toml(LOCAL, []).unwrap();
    assert!(local.kafka.bootstrap_servers.starts_with("localhost:"));
    let production = Config::from_toml(PRODUCTION, []).unwrap();
    assert_eq!(production.kafka.bootstrap_servers.split(',').count(), 3);
    assert_eq!(production.kafka.properties.pairs()["security.protocol"], "sasl_ssl");
    assert!(production.ingress.tls.is_some());
    assert!(!production.kafka.properties.pairs().keys().any(|name| name.contains("password")));
}

/// What they show and leave off is valid too, rules included.
#[test]
fn the_other_files_examples_are_valid() {
    Config::from_toml(&with_examples(LOCAL), []).unwrap();
    let confirmation = Config::from_toml(&with_examples(PRODUCTION), []).unwrap().confirmation;
    assert!(confirmation.enabled && !confirmation.rules.is_empty());
    let rules = Rules::compile(&confirmation.rules, confirmation.default).unwrap();
    assert_eq!(rules.confirm_before_cancel(), Vec::<(&str, &str)>::new());
}

/// Each block of the page about clusters is a configuration by itself.
#[test]
fn the_examples_of_the_page_about_clusters_are_valid() {
    let page = include_str!("../../../docs/clusters.md");
    let mut blocks = 0;
    for block in page.split("```toml\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        Config::from_toml(block, []).unwrap_or_else(|errors| panic!("{errors}\n{block}"));
        blocks += 1;
    }
    assert_eq!(blocks, 7);
}
