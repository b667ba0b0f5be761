//! Tests of the ledger's format: what is not known in full is refused, what was written is read, in every version.

use std::path::{Path, PathBuf};
use std::{env, fs};

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::confirmation::session::model::{Action, Decided, Decider, Decision, Opening};
use crate::confirmation::tests::arbitrary;
use crate::message::confirmation::v1::{self, ledger_entry::State};
use crate::message::event::v1::Money;

fn session() -> SessionKey {
    SessionKey { source: "sg-main".into(), session_id: "ps_3230".into() }
}

fn at(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

fn opening() -> Opening {
    let amount = Money { currency: Some("USD".to_owned()), minor_units: 10_000, exponent: Some(2) };
    let operation =
        v1::Operation { id: "po_1313".to_owned(), kind: v1::OperationKind::Payout.into(), amount: Some(amount) };
    Opening {
        ready_event_id: "e5a20a9b4376573f5ec05721afbb5f83".to_owned(),
        recorded_at: at("2026-02-03T04:05:06.789Z"),
        window_began_at: at("2026-02-03T04:05:06.123456Z"),
        operations: vec![operation],
        dry_run: true,
        failed_rule: String::new(),
    }
}

fn decided() -> Decided {
    Decided {
        opening: opening(),
        action: Action::Cancel,
        decider: Decider {
            kind: v1::DeciderKind::Decision,
            name: "risk".to_owned(),
            decision_id: "d-1".to_owned(),
            reason: "too much".to_owned(),
        },
        decided_at: at("2026-02-03T04:06:00Z"),
        key_number: 3,
        attempts: 4,
        unknown_codes: Some((2, at("2026-02-03T04:06:01Z"))),
        tried_after_window: true,
    }
}

fn early() -> Vec<Decision> {
    let decision = Decision {
        action: Action::Confirm,
        decided_by: "ops".to_owned(),
        reason: "known".to_owned(),
        decision_id: "d-0".to_owned(),
        offset: 41,
        recorded_at: at("2026-02-03T04:00:00Z"),
    };
    vec![decision]
}

fn ended() -> Done {
    Done {
        done_at: at("2026-02-03T04:07:00Z"),
        result: v1::Result::Superseded,
        ready_event_id: opening().ready_event_id,
        decision_id: "d-1".to_owned(),
    }
}

fn owner() -> LedgerOwner {
    LedgerOwner { group_id: "paybridge-confirmation".to_owned(), partitions: 12, dry_run: true }
}

/// One of each state, with every field filled.
fn each() -> [(&'static str, LedgerRecord); 5] {
    [
        ("early", LedgerRecord::Entry(session(), SessionEntry::Early(early()))),
        ("awaiting", LedgerRecord::Entry(session(), SessionEntry::Awaiting(Box::new(opening())))),
        ("decided", LedgerRecord::Entry(session(), SessionEntry::Decided(Box::new(decided())))),
        ("done", LedgerRecord::Done(session(), ended())),
        ("owner", LedgerRecord::Owner(owner())),
    ]
}

fn written(kept: &LedgerRecord) -> (String, Vec<u8>) {
    match kept {
        LedgerRecord::Entry(session, entry) => (key(session), encode(session, entry)),
        LedgerRecord::Done(session, done) => (key(session), encode_done(session, done)),
        LedgerRecord::Owner(owner) => (OWNER_KEY.to_owned(), encode_owner(owner)),
    }
}

/// What a spoilt entry is refused for.
fn check(kept: &LedgerRecord, spoil: impl FnOnce(&mut v1::LedgerEntry), expected: &LedgerError) {
    let (key, value) = written(kept);
    let mut entry = v1::LedgerEntry::decode(value.as_slice()).unwrap();
    spoil(&mut entry);
    assert_eq!(decode(key.as_bytes(), &entry.encode_to_vec()).as_ref(), Err(expected));
}

/// A list is decoded with room for four operations, and most sessions have one for hours.
#[test]
fn what_is_read_takes_no_room_that_it_does_not_need() {
    let written = encode(&session(), &SessionEntry::Awaiting(Box::new(opening())));
    let Ok(LedgerRecord::Entry(_, SessionEntry::Awaiting(read))) = decode(key(&session()).as_bytes(), &written) else {
        panic!("not read")
    };
    assert_eq!((read.operations.len(), read.operations.capacity()), (1, 1));
}

#[test]
fn refuses_every_entry_that_is_not_known_in_full() {
    use LedgerError::{Contradiction, Missing, Schema, Time, UnknownState, UnknownValue};
    let [(_, early), (_, awaiting), (_, decided), (_, done), (_, owner)] = each();
    for schema in [0, 2, u32::MAX] {
        check(&done, |entry| entry.schema = schema, &Schema(schema));
    }
    check(&done, |entry| entry.state = None, &UnknownState);
    check(&done, |entry| entry.source.clear(), &Missing("source"));
    check(&done, |entry| entry.session_id.clear(), &Missing("session_id"));
    let other_key = Contradiction("the entry's key is not that of its source and session");
    check(&done, |entry| entry.session_id.push('0'), &other_key);
    check(&owner, |entry| entry.source.push('x'), &Contradiction("an owner's entry has the key of a session"));

    check_owner(&owner, |owner| owner.group_id.clear(), &Missing("group_id"));
    check_owner(&owner, |owner| owner.partitions = 0, &Missing("partitions"));
    check_done(&done, |done| done.result = 0, &UnknownValue("done.result"));
    check_done(&done, |done| done.result = 7, &UnknownValue("done.result"));
    check_done(&done, |done| done.done_at = None, &Missing("done.done_at"));
    check_done(&done, |done| done.done_at.as_mut().unwrap().nanos = -1, &Time("done.done_at"));
    check_done(&done, |done| done.done_at.as_mut().unwrap().seconds = i64::MAX, &Time("done.done_at"));
    check_done(&done, |done| done.ready_event_id.clear(), &Missing("done.ready_event_id"));
    check_decided(&decided, |decided| decided.action = 0, &UnknownValue("decided.action"));
    check_decided(&decided, |decided| decided.action = 3, &UnknownValue("decided.action"));
    check_decided(&decided, |decided| decided.decided_by_kind = 6, &UnknownValue("decided.decided_by_kind"));
    check_decided(&decided, |decided| decided.decided_by_kind = 0, &UnknownValue("decided.decided_by_kind"));
    check_decided(&decided, |decided| decided.decided_at = None, &Missing("decided.decided_at"));
    check_decided(&decided, |decided| decided.opening = None, &Missing("opening"));
    let since = "decided.unknown_codes_since";
    check_decided(&decided, |decided| decided.unknown_codes_since = None, &Missing(since));
    check_opening(&awaiting, |opening| opening.recorded_at = None, &Missing("opening.recorded_at"));
    check_opening(&awaiting, |opening| opening.window_began_at = None, &Missing("opening.window_began_at"));
    check_opening(&awaiting, |opening| opening.ready_event_id.clear(), &Missing("opening.ready_event_id"));
    check_opening(&awaiting, |opening| opening.operations[0].kind = 3, &UnknownValue("opening.operations.kind"));
    check_early(&early, |early| early.decisions.clear(), &Missing("early.decisions"));
    check_early(&early, |early| early.decisions[0].decision = None, &Missing("early.decisions.decision"));
    check_early(&early, |early| early.decisions[0].recorded_at = None, &Missing("early.decisions.recorded_at"));
    let foreign = Contradiction("an early decision is another session's");
    check_early(&early, |early| early.decisions[0].decision.as_mut().unwrap().source.push('x'), &foreign);
}

fn check_owner(kept: &LedgerRecord, spoil: impl FnOnce(&mut v1::Owner), expected: &LedgerError) {
    let inner = |entry: &mut v1::LedgerEntry| match entry.state.as_mut() {
        Some(State::Owner(owner)) => spoil(owner),
        other => panic!("{other:?}"),
    };
    check(kept, inner, expected);
}

fn check_done(kept: &LedgerRecord, spoil: impl FnOnce(&mut v1::Done), expected: &LedgerError) {
    let inner = |entry: &mut v1::LedgerEntry| match entry.state.as_mut() {
        Some(State::Done(done)) => spoil(done),
        other => panic!("{other:?}"),
    };
    check(kept, inner, expected);
}

fn check_decided(kept: &LedgerRecord, spoil: impl FnOnce(&mut v1::Decided), expected: &LedgerError) {
    let inner = |entry: &mut v1::LedgerEntry| match entry.state.as_mut() {
        Some(State::Decided(decided)) => spoil(decided),
        other => panic!("{other:?}"),
    };
    check(kept, inner, expected);
}

fn check_opening(kept: &LedgerRecord, spoil: impl FnOnce(&mut v1::Opening), expected: &LedgerError) {
    let inner = |entry: &mut v1::LedgerEntry| match entry.state.as_mut() {
        Some(State::Awaiting(awaiting)) => spoil(awaiting.opening.as_mut().unwrap()),
        other => panic!("{other:?}"),
    };
    check(kept, inner, expected);
}

fn check_early(kept: &LedgerRecord, spoil: impl FnOnce(&mut v1::Early), expected: &LedgerError) {
    let inner = |entry: &mut v1::LedgerEntry| match entry.state.as_mut() {
        Some(State::Early(early)) => spoil(early),
        other => panic!("{other:?}"),
    };
    check(kept, inner, expected);
}

#[test]
fn refuses_bytes_that_mean_nothing_to_this_version() {
    let (key, value) = written(&each()[3].1);
    // Field 9 of the entry, a state of later days: the last of a oneof counts, so it would be the one.
    let later = [value.as_slice(), &[0x4a, 0x00]].concat();
    assert_eq!(decode(key.as_bytes(), &later), Err(LedgerError::UnknownField));
    assert!(matches!(decode(key.as_bytes(), &value[..value.len() - 1]), Err(LedgerError::NotProtobuf(_))));
    assert_eq!(decode(key.as_bytes(), &[]), Err(LedgerError::Schema(0)));
    for wrong in [&b"owner"[..], b"sg-main", b"sg-main/ps_323", b"\xff", b""] {
        assert!(matches!(decode(wrong, &value), Err(LedgerError::Contradiction(_))), "{wrong:?}");
    }
    let (_, owner) = written(&each()[4].1);
    assert!(matches!(decode(key.as_bytes(), &owner), Err(LedgerError::Contradiction(_))));
    let slash = SessionKey { source: "a/b".into(), session_id: "c".into() };
    assert!(decode(b"a/b/c", &encode_done(&slash, &ended())).is_err());
}

fn golden(state: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/ledger/schema-{SCHEMA}-{state}.bin"))
}

/// `PAYBRIDGE_BLESS=1` adds those that are missing. It never writes an existing one anew: the next version must read it.
#[test]
fn reads_what_every_version_of_this_schema_wrote() {
    for (state, kept) in each() {
        let (key, value) = written(&kept);
        if env::var_os("PAYBRIDGE_BLESS").is_some() && !golden(state).exists() {
            fs::create_dir_all(golden(state).parent().unwrap()).unwrap();
            fs::write(golden(state), &value).unwrap();
        }
        let bytes = fs::read(golden(state)).unwrap();
        assert_eq!(decode(key.as_bytes(), &bytes).as_ref(), Ok(&kept), "{state}");
        assert_eq!(value, bytes, "{state}: the version before would read it otherwise");
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(session in arbitrary::session_key(), entry in arbitrary::entry()) {
        let kept = decode(key(&session).as_bytes(), &encode(&session, &entry));
        prop_assert_eq!(kept, Ok(LedgerRecord::Entry(session, entry)));
    }

    #[test]
    fn whatever_ended_is_read(session in arbitrary::session_key(), done in arbitrary::done()) {
        let kept = decode(key(&session).as_bytes(), &encode_done(&session, &done));
        prop_assert_eq!(kept, Ok(LedgerRecord::Done(session, done)));
    }

    #[test]
    fn any_bytes_are_classified(key in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
        let _any = decode(&key, &value);
    }

    /// No change of one byte is read as the same entry, nor as another session's.
    #[test]
    fn another_session_is_never_read(entry in arbitrary::entry(), place in any::<prop::sample::Index>(), byte: u8) {
        let mut value = encode(&session(), &entry);
        let place = place.index(value.len());
        value[place] = byte;
        match decode(key(&session()).as_bytes(), &value) {
            Ok(LedgerRecord::Entry(read, _) | LedgerRecord::Done(read, _)) => prop_assert_eq!(read, session()),
            Ok(LedgerRecord::Owner(owner)) => prop_assert!(false, "{:?}", owner),
            Err(_) => {}
        }
    }
}
