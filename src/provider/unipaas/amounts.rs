//! What bodies say of money: amounts as decimals in major units, all in the body's one currency; and `reconciled`.
//! Must not know which body they stand in.

use super::words::meaning;
use crate::message::event::v1::Money;
use crate::message::unipaas::v1::Reconciled;
use crate::provider::json::Reader;
use crate::provider::money;

const RECONCILED: &[(&str, Reconciled)] = &[
    ("true", Reconciled::True),
    ("false", Reconciled::False),
    ("irrelevant", Reconciled::Irrelevant),
    ("unknown", Reconciled::Unknown),
];

/// The body's currency in upper case.
pub fn currency(body: &Reader<'_, '_>) -> Option<String> {
    body.text("currency").map(|currency| currency.to_ascii_uppercase())
}

/// The amount in the field `name`, which is in `currency`.
pub fn amount(body: &Reader<'_, '_>, name: &str, currency: Option<&str>) -> Option<Money> {
    body.decimal(name, |amount| money::from_major_units(amount, currency))
}

/// What `reconciled` says; the provider sends a text.
pub fn reconciled(text: Option<&str>) -> Reconciled {
    meaning(text, RECONCILED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::json::{self, Unread};

    fn check(value: &str, currency: Option<&str>, expect: Option<(i64, u32)>) {
        let body = format!(r#"{{"amount":{value}}}"#);
        let (document, unread) = (json::parse(body.as_bytes()).unwrap(), Unread::default());
        let money = amount(&Reader::new(document.object(), &unread), "amount", currency);
        assert_eq!(money.map(|money| (money.minor_units, money.exponent.unwrap())), expect, "{value}");
        assert_eq!(unread.into_paths().len(), usize::from(expect.is_none() && value != "null"), "{value}");
    }

    #[test]
    fn refuses_what_is_no_amount() {
        for value in ["true", "[]", "\"\"", "\"ten\"", "\"1,000.00\"", "1e40", "1e99999999999", "92233720368547758.08"]
        {
            check(value, Some("GBP"), None);
        }
    }

    #[test]
    fn reads_amounts_exactly() {
        check("null", Some("GBP"), None);
        check("10", Some("GBP"), Some((1000, 2)));
        check("49.95", Some("GBP"), Some((4995, 2)));
        check("0.1", Some("GBP"), Some((10, 2)));
        check("1e3", Some("GBP"), Some((100_000, 2)));
        check("1E-3", Some("GBP"), Some((1, 3)));
        check("\"12.30\"", Some("GBP"), Some((1230, 2)));
        check("-12.3", Some("GBP"), Some((-1230, 2)));
        check("49.949999999999996", Some("GBP"), Some((49_949_999_999_999_996, 15)));
        check("12.3", None, Some((123, 1)));
    }

    #[test]
    fn understands_what_reconciled_says() {
        assert_eq!(reconciled(Some("Irrelevant")), Reconciled::Irrelevant);
        assert_eq!(reconciled(Some("false")), Reconciled::False);
        assert_eq!(reconciled(Some("partly")), Reconciled::Unspecified);
        assert_eq!(reconciled(None), Reconciled::Unspecified);
    }
}
