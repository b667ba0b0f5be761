//! Fields of the model whose values are of a known set or form, and the values that such a field never has.
//! Pure: must not know how a rule is written.

use crate::provider::smart_glocal::api::{NEXT_ACTIONS, OPERATION_STATUSES, SESSION_STATUSES};
use crate::settings::suggestion;

/// What the model calls the kinds of operations.
pub const OPERATION_KINDS: [&str; 2] = ["payout", "payment"];

/// A field that does not have just any value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownField {
    /// A currency: three upper-case letters.
    Currency,
    /// An operation's kind.
    Kind,
    /// A session's status, one of the provider's.
    SessionStatus,
    /// What the provider waits for.
    NextAction,
    /// An operation's status.
    OperationStatus,
    /// The name of the session's source.
    Source,
    /// An amount in minor units: whole, and above zero in every session that rules are asked about.
    MinorUnits,
}

/// What a field is compared with: a literal of the rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`, or one of the elements of a list behind `in`.
    Equal,
    /// `!=`.
    NotEqual,
    /// The field is less than the literal.
    Less,
    /// The field is less than the literal, or equal.
    LessOrEqual,
    /// The field is more than the literal.
    More,
    /// The field is more than the literal, or equal.
    MoreOrEqual,
}

/// Why a comparison is of no use: a half sentence after the rule's name, and what to do. No text of the rule is in it.
pub type InVain = (String, String);

impl KnownField {
    /// Why comparing it with this literal always gives the same; nothing where it does not. `sources` are the names of sources
    /// whose sessions may come.
    pub fn in_vain(self, comparison: Comparison, literal: &Literal, sources: &[&str]) -> Option<InVain> {
        match literal {
            Literal::Number(number) => self.number_in_vain(comparison, *number),
            Literal::Text(text) => {
                let (name, what, action) = self.unlike(text, sources)?;
                let always =
                    if comparison == Comparison::NotEqual { "always different from" } else { "never equal to" };
                Some((format!("compares the {name} with {what}, and it is {always} that"), action))
            }
        }
    }

    /// What is wrong with a text that this field never is: the field, what the text is, and what to write.
    fn unlike(self, text: &str, sources: &[&str]) -> Option<(&'static str, &'static str, String)> {
        let listed = |name, known: &[&str]| {
            (!known.contains(&text)).then(|| (name, "an unknown value", suggestion(text, known)))
        };
        match self {
            Self::Currency if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) => None,
            Self::Currency if text.bytes().any(|byte| byte.is_ascii_lowercase()) => Some((
                "currency",
                "a text that has lower-case letters",
                "write the currency in upper case, such as \"USD\"".to_owned(),
            )),
            Self::Currency => Some((
                "currency",
                "a text that is not three letters",
                "write an ISO 4217 code, such as \"USD\"".to_owned(),
            )),
            Self::Kind => listed("kind of an operation", &OPERATION_KINDS),
            Self::SessionStatus => listed("status of a session", &SESSION_STATUSES),
            Self::NextAction => listed("next_action of a session", &NEXT_ACTIONS),
            Self::OperationStatus => listed("status of an operation", &OPERATION_STATUSES),
            Self::Source => listed("source of a session", sources),
            Self::MinorUnits => None,
        }
    }

    fn number_in_vain(self, comparison: Comparison, number: f64) -> Option<InVain> {
        if self != Self::MinorUnits {
            return None;
        }
        // The least amount is 1.
        let (never, always) = match comparison {
            Comparison::Equal => (number < 1.0 || number.fract() != 0.0, false),
            Comparison::NotEqual => (false, number < 1.0 || number.fract() != 0.0),
            Comparison::Less => (number <= 1.0, false),
            Comparison::LessOrEqual => (number < 1.0, false),
            Comparison::More => (false, number < 1.0),
            Comparison::MoreOrEqual => (false, number <= 0.0),
        };
        let told = |truth| {
            let message = format!("compares the minor_units of an amount with a number, which is {truth} true");
            let action = "minor_units are whole and above zero in every session that rules are asked about: 50000 is 500 dollars";
            Some((message, action.to_owned()))
        };
        match (never, always) {
            (true, _) => told("never"),
            // As a lower bound it says nothing wrong.
            (false, true) if comparison == Comparison::NotEqual => told("always"),
            (false, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: KnownField, comparison: Comparison, literal: &Literal, is_in_vain: bool) {
        let told = field.in_vain(comparison, literal, &["sg-main"]);
        assert_eq!(told.is_some(), is_in_vain, "{field:?} {comparison:?} {literal:?}: {told:?}");
    }

    #[test]
    fn knows_the_texts_that_a_field_never_is() {
        for (field, good, bad) in [
            (KnownField::Currency, "USD", "usd"),
            (KnownField::Currency, "XYZ", "DOLLAR"),
            (KnownField::Kind, "payout", "payouts"),
            (KnownField::SessionStatus, "in_progress", "in progress"),
            (KnownField::NextAction, "confirm", "CONFIRM"),
            (KnownField::OperationStatus, "pending", "created"),
            (KnownField::Source, "sg-main", "sg_main"),
        ] {
            for comparison in [Comparison::Equal, Comparison::NotEqual] {
                check(field, comparison, &Literal::Text(good.to_owned()), false);
                check(field, comparison, &Literal::Text(bad.to_owned()), true);
            }
        }
        let (message, action) =
            KnownField::Kind.in_vain(Comparison::Equal, &Literal::Text("payot".to_owned()), &[]).unwrap();
        assert_eq!(message, "compares the kind of an operation with an unknown value, and it is never equal to that");
        assert_eq!(action, "did you mean `payout`?");
    }

    #[test]
    fn knows_the_numbers_that_an_amount_never_is() {
        for (comparison, number, is_in_vain) in [
            (Comparison::Equal, 50_000.0, false),
            (Comparison::Equal, 500.5, true),
            (Comparison::Equal, 0.0, true),
            (Comparison::NotEqual, 500.5, true),
            (Comparison::Less, 1.0, true),
            (Comparison::Less, 2.0, false),
            (Comparison::LessOrEqual, 0.5, true),
            (Comparison::LessOrEqual, 1.0, false),
            (Comparison::More, 0.0, false),
            (Comparison::MoreOrEqual, -5.0, false),
        ] {
            check(KnownField::MinorUnits, comparison, &Literal::Number(number), is_in_vain);
        }
    }
}
