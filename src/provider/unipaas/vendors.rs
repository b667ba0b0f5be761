//! `onboarding/update` and `notification/create`: where a vendor stands, and what a vendor is told.
//! Must not know how a body is told to be one, or what becomes of what it says.

use prost::Message;

use super::kinds::Reading;
use super::words::meaning;
use crate::message::unipaas::v1::{NotificationCreate, OnboardingStatus, OnboardingUpdate};
use crate::provider::json::{Object, Wrong};

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
///
/// # Errors
/// A field is not what the contract says.
pub fn onboarding(body: &Object<'_>) -> Result<Reading, Wrong> {
    let onboarding_status_text = body.text("onboardingStatus")?;
    let update = OnboardingUpdate {
        metadata: None,
        vendor_id: body.identifier("vendorId")?,
        vendor_name: body.identifier("vendorName")?,
        onboarding_status: meaning(onboarding_status_text.as_deref(), ONBOARDING_STATUSES).into(),
        onboarding_status_text,
        status_text: body.text("status")?,
        accept_payments: body.boolean("acceptPayments")?,
        receive_payout: body.boolean("receivePayout")?,
        onboarding_link: body.text("onboardingLink")?,
        reference: body.identifier("reference")?,
        actions_json: body.json("actions"),
        r#type: body.text("type")?,
        completion_rate_text: body.identifier("completionRate")?,
        pending_fields_json: body.json("pendingFields"),
    };
    let fields = update.encode_to_vec();
    Ok(Reading { subject: update.vendor_id, occurred_at: None, fields })
}

/// Reads a `notification/create`.
///
/// # Errors
/// A field is not what the contract says.
pub fn notification(body: &Object<'_>) -> Result<Reading, Wrong> {
    let create = NotificationCreate {
        metadata: None,
        merchant_id: body.identifier("merchantId")?,
        vendor_id: body.identifier("vendorId")?,
        vendor_email: body.text("vendorEmail")?,
        subject: body.text("subject")?,
        body: body.text("body")?,
        data_json: body.json("data"),
        importance: body.text("importance")?,
        notification_message: body.text("notificationMessage")?,
        notification_id: body.identifier("notificationId")?,
        dom_event: body.text("domEvent")?,
        actions_json: body.json("actions"),
        group: body.text("group")?,
    };
    let fields = create.encode_to_vec();
    Ok(Reading { subject: create.vendor_id, occurred_at: None, fields })
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
