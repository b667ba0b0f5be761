//! A preset: the table of a source, filled in for one sender, and what is known of it beside that.
//! Must not know any sender: a preset is a file.

use std::collections::BTreeMap;
use std::time::Duration;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use serde::Deserialize;

use super::seconds;
use super::topic_patterns::TopicPatterns;
use crate::provider::{EventType, Retries};

/// What a preset's file says.
#[derive(Default)]
pub struct Preset {
    /// The sender's name for people.
    pub title: String,
    /// The sender's page about its signatures.
    pub documentation: String,
    /// How it sends again.
    pub retries: Option<Retries>,
    /// How long it waits for the answer, where that is short.
    pub ack_timeout: Option<Duration>,
    /// The keys of a source, which a user's own are put over.
    pub table: Dict,
    /// Its event types, where the user adds none.
    pub event_types: &'static [EventType],
}

/// The keys that are the preset's own, and no source's.
#[derive(Deserialize)]
struct PresetKeys {
    title: String,
    documentation: String,
    retries: Option<RetryKeys>,
    ack_timeout_ms: Option<u64>,
    #[serde(default)]
    topics: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryKeys {
    horizon_s: Option<u64>,
    gap_s: Option<u64>,
    said_by: String,
    #[serde(default)]
    note: String,
}

impl Preset {
    /// Reads a preset's file. Those that ship with the program are read by a test; one that cannot be read sets nothing.
    pub fn parse(text: &str) -> Self {
        Self::try_parse(text).unwrap_or_default()
    }

    /// The same.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn try_parse(text: &str) -> Result<Self, String> {
        let keys: PresetKeys = Toml::from_str(text).map_err(|error| error.to_string())?;
        let mut table: Dict = Toml::from_str(text).map_err(|error| error.to_string())?;
        for own in ["title", "documentation", "retries", "ack_timeout_ms"] {
            table.remove(own);
        }
        let topics = TopicPatterns::new(&keys.topics).map_err(|(key, problem)| format!("{key} {problem}"))?;
        let event_types: Vec<EventType> = topics.event_types().into_iter().cloned().collect();
        let retries = keys.retries.map(|keys| Retries {
            horizon: keys.horizon_s.map(seconds),
            gap: keys.gap_s.map(seconds),
            said_by: keys.said_by,
            note: keys.note,
        });
        Ok(Self {
            title: keys.title,
            documentation: keys.documentation,
            retries,
            ack_timeout: keys.ack_timeout_ms.map(Duration::from_millis),
            table,
            event_types: event_types.leak(),
        })
    }

    /// The table with something in the place of what only a user knows.
    pub fn with_placeholders(&self) -> Dict {
        let mut table = self.table.clone();
        let Some(Value::Dict(_, signature)) = table.get_mut("signature") else { return table };
        let has = |signature: &Dict, key: &str, wanted: &str| {
            signature
                .get(key)
                .and_then(|value| value.as_str().map(str::to_owned))
                .is_some_and(|text| text.contains(wanted))
        };
        if has(signature, "signed", "{url}") {
            signature.insert("url".to_owned(), Value::from("https://bridge.example.com/webhooks/shop"));
        }
        let is_symmetric = has(signature, "algorithm", "hmac") || has(signature, "algorithm", "token");
        let files = if is_symmetric { "secret_files" } else { "public_key_files" };
        table.insert(files.to_owned(), Value::from(vec!["key"]));
        table
    }
}
