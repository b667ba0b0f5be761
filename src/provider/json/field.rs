//! One field of an object, read without a tree: for what is looked at before anybody knows that it is authentic.
//! Must not know any provider.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The JSON of the last field of this name in the object that a text is; nothing where the field is absent.
///
/// # Errors
/// The parser's: of the category `Data` where the text is JSON and no object.
pub(super) fn json_of<'t>(text: &'t str, name: &str) -> Result<Option<&'t str>, serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let found = parser.deserialize_map(LastOf(name))?;
    parser.end()?;
    Ok(found.map(RawValue::get))
}

/// Looks for the last field of its name.
struct LastOf<'n>(&'n str);

impl<'de> Visitor<'de> for LastOf<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = fields.next_key_seed(IsName(self.0))? {
            if is_it {
                found = Some(fields.next_value()?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares a name.
struct IsName<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        // As bytes: a name with half of a surrogate pair is another one, and no error.
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<bool, E> {
        Ok(name == self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::json_of;

    #[test]
    fn finds_the_last_field_of_the_name_in_any_spelling() {
        for (text, expected) in [
            (r#"{"a":{"data":1},"data":"x"}"#, Some(r#""x""#)),
            (r#"{"data":"x","dat\u0061":"y\ud800"}"#, Some(r#""y\ud800""#)),
            (r#"{"\ud800":1,"data": null }"#, Some("null")),
            (r#"{"data":[1, {}]}"#, Some("[1, {}]")),
            (r#"{"other":"data"}"#, None),
            ("{}", None),
        ] {
            assert_eq!(json_of(text, "data").unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_object_and_nothing_behind_it() {
        for text in [r#"["data","x"]"#, r#"{"data":"x"} {}"#, r#"{"data":"x""#, r#"{"a":tru}"#, "1", ""] {
            assert!(json_of(text, "data").is_err(), "{text}");
        }
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = format!(r#"{{"a":{}{},"data":"x"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(json_of(&deep, "data").unwrap(), Some(r#""x""#));
    }
}
