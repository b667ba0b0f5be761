//! Reads a provider's JSON field by field: exact numbers, absent and null apart from empty, and a path in every complaint.
//! Must not know any provider. Complaints name fields, never values.

mod place;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub use place::{Place, ranges};

use super::event::Undecodable;
use crate::message::event::v1::QuarantineReason;

/// A JSON object whose fields are still text; where a name stands twice, the last one counts, as in most parsers.
pub struct Object<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// A JSON value that is still text, until somebody looks inside; then it is parsed once, however often they look.
struct Value<'a> {
    text: &'a RawValue,
    /// In a box: few values have something inside.
    inside: OnceCell<Box<Inside<'a>>>,
}

/// What is inside a value.
enum Inside<'a> {
    Object(Object<'a>),
    List(Vec<Value<'a>>),
    /// It is neither an object nor a list.
    Nothing,
}

const NOT_DECIMAL: &str = "not a decimal number of at most 28 digits";

/// A field that is not what its contract says.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    path: String,
    problem: &'static str,
}

impl Wrong {
    /// A complaint about the field `name`.
    pub fn new(name: impl Into<String>, problem: &'static str) -> Self {
        Self { path: name.into(), problem }
    }

    fn within(mut self, parent: &str) -> Self {
        self.path = format!("{parent}.{}", self.path);
        self
    }
}

impl From<Wrong> for Undecodable {
    fn from(wrong: Wrong) -> Self {
        Self { reason: QuarantineReason::WrongShape, detail: format!("{}: {}", wrong.path, wrong.problem) }
    }
}

/// The body as one JSON object.
///
/// # Errors
/// Not UTF-8, not JSON, or JSON that is not an object.
pub fn parse(body: &[u8]) -> Result<Object<'_>, Undecodable> {
    let text = std::str::from_utf8(body).map_err(|error| Undecodable {
        reason: QuarantineReason::NotUtf8,
        detail: format!("the body is not UTF-8 from byte {} on", error.valid_up_to()),
    })?;
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Undecodable { reason: QuarantineReason::WrongShape, detail: "the body is not a JSON object".to_owned() }
        }
        _ => Undecodable {
            reason: QuarantineReason::NotJson,
            detail: format!("the body is not JSON: line {}, column {}", error.line(), error.column()),
        },
    })
}

impl<'a> Object<'a> {
    /// The field's JSON text; `None` when it is absent or null.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.value(name).map(|value| value.text)
    }

    fn value(&self, name: &str) -> Option<&Value<'a>> {
        let (_, value) = self.fields.iter().rev().find(|(key, _)| key == name)?;
        (value.text.get() != "null").then_some(value)
    }

    /// Whether the field stands there, null or not.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(key, _)| key == name)
    }

    /// A field's JSON text as received, for parts whose shape the contract does not give.
    pub fn json(&self, name: &str) -> Option<String> {
        self.raw(name).map(|value| value.get().to_owned())
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<String>, Wrong> {
        Ok(self.text_as_it_stands(name)?.map(Cow::into_owned))
    }

    /// A text that must stand there and not be empty.
    pub fn required_text(&self, name: &str) -> Result<String, Wrong> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Wrong::new(name, "missing or empty")),
        }
    }

    /// An identifier: a text, or a number taken as it is written.
    pub fn identifier(&self, name: &str) -> Result<Option<String>, Wrong> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        match value.get().as_bytes().first() {
            Some(b'"') => self.text(name),
            Some(b'-' | b'0'..=b'9') => Ok(Some(value.get().to_owned())),
            _ => Err(Wrong::new(name, "neither a text nor a number")),
        }
    }

    /// An integer of 64 bits.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Wrong> {
        self.read(name, "not an integer of 64 bits")
    }

    /// An integer of 64 bits that must stand there.
    pub fn required_integer(&self, name: &str) -> Result<i64, Wrong> {
        self.integer(name)?.ok_or_else(|| Wrong::new(name, "missing"))
    }

    /// True or false.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Wrong> {
        self.read(name, "neither true nor false")
    }

    /// A decimal number, exactly as written: a JSON number, or a text that holds one.
    pub fn decimal(&self, name: &str) -> Result<Option<Decimal>, Wrong> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let text = match value.get().as_bytes().first() {
            Some(b'"') => self.text_as_it_stands(name)?.unwrap_or_default(),
            _ => Cow::Borrowed(value.get()),
        };
        // The parser would pass over underscores.
        if text.contains('_') {
            return Err(Wrong::new(name, NOT_DECIMAL));
        }
        let parsed = match text.split_once(['e', 'E']) {
            // The second alone would round.
            Some((base, _)) => Decimal::from_str_exact(base).and_then(|_| Decimal::from_scientific(&text)),
            None => Decimal::from_str_exact(&text),
        };
        parsed.map(Some).map_err(|_| Wrong::new(name, NOT_DECIMAL))
    }

    /// An instant in ISO 8601 with its offset.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, Wrong> {
        self.text_as_it_stands(name)?
            .map(|text| text.parse().map_err(|_| Wrong::new(name, "not an ISO 8601 time with an offset")))
            .transpose()
    }

    /// An object, read by `read`.
    pub fn object<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Object<'a>) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Wrong> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let Inside::Object(object) = value.inside() else { return Err(Wrong::new(name, "not an object")) };
        read(object).map(Some).map_err(|wrong| wrong.within(name))
    }

    /// A list of objects, each read by `read`; empty when it is absent or null.
    pub fn list<T>(&self, name: &str, mut read: impl FnMut(&Object<'a>) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let Inside::List(items) = value.inside() else { return Err(Wrong::new(name, "not a list")) };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let place = || format!("{name}[{index}]");
                let Inside::Object(object) = item.inside() else { return Err(Wrong::new(place(), "not an object")) };
                read(object).map_err(|wrong| wrong.within(&place()))
            })
            .collect()
    }

    /// An object's fields as texts: a text as it is, anything else as its JSON; empty when it is absent, null, or an empty list.
    pub fn text_map(&self, name: &str) -> Result<BTreeMap<String, String>, Wrong> {
        if self.raw(name).is_some_and(|value| value.get().starts_with('[')) {
            // PHP writes an empty map as a list
            return self.list(name, |_| Err(Wrong::new(name, "not an object"))).map(|_: Vec<()>| BTreeMap::new());
        }
        let texts = self.object(name, |object| {
            let text = |value: &RawValue| match serde_json::from_str(value.get()) {
                Ok(text) if value.get().starts_with('"') => text,
                _ => value.get().to_owned(),
            };
            Ok(object.fields().map(|(field, value)| (field.to_owned(), text(value))).collect())
        })?;
        Ok(texts.unwrap_or_default())
    }

    /// The fields that are none of `known`, as JSON: what a contract does not name and a subscriber may need.
    pub fn others(&self, known: &[&str]) -> BTreeMap<String, String> {
        let others = self.fields().filter(|(name, _)| !known.contains(name));
        others.map(|(name, value)| (name.to_owned(), value.get().to_owned())).collect()
    }

    /// The fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), value.text))
    }

    /// A text, borrowed where it has no escapes.
    fn text_as_it_stands(&self, name: &str) -> Result<Option<Cow<'a, str>>, Wrong> {
        match self.raw(name).and_then(unescaped) {
            Some(text) => Ok(Some(Cow::Borrowed(text))),
            None => self.read::<String>(name, "not a text").map(|text| text.map(Cow::Owned)),
        }
    }

    fn read<T: Deserialize<'a>>(&self, name: &str, problem: &'static str) -> Result<Option<T>, Wrong> {
        self.raw(name).map(|value| serde_json::from_str(value.get()).map_err(|_| Wrong::new(name, problem))).transpose()
    }
}

impl<'a> Value<'a> {
    fn new(text: &'a RawValue) -> Self {
        Self { text, inside: OnceCell::new() }
    }

    fn inside(&self) -> &Inside<'a> {
        self.inside.get_or_init(|| {
            let text = self.text.get();
            let inside = match text.as_bytes().first() {
                Some(b'{') => serde_json::from_str(text).map_or(Inside::Nothing, Inside::Object),
                Some(b'[') => serde_json::from_str(text).map_or(Inside::Nothing, |items: Vec<&'a RawValue>| {
                    Inside::List(items.into_iter().map(Self::new).collect())
                }),
                _ => Inside::Nothing,
            };
            Box::new(inside)
        })
    }
}

/// What a JSON text says that has no escapes, which needs no second look: it was found to be JSON when its object was read.
fn unescaped(value: &RawValue) -> Option<&str> {
    let text = value.get().strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains('\\')).then_some(text)
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // Without room in advance: a body may be a list of very many empty objects, which are all kept.
                let mut fields = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, Value::new(map.next_value()?)));
                }
                Ok(Object { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A field's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object<'_> {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn names_the_place_of_what_is_wrong_and_never_its_value() {
        let body = object(r#"{"session":{"list":[{"id":"a"},{"id":4}]}}"#);
        let outcome = body.object("session", |session| session.list("list", |item| item.text("id")));
        let undecodable = Undecodable::from(outcome.unwrap_err());
        assert_eq!(undecodable.detail, "session.list[1].id: not a text");
    }

    #[test]
    fn keeps_absent_and_null_apart_from_empty() {
        let body = object(r#"{"a":null,"b":""}"#);
        assert_eq!(body.text("a").unwrap(), None);
        assert_eq!(body.text("b").unwrap(), Some(String::new()));
        assert_eq!(body.text("c").unwrap(), None);
        assert!(body.has("a") && !body.has("c"));
    }

    #[test]
    fn takes_the_last_of_a_repeated_name() {
        assert_eq!(object(r#"{"a":1,"a":2}"#).integer("a").unwrap(), Some(2));
    }

    #[test]
    fn reads_decimals_exactly() {
        let body = object(
            r#"{"a":49.95,"b":"0.10","c":1e3,"d":123456789012345678901234567890123,"e":"x","f":"1_000","g":1234567890.12345678901234567890123e0}"#,
        );
        assert_eq!(body.decimal("a").unwrap().unwrap().to_string(), "49.95");
        assert_eq!(body.decimal("b").unwrap().unwrap().to_string(), "0.10");
        assert_eq!(body.decimal("c").unwrap().unwrap().to_string(), "1000");
        assert!(["d", "e", "f", "g"].iter().all(|name| body.decimal(name).is_err()));
    }

    #[test]
    fn tells_what_is_not_an_object() {
        let reason = |body: &[u8]| parse(body).err().map(|undecodable| undecodable.reason);
        assert_eq!(reason(b""), Some(QuarantineReason::NotJson));
        assert_eq!(reason(b"{"), Some(QuarantineReason::NotJson));
        assert_eq!(reason(b"[]"), Some(QuarantineReason::WrongShape));
        assert_eq!(reason(b"7"), Some(QuarantineReason::WrongShape));
        assert_eq!(reason(b"{\"a\":\"\xff\"}"), Some(QuarantineReason::NotUtf8));
        assert_eq!(reason("[".repeat(50_000).as_bytes()), Some(QuarantineReason::WrongShape));
    }

    #[test]
    fn survives_50_000_nested_brackets() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
        let body = object(&deep);
        assert!(body.text("a").is_err());
        assert_eq!(body.list("a", |_| Ok(())), Err(Wrong::new("a[0]", "not an object")));
    }
}
