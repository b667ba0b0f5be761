//! Entries of the ledger, from bytes: everything that is not known in full is an error.
//! Pure; must not know how they were written beyond the message itself.

use jiff::Timestamp;
use prost::Message;

use super::{LedgerError, LedgerOwner, LedgerRecord, OWNER_KEY, SCHEMA};
use crate::confirmation::session::model::{
    Action, Checking, Decided, Decider, Decision, Done, EventAge, Opening, RuleBasis, SessionEntry, SessionKey,
};
use crate::message::confirmation::v1::{self, ledger_entry::State};
use crate::message::instant;

/// What a record of the ledger holds.
///
/// # Errors
/// Whatever this version does not know in full; its partition must not go on.
pub fn decode(key: &[u8], value: &[u8]) -> Result<LedgerRecord, LedgerError> {
    let entry = v1::LedgerEntry::decode(value).map_err(LedgerError::NotProtobuf)?;
    if entry.schema != SCHEMA {
        return Err(LedgerError::Schema(entry.schema));
    }
    let written = entry.encoded_len();
    let v1::LedgerEntry { schema: _, source, session_id, state } = entry;
    let Some(state) = state else { return Err(LedgerError::UnknownState) };
    // Decoding drops what it does not know, and all entries are written by this encoder: what was dropped is missing here.
    if written != value.len() {
        return Err(LedgerError::UnknownField);
    }
    if let State::Owner(owner) = state {
        return self::owner(key, &source, &session_id, owner);
    }
    let session = session(key, &source, &session_id)?;
    match state {
        State::Early(early) => {
            Ok(LedgerRecord::Entry(session.clone(), SessionEntry::Early(self::early(&session, early)?)))
        }
        State::Checking(checking) => Ok(LedgerRecord::Entry(
            session.clone(),
            SessionEntry::Checking(Box::new(self::checking(&session, checking)?)),
        )),
        State::Awaiting(awaiting) => {
            Ok(LedgerRecord::Entry(session, SessionEntry::Awaiting(Box::new(self::opening(awaiting.opening)?))))
        }
        State::Decided(decided) => {
            Ok(LedgerRecord::Entry(session, SessionEntry::Decided(Box::new(self::decided(decided)?))))
        }
        State::Done(done) => Ok(LedgerRecord::Done(session, self::done(done)?)),
        State::Owner(_) => Err(LedgerError::UnknownState),
    }
}

fn owner(key: &[u8], source: &str, session_id: &str, owner: v1::Owner) -> Result<LedgerRecord, LedgerError> {
    let v1::Owner { group_id, partitions, dry_run } = owner;
    if key != OWNER_KEY.as_bytes() || !source.is_empty() || !session_id.is_empty() {
        return Err(LedgerError::Contradiction("an owner's entry has the key of a session"));
    }
    if group_id.is_empty() {
        return Err(LedgerError::Missing("group_id"));
    }
    if partitions == 0 {
        return Err(LedgerError::Missing("partitions"));
    }
    Ok(LedgerRecord::Owner(LedgerOwner { group_id, partitions, dry_run }))
}

fn session(key: &[u8], source: &str, session_id: &str) -> Result<SessionKey, LedgerError> {
    if source.is_empty() {
        return Err(LedgerError::Missing("source"));
    }
    if session_id.is_empty() {
        return Err(LedgerError::Missing("session_id"));
    }
    let session = SessionKey { source: source.into(), session_id: session_id.into() };
    if source.contains('/') || key != super::key(&session).as_bytes() {
        return Err(LedgerError::Contradiction("the entry's key is not that of its source and session"));
    }
    Ok(session)
}

fn early(session: &SessionKey, early: v1::Early) -> Result<Vec<Decision>, LedgerError> {
    if early.decisions.is_empty() {
        return Err(LedgerError::Missing("early.decisions"));
    }
    early_decisions(session, early.decisions)
}

fn early_decisions(session: &SessionKey, early: Vec<v1::EarlyDecision>) -> Result<Vec<Decision>, LedgerError> {
    early.into_iter().map(|early| early_decision(session, early)).collect()
}

fn checking(session: &SessionKey, checking: v1::Checking) -> Result<Checking, LedgerError> {
    let basis = match (checking.verdict, checking.by_status) {
        (None, true) => RuleBasis::Status,
        (Some(_), true) => return Err(LedgerError::Contradiction("checking.verdict stands beside checking.by_status")),
        (verdict, false) => RuleBasis::Webhook(verdict.map(self::verdict).transpose()?),
    };
    Ok(Checking {
        opening: opening(checking.opening)?,
        basis,
        age: if checking.undated { EventAge::Unknown } else { EventAge::Known },
        early: early_decisions(session, checking.decisions)?,
    })
}

fn verdict(verdict: v1::Verdict) -> Result<(Action, Decider), LedgerError> {
    let kind = decider_kind("checking.verdict.decided_by_kind", verdict.decided_by_kind)?;
    let action = action("checking.verdict.action", verdict.action)?;
    Ok((action, Decider { name: verdict.decided_by_name, ..Decider::of_kind(kind) }))
}

fn decider_kind(name: &'static str, number: i32) -> Result<v1::DeciderKind, LedgerError> {
    match v1::DeciderKind::try_from(number) {
        Err(_) | Ok(v1::DeciderKind::Unspecified) => Err(LedgerError::UnknownValue(name)),
        Ok(kind) => Ok(kind),
    }
}

fn early_decision(session: &SessionKey, early: v1::EarlyDecision) -> Result<Decision, LedgerError> {
    let recorded_at = time("early.decisions.recorded_at", early.recorded_at)?;
    let decision = early.decision.ok_or(LedgerError::Missing("early.decisions.decision"))?;
    let action = action("early.decisions.decision.action", decision.action)?;
    if *decision.source != *session.source || *decision.session_id != *session.session_id {
        return Err(LedgerError::Contradiction("an early decision is another session's"));
    }
    let v1::Decision { decided_by, reason, decision_id, .. } = decision;
    Ok(Decision { action, decided_by, reason, decision_id, offset: early.offset, recorded_at })
}

fn opening(opening: Option<v1::Opening>) -> Result<Opening, LedgerError> {
    let mut opening = opening.ok_or(LedgerError::Missing("opening"))?;
    // A list that was decoded has room for four at least, and most sessions have one.
    opening.operations.shrink_to_fit();
    for operation in &opening.operations {
        if v1::OperationKind::try_from(operation.kind).is_err() {
            return Err(LedgerError::UnknownValue("opening.operations.kind"));
        }
    }
    Ok(Opening {
        ready_event_id: present("opening.ready_event_id", opening.ready_event_id)?,
        recorded_at: time("opening.recorded_at", opening.recorded_at)?,
        window_began_at: time("opening.window_began_at", opening.window_began_at)?,
        operations: opening.operations,
        dry_run: opening.dry_run,
        failed_rule: opening.failed_rule,
    })
}

fn decided(decided: v1::Decided) -> Result<Decided, LedgerError> {
    let kind = decider_kind("decided.decided_by_kind", decided.decided_by_kind)?;
    let unknown_codes = match (decided.unknown_codes, decided.unknown_codes_since) {
        (0, None) => None,
        (count, since) => Some((count, time("decided.unknown_codes_since", since)?)),
    };
    Ok(Decided {
        opening: opening(decided.opening)?,
        action: action("decided.action", decided.action)?,
        decider: Decider {
            kind,
            name: decided.decided_by_name,
            decision_id: decided.decision_id,
            reason: decided.reason,
        },
        decided_at: time("decided.decided_at", decided.decided_at)?,
        key_number: decided.key_number,
        attempts: decided.attempts,
        unknown_codes,
        tried_after_window: decided.tried_after_window,
    })
}

fn done(done: v1::Done) -> Result<Done, LedgerError> {
    let result = match v1::Result::try_from(done.result) {
        Err(_) | Ok(v1::Result::Unspecified) => return Err(LedgerError::UnknownValue("done.result")),
        Ok(result) => result,
    };
    Ok(Done {
        done_at: time("done.done_at", done.done_at)?,
        result,
        ready_event_id: present("done.ready_event_id", done.ready_event_id)?,
        decision_id: done.decision_id,
    })
}

fn present(name: &'static str, text: String) -> Result<String, LedgerError> {
    if text.is_empty() { Err(LedgerError::Missing(name)) } else { Ok(text) }
}

fn time(name: &'static str, timestamp: Option<prost_types::Timestamp>) -> Result<Timestamp, LedgerError> {
    let timestamp = timestamp.ok_or(LedgerError::Missing(name))?;
    instant(&timestamp).ok_or(LedgerError::Time(name))
}

fn action(name: &'static str, number: i32) -> Result<Action, LedgerError> {
    match v1::Action::try_from(number) {
        Ok(v1::Action::Confirm) => Ok(Action::Confirm),
        Ok(v1::Action::Cancel) => Ok(Action::Cancel),
        Ok(v1::Action::Unspecified) | Err(_) => Err(LedgerError::UnknownValue(name)),
    }
}
