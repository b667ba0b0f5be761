//! Amounts of money in words: `100.00 USD payout`. Pure.

use serde_json::Value;

use super::word_of;

/// Operations that are named one by one; of more the rest is counted.
const OPERATIONS_MAX: usize = 2;

/// An amount in major units with its currency; nothing where the value is no `Money`.
pub(super) fn money(value: &Value) -> Option<String> {
    let fields = value.as_object()?;
    let is_money = ["minor_units", "exponent", "currency"].iter().any(|field| fields.contains_key(*field));
    let units = fields.get("minor_units").and_then(Value::as_str).unwrap_or("0");
    let currency = fields.get("currency").and_then(Value::as_str);
    let number = match fields.get("exponent").and_then(Value::as_u64).and_then(|digits| usize::try_from(digits).ok()) {
        Some(digits) => decimal(units, digits),
        // How many decimals such a currency has is not known.
        None => format!("{units} minor units"),
    };
    is_money.then(|| [Some(number.as_str()), currency].into_iter().flatten().collect::<Vec<_>>().join(" "))
}

/// The operations of a session: amounts and kinds.
pub(super) fn operations(value: &Value) -> Option<String> {
    let operations = value.as_array().filter(|operations| !operations.is_empty())?;
    let mut texts: Vec<String> = operations.iter().take(OPERATIONS_MAX).map(operation).collect();
    match operations.len().saturating_sub(OPERATIONS_MAX) {
        0 => {}
        more => texts.push(format!("{more} more")),
    }
    Some(texts.join(", "))
}

fn operation(operation: &Value) -> String {
    let kind = word_of(operation, "kind").unwrap_or_else(|| "operation".to_owned());
    match operation.get("amount").and_then(money) {
        Some(amount) => format!("{amount} {kind}"),
        None => format!("{kind} without an amount"),
    }
}

/// `units` with a point before its last `digits` digits.
pub fn decimal(units: &str, digits: usize) -> String {
    let (sign, digits_of_units) = units.strip_prefix('-').map_or(("", units), |rest| ("-", rest));
    let padded = format!("{digits_of_units:0>width$}", width = digits.saturating_add(1));
    match padded.split_at_checked(padded.len().saturating_sub(digits)) {
        Some((whole, fraction)) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{padded}"),
    }
}
