//! Sample webhooks as UnDosTres would send them, encrypted with a key of the user's.
//! Must not know how they are verified.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::cipher::Cipher;
use super::normalize::TIME_FORMAT;
use super::wire::Wire;
use crate::provider::{EventType, Sender, SignedWebhook};

/// The account of the samples where the source lists none.
pub const ACCOUNT_ID: i64 = 321;

/// Sends as UnDosTres does, in the source's encoding and zone.
pub struct UnDosTresSender {
    /// Where and how the ciphertext stands in the body.
    pub wire: Wire,
    /// The key that encrypts.
    pub cipher: Cipher,
    /// The zone of the times.
    pub zone: TimeZone,
    /// The merchant's account.
    pub account_id: i64,
}

impl Sender for UnDosTresSender {
    fn sample(&self, event_type: &EventType, now: Timestamp, number: u64) -> SignedWebhook {
        self.sign("", self.notification(event_type.topic_part, now, number).to_string().into(), now, number)
    }

    fn sign(&self, path_suffix: &str, body: Bytes, _: Timestamp, _: u64) -> SignedWebhook {
        // Encrypting fails only when the library is broken; no ciphertext then fails to decrypt.
        let (content_type, body) = self.wire.body(self.cipher.encrypt(&body).unwrap_or_default());
        SignedWebhook {
            path_suffix: path_suffix.to_owned(),
            query: String::new(),
            headers: vec![("content-type", content_type.to_owned())],
            body,
        }
    }
}

impl UnDosTresSender {
    fn notification(&self, topic_part: &str, now: Timestamp, number: u64) -> Value {
        let at = now.to_zoned(self.zone.clone()).strftime(TIME_FORMAT).to_string();
        let (description, code, ids, details) = kind(topic_part, number);
        let mut notification = json!({
            "event_type": topic_part.replace('-', "_").to_ascii_uppercase(),
            "event_type_description": description, "webhook_notification_code": code,
            "created_at": at, "first_sent_at": at, "attempts": 1, "account_id": self.account_id,
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut notification, ids) {
            all.extend(more);
            all.insert("details".to_owned(), details);
        }
        notification
    }
}

/// The event that stands for its family: its sub-type, code, ids and details.
fn kind(topic_part: &str, number: u64) -> (&'static str, u32, Value, Value) {
    let request = json!({"customer_id": number, "request_id": number, "transaction_id": format!("trx_{number}")});
    let customer = json!({"customer_id": number});
    let done = |code: String| json!({"id": null, "code": code, "status": "success"});
    match topic_part {
        "payment-request-card" => ("CARD_REQUEST_SUCCESS", 5001, request, done(format!("preq_{number}"))),
        "payment-request-dmcl" => ("DMCL_REQUEST_SUCCESS", 6001, request, done(format!("preq_{number}"))),
        "payment-request-cashin" => ("CASHIN_REFERENCE_COMPLETED", 7001, request, paid_in_cash(number)),
        "payment-method-card" => ("PAYMENT_METHOD_CREATED", 3000, customer, done(format!("paycard_{number}"))),
        "payment-method-dmcl" => ("PAYMENT_METHOD_CREATED", 4000, customer, done(format!("paydmcl_{number}"))),
        "customer" => ("CUSTOMER_CREATED", 2000, customer, json!({"id": number, "code": null, "status": "success"})),
        // an account has no id of its own here: the detail tells two samples apart
        _ => ("ACCOUNT_UPDATED", 1100, json!({}), json!({"id": number, "code": null, "status": "success"})),
    }
}

fn paid_in_cash(number: u64) -> Value {
    json!({"id": null, "code": format!("payspei_{number}"), "amount": "150.00", "status": "success"})
}
