//! Sample webhooks as UNIPaaS would send them, signed with the platform's secret in the documented form.
//! Must not know how they are verified or read.

use bytes::Bytes;
use jiff::Timestamp;

use super::kinds::KINDS;
use super::signature::{SIGNATURE_HEADER, SigningKey};
use crate::provider::{EventType, Sender, SignedWebhook};

/// Sends as UNIPaaS does.
pub struct UnipaasSender {
    key: SigningKey,
}

impl UnipaasSender {
    /// A sender that signs with `key`.
    pub fn new(key: SigningKey) -> Self {
        Self { key }
    }
}

impl Sender for UnipaasSender {
    fn sample(&self, event_type: &EventType, now: Timestamp, number: u64) -> SignedWebhook {
        let name = KINDS.iter().find(|kind| kind.event_type == *event_type).map_or("", |kind| kind.name);
        let text: String = template(name).lines().map(str::trim_start).collect();
        let text = text.replace("$NUMBER", &number.to_string()).replace("$NOW", &format!("{now:.3}"));
        self.sign(name, text.into(), now, number)
    }

    fn sign(&self, path_suffix: &str, body: Bytes, _: Timestamp, _: u64) -> SignedWebhook {
        SignedWebhook {
            path_suffix: path_suffix.to_owned(),
            query: String::new(),
            headers: vec![("content-type", "application/json".to_owned()), (SIGNATURE_HEADER, self.key.sign(&body))],
            body,
        }
    }
}

/// The body of the webhook `name`, with `$NUMBER` and `$NOW` (ISO 8601) to be filled in and its lines to be joined.
/// It is text because the provider's amounts are numbers with decimals, which must not become binary fractions.
fn template(name: &str) -> &'static str {
    match name {
        "authorization/update" => AUTHORIZATION_UPDATE,
        "payout/update" => PAYOUT_UPDATE,
        "ewallet/create" => EWALLET_CREATE,
        "ewalletTransaction/create" => EWALLET_TRANSACTION_CREATE,
        "onboarding/update" => ONBOARDING_UPDATE,
        "notification/create" => NOTIFICATION_CREATE,
        "mandate/update" => MANDATE_UPDATE,
        "transfer/update" => TRANSFER_UPDATE,
        "paymentOption/update" => PAYMENT_OPTION_UPDATE,
        "plan/create" | "plan/update" => PLAN,
        _ => SUBSCRIPTION,
    }
}

const AUTHORIZATION_UPDATE: &str = r#"
    {"authorizationId":"au-$NUMBER","authorizationStatus":"Captured","currency":"GBP","amount":49.95,
    "orderid":"ord-$NUMBER","items":[{"name":"Chair","amount":49.95,"vendorId":"v-$NUMBER","quantity":1}],
    "transactionId":"t-$NUMBER","paymentMethod":"creditCard","checkoutId":"c-$NUMBER","checkoutStatus":"paid",
    "vendorId":"v-$NUMBER","paymentOption":{"cardAccount":{"brand":"VISA","bin":"476134","last4Digits":"1390",
    "issuerCountry":"GB"}},"reference":"ref-$NUMBER","consumerEmail":"buyer@example.com"}"#;

const PAYOUT_UPDATE: &str = r#"
    {"payoutId":"$NUMBER","status":"completed","amount":1200,"currency":"GBP","createdDate":"$NOW",
    "updatedDate":"$NOW","reconciled":"true"}"#;

const EWALLET_CREATE: &str = r#"
    {"eWalletId":"$NUMBER","vendorId":null,"platformId":"p-$NUMBER","currency":"GBP","status":"created"}"#;

const EWALLET_TRANSACTION_CREATE: &str = r#"
    {"id":"et-$NUMBER","merchantId":"p-1","vendorId":"v-$NUMBER","amount":49.95,"currency":"GBP",
    "reference":"ord-$NUMBER","fees":1.25,"type":"Credit","transactionId":"t-$NUMBER",
    "authorizationId":"au-$NUMBER","transactionType":"Sale","transactionResult":"Success",
    "paymentMethod":"creditCard","payoutId":null,"brand":"VISA","issuerCountry":"GB","reconciled":"false",
    "eWalletId":"$NUMBER","netAmount":48.7,"pendingAmount":48.7,"payableAmount":0,"reservedAmount":0,
    "payableBalance":120.05,"reservedBalance":0,"feeDesription":"Processing","metadata":{},"createdAt":"$NOW"}"#;

const ONBOARDING_UPDATE: &str = r#"
    {"vendorId":"v-$NUMBER","vendorName":"Chairs and Tables Ltd","onboardingStatus":"IN_REVIEW","status":"PENDING",
    "acceptPayments":true,"receivePayout":false,"onboardingLink":"https://vendor.example/onboarding",
    "reference":"ven-$NUMBER","actions":[],"type":"company","completionRate":100,"pendingFields":[]}"#;

const NOTIFICATION_CREATE: &str = r#"
    {"merchantId":"p-1","vendorId":"v-$NUMBER","vendorEmail":"vendor@example.com",
    "subject":"A mandate was approved","body":"The mandate m-$NUMBER is in force.","data":{"mandateId":"m-$NUMBER",
    "at":"$NOW"},"importance":"high","notificationMessage":"A mandate was approved","notificationId":"n-$NUMBER",
    "domEvent":"mandateApproved","actions":[],"group":"DirectDebit"}"#;

const MANDATE_UPDATE: &str = r#"
    {"merchantId":"p-1","vendorId":"v-$NUMBER","vendorName":"Chairs and Tables Ltd","id":"m-$NUMBER",
    "status":"active","consumer":"co-$NUMBER","consumerReference":"buyer-$NUMBER",
    "consumerEmail":"buyer@example.com","createdAt":"$NOW","mandateReference":"MD-$NUMBER",
    "paymentOptionId":"po-$NUMBER"}"#;

// No body of the following is published: these are what one may look like.

const TRANSFER_UPDATE: &str = r#"
    {"transferId":"tr-$NUMBER","status":"completed","amount":12.5,"currency":"GBP","updatedDate":"$NOW"}"#;

const PAYMENT_OPTION_UPDATE: &str = r#"
    {"paymentOptionId":"po-$NUMBER","status":"active","updatedDate":"$NOW"}"#;

const PLAN: &str = r#"
    {"planId":"pl-$NUMBER","name":"Monthly","amount":9.99,"currency":"GBP","updatedDate":"$NOW"}"#;

const SUBSCRIPTION: &str = r#"
    {"subscriptionId":"su-$NUMBER","planId":"pl-$NUMBER","status":"active","updatedDate":"$NOW"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_json_of_its_own_number() {
        for kind in &KINDS {
            let body: serde_json::Value = serde_json::from_str(template(kind.name)).unwrap();
            assert!(body.is_object() && body.to_string().contains("$NUMBER"), "{}", kind.name);
        }
    }
}
