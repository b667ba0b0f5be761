//! One source as the daemon has it: its settings, its keys, who would sign for it, what makes its records and what releases them.
//! Must not know what is checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use paybridge::config::{Config, EvidenceKeep, SourceConfig, SourceName};
use paybridge::encode::{Bridge, Encoder};
use paybridge::provider::{self, Sender, Source};
use paybridge::release::judge::{Judge, PresentKeys};

use crate::fixtures::{FixtureKeys, SIGNING_KEYS};

/// What topics' names begin with.
pub const PREFIX: &str = "payments";

/// One source.
pub struct Subject {
    /// Its name.
    pub name: String,
    /// What its configuration says.
    pub settings: SourceConfig,
    /// What verifies and understands its webhooks.
    pub source: Arc<Box<dyn Source>>,
    /// What signs for it; none where no key of the fixtures does.
    pub sender: Option<Box<dyn Sender>>,
    /// What makes its records.
    pub encoder: Encoder,
    /// What judges those of its records that are held.
    pub judge: Judge,
}

impl Subject {
    /// The source of this name in a configuration; none where its settings or keys cannot be used.
    pub fn of(config: &Config, name: &SourceName) -> Option<Self> {
        let settings = config.sources.get(name)?;
        let provider = provider::find(&settings.provider)?;
        let source = Arc::new(provider.configure(&settings.section, &FixtureKeys).ok()?);
        let present = Arc::clone(&source);
        let keys: PresentKeys = Box::new(move || Arc::clone(&present));
        let sender = |key: Option<&str>| provider.sender(&settings.section, &FixtureKeys, key.map(Path::new)).ok();
        Some(Self {
            name: name.to_string(),
            sender: SIGNING_KEYS.into_iter().find_map(sender),
            encoder: Encoder::new(
                &Bridge { instance: "fuzz".to_owned(), keep: EvidenceKeep::Inline },
                name.as_ref(),
                settings,
                PREFIX,
            ),
            judge: Judge::new(config, BTreeMap::from([(name.clone(), keys)])),
            settings: settings.clone(),
            source,
        })
    }
}
