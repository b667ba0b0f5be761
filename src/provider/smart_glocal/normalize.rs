//! What a Smart Glocal body says: both API versions become one `Session`.
//! Must not know keys or signatures. Fields that the contract does not name are tolerated.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;

use super::unknown_amounts::UnknownAmounts;
use super::{ACTION_REQUIRED, PAYMENT_FINISHED, PAYMENT_REFUNDED, READY_TO_CAPTURE, READY_TO_CONFIRM};
use crate::message::event::v1::Money;
use crate::message::smart_glocal::v1::{
    ActionRequired, Card, Contact, Customer, CustomerInteraction, Error, Instrument, NextAction, Operation,
    OperationKind, OperationMetadata, OperationStatus, PaymentFinished, PaymentRefunded, ReadyToCapture,
    ReadyToConfirm, Redirect, Refund, RefundStatus, Session, SessionStatus, TransactionInfo, operation_metadata,
};
use crate::message::timestamp;
use crate::provider::json::{self, Object, Place, Wrong};
use crate::provider::{Content, Encoded, EventId, Normalized, Undecodable, money};

/// `updated_at` changes between deliveries of one event: of the session, and of each operation in each list.
static VOLATILE: Place = Place::Fields(&[(
    "session",
    Place::Fields(&[
        ("updated_at", Place::Here),
        ("payments", OPERATIONS),
        ("acquiring_payments", OPERATIONS),
        ("payout_list", OPERATIONS),
        ("payment_list", OPERATIONS),
    ]),
)]);
const OPERATIONS: Place = Place::Each(&Place::Fields(&[("updated_at", Place::Here)]));

/// Understands one authentic body of the source named `source`.
pub fn normalize(source: &str, body: &[u8]) -> Normalized {
    let (event_type, volatile, reading) = match json::parse(body) {
        Ok(object) => {
            let event_type = object.text("type").ok().flatten().unwrap_or_default();
            let reading = read(&object, &event_type);
            (event_type, json::ranges(body, &object, &VOLATILE), reading)
        }
        Err(undecodable) => (String::new(), Vec::new(), Err(undecodable)),
    };
    let reading = reading.unwrap_or_else(Reading::undecodable);
    let id = EventId::of_body(source, &event_type, body, &volatile);
    Normalized {
        event_type,
        ids: id.into(),
        key: Some(reading.session_id.clone()).filter(|id| !id.is_empty()),
        subject: reading.session_id,
        occurred_at: reading.occurred_at,
        content: reading.content,
    }
}

struct Reading {
    session_id: String,
    occurred_at: Option<Timestamp>,
    content: Content,
}

impl Reading {
    fn undecodable(undecodable: Undecodable) -> Self {
        Self { session_id: String::new(), occurred_at: None, content: Content::Undecodable(undecodable) }
    }
}

fn read(object: &Object<'_>, event_type: &str) -> Result<Reading, Undecodable> {
    object.required_text("type")?;
    let encode: fn(Session) -> Encoded = match event_type {
        "ready_to_confirm" => {
            |session| Encoded::new(&READY_TO_CONFIRM, &ReadyToConfirm { metadata: None, session: Some(session) })
        }
        "action_required" => {
            |session| Encoded::new(&ACTION_REQUIRED, &ActionRequired { metadata: None, session: Some(session) })
        }
        "ready_to_capture" => {
            |session| Encoded::new(&READY_TO_CAPTURE, &ReadyToCapture { metadata: None, session: Some(session) })
        }
        "payment_finished" => {
            |session| Encoded::new(&PAYMENT_FINISHED, &PaymentFinished { metadata: None, session: Some(session) })
        }
        "payment_refunded" => {
            |session| Encoded::new(&PAYMENT_REFUNDED, &PaymentRefunded { metadata: None, session: Some(session) })
        }
        _ => return Ok(unrecognized(object)),
    };
    let read_session = |object: &Object<'_>| {
        let occurred_at = object.time("updated_at")?.or(object.time("created_at")?);
        session(object).map(|session| (session, occurred_at))
    };
    let (session, occurred_at) =
        object.object("session", read_session)?.ok_or_else(|| Wrong::new("session", "missing"))?;
    Ok(Reading { session_id: session.id.clone(), occurred_at, content: Content::Event(encode(session)) })
}

/// A type of later days: the session's id is taken when it stands where it always stood.
fn unrecognized(object: &Object<'_>) -> Reading {
    let session_id = object.object("session", |session| session.text("id")).ok().flatten().flatten();
    Reading { session_id: session_id.unwrap_or_default(), occurred_at: None, content: Content::Unrecognized }
}

/// What a session says, in a webhook or in the answer to a call.
pub(super) fn session(object: &Object<'_>) -> Result<Session, Wrong> {
    let status_text = object.text("status")?;
    let next_action_text = object.text("next_action")?;
    let mut unknown_amounts = UnknownAmounts::of(object);
    let operations = operations(object, &mut unknown_amounts)?;
    Ok(Session {
        id: object.required_text("id")?,
        status: session_status(status_text.as_deref()).into(),
        status_text,
        created_at: object.time("created_at")?.map(timestamp),
        updated_at: object.time("updated_at")?.map(timestamp),
        finished_at: object.time("finished_at")?.map(timestamp),
        next_action: next_action(next_action_text.as_deref()).into(),
        next_action_text,
        error: object.object("error", error)?,
        operations,
        unknown_amount_lists: unknown_amounts.paths(),
    })
}

/// What the text of a session's status means.
pub(super) fn session_status(text: Option<&str>) -> SessionStatus {
    match text {
        Some("created") => SessionStatus::Created,
        Some("in_progress") => SessionStatus::InProgress,
        Some("accepted") => SessionStatus::Accepted,
        Some("cancelled" | "canceled") => SessionStatus::Cancelled,
        Some("error") => SessionStatus::Error,
        Some(_) | None => SessionStatus::Unspecified,
    }
}

/// What the provider waits for.
pub(super) fn next_action(text: Option<&str>) -> NextAction {
    match text {
        Some("confirm") => NextAction::Confirm,
        Some("capture") => NextAction::Capture,
        Some(_) | None => NextAction::Unspecified,
    }
}

/// The operations of all four lists, payouts first; one id of a kind stands once, as version 2 has it where both versions
/// are given. Where the other one has another amount, or stands in the same list, nobody knows which is meant: that is noted.
fn operations(session: &Object<'_>, unknown_amounts: &mut UnknownAmounts) -> Result<Vec<Operation>, Wrong> {
    let lists = [
        ("payout_list", OperationKind::Payout, "payout_details"),
        ("payments", OperationKind::Payout, "payment_method"),
        ("payment_list", OperationKind::Payment, "payment_details"),
        ("acquiring_payments", OperationKind::Payment, "payment_details"),
    ];
    let mut all: Vec<Operation> = Vec::new();
    let mut known: HashMap<(i32, String), (&str, usize)> = HashMap::new();
    for (list, kind, instrument_field) in lists {
        let read = session.list(list, |object| operation(object, kind, instrument_field))?;
        for (index, operation) in read.into_iter().enumerate() {
            match known.entry((operation.kind, operation.id.clone())) {
                Entry::Vacant(place) => {
                    place.insert((list, all.len()));
                    all.push(operation);
                }
                Entry::Occupied(place) => {
                    let (other_list, other) = *place.get();
                    let has_same_amount = all.get(other).is_some_and(|other| other.amount == operation.amount);
                    if other_list == list || !has_same_amount {
                        unknown_amounts.note(format!("{list}[{index}]"));
                    }
                }
            }
        }
    }
    Ok(all)
}

fn operation(object: &Object<'_>, kind: OperationKind, instrument_field: &str) -> Result<Operation, Wrong> {
    let status_text = object.text("status")?;
    Ok(Operation {
        id: object.required_text("id")?,
        kind: kind.into(),
        status: operation_status(status_text.as_deref()).into(),
        status_text,
        created_at: object.time("created_at")?.map(timestamp),
        updated_at: object.time("updated_at")?.map(timestamp),
        finished_at: object.time("finished_at")?.map(timestamp),
        customer: object.object("customer", customer)?,
        instrument: object.object(instrument_field, instrument)?,
        amount: object.object("amount_details", amount)?,
        recurrent_json: object.json("recurrent"),
        participant_details_json: object.json("participant_details"),
        refunds: object.list("refunds", refund)?,
        customer_interaction: object.object("customer_interaction", customer_interaction)?,
        transaction_info: object.object("transaction_info", transaction_info)?,
        metadata: metadata(object)?,
        error: object.object("error", error)?,
    })
}

fn operation_status(text: Option<&str>) -> OperationStatus {
    match text {
        Some("in_progress") => OperationStatus::InProgress,
        Some("pending") => OperationStatus::Pending,
        Some("succeeded") => OperationStatus::Succeeded,
        Some("failed") => OperationStatus::Failed,
        Some(_) | None => OperationStatus::Unspecified,
    }
}

fn amount(object: &Object<'_>) -> Result<Money, Wrong> {
    let minor_units = object.required_integer("amount")?;
    Ok(money::from_minor_units(minor_units, object.text("currency")?.as_deref()))
}

fn customer(object: &Object<'_>) -> Result<Customer, Wrong> {
    Ok(Customer { reference: object.text("reference")?, contacts: object.list("contacts", contact)? })
}

fn contact(object: &Object<'_>) -> Result<Contact, Wrong> {
    Ok(Contact {
        email: object.text("email")?,
        phone: object.text("phone")?,
        other_json: object.others(&["email", "phone"]),
    })
}

fn instrument(object: &Object<'_>) -> Result<Instrument, Wrong> {
    Ok(Instrument {
        r#type: object.text("type")?,
        card: object.object("card", card)?,
        other_json: object.others(&["type", "card"]),
    })
}

fn card(object: &Object<'_>) -> Result<Card, Wrong> {
    Ok(Card { brand: object.text("brand")?, bin: object.identifier("bin")?, last4: object.identifier("last4")? })
}

fn refund(object: &Object<'_>) -> Result<Refund, Wrong> {
    let status_text = object.text("status")?;
    Ok(Refund {
        id: object.required_text("id")?,
        status: refund_status(status_text.as_deref()).into(),
        status_text,
        created_at: object.time("created_at")?.map(timestamp),
        finished_at: object.time("finished_at")?.map(timestamp),
        is_chargeback: object.boolean("is_chargeback")?,
        amount: object.object("amount_details", amount)?,
    })
}

fn refund_status(text: Option<&str>) -> RefundStatus {
    match text {
        Some("accepted") => RefundStatus::Accepted,
        Some("in_progress") => RefundStatus::InProgress,
        Some("declined") => RefundStatus::Declined,
        Some("error") => RefundStatus::Error,
        Some(_) | None => RefundStatus::Unspecified,
    }
}

fn customer_interaction(object: &Object<'_>) -> Result<CustomerInteraction, Wrong> {
    Ok(CustomerInteraction { r#type: object.text("type")?, redirect: object.object("redirect", redirect)? })
}

fn redirect(object: &Object<'_>) -> Result<Redirect, Wrong> {
    Ok(Redirect {
        url: object.text("url")?,
        base_url: object.text("base_url")?,
        method: object.text("method")?,
        qs: object.text_map("qs")?,
        params: object.text_map("params")?,
    })
}

fn transaction_info(object: &Object<'_>) -> Result<TransactionInfo, Wrong> {
    Ok(TransactionInfo { rrn: object.identifier("rrn")?, auth_code: object.identifier("auth_code")? })
}

/// The merchant's own data: a text, an integer, or anything else as JSON.
fn metadata(object: &Object<'_>) -> Result<Option<OperationMetadata>, Wrong> {
    let Some(value) = object.raw("metadata") else { return Ok(None) };
    let value = match (value.get().starts_with('"'), value.get().parse()) {
        (true, _) => operation_metadata::Value::Text(object.text("metadata")?.unwrap_or_default()),
        (false, Ok(integer)) => operation_metadata::Value::Integer(integer),
        (false, Err(_)) => operation_metadata::Value::Json(value.get().to_owned()),
    };
    Ok(Some(OperationMetadata { value: Some(value) }))
}

fn error(object: &Object<'_>) -> Result<Error, Wrong> {
    Ok(Error {
        code: object.text("code")?,
        description: object.text("description")?,
        reject_reasons_json: object.json("reject_reasons"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_nothing_out_of_a_body_that_is_no_json_object() {
        let id = |updated_at: &str, end: &str| {
            let body = format!(r#"{{"session":{{"updated_at":"{updated_at}"}}{end}"#);
            normalize("s", body.as_bytes()).ids
        };
        for broken in ["", "} x"] {
            assert_ne!(id("1", broken), id("2", broken), "{broken:?}");
        }
        assert_eq!(id("1", "}"), id("2", "}"));
    }
}
