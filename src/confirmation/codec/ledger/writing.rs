//! Entries of the ledger, to bytes. Pure; must not know how they are read.

use jiff::Timestamp;
use prost::Message;

use super::{LedgerOwner, SCHEMA};
use crate::confirmation::session::model::{
    Action, Checking, Decided, Decider, Decision, Done, EventAge, Opening, RuleBasis, SessionEntry, SessionKey,
};
use crate::message::confirmation::v1::{self, ledger_entry::State};
use crate::message::timestamp;

/// The value of a session's entry that has not ended.
pub fn encode(session: &SessionKey, entry: &SessionEntry) -> Vec<u8> {
    of_session(
        session,
        match entry {
            SessionEntry::Early(decisions) => State::Early(v1::Early {
                decisions: decisions.iter().map(|early| early_decision(session, early)).collect(),
            }),
            SessionEntry::Checking(checking) => State::Checking(self::checking(session, checking)),
            SessionEntry::Awaiting(awaiting) => State::Awaiting(v1::Awaiting { opening: Some(opening(awaiting)) }),
            SessionEntry::Decided(decided) => State::Decided(self::decided(decided)),
        },
    )
}

/// The value of a session's entry that has ended.
pub fn encode_done(session: &SessionKey, done: &Done) -> Vec<u8> {
    let done = v1::Done {
        done_at: Some(timestamp(done.done_at)),
        result: done.result.into(),
        ready_event_id: done.ready_event_id.clone(),
        decision_id: done.decision_id.clone(),
    };
    of_session(session, State::Done(done))
}

/// The value of the owner's entry.
pub fn encode_owner(owner: &LedgerOwner) -> Vec<u8> {
    let LedgerOwner { group_id, partitions, dry_run } = owner.clone();
    let state = Some(State::Owner(v1::Owner { group_id, partitions, dry_run }));
    v1::LedgerEntry { schema: SCHEMA, state, ..v1::LedgerEntry::default() }.encode_to_vec()
}

fn of_session(session: &SessionKey, state: State) -> Vec<u8> {
    let (source, session_id) = (session.source.to_string(), session.session_id.to_string());
    v1::LedgerEntry { schema: SCHEMA, source, session_id, state: Some(state) }.encode_to_vec()
}

fn early_decision(session: &SessionKey, decision: &Decision) -> v1::EarlyDecision {
    v1::EarlyDecision {
        decision: Some(v1::Decision {
            source: session.source.to_string(),
            session_id: session.session_id.to_string(),
            action: v1::Action::from(decision.action).into(),
            decided_by: decision.decided_by.clone(),
            reason: decision.reason.clone(),
            decision_id: decision.decision_id.clone(),
        }),
        offset: decision.offset,
        recorded_at: Some(timestamp(decision.recorded_at)),
    }
}

fn checking(session: &SessionKey, checking: &Checking) -> v1::Checking {
    let Checking { opening, basis, age, early } = checking;
    let (verdict, by_status) = match basis {
        RuleBasis::Webhook(verdict) => (verdict.as_ref(), false),
        RuleBasis::Status => (None, true),
    };
    v1::Checking {
        opening: Some(self::opening(opening)),
        verdict: verdict.map(self::verdict),
        by_status,
        undated: *age == EventAge::Unknown,
        decisions: early.iter().map(|early| early_decision(session, early)).collect(),
    }
}

fn verdict((action, decider): &(Action, Decider)) -> v1::Verdict {
    v1::Verdict {
        action: v1::Action::from(*action).into(),
        decided_by_kind: decider.kind.into(),
        decided_by_name: decider.name.clone(),
    }
}

fn opening(opening: &Opening) -> v1::Opening {
    v1::Opening {
        ready_event_id: opening.ready_event_id.clone(),
        recorded_at: Some(timestamp(opening.recorded_at)),
        window_began_at: Some(timestamp(opening.window_began_at)),
        operations: opening.operations.clone(),
        dry_run: opening.dry_run,
        failed_rule: opening.failed_rule.clone(),
    }
}

fn decided(decided: &Decided) -> v1::Decided {
    let unknown_codes_since = decided.unknown_codes.map(|(_, since): (u32, Timestamp)| timestamp(since));
    v1::Decided {
        opening: Some(opening(&decided.opening)),
        action: v1::Action::from(decided.action).into(),
        decided_by_kind: decided.decider.kind.into(),
        decided_by_name: decided.decider.name.clone(),
        decision_id: decided.decider.decision_id.clone(),
        reason: decided.decider.reason.clone(),
        decided_at: Some(timestamp(decided.decided_at)),
        key_number: decided.key_number,
        attempts: decided.attempts,
        unknown_codes: decided.unknown_codes.map_or(0, |(count, _)| count),
        unknown_codes_since,
        tried_after_window: decided.tried_after_window,
    }
}
