//! A provider's JSON: parsed into a tree of its own, read field by field, and searched for what its event's id leaves out.
//! Must not know any provider. Complaints name fields, never values.

mod decimal;
mod field;
mod place;
mod reader;
mod tree;

use std::borrow::Cow;

pub use decimal::Decimal;
pub use place::{Place, ranges};
pub use reader::{Reader, Unread};
pub use tree::{JsonDocument, Kind, Object, Value};

use super::event::Undecodable;
use crate::message::event::v1::QuarantineReason;

/// What may stand before a JSON text and is no part of it (RFC 8259, section 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The body as one JSON object. A byte order mark before it is passed over.
///
/// # Errors
/// Not UTF-8, not JSON, or JSON that is not an object.
pub fn parse(body: &[u8]) -> Result<JsonDocument<'_>, Undecodable> {
    JsonDocument::parse(text(body)?).map_err(|error| no_object(&error))
}

/// The body as JSON of any kind; none where it is something else. A byte order mark before it is passed over.
pub fn any(body: &[u8]) -> Option<JsonDocument<'_>> {
    JsonDocument::parse_any(text(body).ok()?).ok()
}

/// The text in one field of the body, which is read no further.
///
/// # Errors
/// As [`parse`].
pub fn lone_text<'b>(body: &'b [u8], name: &str) -> Result<Option<Cow<'b, str>>, Undecodable> {
    Ok(lone_value(body, name)?.and_then(|value| match value.kind() {
        Kind::Text(text) => Some(text),
        _ => None,
    }))
}

/// The whole number in one field of the body, as [`Reader::integer`] reads it; the body is read no further.
///
/// # Errors
/// As [`parse`].
pub fn lone_integer(body: &[u8], name: &str) -> Result<Option<i64>, Undecodable> {
    Ok(lone_value(body, name)?.and_then(reader::integer))
}

/// One field's value; an object or a list looks empty.
fn lone_value<'b>(body: &'b [u8], name: &str) -> Result<Option<Value<'b>>, Undecodable> {
    let json = field::json_of(text(body)?, name).map_err(|error| no_object(&error))?;
    Ok(json.map(Value::lone))
}

fn text(body: &[u8]) -> Result<&str, Undecodable> {
    std::str::from_utf8(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)).map_err(|error| Undecodable {
        reason: QuarantineReason::NotUtf8,
        detail: format!("the body is not UTF-8 from byte {} on", error.valid_up_to()),
    })
}

fn no_object(error: &serde_json::Error) -> Undecodable {
    match error.classify() {
        serde_json::error::Category::Data => {
            Undecodable { reason: QuarantineReason::WrongShape, detail: "the body is not a JSON object".to_owned() }
        }
        _ => Undecodable {
            reason: QuarantineReason::NotJson,
            detail: format!("the body is not JSON: line {}, column {}", error.line(), error.column()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_not_an_object() {
        let reason = |body: &[u8]| parse(body).err().map(|undecodable| undecodable.reason);
        assert_eq!(reason(b""), Some(QuarantineReason::NotJson));
        assert_eq!(reason(b"{"), Some(QuarantineReason::NotJson));
        assert_eq!(reason(b"{} x"), Some(QuarantineReason::NotJson));
        assert_eq!(reason(b"[]"), Some(QuarantineReason::WrongShape));
        assert_eq!(reason(b"7"), Some(QuarantineReason::WrongShape));
        assert_eq!(reason(b"{\"a\":\"\xff\"}"), Some(QuarantineReason::NotUtf8));
        assert_eq!(reason("[".repeat(50_000).as_bytes()), Some(QuarantineReason::WrongShape));
        assert_eq!(reason(b"\xef\xbb\xbf{}"), None);
    }

    #[test]
    fn keeps_absent_and_null_apart_from_empty() {
        let document = parse(br#"{"a":null,"b":""}"#).unwrap();
        let object = document.object();
        assert!(object.value("a").is_none() && object.value("c").is_none());
        assert!(matches!(object.value("b").unwrap().kind(), Kind::Text(text) if text.is_empty()));
        assert!(object.has("a") && !object.has("c"));
    }

    #[test]
    fn takes_the_last_of_a_repeated_name_in_any_spelling() {
        let document = parse(br#"{"a":1,"\u0061":2,"\ud800":3}"#).unwrap();
        let object = document.object();
        assert_eq!(object.value("a").unwrap().json(), "2");
        assert_eq!(object.value("\u{fffd}").unwrap().json(), "3");
    }

    #[test]
    fn survives_50_000_nested_brackets() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
        let document = parse(deep.as_bytes()).unwrap();
        assert_eq!(document.object().value("a").unwrap().elements().unwrap().count(), 1);
    }
}
