//! `[confirmation]`: decisions on sessions that wait for confirmation.
//! Must not know how a rule is read or a session decided.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use figment::value::Value;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};

use jiff::SignedDuration;

use super::names::{SourceName, TopicPrefix};
use super::source::SourceConfig;
use crate::provider::{self, ApiAddress};
use crate::settings::Problem;
use crate::settings::list::within;

/// How long after its window's end a session may still be open: the provider's clock and ours differ, it needs time, and the
/// last that happens, the question for its status, is in this time.
pub const AFTER_WINDOW: SignedDuration = SignedDuration::from_secs(900);

/// What the group was called by default before its name began with the topics' prefix: ledgers still say so.
pub const FORMER_GROUP_ID: &str = "paybridge-confirmation";

/// Rules are tried one after the other for each session, and each is a label value of a metric.
const RULES_MAX: usize = 256;
/// A rule's name is a label value and stands in each outcome.
const RULE_NAME_BYTES_MAX: usize = 64;
/// Kafka gives its own topics' names as many; a group's has no bound of its own.
const GROUP_ID_BYTES_MAX: usize = 249;

/// `[confirmation]`: the confirmation engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Confirmation {
    /// Whether this process decides.
    pub enabled: bool,
    /// The engine's consumer group, 1 to 249 characters, where it has not the name of [`Confirmation::group`]; the ledger
    /// belongs to it.
    #[serde(deserialize_with = "group_id")]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub group_id: Option<String>,
    /// What becomes of a session that no rule is for.
    pub default: SessionDefault,
    /// How long a session waits at the provider, in seconds, 10 to 604800. Smart Glocal's is four hours; seconds are for tests.
    #[serde(deserialize_with = "within::<10, 604_800, _, _>")]
    pub window_s: u64,
    /// What is done with a session that nobody has decided when its window is about to close.
    pub at_deadline: AtDeadline,
    /// How long before the window closes that is done, in seconds, 1 to 604799, and less than `window_s`.
    #[serde(deserialize_with = "within::<1, 604_799, _, _>")]
    pub deadline_margin_s: u64,
    /// Decide and tell, but call nobody.
    pub dry_run: bool,
    /// Calls to providers at once, 1 to 4096: each is a connection and its buffers.
    #[serde(deserialize_with = "within::<1, 4_096, _, _>")]
    pub calls_in_flight_max: usize,
    /// How long one call may take, in milliseconds, 100 to 60000.
    #[serde(deserialize_with = "within::<100, 60_000, _, _>")]
    pub call_timeout_ms: u64,
    /// How long an idempotency key whose call was not answered is left alone before the next one is used, in seconds,
    /// 1 to 86400, and at least `call_timeout_ms`: a call that was sent may still arrive.
    #[serde(deserialize_with = "within::<1, 86_400, _, _>")]
    pub key_reuse_wait_s: u64,
    /// How long a decision waits for its session, in seconds, 1 to 2592000.
    #[serde(deserialize_with = "within::<1, 2_592_000, _, _>")]
    pub unknown_session_ttl_s: u64,
    /// Decisions of one partition that wait for sessions that are not opened yet, 1 to 1000000: each takes memory and room in
    /// the ledger, and anybody who may write decisions can invent them. Beyond it the newest is rejected.
    #[serde(deserialize_with = "within::<1, 1_000_000, _, _>")]
    pub early_decisions_max: usize,
    /// An ended session is remembered for `window_s` and this long together, in seconds, 60 to 2592000, and at least `window_s`
    /// and [`AFTER_WINDOW`].
    #[serde(deserialize_with = "within::<60, 2_592_000, _, _>")]
    pub ledger_retention_s: u64,
    /// Tried in this order; the first whose `when` is true decides. At most 256.
    #[serde(deserialize_with = "tables_of_the_file")]
    #[cfg_attr(test, serde(skip_serializing_if = "Vec::is_empty"))]
    pub rules: Vec<Rule>,
}

/// `[[confirmation.rules]]`: what is done with which sessions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name in outcomes and metrics: 1 to 64 ASCII letters, digits, spaces, dots, hyphens and underscores; unique.
    pub name: String,
    /// A CEL expression over `session` that is true or false.
    pub when: String,
    /// What is done when it is true.
    pub then: RuleAction,
}

/// What becomes of a session that no rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum SessionDefault {
    /// It is confirmed.
    Confirm,
    /// It is cancelled.
    Cancel,
    /// It waits for a decision or its deadline.
    #[default]
    Hold,
}

/// What is done with a session that nobody has decided when its window is about to close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum AtDeadline {
    /// It is confirmed.
    Confirm,
    /// It is cancelled.
    #[default]
    Cancel,
    /// It is left to the provider, which ends it.
    Nothing,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// The session is confirmed.
    Confirm,
    /// The session is cancelled.
    Cancel,
    /// The session waits for a decision or its deadline.
    Hold,
}

impl Default for Confirmation {
    fn default() -> Self {
        Self {
            enabled: false,
            group_id: None,
            default: SessionDefault::Hold,
            window_s: 14_400,
            at_deadline: AtDeadline::Cancel,
            deadline_margin_s: 1_200,
            dry_run: false,
            calls_in_flight_max: 64,
            call_timeout_ms: 10_000,
            key_reuse_wait_s: 120,
            unknown_session_ttl_s: 86_400,
            early_decisions_max: 10_000,
            ledger_retention_s: 86_400,
            rules: Vec::new(),
        }
    }
}

impl Confirmation {
    /// The engine's consumer group: by default one that no installation with other topics has.
    pub fn group(&self, prefix: &TopicPrefix) -> String {
        self.group_id.clone().unwrap_or_else(|| format!("{}.{FORMER_GROUP_ID}", prefix.as_ref()))
    }

    /// The engine's transactional id: the same after a restart of the process, and another one for each process and for each
    /// installation, whatever the group is called.
    pub fn transactional_id(&self, prefix: &TopicPrefix, instance: &str) -> String {
        let id = format!("{}.{instance}", self.group(prefix));
        let ours = format!("{}.", prefix.as_ref());
        if id.starts_with(&ours) { id } else { ours + &id }
    }

    /// How long a session waits at the provider.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.window_s)
    }

    /// How long before the window closes `at_deadline` is done.
    pub fn deadline_margin(&self) -> Duration {
        Duration::from_secs(self.deadline_margin_s)
    }

    /// How long one call may take.
    pub fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }

    /// How long an idempotency key whose call was not answered is left alone.
    pub fn key_reuse_wait(&self) -> Duration {
        Duration::from_secs(self.key_reuse_wait_s)
    }

    /// How long a decision waits for its session.
    pub fn unknown_session_ttl(&self) -> Duration {
        Duration::from_secs(self.unknown_session_ttl_s)
    }

    /// How long an ended session is remembered.
    pub fn ledger_retention(&self) -> Duration {
        Duration::from_secs(self.ledger_retention_s)
    }

    /// What is wrong between keys of the section, in the order of the keys.
    pub(super) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.deadline_margin_s >= self.window_s {
            problems.push(Problem::with_key(
                "confirmation.deadline_margin_s",
                "leaves no time to decide: it must be less than `confirmation.window_s`",
                "lower it",
            ));
        }
        if self.key_reuse_wait() < self.call_timeout() {
            problems.push(Problem::with_key(
                "confirmation.key_reuse_wait_s",
                "would repeat a call under another key while it may still be answered: it must be `confirmation.call_timeout_ms` or more",
                format!("set it to {} or more, or lower that", self.call_timeout_ms.div_ceil(1000)),
            ));
        }
        // A session that was forgotten while its window was still open would be opened, and decided, a second time when
        // its webhook is read again.
        let after_window_s = AFTER_WINDOW.as_secs().unsigned_abs();
        let least = self.window_s + after_window_s;
        if self.ledger_retention_s < least {
            problems.push(Problem::with_key(
                "confirmation.ledger_retention_s",
                &format!(
                    "would forget sessions while a late redelivery could open them anew: it must be at least \
                     `confirmation.window_s` plus {after_window_s}"
                ),
                format!("set it to {least} or more"),
            ));
        }
        problems.extend(check_rules(&self.rules));
        problems
    }

    /// What is wrong between an enabled engine and the sources that it is to answer for.
    pub(super) fn check_sources(&self, sources: &BTreeMap<SourceName, SourceConfig>) -> Vec<Problem> {
        if !self.enabled {
            return Vec::new();
        }
        let api = |source: &SourceConfig| match provider::find(&source.provider) {
            Some(provider) => provider.api_address(&source.section),
            None => ApiAddress::None,
        };
        let asking: Vec<(&SourceName, ApiAddress)> = sources
            .iter()
            .map(|(name, source)| (name, api(source)))
            .filter(|(_, api)| *api != ApiAddress::None)
            .collect();
        if asking.is_empty() {
            let message = "= true has nothing to decide: no source is of a provider that asks for confirmations";
            let action = "add a [sources.NAME] table with provider = \"smart-glocal\", or set it to false";
            return vec![Problem::with_key("confirmation.enabled", message, action)];
        }
        let unanswerable = |(_, api): &&(&SourceName, ApiAddress)| *api == ApiAddress::NotConfigured && !self.dry_run;
        let refuse = |(name, _): &(&SourceName, ApiAddress)| {
            let message = "is missing: with `confirmation.enabled` its sessions are confirmed and cancelled there";
            let action = format!("add [sources.{name}.api], or set confirmation.dry_run = true");
            Problem::with_key(format!("sources.{name}.api"), message, action)
        };
        asking.iter().filter(unanswerable).map(refuse).collect()
    }
}

/// The names of the rules in the section's table, in their order; nothing for one without a name that can be used.
pub(super) fn names_of_rules(section: Option<&Value>) -> Vec<Option<String>> {
    let rules = section.and_then(|section| section.find_ref("rules")).and_then(Value::as_array).unwrap_or_default();
    let name = |rule: &Value| rule.find_ref("name")?.as_str().filter(|name| is_rule_name(name)).map(str::to_owned);
    rules.iter().map(name).collect()
}

/// Puts the name of a rule where a problem has its place in the list.
pub(super) fn name_rule(problem: &mut Problem, names: &[Option<String>]) {
    let Some(rest) = problem.key.strip_prefix("confirmation.rules.") else { return };
    let place = rest.split('.').next().unwrap_or_default();
    let name = place.parse().ok().and_then(|place: usize| names.get(place)?.as_ref());
    if let Some(name) = name {
        let (before, after) = (format!("confirmation.rules.{place}"), format!("confirmation.rules.\"{name}\""));
        problem.message = problem.message.replacen(&before, &after, 1);
        problem.key = problem.key.replacen(&before, &after, 1);
    }
}

/// A rule whose name cannot be used is known by its place.
fn check_rules(rules: &[Rule]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if rules.len() > RULES_MAX {
        let message = "are more than 256: each is tried for each session, and is a label of a metric";
        problems.push(Problem::with_key("confirmation.rules", message, "join some of them with ||"));
    }
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for (place, rule) in (1..).zip(rules) {
        let key = "confirmation.rules.name";
        if !is_rule_name(&rule.name) {
            let message = format!(
                "of rule {place} must be 1 to 64 ASCII letters, digits, spaces, dots, hyphens and underscores, and no space at an end"
            );
            problems.push(Problem::with_key(key, &message, "write it as \"small payouts\""));
        } else if !taken.insert(&rule.name) {
            let message = format!("\"{}\" is the name of two rules", rule.name);
            problems.push(Problem::with_key(key, &message, "give each rule its own name"));
        }
    }
    problems
}

fn is_rule_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b" .-_".contains(&byte);
    (1..=RULE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(known) && name.trim() == name
}

fn group_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=GROUP_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal) {
        return Ok(Some(text));
    }
    Err(de::Error::custom(
        "must be 1 to 249 ASCII letters, digits, dots, hyphens and underscores: write it as \"payments.confirmation\"",
    ))
}

/// Rules have an order and belong together, so the environment cannot lay single ones over those of the file.
fn tables_of_the_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    struct Tables;

    impl<'de> Visitor<'de> for Tables {
        type Value = Vec<Rule>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("[[confirmation.rules]] tables in the file; the environment cannot set rules")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut tables: A) -> Result<Self::Value, A::Error> {
            let mut rules = Vec::new();
            while let Some(rule) = tables.next_element()? {
                rules.push(rule);
            }
            Ok(rules)
        }
    }

    deserializer.deserialize_any(Tables)
}

#[cfg(test)]
mod tests;
