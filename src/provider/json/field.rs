//! One text of an object, read without a tree: for bodies that nobody has signed, which must not cost memory.
//! Must not know any provider.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The text in this field of a JSON object; where the name stands twice, the last one counts. `None` where the body is no JSON
/// object, or the field is absent or no text.
pub fn text_field(body: &[u8], name: &str) -> Option<String> {
    let mut parser = serde_json::Deserializer::from_slice(super::without_byte_order_mark(body));
    let text = TextFieldOf(name).deserialize(&mut parser).ok()?;
    parser.end().ok()?;
    text
}

struct TextFieldOf<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for TextFieldOf<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TextFieldOf<'_> {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = fields.next_key::<String>()? {
            if name == self.0 {
                found = Some(fields.next_value::<String>().map_err(A::Error::custom)?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::text_field;

    #[test]
    fn reads_the_last_text_of_the_name_from_an_object_alone() {
        for (body, expected) in [
            (r#"{"a":{"data":"no"},"data":"x"}"#, Some("x")),
            ("\u{feff}{\"data\":\"x\"}", Some("x")),
            (r#"{"data":"x","dat\u0061":"y"}"#, Some("y")),
            (r#"{"data":"\n\u00e9"}"#, Some("\n\u{e9}")),
            (r#"{"data":1}"#, None),
            (r#"{"data":null}"#, None),
            (r#"{"other":"x"}"#, None),
            (r#"["data","x"]"#, None),
            (r#"{"data":"x"} {}"#, None),
            (r#"{"data":"x""#, None),
            ("", None),
        ] {
            assert_eq!(text_field(body.as_bytes(), "data").as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = format!(r#"{{"a":{}{},"data":"x"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(text_field(deep.as_bytes(), "data").as_deref(), Some("x"));
    }
}
