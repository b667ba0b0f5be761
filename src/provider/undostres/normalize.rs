//! What a decrypted UnDosTres notification says.
//! Must not know keys or ciphertext. Fields that the contract does not name are tolerated.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::family::{About, Family};
use crate::message::timestamp;
use crate::message::undostres::v1::{ActionStatus, Details, Envelope, FailedReason};
use crate::provider::json::{self, Object, Place, Wrong};
use crate::provider::{Content, EventId, Normalized, Undecodable, money};

/// How the provider writes times: to the second, without a zone.
pub const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// `attempts` grows on a redelivery; `first_sent_at` tells of the sending, not of the event.
static VOLATILE: Place = Place::Fields(&[("attempts", Place::Here), ("first_sent_at", Place::Here)]);

/// Reads notifications of one source.
pub struct Reader {
    /// The zone of the provider's times.
    pub zone: TimeZone,
    /// ISO 4217 code of the amounts.
    pub currency: Option<String>,
}

struct Reading {
    subject: Option<String>,
    occurred_at: Option<Timestamp>,
    content: Content,
}

impl Reader {
    /// Understands one decrypted body of the source named `source`.
    pub fn normalize(&self, source: &str, plaintext: &[u8]) -> Normalized {
        let (event_type, volatile, reading) = match json::parse(plaintext) {
            Ok(object) => {
                let event_type = object.text("event_type").ok().flatten().unwrap_or_default();
                let reading = self.read(&object, &event_type);
                (event_type, json::ranges(plaintext, &object, &VOLATILE), reading)
            }
            Err(undecodable) => (String::new(), Vec::new(), Err(undecodable)),
        };
        let reading = reading.unwrap_or_else(|undecodable| Reading {
            subject: None,
            occurred_at: None,
            content: Content::Undecodable(undecodable),
        });
        let id = EventId::of_body(source, &event_type, plaintext, &volatile);
        Normalized {
            event_type,
            ids: id.into(),
            key: reading.subject.clone(),
            subject: reading.subject.unwrap_or_default(),
            occurred_at: reading.occurred_at,
            content: reading.content,
        }
    }

    fn read(&self, object: &Object<'_>, event_type: &str) -> Result<Reading, Undecodable> {
        object.required_text("event_type")?;
        let number = object.required_integer("webhook_notification_code")?;
        let family = Family::find(event_type);
        let Some(code) = family.and_then(|family| family.code(number)) else {
            return Ok(self.unrecognized(object, family.map_or(About::Request, |family| family.about)));
        };
        let (notification, created_at) = self.envelope(object)?;
        Ok(Reading {
            subject: subject(&notification, code.about()),
            occurred_at: Some(created_at),
            content: Content::Event(code.encode(notification)),
        })
    }

    /// A family or code of later days: what it is about is taken when the envelope is the one that is known.
    fn unrecognized(&self, object: &Object<'_>, about: About) -> Reading {
        let (subject, occurred_at) = match self.envelope(object) {
            Ok((notification, created_at)) => (subject(&notification, about), Some(created_at)),
            Err(_) => (None, None),
        };
        Reading { subject, occurred_at, content: Content::Unrecognized }
    }

    /// The envelope, and when it was created. What the contract gives every notification is demanded only where its
    /// absence leaves nothing to say.
    fn envelope(&self, object: &Object<'_>) -> Result<(Envelope, Timestamp), Wrong> {
        let created_at_text = object.required_text("created_at")?;
        let created_at = self.instant("created_at", &created_at_text)?;
        let first_sent_at_text = object.text("first_sent_at")?;
        let first_sent_at =
            first_sent_at_text.as_deref().map(|text| self.instant("first_sent_at", text)).transpose()?;
        let envelope = Envelope {
            event_type_description: object.text("event_type_description")?.unwrap_or_default(),
            webhook_notification_code: object.required_integer("webhook_notification_code")?,
            created_at_text,
            created_at: Some(timestamp(created_at)),
            first_sent_at_text: first_sent_at_text.unwrap_or_default(),
            first_sent_at: first_sent_at.map(timestamp),
            attempts: object.integer("attempts")?,
            account_id: object.integer("account_id")?,
            customer_id: object.integer("customer_id")?,
            request_id: object.integer("request_id")?,
            transaction_id: object.text("transaction_id")?,
            details: object.object("details", |details| self.details(details))?,
        };
        Ok((envelope, created_at))
    }

    /// The instant at which the zone's clocks show this text. A time that they show twice is taken as the first of the
    /// two; one that they skip, as if they had not yet been put forward.
    fn instant(&self, name: &str, text: &str) -> Result<Timestamp, Wrong> {
        let shown = DateTime::strptime(TIME_FORMAT, text).ok();
        let exact = shown.filter(|shown| shown.strftime(TIME_FORMAT).to_string() == text);
        let instant = exact.and_then(|shown| self.zone.to_ambiguous_timestamp(shown).compatible().ok());
        instant.ok_or_else(|| Wrong::new(name, "not a time like 2024-07-15 12:34:56"))
    }

    fn details(&self, object: &Object<'_>) -> Result<Details, Wrong> {
        let amount_text = object.identifier("amount")?;
        let amount = match amount_text.as_deref() {
            None | Some("") => None,
            Some(_) => object.decimal("amount")?,
        };
        let currency = self.currency.as_deref();
        let status_text = object.text("status")?;
        let failed_reason_text = object.text("failed_reason")?;
        Ok(Details {
            id: object.identifier("id")?,
            code: object.text("code")?,
            name: object.text("name")?,
            amount: amount.map(|amount| money::from_major_units("amount", amount, currency)).transpose()?,
            amount_text,
            status: action_status(status_text.as_deref()).into(),
            status_text,
            failed_reason: failed_reason(failed_reason_text.as_deref()).into(),
            failed_reason_text,
            failed_message: object.text("failed_message")?,
        })
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
        let reader = Reader { zone: TimeZone::UTC, currency: None };
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
    fn reads_times_in_the_zone_of_the_source() {
        let instant = |zone: &str, text| {
            let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
            Reader { zone, currency: None }.instant("created_at", text).map(|instant| instant.to_string())
        };
        let mexico = "America/Mexico_City";
        // TZ=UTC date -d 'TZ="America/Mexico_City" 2022-07-15 12:00:00'; summer time ended for good in October 2022
        assert_eq!(instant(mexico, "2022-07-15 12:00:00").as_deref(), Ok("2022-07-15T17:00:00Z"));
        assert_eq!(instant(mexico, "2024-07-15 12:34:56").as_deref(), Ok("2024-07-15T18:34:56Z"));
        assert_eq!(instant(mexico, "2021-10-31 01:30:00").as_deref(), Ok("2021-10-31T06:30:00Z"), "shown twice");
        assert_eq!(instant(mexico, "2021-04-04 02:30:00").as_deref(), Ok("2021-04-04T08:30:00Z"), "skipped");
        assert_eq!(instant("UTC", "2024-07-15 12:34:56").as_deref(), Ok("2024-07-15T12:34:56Z"));
        for text in [
            "",
            "2024-07-15",
            "2024-7-15 12:34:56",
            "2024-07-15 12:34:60",
            "2024-07-15 24:00:00",
            "2024-07-15 12:34:56Z",
            "2024-07-15T12:34:56",
            " 2024-07-15 12:34:56",
            "2024-07-15 12:34:56.5",
            "0000-00-00 00:00:00",
            "2024-02-30 12:34:56",
            "9999-12-31 23:59:59",
        ] {
            assert!(instant(mexico, text).is_err(), "{text}");
        }
    }
}
