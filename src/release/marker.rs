//! What was released: one marker an event on the topic of releases, under the event's id, written after the event is
//! acknowledged. Pure. Must not know how markers are read.
//!
//! The key is the id of the published event, and not the hash of a body: the same bytes under another `webhook-id`, at
//! another source, or in another hour are another event, which the first one's marker must not hide. The hash stands in
//! the value, for those who look for a body.

use std::collections::HashSet;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;

use super::held::HeldRecord;
use super::judge::ReleasableEvent;
use crate::kafka::record::Record;
use crate::kafka::topics;
use crate::message::release::v1::release_entry::Entry;
use crate::message::release::v1::{ReleaseEntry, ReleaseMarker, ReleaseRequest};
use crate::message::{instant, timestamp};
use crate::provider::EventId;

/// What the keys of requests begin with.
pub const REQUEST_KEY: &str = "request:";
/// So many events are remembered at most: 32 bytes each, and what their tables take besides.
pub const REMEMBERED_MAX: usize = 1_000_000;

/// Who releases, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseAuthor {
    /// Who.
    pub released_by: String,
    /// Why; may be empty.
    pub reason: String,
}

/// The record of a marker.
pub fn marker(
    prefix: &str,
    held: &HeldRecord,
    event: &ReleasableEvent,
    author: &ReleaseAuthor,
    now: Timestamp,
) -> Record {
    let key = event.event_id.to_string();
    let marker = ReleaseMarker {
        event_id: key.clone(),
        source: held.source().to_owned(),
        topic: event.topic.to_string(),
        held_at: Some(held.place.clone()),
        body_sha256: Bytes::copy_from_slice(held.body_sha256()),
        received_at: Some(timestamp(held.received_at())),
        released_by: author.released_by.clone(),
        reason: author.reason.clone(),
        released_at: Some(timestamp(now)),
        bridge_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    record(prefix, key, Entry::Marker(marker))
}

/// The record of a request, or of its result.
pub fn request(prefix: &str, request: ReleaseRequest) -> Record {
    let key = format!("{REQUEST_KEY}{}", request.request_id);
    record(prefix, key, Entry::Request(request))
}

fn record(prefix: &str, key: String, entry: Entry) -> Record {
    let value = ReleaseEntry { entry: Some(entry) }.encode_to_vec();
    Record { topic: topics::release_topic(prefix).into(), key, value, headers: Vec::new() }
}

/// What a record of the topic of releases says; none where this version does not know it.
pub fn decode(value: &[u8]) -> Option<Entry> {
    ReleaseEntry::decode(value).ok()?.entry
}

/// The events that were released, bounded: of those that are forgotten, another release publishes the same event under the
/// same id again, which every subscriber has to expect.
#[derive(Debug, Default)]
pub struct ReleasedEvents {
    ids: HashSet<EventId>,
    /// Of their bodies, as [`fingerprint`] has them.
    bodies: HashSet<EventId>,
    /// How many were too many.
    forgotten: u64,
}

impl ReleasedEvents {
    /// Remembers a marker.
    pub fn remember(&mut self, marker: &ReleaseMarker) {
        if self.ids.len() >= REMEMBERED_MAX {
            self.forgotten = self.forgotten.saturating_add(1);
            return;
        }
        self.ids.extend(EventId::parse(&marker.event_id));
        let received_at = marker.received_at.as_ref().and_then(instant).unwrap_or_default();
        self.bodies.insert(fingerprint(&marker.source, &marker.body_sha256, received_at));
    }

    /// Remembers an event that this process released; whether it was not known.
    pub fn add(&mut self, event_id: EventId) -> bool {
        self.ids.len() >= REMEMBERED_MAX || self.ids.insert(event_id)
    }

    /// It was not released after all.
    pub fn forget(&mut self, event_id: EventId) {
        self.ids.remove(&event_id);
    }

    /// Whether this event was released.
    pub fn has(&self, event_id: EventId) -> bool {
        self.ids.contains(&event_id)
    }

    /// Whether a held record seems to be released, as far as can be said without keys: by its event id, else by the bytes of
    /// its body and the hour of receipt. A release itself goes by the event's id alone.
    pub fn seems_to_have(&self, held: &HeldRecord) -> bool {
        held.event_id().is_some_and(|id| self.ids.contains(&id))
            || self.bodies.contains(&fingerprint(held.source(), held.body_sha256(), held.received_at()))
    }

    /// How many markers were too many to be remembered.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// A source's body, received in one hour: bodies without a time of their own come back as other events.
fn fingerprint(source: &str, body_sha256: &[u8], received_at: Timestamp) -> EventId {
    let body = EventId::over(&[source.as_bytes(), body_sha256]);
    EventId::of_state(body, received_at, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::event::v1::{EventMetadata, Evidence};
    use crate::release::held::{HeldKind, HeldTopic};

    fn held(event_id: &str, source: &str, received_at: &str) -> HeldRecord {
        let evidence = Evidence { body_sha256: Bytes::from_static(&[7; 32]), ..Evidence::default() };
        let metadata = EventMetadata {
            event_id: event_id.to_owned(),
            source: source.to_owned(),
            received_at: Some(timestamp(received_at.parse().unwrap())),
            evidence: Some(evidence),
            ..EventMetadata::default()
        };
        HeldRecord {
            from: HeldTopic::Rejected,
            place: crate::message::release::v1::RecordPlace::default(),
            recorded_at: Timestamp::UNIX_EPOCH,
            kind: HeldKind::Webhook,
            reason: "signature_mismatch".to_owned(),
            detail: String::new(),
            metadata,
            body_bytes: 2,
        }
    }

    fn marked(event_id: EventId, record: &HeldRecord) -> (String, ReleasedEvents) {
        let event = ReleasableEvent { event_id, topic: "t".into(), records: Vec::new(), remark: None };
        let author = ReleaseAuthor { released_by: "me".to_owned(), reason: String::new() };
        let record = marker("payments", record, &event, &author, Timestamp::UNIX_EPOCH);
        let Some(Entry::Marker(read)) = decode(&record.value) else { panic!("no marker") };
        let mut released = ReleasedEvents::default();
        released.remember(&read);
        (record.key, released)
    }

    #[test]
    fn a_marker_is_known_by_its_event_and_hides_no_other_one_of_the_same_body() {
        let (first, other) = (EventId::from_bytes([1; 16]), EventId::from_bytes([2; 16]));
        let (key, mut released) = marked(first, &held("", "sg", "2026-01-02T03:04:05Z"));
        assert_eq!(key, first.to_string());
        assert!(released.has(first) && !released.has(other));
        for (event_id, source, received_at, expected) in [
            ("", "sg", "2026-01-02T03:59:59Z", true),
            ("", "sg", "2026-01-02T04:00:00Z", false),
            ("", "sg-2", "2026-01-02T03:04:05Z", false),
            (&first.to_string(), "sg", "2026-01-05T00:00:00Z", true),
            (&other.to_string(), "sg", "2026-01-05T00:00:00Z", false),
        ] {
            let told = released.seems_to_have(&held(event_id, source, received_at));
            assert_eq!(told, expected, "{event_id} {source} {received_at}");
        }
        assert!(released.add(other) && !released.add(other));
    }

    #[test]
    fn requests_and_markers_are_told_apart_by_what_they_are() {
        let asked = ReleaseRequest { request_id: "r1".to_owned(), ..ReleaseRequest::default() };
        let record = request("payments", asked.clone());
        assert_eq!((record.key.as_str(), &*record.topic), ("request:r1", "payments.quarantine-release.v1"));
        assert_eq!(decode(&record.value), Some(Entry::Request(asked)));
        for unknown in [&[][..], &[0xff, 0xff]] {
            assert_eq!(decode(unknown), None);
        }
    }
}
