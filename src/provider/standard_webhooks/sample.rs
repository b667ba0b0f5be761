//! Sample webhooks as a sender that follows Standard Webhooks would send them.
//! Must not know how they are verified.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use super::signature::SigningSecret;
use super::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use crate::provider::{EventType, Sender, SignedWebhook};

/// Sends webhooks of the type `invoice.paid`.
pub struct StandardWebhooksSender {
    /// The secret that signs.
    pub secret: SigningSecret,
}

impl Sender for StandardWebhooksSender {
    fn sample(&self, _: &EventType, now: Timestamp, number: u64) -> SignedWebhook {
        let body = json!({"type": "invoice.paid", "timestamp": format!("{now:.6}"),
            "data": {"id": format!("in_{number}"), "amount": 4_995, "currency": "EUR"}});
        self.sign("", body.to_string().into(), now, number)
    }

    fn sign(&self, path_suffix: &str, body: Bytes, now: Timestamp, number: u64) -> SignedWebhook {
        let (id, time) = (format!("msg_{number}"), now.as_second().to_string());
        let signature = self.secret.sign(&id, &time, &body);
        SignedWebhook {
            path_suffix: path_suffix.to_owned(),
            query: String::new(),
            headers: vec![
                ("content-type", "application/json".to_owned()),
                (ID_HEADER, id),
                (TIMESTAMP_HEADER, time),
                (SIGNATURE_HEADER, signature),
            ],
            body,
        }
    }
}
