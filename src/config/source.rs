//! `[sources.NAME]`: the keys that every source has; the rest of the table is its provider's.
//! Must not read key files, nor know any provider's keys.

use std::sync::Arc;
use std::time::Duration;

use figment::value::{Dict, Value};
use ipnet::IpNet;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Deserializer, de};

use super::address::networks;
use super::ingress::IngressConfig;
use super::names::SourceName;
use crate::provider::{self, ConfigureError, SourceOutline};
use crate::settings::layers::Origins;
use crate::settings::list::{list, within};
use crate::settings::{Problem, Section, suggestion};

/// The keys that every source has.
pub(super) const COMMON_KEYS: &[&str] = &[
    "provider",
    "path",
    "allow_from",
    "client_cert_names",
    "on_unverified",
    "keep_bytes_per_second",
    "ack_timeout_ms",
];

/// The part of the names of the confirmation engine's topics that stands where other topics have their provider.
const CONFIRMATION: &str = "confirmation";

/// The longest path, in bytes: far below what HTTP servers take for a request's target.
const PATH_BYTES_MAX: usize = 512;

/// One source of webhooks.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Its provider's name, one of [`provider::PROVIDERS`].
    pub provider: String,
    /// Its path, when it is not `/webhooks/{name}`.
    pub path: Option<String>,
    /// The addresses that may send; empty: all.
    pub allow_from: Vec<IpNet>,
    /// The names of which a client's certificate must have one; empty: any certificate of the client CA will do.
    pub client_cert_names: Vec<ServerName<'static>>,
    /// What becomes of webhooks that are not authentic.
    pub on_unverified: OnUnverified,
    /// Bytes of bodies a second that are kept where those are kept: 65536 to 268435456. Beyond it 503.
    pub keep_bytes_per_second: u32,
    /// How long its sender waits for the answer, in milliseconds, where that is less than for others: 500 to 60000. It ends the
    /// answer alone: what was taken still goes to Kafka.
    pub ack_timeout_ms: Option<u32>,
    /// The provider's own keys.
    pub section: Section,
    /// What the settings alone tell of it.
    pub outline: SourceOutline,
}

/// What becomes of webhooks that are not authentic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnverified {
    /// They are answered 401, and a sample goes to the topic `rejected`.
    #[default]
    Reject,
    /// They are answered 200 and all go to quarantine, while a key is wrong.
    Keep,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    #[serde(deserialize_with = "known_provider")]
    provider: String,
    #[serde(default, deserialize_with = "valid_path")]
    path: Option<String>,
    #[serde(default, deserialize_with = "networks")]
    allow_from: Vec<IpNet>,
    #[serde(default, deserialize_with = "certificate_names")]
    client_cert_names: Vec<ServerName<'static>>,
    #[serde(default)]
    on_unverified: OnUnverified,
    #[serde(default = "default_keep_bytes_per_second", deserialize_with = "within::<65_536, 268_435_456, _, _>")]
    keep_bytes_per_second: u32,
    #[serde(default, deserialize_with = "ack_timeout")]
    ack_timeout_ms: Option<u32>,
}

fn ack_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    within::<500, 60_000, _, _>(deserializer).map(Some)
}

fn default_keep_bytes_per_second() -> u32 {
    1_048_576
}

impl SourceConfig {
    /// The path that its webhooks come to: exact, without a trailing slash.
    pub fn path(&self, name: &SourceName) -> String {
        self.path.clone().unwrap_or_else(|| default_path(name))
    }

    /// Reads one source's table.
    pub(super) fn read(
        name: &str,
        value: Value,
        origins: &Arc<Origins>,
    ) -> Result<(SourceName, SourceConfig), Vec<Problem>> {
        let key = format!("sources.{name}");
        let refuse = |message, action: &str| {
            Err(vec![Problem::with_key(key.as_str(), message, action).at_origin(origins.of(&key))])
        };
        let Value::Dict(_, table) = value else {
            return refuse("must be a table", "write it as [sources.NAME] with its keys below");
        };
        let Some(name) = SourceName::new(name) else {
            return refuse("has a wrong name", "use 1 to 63 lower-case letters, digits, and hyphens between them");
        };
        let (common, own): (Dict, Dict) = table.into_iter().partition(|(key, _)| COMMON_KEYS.contains(&key.as_str()));
        let common: Common = Section::with_origins(key.as_str(), common, Arc::clone(origins)).parse_all()?;
        let section = Section::with_origins(key, own, Arc::clone(origins)).also_knowing(COMMON_KEYS);
        let outline = outline(&common.provider, &name, &section, origins)?;
        let Common { provider, path, allow_from, client_cert_names, .. } = common;
        let Common { on_unverified, keep_bytes_per_second, ack_timeout_ms, .. } = common;
        Ok((
            name,
            Self {
                provider,
                path,
                allow_from,
                client_cert_names,
                on_unverified,
                keep_bytes_per_second,
                ack_timeout_ms,
                section,
                outline,
            },
        ))
    }

    /// How long its sender waits for the answer, where that is less than for others.
    pub fn ack_timeout(&self) -> Option<Duration> {
        let set = self.ack_timeout_ms.map(|timeout_ms| Duration::from_millis(timeout_ms.into()));
        set.or(self.outline.ack_timeout)
    }

    /// Whether something else than a signature keeps strangers out: addresses, names in client certificates, or a path of its own,
    /// which is taken for one that has a secret part. A certificate without a name is none: any of the authority's connects.
    pub fn keeps_strangers_out(&self, name: &SourceName) -> bool {
        let restricted = !self.allow_from.is_empty() && self.allow_from.iter().all(|network| network.prefix_len() > 0);
        let secret_path = self.path(name) != default_path(name);
        restricted || secret_path || !self.client_cert_names.is_empty()
    }

    /// Keeping everything that anyone sends needs something that keeps strangers out.
    pub(super) fn check(&self, name: &SourceName, ingress: &IngressConfig) -> Option<Problem> {
        if !self.client_cert_names.is_empty() && !ingress.requires_client_certificates() {
            return Some(Problem::with_key(
                format!("sources.{name}.client_cert_names"),
                "names client certificates, and no client has to show one",
                "set ingress.tls.client_ca_file too",
            ));
        }
        if self.outline.body_unsigned && !self.keeps_strangers_out(name) {
            return Some(Problem::with_key(
                format!("sources.{name}"),
                "is of a sender that does not sign the body, so that whoever has seen one webhook could send others",
                "set allow_from, a path with a secret part, or client_cert_names too",
            ));
        }
        if let Some(problem) = self.wrong_group(name) {
            return Some(problem);
        }
        match self.on_unverified {
            OnUnverified::Reject => None,
            OnUnverified::Keep if self.keeps_strangers_out(name) => None,
            OnUnverified::Keep => Some(Problem::with_key(
                format!("sources.{name}.on_unverified"),
                "= \"keep\" would keep what strangers send",
                "set allow_from, a path with a secret part, or client_cert_names too",
            )),
        }
    }
}

impl SourceConfig {
    /// Topics have one message each, so a source of its own kind must not have another's.
    fn wrong_group(&self, name: &SourceName) -> Option<Problem> {
        let group = self.outline.topic_group.as_str();
        let is_others = group == CONFIRMATION || group != self.provider && provider::find(group).is_some();
        if !is_others {
            return None;
        }
        let (key, action) = if group == name.as_ref() {
            (format!("sources.{name}"), "give the source another name, or set its topic_part")
        } else {
            (format!("sources.{name}.topic_part"), "use another word")
        };
        Some(Problem::with_key(key, &format!("would give its topics the names of `{group}`"), action))
    }
}

fn certificate_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ServerName<'static>>, D::Error> {
    let texts: Vec<String> = list(deserializer)?;
    let names: Result<Vec<ServerName<'static>>, _> = texts.into_iter().map(ServerName::try_from).collect();
    names.map_err(|_| de::Error::custom("must be DNS names or IP addresses: write them as [\"sender.example.com\"]"))
}

/// What the settings alone tell of a source.
fn outline(
    provider: &str,
    name: &SourceName,
    section: &Section,
    origins: &Arc<Origins>,
) -> Result<SourceOutline, Vec<Problem>> {
    let outline = provider::find(provider).map(|provider| provider.outline(name.as_ref(), section)).transpose();
    outline.map(Option::unwrap_or_default).map_err(|error| match error {
        ConfigureError::Section(error) => error.problems().to_vec(),
        ConfigureError::Value { key, problem } => {
            let key = format!("{}.{key}", section.name());
            let origin = origins.of(&key);
            let (message, action) = problem.split_once(": ").unwrap_or((&problem, "correct the value"));
            vec![Problem::with_key(key, message, action).at_origin(origin)]
        }
        // No file is read here.
        ConfigureError::KeyFile(error) => {
            vec![Problem::with_key(section.name(), &error.to_string(), "correct the file")]
        }
    })
}

fn default_path(name: &SourceName) -> String {
    format!("/webhooks/{name}")
}

fn known_provider<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if provider::find(&name).is_some() {
        return Ok(name);
    }
    let known: Vec<&str> = provider::PROVIDERS.iter().map(|provider| provider.name()).chain(["custom"]).collect();
    let action = suggestion(&name, &known);
    Err(de::Error::custom(format!(
        "names no provider that this version knows: {action} A sender that is no preset has provider = \"custom\""
    )))
}

fn valid_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let path = String::deserialize(deserializer)?;
    match wrong_with(&path) {
        None => Ok(Some(path)),
        Some(message) => Err(de::Error::custom(format!("{message}: write it as \"/webhooks/a-secret/sg\""))),
    }
}

fn wrong_with(path: &str) -> Option<&'static str> {
    let unusual = |byte: u8| !byte.is_ascii_graphic() || b"\"<>\\^`{|}".contains(&byte);
    match path.strip_prefix('/') {
        None => Some("must begin with a slash"),
        Some(_) if path.ends_with('/') => Some("must not end with a slash"),
        Some(_) if path.contains(['?', '#']) => Some("must not have a query or fragment"),
        Some(_) if path.bytes().any(unusual) => Some("must be as it stands in a URL, percent-encoded"),
        Some(rest) if rest.split('/').any(|segment| matches!(segment, "" | "." | "..")) => {
            Some("must not have empty or dotted segments")
        }
        Some(_) if path.len() > PATH_BYTES_MAX => Some("must be 512 bytes or less"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_paths_that_can_be_matched_exactly() {
        for path in ["/a", "/webhooks/s3cret/sg-main", "/a%20b", "/~x", "/A.b"] {
            assert_eq!(wrong_with(path), None, "{path}");
        }
        let too_long = format!("/{}", "a".repeat(512));
        for path in ["", "a", "/", "/a/", "/a?b", "/a#b", "/a b", "/ä", "//a", "/a/../b", "/./a", too_long.as_str()] {
            assert!(wrong_with(path).is_some(), "{path}");
        }
    }
}
