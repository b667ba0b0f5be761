//! What the engine of this configuration would go by: times, rules and keys. Must not know what a session's records say.

use anyhow::anyhow;

use crate::app::keys;
use crate::cli::tell;
use crate::config::Config;
use crate::confirmation::codec::evidence::Verifiers;
use crate::confirmation::rules::Rules;
use crate::confirmation::session::machine::Policy;
use crate::confirmation::session::model::Mode;
use crate::error_chain;

/// What the engine of this configuration would go by.
pub(super) struct ConfiguredEngine {
    /// Windows and deadlines.
    pub(super) policy: Policy,
    /// Whether the provider would be called.
    pub(super) mode: Mode,
    /// What decides at once.
    pub(super) rules: Rules,
    /// Verifies events again; empty where the key files cannot be read here.
    pub(super) verifiers: Verifiers,
}

impl ConfiguredEngine {
    /// Keys that cannot be read are told: the story can be told without them.
    ///
    /// # Errors
    /// A rule cannot be used.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let confirmation = &config.confirmation;
        let rules = Rules::compile(&confirmation.rules, confirmation.default).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow!(lines.join("\n")).context("confirmation.rules")
        })?;
        let verifiers = match keys::load(config) {
            Ok(loaded) => loaded.verifiers,
            Err(problems) => {
                for problem in problems {
                    tell(&format!("events are not verified here: {}", error_chain::joined(&problem)));
                }
                Verifiers::new()
            }
        };
        let mode = if confirmation.dry_run { Mode::DryRun } else { Mode::Live };
        Ok(Self { policy: Policy::of(confirmation), mode, rules, verifiers })
    }
}
