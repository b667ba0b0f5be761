//! Samples of such senders: bodies with everything that the plan reads, signed by the same plan.
//! Must not know any sender's real bodies.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::interned;
use super::plan::Plan;
use super::settings::TimeFormat;
use super::signed_time::written;
use super::signing_key::SampleKey;
use super::template::{Given, Variable};
use super::value_place::{JsonPointer, ValuePlace};
use crate::provider::{EventType, RawWebhook, Sender, SignedWebhook};

/// A sample's lists have so many elements at most. A number beyond is the name of a field: the body is as large as it says.
const ELEMENTS_MAX: usize = 64;

/// Sends webhooks as a plan says.
pub struct DeclaredSender {
    plan: Plan,
    key: SampleKey,
}

/// A webhook that is not signed yet.
struct Draft {
    headers: Vec<(HeaderName, String)>,
    query: Vec<(String, String)>,
    body: Json,
}

impl DeclaredSender {
    /// A sender with this key.
    pub fn new(plan: Plan, key: SampleKey) -> Self {
        Self { plan, key }
    }

    /// Everything that the plan reads of an event, with values of this number.
    fn draft(&self, event_type: &EventType, now: Timestamp, number: u64) -> Draft {
        let rules = &self.plan.event;
        let mut draft = Draft { headers: Vec::new(), query: Vec::new(), body: json!({}) };
        if rules.require.is_empty() {
            draft.put(&JsonPointer::whole(), json!({}));
        }
        for (pointer, word) in &rules.require {
            let value = serde_json::from_str(word).unwrap_or_else(|_| Json::from(word.as_str()));
            draft.put(pointer, value);
        }
        if let Some((places, format)) = rules.occurred_at.first()
            && let Some(place) = places.first()
        {
            draft.set(place, time_value(now, *format));
        }
        // The last is the thing itself, the others name what it belongs to.
        if let Some(place) = rules.key.last() {
            draft.set(place, format!("obj_{number}").into());
        }
        if let Some(place) = rules.key.first() {
            draft.set(place, format!("pay_{number}").into());
        }
        if let Some(place) = rules.id.first() {
            draft.set(place, format!("evt_{number}").into());
        }
        if let (Some(place), Some(example)) = (rules.kind.first(), self.plan.topics.example(event_type)) {
            draft.set(place, example.into());
        }
        if rules.id.is_empty() {
            draft.put_new("sample", number.into());
        }
        if let Some(each) = &rules.each {
            let element = std::mem::replace(&mut draft.body, json!({}));
            draft.put(each, json!([element]));
        }
        draft
    }

    /// Puts there what only the signature reads, and signs.
    fn signed(&self, mut draft: Draft, body: Option<Bytes>, now: Timestamp, number: u64) -> SignedWebhook {
        let time = self.plan.time.as_ref().map(|rule| (rule, written(now, rule.format)));
        if let Some((rule, _)) = &time
            && !matches!(rule.place, ValuePlace::Entry(_))
        {
            draft.set(&rule.place, time_value(now, rule.format));
        }
        for (template, _) in &self.plan.templates {
            for variable in template.variables() {
                draft.fill(variable, number);
            }
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&draft.query).finish();
        let mut headers: HeaderMap =
            [(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))].into_iter().collect();
        for (name, value) in &draft.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        let webhook = RawWebhook {
            path_suffix: String::new(),
            query,
            headers,
            body: body.unwrap_or_else(|| draft.body.to_string().into()),
            remote_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            received_at: now,
        };
        let time = time.as_ref().map(|(rule, time)| (&rule.place, time.as_str()));
        self.with_signature(webhook, time)
    }

    fn with_signature(&self, mut webhook: RawWebhook, time: Option<(&ValuePlace, &str)>) -> SignedWebhook {
        let given = Given { webhook: &webhook, time: time.map(|(_, time)| time), url: &self.plan.url };
        let pieces = match self.plan.templates.first() {
            Some((template, _)) => template.fill(&given).unwrap_or_default(),
            None => Vec::new(),
        };
        let signature = self.key.sign(&pieces).unwrap_or_default();
        let entry = match time {
            Some((ValuePlace::Entry(name), time)) => vec![(name.as_str(), time)],
            _ => Vec::new(),
        };
        let text = self.plan.signature.written(&signature, &entry);
        match &self.plan.signature.place {
            ValuePlace::Header(name) => {
                if let Ok(value) = HeaderValue::from_str(&text) {
                    webhook.headers.insert(name, value);
                }
            }
            ValuePlace::Query(name) => {
                let mut pairs = form_urlencoded::Serializer::for_suffix(webhook.query.clone(), webhook.query.len());
                webhook.query = pairs.append_pair(name, &text).finish();
            }
            ValuePlace::Pointer(_) | ValuePlace::Entry(_) | ValuePlace::Joined(_) => {}
        }
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((interned(name.as_str()), value.to_str().ok()?.to_owned()))
        };
        SignedWebhook {
            path_suffix: String::new(),
            headers: webhook.headers.iter().filter_map(header).collect(),
            query: webhook.query,
            body: webhook.body,
        }
    }
}

impl Sender for DeclaredSender {
    fn sample(&self, event_type: &EventType, now: Timestamp, number: u64) -> SignedWebhook {
        self.signed(self.draft(event_type, now, number), None, now, number)
    }

    fn sign(&self, path_suffix: &str, body: Bytes, now: Timestamp, number: u64) -> SignedWebhook {
        let mut draft = Draft { headers: Vec::new(), query: Vec::new(), body: Json::Null };
        for place in self.plan.event.id.iter().filter(|place| !matches!(place, ValuePlace::Pointer(_))) {
            draft.set(place, format!("evt_{number}").into());
        }
        SignedWebhook { path_suffix: path_suffix.to_owned(), ..self.signed(draft, Some(body), now, number) }
    }
}

impl Draft {
    /// Puts a value at a place.
    fn set(&mut self, place: &ValuePlace, value: Json) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match place {
            ValuePlace::Header(name) => {
                self.headers.retain(|(header, _)| header != name);
                self.headers.push((name.clone(), text));
            }
            ValuePlace::Query(name) => {
                self.query.retain(|(parameter, _)| parameter != name);
                self.query.push((name.clone(), text));
            }
            ValuePlace::Pointer(pointer) => self.put(pointer, value),
            ValuePlace::Joined(places) => {
                let words = text.splitn(places.len(), '.');
                places.iter().zip(words).for_each(|(place, word)| self.set(place, word.into()));
            }
            ValuePlace::Entry(_) => {}
        }
    }

    /// Puts a value at a place in the body, and makes what leads there.
    fn put(&mut self, pointer: &JsonPointer, value: Json) {
        if self.body.is_null() {
            return;
        }
        let mut at = &mut self.body;
        for step in pointer.steps() {
            at = if let Some(place) = step.parse::<usize>().ok().filter(|place| *place < ELEMENTS_MAX) {
                if !at.is_array() {
                    *at = json!([]);
                }
                let Some(list) = at.as_array_mut() else { return };
                while list.len() <= place {
                    list.push(json!({}));
                }
                let Some(element) = list.get_mut(place) else { return };
                element
            } else {
                if !at.is_object() {
                    *at = json!({});
                }
                let Some(object) = at.as_object_mut() else { return };
                object.entry(step.as_str()).or_insert_with(|| json!({}))
            };
        }
        *at = value;
    }

    fn put_new(&mut self, name: &str, value: Json) {
        if let Some(object) = self.body.as_object_mut() {
            object.entry(name).or_insert(value);
        }
    }

    /// Puts something where a template looks, unless something is there.
    fn fill(&mut self, variable: &Variable, number: u64) {
        match variable {
            Variable::Header(name) if !self.headers.iter().any(|(header, _)| header == name) => {
                self.headers.push((name.clone(), format!("sample-{number}")));
            }
            Variable::Query(name, _) if !self.query.iter().any(|(parameter, _)| parameter == name) => {
                self.query.push((name.clone(), number.to_string()));
            }
            Variable::Text(pointer) if self.body.pointer(&pointer.to_string()).is_none() => {
                self.put(pointer, format!("sample-{number}").into());
            }
            _ => {}
        }
    }
}

/// An instant as a body has it.
fn time_value(at: Timestamp, format: TimeFormat) -> Json {
    let text = written(at, format);
    match format {
        TimeFormat::UnixS | TimeFormat::UnixMs | TimeFormat::Unix => text.parse::<i64>().map_or(Json::Null, Json::from),
        TimeFormat::Rfc3339 => text.into(),
    }
}
