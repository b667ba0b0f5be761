//! Which held records are meant: of which topics, source and reason, of which time, or of which identity.
//! Pure. Must not know how records are read.

use jiff::Timestamp;

use super::held::{HeldRecord, HeldTopic};
use crate::kafka::present_records::RecordPeriod;
use crate::message::instant;
use crate::message::release::v1::ReleaseFilter;

/// Lets held records through. What is unset lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldFilter {
    /// The topics; none: quarantine alone.
    pub from: Vec<HeldTopic>,
    /// The source.
    pub source: Option<String>,
    /// Why it is held.
    pub reason: Option<String>,
    /// When the broker took the record.
    pub period: RecordPeriod,
    /// The event id in the record.
    pub event_id: Option<String>,
}

/// A filter that cannot be used, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnusableFilter(String);

impl HeldFilter {
    /// The filter of a request that was made at `requested_at`: what came later is never released by it.
    ///
    /// # Errors
    /// It names a topic that holds no webhooks, or a time that cannot be.
    pub fn of_request(filter: &ReleaseFilter, requested_at: Timestamp) -> Result<Self, UnusableFilter> {
        let topic = |name: &String| {
            HeldTopic::parse(name).ok_or_else(|| UnusableFilter(format!("`from`: no topic `{name}` holds webhooks")))
        };
        let moment = |at: &prost_types::Timestamp| {
            instant(at).ok_or_else(|| UnusableFilter("`since` or `until` is no time".to_owned()))
        };
        let until = filter.until.as_ref().map(moment).transpose()?;
        Ok(Self {
            from: filter.from.iter().map(topic).collect::<Result<_, _>>()?,
            source: filter.source.clone(),
            reason: filter.held_reason.clone(),
            period: RecordPeriod {
                since: filter.since.as_ref().map(moment).transpose()?,
                until: Some(until.map_or(requested_at, |until| until.min(requested_at))),
            },
            event_id: filter.event_id.clone(),
        })
    }

    /// The topics, each once.
    pub fn topics(&self) -> Vec<HeldTopic> {
        let mut topics = self.from.clone();
        topics.sort_unstable();
        topics.dedup();
        if topics.is_empty() { vec![HeldTopic::Quarantine] } else { topics }
    }

    /// Whether the record is meant, its topic apart.
    pub fn takes(&self, held: &HeldRecord) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
        is(&self.source, held.source())
            && is(&self.reason, &held.reason)
            && is(&self.event_id, &held.metadata.event_id)
            && self.period.since.is_none_or(|since| held.recorded_at >= since)
            && self.period.until.is_none_or(|until| held.recorded_at < until)
    }
}
