//! The items of a webhook, in every shape that they come in, and of each the eight values that Adyen signs.
//! Must not know keys, or what the values mean. Authentication and understanding both read here, so that what was proven is what
//! is told.

use std::borrow::Cow;

use crate::provider::json::{Kind, Object, Reader, Unread, Value};

/// The list of items.
const ITEMS: &str = "notificationItems";
/// What each item is wrapped in.
const WRAPPER: &str = "NotificationRequestItem";

/// The names of the signed values, in the order in which they are signed.
pub const SIGNED_NAMES: [&str; 8] = [
    "pspReference",
    "originalReference",
    "merchantAccountCode",
    "merchantReference",
    "amount.value",
    "amount.currency",
    "eventCode",
    "success",
];

/// What stands between two signed values.
pub const SEPARATOR: char = ':';

/// Reads each item by `read`; nothing where the body has another shape, or no item. By Adyen's pages there is one item in a list,
/// wrapped. More of them, items without their wrapper, and an item that is no list or is the whole body, as in the tests of Adyen's
/// libraries, are read too: what counts is its signature.
pub fn each<'a, T>(body: &Reader<'_, 'a>, mut read: impl FnMut(&Reader<'_, 'a>) -> T) -> Option<Vec<T>> {
    let items = match body.tree().value(ITEMS) {
        Some(list) if is_list_of_objects(list) => body.list(ITEMS, |item| unwrapped(item, &mut read)),
        Some(item) if is_object(item) => body.object(ITEMS, |item| unwrapped(item, &mut read)).into_iter().collect(),
        None if !body.tree().has(ITEMS) => vec![unwrapped(body, &mut read)],
        Some(_) | None => return None,
    };
    Some(items).filter(|items| !items.is_empty())
}

/// The items, each as [`each`] finds it.
pub fn all(body: Object<'_>) -> Option<Vec<Object<'_>>> {
    each(&Reader::new(body, &Unread::default()), |item: &Reader<'_, '_>| item.tree())
}

fn is_object(value: Value<'_>) -> bool {
    matches!(value.kind(), Kind::Object(_))
}

fn is_list_of_objects(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::List(mut elements) => elements.all(is_object),
        _ => false,
    }
}

fn unwrapped<'a, T>(item: &Reader<'_, 'a>, read: &mut impl FnMut(&Reader<'_, 'a>) -> T) -> T {
    let is_wrapped = item.tree().value(WRAPPER).is_some_and(is_object);
    let wrapped = if is_wrapped { item.object(WRAPPER, &mut *read) } else { None };
    wrapped.unwrap_or_else(|| read(item))
}

/// The eight signed values of an item, as they are signed: an absent one is empty.
pub struct SignedValues<'t>([Cow<'t, str>; 8]);

impl<'t> SignedValues<'t> {
    /// The values; nothing where one is no text, number or boolean, or where the signed text could be cut into other values.
    ///
    /// Adyen joins the values with colons and escapes nothing. The merchant chooses the merchant reference, and colons in it are
    /// seen. As long as no other value has one, there is one way to cut the text. With one elsewhere, whoever chooses a reference
    /// could have the same text, and so the same signature, for another payment, amount or event.
    pub fn of(item: Object<'t>) -> Option<Self> {
        let amount = match item.value("amount").map(Value::kind) {
            Some(Kind::Object(amount)) => amount,
            None => Object::default(),
            Some(_) => return None,
        };
        let values = [
            word(item, "pspReference")?,
            word(item, "originalReference")?,
            word(item, "merchantAccountCode")?,
            word(item, "merchantReference")?,
            word(amount, "value")?,
            word(amount, "currency")?,
            word(item, "eventCode")?,
            word(item, "success")?,
        ];
        let [psp, original, account, _, value, currency, code, success] = &values;
        let is_clear = [psp, original, account, currency, code, success].iter().all(|value| !value.contains(SEPARATOR));
        (is_clear && is_whole_or_empty(value)).then_some(Self(values))
    }

    /// `pspReference`.
    pub fn psp_reference(&self) -> &str {
        let [psp_reference, ..] = &self.0;
        psp_reference
    }

    /// `originalReference`.
    pub fn original_reference(&self) -> &str {
        let [_, original_reference, ..] = &self.0;
        original_reference
    }

    /// `eventCode`.
    pub fn event_code(&self) -> &str {
        let [.., event_code, _] = &self.0;
        event_code
    }

    /// All of them, in the order in which they are signed.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Cow::as_ref)
    }

    /// The signed text.
    pub fn text(&self) -> String {
        self.0.join(":")
    }
}

/// A value as it is signed: absent and null are empty.
fn word<'t>(object: Object<'t>, name: &str) -> Option<Cow<'t, str>> {
    match object.value(name).map(Value::kind) {
        None => Some(Cow::Borrowed("")),
        Some(Kind::Text(text)) => Some(text),
        Some(Kind::Number(number)) => Some(Cow::Borrowed(number)),
        Some(Kind::Boolean(true)) => Some(Cow::Borrowed("true")),
        Some(Kind::Boolean(false)) => Some(Cow::Borrowed("false")),
        Some(Kind::Null | Kind::List(_) | Kind::Object(_)) => None,
    }
}

/// `-?[0-9]+`, or nothing: Adyen signs an amount's digits as they stand in the body.
fn is_whole_or_empty(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text.is_empty() || !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::json;

    #[track_caller]
    fn check(body: &str, expect: Option<&[&str]>) {
        let (document, unread) = (json::parse(body.as_bytes()).unwrap(), Unread::default());
        let codes = each(&Reader::new(document.object(), &unread), |item| item.text("eventCode").unwrap_or_default());
        assert_eq!(codes, expect.map(|codes| codes.iter().map(|code| (*code).to_owned()).collect()), "{body}");
    }

    #[test]
    fn another_shape_has_no_items() {
        for items in ["[]", "null", "7", r#""x""#, "[7]", "[null]", r#"[{"eventCode":"A"},7]"#, "true"] {
            check(&format!(r#"{{"notificationItems":{items}}}"#), None);
        }
    }

    #[test]
    fn finds_items_with_and_without_wrapper_in_a_list_and_alone() {
        for (body, expect) in [
            (r#"{"notificationItems":[{"NotificationRequestItem":{"eventCode":"A"}}]}"#, ["A"].as_slice()),
            (r#"{"notificationItems":[{"eventCode":"A"},{"NotificationRequestItem":{"eventCode":"B"}}]}"#, &["A", "B"]),
            (r#"{"notificationItems":{"NotificationRequestItem":{"eventCode":"A"}}}"#, &["A"]),
            (r#"{"notificationItems":{"eventCode":"A"}}"#, &["A"]),
            (r#"{"NotificationRequestItem":{"eventCode":"A"}}"#, &["A"]),
            (r#"{"eventCode":"A"}"#, &["A"]),
            (r#"{"eventCode":"A","NotificationRequestItem":[]}"#, &["A"]),
            (r#"{"type":"recurring.token.created"}"#, &[""]),
        ] {
            check(body, Some(expect));
        }
    }

    fn signed(item: &str) -> Option<String> {
        SignedValues::of(json::parse(item.as_bytes()).unwrap().object()).map(|values| values.text())
    }

    #[test]
    fn refuses_values_that_could_be_cut_in_another_way() {
        for item in [
            r#"{"pspReference":"A:B"}"#,
            r#"{"originalReference":":"}"#,
            r#"{"merchantAccountCode":"A:"}"#,
            r#"{"amount":{"currency":"E:R"}}"#,
            r#"{"eventCode":"A:true"}"#,
            r#"{"success":"true:"}"#,
            r#"{"amount":{"value":"1:1"}}"#,
            r#"{"amount":{"value":1.5}}"#,
            r#"{"amount":{"value":1e3}}"#,
            r#"{"amount":{"value":"-"}}"#,
            r#"{"amount":{"value":"+1"}}"#,
            r#"{"amount":{"value":true}}"#,
            r#"{"amount":[]}"#,
            r#"{"amount":"1 EUR"}"#,
            r#"{"pspReference":["A"]}"#,
            r#"{"merchantReference":{}}"#,
        ] {
            assert_eq!(signed(item), None, "{item}");
        }
    }

    #[test]
    fn joins_the_values_as_they_are_signed() {
        for (item, expect) in [
            ("{}", ":::::::"),
            (r#"{"merchantReference":"::","success":true,"amount":null}"#, ":::::::::true"),
            (r#"{"pspReference":8835,"success":"TRUE","amount":{"value":"0010"}}"#, "8835::::0010:::TRUE"),
            (r#"{"amount":{"value":-5,"currency":"EUR"},"eventCode":null,"success":false}"#, "::::-5:EUR::false"),
        ] {
            assert_eq!(signed(item).as_deref(), Some(expect), "{item}");
        }
    }
}
