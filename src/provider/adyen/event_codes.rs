//! Adyen's event codes, and the topic of each. A code that is not known is an event too.
//! Must not know anything else of an item.
//! <https://github.com/Adyen/adyen-openapi> (json/Webhooks-v1.json), and the constants of Adyen's libraries.

use crate::provider::{EventType, Payload};

/// What fits none of [`PARTS`].
static RECEIVED: EventType = of_part("received");

/// A topic for each kind of code.
pub static EVENT_TYPES: [EventType; 7] = [
    of_part("payment"),
    of_part("refund"),
    of_part("dispute"),
    of_part("payout"),
    of_part("token"),
    of_part("report"),
    of_part("received"),
];

/// Which codes go to which topic. One that ends in `*` stands for all that begin so, for Adyen adds codes to these families.
const PARTS: [(&str, &[&str]); 6] = [
    (
        "payment",
        &[
            "AUTHENTICATION",
            "AUTHORISATION*",
            "AUTHORISE_REFERRAL",
            "AUTORESCUE",
            "CANCEL*",
            "CAPTURE*",
            "DONATION",
            "EXPIRE",
            "HANDLED_EXTERNALLY",
            "MANUAL_REVIEW_*",
            "OFFER_CLOSED",
            "ORDER_*",
            "PENDING",
            "PROCESS_RETRY",
            "TECHNICAL_CANCEL",
        ],
    ),
    ("refund", &["POSTPONED_REFUND", "REFUND*", "VOID_PENDING_REFUND"]),
    (
        "dispute",
        &[
            "CHARGEBACK*",
            "DISPUTE_*",
            "INFORMATION_SUPPLIED",
            "ISSUER_*",
            "NOTIFICATION_OF_CHARGEBACK",
            "NOTIFICATION_OF_FRAUD",
            "PREARBITRATION_*",
            "REQUEST_FOR_INFORMATION",
            "SCHEME_ARBITRATION*",
            "SECOND_CHARGEBACK",
        ],
    ),
    ("payout", &["PAIDOUT_REVERSED", "PAYOUT_*"]),
    ("token", &["DEACTIVATE_RECURRING", "RECURRING_CONTRACT", "SUBMIT_RECURRING"]),
    ("report", &["REPORT_AVAILABLE"]),
];

const fn of_part(topic_part: &'static str) -> EventType {
    EventType { topic_part, message: "paybridge.adyen.v1.Notification", payload: Payload::Typed }
}

/// The topic of a code.
pub fn event_type(code: &str) -> &'static EventType {
    let fits = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(beginning) => code.starts_with(beginning),
        None => code == *pattern,
    };
    let part = PARTS.iter().find(|(_, patterns)| patterns.iter().any(fits));
    let known = part.and_then(|(part, _)| EVENT_TYPES.iter().find(|event_type| event_type.topic_part == *part));
    known.unwrap_or(&RECEIVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_topic_and_an_unknown_one_too() {
        for (part, codes) in [
            (
                "payment",
                "AUTHORISATION AUTHORISATION_ADJUSTMENT AUTHORISATION_PENDING PENDING CAPTURE CAPTURE_FAILED CANCELLATION \
                 CANCEL_OR_REFUND TECHNICAL_CANCEL EXPIRE OFFER_CLOSED ORDER_OPENED ORDER_CLOSED AUTORESCUE \
                 CANCEL_AUTORESCUE MANUAL_REVIEW_ACCEPT MANUAL_REVIEW_REJECT HANDLED_EXTERNALLY PROCESS_RETRY DONATION \
                 CAPTURE_WITH_EXTERNAL_AUTH AUTHENTICATION",
            ),
            ("refund", "REFUND REFUND_FAILED REFUND_WITH_DATA REFUNDED_REVERSED POSTPONED_REFUND VOID_PENDING_REFUND"),
            (
                "dispute",
                "REQUEST_FOR_INFORMATION NOTIFICATION_OF_CHARGEBACK CHARGEBACK CHARGEBACK_REVERSED SECOND_CHARGEBACK \
                 NOTIFICATION_OF_FRAUD PREARBITRATION_WON PREARBITRATION_LOST PREARBITRATION_OPEN SCHEME_ARBITRATION \
                 SCHEME_ARBITRATION_WON INFORMATION_SUPPLIED ISSUER_COMMENTS ISSUER_RESPONSE_TIMEFRAME_EXPIRED \
                 DISPUTE_DEFENSE_PERIOD_ENDED",
            ),
            ("payout", "PAYOUT_THIRDPARTY PAYOUT_DECLINE PAYOUT_EXPIRE PAIDOUT_REVERSED"),
            ("token", "RECURRING_CONTRACT DEACTIVATE_RECURRING SUBMIT_RECURRING"),
            ("report", "REPORT_AVAILABLE"),
            (
                "received",
                "FUND_TRANSFER FRAUD_ONLY ADVICE_OF_DEBIT SOMETHING_NEW authorisation EXPIRED ORDER REPORT_AVAILABLE_2",
            ),
        ] {
            for code in codes.split_whitespace() {
                assert_eq!(event_type(code).topic_part, part, "{code}");
            }
        }
        assert_eq!(event_type("").topic_part, "received");
        let parts: Vec<&str> = EVENT_TYPES.iter().map(|event_type| event_type.topic_part).collect();
        assert!(PARTS.iter().all(|(part, _)| parts.contains(part)) && parts.contains(&RECEIVED.topic_part));
    }
}
