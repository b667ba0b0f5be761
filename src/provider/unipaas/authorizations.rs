//! `authorization/update`: where a payment stands.
//! Must not know how a body is told to be one, or what becomes of what it says.

use prost::Message;

use super::amounts::{self, amount};
use super::body::UnipaasBody;
use super::words::meaning;
use crate::message::unipaas::v1::{
    AuthorizationStatus, AuthorizationUpdate, BankAccount, CardAccount, CheckoutStatus, PaymentOption,
    payment_option::Account,
};
use crate::provider::json::Reader;

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
pub fn read(body: &Reader<'_, '_>) -> UnipaasBody {
    let currency = amounts::currency(body);
    let authorization_status_text = body.text("authorizationStatus");
    let checkout_status_text = body.text("checkoutStatus");
    let update = AuthorizationUpdate {
        metadata: None,
        authorization_id: body.text("authorizationId"),
        authorization_status: meaning(authorization_status_text.as_deref(), AUTHORIZATION_STATUSES).into(),
        authorization_status_text,
        amount: amount(body, "amount", currency.as_deref()),
        currency,
        order_id: body.text("orderid").or_else(|| body.text("orderId")),
        items_json: body.json("items"),
        transaction_id: body.text("transactionId"),
        payment_method: body.text("paymentMethod"),
        checkout_id: body.text("checkoutId"),
        checkout_status: meaning(checkout_status_text.as_deref(), CHECKOUT_STATUSES).into(),
        checkout_status_text,
        vendor_id: body.text("vendorId"),
        payment_option: body.object("paymentOption", payment_option),
        reference: body.text("reference"),
        plan_id: body.text("planId"),
        subscription_id: body.text("subscriptionId"),
        declined_reason: body.text("declinedReason"),
        description: body.text("description"),
        metadata_json: body.json("metadata"),
        consumer_email: body.text("consumerEmail"),
        consumer_id: body.text("consumerId"),
    };
    let fields = update.encode_to_vec();
    UnipaasBody { subject: update.authorization_id, occurred_at: None, fields }
}

fn payment_option(option: &Reader<'_, '_>) -> PaymentOption {
    let card = option.object("cardAccount", card_account).map(Account::CardAccount);
    let bank = option.object("bankAccount", bank_account).map(Account::BankAccount);
    let other_json = option.others(&["cardAccount", "bankAccount"]);
    PaymentOption { account: card.or(bank), other_json }
}

fn card_account(card: &Reader<'_, '_>) -> CardAccount {
    CardAccount {
        brand: card.text("brand"),
        bin: card.text("bin"),
        last4: card.text("last4Digits"),
        issuer_country: card.text("issuerCountry"),
    }
}

fn bank_account(bank: &Reader<'_, '_>) -> BankAccount {
    BankAccount { brand: bank.text("brand") }
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
