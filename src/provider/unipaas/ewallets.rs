//! `ewallet/create` and `ewalletTransaction/create`: an account, and what moves on it.
//! Must not know how a body is told to be one, or what becomes of what it says.

use prost::Message;

use super::amounts::{self, amount};
use super::body::UnipaasBody;
use super::words::meaning;
use crate::message::timestamp;
use crate::message::unipaas::v1::{EwalletCreate, EwalletStatus, EwalletTransactionCreate, TransactionType};
use crate::provider::json::Reader;

const STATUSES: &[(&str, EwalletStatus)] = &[("created", EwalletStatus::Created)];

const TRANSACTION_TYPES: &[(&str, TransactionType)] = &[
    ("Auth", TransactionType::Auth),
    ("Sale", TransactionType::Sale),
    ("Auth3D", TransactionType::Auth3d),
    ("Sale3D", TransactionType::Sale3d),
    ("Settle", TransactionType::Settle),
    ("Capture", TransactionType::Capture),
    ("Void", TransactionType::Void),
    ("Refund", TransactionType::Refund),
    ("Funding", TransactionType::Funding),
    ("Payout", TransactionType::Payout),
    ("Transfer", TransactionType::Transfer),
    ("Chargeback", TransactionType::Chargeback),
    ("Cancel Chargeback", TransactionType::CancelChargeback),
    ("Correction", TransactionType::Correction),
    ("Risk", TransactionType::Risk),
];

/// Reads an `ewallet/create`, in its form of today or in the older one. It has no time of its own.
pub fn ewallet(body: &Reader<'_, '_>) -> UnipaasBody {
    let status_text = body.text("status");
    let create = EwalletCreate {
        metadata: None,
        ewallet_id: body.text("eWalletId").or_else(|| body.text("id")),
        vendor_id: body.text("vendorId"),
        platform_id: body.text("platformId").or_else(|| body.text("merchantId")),
        currency: amounts::currency(body),
        status: meaning(status_text.as_deref(), STATUSES).into(),
        status_text,
    };
    let fields = create.encode_to_vec();
    UnipaasBody { subject: create.ewallet_id, occurred_at: None, fields }
}

/// Reads an `ewalletTransaction/create`. It is about the account: an account's transactions stay in order.
pub fn transaction(body: &Reader<'_, '_>) -> UnipaasBody {
    let currency = amounts::currency(body);
    let money = |name| amount(body, name, currency.as_deref());
    let transaction_type_text = body.text("transactionType");
    let reconciled_text = body.word("reconciled");
    let created_at = body.time("createdAt");
    let create = EwalletTransactionCreate {
        metadata: None,
        id: body.text("id"),
        ewallet_id: body.text("eWalletId"),
        merchant_id: body.text("merchantId"),
        vendor_id: body.text("vendorId"),
        amount: money("amount"),
        reference: body.text("reference"),
        fees: money("fees"),
        fee_description: body.text("feeDesription"),
        r#type: body.text("type"),
        transaction_id: body.text("transactionId"),
        authorization_id: body.text("authorizationId"),
        transaction_type: meaning(transaction_type_text.as_deref(), TRANSACTION_TYPES).into(),
        transaction_type_text,
        transaction_result: body.text("transactionResult"),
        payment_method: body.text("paymentMethod"),
        payout_id: body.text("payoutId"),
        brand: body.text("brand"),
        issuer_country: body.text("issuerCountry"),
        reconciled: amounts::reconciled(reconciled_text.as_deref()).into(),
        reconciled_text,
        net_amount: money("netAmount"),
        pending_amount: money("pendingAmount"),
        payable_amount: money("payableAmount"),
        reserved_amount: money("reservedAmount"),
        payable_balance: money("payableBalance"),
        reserved_balance: money("reservedBalance"),
        metadata_json: body.json("metadata"),
        created_at: created_at.map(timestamp),
        currency,
    };
    let fields = create.encode_to_vec();
    UnipaasBody { subject: create.ewallet_id, occurred_at: created_at, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_types_as_they_drift() {
        for (text, expect) in [
            ("Sale", TransactionType::Sale),
            ("SALE_3D", TransactionType::Sale3d),
            ("cancelChargeback", TransactionType::CancelChargeback),
            ("Chargeback", TransactionType::Chargeback),
            ("Rounding", TransactionType::Unspecified),
        ] {
            assert_eq!(meaning(Some(text), TRANSACTION_TYPES), expect, "{text}");
        }
        assert_eq!(meaning(Some("CREATED"), STATUSES), EwalletStatus::Created);
        assert_eq!(meaning(Some("disabled"), STATUSES), EwalletStatus::Unspecified);
    }
}
