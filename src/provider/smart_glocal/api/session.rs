//! The whole session that the answer to a status call shows, as webhooks show it.
//! Must not know what the caller does with it.

use http::StatusCode;

use super::super::normalize;
use super::{Operation, Reply, read};
use crate::message::smart_glocal::v1::Session;
use crate::provider::json::{self, Reader, Unread};

/// A session as an answer shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownSession {
    /// What it says.
    pub session: Session,
    /// The paths of its fields that could not be read, as [`Normalized::unread_fields`] has them.
    ///
    /// [`Normalized::unread_fields`]: crate::provider::Normalized::unread_fields
    pub unread_fields: Vec<String>,
}

/// The session `session_id` as the answer to `session/status` shows it, in either version's shape. Nothing where
/// [`read`] finds no such session in the answer.
pub fn session(session_id: &str, status: StatusCode, body: &[u8]) -> Option<ShownSession> {
    match read(Operation::Status, session_id, status, body) {
        Reply::Ok(Some(_)) => {}
        _ => return None,
    }
    let (document, unread) = (json::parse(body).ok()?, Unread::default());
    let session = Reader::new(document.object(), &unread).object("session", normalize::session).flatten()?;
    (session.id == session_id).then(|| ShownSession { session, unread_fields: unread.into_paths() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::smart_glocal::v1::{NextAction, OperationKind, SessionStatus};

    fn answer(session: &str) -> String {
        format!(r#"{{"status":"ok","session":{session}}}"#)
    }

    fn shown(status: u16, body: &str) -> Option<ShownSession> {
        session("ps_1", StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn shows_nothing_unless_the_answer_is_of_that_session_and_readable() {
        let good = answer(r#"{"id":"ps_1","status":"in_progress","next_action":"confirm"}"#);
        assert!(shown(200, &good).is_some());
        for (status, body) in [
            (200, String::new()),
            (200, r#"{"status":"ok"}"#.to_owned()),
            (200, r#"{"status":"error","error":{"code":"internal_error"}}"#.to_owned()),
            (200, good.replace("ps_1", "ps_2")),
            (200, answer(r#"{"id":"ps_1"}"#)),
            (200, answer(r#"{"status":"in_progress"}"#)),
            (400, good.clone()),
            (404, good.clone()),
            (500, good.clone()),
            (302, good),
        ] {
            assert_eq!(shown(status, &body), None, "{status} {body}");
        }
    }

    #[test]
    fn names_what_cannot_be_read() {
        for (list, expect) in [("7", "session.payments"), (r#"[{"id":{}}]"#, "session.payments[0].id")] {
            let body = answer(&format!(r#"{{"id":"ps_1","status":"in_progress","payments":{list}}}"#));
            assert_eq!(shown(200, &body).unwrap().unread_fields, [expect]);
        }
    }

    #[test]
    fn shows_the_operations_of_both_versions() {
        let operation = r#"[{"id":"o","amount_details":{"amount":10000,"currency":"usd"}}]"#;
        for (list, kind) in [
            ("payments", OperationKind::Payout),
            ("payout_list", OperationKind::Payout),
            ("acquiring_payments", OperationKind::Payment),
            ("payment_list", OperationKind::Payment),
        ] {
            let session = format!(
                r#"{{"id":"ps_1","status":"in_progress","next_action":"confirm","{list}":{operation},"later":{{}}}}"#
            );
            let session = shown(200, &answer(&session)).unwrap().session;
            assert_eq!((session.status(), session.next_action()), (SessionStatus::InProgress, NextAction::Confirm));
            let [operation] = session.operations.as_slice() else { panic!("{session:?}") };
            assert_eq!((operation.kind(), operation.amount.as_ref().unwrap().minor_units), (kind, 10_000));
        }
    }
}
