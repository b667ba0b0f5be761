//! Sample webhooks as Smart Glocal would send them, signed with a key of the user's.
//! Must not know how they are verified.

use aws_lc_rs::signature::RsaKeyPair;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::signing::{SIGNATURE_HEADER, signature};
use crate::provider::{EventType, Sender, SignedWebhook};

/// Sends as Smart Glocal does, in API version 2.
pub struct SmartGlocalSender {
    key: RsaKeyPair,
}

impl SmartGlocalSender {
    /// A sender that signs with `key`.
    pub fn new(key: RsaKeyPair) -> Self {
        Self { key }
    }
}

impl Sender for SmartGlocalSender {
    fn sample(&self, event_type: &EventType, now: Timestamp, number: u64) -> SignedWebhook {
        self.sign("", body(event_type.topic_part, now, number).to_string().into(), now, number)
    }

    fn sign(&self, path_suffix: &str, body: Bytes, _: Timestamp, _: u64) -> SignedWebhook {
        let signature = signature(&self.key, &body);
        SignedWebhook {
            path_suffix: path_suffix.to_owned(),
            query: String::new(),
            headers: vec![("content-type", "application/json".to_owned()), (SIGNATURE_HEADER, signature)],
            body,
        }
    }
}

fn body(topic_part: &str, now: Timestamp, number: u64) -> Value {
    let at = format!("{now:.6}");
    let (status, next_action, operation_status, more) = match topic_part {
        "action-required" => ("in_progress", None, "pending", json!({"customer_interaction": interaction()})),
        "ready-to-capture" => ("in_progress", Some("capture"), "pending", json!({})),
        "payment-finished" => ("accepted", None, "succeeded", json!({"transaction_info": transaction_info()})),
        "payment-refunded" => ("accepted", None, "succeeded", json!({"refunds": refunds(&at, number)})),
        _ => ("in_progress", Some("confirm"), "pending", json!({})),
    };
    let (list, id, details, cents) = match topic_part {
        "ready-to-confirm" => ("payout_list", "po", "payout_details", waiting_cents(number)),
        _ => ("payment_list", "pm", "payment_details", 10_000),
    };
    let mut operation = json!({
        "id": format!("{id}_{number}"), "status": operation_status, "created_at": at,
        "customer": {"reference": format!("user-{number}"), "contacts": [{"email": "payer@example.com"}]},
        details: {"type": "card", "card": {"last4": "4242", "brand": "visa"}},
        "amount_details": {"amount": cents, "currency": "usd"},
        "metadata": "sample",
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut operation, more) {
        fields.extend(more);
    }
    json!({"type": topic_part.replace('-', "_"), "session": {
        "id": format!("ps_{number}"), "status": status, "created_at": at, "updated_at": at,
        "next_action": next_action, list: [operation],
    }})
}

/// What a session that waits is about: amounts that rules tell apart, by turns.
fn waiting_cents(number: u64) -> u32 {
    match number % 5 {
        0 => 10_000,
        1 => 2_500,
        2 => 60_000,
        3 => 250_000,
        _ => 1_500_000,
    }
}

fn interaction() -> Value {
    json!({"type": "redirect", "redirect": {"url": "https://bank.example/3ds?order=1",
        "base_url": "https://bank.example/3ds", "method": "GET", "qs": {"order": "1"}, "params": {}}})
}

fn transaction_info() -> Value {
    json!({"rrn": "123456789012", "auth_code": "A1B2C3"})
}

fn refunds(at: &str, number: u64) -> Value {
    json!([{"id": format!("rf_{number}"), "status": "accepted", "created_at": at, "finished_at": at,
        "is_chargeback": false, "amount_details": {"amount": 2_500, "currency": "usd"}}])
}
