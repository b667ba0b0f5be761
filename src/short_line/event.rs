//! Webhooks in words: typed events by their amounts and statuses, whatever their message; and those that became no event.
//! Pure. Must not know a provider's message.

use serde_json::{Map, Value};

use super::{Phrase, Tone, amount, text_at, word, word_of};

/// Statuses of all providers that say that it went well.
const GOOD: [&str; 9] =
    ["accepted", "active", "captured", "completed", "created", "paid", "success", "succeeded", "sent"];
/// Statuses that say that it did not.
const BAD: [&str; 6] = ["chargeback", "declined", "error", "failed", "rejected", "unauthorized action"];
/// Statuses that say that it came to nothing.
const ENDED: [&str; 5] = ["cancelled", "disabled", "expired", "refunded", "voided"];
/// Fields whose names are shown of those that could not be read; of more the rest is counted.
const UNREAD_SHOWN_MAX: usize = 3;

/// An event of any provider: its amount, and where it stands.
pub(super) fn typed(message: &Value) -> Vec<Phrase> {
    let amount = find(message, &|name, value| match name {
        "operations" => amount::operations(value),
        "amount" => amount::money(value),
        _ => None,
    });
    let status = find(message, &status);
    let next = find(message, &|name, value| if name == "next_action" { word(name, value) } else { None });
    let kind = find(message, &|name, value| if name == "type" { value.as_str().map(str::to_owned) } else { None });
    let mut phrases: Vec<Phrase> = amount.map(Phrase::plain).into_iter().collect();
    phrases.extend(status.map(|status| Phrase::new(tone(&status), status)));
    phrases.extend(next.map(|next| Phrase::new(Tone::Attention, format!("next: {next}"))));
    if phrases.is_empty() {
        phrases.extend(kind.or_else(|| carried(message)).map(Phrase::plain));
    }
    phrases
}

/// Of a message that only carries its webhook's body, how large that is.
fn carried(message: &Value) -> Option<String> {
    let base64 = text_at(message, "/payload")?;
    let bytes = base64.trim_end_matches('=').len() * 3 / 4;
    Some(format!("{bytes} bytes as received"))
}

/// A webhook that is authentic and could not become an event.
pub(super) fn quarantined(message: &Value) -> Vec<Phrase> {
    let reason = word_of(message, "reason").unwrap_or_else(|| "for an unknown reason".to_owned());
    let detail = text_at(message, "/detail").map(Phrase::plain);
    [Some(Phrase::new(Tone::Bad, reason)), detail].into_iter().flatten().collect()
}

/// A sample of what failed authentication.
pub(super) fn rejected(message: &Value) -> Vec<Phrase> {
    let failure = word_of(message, "failure").unwrap_or_else(|| "not authentic".to_owned());
    let bytes = text_at(message, "/body_bytes").unwrap_or("0");
    let from = text_at(message, "/metadata/evidence/remote_address").map(|address| format!("from {address}"));
    let more = [format!("{bytes} bytes"), from.unwrap_or_default()];
    [Phrase::new(Tone::Bad, failure), Phrase::plain(more.join(" ").trim_end())].into()
}

/// An authentic webhook of a type that this version does not know.
pub(super) fn unrecognized(message: &Value) -> Vec<Phrase> {
    let of_type = match text_at(message, "/metadata/event_type") {
        Some(event_type) => format!("unknown type {event_type}"),
        None => "no type".to_owned(),
    };
    vec![Phrase::new(Tone::Attention, of_type)]
}

/// What was released, or a request for a release.
pub(super) fn release(message: &Value) -> Phrase {
    let text = |place: &str| text_at(message, place).unwrap_or_default();
    if message.get("marker").is_some() {
        return Phrase::new(
            Tone::Good,
            format!("released to {} by {}", text("/marker/topic"), text("/marker/released_by")),
        );
    }
    let state = message.get("request").and_then(|request| word("release_state", request.get("state")?));
    let state = state.unwrap_or_else(|| "of an unknown kind".to_owned());
    Phrase::new(Tone::Attention, format!("release {state} by {}", text("/request/requested_by")))
}

/// The fields that could not be read.
pub(super) fn unread_fields(message: &Value) -> Option<Phrase> {
    let unread = message.pointer("/metadata/unread_fields")?.as_array().filter(|unread| !unread.is_empty())?;
    let mut names: Vec<&str> = unread.iter().filter_map(Value::as_str).take(UNREAD_SHOWN_MAX).collect();
    if unread.len() > UNREAD_SHOWN_MAX {
        names.push("…");
    }
    Some(Phrase::new(Tone::Attention, format!("unread: {}", names.join(", "))))
}

/// Where something stands, by a field like `status` or `code`; as received where this version does not know the value.
fn status(name: &str, value: &Value) -> Option<String> {
    if let Some(field) = name.strip_suffix("_text") {
        return value.as_str().filter(|text| field.ends_with("status") && !text.is_empty()).map(str::to_owned);
    }
    if name.ends_with("status") || name == "code" { word(name, value) } else { None }
}

fn tone(status: &str) -> Tone {
    match status {
        good if GOOD.contains(&good) => Tone::Good,
        bad if BAD.contains(&bad) => Tone::Bad,
        ended if ENDED.contains(&ended) => Tone::Attention,
        _ => Tone::Plain,
    }
}

/// The first thing that `pick` takes of a message: of its own fields, else of those below; never of its metadata.
fn find(message: &Value, pick: &dyn Fn(&str, &Value) -> Option<String>) -> Option<String> {
    let fields = message.as_object()?;
    let own = fields.iter().find_map(|(name, value)| pick(name, value));
    own.or_else(|| below(fields).find_map(|value| find(value, pick)))
}

fn below(fields: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    fields.iter().filter(|(name, _)| *name != "metadata").map(|(_, value)| value)
}
