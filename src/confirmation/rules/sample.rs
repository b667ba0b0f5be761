//! A session with every field of the model, to try rules on.
//! Pure: must not know which rules there are.

use jiff::Timestamp;

use crate::message::event::v1::Money;
use crate::message::smart_glocal::v1::{
    Card, Customer, Instrument, NextAction, Operation, OperationKind, OperationMetadata, OperationStatus, Session,
    SessionStatus, operation_metadata,
};
use crate::message::timestamp;

/// The source that it is of.
pub const SOURCE: &str = "sample";

/// What it is, in words, for whoever reads what rules say of it.
pub const DESCRIPTION: &str =
    "a sample session (one payout of USD 100.00 to a visa card, customer \"sample-customer\", metadata \"sample\")";

/// A payout of 100 US dollars to a card, of a session that was created at `now`.
pub fn session(now: Timestamp) -> Session {
    Session {
        id: "ps_sample".to_owned(),
        status: SessionStatus::InProgress.into(),
        status_text: Some("in_progress".to_owned()),
        created_at: Some(timestamp(now)),
        updated_at: Some(timestamp(now)),
        next_action: NextAction::Confirm.into(),
        next_action_text: Some("confirm".to_owned()),
        operations: vec![operation(now)],
        ..Session::default()
    }
}

fn operation(now: Timestamp) -> Operation {
    let card = Card { brand: Some("visa".to_owned()), bin: Some("424242".to_owned()), last4: Some("4242".to_owned()) };
    Operation {
        id: "po_sample".to_owned(),
        kind: OperationKind::Payout.into(),
        status: OperationStatus::Pending.into(),
        status_text: Some("pending".to_owned()),
        created_at: Some(timestamp(now)),
        customer: Some(Customer { reference: Some("sample-customer".to_owned()), ..Customer::default() }),
        instrument: Some(Instrument { r#type: Some("card".to_owned()), card: Some(card), ..Instrument::default() }),
        amount: Some(Money { currency: Some("USD".to_owned()), minor_units: 10_000, exponent: Some(2) }),
        metadata: Some(OperationMetadata { value: Some(operation_metadata::Value::Text("sample".to_owned())) }),
        ..Operation::default()
    }
}
