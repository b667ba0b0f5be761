//! Amounts of money, exact: minor units and how many decimals they have. No floating point.
//! Must not know any provider.

use iso_currency::Currency;

use super::json::Decimal;
use crate::message::event::v1::Money;

/// An amount that the provider gives in minor units.
pub fn from_minor_units(minor_units: i64, currency: Option<&str>) -> Money {
    Money { currency: currency.map(str::to_ascii_uppercase), minor_units, exponent: currency.and_then(decimals_of) }
}

/// An amount that the provider gives in major units: the exponent is the larger of ISO 4217's and the decimals seen. Nothing where
/// the minor units are beyond 64 bits.
pub fn from_major_units(amount: Decimal, currency: Option<&str>) -> Option<Money> {
    let exponent = currency.and_then(decimals_of).unwrap_or(0).max(amount.decimals);
    let factor = 10_i64.checked_pow(exponent - amount.decimals)?;
    let minor_units = amount.mantissa.checked_mul(factor)?;
    Some(Money { currency: currency.map(str::to_ascii_uppercase), minor_units, exponent: Some(exponent) })
}

fn decimals_of(currency: &str) -> Option<u32> {
    Currency::from_code(&currency.to_ascii_uppercase())?.exponent().map(u32::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn major(amount: &str, currency: Option<&str>) -> (i64, Option<u32>) {
        let money = from_major_units(Decimal::parse(amount).unwrap(), currency).unwrap();
        (money.minor_units, money.exponent)
    }

    #[test]
    fn makes_minor_units_of_major_ones_exactly() {
        assert_eq!(major("49.95", Some("gbp")), (4995, Some(2)));
        assert_eq!(major("10", Some("GBP")), (1000, Some(2)));
        assert_eq!(major("49.955", Some("GBP")), (49955, Some(3)));
        assert_eq!(major("1200", Some("JPY")), (1200, Some(0)));
        assert_eq!(major("1.5", Some("KWD")), (1500, Some(3)));
        assert_eq!(major("-0.01", Some("USD")), (-1, Some(2)));
        assert_eq!(major("12.50", None), (1250, Some(2)));
        assert_eq!(major("-8.881784197001252e-16", Some("GBP")), (-8_881_784_197_001_252, Some(31)));
    }

    #[test]
    fn refuses_what_64_bits_cannot_hold() {
        let huge = Decimal::parse("92233720368547759").unwrap();
        assert_eq!(from_major_units(huge, Some("USD")), None);
    }

    #[test]
    fn leaves_the_exponent_unset_when_nothing_tells_it() {
        assert_eq!(from_minor_units(7, Some("usd")).exponent, Some(2));
        assert_eq!(from_minor_units(7, Some("zzz")).exponent, None);
        assert_eq!(from_minor_units(7, None).currency, None);
    }
}
