//! What the answer to a call says, by one total table. When in doubt it says that nothing is clear, for then the caller
//! asks for the status: a wrong end would be told to everyone. Must not know what the caller does with it.
//!
//! | body ↓, HTTP → | 2xx | 401, 403, 404, 429 | other 4xx | 5xx | all else |
//! | --- | --- | --- | --- | --- | --- |
//! | `ok` | `Ok`; of a status without its session, or of another session: `Unclear` | `NotProcessed` | `Unclear` | `Unclear` | `Unclear` |
//! | code of a request that was not processed | `NotProcessed` | `NotProcessed` | `NotProcessed` | `NotProcessed` | `Unclear` |
//! | code to try again | `TryAgain` | `NotProcessed` | `TryAgain` | `TryAgain` | `Unclear` |
//! | key exists | `KeyExists`; of a status: `Unclear` | `NotProcessed` | as 2xx | as 2xx | `Unclear` |
//! | listed refusal | `Refused`; of a status: `UnknownCode` | `NotProcessed` | as 2xx | `Unclear` | `Unclear` |
//! | any other code | `UnknownCode` | `NotProcessed` | `UnknownCode` | `Unclear` | `Unclear` |
//! | does not parse | `Unclear` | `NotProcessed` | `Unclear` | `Unclear` | `Unclear` |
//!
//! A 401, 403, 404 or 429 is mostly a gateway's, which does not know sessions: its body is not believed. A 5xx may come
//! after the effect, so it ends nothing; but an error that the provider itself names retryable is one with it, too.
//!
//! What counts as which row:
//! - An error is the object `error` with its `code`. With 400 and above its `status` is not looked at, for most of the
//!   provider's own examples have none; with 2xx it must be `error`. A list of one such object is that object, as PHP may
//!   write it; of several it is nothing, for nobody says which counts.
//! - It is ok where `status` is `ok` and `error` is absent, null or empty. `status` is read without regard to case: there is
//!   nothing else that `OK` could mean. Codes are not: an unknown one is tried again for a while, and ends nothing at once.
//! - Before the object there may be a byte order mark (RFC 8259, section 8.1); bytes that are not UTF-8 and lone halves of a
//!   surrogate pair become U+FFFD; a code or description may be a number; of a name that stands twice the last one counts.
//! - Neither `Content-Type` nor fields that no contract names are looked at.

use std::borrow::Cow;

use http::StatusCode;

use super::super::normalize::{next_action, session_status};
use super::{Operation, Reply, SessionView};
use crate::provider::json::{self, Kind, Object, Reader, Unread, Value};

/// Codes that speak of our signature, our project, or our request, and not of the session.
const NOT_PROCESSED_CODES: [&str; 4] =
    ["identification_error", "authentication_error", "authorization_error", "invalid_request"];

/// A code is a word.
const CODE_BYTES_MAX: usize = 128;
/// A description is a sentence; it becomes part of a record.
const DESCRIPTION_BYTES_MAX: usize = 1024;

/// What became of a call of `operation` on the session `session_id` that was answered with this status and body.
pub fn read(operation: Operation, session_id: &str, status: StatusCode, body: &[u8]) -> Reply {
    let class = Class::of(status);
    let said = match class {
        Class::NotProcessed => return Reply::NotProcessed,
        Class::Strange => return Reply::Unclear,
        Class::Success | Class::Refusal | Class::Failure => Said::of(class, session_id, body),
    };
    match (class, said, operation) {
        (Class::Success, Said::Ok(None), Operation::Status) => Reply::Unclear,
        (Class::Success, Said::Ok(view), _) => Reply::Ok(view),
        (_, Said::Error(error), _) => error.reply(class, operation),
        // What is said and the HTTP status contradict each other, or nothing is said.
        (_, Said::Ok(_) | Said::Nothing, _) => Reply::Unclear,
    }
}

/// What the HTTP status alone says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Success,
    NotProcessed,
    Refusal,
    Failure,
    Strange,
}

impl Class {
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Success,
            401 | 403 | 404 | 429 => Self::NotProcessed,
            400..=499 => Self::Refusal,
            500..=599 => Self::Failure,
            _ => Self::Strange,
        }
    }
}

/// What the body says.
enum Said {
    /// It is ok, with the session where it can be read.
    Ok(Option<SessionView>),
    /// An error.
    Error(Failure),
    /// Neither, or both, or something of another session.
    Nothing,
}

/// An error in the provider's words.
struct Failure {
    code: String,
    description: String,
}

impl Said {
    fn of(class: Class, session_id: &str, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let Ok(document) = json::parse(body.as_bytes()) else { return Self::Nothing };
        let object = document.object();
        let status = text(object, "status").map(|status| status.to_ascii_lowercase());
        match (class, status.as_deref()) {
            (Class::Success, Some("ok")) if !has_error(object) => Self::ok(session_id, object),
            (Class::Success, Some("error")) | (Class::Refusal | Class::Failure, _) => {
                Failure::of(object).map_or(Self::Nothing, Self::Error)
            }
            _ => Self::Nothing,
        }
    }

    fn ok(session_id: &str, object: Object<'_>) -> Self {
        let Some(Kind::Object(session)) = object.value("session").map(Value::kind) else { return Self::Ok(None) };
        let (status, next) = (word(session, "status"), word(session, "next_action"));
        let id = text(session, "id");
        // What is no word is not taken for what is absent.
        let view = match (status, next) {
            (Ok(Some(status)), Ok(next)) => {
                Some(SessionView { status: session_status(Some(&status)), next_action: next_action(next.as_deref()) })
            }
            _ => None,
        };
        match id {
            // An answer to somebody else's question.
            Some(id) if id != session_id => Self::Nothing,
            Some(_) => Self::Ok(view),
            None => Self::Ok(None),
        }
    }
}

/// Whether an error is told; PHP writes an empty object as a list.
fn has_error(object: Object<'_>) -> bool {
    match object.value("error").map(Value::kind) {
        None => false,
        Some(Kind::List(items)) => !items.is_empty(),
        Some(Kind::Object(error)) => error.fields().next().is_some(),
        Some(_) => true,
    }
}

impl Failure {
    fn of(object: Object<'_>) -> Option<Self> {
        match object.value("error")?.kind() {
            Kind::Object(error) => Self::read(error),
            Kind::List(mut items) => match (items.next()?.kind(), items.is_empty()) {
                (Kind::Object(error), true) => Self::read(error),
                _ => None,
            },
            _ => None,
        }
    }

    fn read(error: Object<'_>) -> Option<Self> {
        let code = text(error, "code").filter(|code| !code.is_empty())?;
        Some(Self { code, description: text(error, "description").unwrap_or_default() })
    }

    fn reply(self, class: Class, operation: Operation) -> Reply {
        let asks_only = operation == Operation::Status;
        match self.code.as_str() {
            code if NOT_PROCESSED_CODES.contains(&code) => Reply::NotProcessed,
            "internal_error" | "provider_timeout" | "provider_internal_error" | "capture_timeout" => Reply::TryAgain,
            // A status has no key.
            "idempotency_key_already_exists" if asks_only => Reply::Unclear,
            "idempotency_key_already_exists" => Reply::KeyExists,
            _ if class == Class::Failure => Reply::Unclear,
            "amount_less_allowed_provider" | "bank_card_expired" | "account_not_found" | "3DS_error" if !asks_only => {
                let (code, description) = self.bounded();
                Reply::Refused { code, description }
            }
            _ => {
                let (code, description) = self.bounded();
                Reply::UnknownCode { code, description }
            }
        }
    }

    fn bounded(self) -> (String, String) {
        (bounded(self.code, CODE_BYTES_MAX), bounded(self.description, DESCRIPTION_BYTES_MAX))
    }
}

fn bounded(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// The text of a JSON text or number; nothing of another value.
fn text(object: Object<'_>, name: &str) -> Option<String> {
    Reader::new(object, &Unread::default()).text(name)
}

/// A word, if one stands there.
///
/// # Errors
/// Something else stands there.
fn word<'a>(object: Object<'a>, name: &str) -> Result<Option<Cow<'a, str>>, ()> {
    match object.value(name).map(Value::kind) {
        None => Ok(None),
        Some(Kind::Text(word)) if !word.contains(char::REPLACEMENT_CHARACTER) => Ok(Some(word)),
        Some(_) => Err(()),
    }
}

/// Which code of a request that was not processed an answer names, for whoever has to mend it; nothing else of it is repeated.
pub fn not_processed_code(body: &[u8]) -> Option<&'static str> {
    let body = String::from_utf8_lossy(body);
    let Failure { code, .. } = Failure::of(json::parse(body.as_bytes()).ok()?.object())?;
    NOT_PROCESSED_CODES.into_iter().find(|known| *known == code)
}

/// How far a failure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureScope {
    /// This session alone: it is another project's, or unknown. Where our project is wrong, each session is answered so.
    Session,
    /// Every session of the source: our key, our address, too many calls, or the provider is away.
    Source,
}

/// How far the failure of a call reaches that was answered with this status and body.
pub fn failure_scope(status: StatusCode, body: &[u8]) -> FailureScope {
    match (status, not_processed_code(body)) {
        (StatusCode::TOO_MANY_REQUESTS, _) => FailureScope::Source,
        (_, Some("authorization_error" | "invalid_request")) | (StatusCode::NOT_FOUND, None) => FailureScope::Session,
        (_, _) => FailureScope::Source,
    }
}

/// Whether a code may speak of our account rather than of the session's.
pub fn is_of_account(code: &str) -> bool {
    code == "account_not_found"
}

#[cfg(test)]
mod tests;
