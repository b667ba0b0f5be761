//! The events and decisions that the engine's tests write.

use jiff::{SignedDuration, Timestamp};
use paybridge::message::confirmation::v1::{Action, Decision};
use paybridge::message::event::v1::{EventMetadata, Money};
use paybridge::message::smart_glocal::v1::{
    NextAction, Operation, OperationKind, PaymentFinished, ReadyToConfirm, Session, SessionStatus,
};
use paybridge::message::timestamp;

/// A decision of another team on a session of the one source.
pub fn decision(session_id: &str, action: Action, decision_id: &str) -> Decision {
    Decision {
        source: "sg-main".to_owned(),
        session_id: session_id.to_owned(),
        action: action.into(),
        decided_by: "risk".to_owned(),
        reason: "looked at".to_owned(),
        decision_id: decision_id.to_owned(),
    }
}

/// The event of a session that waits.
pub fn waiting_event(session_id: &str, received_at: Timestamp, cents: i64) -> ReadyToConfirm {
    ready_event(session_id, &format!("ready {session_id}"), received_at, cents)
}

/// A session that waits, as the ingress publishes it.
pub fn ready_event(session_id: &str, event_id: &str, received_at: Timestamp, cents: i64) -> ReadyToConfirm {
    ReadyToConfirm {
        metadata: Some(metadata(session_id, event_id, received_at)),
        session: Some(session(session_id, SessionStatus::InProgress, NextAction::Confirm, received_at, cents)),
    }
}

/// The event of a session that finished just now.
pub fn finished_event(session_id: &str, status: SessionStatus) -> PaymentFinished {
    let now = Timestamp::now();
    PaymentFinished {
        metadata: Some(metadata(session_id, &format!("finished {session_id}"), now)),
        session: Some(session(session_id, status, NextAction::Unspecified, now, 100)),
    }
}

fn metadata(session_id: &str, event_id: &str, received_at: Timestamp) -> EventMetadata {
    EventMetadata {
        event_id: event_id.to_owned(),
        source: "sg-main".to_owned(),
        provider: "smart-glocal".to_owned(),
        subject: session_id.to_owned(),
        received_at: Some(timestamp(received_at)),
        ..EventMetadata::default()
    }
}

fn session(id: &str, status: SessionStatus, next_action: NextAction, updated_at: Timestamp, cents: i64) -> Session {
    let operation = Operation {
        id: format!("po_{id}"),
        kind: OperationKind::Payout.into(),
        amount: Some(Money { currency: Some("USD".to_owned()), minor_units: cents, exponent: Some(2) }),
        ..Operation::default()
    };
    Session {
        id: id.to_owned(),
        status: status.into(),
        next_action: next_action.into(),
        updated_at: Some(timestamp(updated_at)),
        operations: vec![operation],
        ..Session::default()
    }
}

/// This long ago.
pub fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}
