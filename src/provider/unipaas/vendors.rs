//! `onboarding/update` and `notification/create`: where a vendor stands, and what a vendor is told.
//! Must not know how a body is told to be one, or what becomes of what it says.

use prost::Message;

use super::body::UnipaasBody;
use super::words::meaning;
use crate::message::unipaas::v1::{NotificationCreate, OnboardingStatus, OnboardingUpdate};
use crate::provider::json::Reader;

const ONBOARDING_STATUSES: &[(&str, OnboardingStatus)] = &[
    ("CREATED", OnboardingStatus::Created),
    ("PENDING", OnboardingStatus::Pending),
    ("STARTED", OnboardingStatus::Started),
    ("ACTION_REQUIRED", OnboardingStatus::ActionRequired),
    ("RESTRICTED", OnboardingStatus::Restricted),
    ("IN_REVIEW", OnboardingStatus::InReview),
    ("REJECTED", OnboardingStatus::Rejected),
    ("ACCEPT_PAYMENTS", OnboardingStatus::AcceptPayments),
    ("COMPLETED", OnboardingStatus::Completed),
    ("CLOSED", OnboardingStatus::Closed),
    ("TERMINATED", OnboardingStatus::Terminated),
];

/// Reads an `onboarding/update`. It has no time of its own.
pub fn onboarding(body: &Reader<'_, '_>) -> UnipaasBody {
    let onboarding_status_text = body.text("onboardingStatus");
    let update = OnboardingUpdate {
        metadata: None,
        vendor_id: body.text("vendorId"),
        vendor_name: body.text("vendorName"),
        onboarding_status: meaning(onboarding_status_text.as_deref(), ONBOARDING_STATUSES).into(),
        onboarding_status_text,
        status_text: body.text("status"),
        accept_payments: body.boolean("acceptPayments"),
        receive_payout: body.boolean("receivePayout"),
        onboarding_link: body.text("onboardingLink"),
        reference: body.text("reference"),
        actions_json: body.json("actions"),
        r#type: body.text("type"),
        completion_rate_text: body.text("completionRate"),
        pending_fields_json: body.json("pendingFields"),
    };
    let fields = update.encode_to_vec();
    UnipaasBody { subject: update.vendor_id, occurred_at: None, fields }
}

/// Reads a `notification/create`.
pub fn notification(body: &Reader<'_, '_>) -> UnipaasBody {
    let create = NotificationCreate {
        metadata: None,
        merchant_id: body.text("merchantId"),
        vendor_id: body.text("vendorId"),
        vendor_email: body.text("vendorEmail"),
        subject: body.text("subject"),
        body: body.text("body"),
        data_json: body.json("data"),
        importance: body.text("importance"),
        notification_message: body.text("notificationMessage"),
        notification_id: body.text("notificationId"),
        dom_event: body.text("domEvent"),
        actions_json: body.json("actions"),
        group: body.text("group"),
    };
    let fields = create.encode_to_vec();
    UnipaasBody { subject: create.vendor_id, occurred_at: None, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_statuses_as_they_drift() {
        for (text, expect) in [
            ("ACTION_REQUIRED", OnboardingStatus::ActionRequired),
            ("action required", OnboardingStatus::ActionRequired),
            ("AcceptPayments", OnboardingStatus::AcceptPayments),
            ("in-review", OnboardingStatus::InReview),
            ("PAUSED", OnboardingStatus::Unspecified),
        ] {
            assert_eq!(meaning(Some(text), ONBOARDING_STATUSES), expect, "{text}");
        }
    }
}
