//! What is known of the senders of the configured sources: how each is proven, and what happens when it is not answered well.
//! Must not show a key.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use super::seldom_meant::is_on_this_machine;
use crate::config::{Config, DedupMode, SourceName};
use crate::finding::{Code, Finding};
use crate::ingress::source::Configured;
use crate::provider::Retries;

/// A sender that gives up sooner loses webhooks in an outage of Kafka that people need an hour to mend.
const HORIZON_SAFE: Duration = Duration::from_hours(1);

/// What is to be said of each source.
pub(super) fn of_sources(config: &Config, sources: &BTreeMap<SourceName, Configured>) -> Vec<Finding> {
    // A Kafka of one's own is away when one wants it to be.
    let is_trial = is_on_this_machine(&config.kafka.bootstrap_servers);
    let mut findings = Vec::new();
    for (name, configured) in sources {
        let subject = format!("sources.{name}");
        if let Some(description) = configured.source.describe() {
            findings.push(Finding::new(Code::SenderProof, subject.as_str(), description));
        }
        let window = Duration::from_secs(config.dedup.window_s);
        if let Some(gap) = configured.provider.retries().and_then(|retries| retries.gap)
            && config.dedup.mode != DedupMode::Off
            && gap > window
        {
            let gap = SignedDuration::try_from(gap).unwrap_or(SignedDuration::MAX);
            let message = format!(
                "the sender may send a webhook again {gap:#} after the last attempt: then it is published once more"
            );
            findings.push(Finding::new(Code::RetryGapLong, subject.as_str(), message));
        }
        if !is_trial
            && let Some(retries) = configured.provider.retries()
            && retries.horizon.is_some_and(|horizon| horizon < HORIZON_SAFE)
        {
            findings.push(Finding::new(Code::RetriesShort, subject.as_str(), told(&retries)));
        }
    }
    findings
}

fn told(retries: &Retries) -> String {
    let horizon = retries.horizon.unwrap_or_default();
    let first = if horizon.is_zero() {
        "the sender never sends a webhook again by itself".to_owned()
    } else {
        let horizon = SignedDuration::try_from(horizon).unwrap_or(SignedDuration::MAX);
        format!("the sender tries for {horizon:#} and then gives up")
    };
    let note = if retries.note.is_empty() { String::new() } else { format!(" {}", retries.note) };
    format!("{first}: webhooks are lost if Kafka is away for longer ({}).{note}", retries.said_by)
}
