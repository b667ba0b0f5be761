//! Finds where in a JSON text the values at some places stand, to cut them out of what is hashed.
//! Must not know any provider, nor what the values say.

use std::ops::Range;

use super::{Kind, Object, Value};

/// A place inside a JSON document: `Fields(&[("session", Fields(&[("updated_at", Here)]))])`.
pub enum Place {
    /// The value itself.
    Here,
    /// The places inside the named fields of an object.
    Fields(&'static [(&'static str, Place)]),
    /// A place inside each element of a list.
    Each(&'static Place),
}

/// The byte ranges, in order, of the values at `place` in `object`, which was parsed from `body`. A part of another shape
/// than the place expects is looked at no further: nothing is cut there.
pub fn ranges(body: &[u8], object: Object<'_>, place: &'static Place) -> Vec<Range<usize>> {
    let mut search = Search { start: body.as_ptr().addr(), found: Vec::new() };
    if let Place::Fields(wanted) = place {
        search.fields(object, wanted);
    }
    search.found
}

struct Search {
    start: usize,
    found: Vec<Range<usize>>,
}

impl Search {
    fn fields(&mut self, object: Object<'_>, wanted: &'static [(&'static str, Place)]) {
        // Each of several fields of one name, although only the last one counts as a field.
        for (name, value) in object.fields() {
            if let Some((_, place)) = wanted.iter().find(|(field, _)| *field == name) {
                self.value(value, place);
            }
        }
    }

    fn value(&mut self, value: Value<'_>, place: &'static Place) {
        match place {
            Place::Here => {
                let from = value.json().as_ptr().addr() - self.start;
                self.found.push(from..from + value.json().len());
            }
            Place::Fields(wanted) => {
                if let Kind::Object(object) = value.kind() {
                    self.fields(object, wanted);
                }
            }
            Place::Each(place) => {
                for item in value.elements().into_iter().flatten() {
                    self.value(item, place);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::json;

    const PLACE: Place =
        Place::Fields(&[("at", Place::Here), ("items", Place::Each(&Place::Fields(&[("at", Place::Here)])))]);

    fn cut(body: &str) -> Vec<&str> {
        let document = json::parse(body.as_bytes()).unwrap();
        ranges(body.as_bytes(), document.object(), &PLACE).into_iter().map(|range| &body[range]).collect()
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
    fn finds_nothing_in_another_shape() {
        assert_eq!(cut(r#"{"items":{"at":1}}"#), [""; 0]);
        assert_eq!(cut(r#"{"items":[[{"at":1}],1e999,{"at":2}]}"#), ["2"]);
    }

    #[test]
    fn looks_into_every_form_of_a_list_and_every_name() {
        assert_eq!(cut(r#"{"at":1,"items":[{"\ud800":1,"at":2},{"at":3}]}"#), ["1", "2", "3"]);
        assert_eq!(cut(r#"{"items":{"1":{"at":1},"5":{"at":2}}}"#), ["1", "2"]);
        assert_eq!(cut("\u{feff}{\"at\":1}"), ["1"]);
    }

    #[test]
    fn finds_each_value_of_a_repeated_name() {
        assert_eq!(cut(r#"{"at":1,"at":2,"items":[{"at":3,"at":4}],"items":null}"#), ["1", "2", "3", "4"]);
    }
}
