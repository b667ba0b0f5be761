//! A decoded record as one short line for people: when, on which topic, about what, and what it says in a few words.
//! Pure. It knows the messages of `proto/` by the names of their fields; it must not know terminals, nor providers.

mod amount;
mod confirmation;
mod event;

use serde_json::Value;

pub use amount::decimal;

use crate::kafka::decoded::Decoded;

/// What is shown of one received text at most, in characters: somebody else wrote it.
const TEXT_CHARACTERS_MAX: usize = 80;

/// One line, in parts, so that whoever shows it can align and colour them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortLine {
    /// When the record was made or appended, in UTC to the second: `2024-05-27T02:03:00Z`. Empty where Kafka does not tell.
    pub time: String,
    /// The topic without its prefix and version: `smart-glocal.ready-to-confirm`.
    pub topic: String,
    /// What it is about: the payment's or session's id, else the record's key.
    pub subject: String,
    /// What it says.
    pub phrases: Vec<Phrase>,
}

/// Some words of a line that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// The words.
    pub text: String,
    /// What they mean for the reader.
    pub tone: Tone,
}

/// What a phrase means for the reader: colours follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Told, neither good nor bad.
    Plain,
    /// It went well.
    Good,
    /// It waits, came twice, or should be looked at.
    Attention,
    /// It failed, or was refused.
    Bad,
}

impl Phrase {
    /// A phrase that is as harmless to a terminal as its reader expects: control characters are replaced, and it is cut.
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self { text: harmless(text.as_ref()), tone }
    }

    fn plain(text: impl AsRef<str>) -> Self {
        Self::new(Tone::Plain, text)
    }
}

impl ShortLine {
    /// The line of a record from a topic with this prefix.
    pub fn of(record: &Decoded, prefix: &str) -> Self {
        let message = record.message.as_ref().and_then(|message| serde_json::from_str(message.get()).ok());
        let time = record.timestamp.as_deref().and_then(|time| time.get(..19)).map(|time| format!("{time}Z"));
        Self {
            time: time.unwrap_or_default(),
            topic: without_prefix_and_version(&record.topic, prefix).to_owned(),
            subject: harmless(&subject(message.as_ref(), record)),
            phrases: match &message {
                Some(message) => phrases(record.message_name.as_deref().unwrap_or_default(), message),
                None => vec![undecoded(record)],
            },
        }
    }

    /// What it says, in one text.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.phrases.iter().map(|phrase| phrase.text.as_str()).collect();
        texts.join("  ")
    }
}

fn phrases(name: &str, message: &Value) -> Vec<Phrase> {
    let mut phrases = match name {
        "paybridge.confirmation.v1.Outcome" => confirmation::outcome(message),
        "paybridge.confirmation.v1.Decision" => vec![confirmation::decision(message)],
        "paybridge.confirmation.v1.DecisionRejected" => confirmation::rejected_decision(message),
        "paybridge.confirmation.v1.LedgerEntry" => confirmation::ledger_entry(message),
        "paybridge.event.v1.QuarantinedWebhook" => event::quarantined(message),
        "paybridge.event.v1.RejectedWebhook" => event::rejected(message),
        "paybridge.event.v1.UnrecognizedWebhook" => event::unrecognized(message),
        "paybridge.release.v1.ReleaseEntry" => vec![event::release(message)],
        _ => event::typed(message),
    };
    phrases.extend(event::unread_fields(message));
    phrases
}

/// A record whose message is not known here, or a tombstone.
fn undecoded(record: &Decoded) -> Phrase {
    match &record.value_base64 {
        Some(_) => Phrase::new(Tone::Bad, "cannot be decoded"),
        None => Phrase::plain("no value: what this key had is removed"),
    }
}

fn subject(message: Option<&Value>, record: &Decoded) -> String {
    let places = ["/metadata/subject", "/session_id", "/decision/session_id"];
    let named = message.and_then(|message| places.iter().find_map(|place| text_at(message, place)));
    named.or(record.key.as_deref()).unwrap_or_default().to_owned()
}

fn without_prefix_and_version<'t>(topic: &'t str, prefix: &str) -> &'t str {
    let name = topic.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')).unwrap_or(topic);
    match name.rsplit_once(".v") {
        Some((name, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

/// A text that is there and not empty.
fn text_at<'m>(message: &'m Value, place: &str) -> Option<&'m str> {
    message.pointer(place)?.as_str().filter(|text| !text.is_empty())
}

/// An enum's value in words: `payout_status: PAYOUT_STATUS_IN_REVIEW`, and `status: ACTION_STATUS_IN_REVIEW`, are `in review`.
/// Nothing where the field holds no such value.
fn word(field: &str, value: &Value) -> Option<String> {
    let marker = format!("{}_", field.to_ascii_uppercase());
    let (_, word) = value.as_str()?.split_once(&marker)?;
    let is_constant = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    (!word.is_empty() && word.chars().all(is_constant)).then(|| word.to_ascii_lowercase().replace('_', " "))
}

/// The same of a field at the top of a message.
fn word_of(message: &Value, field: &str) -> Option<String> {
    word(field, message.get(field)?)
}

/// Text of others as a terminal may have it: on one line, and without anything that moves the cursor.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// `text` as one may print it: it may have been chosen by anybody.
fn harmless(text: &str) -> String {
    let mut kept: String = printable(text).chars().take(TEXT_CHARACTERS_MAX).collect();
    if text.chars().nth(TEXT_CHARACTERS_MAX).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests;
