//! What would become of a held record: its webhook is authenticated again with the present keys, as of its receipt, and
//! understood as this version understands it. Pure: `now` is an argument. Must not know how an event gets to Kafka.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use super::held::{HeldKind, HeldRecord};
use crate::config::{Config, SourceConfig, SourceName};
use crate::encode::{Bridge, Encoder, RecordForm};
use crate::kafka::record::Record;
use crate::kafka::topics;
use crate::message::release::v1::ReleaseVerdict;
use crate::provider::{AuthenticWebhook, Content, EventId, Normalized, Source, Understood};

/// The event type that opens a session.
const OPENS_A_SESSION: &str = "ready-to-confirm";

/// Gives a source with the keys of the moment.
pub type PresentKeys = Box<dyn Fn() -> Arc<Box<dyn Source>> + Send + Sync>;

/// Judges held records by a configuration.
pub struct Judge {
    sources: BTreeMap<String, JudgedSource>,
    record_bytes_max: usize,
    /// For how long the provider waits for the merchant's word.
    window: SignedDuration,
}

struct JudgedSource {
    keys: PresentKeys,
    allow_from: Vec<IpNet>,
    encoder: Encoder,
    /// The topic of the events that open its sessions, where it has any.
    opening_topic: Option<String>,
}

/// What would become of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldJudgement {
    /// It becomes an event.
    Event(Box<ReleasableEvent>),
    /// It stays where it is, with what there is to remark on it.
    Stays(ReleaseVerdict, String),
}

/// An event that a held record becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasableEvent {
    /// Its id.
    pub event_id: EventId,
    /// Its topic.
    pub topic: Arc<str>,
    /// Its record as it would have been, and then, where it may be too large so, a smaller one.
    pub records: Vec<Record>,
    /// What whoever releases it should know.
    pub remark: Option<EventRemark>,
}

/// What is to be known of an event that can be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRemark {
    /// It comes too late to open its session.
    OpensNoSession,
    /// It was too large for its topic when it came.
    WasTooLarge,
}

impl EventRemark {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpensNoSession => "opens no session, because its window is over",
            Self::WasTooLarge => "only if its topic takes larger records than before",
        }
    }
}

impl Judge {
    /// A judge by this configuration. Of the sources only those that `keys` has count.
    pub fn new(config: &Config, mut keys: BTreeMap<SourceName, PresentKeys>) -> Self {
        let bridge = Bridge { instance: config.bridge_instance.clone(), keep: config.evidence.keep };
        let prefix = config.kafka.topic_prefix.as_ref();
        let judged = |(name, settings): (&SourceName, &SourceConfig)| {
            let keys = keys.remove(name)?;
            let opening = topics::confirmation_events().into_iter();
            let opening =
                opening.filter(|(asking, event)| *asking == settings.provider && event.topic_part == OPENS_A_SESSION);
            let source = JudgedSource {
                keys,
                allow_from: settings.allow_from.clone(),
                encoder: Encoder::new(&bridge, name.as_ref(), settings, prefix),
                opening_topic: opening.map(|(asking, event)| topics::event_topic(prefix, asking, event)).next(),
            };
            Some((name.to_string(), source))
        };
        Self {
            sources: config.sources.iter().filter_map(judged).collect(),
            record_bytes_max: config.ingress.record_bytes_max(),
            window: SignedDuration::try_from(config.confirmation.window()).unwrap_or(SignedDuration::MAX),
        }
    }

    /// What would become of this record now; of each event, where its webhook has several that are held here.
    pub fn judge(&self, held: &HeldRecord, now: Timestamp) -> Vec<HeldJudgement> {
        use ReleaseVerdict as Verdict;
        let stays = |verdict, remark: &str| vec![HeldJudgement::Stays(verdict, remark.to_owned())];
        match held.kind {
            HeldKind::Webhook => {}
            HeldKind::CutWebhook => return stays(Verdict::BodyCut, ""),
            HeldKind::EngineRecord => {
                return stays(Verdict::NoWebhook, "a record that the confirmation engine set aside");
            }
            HeldKind::Unreadable => return stays(Verdict::Unreadable, &held.detail),
        }
        let Some(source) = self.sources.get(held.source()) else {
            return stays(Verdict::SourceNotConfigured, held.source());
        };
        let Some(raw) = held.webhook() else {
            return stays(Verdict::Unreadable, "its body or its address is not in the record");
        };
        if !source.allows(raw.remote_address) {
            return stays(Verdict::AddressNotAllowed, &raw.remote_address.to_string());
        }
        let keys = (source.keys)();
        let webhook = match AuthenticWebhook::authenticate(&**keys, raw) {
            Ok(webhook) => webhook.received_at(held.received_at()),
            Err(rejected) => return stays(Verdict::NotAuthentic, &rejected.reason.to_string()),
        };
        let events = match keys.normalize(held.source(), &webhook) {
            Understood::Event(event) => vec![event],
            Understood::Batch(events) => held_here(held, events),
            Understood::Handshake(_) => return stays(Verdict::StillUnrecognized, "a handshake, which is no event"),
        };
        let mut body_is_with = None;
        let judged = |event: &Normalized| match &event.content {
            Content::Unrecognized => {
                HeldJudgement::Stays(Verdict::StillUnrecognized, format!("type {}", event.event_type))
            }
            Content::Undecodable(why) => HeldJudgement::Stays(Verdict::StillUndecodable, why.detail.clone()),
            Content::Event(_) => {
                let judgement = self.event(source, held, &webhook, (event, body_is_with), now);
                // The body of a batch is with its first event.
                body_is_with = body_is_with.or(Some(event.identity.of_webhook()));
                judgement
            }
        };
        events.iter().map(judged).collect()
    }

    fn event(
        &self,
        source: &JudgedSource,
        held: &HeldRecord,
        webhook: &AuthenticWebhook,
        (event, body_is_with): (&Normalized, Option<EventId>),
        now: Timestamp,
    ) -> HeldJudgement {
        // Nothing is known of the event before it: a release comes at another time than the webhooks beside it.
        let event_id = event.identity.id_alone(webhook.raw().received_at);
        let first = body_is_with.map_or(RecordForm::AsConfigured, RecordForm::BodyElsewhere);
        let forms: &[RecordForm] = match webhook.plaintext() {
            Some(_) => &[first, RecordForm::WithoutPlaintext],
            None => &[first],
        };
        let records = forms.iter().map(|form| source.encoder.authentic(webhook, event, event_id, *form));
        let records: Vec<Record> = records.filter(|record| record.size() <= self.record_bytes_max).collect();
        let Some(topic) = records.first().map(|record| Arc::clone(&record.topic)) else {
            return HeldJudgement::Stays(ReleaseVerdict::TooLarge, String::new());
        };
        let began_at = event.occurred_at.unwrap_or(webhook.raw().received_at);
        let is_over = began_at.saturating_add(self.window).is_ok_and(|end| end <= now);
        let remark = if is_over && source.opening_topic.as_deref() == Some(&*topic) {
            Some(EventRemark::OpensNoSession)
        } else {
            held.was_too_large().then_some(EventRemark::WasTooLarge)
        };
        HeldJudgement::Event(Box::new(ReleasableEvent { event_id, topic, records, remark }))
    }
}

/// The events of a batch that a record holds: the one of its id, else all, as where the whole batch failed authentication.
fn held_here(held: &HeldRecord, events: Vec<Normalized>) -> Vec<Normalized> {
    let is_held = |event: &Normalized| held.event_id() == Some(event.identity.of_webhook());
    if events.iter().any(is_held) { events.into_iter().filter(is_held).collect() } else { events }
}

impl JudgedSource {
    fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow_from.is_empty() || self.allow_from.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests;
