//! `mandate/update`: where a direct debit mandate stands.
//! Must not know how a body is told to be one, or what becomes of what it says.

use prost::Message;

use super::body::UnipaasBody;
use super::words::meaning;
use crate::message::timestamp;
use crate::message::unipaas::v1::{MandateStatus, MandateUpdate};
use crate::provider::json::Reader;

const STATUSES: &[(&str, MandateStatus)] = &[
    ("sent", MandateStatus::Sent),
    ("pending_approval", MandateStatus::PendingApproval),
    ("active", MandateStatus::Active),
    ("declined", MandateStatus::Declined),
    ("rejected", MandateStatus::Rejected),
    ("cancelled", MandateStatus::Cancelled),
    ("canceled", MandateStatus::Cancelled),
];

/// Reads a `mandate/update`. Its only time is the mandate's creation.
pub fn read(body: &Reader<'_, '_>) -> UnipaasBody {
    let status_text = body.text("status");
    let created_at = body.time("createdAt");
    let update = MandateUpdate {
        metadata: None,
        id: body.text("id"),
        merchant_id: body.text("merchantId"),
        vendor_id: body.text("vendorId"),
        vendor_name: body.text("vendorName"),
        status: meaning(status_text.as_deref(), STATUSES).into(),
        status_text,
        consumer: body.text("consumer"),
        consumer_reference: body.text("consumerReference"),
        consumer_email: body.text("consumerEmail"),
        created_at: created_at.map(timestamp),
        mandate_reference: body.text("mandateReference"),
        payment_option_id: body.text("paymentOptionId"),
    };
    let fields = update.encode_to_vec();
    // The mandate's creation is not the update's time.
    UnipaasBody { subject: update.id, occurred_at: None, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_statuses_as_they_drift() {
        for (text, expect) in [
            ("Pending Approval", MandateStatus::PendingApproval),
            ("ACTIVE", MandateStatus::Active),
            ("canceled", MandateStatus::Cancelled),
            ("expired", MandateStatus::Unspecified),
        ] {
            assert_eq!(meaning(Some(text), STATUSES), expect, "{text}");
        }
    }
}
