//! `[dedup]`, `[rejected]` and `[evidence]`: what is kept of events, and of what is none.
//! Must not know how.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::settings::list::within;

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
        Self { mode: DedupMode::Shared, window_s: 7_200, entries_max: 1_000_000 }
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
    /// In every replica, by a topic that they share.
    #[default]
    Shared,
    /// In this process.
    Local,
    /// Nowhere: every redelivery is published again.
    Off,
}

impl<'de> Deserialize<'de> for DedupMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "shared" => Ok(Self::Shared),
            "local" => Ok(Self::Local),
            "off" => Ok(Self::Off),
            _ => Err(de::Error::custom("must be one of \"shared\", \"local\", \"off\": write one of them")),
        }
    }
}

/// `[rejected]`: samples of each source's webhooks that failed authentication.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct RejectedSamples {
    /// Samples a minute and source after a first burst of 20; 0 (none) to 6000.
    #[serde(deserialize_with = "within::<0, 6_000, _, _>")]
    pub samples_per_minute: u32,
    /// The most bytes of a body that its sample has, 256 to 1048576.
    #[serde(deserialize_with = "within::<256, 1_048_576, _, _>")]
    pub sample_bytes_max: usize,
}

impl Default for RejectedSamples {
    fn default() -> Self {
        Self { samples_per_minute: 10, sample_bytes_max: 16_384 }
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
