//! What a decrypted UnDosTres notification says.
//! Must not know keys or ciphertext. Fields that the contract does not name are tolerated.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::family::{About, Family};
use crate::message::timestamp;
use crate::message::undostres::v1::{ActionStatus, Details, Envelope, FailedReason};
use crate::provider::json::{self, Place, Reader, Unread};
use crate::provider::{Content, EventId, Identity, Normalized, Undecodable, money};

/// How the provider writes times: to the second, without a zone.
pub const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// `attempts` grows on a redelivery; `first_sent_at` tells of the sending, not of the event.
static VOLATILE: Place = Place::Fields(&[("attempts", Place::Here), ("first_sent_at", Place::Here)]);

const CODE: &str = "webhook_notification_code";

/// Reads notifications of one source.
pub struct Notifications {
    /// The zone of the provider's times.
    pub zone: TimeZone,
    /// ISO 4217 code of the amounts.
    pub currency: Option<String>,
}

struct UndostresBody {
    subject: Option<String>,
    occurred_at: Option<Timestamp>,
    content: Content,
}

impl Notifications {
    /// Understands one decrypted body of the source named `source`.
    pub fn normalize(&self, source: &str, plaintext: &[u8]) -> Normalized {
        let unread = Unread::default();
        let (event_type, volatile, reading) = match json::parse(plaintext) {
            Ok(document) => {
                let body = Reader::new(document.object(), &unread);
                let event_type = body.text("event_type").unwrap_or_default();
                let reading = self.read(&body, &event_type);
                (event_type, json::ranges(plaintext, document.object(), &VOLATILE), reading)
            }
            Err(undecodable) => (String::new(), Vec::new(), Err(undecodable)),
        };
        let reading = reading.unwrap_or_else(|undecodable| UndostresBody {
            subject: None,
            occurred_at: None,
            content: Content::Undecodable(undecodable),
        });
        let id = EventId::of_body(source, &event_type, plaintext, &volatile);
        Normalized {
            event_type,
            identity: Identity::Event(id),
            key: reading.subject.clone(),
            subject: reading.subject.unwrap_or_default(),
            occurred_at: reading.occurred_at,
            unread_fields: unread.into_paths(),
            content: reading.content,
        }
    }

    /// Family and code make the event; nothing else is demanded.
    fn read(&self, body: &Reader<'_, '_>, event_type: &str) -> Result<UndostresBody, Undecodable> {
        if event_type.is_empty() {
            return Err(Undecodable::without("event_type"));
        }
        let Some(number) = body.integer(CODE) else { return Err(Undecodable::without(CODE)) };
        let family = Family::find(event_type);
        let code = family.and_then(|family| family.code(number));
        let created_at = body.time_in("created_at", &self.zone);
        let envelope = self.envelope(body, number, created_at);
        let about = code.as_ref().map(|code| code.about()).or(family.map(|family| family.about));
        Ok(UndostresBody {
            subject: subject(&envelope, about.unwrap_or(About::Request)),
            occurred_at: created_at,
            content: code.map_or(Content::Unrecognized, |code| Content::Event(code.encode(envelope))),
        })
    }

    fn envelope(&self, body: &Reader<'_, '_>, number: i64, created_at: Option<Timestamp>) -> Envelope {
        Envelope {
            event_type_description: body.text("event_type_description").unwrap_or_default(),
            webhook_notification_code: number,
            created_at_text: body.text("created_at").unwrap_or_default(),
            created_at: created_at.map(timestamp),
            first_sent_at_text: body.text("first_sent_at").unwrap_or_default(),
            first_sent_at: body.time_in("first_sent_at", &self.zone).map(timestamp),
            attempts: body.integer("attempts"),
            account_id: body.integer("account_id"),
            customer_id: body.integer("customer_id"),
            request_id: body.integer("request_id"),
            transaction_id: body.text("transaction_id"),
            details: body.object("details", |details| self.details(details)),
        }
    }

    fn details(&self, details: &Reader<'_, '_>) -> Details {
        let currency = self.currency.as_deref();
        let amount_text = details.text("amount");
        let amount = match amount_text.as_deref() {
            None | Some("") => None,
            Some(_) => details.decimal("amount", |amount| money::from_major_units(amount, currency)),
        };
        let status_text = details.text("status");
        let failed_reason_text = details.text("failed_reason");
        Details {
            id: details.text("id"),
            code: details.text("code"),
            name: details.text("name"),
            amount,
            amount_text,
            status: action_status(status_text.as_deref()).into(),
            status_text,
            failed_reason: failed_reason(failed_reason_text.as_deref()).into(),
            failed_reason_text,
            failed_message: details.text("failed_message"),
        }
    }
}

/// What the notification is about, by the first field that tells it.
fn subject(notification: &Envelope, about: About) -> Option<String> {
    let transaction_id = notification.transaction_id.clone().filter(|text| !text.is_empty());
    let code = notification.details.as_ref().and_then(|details| details.code.clone()).filter(|text| !text.is_empty());
    let decimal = |number: Option<i64>| number.map(|number| number.to_string());
    match about {
        About::Request => transaction_id.or(code).or(decimal(notification.request_id)),
        About::Method => code,
        About::Customer => decimal(notification.customer_id),
        About::Account => decimal(notification.account_id),
    }
}

fn action_status(text: Option<&str>) -> ActionStatus {
    match text {
        Some("success") => ActionStatus::Success,
        Some("failed") => ActionStatus::Failed,
        Some(_) | None => ActionStatus::Unspecified,
    }
}

fn failed_reason(text: Option<&str>) -> FailedReason {
    match text {
        Some("FAILED_ON_CREATE") => FailedReason::FailedOnCreate,
        Some(_) | None => FailedReason::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DynamicMessage;
    use serde_json::json;

    use super::*;
    use crate::message::DESCRIPTORS;

    /// Every code of the contract: family, number, name of the enum's value, sub-type.
    const CODES: &[(&str, i64, &str, &str)] = &[
        ("PAYMENT_REQUEST_CARD", 5000, "CREATED", "CARD_REQUEST_CREATED"),
        ("PAYMENT_REQUEST_CARD", 5100, "UPDATED", "CARD_REQUEST_UPDATED"),
        ("PAYMENT_REQUEST_CARD", 5101, "CANCELLED", "CARD_REQUEST_CANCELLED"),
        ("PAYMENT_REQUEST_CARD", 5002, "FAILED", "CARD_REQUEST_FAILED"),
        ("PAYMENT_REQUEST_CARD", 5001, "SUCCESS", "CARD_REQUEST_SUCCESS"),
        ("PAYMENT_REQUEST_CARD", 5005, "CHARGEBACK", "CARD_REQUEST_CHARGEBACK"),
        ("PAYMENT_REQUEST_DMCL", 6000, "CREATED", "DMCL_REQUEST_CREATED"),
        ("PAYMENT_REQUEST_DMCL", 6100, "UPDATED", "DMCL_REQUEST_UPDATED"),
        ("PAYMENT_REQUEST_DMCL", 6101, "CANCELLED", "DMCL_REQUEST_CANCELLED"),
        ("PAYMENT_REQUEST_DMCL", 6002, "FAILED", "DMCL_REQUEST_FAILED"),
        ("PAYMENT_REQUEST_DMCL", 6001, "SUCCESS", "DMCL_REQUEST_SUCCESS"),
        ("PAYMENT_REQUEST_DMCL", 6005, "CHARGEBACK", "DMCL_REQUEST_CHARGEBACK"),
        ("PAYMENT_REQUEST_CASHIN", 7000, "CREATED", "CASHIN_REFERENCE_CREATED"),
        ("PAYMENT_REQUEST_CASHIN", 7101, "CANCELLED", "CASHIN_REFERENCE_CANCELED"),
        ("PAYMENT_REQUEST_CASHIN", 7002, "FAILED", "CASHIN_REFERENCE_FAILED"),
        ("PAYMENT_REQUEST_CASHIN", 7102, "EXPIRED", "CASHIN_REFERENCE_EXPIRED"),
        ("PAYMENT_REQUEST_CASHIN", 7001, "COMPLETED", "CASHIN_REFERENCE_COMPLETED"),
        ("PAYMENT_METHOD_CARD", 3000, "CREATED", "PAYMENT_METHOD_CREATED"),
        ("PAYMENT_METHOD_CARD", 3100, "UPDATED", "PAYMENT_METHOD_UPDATED"),
        ("PAYMENT_METHOD_CARD", 3101, "DELETED", "PAYMENT_METHOD_DELETED"),
        ("PAYMENT_METHOD_CARD", 3300, "USED", "PAYMENT_METHOD_USED"),
        ("PAYMENT_METHOD_CARD", 3002, "FAILED", "PAYMENT_METHOD_FAILED"),
        ("PAYMENT_METHOD_DMCL", 4000, "CREATED", "PAYMENT_METHOD_CREATED"),
        ("PAYMENT_METHOD_DMCL", 4100, "UPDATED", "PAYMENT_METHOD_UPDATED"),
        ("PAYMENT_METHOD_DMCL", 4101, "DELETED", "PAYMENT_METHOD_DELETED"),
        ("PAYMENT_METHOD_DMCL", 4300, "USED", "PAYMENT_METHOD_USED"),
        ("PAYMENT_METHOD_DMCL", 4002, "FAILED", "PAYMENT_METHOD_FAILED"),
        ("PAYMENT_METHOD_DMCL", 4305, "BANK_INSTITUTION_ADDED", "BANK_INSTITUTION_ADDED"),
        ("PAYMENT_METHOD_DMCL", 4105, "BANK_INSTITUTION_UPDATED", "BANK_INSTITUTION_UPDATED"),
        ("CUSTOMER", 2000, "CREATED", "CUSTOMER_CREATED"),
        ("CUSTOMER", 2100, "UPDATED", "CUSTOMER_UPDATED"),
        ("CUSTOMER", 2101, "ENABLED", "CUSTOMER_ENABLED"),
        ("CUSTOMER", 2102, "DISABLED", "CUSTOMER_DISABLED"),
        ("CUSTOMER", 2002, "FAILED", "CUSTOMER_FAILED"),
        ("ACCOUNT", 1000, "CREATED", "ACCOUNT_CREATED"),
        ("ACCOUNT", 1100, "UPDATED", "ACCOUNT_UPDATED"),
        ("ACCOUNT", 1101, "CANCELLED", "ACCOUNT_CANCELLED"),
        ("ACCOUNT", 1005, "FAILED", "ACCOUNT_FAILED"),
        ("ACCOUNT", 1001, "EMAIL_UPDATED", "EMAIL_UPDATED"),
        ("ACCOUNT", 1002, "MOBILE_UPDATED", "MOBILE_UPDATED"),
        ("ACCOUNT", 1010, "SECRET_KEY_CREATED", "SECRET_KEY_CREATED"),
        ("ACCOUNT", 1011, "SECRET_KEY_UPDATED", "SECRET_KEY_UPDATED"),
        ("ACCOUNT", 1012, "SECRET_KEY_WARNING", "SECRET_KEY_WARNING"),
        ("ACCOUNT", 1013, "CREDENTIAL_UPDATED", "CREDENTIAL_UPDATED"),
        ("ACCOUNT", 1014, "CREDENTIAL_WARNING", "CREDENTIAL_WARNING"),
        ("ACCOUNT", 1015, "UNAUTHORIZED_ACTION", "UNAUTHORIZED_ACTION"),
    ];

    fn normalized(event_type: &str, code: i64, description: &str) -> Normalized {
        let reader = Notifications { zone: TimeZone::UTC, currency: None };
        let notification = json!({
            "event_type": event_type, "event_type_description": description, "webhook_notification_code": code,
            "created_at": "2024-07-15 12:34:56", "first_sent_at": "2024-07-15 12:36:00", "attempts": 1,
            "account_id": 321, "customer_id": 345, "request_id": 12343, "transaction_id": "trx_1",
            "details": {"id": null, "code": "code_1", "amount": "12.50", "status": "success"},
        });
        reader.normalize("test", notification.to_string().as_bytes())
    }

    #[test]
    fn makes_an_event_of_every_code_of_the_contract() {
        for (event_type, number, value, description) in CODES {
            let Content::Event(encoded) = normalized(event_type, *number, description).content else {
                panic!("{event_type} {number} is no event");
            };
            assert_eq!(encoded.event_type.topic_part, event_type.to_lowercase().replace('_', "-"));
            let descriptor = DESCRIPTORS.get_message_by_name(encoded.event_type.message).unwrap();
            let message = DynamicMessage::decode(descriptor, encoded.fields.as_slice()).unwrap();
            let code = serde_json::to_value(&message).unwrap()["code"].clone();
            assert_eq!(code, json!(format!("{event_type}_CODE_{value}")), "{event_type} {number}");
        }
    }

    #[test]
    fn makes_an_event_of_no_other_code() {
        for (event_type, ..) in CODES {
            let family = Family::find(event_type).unwrap();
            for number in -1..10_000 {
                let known = CODES.iter().any(|(name, known, ..)| name == event_type && *known == number);
                assert_eq!(family.code(number).is_some(), known, "{event_type} {number}");
            }
        }
    }

    #[test]
    fn orders_each_family_by_what_its_events_are_about() {
        for (event_type, code, key) in [
            ("PAYMENT_REQUEST_CARD", 5000, "trx_1"),
            ("PAYMENT_REQUEST_DMCL", 6000, "trx_1"),
            ("PAYMENT_REQUEST_CASHIN", 7000, "trx_1"),
            ("PAYMENT_METHOD_CARD", 3000, "code_1"),
            ("PAYMENT_METHOD_DMCL", 4000, "code_1"),
            ("CUSTOMER", 2000, "345"),
            ("ACCOUNT", 1000, "321"),
        ] {
            let normalized = normalized(event_type, code, "");
            assert_eq!((normalized.key.as_deref(), normalized.subject.as_str()), (Some(key), key), "{event_type}");
        }
    }

    #[test]
    fn an_odd_field_holds_no_event_back_and_is_named() {
        let reader = Notifications { zone: TimeZone::UTC, currency: Some("MXN".to_owned()) };
        let check = |field: &str, value: serde_json::Value, expect: &[&str]| {
            let mut notification = json!({
                "event_type": "PAYMENT_REQUEST_CARD", "webhook_notification_code": 5001, "created_at": "2024-07-15 12:34:56",
                "attempts": 1, "account_id": 321, "transaction_id": "trx_1", "details": {"code": "c", "amount": "12.50"},
            });
            let place = notification.pointer_mut(field).unwrap();
            *place = value.clone();
            let normalized = reader.normalize("test", notification.to_string().as_bytes());
            assert!(matches!(normalized.content, Content::Event(_)), "{field} {value}");
            assert_eq!(normalized.unread_fields, expect, "{field} {value}");
        };
        for (field, value, expect) in [
            ("/webhook_notification_code", json!("5001"), &[][..]),
            ("/webhook_notification_code", json!(5001.0), &[]),
            ("/account_id", json!("321"), &[]),
            ("/attempts", json!("1"), &[]),
            ("/transaction_id", json!(77), &[]),
            ("/details", json!([]), &[]),
            ("/details/amount", json!(12.5), &[]),
            ("/details/amount", json!(""), &[]),
            ("/created_at", json!("2024-07-15T12:34:56Z"), &[]),
            ("/created_at", json!(""), &["created_at"]),
            ("/created_at", json!("0000-00-00 00:00:00"), &["created_at"]),
            ("/created_at", json!(1_721_068_496), &["created_at"]),
            ("/account_id", json!("none"), &["account_id"]),
            ("/attempts", json!(true), &["attempts"]),
            ("/transaction_id", json!({}), &["transaction_id"]),
            ("/details", json!("none"), &["details"]),
            ("/details/amount", json!("1,250.00"), &["details.amount"]),
            ("/details/code", json!([1]), &["details.code"]),
        ] {
            check(field, value, expect);
        }
    }

    #[test]
    fn without_a_family_or_a_code_nobody_knows_what_it_is() {
        let reader = Notifications { zone: TimeZone::UTC, currency: None };
        for (body, path) in [
            (r#"{"webhook_notification_code":5001}"#, "event_type"),
            (r#"{"event_type":"","webhook_notification_code":5001}"#, "event_type"),
            (r#"{"event_type":"CUSTOMER"}"#, CODE),
            (r#"{"event_type":"CUSTOMER","webhook_notification_code":"x"}"#, CODE),
        ] {
            let Content::Undecodable(why) = reader.normalize("test", body.as_bytes()).content else { panic!("{body}") };
            assert!(why.detail.starts_with(path), "{body}: {}", why.detail);
        }
    }
}
