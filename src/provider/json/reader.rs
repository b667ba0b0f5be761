//! Reads the fields of a provider's JSON: lenient about how a value is written, strict about what it means. A field that cannot be
//! read is left out, and its path is noted; its value stays in the evidence.
//! Must not know any provider.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::decimal::Decimal;
use super::tree::{Kind, Object, Value};
use crate::message::can_tell;

/// Paths that are noted at most; one more entry says that there are others.
const PATHS_MAX: usize = 64;
const AND_OTHERS: &str = "…";

/// The paths of the fields that stand in a body and could not be read: `session.payout_list[0].customer`.
#[derive(Debug, Default)]
pub struct Unread {
    paths: RefCell<Vec<String>>,
}

impl Unread {
    /// The paths, each once, at most 64 and then `…`.
    pub fn into_paths(self) -> Vec<String> {
        self.paths.into_inner()
    }

    fn note(&self, path: String) {
        let mut paths = self.paths.borrow_mut();
        match paths.len() {
            _ if paths.contains(&path) => {}
            0..PATHS_MAX => paths.push(path),
            PATHS_MAX => paths.push(AND_OTHERS.to_owned()),
            _ => {}
        }
    }
}

/// Reads the fields of one object.
#[derive(Clone, Copy)]
pub struct Reader<'r, 'a> {
    object: Object<'a>,
    path: Path<'r>,
    unread: &'r Unread,
}

/// Where an object stands in the body.
#[derive(Clone, Copy)]
enum Path<'r> {
    /// It is the body.
    Body,
    /// It is the named field of another.
    Field(&'r Path<'r>, &'r str),
    /// It is an element of a list.
    Element(&'r Path<'r>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => Ok(()),
            Self::Field(Self::Body, name) => formatter.write_str(name),
            Self::Field(parent, name) => write!(formatter, "{parent}.{name}"),
            Self::Element(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

impl<'r, 'a> Reader<'r, 'a> {
    /// Reads a whole body, and notes in `unread` what it cannot read.
    pub fn new(body: Object<'a>, unread: &'r Unread) -> Self {
        Self { object: body, path: Path::Body, unread }
    }

    /// The same object; what cannot be read of it is noted elsewhere, where it is an event of its own.
    pub fn noting_in<'u>(&self, unread: &'u Unread) -> Reader<'u, 'a>
    where
        'r: 'u,
    {
        Reader { object: self.object, path: self.path, unread }
    }

    /// The object itself.
    pub fn tree(&self) -> Object<'a> {
        self.object
    }

    /// A field as `read` understands it; nothing where it is absent or null, or, noted, where `read` does not understand it.
    pub fn read<T>(&self, name: &str, read: impl FnOnce(Value<'a>) -> Option<T>) -> Option<T> {
        let value = self.object.value(name)?;
        let understood = read(value);
        if understood.is_none() {
            self.unread.note(Path::Field(&self.path, name).to_string());
        }
        understood
    }

    /// Notes a field that can be read and contradicts another.
    pub fn unreadable(&self, name: &str) {
        self.unread.note(Path::Field(&self.path, name).to_string());
    }

    /// A text, or a number as it is written.
    pub fn text(&self, name: &str) -> Option<String> {
        self.read(name, |value| text(value).map(Cow::into_owned))
    }

    /// A text that is not empty, and whole: with half of a surrogate pair in it, it would be the same as others.
    pub fn identity(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER))
    }

    /// A word: a text, a number as it is written, or `true` or `false`.
    pub fn word(&self, name: &str) -> Option<String> {
        self.read(name, |value| match value.kind() {
            Kind::Boolean(boolean) => Some(boolean.to_string()),
            _ => text(value).map(Cow::into_owned),
        })
    }

    /// A whole number of 64 bits: `321`, `10000.0`, `1e4`, or a text of digits alone. A text with a decimal point may be of another
    /// unit, so it is none.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.read(name, integer)
    }

    /// A decimal number, as a number or as a text, understood by `read`.
    pub fn decimal<T>(&self, name: &str, read: impl FnOnce(Decimal) -> Option<T>) -> Option<T> {
        self.read(name, |value| Decimal::parse(&text(value)?).and_then(read))
    }

    /// True or false, also as a text.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.read(name, |value| match value.kind() {
            Kind::Boolean(boolean) => Some(boolean),
            Kind::Text(text) => text.parse().ok(),
            _ => None,
        })
    }

    /// An instant in ISO 8601 with its offset from UTC, in any form of it.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        self.read(name, |value| instant(&text(value)?))
    }

    /// The same, or without an offset: then the clocks of `zone` show it. A time that they show twice is taken as the first of the
    /// two; one that they skip, as if they had not yet been put forward.
    pub fn time_in(&self, name: &str, zone: &TimeZone) -> Option<Timestamp> {
        self.read(name, |value| {
            let text = text(value)?;
            let shown = || text.parse::<DateTime>().ok().filter(|_| has_time_of_day(&text));
            let in_zone = || zone.to_ambiguous_timestamp(shown()?).compatible().ok();
            instant(&text).or_else(in_zone).filter(|instant| can_tell(*instant))
        })
    }

    /// An object, read by `read`. An empty list is an empty object.
    pub fn object<T>(&self, name: &str, read: impl FnOnce(&Reader<'_, 'a>) -> T) -> Option<T> {
        let path = Path::Field(&self.path, name);
        let reader = |object| Reader { object, path, unread: self.unread };
        match self.object.value(name)?.kind() {
            Kind::Object(object) => Some(read(&reader(object))),
            Kind::List(items) if items.is_empty() => Some(read(&reader(Object::default()))),
            _ => {
                self.unread.note(path.to_string());
                None
            }
        }
    }

    /// A list of objects, each read by `read`; empty where it is absent or null. What is no object is left out.
    pub fn list<T>(&self, name: &str, mut read: impl FnMut(&Reader<'_, 'a>) -> T) -> Vec<T> {
        let Some(items) = self.read(name, Value::elements) else { return Vec::new() };
        let list = Path::Field(&self.path, name);
        let mut all = Vec::new();
        for (index, item) in items.enumerate() {
            let path = Path::Element(&list, index);
            match item.kind() {
                Kind::Object(object) => all.push(read(&Reader { object, path, unread: self.unread })),
                _ => self.unread.note(path.to_string()),
            }
        }
        all
    }

    /// An object's fields as texts: a text as it is, anything else as its JSON; empty where it is absent, null, or an empty list.
    pub fn text_map(&self, name: &str) -> BTreeMap<String, String> {
        let text = |value: Value<'_>| match value.kind() {
            Kind::Text(text) => text.into_owned(),
            _ => value.json().to_owned(),
        };
        let texts = |object: &Reader<'_, 'a>| {
            object.object.fields().map(|(field, value)| (field.into_owned(), text(value))).collect()
        };
        self.object(name, texts).unwrap_or_default()
    }

    /// A field's JSON as received, for parts whose shape the contract does not give.
    pub fn json(&self, name: &str) -> Option<String> {
        self.object.value(name).map(|value| value.json().to_owned())
    }

    /// The fields that are none of `known`, as JSON: what a contract does not name and a subscriber may need.
    pub fn others(&self, known: &[&str]) -> BTreeMap<String, String> {
        let others = self.object.fields().filter(|(name, _)| !known.contains(&name.as_ref()));
        others.map(|(name, value)| (name.into_owned(), value.json().to_owned())).collect()
    }
}

/// A whole number, also as a text.
pub(super) fn integer(value: Value<'_>) -> Option<i64> {
    match value.kind() {
        Kind::Number(number) => Decimal::parse(number)?.whole(),
        Kind::Text(text) => Decimal::parse(&text).filter(|_| !text.contains(['.', 'e', 'E']))?.whole(),
        Kind::Null | Kind::Boolean(_) | Kind::List(_) | Kind::Object(_) => None,
    }
}

/// A text, or a number as it is written.
fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value.kind() {
        Kind::Text(text) => Some(text),
        Kind::Number(text) => Some(Cow::Borrowed(text)),
        Kind::Null | Kind::Boolean(_) | Kind::List(_) | Kind::Object(_) => None,
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|instant| can_tell(*instant))
}

/// A date alone tells no time, and an offset that is no part of an instant must not be passed over.
fn has_time_of_day(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.');
    text.split_once([' ', 'T', 't']).is_some_and(|(_, time)| time.contains(':') && time.bytes().all(is_plain))
}

#[cfg(test)]
mod tests;
