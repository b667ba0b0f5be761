//! `payout/update`: where a payout stands.
//! Must not know how a body is told to be one, or what becomes of what it says.

use prost::Message;

use super::amounts::{self, amount};
use super::body::UnipaasBody;
use super::words::meaning;
use crate::message::timestamp;
use crate::message::unipaas::v1::{PayoutStatus, PayoutUpdate};
use crate::provider::json::Reader;

const STATUSES: &[(&str, PayoutStatus)] = &[
    ("initialized", PayoutStatus::Initialized),
    ("pending", PayoutStatus::Pending),
    ("sent", PayoutStatus::Sent),
    ("completed", PayoutStatus::Completed),
    ("failed", PayoutStatus::Failed),
    ("canceled", PayoutStatus::Cancelled),
    ("cancelled", PayoutStatus::Cancelled),
    ("declined", PayoutStatus::Declined),
    ("unknown", PayoutStatus::Unknown),
    ("in_review", PayoutStatus::InReview),
];

/// Reads a `payout/update`.
pub fn read(body: &Reader<'_, '_>) -> UnipaasBody {
    let currency = amounts::currency(body);
    let status_text = body.text("status");
    let reconciled_text = body.word("reconciled");
    let created_at = body.time("createdDate");
    let updated_at = body.time("updatedDate");
    let update = PayoutUpdate {
        metadata: None,
        payout_id: body.text("payoutId"),
        status: meaning(status_text.as_deref(), STATUSES).into(),
        status_text,
        amount: amount(body, "amount", currency.as_deref()),
        currency,
        created_at: created_at.map(timestamp),
        updated_at: updated_at.map(timestamp),
        target_reference_id: body.text("targetReferenceId"),
        reconciled: amounts::reconciled(reconciled_text.as_deref()).into(),
        reconciled_text,
    };
    let fields = update.encode_to_vec();
    UnipaasBody { subject: update.payout_id, occurred_at: updated_at.or(created_at), fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_statuses_as_they_drift() {
        for (text, expect) in [
            ("COMPLETED", PayoutStatus::Completed),
            ("In Review", PayoutStatus::InReview),
            ("cancelled", PayoutStatus::Cancelled),
            ("unknown", PayoutStatus::Unknown),
            ("returned", PayoutStatus::Unspecified),
        ] {
            assert_eq!(meaning(Some(text), STATUSES), expect, "{text}");
        }
    }
}
