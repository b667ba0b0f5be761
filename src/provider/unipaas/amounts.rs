//! What bodies say of money: amounts as decimals in major units, all in the body's one currency; and `reconciled`.
//! Must not know which body they stand in.

use super::words::meaning;
use crate::message::event::v1::Money;
use crate::message::unipaas::v1::Reconciled;
use crate::provider::json::{Object, Wrong};
use crate::provider::money;

const RECONCILED: &[(&str, Reconciled)] = &[
    ("true", Reconciled::True),
    ("false", Reconciled::False),
    ("irrelevant", Reconciled::Irrelevant),
    ("unknown", Reconciled::Unknown),
];

/// The body's currency in upper case.
///
/// # Errors
/// It is not a text.
pub fn currency(body: &Object<'_>) -> Result<Option<String>, Wrong> {
    let mut currency = body.text("currency")?;
    if let Some(code) = &mut currency {
        code.make_ascii_uppercase();
    }
    Ok(currency)
}

/// The amount in the field `name`, which is in `currency`.
///
/// # Errors
/// It is not a decimal number, or too large.
pub fn amount(body: &Object<'_>, name: &str, currency: Option<&str>) -> Result<Option<Money>, Wrong> {
    body.decimal(name)?.map(|amount| money::from_major_units(name, amount, currency)).transpose()
}

/// What `reconciled` says; the provider sends a text.
pub fn reconciled(text: Option<&str>) -> Reconciled {
    meaning(text, RECONCILED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::json;

    fn check(value: &str, currency: Option<&str>, expect: Result<Option<(i64, u32)>, ()>) {
        let body = format!(r#"{{"amount":{value}}}"#);
        let money = amount(&json::parse(body.as_bytes()).unwrap(), "amount", currency);
        let seen = money.map(|money| money.map(|money| (money.minor_units, money.exponent.unwrap())));
        assert_eq!(seen.map_err(|_| ()), expect, "{value}");
    }

    #[test]
    fn refuses_what_is_no_amount() {
        for value in
            ["true", "[]", "\"\"", "\"ten\"", "\"1,000.00\"", "1e40", "1e-40", "1e99999999999", "92233720368547758.08"]
        {
            check(value, Some("GBP"), Err(()));
        }
    }

    #[test]
    fn reads_amounts_exactly() {
        check("null", Some("GBP"), Ok(None));
        check("10", Some("GBP"), Ok(Some((1000, 2))));
        check("49.95", Some("GBP"), Ok(Some((4995, 2))));
        check("0.1", Some("GBP"), Ok(Some((10, 2))));
        check("1e3", Some("GBP"), Ok(Some((100_000, 2))));
        check("1E-3", Some("GBP"), Ok(Some((1, 3))));
        check("\"12.30\"", Some("GBP"), Ok(Some((1230, 2))));
        check("-12.3", Some("GBP"), Ok(Some((-1230, 2))));
        check("49.949999999999996", Some("GBP"), Ok(Some((49_949_999_999_999_996, 15))));
        check("12.3", None, Ok(Some((123, 1))));
    }

    #[test]
    fn understands_what_reconciled_says() {
        assert_eq!(reconciled(Some("Irrelevant")), Reconciled::Irrelevant);
        assert_eq!(reconciled(Some("false")), Reconciled::False);
        assert_eq!(reconciled(Some("partly")), Reconciled::Unspecified);
        assert_eq!(reconciled(None), Reconciled::Unspecified);
    }
}
