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
            instant(&text).or_else(|| zone.to_ambiguous_timestamp(shown()?).compatible().ok())
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
    text.parse().ok()
}

/// A date alone tells no time, and an offset that is no part of an instant must not be passed over.
fn has_time_of_day(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.');
    text.split_once([' ', 'T', 't']).is_some_and(|(_, time)| time.contains(':') && time.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::json;

    /// Reads one field `a` of this JSON; what is read, and what is noted.
    fn read<T>(value: &str, read: impl FnOnce(&Reader<'_, '_>) -> T) -> (T, Vec<String>) {
        let body = format!(r#"{{"a":{value}}}"#);
        let document = json::parse(body.as_bytes()).unwrap();
        let unread = Unread::default();
        let read = read(&Reader::new(document.object(), &unread));
        (read, unread.into_paths())
    }

    /// Every value is read as expected, and noted exactly where it is not read and not null.
    #[track_caller]
    fn check<T: PartialEq + fmt::Debug>(by: impl Fn(&Reader<'_, '_>) -> Option<T>, cases: &[(&str, Option<T>)]) {
        for (value, expect) in cases {
            let (seen, unread) = read(value, &by);
            assert_eq!(seen, *expect, "{value}");
            let noted: &[&str] = if expect.is_none() && *value != "null" { &["a"] } else { &[] };
            assert_eq!(unread, noted, "{value}");
        }
    }

    #[test]
    fn reads_texts_and_numbers_as_texts() {
        let text = |text: &str| Some(text.to_owned());
        check(
            |reader| reader.text("a"),
            &[
                ("{}", None),
                ("[]", None),
                ("true", None),
                ("null", None),
                (r#""""#, text("")),
                (r#""x""#, text("x")),
                ("77", text("77")),
                ("-1.50e3", text("-1.50e3")),
                (r#""Gift \ud83d""#, text("Gift \u{fffd}")),
                (r#""\ud83d\ude00 \udc00\ud800""#, text("😀 \u{fffd}\u{fffd}")),
            ],
        );
        check(|reader| reader.word("a"), &[("true", text("true")), (r#""false""#, text("false")), ("[1]", None)]);
    }

    #[test]
    fn reads_whole_numbers_in_every_form() {
        check(
            |reader| reader.integer("a"),
            &[
                (r#""""#, None),
                (r#""x""#, None),
                (r#"" 1""#, None),
                (r#""100.00""#, None),
                (r#""1e4""#, None),
                ("1.5", None),
                ("true", None),
                ("[1]", None),
                ("9223372036854775808", None),
                ("321", Some(321)),
                (r#""321""#, Some(321)),
                ("10000.0", Some(10_000)),
                ("1e4", Some(10_000)),
                (r#""-7""#, Some(-7)),
            ],
        );
    }

    #[test]
    fn reads_booleans() {
        check(
            |reader| reader.boolean("a"),
            &[("1", None), (r#""yes""#, None), ("{}", None), ("false", Some(false)), (r#""true""#, Some(true))],
        );
    }

    #[test]
    fn reads_instants_with_an_offset_in_any_form() {
        let at = Some("2024-05-27T02:03:00Z".parse::<Timestamp>().unwrap());
        check(
            |reader| reader.time("a"),
            &[
                (r#""""#, None),
                (r#""0000-00-00 00:00:00""#, None),
                (r#""2024-05-27 02:03:00""#, None),
                (r#""2024-05-27""#, None),
                ("1716775380", None),
                (r#""27/05/2024""#, None),
                (r#""2024-05-27T02:03:00Z""#, at),
                (r#""2024-05-27 02:03:00Z""#, at),
                (r#""2024-05-27T02:03:00.000000Z""#, at),
                (r#""2024-05-27T04:03:00+0200""#, at),
                (r#""2024-05-27 04:03:00+02:00""#, at),
                (r#""2024-05-27T04:03:00+02""#, at),
            ],
        );
    }

    #[test]
    fn reads_times_without_an_offset_where_the_zone_is_known() {
        let mexico = jiff::tz::TimeZoneDatabase::bundled().get("America/Mexico_City").unwrap();
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        // TZ=UTC date -d 'TZ="America/Mexico_City" 2022-07-15 12:00:00'; summer time ended for good in October 2022
        check(
            |reader| reader.time_in("a", &mexico),
            &[
                (r#""""#, None),
                (r#""2024-07-15""#, None),
                (r#""0000-00-00 00:00:00""#, None),
                (r#""2024-02-30 12:34:56""#, None),
                (r#""2024-07-15 24:00:00""#, None),
                (r#""2024-07-15 12:34:56[America/New_York]""#, None),
                (r#""9999-12-31 23:59:59-20:00""#, None),
                ("1721068496", None),
                (r#""2022-07-15 12:00:00""#, at("2022-07-15T17:00:00Z")),
                (r#""2024-07-15 12:34:56""#, at("2024-07-15T18:34:56Z")),
                (r#""2024-07-15T12:34:56""#, at("2024-07-15T18:34:56Z")),
                (r#""2024-07-15T12:34:56Z""#, at("2024-07-15T12:34:56Z")),
                (r#""2021-10-31 01:30:00""#, at("2021-10-31T06:30:00Z")),
                (r#""2021-04-04 02:30:00""#, at("2021-04-04T08:30:00Z")),
            ],
        );
    }

    #[test]
    fn reads_objects_and_lists_as_php_writes_them() {
        let ids = |reader: &Reader<'_, '_>| reader.list("a", |item| item.text("id").unwrap_or_default());
        for (value, expect, unread) in [
            ("null", vec![], vec![]),
            ("[]", vec![], vec![]),
            ("{}", vec![], vec![]),
            (r#"[{"id":"x"},{"id":2}]"#, vec!["x", "2"], vec![]),
            (r#"{"1":{"id":"x"},"7":{"id":"y"}}"#, vec!["x", "y"], vec![]),
            (r#"[{"id":"x"},3,{"id":{}}]"#, vec!["x", ""], vec!["a[1]", "a[2].id"]),
            (r#"{"id":"x"}"#, vec![], vec!["a"]),
            ("7", vec![], vec!["a"]),
        ] {
            assert_eq!(
                read(value, ids),
                (expect.into_iter().map(str::to_owned).collect(), unread.into_iter().map(str::to_owned).collect()),
                "{value}"
            );
        }
        check(
            |reader| reader.object("a", |object| object.text("b")),
            &[
                ("7", None),
                ("[1]", None),
                ("{}", Some(None)),
                ("[]", Some(None)),
                (r#"{"b":1}"#, Some(Some("1".to_owned()))),
            ],
        );
        let (map, unread) = read(r#"{"x":"1","y":[2]}"#, |reader| reader.text_map("a"));
        assert_eq!((map["x"].as_str(), map["y"].as_str(), unread.len()), ("1", "[2]", 0));
    }

    #[test]
    fn notes_each_path_once_and_not_more_than_so_many() {
        let list = format!("[{}]", vec![r#"{"b":[]}"#; 100].join(","));
        let ((), unread) = read(&list, |reader| {
            reader.list("a", |item| (item.text("b"), item.text("b")));
        });
        assert_eq!((unread.len(), unread[0].as_str(), unread[64].as_str()), (65, "a[0].b", "…"));
    }
}
