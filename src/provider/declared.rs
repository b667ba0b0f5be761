//! Senders that are described by configuration alone: presets, which ship with the program, and `custom`, which a user describes.
//! What is said of a sender is compiled once into a plan; nothing here knows any sender.
//! Must not know HTTP servers or Kafka.

mod authentication;
mod plan;
mod preset;
mod sample;
mod settings;
mod signature_place;
mod signed_time;
mod signing_key;
mod template;
mod topic_patterns;
mod understanding;
mod value_place;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use figment::value::Dict;

use self::plan::Plan;
use self::preset::Preset;
use self::settings::DeclaredSettings;
use self::signing_key::{SampleKey, VerifyingKey};
use super::{
    AuthenticWebhook, ConfigureError, EventType, KeyFiles, KeyId, Proof, Provider, RawWebhook, Retries, Sender, Source,
    SourceOutline, Understood, Unverified,
};
use crate::settings::Section;

pub use self::topic_patterns::is_part as is_topic_part;

/// A sender that only the user's configuration describes.
pub static CUSTOM: Declared =
    Declared { name: "custom", text: None, preset: OnceLock::new(), headers: OnceLock::new() };

/// Topics of such senders have so many partitions, unless the configuration says otherwise.
const PARTITIONS_MAX: i32 = 3;

/// A kind of sender: a preset, or `custom`.
pub struct Declared {
    name: &'static str,
    /// The preset's file.
    text: Option<&'static str>,
    preset: OnceLock<Preset>,
    /// The headers without which nothing is believed, where the user overrides nothing.
    headers: OnceLock<&'static [&'static str]>,
}

impl Declared {
    /// The preset of this name with this text.
    pub const fn preset(name: &'static str, text: &'static str) -> Self {
        Self { name, text: Some(text), preset: OnceLock::new(), headers: OnceLock::new() }
    }

    /// What the preset's file says; nothing for `custom`.
    fn defaults(&self) -> &Preset {
        self.preset.get_or_init(|| self.text.map(Preset::parse).unwrap_or_default())
    }

    /// The plan of a source with this section, and the settings that it was compiled of.
    fn plan(&self, section: &Section) -> Result<(DeclaredSettings, Plan), ConfigureError> {
        let settings: DeclaredSettings = section.with_defaults(&self.defaults().table).parse()?;
        let plan = Plan::compile(&settings)?;
        Ok((settings, plan))
    }

    /// The plan of a source whose user says nothing but where its keys are; none for `custom`.
    fn bare_plan(&self) -> Option<Plan> {
        self.text?;
        let table = self.defaults().with_placeholders();
        self.plan(&Section::new("sources.preset", table)).ok().map(|(_, plan)| plan)
    }

    /// Its name for people; nothing for `custom`.
    pub fn title(&self) -> &str {
        &self.defaults().title
    }

    /// The sender's page about its signatures; nothing for `custom`.
    pub fn documentation(&self) -> &str {
        &self.defaults().documentation
    }

    /// What is in force where the user overrides nothing, in words; nothing for `custom`.
    pub fn describe(&self) -> Option<String> {
        self.bare_plan().map(|plan| words::describe(&plan))
    }

    /// What the preset sets, as TOML has it.
    pub fn table(&self) -> &Dict {
        &self.defaults().table
    }
}

impl Provider for Declared {
    fn name(&self) -> &'static str {
        self.name
    }

    fn event_types(&self) -> &'static [EventType] {
        self.defaults().event_types
    }

    fn evidence_headers(&self) -> &'static [&'static str] {
        self.headers.get_or_init(|| {
            let headers = self.bare_plan().map(|plan| plan.authentication_headers()).unwrap_or_default();
            headers.iter().map(|name| interned(name.as_str())).collect::<Vec<_>>().leak()
        })
    }

    fn outline(&self, source: &str, section: &Section) -> Result<SourceOutline, ConfigureError> {
        let (settings, plan) = self.plan(section)?;
        let own_group = if self.text.is_some() { self.name } else { source };
        let topic_group = settings.topic_part.unwrap_or_else(|| own_group.to_owned());
        if !is_topic_part(&topic_group) {
            let problem =
                "must be a part of a topic's name: use lower-case letters, digits, and hyphens between them".to_owned();
            return Err(ConfigureError::Value { key: "topic_part".into(), problem });
        }
        Ok(SourceOutline {
            topic_group,
            event_types: plan.topics.event_types(),
            partitions_max: Some(PARTITIONS_MAX),
            evidence_headers: plan.evidence_headers(),
            ack_timeout: self.defaults().ack_timeout,
            success_answer: plan.answer.clone(),
            body_unsigned: !plan.signs_body(),
            keeps_query: plan.reads_query(),
        })
    }

    fn configure(&self, section: &Section, files: &dyn KeyFiles) -> Result<Box<dyn Source>, ConfigureError> {
        let (settings, plan) = self.plan(section)?;
        let keys = if plan.algorithm.is_symmetric() {
            signing_key::secrets(files, &settings.secret_files, plan.algorithm, plan.key_encoding)?
        } else {
            signing_key::public_keys(files, &settings.public_key_files, plan.algorithm)?
        };
        Ok(Box::new(DeclaredSource { plan, keys }))
    }

    fn sender(
        &self,
        section: &Section,
        files: &dyn KeyFiles,
        signing_key: Option<&Path>,
    ) -> Result<Box<dyn Sender>, ConfigureError> {
        let (settings, plan) = self.plan(section)?;
        let first = settings.secret_files.first().map(std::path::PathBuf::as_path);
        let key = match (plan.algorithm.is_symmetric(), signing_key.or(first)) {
            (true, Some(path)) => {
                let secret = signing_key::secrets(files, &[path.to_owned()], plan.algorithm, plan.key_encoding)?;
                secret.into_iter().next().map(SampleKey::Secret)
            }
            (false, Some(path)) => Some(signing_key::private_key(files, path, plan.algorithm)?),
            (_, None) => None,
        };
        let key = key.ok_or_else(|| ConfigureError::Value {
            key: "public_key_files".into(),
            problem: "only the public half is configured: give the private key with --signing-key FILE".to_owned(),
        })?;
        Ok(Box::new(sample::DeclaredSender::new(plan, key)))
    }

    fn retries(&self) -> Option<Retries> {
        self.defaults().retries.clone()
    }
}

struct DeclaredSource {
    plan: Plan,
    keys: Vec<VerifyingKey>,
}

impl Source for DeclaredSource {
    fn authenticate(&self, webhook: &RawWebhook) -> Result<Proof, Unverified> {
        authentication::authenticate(&self.plan, &self.keys, webhook)
    }

    fn normalize(&self, source: &str, webhook: &AuthenticWebhook) -> Understood {
        understanding::understand(&self.plan, &self.keys, source, webhook)
    }

    fn key_ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(|key| key.id.clone()).collect()
    }

    fn describe(&self) -> Option<String> {
        Some(words::describe(&self.plan))
    }

    fn explain(&self, webhook: &RawWebhook) -> Vec<String> {
        authentication::explain(&self.plan, &self.keys, webhook)
    }
}

/// A text that lives as long as the process: names of headers and of topics that configuration gives, each once.
fn interned(text: &str) -> &'static str {
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = known.get(text) {
        return text;
    }
    let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
    known.insert(text);
    text
}

/// Whole seconds as a duration.
const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
