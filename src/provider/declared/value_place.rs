//! Where in a webhook a value stands: a header, the query, a place in the JSON body, or an entry of the signature's list.
//! Must not know what the value is for.

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;

use crate::provider::RawWebhook;
use crate::provider::json::{Kind, Object, Value};

/// A place that configuration names: `header:x-signature`, `query:data.id`, `pointer:/data/id`, `list:t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePlace {
    /// A header that stands once.
    Header(HeaderName),
    /// A parameter of the query that stands once.
    Query(String),
    /// A value in the body, which is JSON.
    Pointer(JsonPointer),
    /// An entry of the list that the signature's header holds.
    Entry(String),
    /// The words at several places, joined by points; those that are absent are left out: `pointer:/resource + pointer:/action`.
    Joined(Vec<ValuePlace>),
}

/// What stands between the places whose words are joined.
const JOINT: &str = " + ";

/// A place in JSON (RFC 6901): `/data/object/id`; empty: the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer {
    text: String,
    steps: Vec<String>,
}

/// How many steps a pointer has at most: bodies are no deeper than people can say.
const STEPS_MAX: usize = 32;

impl ValuePlace {
    /// Reads a place.
    ///
    /// # Errors
    /// What is wrong with it, and what to write, as half a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains(JOINT) {
            return Ok(Self::Joined(text.split(JOINT).map(Self::parse).collect::<Result<_, _>>()?));
        }
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "header" => Ok(Self::Header(header_name(rest)?)),
            "query" | "list" if rest.is_empty() => Err(format!("names nothing: write it as \"{kind}:NAME\"")),
            "query" => Ok(Self::Query(rest.to_owned())),
            "list" => Ok(Self::Entry(rest.to_owned())),
            "pointer" => Ok(Self::Pointer(JsonPointer::parse(rest)?)),
            _ => Err("names no place: write it as \"header:NAME\", \"query:NAME\" or \"pointer:/PATH\"".to_owned()),
        }
    }
}

impl ValuePlace {
    /// The headers that it reads.
    pub fn headers(&self) -> Vec<HeaderName> {
        match self {
            Self::Header(name) => vec![name.clone()],
            Self::Joined(places) => places.iter().flat_map(Self::headers).collect(),
            Self::Query(_) | Self::Pointer(_) | Self::Entry(_) => Vec::new(),
        }
    }
}

impl fmt::Display for ValuePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "header {name}"),
            Self::Query(name) => write!(formatter, "query parameter {name}"),
            Self::Pointer(pointer) => write!(formatter, "field {pointer}"),
            Self::Entry(name) => write!(formatter, "entry {name} of the signature header"),
            Self::Joined(places) => {
                let places: Vec<String> = places.iter().map(Self::to_string).collect();
                formatter.write_str(&places.join(" and "))
            }
        }
    }
}

impl JsonPointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// What is wrong with it, and what to write, as half a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::whole());
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err("has a pointer without a slash: write it as \"pointer:/data/id\"".to_owned());
        };
        let steps: Vec<String> = rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        if steps.len() > STEPS_MAX {
            return Err(format!("has a pointer of more than {STEPS_MAX} steps: name a field that is less deep"));
        }
        Ok(Self { text: text.to_owned(), steps })
    }

    /// The value there; none where it is absent or null.
    pub fn find<'t>(&self, root: Value<'t>) -> Option<Value<'t>> {
        let inside = |value: Value<'t>, step: &String| match value.kind() {
            Kind::Object(object) => object.value(step),
            Kind::List(mut elements) => elements.nth(step.parse().ok()?),
            Kind::Null | Kind::Boolean(_) | Kind::Number(_) | Kind::Text(_) => None,
        };
        self.steps.iter().try_fold(root, inside).filter(|value| !matches!(value.kind(), Kind::Null))
    }

    /// The whole body.
    pub fn whole() -> Self {
        Self { text: String::new(), steps: Vec::new() }
    }

    /// The steps from the root.
    pub fn steps(&self) -> &[String] {
        &self.steps
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.text.is_empty() { "(the whole body)" } else { &self.text })
    }
}

/// A header's name as configuration writes it.
///
/// # Errors
/// It is none.
pub fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text).map_err(|_| "names no header: write it as \"header:x-signature\"".to_owned())
}

/// A value as a word: a text, a number as it is written, or true or false; none where it is empty or something else.
pub fn word(value: Value<'_>) -> Option<Cow<'_, str>> {
    let word = match value.kind() {
        Kind::Text(text) => text,
        Kind::Number(number) => Cow::Borrowed(number),
        Kind::Boolean(boolean) => Cow::Borrowed(if boolean { "true" } else { "false" }),
        Kind::Null | Kind::List(_) | Kind::Object(_) => return None,
    };
    // With half of a surrogate pair in it, it would be the same as others.
    Some(word).filter(|word| !word.is_empty() && !word.contains(char::REPLACEMENT_CHARACTER))
}

/// What stands in a parameter of the query. None where it is absent; an error where it stands twice.
///
/// # Errors
/// It stands more than once.
pub fn parameter(webhook: &RawWebhook, name: &str) -> Result<Option<String>, Repeated> {
    let mut values = form_urlencoded::parse(webhook.query.as_bytes()).filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (first, None) => Ok(first.map(|(_, value)| value.into_owned())),
        (_, Some(_)) => Err(Repeated),
    }
}

/// A value that must stand once, and stands more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// The object that a value is.
pub fn object(value: Value<'_>) -> Option<Object<'_>> {
    match value.kind() {
        Kind::Object(object) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::json::JsonDocument;
    use crate::provider::tests::fixtures::raw;

    #[test]
    fn reads_places_and_says_what_is_wrong_with_others() {
        for (text, expected) in [
            ("header:Stripe-Signature", "header stripe-signature"),
            ("query:data.id", "query parameter data.id"),
            ("pointer:/a/0/b~1c", "field /a/0/b~1c"),
            ("pointer:", "field (the whole body)"),
            ("list:t", "entry t of the signature header"),
        ] {
            assert_eq!(ValuePlace::parse(text).unwrap().to_string(), expected);
        }
        for (text, expected) in [
            ("", "names no place"),
            ("body", "names no place"),
            ("header:", "names no header"),
            ("header:a b", "names no header"),
            ("query:", "names nothing"),
            ("pointer:a", "has a pointer without a slash"),
        ] {
            assert!(ValuePlace::parse(text).unwrap_err().starts_with(expected), "{text}");
        }
    }

    #[test]
    fn finds_values_in_objects_and_lists() {
        let text = r#"{"a":[{"b/c":7},{"b":"x"}],"n":null,"~":true,"":"empty name"}"#;
        let document = JsonDocument::parse_any(text).unwrap();
        let find = |pointer: &str| {
            let pointer = JsonPointer::parse(pointer).unwrap();
            pointer.find(document.root()).and_then(|value| word(value).map(Cow::into_owned))
        };
        for (pointer, expected) in [
            ("/a/0/b~1c", Some("7")),
            ("/a/1/b", Some("x")),
            ("/~0", Some("true")),
            ("/", Some("empty name")),
            ("/a/2/b", None),
            ("/a/x/b", None),
            ("/n", None),
            ("/a", None),
            ("", None),
        ] {
            assert_eq!(find(pointer).as_deref(), expected, "{pointer}");
        }
    }

    #[test]
    fn takes_a_parameter_that_stands_once() {
        let mut webhook = raw("", "");
        webhook.query = "data.id=A%20b&type=payment&twice=1&twice=1&empty=".to_owned();
        assert_eq!(parameter(&webhook, "data.id"), Ok(Some("A b".to_owned())));
        assert_eq!(parameter(&webhook, "empty"), Ok(Some(String::new())));
        assert_eq!(parameter(&webhook, "none"), Ok(None));
        assert_eq!(parameter(&webhook, "twice"), Err(Repeated));
    }
}
