//! Arbitrary values of the model, for laws. For tests alone.

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::confirmation::session::model::{
    Action, Checking, Decided, Decider, Decision, Done, EventAge, Opening, Outcome, ProviderRefusal, RuleBasis,
    SessionEntry, SessionKey,
};
use crate::message::confirmation::v1;
use crate::message::event::v1::Money;

/// A session of a few sources, with any id that a session may have.
pub fn session_key() -> impl Strategy<Value = SessionKey> {
    ("[a-z][a-z0-9-]{0,8}", "\\PC{1,24}")
        .prop_map(|(source, session_id)| SessionKey { source: source.into(), session_id: session_id.into() })
}

/// An instant that protobuf has, to the nanosecond.
pub fn instant() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800_i64..=253_402_207_199, 0..1_000_000_000_i32)
        .prop_map(|(seconds, nanos)| Timestamp::new(seconds, nanos).unwrap())
}

/// Either action.
pub fn action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Confirm), Just(Action::Cancel)]
}

/// A session that has not ended, in any state.
pub fn entry() -> impl Strategy<Value = SessionEntry> {
    prop_oneof![
        vec(decision(), 1..4).prop_map(SessionEntry::Early),
        checking().prop_map(|checking| SessionEntry::Checking(Box::new(checking))),
        opening().prop_map(|opening| SessionEntry::Awaiting(Box::new(opening))),
        decided().prop_map(|decided| SessionEntry::Decided(Box::new(decided))),
    ]
}

/// A complete decision.
pub fn decision() -> impl Strategy<Value = Decision> {
    (action(), "\\PC{0,8}", "\\PC{0,8}", "\\PC{0,8}", any::<i64>(), instant()).prop_map(
        |(action, decided_by, reason, decision_id, offset, recorded_at)| Decision {
            action,
            decided_by,
            reason,
            decision_id,
            offset,
            recorded_at,
        },
    )
}

/// A session that is asked about before it opens.
pub fn checking() -> impl Strategy<Value = Checking> {
    let verdict = option::of((action(), "\\PC{0,8}")).prop_map(|verdict| {
        verdict.map(|(action, name)| (action, Decider { name, ..Decider::of_kind(v1::DeciderKind::Rule) }))
    });
    let basis = prop_oneof![verdict.prop_map(RuleBasis::Webhook), Just(RuleBasis::Status)];
    let age = prop_oneof![Just(EventAge::Known), Just(EventAge::Unknown)];
    (opening(), basis, age, vec(decision(), 0..3)).prop_map(|(opening, basis, age, early)| Checking {
        opening,
        basis,
        age,
        early,
    })
}

/// What opened a session.
pub fn opening() -> impl Strategy<Value = Opening> {
    ("[0-9a-f]{32}", instant(), instant(), vec(operation(), 0..3), any::<bool>(), "\\PC{0,8}").prop_map(
        |(ready_event_id, recorded_at, window_began_at, operations, dry_run, failed_rule)| Opening {
            ready_event_id,
            recorded_at,
            window_began_at,
            operations,
            dry_run,
            failed_rule,
        },
    )
}

fn operation() -> impl Strategy<Value = v1::Operation> {
    let money = (option::of("[A-Z]{3}"), any::<i64>(), option::of(any::<u32>()))
        .prop_map(|(currency, minor_units, exponent)| Money { currency, minor_units, exponent });
    ("\\PC{0,8}", 0..=2_i32, option::of(money)).prop_map(|(id, kind, amount)| v1::Operation { id, kind, amount })
}

/// What decided.
pub fn decider() -> impl Strategy<Value = Decider> {
    (1..=5_i32, "\\PC{0,8}", "\\PC{0,8}", "\\PC{0,8}").prop_map(|(kind, name, decision_id, reason)| Decider {
        kind: v1::DeciderKind::try_from(kind).unwrap(),
        name,
        decision_id,
        reason,
    })
}

/// A session that is decided and has not ended.
pub fn decided() -> impl Strategy<Value = Decided> {
    let counts = (any::<u32>(), any::<u32>(), option::of((any::<u32>(), instant())), any::<bool>());
    (opening(), action(), decider(), instant(), counts).prop_map(|(opening, action, decider, decided_at, counts)| {
        let (key_number, attempts, unknown_codes, tried_after_window) = counts;
        Decided { opening, action, decider, decided_at, key_number, attempts, unknown_codes, tried_after_window }
    })
}

/// How a session ended.
pub fn result() -> impl Strategy<Value = v1::Result> {
    (1..=6_i32).prop_map(|number| v1::Result::try_from(number).unwrap())
}

/// A session that has ended.
pub fn done() -> impl Strategy<Value = Done> {
    (instant(), result(), "[0-9a-f]{32}", "\\PC{0,8}").prop_map(|(done_at, result, ready_event_id, decision_id)| Done {
        done_at,
        result,
        ready_event_id,
        decision_id,
    })
}

/// An outcome, to be told.
pub fn outcome() -> impl Strategy<Value = Outcome> {
    let refusal = ("\\PC{0,300}", "\\PC{0,1100}").prop_map(|(code, description)| ProviderRefusal { code, description });
    let decided = option::of((action(), decider(), instant()));
    let rest = (option::of(instant()), instant(), any::<i64>(), any::<bool>());
    (opening(), decided, result(), option::of(refusal), any::<u32>(), rest).prop_map(
        |(opening, decided, result, refusal, attempts, rest)| {
            let (answered_at, known_at, remaining_seconds, verified) = rest;
            Outcome { opening, decided, result, refusal, attempts, answered_at, known_at, remaining_seconds, verified }
        },
    )
}
