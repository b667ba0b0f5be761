//! Every preset's file: it can be read, says where its facts are from, and is told in words.

use crate::provider::declared::preset::Preset;
use crate::provider::tests::fixtures::{FixtureKeys, section};
use crate::provider::{PRESETS, Provider};

#[test]
fn every_preset_can_be_read_and_names_its_sources() {
    for preset in PRESETS.iter() {
        let (name, text) = (preset.name(), preset.text.unwrap());
        let parsed = Preset::try_parse(text).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        assert!(!parsed.title.is_empty() && parsed.documentation.starts_with("https://"), "{name}");
        assert!(text.lines().next().unwrap().starts_with("# "), "{name} begins with what it is");
        assert!(text.contains("# Source: https://"), "{name} names its sources");
        let retries = parsed.retries.unwrap_or_else(|| panic!("{name} says nothing of retries"));
        assert!(
            retries.said_by.starts_with("https://") && (retries.horizon.is_some() || !retries.note.is_empty()),
            "{name}"
        );
        assert!(preset.describe().is_some(), "{name} has no plan of its own");
        assert!(preset.event_types().iter().any(|event_type| event_type.topic_part == "received"), "{name}");
    }
}

#[test]
fn presets_are_told_in_words() {
    for (name, expected) in [
        (
            "stripe",
            "HMAC-SHA256 over `{t}.{body}`, hex, from header stripe-signature entry v1, 300 s around the time in entry t of the \
             signature header; an event is known by its id",
        ),
        (
            "github",
            "HMAC-SHA256 over `{body}`, hex, from header x-hub-signature-256 behind `sha256=`, no signed time; an event is known by \
             its bytes",
        ),
        ("xendit", "token, compared as it is, from header x-callback-token; nothing is signed"),
    ] {
        let preset = PRESETS.iter().find(|preset| preset.name() == name).unwrap();
        assert_eq!(preset.describe().unwrap(), expected);
    }
}

#[test]
fn a_user_overrides_a_preset_key_by_key() {
    let stripe = PRESETS.iter().find(|preset| preset.name() == "stripe").unwrap();
    let toml = "secret_files = ['stripe.key']\n[timestamp]\ntolerance_s = 60\n[topics]\n'radar.*' = 'fraud'\n'payout.*' = 'bank'";
    let source = stripe.configure(&section(toml), &FixtureKeys).unwrap();
    assert!(source.describe().unwrap().contains(", 60 s around the time in entry t"), "{:?}", source.describe());
    let parts: Vec<&str> = stripe
        .outline("shop", &section(toml))
        .unwrap()
        .event_types
        .iter()
        .map(|event_type| event_type.topic_part)
        .collect();
    assert!(parts.contains(&"fraud") && parts.contains(&"bank") && parts.contains(&"payment"), "{parts:?}");
}
