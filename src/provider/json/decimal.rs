//! Decimal numbers exactly as they are written. No floating point.
//! Must not know what a number means.

/// A decimal number: `mantissa` divided by ten `decimals` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// Its digits.
    pub mantissa: i64,
    /// How many of them stand behind the point, as written: `0.10` has two.
    pub decimals: u32,
}

impl Decimal {
    /// Reads a number as JSON writes one; zeros before it are passed over. Nothing where it is none, or where its digits or its
    /// decimals are more than [`Decimal`] holds.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (number, power) = match text.split_once(['e', 'E']) {
            Some((number, power)) => (number, parse_power(power)?),
            None => (text, 0),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole, fraction),
            None => (number, ""),
        };
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let digits = || whole.bytes().chain(fraction.bytes()).map(|byte| i64::from(byte - b'0'));
        let written = i64::try_from(fraction.len()).ok()?;
        if digits().all(|digit| digit == 0) {
            // Nothing, to whatever power.
            return Some(Self { mantissa: 0, decimals: u32::try_from(written).ok()? });
        }
        let mantissa = |count| {
            // Downwards: there is one number more below zero than above.
            let below = digits().take(count).try_fold(0_i64, |all, digit| all.checked_mul(10)?.checked_sub(digit))?;
            if is_negative { Some(below) } else { below.checked_neg() }
        };
        let (count, decimals) = (whole.len() + fraction.len(), written.checked_sub(power)?);
        let Ok(decimals) = usize::try_from(decimals) else {
            // Zeros follow.
            let factor = 10_i64.checked_pow(u32::try_from(-decimals).ok()?)?;
            return Some(Self { mantissa: mantissa(count)?.checked_mul(factor)?, decimals: 0 });
        };
        if let Some(mantissa) = mantissa(count) {
            return Some(Self { mantissa, decimals: u32::try_from(decimals).ok()? });
        }
        // Zeros at the end may be too many, and say nothing.
        let cut = digits().rev().take_while(|digit| *digit == 0).count().min(decimals);
        Some(Self { mantissa: mantissa(count - cut)?, decimals: u32::try_from(decimals - cut).ok()? })
    }

    /// The whole number that this is; nothing where it is none.
    pub fn whole(self) -> Option<i64> {
        match 10_i64.checked_pow(self.decimals) {
            Some(unit) => (self.mantissa % unit == 0).then(|| self.mantissa / unit),
            None => (self.mantissa == 0).then_some(0),
        }
    }
}

/// The power of ten behind `e`.
fn parse_power(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // One that 64 bits do not hold is further away than any number here.
    Some(text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expect: Option<(i64, u32)>) {
        assert_eq!(Decimal::parse(text).map(|decimal| (decimal.mantissa, decimal.decimals)), expect, "{text}");
    }

    #[test]
    fn refuses_what_is_no_number_or_has_too_many_digits() {
        for text in
            ["", "-", "+1", ".5", "5.", "1e", "1e+", "1e1.5", "0x10", "1_000", "1,5", " 1", "1 ", "NaN", "--1", "1e-"]
        {
            check(text, None);
        }
        for text in [
            "9223372036854775808",
            "0.9223372036854775808",
            "1e19",
            "-1e40",
            "1e-99999999999",
            "1e99999999999999999999",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn reads_numbers_exactly() {
        check("0", Some((0, 0)));
        check("-0.00", Some((0, 2)));
        check("0e99999999999999999999", Some((0, 0)));
        check("49.95", Some((4995, 2)));
        check("0.10", Some((10, 2)));
        check("007", Some((7, 0)));
        check("1e3", Some((1000, 0)));
        check("1.50e1", Some((150, 1)));
        check("1E-3", Some((1, 3)));
        check("-8.881784197001252e-16", Some((-8_881_784_197_001_252, 31)));
        check("-9223372036854775808", Some((i64::MIN, 0)));
        check("92233720368547758.07", Some((i64::MAX, 2)));
        check("9223372036854775807.00", Some((i64::MAX, 0)));
        check("1.0000000000000000000000000000000000000000", Some((1, 0)));
        check("49.949999999999996", Some((49_949_999_999_999_996, 15)));
    }

    #[test]
    fn tells_whole_numbers() {
        for (text, expect) in [
            ("10000.0", Some(10_000)),
            ("1e4", Some(10_000)),
            ("-3.00", Some(-3)),
            ("0.0", Some(0)),
            ("0.5", None),
            ("1e-30", None),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().whole(), expect, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_none(text in "-?[0-9.]{0,30}([eE][+-]?[0-9]{0,25})?") {
            Decimal::parse(&text);
        }

        #[test]
        fn what_is_written_is_read(mantissa in any::<i64>(), decimals in 0_u32..40) {
            let text = format!("{mantissa}e-{decimals}");
            let expect = (mantissa, if mantissa == 0 { 0 } else { decimals });
            let read = Decimal::parse(&text).unwrap();
            prop_assert_eq!((read.mantissa, read.decimals), expect);
        }
    }
}
