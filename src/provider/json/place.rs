//! Finds where in a JSON text the values at some places stand, to cut them out of what is hashed.
//! Must not know any provider, nor what the values say.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Name;

/// A place inside a JSON document: `Fields(&[("session", Fields(&[("updated_at", Here)]))])`.
pub enum Place {
    /// The value itself.
    Here,
    /// The places inside the named fields of an object.
    Fields(&'static [(&'static str, Place)]),
    /// A place inside each element of a list.
    Each(&'static Place),
}

/// The byte ranges, in order, of the values at `place` in `body`; none when the body is not JSON.
/// The ranges of a document that is broken after them are dropped too: then nothing is cut and nothing is confused.
pub fn ranges(body: &[u8], place: &'static Place) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let Ok(text) = std::str::from_utf8(body) else { return found };
    let start = text.as_ptr().addr();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut search = Search { place, start, found: &mut found };
    let outcome = serde::de::DeserializeSeed::deserialize(search.reborrow(place), &mut deserializer);
    match outcome.and_then(|()| deserializer.end()) {
        Ok(()) => found,
        Err(_) => Vec::new(),
    }
}

struct Search<'f> {
    place: &'static Place,
    start: usize,
    found: &'f mut Vec<Range<usize>>,
}

impl Search<'_> {
    fn reborrow(&mut self, place: &'static Place) -> Search<'_> {
        Search { place, start: self.start, found: self.found }
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.place {
            Place::Here => {
                let value = <&RawValue>::deserialize(deserializer)?.get();
                let from = value.as_ptr().addr() - self.start;
                self.found.push(from..from + value.len());
                Ok(())
            }
            Place::Fields(_) | Place::Each(_) => {
                // Another shape than the place expects is looked at no further: nothing is cut there.
                let value = <&RawValue>::deserialize(deserializer)?.get();
                let mut inner = serde_json::Deserializer::from_str(value);
                match (self.place, value.as_bytes().first()) {
                    (Place::Fields(_), Some(b'{')) => inner.deserialize_map(self).map_err(D::Error::custom),
                    (Place::Each(_), Some(b'[')) => inner.deserialize_seq(self).map_err(D::Error::custom),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let Place::Fields(wanted) = self.place else { return Ok(()) };
        while let Some(Name(name)) = map.next_key()? {
            match wanted.iter().find(|(field, _)| *field == name) {
                Some((_, place)) => map.next_value_seed(self.reborrow(place))?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let Place::Each(place) = self.place else { return Ok(()) };
        while list.next_element_seed(self.reborrow(place))?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place =
        Place::Fields(&[("at", Place::Here), ("items", Place::Each(&Place::Fields(&[("at", Place::Here)])))]);

    fn cut(body: &str) -> Vec<&str> {
        ranges(body.as_bytes(), &PLACE).into_iter().map(|range| &body[range]).collect()
    }

    #[test]
    fn finds_the_values_at_a_place() {
        assert_eq!(
            cut(r#" {"at" : "x", "items":[{"at":1},{"b":2},{"at":[3]}], "b":{"at":9}} "#),
            ["\"x\"", "1", "[3]"]
        );
        assert_eq!(cut(r#"{"at":1,"items":"none"}"#), ["1"]);
    }

    #[test]
    fn finds_nothing_in_what_is_broken() {
        assert_eq!(cut(r#"{"at":1"#), [""; 0]);
        assert_eq!(cut(r#"{"at":1} x"#), [""; 0]);
        assert_eq!(cut("[1]"), [""; 0]);
    }
}
