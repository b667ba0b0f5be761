//! How times, amounts, decisions and results are written for people. Pure. Must not know a record.

use jiff::{SignedDuration, Timestamp};

use crate::confirmation::session::model::Decider;
use crate::message::confirmation::v1::{self, DeciderKind, Operation, OperationKind, RejectionReason};
use crate::message::event::v1::Money;
use crate::short_line::decimal;

/// The most operations that are listed.
const OPERATIONS_MAX: usize = 5;

/// An action of a message, as commands and log lines write it.
pub(super) fn verb_of(action: v1::Action) -> &'static str {
    match action {
        v1::Action::Confirm => "confirm",
        v1::Action::Cancel => "cancel",
        v1::Action::Unspecified => "do nothing",
    }
}

/// What was done.
pub(super) fn done(action: v1::Action) -> &'static str {
    match action {
        v1::Action::Confirm => "confirmed",
        v1::Action::Cancel => "cancelled",
        v1::Action::Unspecified => "not decided here",
    }
}

/// What decided, after "by".
pub(super) fn decider(kind: DeciderKind, name: &str) -> String {
    match kind {
        DeciderKind::Rule => format!("the rule \"{name}\""),
        DeciderKind::Decision if name.is_empty() => "a decision without a name".to_owned(),
        DeciderKind::Decision => format!("the decision of \"{name}\""),
        DeciderKind::Default => "confirmation.default, because no rule was true".to_owned(),
        DeciderKind::Deadline => "the deadline (confirmation.at_deadline), because nobody had decided".to_owned(),
        DeciderKind::Provider => "the provider".to_owned(),
        DeciderKind::Unspecified => "something that this version does not know".to_owned(),
    }
}

/// The same of an entry of the ledger.
pub(super) fn decider_of(entry: &Decider) -> String {
    decider(entry.kind, &entry.name)
}

/// What came of a session, as a sentence's second half.
pub(super) fn result(result: v1::Result) -> &'static str {
    match result {
        v1::Result::Accepted => "the provider accepted it",
        v1::Result::AlreadyDone => "the provider had cancelled the session already",
        v1::Result::Refused => "the provider refused it for good",
        v1::Result::Expired => "the window closed before the provider took an action",
        v1::Result::Superseded => "the session ended at the provider by itself, or otherwise than was decided here",
        v1::Result::DryRun => "nobody was called, because this is a dry run",
        v1::Result::Unspecified => "with a result that this version does not know",
    }
}

/// Whether what was decided was done, or is nothing that anybody was called for.
pub(super) fn is_done(result: v1::Result) -> bool {
    match result {
        v1::Result::Accepted | v1::Result::AlreadyDone | v1::Result::DryRun => true,
        v1::Result::Refused | v1::Result::Expired | v1::Result::Superseded | v1::Result::Unspecified => false,
    }
}

/// Why a decision did not count.
pub(super) fn rejection(reason: RejectionReason) -> &'static str {
    match reason {
        RejectionReason::AlreadyDecided => "the session was decided before",
        RejectionReason::Expired => "the session's window had closed",
        RejectionReason::UnknownSession => "no such session opened in time (confirmation.unknown_session_ttl_s)",
        RejectionReason::SourceMismatch => "the session belongs to another source than the decision names",
        RejectionReason::Malformed => "the decision is not complete, or cannot be read",
        RejectionReason::TooManyEarly => {
            "the session had not opened, and too many decisions waited (confirmation.early_decisions_max)"
        }
        RejectionReason::Unspecified => "for a reason that this version does not know",
    }
}

/// A time, in UTC, to the millisecond.
pub(super) fn time(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// A time as far as it lies ahead or back.
pub(super) fn time_from(now: Timestamp, at: Timestamp) -> String {
    let ahead = at.duration_since(now);
    let whole = SignedDuration::from_secs(ahead.as_secs().abs());
    if ahead.is_negative() { format!("{at:.0} ({whole:#} ago)") } else { format!("{at:.0} (in {whole:#})") }
}

/// The operations of a session: kind and amount of each.
pub(super) fn operations(operations: &[Operation]) -> String {
    let mut shown: Vec<String> = operations.iter().take(OPERATIONS_MAX).map(operation).collect();
    if let Some(more @ 1..) = operations.len().checked_sub(OPERATIONS_MAX) {
        shown.push(format!("and {more} more"));
    }
    if shown.is_empty() { "no operation".to_owned() } else { shown.join(", ") }
}

fn operation(operation: &Operation) -> String {
    let kind = match operation.kind() {
        OperationKind::Payout => "payout",
        OperationKind::Payment => "payment",
        OperationKind::Unspecified => "operation",
    };
    format!("{kind} of {}", operation.amount.as_ref().map_or("unknown amount".to_owned(), amount))
}

/// An amount with its decimals, exactly.
fn amount(money: &Money) -> String {
    let currency = money.currency.as_deref().unwrap_or("unknown currency");
    let Some(exponent) = money.exponent.and_then(|exponent| usize::try_from(exponent).ok()).filter(|it| *it <= 64)
    else {
        return format!("{} minor units, {currency}", money.minor_units);
    };
    format!("{} {currency}", decimal(&money.minor_units.to_string(), exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_their_decimals() {
        for (minor_units, exponent, expected) in [
            (10_000, Some(2), "100.00 USD"),
            (5, Some(2), "0.05 USD"),
            (-5, Some(3), "-0.005 USD"),
            (700, Some(0), "700 USD"),
            (7, None, "7 minor units, USD"),
            (i64::MIN, Some(2), "-92233720368547758.08 USD"),
        ] {
            let money = Money { currency: Some("USD".to_owned()), minor_units, exponent };
            assert_eq!(amount(&money), expected);
        }
        assert_eq!(amount(&Money::default()), "0 minor units, unknown currency");
    }

    #[test]
    fn many_operations_are_counted() {
        let operation = Operation { kind: OperationKind::Payout.into(), ..Operation::default() };
        assert_eq!(operations(&[]), "no operation");
        assert_eq!(operations(std::slice::from_ref(&operation)), "payout of unknown amount");
        let many = operations(&vec![operation; 7]);
        assert!(many.ends_with(", and 2 more") && many.matches("payout").count() == 5, "{many}");
    }

    #[test]
    fn times_say_how_far_they_are() {
        let now: Timestamp = "2026-02-03T04:05:06.789Z".parse().unwrap();
        assert_eq!(time(now), "2026-02-03T04:05:06.789Z");
        let (later, before) = (now + SignedDuration::from_secs(3725), now - SignedDuration::from_secs(5));
        assert_eq!(time_from(now, later), "2026-02-03T05:07:11Z (in 1h 2m 5s)");
        assert_eq!(time_from(now, before), "2026-02-03T04:05:01Z (5s ago)");
    }
}
