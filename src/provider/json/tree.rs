//! A provider's JSON as a tree: names and values in the order in which they stand, numbers as they are written, and of each value
//! its own text. Parts are parsed when somebody looks inside, once.
//! Must not know any provider, nor how lenient its readers are. The parser beneath is known here alone.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object; where a name stands twice, the last one counts, as in most parsers.
#[derive(Default)]
pub struct Object<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// A JSON value.
pub struct Value<'a> {
    json: &'a str,
    /// In a box: few values have something inside.
    inside: OnceCell<Box<Inside<'a>>>,
}

/// What is inside a value.
enum Inside<'a> {
    Object(Object<'a>),
    List(Vec<Value<'a>>),
}

/// What a value is.
pub enum Kind<'t, 'a> {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number, as it is written.
    Number(&'a str),
    /// A text, without its escapes. Half of a surrogate pair that stands alone, which no text can hold, is U+FFFD.
    Text(Cow<'a, str>),
    /// A list.
    List(&'t [Value<'a>]),
    /// An object.
    Object(&'t Object<'a>),
}

impl<'a> Object<'a> {
    /// The object that a text is, and nothing behind it.
    ///
    /// # Errors
    /// The parser's: of the category `Data` where the text is JSON and no object.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The field's value; `None` when it is absent or null.
    pub fn value(&self, name: &str) -> Option<&Value<'a>> {
        let (_, value) = self.fields.iter().rev().find(|(key, _)| key == name)?;
        (value.json != "null").then_some(value)
    }

    /// Whether the field stands there, null or not.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(key, _)| key == name)
    }

    /// The fields in their order, each of those that have one name.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

impl<'a> Value<'a> {
    fn new(raw: &'a RawValue) -> Self {
        Self { json: raw.get(), inside: OnceCell::new() }
    }

    /// The value's own text, as received.
    pub fn json(&self) -> &'a str {
        self.json
    }

    /// What it is.
    pub fn kind(&self) -> Kind<'_, 'a> {
        match self.json.as_bytes().first() {
            Some(b'{' | b'[') => match self.inside() {
                Inside::Object(object) => Kind::Object(object),
                Inside::List(items) => Kind::List(items),
            },
            Some(b'"') => Kind::Text(unescaped(self.json)),
            Some(b't') => Kind::Boolean(true),
            Some(b'f') => Kind::Boolean(false),
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number(self.json),
        }
    }

    /// The elements of a list. An object whose names are all numbers is a list too, as PHP may write one.
    pub fn elements(&self) -> Option<Elements<'_, 'a>> {
        let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        match self.kind() {
            Kind::List(items) => Some(Elements::OfList(items.iter())),
            Kind::Object(object) if object.fields().all(|(name, _)| is_number(name)) => {
                Some(Elements::OfObject(object.fields.iter()))
            }
            _ => None,
        }
    }

    fn inside(&self) -> &Inside<'a> {
        // The text was found to be JSON when its object was read.
        self.inside.get_or_init(|| {
            Box::new(if self.json.starts_with('{') {
                Inside::Object(Object::parse(self.json).unwrap_or_default())
            } else {
                let items: Vec<&'a RawValue> = serde_json::from_str(self.json).unwrap_or_default();
                Inside::List(items.into_iter().map(Self::new).collect())
            })
        })
    }
}

/// The elements of a list.
pub enum Elements<'t, 'a> {
    /// That is one.
    OfList(std::slice::Iter<'t, Value<'a>>),
    /// That is written as an object.
    OfObject(std::slice::Iter<'t, (Cow<'a, str>, Value<'a>)>),
}

impl<'t, 'a> Iterator for Elements<'t, 'a> {
    type Item = &'t Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::OfList(items) => items.next(),
            Self::OfObject(fields) => fields.next().map(|(_, value)| value),
        }
    }
}

/// What a JSON text says.
fn unescaped(json: &str) -> Cow<'_, str> {
    let inner = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
    if inner.contains('\\') {
        return serde_json::from_str(json).map(|Text(text)| text).unwrap_or_default();
    }
    Cow::Borrowed(inner)
}

/// A JSON text in which anything may stand.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Text<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON text")
            }
            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Text<'de>, E> {
                std::str::from_utf8(bytes).map(|text| Text(Cow::Borrowed(text))).map_err(E::custom)
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text<'de>, E> {
                String::from_utf8(without_lone_halves(bytes)).map(|text| Text(Cow::Owned(text))).map_err(E::custom)
            }
        }
        // As bytes, for then the parser gives halves of surrogate pairs that stand alone, as if they were letters.
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Puts U+FFFD for each half of a surrogate pair: as the three bytes that UTF-8 would have for it, if it had any.
fn without_lone_halves(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for place in 0..bytes.len() {
        if let Some(three @ [0xed, 0xa0..=0xbf, _]) =
            bytes.get_mut(place..).and_then(|rest| rest.first_chunk_mut::<3>())
        {
            *three = [0xef, 0xbf, 0xbd];
        }
    }
    bytes
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
                while let Some(Text(name)) = map.next_key()? {
                    fields.push((name, Value::new(map.next_value()?)));
                }
                Ok(Object { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
