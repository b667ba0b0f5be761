//! `[spool]`: a folder on disk that takes records while Kafka does not.
//! Must not know what is in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::IngressConfig;
use crate::settings::Problem;
use crate::settings::list::within;

/// What a record needs at least, from the moment in which it goes to disk instead, until its webhook's answer is due.
const TO_DISK_WITHIN_MS: u64 = 2_500;

/// `[spool]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Spool {
    /// Whether there is one.
    pub enabled: bool,
    /// The folder, on a disk that outlives the process.
    pub directory: PathBuf,
    /// The most bytes of its files, 16 MiB to 1 TiB.
    #[serde(deserialize_with = "within::<16_777_216, 1_099_511_627_776, _, _>")]
    pub bytes_max: u64,
    /// The most files, 16 to 1000000.
    #[serde(deserialize_with = "within::<16, 1_000_000, _, _>")]
    pub files_max: usize,
    /// How long Kafka may take to acknowledge a record before records go to disk, in milliseconds, 500 to 60000.
    #[serde(deserialize_with = "within::<500, 60_000, _, _>")]
    pub engage_after_ms: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            enabled: false,
            directory: PathBuf::from("/var/lib/paybridge/spool"),
            bytes_max: 1_073_741_824,
            files_max: 100_000,
            engage_after_ms: 3_000,
        }
    }
}

impl Spool {
    /// How long Kafka may take to acknowledge a record before records go to disk.
    pub fn engage_after(&self) -> Duration {
        Duration::from_millis(self.engage_after_ms)
    }

    /// Relative to the folder of the configuration file.
    pub(super) fn make_absolute(&mut self, folder: &Path) {
        self.directory = folder.join(&self.directory);
    }

    pub(super) fn check(&self, ingress: &IngressConfig) -> Option<Problem> {
        let latest = ingress.ack_timeout_ms.saturating_sub(TO_DISK_WITHIN_MS);
        let is_late = self.enabled && ingress.enabled && self.engage_after_ms > latest;
        is_late.then(|| {
            Problem::with_key(
                "spool.engage_after_ms",
                &format!("leaves less than {TO_DISK_WITHIN_MS} ms of `ingress.ack_timeout_ms` to write to disk"),
                format!("set it to at most {latest}, or `ingress.ack_timeout_ms` higher"),
            )
        })
    }
}
