//! Target `decoders`: any bytes as the value of a record on each topic that is read.
//!
//! An input is a letter for the topic, and the value. What has a key that must fit its value gets that key.
//! The reader of the spool, once there is one, is one more function at the end of `DECODERS`.

use jiff::Timestamp;
use paybridge::confirmation::codec::ledger::{self, LedgerRecord};
use paybridge::confirmation::codec::{decision, inputs};
use paybridge::confirmation::session::model::SessionKey;
use paybridge::ingress::shared_dedup::entry;
use paybridge::kafka::decoded::{self, ReadRecord};
use paybridge::message::DESCRIPTORS;
use paybridge::message::confirmation::v1::LedgerEntry;
use paybridge::message::release::v1::release_entry::Entry;
use paybridge::release::held::{HeldRecord, HeldTopic};
use paybridge::release::marker::{self, ReleasedEvents};
use paybridge::short_line::ShortLine;
use prost::Message;

use crate::fixtures::NOW;
use crate::providers::VERIFIERS;
use crate::subject::PREFIX;

/// What reads a value.
type Decoder = fn(&[u8]);

/// Each kind of record by its letter: `a` is the first. The order is that of the corpus: add at the end.
const DECODERS: [Decoder; 9] = [ledger, ledger_key, decision, ready, finished, dedup_entry, release_entry, held, shown];

/// The letter of the first decoder.
pub const FIRST_LETTER: u8 = b'a';

/// Checks one input.
pub fn check(input: &[u8]) {
    let Some((letter, value)) = input.split_first() else { return };
    let place = usize::from(letter.wrapping_sub(FIRST_LETTER)) % DECODERS.len();
    if let Some(decode) = DECODERS.get(place) {
        decode(value);
    }
}

/// What is known in full is written again as it was read.
fn ledger(value: &[u8]) {
    let Ok(entry) = LedgerEntry::decode(value) else { return };
    let key = if entry.source.is_empty() && entry.session_id.is_empty() {
        ledger::OWNER_KEY.to_owned()
    } else {
        let session = SessionKey { source: entry.source.into(), session_id: entry.session_id.into() };
        ledger::key(&session)
    };
    check_ledger(key.as_bytes(), value);
}

/// The same with a key of its own: what stands before the first line's end.
fn ledger_key(value: &[u8]) {
    let (key, value) = crate::request::split_once(value, b"\n").unwrap_or((value, b""));
    let _session = SessionKey::parse(key);
    check_ledger(key, value);
}

fn check_ledger(key: &[u8], value: &[u8]) {
    let record = match ledger::decode(key, value) {
        Ok(record) => record,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let (own_key, written) = match &record {
        LedgerRecord::Entry(session, entry) => {
            let _waiting = entry.waiting_decisions();
            (ledger::key(session), ledger::encode(session, entry))
        }
        LedgerRecord::Done(session, done) => (ledger::key(session), ledger::encode_done(session, done)),
        LedgerRecord::Owner(owner) => (ledger::OWNER_KEY.to_owned(), ledger::encode_owner(owner)),
    };
    assert_eq!(own_key.as_bytes(), key, "an entry under another's key");
    assert_eq!(ledger::decode(key, &written), Ok(record), "an entry that is written is read as another");
}

fn decision(value: &[u8]) {
    let (key, read) = match decision::read(value, 7, NOW) {
        Ok(read) => read,
        Err(malformed) => {
            assert!(!malformed.to_string().is_empty());
            return;
        }
    };
    assert!(SessionKey::parse(key.to_string().as_bytes()).as_ref() == Some(&key), "{key:?} is no key of the ledger");
    // As it waits in the ledger.
    let entry = paybridge::confirmation::session::model::SessionEntry::Early(vec![read]);
    let written = ledger::encode(&key, &entry);
    let again = ledger::decode(ledger::key(&key).as_bytes(), &written);
    assert_eq!(again, Ok(LedgerRecord::Entry(key, entry)), "a decision that waits is read as another");
}

fn ready(value: &[u8]) {
    let Ok(event) = inputs::ready(value, NOW, &VERIFIERS) else { return };
    assert!(event.session.id == *event.key.session_id, "one event of two sessions");
    let (opening, _) = event.opening(paybridge::confirmation::session::model::Mode::Live);
    assert!(opening.window_began_at <= NOW, "a window that begins after its event");
    let entry = paybridge::confirmation::session::model::SessionEntry::Awaiting(Box::new(opening));
    let written = ledger::encode(&event.key, &entry);
    let again = ledger::decode(ledger::key(&event.key).as_bytes(), &written);
    assert_eq!(again, Ok(LedgerRecord::Entry(event.key, entry)), "a session that opened is read as another");
}

fn finished(value: &[u8]) {
    let Ok(event) = inputs::finished(value, NOW, &VERIFIERS) else { return };
    assert!(SessionKey::parse(event.key.to_string().as_bytes()).as_ref() == Some(&event.key));
}

fn dedup_entry(value: &[u8]) {
    let Ok((told, cluster)) = entry::decode(value) else { return };
    assert_eq!(entry::decode(&entry::encode(told, cluster)), Ok((told, cluster)), "an entry is read as another");
}

fn release_entry(value: &[u8]) {
    match marker::decode(value) {
        Some(Entry::Marker(marker)) => {
            let mut released = ReleasedEvents::default();
            released.remember(&marker);
            if let Some(id) = paybridge::provider::EventId::parse(&marker.event_id) {
                assert!(released.has(id), "a marker is forgotten at once");
            }
        }
        Some(Entry::Request(request)) => {
            let record = marker::request(PREFIX, request.clone());
            assert_eq!(marker::decode(&record.value), Some(Entry::Request(request)), "a request is read as another");
        }
        None => {}
    }
}

/// A record of each topic of held webhooks, of which any is asked everything.
fn held(value: &[u8]) {
    for topic in HeldTopic::ALL {
        let held = HeldRecord::decode(topic, &record(&topic.name(PREFIX), value));
        let _webhook = held.webhook();
        let (judged_at, received_at): (Timestamp, Timestamp) = (held.judged_at(), held.received_at());
        assert!(judged_at == received_at || judged_at == held.recorded_at, "judged at a time that nobody told");
        let mut released = ReleasedEvents::default();
        assert!(!released.seems_to_have(&held), "released, and nothing was");
        if let Some(id) = held.event_id() {
            assert!(released.add(id) && released.seems_to_have(&held));
        }
        let _without = held.without_body();
    }
}

/// A record as people see it, of any of our messages: the first byte says which.
fn shown(value: &[u8]) {
    let Some((which, value)) = value.split_first() else { return };
    let messages = DESCRIPTORS.all_messages().filter(|message| message.full_name().starts_with("paybridge."));
    let messages: Vec<_> = messages.collect();
    let Some(message) = messages.get(usize::from(*which) % messages.len().max(1)) else { return };
    let decoded = decoded::decode(record("payments.any.v1", value), Some(message.full_name()), &DESCRIPTORS);
    assert!(decoded.message.is_some() || decoded.value_base64.is_some(), "a value is shown as nothing");
    let line = ShortLine::of(&decoded, PREFIX);
    assert!(!line.phrases.is_empty() || decoded.message.is_some());
    let text = line.text() + &line.subject;
    assert!(!text.chars().any(char::is_control), "a terminal would obey {text:?}");
}

fn record(topic: &str, value: &[u8]) -> ReadRecord {
    ReadRecord {
        topic: topic.to_owned(),
        timestamp_ms: Some(NOW.as_millisecond()),
        key: Some(b"sg".to_vec()),
        value: Some(value.to_vec()),
        ..ReadRecord::default()
    }
}
