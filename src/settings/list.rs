//! Values that the environment writes otherwise than TOML (lists), and numbers within bounds.
//! Must not know which keys have them.

use std::fmt;
use std::marker::PhantomData;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Value;
use serde::de::{DeserializeOwned, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::problem::explain;

/// Reads a list: a TOML list, or its text as the environment has it: `["a", "b"]`, or `a, b`; empty text is no element.
/// For `#[serde(deserialize_with = "list")]`.
///
/// # Errors
/// It is neither, or an element is of the wrong type.
pub fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(ListVisitor(PhantomData))
}

/// Reads a whole number from `MIN` to `MAX`, both included.
/// For `#[serde(deserialize_with = "within::<1, 10, _, _>")]`.
///
/// # Errors
/// It is no whole number, or outside the bounds.
pub fn within<'de, const MIN: u64, const MAX: u64, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let number = u64::deserialize(deserializer).ok().filter(|number| (MIN..=MAX).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| D::Error::custom(format!("must be a whole number from {MIN} to {MAX}")))
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(list)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        let elements = elements(text).ok_or_else(|| E::custom("must be a list: write [\"a\", \"b\"] or a, b"))?;
        Figment::from(Serialized::default("list", elements)).extract_inner_lossy("list").map_err(|error| {
            let (message, action) = explain(&error.kind);
            E::custom(format!("has an element that {message}: {action}"))
        })
    }
}

#[derive(Deserialize)]
struct Document {
    list: Vec<Value>,
}

/// The elements in a list's text; none when it begins as a TOML or JSON list and is not one.
pub(super) fn elements(text: &str) -> Option<Vec<Value>> {
    let text = text.trim();
    match text {
        "" => Some(Vec::new()),
        _ if text.starts_with('[') => {
            Toml::from_str::<Document>(&format!("list = {text}")).ok().map(|document| document.list)
        }
        _ => Some(text.split(',').map(|part| Value::from(part.trim())).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Lists {
        #[serde(default, deserialize_with = "list")]
        text: Vec<String>,
        #[serde(default, deserialize_with = "list")]
        numbers: Vec<u64>,
    }

    fn read(key: &str, value: Value) -> Result<Lists, String> {
        Figment::from(Serialized::default(key, value)).extract_lossy().map_err(|error| explain(&error.kind).0)
    }

    #[test]
    fn reads_lists_as_toml_and_the_environment_write_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            (" a ,b", &["a", "b"]),
            (r#"["a", "b,c"]"#, &["a", "b,c"]),
            ("['a']", &["a"]),
            ("[]", &[]),
            ("1,2", &["1", "2"]),
        ] {
            assert_eq!(read("text", Value::from(text)).unwrap().text, expected, "{text}");
        }
        assert_eq!(read("text", Value::from(vec!["a", "b"])).unwrap().text, ["a", "b"]);
        for text in ["[321, 322]", "321,322", r#"["321", "322"]"#] {
            assert_eq!(read("numbers", Value::from(text)).unwrap().numbers, [321, 322], "{text}");
        }
        assert_eq!(read("numbers", Value::from(vec![321, 322])).unwrap().numbers, [321, 322]);
    }

    #[test]
    fn refuses_what_is_no_list() {
        for (key, value, expected) in [
            ("text", Value::from("[a"), "must be a list"),
            ("text", Value::from(3), "must be a list"),
            ("numbers", Value::from("1,x"), "has an element that must be a whole number, zero or more"),
        ] {
            assert_eq!(read(key, value).unwrap_err(), expected);
        }
    }

    #[derive(Debug, Deserialize)]
    struct Bounded {
        #[serde(deserialize_with = "within::<10, 200, _, _>")]
        number: u8,
    }

    #[test]
    fn takes_numbers_within_the_bounds_only() {
        let read = |value: Value| {
            let read = Figment::from(Serialized::default("number", value)).extract_lossy::<Bounded>();
            read.map(|bounded| bounded.number).map_err(|error| explain(&error.kind).0)
        };
        for (value, expected) in [(Value::from(10), 10), (Value::from("200"), 200)] {
            assert_eq!(read(value).unwrap(), expected);
        }
        for value in [Value::from(9), Value::from(201), Value::from(-10), Value::from("ten"), Value::from(10.5)] {
            assert_eq!(read(value).unwrap_err(), "must be a whole number from 10 to 200");
        }
    }
}
