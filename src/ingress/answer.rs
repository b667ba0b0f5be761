//! Every way a webhook request can end, and the HTTP answer for each: one total table. A sender that wants a good answer in words
//! of its own gets it so. Must not know why it ended so. No answer tells a sender more than it must know.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::provider::{EventId, SuccessAnswer};

/// How a webhook request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its event is in Kafka, or on disk.
    Accepted(EventId),
    /// Its event was so before.
    Duplicate(EventId),
    /// Authentic, of unknown type, and kept.
    Unrecognized(EventId),
    /// Authentic, not decodable, and kept.
    Quarantined(EventId),
    /// Not verified, but kept because the source says so.
    Kept,
    /// Authentic: the sender asked whether it has the right address.
    Handshake,
    /// Not authentic.
    Unauthentic,
    /// Signed by the source, at a time that is not now by our clock, which is not known to be right.
    ClockUnproven,
    /// From an address that the source does not allow.
    Forbidden,
    /// No source has this path.
    UnknownSource,
    /// Not a POST.
    MethodNotAllowed,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The body did not come in time.
    BodyTooSlow,
    /// The client broke off inside the body: nobody reads this answer.
    BodyBroken,
    /// Kafka did not acknowledge in time, and no disk took it.
    NotAcknowledged,
    /// Too many bytes are in flight.
    Overloaded,
    /// The daemon is stopping.
    ShuttingDown,
    /// Its handler panicked.
    InternalError,
}

/// Every `outcome` label.
pub const OUTCOMES: [&str; 18] = [
    "accepted",
    "duplicate",
    "unrecognized",
    "quarantined",
    "kept",
    "handshake",
    "unauthentic",
    "clock_unproven",
    "forbidden",
    "unknown_source",
    "method_not_allowed",
    "body_too_large",
    "body_too_slow",
    "body_broken",
    "not_acknowledged",
    "overloaded",
    "shutting_down",
    "internal_error",
];

/// When to come again after an overload or while another replica takes over: soon.
const RETRY_SOON: Duration = Duration::from_secs(1);
/// When to come again while Kafka is away: short outages last seconds.
const RETRY_LATER: Duration = Duration::from_secs(3);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

struct Row {
    outcome: &'static str,
    code: StatusCode,
    status: &'static str,
    event_id: Option<EventId>,
    retry_after: Option<Duration>,
}

impl Answer {
    fn row(self) -> Row {
        let row = |outcome, code, status| Row { outcome, code, status, event_id: None, retry_after: None };
        let kept = |status, event_id| Row { event_id: Some(event_id), ..row(status, StatusCode::OK, status) };
        let later = |outcome, status, after| Row {
            retry_after: Some(after),
            ..row(outcome, StatusCode::SERVICE_UNAVAILABLE, status)
        };
        match self {
            Self::Accepted(id) => kept("accepted", id),
            Self::Duplicate(id) => kept("duplicate", id),
            Self::Unrecognized(id) => kept("unrecognized", id),
            Self::Quarantined(id) => kept("quarantined", id),
            Self::Kept => row("kept", StatusCode::OK, "quarantined"),
            Self::Handshake => row("handshake", StatusCode::OK, "handshake"),
            Self::Unauthentic => row("unauthentic", StatusCode::UNAUTHORIZED, "unauthentic"),
            // It comes again, by then maybe to a replica whose clock is right.
            Self::ClockUnproven => later("clock_unproven", "unavailable", RETRY_LATER),
            Self::Forbidden => row("forbidden", StatusCode::FORBIDDEN, "forbidden"),
            Self::UnknownSource => row("unknown_source", StatusCode::NOT_FOUND, "unknown_source"),
            Self::MethodNotAllowed => row("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::BodyTooLarge => row("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::BodyTooSlow => row("body_too_slow", StatusCode::REQUEST_TIMEOUT, "body_too_slow"),
            Self::BodyBroken => row("body_broken", StatusCode::BAD_REQUEST, "body_broken"),
            Self::NotAcknowledged => later("not_acknowledged", "unavailable", RETRY_LATER),
            Self::Overloaded => later("overloaded", "overloaded", RETRY_SOON),
            Self::ShuttingDown => later("shutting_down", "unavailable", RETRY_SOON),
            Self::InternalError => row("internal_error", StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
        }
    }

    /// One of each, in the order of [`OUTCOMES`].
    pub const fn each(id: EventId) -> [Self; OUTCOMES.len()] {
        [
            Self::Accepted(id),
            Self::Duplicate(id),
            Self::Unrecognized(id),
            Self::Quarantined(id),
            Self::Kept,
            Self::Handshake,
            Self::Unauthentic,
            Self::ClockUnproven,
            Self::Forbidden,
            Self::UnknownSource,
            Self::MethodNotAllowed,
            Self::BodyTooLarge,
            Self::BodyTooSlow,
            Self::BodyBroken,
            Self::NotAcknowledged,
            Self::Overloaded,
            Self::ShuttingDown,
            Self::InternalError,
        ]
    }

    /// The `outcome` label.
    pub fn outcome(self) -> &'static str {
        self.row().outcome
    }

    /// Whether the sender is told that all is well.
    pub fn is_success(self) -> bool {
        self.row().code.is_success()
    }

    /// The HTTP answer.
    pub fn response(self) -> Response<Full<Bytes>> {
        let row = self.row();
        let body = match row.event_id {
            Some(id) => format!(r#"{{"status":"{}","event_id":"{id}"}}"#, row.status),
            None => format!(r#"{{"status":"{}"}}"#, row.status),
        };
        let mut response = said(row.code, body.into(), JSON);
        let headers = response.headers_mut();
        if let Some(after) = row.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        if self == Self::MethodNotAllowed {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// An answer, and the words in which its sender is told that all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordedAnswer {
    /// How the request ended.
    pub answer: Answer,
    /// How it is said, if it ended well.
    pub wording: Wording,
}

/// How a sender is told that all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wording {
    /// As the table has it.
    Table,
    /// As the table has it, for so many events in one webhook.
    Events(usize),
    /// As this sender wants it.
    Own(Arc<SuccessAnswer>),
    /// By this JSON, which the sender asked for.
    Echo(Bytes),
}

impl WordedAnswer {
    /// The HTTP answer.
    pub fn response(self) -> Response<Full<Bytes>> {
        match self.wording {
            _ if !self.answer.is_success() => self.answer.response(),
            Wording::Table => self.answer.response(),
            Wording::Events(count) => {
                let row = self.answer.row();
                let body = format!(r#"{{"status":"{}","events":{count}}}"#, row.status);
                said(row.code, body.into(), JSON)
            }
            Wording::Own(own) => said(own.status, own.body.clone(), own.content_type.clone()),
            Wording::Echo(body) => said(StatusCode::OK, body, JSON),
        }
    }
}

impl From<Answer> for WordedAnswer {
    fn from(answer: Answer) -> Self {
        Self { answer, wording: Wording::Table }
    }
}

fn said(status: StatusCode, body: Bytes, content_type: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: EventId = EventId::from_bytes([0xab; 16]);

    #[test]
    fn every_outcome_is_a_label_and_every_label_an_outcome() {
        assert_eq!(Answer::each(ID).map(Answer::outcome), OUTCOMES);
    }

    #[test]
    fn only_a_good_answer_is_said_in_the_senders_own_words() {
        let own = SuccessAnswer {
            status: StatusCode::ACCEPTED,
            body: Bytes::from_static(b"[accepted]"),
            content_type: HeaderValue::from_static("text/plain"),
        };
        for answer in Answer::each(ID) {
            for wording in [Wording::Own(Arc::new(own.clone())), Wording::Events(3), Wording::Echo("{}".into())] {
                let told = WordedAnswer { answer, wording: wording.clone() }.response();
                let expected = match wording {
                    _ if !answer.is_success() => answer.response().status(),
                    Wording::Own(_) => StatusCode::ACCEPTED,
                    Wording::Table | Wording::Events(_) | Wording::Echo(_) => StatusCode::OK,
                };
                assert_eq!(told.status(), expected, "{answer:?}");
                assert_eq!(told.headers().get(RETRY_AFTER), answer.response().headers().get(RETRY_AFTER));
            }
        }
    }

    #[test]
    fn our_own_failure_is_503_with_whole_seconds_from_1_to_5() {
        for answer in Answer::each(ID) {
            let response = answer.response();
            let after =
                response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
            assert_eq!(after.is_some(), response.status() == 503, "{answer:?}");
            assert!(after.is_none_or(|seconds| (1..=5).contains(&seconds)));
        }
    }
}
