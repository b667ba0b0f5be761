//! A provider's JSON as a tree: names and values in the order in which they stand, numbers as they are written, and of each value
//! its own text. All of it lies in one list, each part before what is inside it: nothing recurses, however deep it is nested.
//! Must not know any provider, nor how lenient its readers are. The parser beneath is known here alone.

use std::borrow::Cow;
use std::{fmt, iter, mem};

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, Visitor};

/// Room is made in advance for a value in so many bytes: few are shorter, with their names.
const BYTES_A_NODE: usize = 16;

/// The names and values of a body, which is one JSON object.
pub struct JsonDocument<'a> {
    /// Its own node, and then those inside it.
    nodes: Vec<Node<'a>>,
}

/// A value with its name.
struct Node<'a> {
    /// What it says, or, where it is written with escapes, its JSON. Empty where there is none.
    name: &'a str,
    json: &'a str,
    /// How many of the nodes behind this one are inside it.
    inside: usize,
}

/// A JSON object; where a name stands twice, the last one counts, as in most parsers.
#[derive(Clone, Copy, Default)]
pub struct Object<'t> {
    nodes: &'t [Node<'t>],
}

/// A JSON value.
#[derive(Clone, Copy)]
pub struct Value<'t> {
    json: &'t str,
    inside: &'t [Node<'t>],
}

/// What a value is.
pub enum Kind<'t> {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number, as it is written.
    Number(&'t str),
    /// A text, without its escapes. Half of a surrogate pair that stands alone, which no text can hold, is U+FFFD.
    Text(Cow<'t, str>),
    /// A list.
    List(Elements<'t>),
    /// An object.
    Object(Object<'t>),
}

impl<'a> JsonDocument<'a> {
    /// The object that a text is, and nothing behind it.
    ///
    /// # Errors
    /// The parser's: of the category `Data` where the text is JSON and no object.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        if text.trim_ascii_start().starts_with('{') {
            let IgnoredAny = serde_json::from_str(text)?;
        } else {
            serde_json::from_str::<serde_json::Map<_, _>>(text)?;
        }
        Ok(Self { nodes: nodes(text) })
    }

    /// What a text is, and nothing behind it: an object, a list, or a value alone.
    ///
    /// # Errors
    /// The parser's.
    pub fn parse_any(text: &'a str) -> Result<Self, serde_json::Error> {
        let IgnoredAny = serde_json::from_str(text)?;
        Ok(Self { nodes: nodes(text) })
    }

    /// The value that it is.
    pub fn root(&self) -> Value<'_> {
        next(&mut self.nodes.as_slice()).map_or(Value::lone("null"), |(_, value)| value)
    }

    /// The object.
    pub fn object(&self) -> Object<'_> {
        Object { nodes: self.nodes.get(1..).unwrap_or_default() }
    }
}

impl<'t> Object<'t> {
    /// The field's value; `None` when it is absent or null.
    pub fn value(self, name: &str) -> Option<Value<'t>> {
        self.named(name).filter(|value| value.json != "null")
    }

    /// Whether the field stands there, null or not.
    pub fn has(self, name: &str) -> bool {
        self.named(name).is_some()
    }

    /// The fields in their order, each of those that have one name.
    pub fn fields(self) -> impl Iterator<Item = (Cow<'t, str>, Value<'t>)> {
        let mut rest = self.nodes;
        let said = |name: &'t str| if name.starts_with('"') { unescaped(name) } else { Cow::Borrowed(name) };
        iter::from_fn(move || next(&mut rest)).map(move |(name, value)| (said(name), value))
    }

    /// The last field of this name.
    fn named(self, name: &str) -> Option<Value<'t>> {
        let (mut place, mut found) = (0, None);
        while let Some(node) = self.nodes.get(place) {
            if node.name == name || node.name.starts_with('"') && unescaped(node.name) == name {
                found = self.nodes.get(place..);
            }
            place += 1 + node.inside;
        }
        next(&mut found?).map(|(_, value)| value)
    }
}

impl<'t> Value<'t> {
    /// A value of which only its own text is known: an object or a list looks empty.
    pub(super) fn lone(json: &'t str) -> Self {
        Self { json, inside: &[] }
    }

    /// The value's own text, as received.
    pub fn json(self) -> &'t str {
        self.json
    }

    /// What it is.
    pub fn kind(self) -> Kind<'t> {
        match self.json.as_bytes().first() {
            Some(b'{') => Kind::Object(Object { nodes: self.inside }),
            Some(b'[') => Kind::List(Elements { nodes: self.inside }),
            Some(b'"') => Kind::Text(unescaped(self.json)),
            Some(b't') => Kind::Boolean(true),
            Some(b'f') => Kind::Boolean(false),
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number(self.json),
        }
    }

    /// The elements of a list. An object whose names are all numbers is a list too, as PHP may write one.
    pub fn elements(self) -> Option<Elements<'t>> {
        let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        match self.kind() {
            Kind::List(items) => Some(items),
            Kind::Object(object) if object.fields().all(|(name, _)| is_number(&name)) => {
                Some(Elements { nodes: object.nodes })
            }
            _ => None,
        }
    }
}

/// The elements of a list that are still to come.
pub struct Elements<'t> {
    nodes: &'t [Node<'t>],
}

impl Elements<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl<'t> Iterator for Elements<'t> {
    type Item = Value<'t>;

    fn next(&mut self) -> Option<Self::Item> {
        next(&mut self.nodes).map(|(_, value)| value)
    }
}

/// The first value, and its name as its node has it; what is inside it is passed over.
fn next<'t>(nodes: &mut &'t [Node<'t>]) -> Option<(&'t str, Value<'t>)> {
    let (node, behind) = nodes.split_first()?;
    let (inside, behind) = behind.split_at_checked(node.inside)?;
    *nodes = behind;
    Some((node.name, Value { json: node.json, inside }))
}

/// The nodes of a text that is known to be JSON.
fn nodes(text: &str) -> Vec<Node<'_>> {
    let mut nodes: Vec<Node<'_>> = Vec::with_capacity(text.len() / BYTES_A_NODE);
    // The objects and lists whose ends are still to come.
    let mut open: Vec<usize> = Vec::new();
    let mut name = "";
    let (mut place, mut has_escapes) = (0, false);
    while let Some(first) = text.as_bytes().get(place) {
        let start = place;
        place += 1;
        match first {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => {}
            // The text before it is a name.
            b':' => {
                name = nodes.pop().map_or("", |node| if has_escapes { node.json } else { without_quotes(node.json) });
            }
            b'}' | b']' => {
                let (opened, count) = (open.pop().unwrap_or_default(), nodes.len());
                if let Some(node) = nodes.get_mut(opened) {
                    // Until now it went on to the end of all.
                    let behind = text.len() - place;
                    node.json = node.json.get(..node.json.len() - behind).unwrap_or_default();
                    node.inside = count - opened - 1;
                }
            }
            b'{' | b'[' => {
                open.push(nodes.len());
                let json = text.get(start..).unwrap_or_default();
                nodes.push(Node { name: mem::take(&mut name), json, inside: 0 });
            }
            _ => {
                let end = if *first == b'"' { end_of_text } else { end_of_word };
                (place, has_escapes) = end(text.as_bytes(), place);
                let json = text.get(start..place).unwrap_or_default();
                nodes.push(Node { name: mem::take(&mut name), json, inside: 0 });
            }
        }
    }
    nodes
}

/// The place behind the text that goes on at `place`, and whether there are escapes in it.
fn end_of_text(json: &[u8], mut place: usize) -> (usize, bool) {
    let mut has_escapes = false;
    loop {
        match json.get(place) {
            Some(b'"') | None => return (place + 1, has_escapes),
            Some(b'\\') => (place, has_escapes) = (place + 2, true),
            Some(_) => place += 1,
        }
    }
}

/// The same for a number or a word.
fn end_of_word(json: &[u8], place: usize) -> (usize, bool) {
    let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
    let rest = json.get(place..).unwrap_or_default();
    (place + rest.iter().position(is_end).unwrap_or(rest.len()), false)
}

/// What a JSON text says.
fn unescaped(json: &str) -> Cow<'_, str> {
    if json.contains('\\') {
        return serde_json::from_str(json).map(|Text(text)| text).unwrap_or_default();
    }
    Cow::Borrowed(without_quotes(json))
}

fn without_quotes(json: &str) -> &str {
    json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;

    fn json() -> impl Strategy<Value = Json> {
        let text = "[a-c\\\\\"\u{e9}\u{1f600}\n{}\\[\\],:]{0,4}";
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            text.prop_map(Json::from),
        ];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
                prop::collection::btree_map(text, inner, 0..6).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    /// What a value of the tree is; its numbers as the other parser reads them.
    fn rebuilt(value: Value<'_>) -> Json {
        match value.kind() {
            Kind::Null => Json::Null,
            Kind::Boolean(is_true) => is_true.into(),
            Kind::Number(number) => serde_json::from_str(number).unwrap(),
            Kind::Text(text) => text.into_owned().into(),
            Kind::List(items) => items.map(rebuilt).collect(),
            Kind::Object(object) => object.fields().map(|(name, value)| (name.into_owned(), rebuilt(value))).collect(),
        }
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_reads(value in json(), is_pretty in any::<bool>(), has_escapes in any::<bool>()) {
            let body = Json::from_iter([("a", value)]);
            let mut text = if is_pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
            if has_escapes {
                text = text.replace('b', "\\u0062").replace('\u{1f600}', "\\ud83d\\ude00");
            }
            let expected: Json = serde_json::from_str(&text).unwrap();
            let document = JsonDocument::parse(&text).unwrap();
            let object = document.object();
            let read: Json = object.fields().map(|(name, value)| (name.into_owned(), rebuilt(value))).collect();
            prop_assert_eq!(&read, &expected, "{}", &text);
            let alone: Json = serde_json::from_str(object.named("a").unwrap().json()).unwrap();
            prop_assert_eq!(&alone, &expected["a"], "its own text of {}", &text);
        }
    }
}
