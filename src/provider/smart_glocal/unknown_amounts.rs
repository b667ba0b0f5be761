//! Finds lists of a session that hold amounts and that the normalizer does not read: whoever decides by the amounts of its
//! operations must know that there are others. Must not know what an amount is for.
//!
//! Every part of the session is looked at but the merchant's own `metadata`. A list is a JSON list, an object with numbers
//! as names (as PHP writes one), or an object of objects that each have an `id` and an amount. An amount is a field whose
//! name speaks of one. What stands among the operations, or in place of their list, and cannot be read as one, counts as well.
//! A single object with an amount, a commission say, is no list: bodies may carry such, and it is
//! tolerated. So is what has no amount.

use crate::provider::json::{Kind, Object, Value};

/// The lists of operations that the normalizer reads.
pub const OPERATION_LISTS: [&str; 4] = ["payout_list", "payments", "payment_list", "acquiring_payments"];

/// Paths that are told at most: one is enough to know, the others help to understand.
const PATHS_MAX: usize = 16;
/// A path is some names; a longer one is cut.
const PATH_BYTES_MAX: usize = 256;
/// What is nested deeper is not looked into: where it may hold an amount, it counts as a list that does.
const DEPTH_MAX: u32 = 16;
/// What names of amounts have in them; a name may also be written with escapes.
const WORDS: [&str; 5] = ["amount", "currency", "minor_units", "sum", "money"];

/// Where in a session amounts stand that are not those of its operations.
#[derive(Debug, Default)]
pub(super) struct UnknownAmounts {
    paths: Vec<String>,
}

impl UnknownAmounts {
    /// The lists that stand in this session.
    pub fn of(session: Object<'_>) -> Self {
        let mut found = Self::default();
        found.fields(session, "", SessionPart::Session);
        found
    }

    /// Notes a place.
    pub fn note(&mut self, mut path: String) {
        if self.paths.len() < PATHS_MAX && !self.paths.contains(&path) {
            if path.len() > PATH_BYTES_MAX {
                path.truncate(path.floor_char_boundary(PATH_BYTES_MAX));
                path.push('…');
            }
            self.paths.push(path);
        }
    }

    /// The places, at most 16.
    pub fn paths(self) -> Vec<String> {
        self.paths
    }

    /// The fields of a part that the normalizer reads.
    fn fields(&mut self, object: Object<'_>, path: &str, part: SessionPart) {
        for (index, (name, value)) in object.fields().enumerate() {
            let name = name.as_ref();
            let is_last = || object.fields().skip(index + 1).all(|(other, _)| other != name);
            let place = || joined(path, name);
            match part.reads(name) {
                Known::List(part) if is_last() => self.elements(value, &place(), part),
                _ if !may_hold_amounts(name, value) => {}
                // Only the last field of a name is read.
                _ if !is_last() => self.note(place()),
                Known::Amount => {}
                Known::List(_) | Known::No => self.look(name, value, place(), DEPTH_MAX),
            }
        }
    }

    fn elements(&mut self, list: Value<'_>, path: &str, part: SessionPart) {
        match (list.kind(), list.elements()) {
            (Kind::Null, _) => {}
            (_, None) => self.note(path.to_owned()),
            (_, Some(items)) => {
                for (index, item) in items.enumerate() {
                    let place = format!("{path}[{index}]");
                    match item.kind() {
                        Kind::Object(object) => self.fields(object, &place, part),
                        _ => self.note(place),
                    }
                }
            }
        }
    }

    /// A value that the normalizer does not read, or takes as it stands.
    fn look(&mut self, name: &str, value: Value<'_>, path: String, depth_left: u32) {
        match (value.kind(), depth_left.checked_sub(1)) {
            (Kind::List(_) | Kind::Object(_), None) => self.note(path),
            (Kind::List(mut items), Some(left)) => {
                let is_named_so = is_of_amounts(name) && !items.is_empty();
                if is_named_so || items.any(|item| holds_amount(item, left)) {
                    self.note(path);
                }
            }
            (Kind::Object(object), Some(left)) => {
                if is_map(object, left) {
                    return self.note(path);
                }
                for (name, value) in object.fields().filter(|(name, value)| may_hold_amounts(name, *value)) {
                    self.look(&name, value, joined(&path, &name), left);
                }
            }
            (Kind::Null | Kind::Boolean(_) | Kind::Number(_) | Kind::Text(_), _) => {}
        }
    }
}

/// A part of a session whose fields the normalizer reads.
#[derive(Clone, Copy)]
enum SessionPart {
    Session,
    Operation,
    Refund,
}

/// What the normalizer makes of a field.
enum Known {
    Amount,
    List(SessionPart),
    No,
}

impl SessionPart {
    fn reads(self, name: &str) -> Known {
        match (self, name) {
            (Self::Session, list) if OPERATION_LISTS.contains(&list) => Known::List(Self::Operation),
            (Self::Operation, "refunds") => Known::List(Self::Refund),
            // The merchant's own data may hold any amounts: nothing is done with them.
            (Self::Operation, "amount_details" | "metadata") | (Self::Refund, "amount_details") => Known::Amount,
            (_, _) => Known::No,
        }
    }
}

/// Whether this is an object that has an amount, or is around one.
fn holds_amount(value: Value<'_>, depth_left: u32) -> bool {
    match (value.kind(), depth_left.checked_sub(1)) {
        (Kind::List(_) | Kind::Object(_), None) => may_hold_amounts("", value),
        (Kind::List(mut items), Some(left)) => items.any(|item| holds_amount(item, left)),
        (Kind::Object(object), Some(left)) => object.fields().any(|(name, value)| {
            (is_of_amounts(&name) && value.json() != "null")
                || (may_hold_amounts("", value) && holds_amount(value, left))
        }),
        (Kind::Null | Kind::Boolean(_) | Kind::Number(_) | Kind::Text(_), _) => false,
    }
}

/// Whether an object is a list in another form, with amounts.
fn is_map(object: Object<'_>, depth_left: u32) -> bool {
    let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let has_id = |value: Value<'_>| matches!(value.kind(), Kind::Object(object) if object.has("id"));
    object.fields().all(|(name, value)| is_number(&name) || (has_id(value) && holds_amount(value, depth_left)))
        && object.fields().any(|(_, value)| holds_amount(value, depth_left))
}

/// Whether a field's name or anything in it speaks of an amount; it may be said of more than it is true of.
fn may_hold_amounts(name: &str, value: Value<'_>) -> bool {
    let text = value.json();
    let is_inside = || text.starts_with(['[', '{']) && (text.contains('\\') || is_of_amounts(text));
    is_of_amounts(name) || is_inside()
}

fn is_of_amounts(text: &str) -> bool {
    let begins = |text: &[u8], word: &&str| {
        text.get(..word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    let mut rest = text.as_bytes();
    // By the first letters of the words, for whole bodies are looked through.
    while let Some(place) = rest.iter().position(|byte| matches!(byte | 0x20, b'a' | b'c' | b'm' | b's')) {
        rest = rest.get(place..).unwrap_or_default();
        if WORDS.iter().any(|word| begins(rest, word)) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::provider::json;

    fn found(session: &str) -> Vec<String> {
        UnknownAmounts::of(json::parse(session.as_bytes()).unwrap().object()).paths()
    }

    const MONEY: &str = r#"{"amount":99999999,"currency":"usd"}"#;

    fn element() -> String {
        format!(r#"{{"id":"tr_1","amount_details":{MONEY}}}"#)
    }

    #[track_caller]
    fn check(session: &str, expect: &[&str]) {
        assert_eq!(found(session), expect, "{session}");
    }

    #[test]
    fn finds_every_form_of_a_list_with_amounts_that_is_not_read() {
        let element = element();
        for (session, path) in [
            (format!(r#"{{"transfer_list":[{element}]}}"#), "transfer_list"),
            (format!(r#"{{"Refunds":[{{"id":1}},{element}]}}"#), "Refunds"),
            (format!(r#"{{"transfer_list":[[{element}]]}}"#), "transfer_list"),
            (format!(r#"{{"transfer_list":[{{"details":[{{"in":{{"money":{MONEY}}}}}]}}]}}"#), "transfer_list"),
            (r#"{"a":[{"amount":1}]}"#.to_owned(), "a"),
            (r#"{"a":[{"transferAmount":"1.00"}]}"#.to_owned(), "a"),
            (r#"{"a":[{"\u0061mount":1}]}"#.to_owned(), "a"),
            (r#"{"a":[{"value":1,"currency":"usd"}]}"#.to_owned(), "a"),
            (r#"{"a":[{"SUM":1}]}"#.to_owned(), "a"),
            (r#"{"amounts":[1,2]}"#.to_owned(), "amounts"),
            (format!(r#"{{"more":{{"transfers":[{element}]}}}}"#), "more.transfers"),
            (format!(r#"{{"transfers":{{"1":{element}}}}}"#), "transfers"),
            (format!(r#"{{"transfers":{{"0":{{}},"7":{element}}}}}"#), "transfers"),
            (format!(r#"{{"transfers":{{"tr_1":{element},"tr_2":{element}}}}}"#), "transfers"),
            (format!(r#"{{"more":{{"even":{{"1":{element}}}}}}}"#), "more.even"),
            (format!(r#"{{"payout_list":[{{"id":"a"}},{{"splits":[{element}]}}]}}"#), "payout_list[1].splits"),
            (format!(r#"{{"payments":[{{"payment_method":{{"to":[{element}]}}}}]}}"#), "payments[0].payment_method.to"),
            (format!(r#"{{"payments":[{{"participant_details":[{element}]}}]}}"#), "payments[0].participant_details"),
            (
                format!(r#"{{"payment_list":[{{"refunds":[{{"parts":[{element}]}}]}}]}}"#),
                "payment_list[0].refunds[0].parts",
            ),
            (format!(r#"{{"payout_list":[{element}],"payout_list":[]}}"#), "payout_list"),
            (
                format!(r#"{{"payout_list":[{{"amount_details":{MONEY},"amount_details":null}}]}}"#),
                "payout_list[0].amount_details",
            ),
            (format!(r#"{{"a":{{"\ud800":1,"b":[{element}]}}}}"#), "a.b"),
        ] {
            check(&session, &[path]);
        }
    }

    #[test]
    fn tolerates_what_is_read_what_is_the_merchants_and_what_has_no_amount() {
        let element = element();
        for session in [
            "{}".to_owned(),
            format!(r#"{{"payout_list":[{element}],"payments":[{element}],"payment_list":[{element}]}}"#),
            format!(r#"{{"acquiring_payments":[{{"refunds":[{element},{element}]}}]}}"#),
            format!(r#"{{"payments":[{{"metadata":{{"items":[{element}]}}}},{{"metadata":[{element}]}}]}}"#),
            r#"{"transfer_list":[]}"#.to_owned(),
            r#"{"transfer_list":null,"transfer_list":[]}"#.to_owned(),
            r#"{"transfer_list":[{"id":"tr_1","amount":null}]}"#.to_owned(),
            r#"{"transfer_list":[{"id":"tr_1"}],"notes":["amount"],"amounts":[]}"#.to_owned(),
            format!(r#"{{"amount_details":{MONEY},"commission":{MONEY},"total":{{"fee":{MONEY},"all":{MONEY}}}}}"#),
            format!(r#"{{"payments":[{{"commission":{element}}}]}}"#),
            r#"{"error":{"reject_reasons":["the amount is too small"]}}"#.to_owned(),
        ] {
            check(&session, &[]);
        }
    }

    #[test]
    fn tells_a_bounded_number_of_bounded_paths() {
        let lists: Vec<String> = (0..100).map(|number| format!(r#""list{number}":[{}]"#, element())).collect();
        assert_eq!(found(&format!("{{{}}}", lists.join(","))).len(), PATHS_MAX);
        let long = found(&format!(r#"{{"{}":[{}]}}"#, "é".repeat(1000), element())).remove(0);
        assert!(long.len() <= PATH_BYTES_MAX + '…'.len_utf8() && long.ends_with('…'), "{long}");
    }

    #[test]
    fn what_is_nested_too_deeply_to_be_looked_into_counts_where_it_may_hold_an_amount() {
        let deep = |inner: &str| format!(r#"{{"a":{}{inner}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
        check(&deep(r#"{"amount":1}"#), &["a"]);
        check(&deep(""), &[]);
        let objects = format!(r#"{{"a":{}{}{}}}"#, r#"{"b":"#.repeat(5_000), r#"[{"amount":1}]"#, "}".repeat(5_000));
        assert_eq!(found(&objects).len(), 1);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![Just(serde_json::Value::Null), any::<i32>().prop_map(Into::into)];
        leaf.prop_recursive(4, 20, 3, |inner| {
            let name = prop_oneof![Just("id"), Just("amount"), Just("1"), Just("payments"), Just("refunds"), Just("x")];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
                prop::collection::vec((name, inner), 0..3).prop_map(|fields| {
                    fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect::<serde_json::Map<_, _>>()
                        .into()
                }),
            ]
        })
    }

    proptest! {
        /// Wherever it stands but in what is read or the merchant's own, and whatever is around it.
        #[test]
        fn a_list_with_an_amount_is_found_in_any_session(around in any_json(), depth in 0_usize..5) {
            let inner = serde_json::json!({"around": around, "list": [{"id": "x", "amount": 1}]});
            let session = (0..depth).fold(inner, |inner, _| serde_json::json!({"more": inner}));
            prop_assert!(!found(&session.to_string()).is_empty());
        }

        #[test]
        fn any_session_is_looked_through(session in any_json()) {
            if session.is_object() {
                prop_assert!(found(&session.to_string()).len() <= PATHS_MAX);
            }
        }
    }
}
