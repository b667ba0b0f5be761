//! `authorization/update`: where a payment stands.
//! Must not know how a body is told to be one, or what becomes of what it says.

use prost::Message;

use super::amounts::{self, amount};
use super::kinds::Reading;
use super::words::meaning;
use crate::message::unipaas::v1::{
    AuthorizationStatus, AuthorizationUpdate, BankAccount, CardAccount, CheckoutStatus, PaymentOption,
    payment_option::Account,
};
use crate::provider::json::{Object, Wrong};

const AUTHORIZATION_STATUSES: &[(&str, AuthorizationStatus)] = &[
    ("INITIALIZED", AuthorizationStatus::Initialized),
    ("AUTHORIZED", AuthorizationStatus::Authorized),
    ("CAPTURED", AuthorizationStatus::Captured),
    ("VOIDED", AuthorizationStatus::Voided),
    ("REFUNDED", AuthorizationStatus::Refunded),
    ("PARTIALLY_REFUNDED", AuthorizationStatus::PartiallyRefunded),
    ("PARTIALLY_CAPTURED", AuthorizationStatus::PartiallyCaptured),
    ("PARTIALLY_VOIDED", AuthorizationStatus::PartiallyVoided),
    ("DECLINED", AuthorizationStatus::Declined),
    ("PENDING", AuthorizationStatus::Pending),
    ("PENDING_3D", AuthorizationStatus::Pending3d),
    ("CANCELLED", AuthorizationStatus::Cancelled),
    ("CANCELED", AuthorizationStatus::Cancelled),
    ("ERROR", AuthorizationStatus::Error),
];

const CHECKOUT_STATUSES: &[(&str, CheckoutStatus)] = &[
    ("open", CheckoutStatus::Open),
    ("pending", CheckoutStatus::Pending),
    ("unpaid", CheckoutStatus::Unpaid),
    ("expired", CheckoutStatus::Expired),
    ("paid", CheckoutStatus::Paid),
    ("declined", CheckoutStatus::Declined),
];

/// Reads an `authorization/update`. It has no time of its own.
///
/// # Errors
/// A field is not what the contract says.
pub fn read(body: &Object<'_>) -> Result<Reading, Wrong> {
    let currency = amounts::currency(body)?;
    let authorization_status_text = body.text("authorizationStatus")?;
    let checkout_status_text = body.text("checkoutStatus")?;
    let update = AuthorizationUpdate {
        metadata: None,
        authorization_id: body.identifier("authorizationId")?,
        authorization_status: meaning(authorization_status_text.as_deref(), AUTHORIZATION_STATUSES).into(),
        authorization_status_text,
        amount: amount(body, "amount", currency.as_deref())?,
        currency,
        order_id: body.identifier("orderid")?.or(body.identifier("orderId")?),
        items_json: body.json("items"),
        transaction_id: body.identifier("transactionId")?,
        payment_method: body.text("paymentMethod")?,
        checkout_id: body.identifier("checkoutId")?,
        checkout_status: meaning(checkout_status_text.as_deref(), CHECKOUT_STATUSES).into(),
        checkout_status_text,
        vendor_id: body.identifier("vendorId")?,
        payment_option: body.object("paymentOption", payment_option)?,
        reference: body.identifier("reference")?,
        plan_id: body.identifier("planId")?,
        subscription_id: body.identifier("subscriptionId")?,
        declined_reason: body.identifier("declinedReason")?,
        description: body.identifier("description")?,
        metadata_json: body.json("metadata"),
        consumer_email: body.text("consumerEmail")?,
        consumer_id: body.identifier("consumerId")?,
    };
    let fields = update.encode_to_vec();
    Ok(Reading { subject: update.authorization_id, occurred_at: None, fields })
}

fn payment_option(option: &Object<'_>) -> Result<PaymentOption, Wrong> {
    let card = option.object("cardAccount", card_account)?.map(Account::CardAccount);
    let bank = option.object("bankAccount", bank_account)?.map(Account::BankAccount);
    let other_json = option.others(&["cardAccount", "bankAccount"]);
    Ok(PaymentOption { account: card.or(bank), other_json })
}

fn card_account(card: &Object<'_>) -> Result<CardAccount, Wrong> {
    Ok(CardAccount {
        brand: card.text("brand")?,
        bin: card.identifier("bin")?,
        last4: card.identifier("last4Digits")?,
        issuer_country: card.text("issuerCountry")?,
    })
}

fn bank_account(bank: &Object<'_>) -> Result<BankAccount, Wrong> {
    Ok(BankAccount { brand: bank.text("brand")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_statuses_as_they_drift() {
        use AuthorizationStatus::{Cancelled, Captured, PartiallyRefunded, Pending, Pending3d, Unspecified};
        for (text, expect) in [
            ("Captured", Captured),
            ("Partially Refunded", PartiallyRefunded),
            ("partiallyRefunded", PartiallyRefunded),
            ("Pending", Pending),
            ("pending 3D", Pending3d),
            ("canceled", Cancelled),
            ("Chargeback", Unspecified),
        ] {
            assert_eq!(meaning(Some(text), AUTHORIZATION_STATUSES), expect, "{text}");
        }
        assert_eq!(meaning(Some("PAID"), CHECKOUT_STATUSES), CheckoutStatus::Paid);
        assert_eq!(meaning(Some("voided"), CHECKOUT_STATUSES), CheckoutStatus::Unspecified);
    }
}
