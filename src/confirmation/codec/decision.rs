//! What a record of the decision topic says. Other teams write it, so all of it is doubted.
//! Pure; must not know whether the decision counts.

use jiff::Timestamp;
use prost::Message;

use super::inputs::SESSION_ID_BYTES_MAX;
use crate::config::SourceName;
use crate::confirmation::session::model::{Action, Decision, SessionKey};
use crate::message::confirmation::v1;

/// The longest `decided_by`, `reason` and `decision_id`, in bytes: they are kept in the ledger, and repeated in the outcome.
pub const TEXT_BYTES_MAX: usize = 1024;
/// The longest decision, in bytes: four times the sum of its texts' bounds, so that it can be passed on, or told of, whatever a
/// later version or a careless writer puts beside them.
pub const DECISION_BYTES_MAX: usize = 16 * 1024;

/// A record of the decision topic that is no complete decision.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct MalformedDecision {
    /// What is wrong with it.
    pub reason: MalformedReason,
    /// As far as it could be decoded.
    pub decision: Option<Box<v1::Decision>>,
}

/// What is wrong with a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedReason {
    /// More than any decision.
    #[error("the value is larger than a decision may be")]
    TooLarge,
    /// No protobuf of a decision.
    #[error("the value is not a protobuf Decision")]
    NotProtobuf,
    /// A part that every decision has.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An action that this version does not know.
    #[error("action has a value that this version does not know")]
    UnknownAction,
    /// No name that a source can have.
    #[error("source is not a valid source name")]
    NotASource,
    /// A text beyond its bound.
    #[error("{0} is too long")]
    TooLong(&'static str),
}

/// Understands a record of the decision topic that stands at `offset` since `recorded_at`.
///
/// # Errors
/// It is no complete decision: it is rejected. A text that is too long is an error and not cut: a cut `decision_id` would be
/// another's identity, and nobody would know of a cut reason.
pub fn read(value: &[u8], offset: i64, recorded_at: Timestamp) -> Result<(SessionKey, Decision), MalformedDecision> {
    if value.len() > DECISION_BYTES_MAX {
        return Err(MalformedDecision { reason: MalformedReason::TooLarge, decision: None });
    }
    let Ok(decision) = v1::Decision::decode(value) else {
        return Err(MalformedDecision { reason: MalformedReason::NotProtobuf, decision: None });
    };
    match complete(&decision) {
        Err(reason) => Err(MalformedDecision { reason, decision: Some(Box::new(decision)) }),
        Ok(action) => {
            let v1::Decision { source, session_id, action: _, decided_by, reason, decision_id } = decision;
            let key = SessionKey { source: source.into(), session_id: session_id.into() };
            Ok((key, Decision { action, decided_by, reason, decision_id, offset, recorded_at }))
        }
    }
}

fn complete(decision: &v1::Decision) -> Result<Action, MalformedReason> {
    if decision.source.is_empty() {
        return Err(MalformedReason::Missing("source"));
    }
    if SourceName::new(&decision.source).is_none() {
        return Err(MalformedReason::NotASource);
    }
    if decision.session_id.is_empty() {
        return Err(MalformedReason::Missing("session_id"));
    }
    for (name, text, bytes_max) in [
        ("session_id", &decision.session_id, SESSION_ID_BYTES_MAX),
        ("decided_by", &decision.decided_by, TEXT_BYTES_MAX),
        ("reason", &decision.reason, TEXT_BYTES_MAX),
        ("decision_id", &decision.decision_id, TEXT_BYTES_MAX),
    ] {
        if text.len() > bytes_max {
            return Err(MalformedReason::TooLong(name));
        }
    }
    match v1::Action::try_from(decision.action) {
        Ok(v1::Action::Confirm) => Ok(Action::Confirm),
        Ok(v1::Action::Cancel) => Ok(Action::Cancel),
        Ok(v1::Action::Unspecified) => Err(MalformedReason::Missing("action")),
        Err(_) => Err(MalformedReason::UnknownAction),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(value: &[u8]) -> Result<(SessionKey, Decision), MalformedDecision> {
        super::read(value, 7, Timestamp::UNIX_EPOCH)
    }

    fn whole() -> v1::Decision {
        v1::Decision {
            source: "sg-main".to_owned(),
            session_id: "x".repeat(255),
            action: v1::Action::Cancel.into(),
            decided_by: "x".repeat(1024),
            reason: "x".repeat(1024),
            decision_id: "x".repeat(1024),
        }
    }

    fn check(reason: MalformedReason, spoil: impl FnOnce(&mut v1::Decision)) {
        let mut spoilt = whole();
        spoil(&mut spoilt);
        let expected = MalformedDecision { reason, decision: Some(Box::new(spoilt.clone())) };
        assert_eq!(decided(&spoilt.encode_to_vec()), Err(expected));
    }

    #[test]
    fn refuses_what_is_no_complete_decision() {
        use MalformedReason::{Missing, NotASource, NotProtobuf, TooLong, UnknownAction};
        let bytes = decided(b"{\"action\":\"confirm\"}").unwrap_err();
        assert_eq!(bytes, MalformedDecision { reason: NotProtobuf, decision: None });
        check(Missing("source"), |decision| decision.source.clear());
        check(NotASource, |decision| decision.source = "sg/main".to_owned());
        check(NotASource, |decision| decision.source = "x".repeat(64));
        check(Missing("session_id"), |decision| decision.session_id.clear());
        check(Missing("action"), |decision| decision.action = 0);
        check(UnknownAction, |decision| decision.action = 3);
        check(TooLong("session_id"), |decision| decision.session_id.push('x'));
        check(TooLong("decided_by"), |decision| decision.decided_by.push('x'));
        check(TooLong("reason"), |decision| decision.reason.push('x'));
        check(TooLong("decision_id"), |decision| decision.decision_id.push('x'));
        let mut padded = whole().encode_to_vec();
        padded.extend([0xfa, 0x3e, 0x80, 0x80, 0x01]); // an unknown field of 16 KiB
        padded.resize(padded.len() + 16 * 1024, 0);
        let padded = decided(&padded).unwrap_err();
        assert_eq!(padded, MalformedDecision { reason: MalformedReason::TooLarge, decision: None });
        // What a tombstone would be taken for.
        assert_eq!(decided(&[]).unwrap_err().reason, Missing("source"));
    }

    #[test]
    fn takes_a_decision_as_large_as_it_may_be() {
        let (key, taken) = decided(&whole().encode_to_vec()).unwrap();
        assert_eq!((&*key.source, &*key.session_id), ("sg-main", whole().session_id.as_str()));
        let expected = Decision {
            action: Action::Cancel,
            decided_by: whole().decided_by,
            reason: whole().reason,
            decision_id: whole().decision_id,
            offset: 7,
            recorded_at: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(taken, expected);
    }
}
