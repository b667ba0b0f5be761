//! Sample webhooks as Adyen would send them, one item each, signed.
//! Must not know how they are verified or understood.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::basic_auth::Credentials;
use super::items::SignedValues;
use super::signature::HmacKey;
use crate::provider::json;
use crate::provider::{EventType, Sender, SignedWebhook};

/// Sends as Adyen does.
pub struct AdyenSender {
    /// The key that signs.
    pub key: HmacKey,
    /// What the header `Authorization` has, where one is configured.
    pub credentials: Option<Credentials>,
}

impl Sender for AdyenSender {
    fn sample(&self, event_type: &EventType, now: Timestamp, number: u64) -> SignedWebhook {
        let item = item(event_type.topic_part, now, number);
        let body = json!({"live": "false", "notificationItems": [{"NotificationRequestItem": item}]});
        self.sign("", body.to_string().into(), now, number)
    }

    fn sign(&self, path_suffix: &str, body: Bytes, _: Timestamp, _: u64) -> SignedWebhook {
        let authorization = self.credentials.iter().map(|credentials| (AUTHORIZATION.as_str(), credentials.header()));
        let headers = [("content-type", "application/json".to_owned())].into_iter().chain(authorization).collect();
        let body = self.signed(&body).unwrap_or(body);
        SignedWebhook { path_suffix: path_suffix.to_owned(), query: String::new(), headers, body }
    }
}

impl AdyenSender {
    /// The body with a signature in each item; none where it has no items, or all are signed already.
    fn signed(&self, body: &[u8]) -> Option<Bytes> {
        let before: Value = serde_json::from_slice(body).ok()?;
        let mut after = before.clone();
        match after.get_mut("notificationItems") {
            Some(Value::Array(items)) => items.iter_mut().for_each(|item| self.sign_item(item)),
            Some(item) => self.sign_item(item),
            None => self.sign_item(&mut after),
        }
        (after != before).then(|| after.to_string().into())
    }

    fn sign_item(&self, item: &mut Value) {
        let item = match item {
            Value::Object(wrapper) if wrapper.get("NotificationRequestItem").is_some_and(Value::is_object) => {
                wrapper.get_mut("NotificationRequestItem").and_then(Value::as_object_mut)
            }
            item => item.as_object_mut(),
        };
        if let Some(item) = item
            && let Some(signature) = self.signature(item)
            && let Some(additional) = item.entry("additionalData").or_insert_with(|| json!({})).as_object_mut()
        {
            additional.insert("hmacSignature".to_owned(), signature.into());
        }
    }

    /// None where the item is not of Adyen's form.
    fn signature(&self, item: &Map<String, Value>) -> Option<String> {
        let text = serde_json::to_string(item).ok()?;
        let document = json::parse(text.as_bytes()).ok()?;
        SignedValues::of(document.object()).map(|signed| self.key.sign(&signed))
    }
}

/// An item of an event code of this topic.
fn item(topic_part: &str, now: Timestamp, number: u64) -> Value {
    // Adyen's references have 16 characters.
    let (payment, own) = (format!("PAY{number:013}"), format!("MOD{number:013}"));
    let mut item = json!({
        "additionalData": {},
        "amount": {"currency": "EUR", "value": 4995},
        "eventDate": format!("{}+00:00", now.strftime("%Y-%m-%dT%H:%M:%S")),
        "merchantAccountCode": "ShopECOM",
        "merchantReference": format!("order-{number}"),
        "success": "true",
    });
    let fields = match topic_part {
        "payment" => json!({"eventCode": "AUTHORISATION", "pspReference": payment, "paymentMethod": "visa",
            "operations": ["CANCEL", "CAPTURE", "REFUND"], "reason": "033899:1111:03/2030",
            "additionalData": {"authCode": "033899", "cardSummary": "1111", "expiryDate": "03/2030"}}),
        "refund" => json!({"eventCode": "REFUND", "pspReference": own, "originalReference": payment,
            "paymentMethod": "visa", "reason": ""}),
        "dispute" => json!({"eventCode": "CHARGEBACK", "pspReference": own, "originalReference": payment,
            "paymentMethod": "visa", "reason": "Fraudulent", "additionalData": {"chargebackReasonCode": "10.4",
            "chargebackSchemeCode": "visa", "disputeStatus": "Undefended", "defendable": "true"}}),
        "payout" => json!({"eventCode": "PAYOUT_THIRDPARTY", "pspReference": own, "reason": ""}),
        "token" => json!({"eventCode": "RECURRING_CONTRACT", "pspReference": own, "originalReference": payment,
            "originalPsp": payment, "paymentMethod": "visa", "reason": "",
            "amount": {"currency": "EUR", "value": 0}, "additionalData": {"shopperReference": format!("shopper-{number}")}}),
        "report" => json!({"eventCode": "REPORT_AVAILABLE", "amount": {"currency": "EUR", "value": 0},
            "pspReference": format!("settlement_detail_report_batch_{number}.csv"), "merchantReference": "",
            "reason": format!("https://reports.example/settlement_detail_report_batch_{number}.csv")}),
        _ => json!({"eventCode": "FUND_TRANSFER", "pspReference": own, "reason": ""}),
    };
    if let (Some(item), Value::Object(fields)) = (item.as_object_mut(), fields) {
        item.extend(fields);
    }
    item
}
