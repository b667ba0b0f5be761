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
use crate::provider::json::{self, Kind, Place, Reader, Unread};
use crate::provider::{Content, Encoded, EventId, Identity, Normalized, Undecodable, money};

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
    let unread = Unread::default();
    let (event_type, volatile, reading) = match json::parse(body) {
        Ok(document) => {
            let fields = Reader::new(document.object(), &unread);
            let event_type = fields.text("type").unwrap_or_default();
            let reading = read(&fields, &event_type);
            (event_type, json::ranges(body, document.object(), &VOLATILE), reading)
        }
        Err(undecodable) => (String::new(), Vec::new(), Err(undecodable)),
    };
    let reading = reading.unwrap_or_else(SmartGlocalBody::undecodable);
    let id = EventId::of_body(source, &event_type, body, &volatile);
    Normalized {
        event_type,
        identity: Identity::Event(id),
        key: Some(reading.session_id.clone()).filter(|id| !id.is_empty()),
        subject: reading.session_id,
        occurred_at: reading.occurred_at,
        unread_fields: unread.into_paths(),
        content: reading.content,
    }
}

struct SmartGlocalBody {
    session_id: String,
    occurred_at: Option<Timestamp>,
    content: Content,
}

impl SmartGlocalBody {
    fn undecodable(undecodable: Undecodable) -> Self {
        Self { session_id: String::new(), occurred_at: None, content: Content::Undecodable(undecodable) }
    }
}

/// Type and session make the event; nothing else is demanded.
fn read(body: &Reader<'_, '_>, event_type: &str) -> Result<SmartGlocalBody, Undecodable> {
    let encode: fn(Session) -> Encoded = match event_type {
        "" => return Err(Undecodable::without("type")),
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
        _ => return Ok(unrecognized(body)),
    };
    let read_session = |fields: &Reader<'_, '_>| {
        let occurred_at = fields.time("updated_at").or_else(|| fields.time("created_at"));
        session(fields).map(|session| (session, occurred_at))
    };
    let session = body.object("session", read_session).ok_or_else(|| Undecodable::without("session"))?;
    let (session, occurred_at) = session.ok_or_else(|| Undecodable::without("session.id"))?;
    Ok(SmartGlocalBody { session_id: session.id.clone(), occurred_at, content: Content::Event(encode(session)) })
}

/// A type of later days: the session's id is taken when it stands where it always stood.
fn unrecognized(body: &Reader<'_, '_>) -> SmartGlocalBody {
    let session_id = body.object("session", |session| session.identity("id")).flatten();
    SmartGlocalBody { session_id: session_id.unwrap_or_default(), occurred_at: None, content: Content::Unrecognized }
}

/// What a session says, in a webhook or in the answer to a call; nothing without its id.
pub(super) fn session(fields: &Reader<'_, '_>) -> Option<Session> {
    let status_text = fields.text("status");
    let next_action_text = fields.text("next_action");
    let mut unknown_amounts = UnknownAmounts::of(fields.tree());
    let operations = operations(fields, &mut unknown_amounts);
    Some(Session {
        id: fields.identity("id")?,
        status: session_status(status_text.as_deref()).into(),
        status_text,
        created_at: fields.time("created_at").map(timestamp),
        updated_at: fields.time("updated_at").map(timestamp),
        finished_at: fields.time("finished_at").map(timestamp),
        next_action: next_action(next_action_text.as_deref()).into(),
        next_action_text,
        error: fields.object("error", error),
        operations,
        unknown_amount_lists: unknown_amounts.paths(),
    })
}

/// The texts of a session's status that mean something to this version.
pub const SESSION_STATUSES: [&str; 6] = ["created", "in_progress", "accepted", "cancelled", "canceled", "error"];
/// The texts of what the provider waits for that mean something to this version.
pub const NEXT_ACTIONS: [&str; 2] = ["confirm", "capture"];
/// The texts of an operation's status that mean something to this version.
pub const OPERATION_STATUSES: [&str; 4] = ["in_progress", "pending", "succeeded", "failed"];

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
fn operations(session: &Reader<'_, '_>, unknown_amounts: &mut UnknownAmounts) -> Vec<Operation> {
    let lists = [
        ("payout_list", OperationKind::Payout),
        ("payments", OperationKind::Payout),
        ("payment_list", OperationKind::Payment),
        ("acquiring_payments", OperationKind::Payment),
    ];
    let mut all: Vec<Operation> = Vec::new();
    let mut known: HashMap<(i32, String), (&str, usize)> = HashMap::new();
    for (list, kind) in lists {
        let read = session.list(list, |fields| operation(fields, kind));
        for (index, operation) in read.into_iter().enumerate() {
            match known.entry((operation.kind, operation.id.clone())) {
                // Without an id none is known to be another once more.
                _ if operation.id.is_empty() => all.push(operation),
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
    all
}

/// The names of an operation's instrument; each is seen in either list of either version.
const INSTRUMENTS: [&str; 3] = ["payout_details", "payment_details", "payment_method"];

fn operation(fields: &Reader<'_, '_>, kind: OperationKind) -> Operation {
    let status_text = fields.text("status");
    Operation {
        id: fields.text("id").unwrap_or_default(),
        kind: kind.into(),
        status: operation_status(status_text.as_deref()).into(),
        status_text,
        created_at: fields.time("created_at").map(timestamp),
        updated_at: fields.time("updated_at").map(timestamp),
        finished_at: fields.time("finished_at").map(timestamp),
        customer: fields.object("customer", customer),
        instrument: instrument_of(fields),
        amount: fields.object("amount_details", amount).flatten(),
        recurrent_json: fields.json("recurrent"),
        participant_details_json: fields.json("participant_details"),
        refunds: fields.list("refunds", refund),
        customer_interaction: fields.object("customer_interaction", customer_interaction),
        transaction_info: fields.object("transaction_info", transaction_info),
        metadata: metadata(fields),
        error: fields.object("error", error),
    }
}

/// The operation's instrument: under whichever name it stands, an empty one only where there is no other. Where two differ nobody
/// knows which is meant: the further ones are named as unreadable.
fn instrument_of(fields: &Reader<'_, '_>) -> Option<Instrument> {
    let read = |name: &&'static str| fields.object(name, instrument).map(|instrument| (*name, instrument));
    let (empty, filled): (Vec<_>, Vec<_>) =
        INSTRUMENTS.iter().filter_map(read).partition(|(_, instrument)| *instrument == Instrument::default());
    let mut filled = filled.into_iter().map(Some);
    let first = filled.next().flatten();
    for (name, other) in filled.flatten() {
        if first.as_ref().is_some_and(|(_, first)| *first != other) {
            fields.unreadable(name);
        }
    }
    first.or_else(|| empty.into_iter().next()).map(|(_, instrument)| instrument)
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

fn amount(fields: &Reader<'_, '_>) -> Option<Money> {
    let currency = fields.text("currency");
    fields.integer("amount").map(|minor_units| money::from_minor_units(minor_units, currency.as_deref()))
}

fn customer(fields: &Reader<'_, '_>) -> Customer {
    Customer { reference: fields.text("reference"), contacts: fields.list("contacts", contact) }
}

fn contact(fields: &Reader<'_, '_>) -> Contact {
    Contact { email: fields.text("email"), phone: fields.text("phone"), other_json: fields.others(&["email", "phone"]) }
}

fn instrument(fields: &Reader<'_, '_>) -> Instrument {
    Instrument {
        r#type: fields.text("type"),
        card: fields.object("card", card),
        other_json: fields.others(&["type", "card"]),
    }
}

fn card(fields: &Reader<'_, '_>) -> Card {
    Card { brand: fields.text("brand"), bin: fields.text("bin"), last4: fields.text("last4") }
}

fn refund(fields: &Reader<'_, '_>) -> Refund {
    let status_text = fields.text("status");
    Refund {
        id: fields.text("id").unwrap_or_default(),
        status: refund_status(status_text.as_deref()).into(),
        status_text,
        created_at: fields.time("created_at").map(timestamp),
        finished_at: fields.time("finished_at").map(timestamp),
        is_chargeback: fields.boolean("is_chargeback"),
        amount: fields.object("amount_details", amount).flatten(),
    }
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

fn customer_interaction(fields: &Reader<'_, '_>) -> CustomerInteraction {
    CustomerInteraction { r#type: fields.text("type"), redirect: fields.object("redirect", redirect) }
}

fn redirect(fields: &Reader<'_, '_>) -> Redirect {
    Redirect {
        url: fields.text("url"),
        base_url: fields.text("base_url"),
        method: fields.text("method"),
        qs: fields.text_map("qs"),
        params: fields.text_map("params"),
    }
}

fn transaction_info(fields: &Reader<'_, '_>) -> TransactionInfo {
    TransactionInfo { rrn: fields.text("rrn"), auth_code: fields.text("auth_code") }
}

/// The merchant's own data: a text, an integer, or anything else as JSON.
fn metadata(fields: &Reader<'_, '_>) -> Option<OperationMetadata> {
    let value = fields.tree().value("metadata")?;
    let value = match (value.kind(), value.json().parse()) {
        (Kind::Text(text), _) => operation_metadata::Value::Text(text.into_owned()),
        (Kind::Number(_), Ok(integer)) => operation_metadata::Value::Integer(integer),
        (_, _) => operation_metadata::Value::Json(value.json().to_owned()),
    };
    Some(OperationMetadata { value: Some(value) })
}

fn error(fields: &Reader<'_, '_>) -> Error {
    Error {
        code: fields.text("code"),
        description: fields.text("description"),
        reject_reasons_json: fields.json("reject_reasons"),
    }
}

#[cfg(test)]
mod tests;
