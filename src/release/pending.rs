//! Requests for releases that were read and not carried out: the last record of a request's key counts.
//! Pure. Must not know how a request is carried out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::filter::{HeldFilter, UnusableFilter};
use super::held::HeldTopic;
use super::marker::{self, REQUEST_KEY, ReleaseAuthor};
use crate::message::release::v1::release_entry::Entry;
use crate::message::release::v1::release_request::What;
use crate::message::release::v1::{RecordPlace, ReleaseRequest, ReleaseState};

/// So many wait at most; what is more waits on the topic, and is read again once these are done.
const PENDING_MAX: usize = 100;
/// The largest record of a request that is looked at, in bytes: a thousand places are less.
const REQUEST_BYTES_MAX: usize = 128 * 1024;
/// The most single records of a request.
const PLACES_MAX: usize = 1000;
/// The longest text of a request, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// The longest id of a request.
const ID_BYTES_MAX: usize = 64;

/// A request that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingRequest {
    /// When the broker took it.
    pub requested_at: Timestamp,
    /// What is asked for.
    pub request: ReleaseRequest,
}

/// What a request means, once it is found sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedRecords {
    /// All records of a filter.
    Filter(HeldFilter),
    /// Single records.
    Places(Vec<(HeldTopic, RecordPlace)>),
}

/// Why a request cannot be carried out, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableRequest {
    /// Its filter.
    #[error(transparent)]
    Filter(UnusableFilter),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The requests that wait, by their keys.
#[derive(Debug, Default)]
pub struct PendingRequests {
    by_key: BTreeMap<String, Waiting>,
    /// One came while there was no room.
    passed_over: bool,
}

#[derive(Debug)]
struct Waiting {
    pending: PendingRequest,
    /// How often it could not be carried out.
    failures: u32,
}

impl PendingRequests {
    /// A record of the topic: its key, its value (none: a tombstone), and when the broker took it.
    pub fn see(&mut self, key: &[u8], value: Option<&[u8]>, requested_at: Timestamp) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        let Some(id) = key.strip_prefix(REQUEST_KEY) else { return };
        let small = value.filter(|value| value.len() <= REQUEST_BYTES_MAX);
        let request = match small.and_then(marker::decode) {
            Some(Entry::Request(request)) if is_id(id) && request.request_id == id => request,
            // A tombstone withdraws it; what is no request of this version is nobody's.
            Some(Entry::Request(_) | Entry::Marker(_)) | None => return self.remove(key),
        };
        let waits = request.state() == ReleaseState::Requested;
        if waits && (self.by_key.len() < PENDING_MAX || self.by_key.contains_key(key)) {
            let pending = PendingRequest { requested_at, request };
            self.by_key.insert(key.to_owned(), Waiting { pending, failures: 0 });
        } else {
            self.passed_over |= waits;
            self.remove(key);
        }
    }

    /// Whether requests have to be read again: one came while too many waited.
    pub fn passed_over(&self) -> bool {
        self.passed_over
    }

    /// The one that waits longest, of those that failed least often: one that cannot be carried out keeps no other waiting.
    pub fn next(&self) -> Option<PendingRequest> {
        let next = self.by_key.values().min_by_key(|waiting| (waiting.failures, waiting.pending.requested_at));
        next.map(|waiting| waiting.pending.clone())
    }

    /// It could not be carried out at the moment.
    pub fn failed(&mut self, pending: &PendingRequest) {
        if let Some(waiting) = self.by_key.get_mut(&key(pending)) {
            waiting.failures = waiting.failures.saturating_add(1);
        }
    }

    /// Whether the request still waits as it was read.
    pub fn has(&self, pending: &PendingRequest) -> bool {
        self.by_key.get(&key(pending)).is_some_and(|waiting| waiting.pending == *pending)
    }

    /// It waits no more.
    pub fn end(&mut self, pending: &PendingRequest) {
        self.remove(&key(pending));
    }

    /// Others own the partitions now.
    pub fn clear(&mut self) {
        self.by_key.clear();
        self.passed_over = false;
    }

    fn remove(&mut self, key: &str) {
        self.by_key.remove(key);
    }
}

impl PendingRequest {
    /// What is to be released, and in whose name.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn check(&self, prefix: &str) -> Result<(RequestedRecords, ReleaseAuthor), UnusableRequest> {
        let ReleaseRequest { requested_by, reason, what, .. } = &self.request;
        for (name, text, least) in [("requested_by", requested_by, 1), ("reason", reason, 0)] {
            if text.len() < least || text.len() > TEXT_BYTES_MAX {
                return Err(UnusableRequest::Other(format!("`{name}` must have {least} to {TEXT_BYTES_MAX} bytes")));
            }
        }
        let records = match what {
            Some(What::Filter(filter)) => RequestedRecords::Filter(
                HeldFilter::of_request(filter, self.requested_at).map_err(UnusableRequest::Filter)?,
            ),
            Some(What::Records(records)) if (1..=PLACES_MAX).contains(&records.places.len()) => {
                let places = records.places.iter().map(|place| held_place(place, prefix));
                RequestedRecords::Places(places.collect::<Result<_, _>>()?)
            }
            Some(What::Records(_)) => {
                return Err(UnusableRequest::Other(format!("`records` must have 1 to {PLACES_MAX} places")));
            }
            None => return Err(UnusableRequest::Other("it has neither a filter nor records".to_owned())),
        };
        Ok((records, ReleaseAuthor { released_by: requested_by.clone(), reason: reason.clone() }))
    }
}

fn held_place(place: &RecordPlace, prefix: &str) -> Result<(HeldTopic, RecordPlace), UnusableRequest> {
    let topic = HeldTopic::of_name(&place.topic, prefix).filter(|_| place.partition >= 0 && place.offset >= 0);
    let topic =
        topic.ok_or_else(|| UnusableRequest::Other("a place is not on a topic that holds webhooks".to_owned()))?;
    Ok((topic, place.clone()))
}

fn key(pending: &PendingRequest) -> String {
    format!("{REQUEST_KEY}{}", pending.request.request_id)
}

fn is_id(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::release::v1::{ReleaseFilter, ReleaseRecords};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn request(id: &str, state: ReleaseState, what: Option<What>) -> ReleaseRequest {
        let requested_by = "me".to_owned();
        ReleaseRequest {
            request_id: id.to_owned(),
            requested_by,
            state: state.into(),
            what,
            ..ReleaseRequest::default()
        }
    }

    fn see(pending: &mut PendingRequests, request: ReleaseRequest, second: i64) {
        let record = marker::request("payments", request);
        pending.see(record.key.as_bytes(), Some(&record.value), at(second));
    }

    fn next(pending: &PendingRequests) -> Option<String> {
        pending.next().map(|pending| pending.request.request_id)
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_the_oldest_request_is_next_unless_it_failed() {
        let mut pending = PendingRequests::default();
        let asked = |id| request(id, ReleaseState::Requested, None);
        see(&mut pending, asked("b"), 2);
        see(&mut pending, asked("a"), 3);
        assert_eq!(next(&pending).as_deref(), Some("b"));
        let first = pending.next().unwrap();
        assert!(pending.has(&first));
        pending.failed(&first);
        assert_eq!(next(&pending).as_deref(), Some("a"));
        see(&mut pending, request("b", ReleaseState::Done, None), 4);
        assert!(!pending.has(&first));
        assert_eq!(next(&pending).as_deref(), Some("a"));
        pending.see(b"request:a", None, at(5));
        assert_eq!(next(&pending), None);
    }

    #[test]
    fn what_is_no_request_is_passed_over_and_those_that_wait_are_bounded() {
        let mut pending = PendingRequests::default();
        let other = marker::request("payments", request("other", ReleaseState::Requested, None)).value;
        for (key, value) in [
            (&b"request:mine"[..], other.as_slice()),
            (b"request:", &other),
            (b"request:a b", &other),
            (b"00112233445566778899aabbccddeeff", &other),
            (b"request:junk", &[0xff]),
            (&[0xff], &other),
        ] {
            pending.see(key, Some(value), at(1));
        }
        let unknown = request("unknown", ReleaseState::Unspecified, None);
        see(&mut pending, unknown, 1);
        assert_eq!(next(&pending), None);
        for number in 0..PENDING_MAX {
            see(&mut pending, request(&format!("r{number}"), ReleaseState::Requested, None), 9);
        }
        assert!(!pending.passed_over());
        see(&mut pending, request("one-more", ReleaseState::Requested, None), 9);
        assert_eq!((pending.by_key.len(), pending.passed_over()), (PENDING_MAX, true));
        pending.clear();
        assert!(!pending.passed_over());
    }

    fn check(what: Option<What>) -> Result<RequestedRecords, String> {
        let request = request("r", ReleaseState::Requested, what);
        let pending = PendingRequest { requested_at: at(100), request };
        pending.check("payments").map(|(records, _)| records).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_request_never_reaches_what_came_after_it() {
        let until = |seconds: Option<i64>| {
            let until = seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
            let filter = ReleaseFilter { from: vec!["rejected".to_owned()], until, ..ReleaseFilter::default() };
            match check(Some(What::Filter(filter))).unwrap() {
                RequestedRecords::Filter(filter) => (filter.topics(), filter.period.until.unwrap()),
                RequestedRecords::Places(_) => panic!(),
            }
        };
        for (seconds, expected) in [(None, 100), (Some(500), 100), (Some(50), 50)] {
            assert_eq!(until(seconds), (vec![HeldTopic::Rejected], at(expected)));
        }
    }

    #[test]
    fn a_request_that_cannot_be_carried_out_says_why() {
        let places = |topic: &str, count| {
            let place = RecordPlace { topic: topic.to_owned(), partition: 0, offset: 1 };
            Some(What::Records(ReleaseRecords { places: vec![place; count] }))
        };
        assert!(check(places("payments.quarantine.v1", 1000)).is_ok());
        for (what, expected) in [
            (None, "neither a filter nor records"),
            (places("payments.quarantine.v1", 0), "1 to 1000 places"),
            (places("payments.quarantine.v1", 1001), "1 to 1000 places"),
            (places("payments.smart-glocal.ready-to-confirm.v1", 1), "not on a topic that holds webhooks"),
            (
                Some(What::Filter(ReleaseFilter { from: vec!["events".to_owned()], ..ReleaseFilter::default() })),
                "no topic `events` holds webhooks",
            ),
        ] {
            let told = check(what).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
    }
}
