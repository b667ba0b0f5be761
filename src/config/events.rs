//! `[dedup]`, `[spool]`, `[quarantine]` and `[evidence]`: what is kept of events.
//! Must not know how. What this version cannot do is refused here, so that nobody relies on it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::list::within;

/// `[dedup]`: how long an event is remembered so that it is not published again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Dedup {
    /// Where events are remembered.
    pub mode: DedupMode,
    /// For how long, in seconds, 1 to 604800.
    #[serde(deserialize_with = "within::<1, 604_800, _, _>")]
    pub window_s: u64,
    /// How many at most, 1 to 100000000.
    #[serde(deserialize_with = "within::<1, 100_000_000, _, _>")]
    pub entries_max: usize,
}

impl Default for Dedup {
    fn default() -> Self {
        Self { mode: DedupMode::Local, window_s: 7_200, entries_max: 1_000_000 }
    }
}

impl Dedup {
    /// For how long an event is remembered.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.window_s)
    }
}

/// Where events are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[cfg_attr(test, serde(rename_all = "lowercase"))]
pub enum DedupMode {
    /// In this process.
    #[default]
    Local,
    /// Nowhere: every redelivery is published again.
    Off,
}

impl<'de> Deserialize<'de> for DedupMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "local" => Ok(Self::Local),
            "off" => Ok(Self::Off),
            "shared" => Err(de::Error::custom("= \"shared\" is not in this version: set it to \"local\"")),
            _ => Err(de::Error::custom("must be one of \"local\", \"off\": write one of them")),
        }
    }
}

/// `[spool]`: a disk that takes events while Kafka is away. Not in this version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Spool {
    /// Always false in this version.
    #[serde(deserialize_with = "not_in_this_version")]
    pub enabled: bool,
}

fn not_in_this_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    if bool::deserialize(deserializer)? {
        return Err(de::Error::custom("= true is not in this version: set it to false"));
    }
    Ok(false)
}

/// `[quarantine]`: how many of each source's rejected webhooks are kept as samples.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    /// Samples a second and source, 0 (none) to 1000.
    #[serde(deserialize_with = "within::<0, 1_000, _, _>")]
    pub unauthentic_per_second: u32,
    /// Their bodies' bytes a second and source, 0 (none) to 16777216.
    #[serde(deserialize_with = "within::<0, 16_777_216, _, _>")]
    pub unauthentic_bytes_per_second: u32,
    /// Bytes of bodies a second that a source with `on_unverified = "keep"` keeps, 65536 to 268435456; beyond it 503.
    #[serde(deserialize_with = "within::<65_536, 268_435_456, _, _>")]
    pub kept_bytes_per_second: u32,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { unauthentic_per_second: 5, unauthentic_bytes_per_second: 65_536, kept_bytes_per_second: 4_194_304 }
    }
}

/// `[evidence]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Evidence {
    /// What every typed event carries of its webhook.
    pub keep: EvidenceKeep,
}

/// What a typed event carries of its webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKeep {
    /// The exact bytes and their hash.
    #[default]
    Inline,
    /// Their hash alone.
    HashOnly,
}
