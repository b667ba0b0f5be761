//! What an authentic webhook of such a sender says, as far as its plan tells: one event, several, or a question.
//! Must not know how it was proven.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::plan::{EventRules, HandshakeRule, Plan};
use super::settings::IdentityRule;
use super::signed_time::instant;
use super::signing_key::VerifyingKey;
use super::value_place::{JsonPointer, ValuePlace, object, parameter, word};
use crate::message::webhook::v1::WebhookReceived;
use crate::provider::event::EVENTS_MAX;
use crate::provider::json::{JsonDocument, Kind, Value};
use crate::provider::{
    AuthenticWebhook, Content, Encoded, EventId, Identity, Normalized, RawWebhook, Understood, json,
};

/// The longest value that is sent back in a handshake, in bytes.
const ECHO_BYTES_MAX: usize = 1024;

/// What is understood of one webhook.
struct Reading<'w> {
    plan: &'w Plan,
    source: &'w str,
    webhook: &'w RawWebhook,
}

/// Understands a webhook of the source named `source`.
pub fn understand(plan: &Plan, keys: &[VerifyingKey], source: &str, webhook: &AuthenticWebhook) -> Understood {
    let reading = Reading { plan, source, webhook: webhook.raw() };
    let body = webhook.content();
    let document = json::any(body);
    let root = document.as_ref().map(JsonDocument::root);
    if let (Some(rule), Some(root)) = (&plan.handshake, root)
        && let Some(answer) = answer_to(rule, keys.iter().find(|key| key.id == *webhook.key_id()), root)
    {
        return Understood::Handshake(answer);
    }
    match &plan.event.each {
        None => Understood::Event(reading.event(root, body)),
        Some(pointer) => match root.and_then(|root| pointer.find(root)).map(Value::kind) {
            Some(Kind::List(elements)) => reading.batch(&elements.collect::<Vec<_>>(), body),
            _ => Understood::Event(reading.whole(body, format!("{pointer}: missing, or no list"))),
        },
    }
}

/// The answer to a handshake, where this is one: the value under its own name, and beside it its MAC by the key that verified the
/// webhook, where one is wanted.
fn answer_to(rule: &HandshakeRule, key: Option<&VerifyingKey>, root: Value<'_>) -> Option<Bytes> {
    let (place, expected) = &rule.when;
    place.find(root).and_then(word).filter(|found| found == expected)?;
    let value = rule.echo.find(root).and_then(word).filter(|value| value.len() <= ECHO_BYTES_MAX)?;
    let mut answer = Map::new();
    if let Some(name) = &rule.hmac_as {
        let mac = key?.mac_of(&value)?;
        answer.insert(name.clone(), base16ct::lower::encode_string(&mac).into());
    }
    answer.insert(rule.echo.steps().last()?.clone(), value.into_owned().into());
    Some(Json::Object(answer).to_string().into())
}

impl Reading<'_> {
    /// Each element as an event; those that cannot be read are held.
    fn batch(&self, elements: &[Value<'_>], body: &Bytes) -> Understood {
        if elements.is_empty() {
            // Nothing authentic is dropped.
            return Understood::Event(Normalized { content: Content::Unrecognized, ..self.whole(body, String::new()) });
        }
        if elements.len() > EVENTS_MAX {
            return Understood::Event(self.whole(body, format!("more than {EVENTS_MAX} events in one webhook")));
        }
        let event = |element: &Value<'_>| self.event(Some(*element), &part(body, element.json()));
        let events: Vec<Normalized> = elements.iter().map(event).collect();
        Understood::of_batch(self.source, body, events)
    }

    /// A webhook that is held as a whole.
    fn whole(&self, body: &Bytes, detail: String) -> Normalized {
        Normalized::whole(self.source, body, detail)
    }

    /// One event: of the whole body, or of an element of it.
    fn event(&self, value: Option<Value<'_>>, payload: &Bytes) -> Normalized {
        let rules = &self.plan.event;
        if rules.each.is_some() && value.and_then(object).is_none() {
            return self.whole(payload, "an element of the list is no JSON object".to_owned());
        }
        let first =
            |places: &[ValuePlace]| places.iter().find_map(|place| self.found(place, value)).map(Cow::into_owned);
        let (kind, id, key) = (first(&rules.kind), first(&rules.id), first(&rules.key));
        let message = WebhookReceived {
            metadata: None,
            payload: payload.clone(),
            content_type: self.webhook.header("content-type").ok().map(str::to_owned),
            r#type: kind.clone(),
            id: id.clone(),
        };
        let kind = kind.unwrap_or_default();
        let content = if has_required(rules, value) {
            Content::Event(Encoded::new(self.plan.topics.of(&kind), &message))
        } else {
            Content::Unrecognized
        };
        Normalized {
            identity: self.identity(&kind, id.as_deref(), value, payload),
            subject: key.clone().or(id).unwrap_or_default(),
            occurred_at: self.occurred_at(rules, value),
            event_type: kind,
            unread_fields: Vec::new(),
            key,
            content,
        }
    }

    /// The id over the body, and over what is signed beside it. What is not signed can be changed by anybody who has seen the webhook;
    /// only where states come back does the type count in any case, because it says which state it is.
    fn identity(&self, kind: &str, id: Option<&str>, value: Option<Value<'_>>, payload: &[u8]) -> Identity {
        let source = self.source.as_bytes();
        let beside = self.signed_beside_the_body(value);
        let over = |kind: &str| {
            let parts =
                [source, kind.as_bytes()].into_iter().chain(beside.iter().map(String::as_bytes)).chain([payload]);
            EventId::over(&parts.collect::<Vec<_>>())
        };
        match (self.plan.event.identity, id) {
            (IdentityRule::Id, Some(id)) => Identity::Event(EventId::over(&[source, id.as_bytes()])),
            (IdentityRule::Latest, _) => Identity::ContentOfKey(over(kind)),
            (IdentityRule::Body | IdentityRule::Id, _) => Identity::Event(over("")),
        }
    }

    /// The values of id, type and key that stand in headers or the query and are signed: two webhooks may differ in them alone.
    fn signed_beside_the_body(&self, value: Option<Value<'_>>) -> Vec<String> {
        let rules = &self.plan.event;
        let places = [&rules.id, &rules.kind, &rules.key].into_iter().flatten();
        let beside = places.filter(|place| matches!(place, ValuePlace::Header(_) | ValuePlace::Query(_)));
        let signed = beside.filter(|place| self.plan.signs(place));
        signed.map(|place| self.found(place, value).map(|word| word.to_lowercase()).unwrap_or_default()).collect()
    }

    fn occurred_at(&self, rules: &EventRules, value: Option<Value<'_>>) -> Option<Timestamp> {
        let mut times =
            rules.occurred_at.iter().flat_map(|(places, format)| places.iter().map(move |place| (place, *format)));
        times.find_map(|(place, format)| instant(&self.found(place, value)?, format))
    }

    /// The word at a place; none where it is absent, empty, or stands twice.
    fn found<'v>(&'v self, place: &ValuePlace, value: Option<Value<'v>>) -> Option<Cow<'v, str>> {
        match place {
            ValuePlace::Pointer(pointer) => pointer.find(value?).and_then(word),
            ValuePlace::Header(name) => self.webhook.header(name).ok().map(Cow::Borrowed),
            ValuePlace::Query(name) => parameter(self.webhook, name).ok().flatten().map(Cow::Owned),
            ValuePlace::Joined(places) => {
                let words: Vec<Cow<'_, str>> = places.iter().filter_map(|place| self.found(place, value)).collect();
                Some(Cow::Owned(words.join(".")))
            }
            ValuePlace::Entry(_) => None,
        }
        .filter(|word| !word.is_empty())
    }
}

fn has_required(rules: &EventRules, value: Option<Value<'_>>) -> bool {
    let word_at = |pointer: &JsonPointer| pointer.find(value?).and_then(word);
    rules.require.iter().all(|(pointer, required)| word_at(pointer).is_some_and(|found| found == *required))
}

/// The bytes of a part of the body, which its text lies in.
fn part(body: &Bytes, text: &str) -> Bytes {
    let from = text.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
    match from.checked_add(text.len()) {
        Some(end) if end <= body.len() => body.slice(from..end),
        _ => Bytes::copy_from_slice(text.as_bytes()),
    }
}
