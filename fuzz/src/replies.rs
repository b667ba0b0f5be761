//! Target `replies`: any answer to a call of the session API, compressed or not.
//!
//! An input is a letter for the call, a digit for the body's coding (0 as it is, 1 gzip, 2 deflate), three digits of a status,
//! lines of headers, an empty line, and the body. The session is always `ps_1`.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue, StatusCode};
use paybridge::confirmation::calls::content_encoding::decoded;
use paybridge::confirmation::calls::retry_after_and_date::{clock_skew, date, retry_after};
use paybridge::message::smart_glocal::v1::SessionStatus;
use paybridge::provider::smart_glocal::api::{
    Operation, Reply, failure_scope, is_of_account, not_processed_code, read, session,
};

use crate::fixtures::NOW;
use crate::request;

/// The session that was asked about.
pub const SESSION_ID: &str = "ps_1";
/// How much of a body is read.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The longest code and description that a reply has.
const CODE_BYTES_MAX: usize = 128;
const DESCRIPTION_BYTES_MAX: usize = 1024;
/// The longest wait that a provider can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);

/// Checks one input.
pub fn check(input: &[u8]) {
    let Some(([letter, coding, status @ ..], rest)) = input.split_first_chunk::<5>() else { return };
    let Ok(status) = StatusCode::from_bytes(status) else { return };
    let operation = match letter % 3 {
        0 => Operation::Confirm,
        1 => Operation::Cancel,
        _ => Operation::Status,
    };
    let (lines, body) = request::split_once(rest, b"\n\n").unwrap_or((rest, b""));
    let mut headers = request::headers(lines);
    check_times(&headers);
    if let Some(body) = decoded_body(*coding, &mut headers, body) {
        check_reply(operation, status, &body);
    }
}

fn check_times(headers: &HeaderMap) {
    assert!(retry_after(headers, NOW).is_none_or(|wait| wait <= RETRY_AFTER_MAX), "a longer wait than is allowed");
    let skew = clock_skew(headers, NOW, Duration::from_secs(1));
    assert_eq!(skew.is_some(), date(headers).is_some(), "a clock is compared that nobody told, or is not");
}

/// The body as it is read, from what was sent.
fn decoded_body(coding: u8, headers: &mut HeaderMap, body: &[u8]) -> Option<Bytes> {
    let (name, sent) = match coding % 3 {
        0 => ("", body.to_vec()),
        1 => ("gzip", gzip(body)?),
        _ => ("deflate", zlib(body)?),
    };
    if !name.is_empty() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    let sent = Bytes::from(sent);
    let read = decoded(headers, sent.clone(), BODY_BYTES_MAX);
    let is_bounded = read.as_ref().is_none_or(|read| read.len() <= BODY_BYTES_MAX || *read == sent);
    assert!(is_bounded, "a small body became a large one");
    if !name.is_empty() && body.len() <= BODY_BYTES_MAX {
        assert_eq!(read.as_deref(), Some(body), "{name} is read as something else");
    }
    read
}

fn check_reply(operation: Operation, status: StatusCode, body: &[u8]) {
    let reply = read(operation, SESSION_ID, status, body);
    assert_eq!(reply, read(operation, SESSION_ID, status, body), "one answer is read in two ways");
    let _scope = failure_scope(status, body);
    let asks_only = operation == Operation::Status;
    match &reply {
        Reply::Ok(view) => assert!(status.is_success() && (view.is_some() || !asks_only), "{reply:?} of {status}"),
        Reply::Refused { code, description } => {
            assert!(!asks_only && !status.is_server_error(), "a session ended by {status}");
            check_told(code, description);
            let untold = Reply::Refused { code: code.clone(), description: String::new() };
            assert_eq!(format!("{reply:?}"), format!("{untold:?}"), "a description is for no log");
            let _is_of_account = is_of_account(code);
        }
        Reply::UnknownCode { code, description } => {
            check_told(code, description);
            let untold = Reply::UnknownCode { code: code.clone(), description: String::new() };
            assert_eq!(format!("{reply:?}"), format!("{untold:?}"), "a description is for no log");
        }
        Reply::TryAgain | Reply::KeyExists => assert!(!matches!(status.as_u16(), 401 | 403 | 404 | 429), "{reply:?}"),
        Reply::NotProcessed => {
            let is_gateway = matches!(status.as_u16(), 401 | 403 | 404 | 429);
            assert!(is_gateway || not_processed_code(body).is_some(), "a call is taken for one without effect");
        }
        Reply::NotSent => panic!("what was answered was sent"),
        Reply::Unclear => {}
    }
    let of_status = read(Operation::Status, SESSION_ID, status, body);
    if let Some(shown) = session(SESSION_ID, status, body) {
        assert_eq!(shown.session.id, SESSION_ID, "another session is shown");
        let Reply::Ok(Some(view)) = of_status else { panic!("a session is shown of an answer that has none") };
        let shown = SessionStatus::try_from(shown.session.status);
        assert_eq!(shown, Ok(view.status), "one session in two states");
    }
}

fn check_told(code: &str, description: &str) {
    assert!(!code.is_empty() && code.len() <= CODE_BYTES_MAX, "a code of {} bytes", code.len());
    assert!(description.len() <= DESCRIPTION_BYTES_MAX, "a description of {} bytes", description.len());
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

fn zlib(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}
