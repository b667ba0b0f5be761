//! Whether the dedup window covers what it should, by the events that really came.
//! Must not know how events are remembered.

use std::time::Duration;

use jiff::SignedDuration;
use rdkafka::ClientConfig;

use crate::config::{Config, DedupMode};
use crate::error_chain;
use crate::finding::{Code, Finding};
use crate::kafka::present_records::{self, OffsetSpan, RecordPeriod};
use crate::kafka::reader::ReadError;
use crate::kafka::topics;
use crate::provider;

/// How long Kafka may take to tell it.
const WITHIN: Duration = Duration::from_secs(5);

/// What is to be said of the window. Blocks.
pub(super) fn of_kafka(config: &Config, client: &ClientConfig) -> Vec<Finding> {
    match (config.ingress.enabled, config.dedup.mode) {
        (true, DedupMode::Shared) => {}
        (false, _) | (true, DedupMode::Local | DedupMode::Off) => return Vec::new(),
    }
    let topic = topics::dedup_topic(config.kafka.topic_prefix.as_ref());
    match present_records::spans(client, &topic, RecordPeriod::last(config.dedup.window()), WITHIN) {
        Ok(spans) => too_many(config, spans.values().map(OffsetSpan::records).sum()).into_iter().collect(),
        // Told already.
        Err(ReadError::Missing(_) | ReadError::NotAuthorized(_)) => Vec::new(),
        Err(error) => {
            let message =
                format!("whether the window holds all events is not checked: {}", error_chain::joined(&error));
            vec![Finding::new(Code::NotChecked, topic, message)]
        }
    }
}

/// Where so many events came within the window.
fn too_many(config: &Config, events: u64) -> Option<Finding> {
    let entries_max = u64::try_from(config.dedup.entries_max).unwrap_or(u64::MAX);
    if events <= entries_max {
        return None;
    }
    let covered_s = config.dedup.window_s.saturating_mul(entries_max) / events;
    let told = |seconds| format!("{:#}", SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)));
    let mut providers = config.sources.values().filter_map(|source| provider::find(&source.provider));
    let late = providers.find(|provider| {
        provider.retries().and_then(|retries| retries.gap).is_some_and(|gap| gap.as_secs() > covered_s)
    });
    let late = late
        .map_or_else(String::new, |provider| format!("; {} may send a webhook again later than that", provider.name()));
    let message = format!(
        "{events} events came within the last {}, and {entries_max} are remembered: redeliveries are recognized for about {}{late}",
        told(config.dedup.window_s),
        told(covered_s)
    );
    Some(Finding::new(Code::DedupWindowShort, "dedup.entries_max", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_events_than_the_window_holds_are_told_with_what_it_covers() {
        let text = "[dedup]\nwindow_s = 7200\nentries_max = 1000\n[sources.sg]\nprovider = 'smart-glocal'";
        let config = Config::from_toml(text, []).unwrap();
        let told = |events| too_many(&config, events).map(|finding| finding.message);
        let half =
            "2000 events came within the last 2h, and 1000 are remembered: redeliveries are recognized for about 1h";
        let little = "10000 events came within the last 2h, and 1000 are remembered: redeliveries are recognized for about \
                      12m; smart-glocal may send a webhook again later than that";
        let expected = [(1000, None), (2000, Some(half)), (10_000, Some(little))];
        for (events, expected) in expected {
            assert_eq!(told(events).as_deref(), expected);
        }
    }
}
