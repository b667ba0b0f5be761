//! What the simulated provider sends back, in whole, in a flood, or drop by drop.
//! Must not know why.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::{Map, Value, json};
use tokio::time::{Interval, interval};

use super::faults::HUGE_BYTES;
use crate::message::smart_glocal::v1::{NextAction, SessionStatus};
use crate::provider::smart_glocal::api::SessionView;

/// What a flood is sent in.
const FLOOD_CHUNK: u32 = 64 * 1024;
/// Between two drops.
const DRIP_EVERY: Duration = Duration::from_millis(20);
/// Ten minutes of drops: longer than anybody waits, and not for ever.
const DRIPS: u32 = 30_000;

/// A body of padding, then the rest.
pub(super) struct Padded {
    chunk: Bytes,
    chunks: u32,
    pace: Option<Interval>,
    rest: Bytes,
}

pub(super) type SimulatedAnswer = Response<Padded>;

/// JSON with this status.
pub(super) fn json(status: StatusCode, body: &Value) -> SimulatedAnswer {
    let mut answer = plain(status, body.to_string());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Any text with this status.
pub(super) fn plain(status: StatusCode, text: impl Into<Bytes>) -> SimulatedAnswer {
    let mut answer = Response::new(Padded { chunk: Bytes::new(), chunks: 0, pace: None, rest: text.into() });
    *answer.status_mut() = status;
    answer
}

/// Success, with the session and these fields of it.
pub(super) fn ok(session_id: &str, view: SessionView, fields: Map<String, Value>) -> SimulatedAnswer {
    let mut session = fields;
    session.insert("id".to_owned(), session_id.into());
    session.insert("status".to_owned(), status_text(view.status).into());
    if let Some(next) = next_action_text(view.next_action) {
        session.insert("next_action".to_owned(), next.into());
    }
    json(StatusCode::OK, &json!({"status": "ok", "session": session}))
}

/// An error as the provider words it.
pub(super) fn error(status: StatusCode, code: &str) -> SimulatedAnswer {
    let description = "said by the simulated provider";
    json(status, &json!({"status": "error", "error": {"code": code, "description": description}}))
}

/// An error without `status` beside it.
pub(super) fn bare_error(status: StatusCode, code: &str) -> SimulatedAnswer {
    json(status, &json!({"error": {"code": code, "description": "said by the simulated provider"}}))
}

/// 429 with `Retry-After`.
pub(super) fn too_many(retry_after: &'static str) -> SimulatedAnswer {
    let mut answer = plain(StatusCode::TOO_MANY_REQUESTS, "slow down");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
    answer
}

/// A redirect that keeps method and body.
pub(super) fn redirect(path: &str) -> SimulatedAnswer {
    let mut answer = plain(StatusCode::TEMPORARY_REDIRECT, "elsewhere");
    if let Ok(location) = HeaderValue::from_str(path) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// The same answer behind a flood of spaces.
pub(super) fn huge(answer: SimulatedAnswer) -> SimulatedAnswer {
    let spaces = usize::try_from(FLOOD_CHUNK).unwrap_or_default();
    let chunk = Bytes::from(vec![b' '; spaces]);
    answer.map(|body| Padded { chunk, chunks: HUGE_BYTES / FLOOD_CHUNK, pace: None, rest: body.rest })
}

/// The same answer behind drops. Needs a runtime.
pub(super) fn drip(answer: SimulatedAnswer) -> SimulatedAnswer {
    let pace = Some(interval(DRIP_EVERY));
    answer.map(|body| Padded { chunk: Bytes::from_static(b" "), chunks: DRIPS, pace, rest: body.rest })
}

/// The same answer, compressed.
pub(super) fn gzip(mut answer: SimulatedAnswer) -> SimulatedAnswer {
    answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    answer.map(|body| {
        let mut compressed = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail.
        let written = compressed.write_all(&body.rest).and_then(|()| compressed.finish());
        Padded { rest: written.unwrap_or_default().into(), ..body }
    })
}

/// The same answer behind a byte order mark.
pub(super) fn marked(answer: SimulatedAnswer) -> SimulatedAnswer {
    answer.map(|body| Padded { rest: [b"\xef\xbb\xbf", &*body.rest].concat().into(), ..body })
}

fn status_text(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Created => "created",
        SessionStatus::InProgress => "in_progress",
        SessionStatus::Accepted => "accepted",
        SessionStatus::Cancelled => "cancelled",
        SessionStatus::Error => "error",
        SessionStatus::Unspecified => "a_status_of_later_days",
    }
}

fn next_action_text(next_action: NextAction) -> Option<&'static str> {
    match next_action {
        NextAction::Confirm => Some("confirm"),
        NextAction::Capture => Some("capture"),
        NextAction::Unspecified => None,
    }
}

impl Body for Padded {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.chunks > 0 {
            if let Some(pace) = &mut self.pace {
                ready!(pace.poll_tick(context));
            }
            self.chunks -= 1;
            return Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))));
        }
        let rest = std::mem::take(&mut self.rest);
        Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks == 0 && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match (self.chunks, u64::try_from(self.rest.len())) {
            (0, Ok(length)) => SizeHint::with_exact(length),
            _ => SizeHint::new(),
        }
    }
}
