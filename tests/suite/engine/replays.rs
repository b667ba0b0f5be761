//! Events that come again after the ledger forgot their session: they open nothing that has ended.

use jiff::{SignedDuration, Timestamp};
use paybridge::confirmation::codec::ledger::{self, LedgerOwner, LedgerRecord};
use paybridge::confirmation::session::model::{Done, SessionKey};
use paybridge::message::confirmation::v1::Result;
use paybridge::message::smart_glocal::v1::{NextAction, SessionStatus};
use paybridge::provider::smart_glocal::api::SessionView;
use prost::Message;

use crate::support::engine_setup::{EngineSetup, LEDGER, READY, ago, await_metric, ready_event};
use crate::support::eventually::{LIMIT, eventually};

const CONFIRM_ALL: &str = "default = \"confirm\"";
/// `window_s` and `ledger_retention_s` by default: how long an ended session is remembered.
const REMEMBERED_S: i64 = 14_400 + 86_400;

/// The ledger of an engine by which the session was cancelled, and ended then.
fn ended_before(setup: &EngineSetup, session_id: &str, done_at: Timestamp) {
    let partitions = u32::try_from(setup.config.kafka.partitions).unwrap();
    let owner = LedgerOwner { group_id: setup.group(), partitions, dry_run: false };
    let done = Done {
        done_at,
        result: Result::Accepted,
        ready_event_id: "the first event".to_owned(),
        decision_id: "cancelled by hand".to_owned(),
    };
    let partition = setup.partition_of(session_id);
    setup.write_to(LEDGER, partition, ledger::OWNER_KEY, Some(&ledger::encode_owner(&owner)));
    let key = SessionKey { source: "sg-main".into(), session_id: session_id.into() };
    setup.write_to(LEDGER, partition, &ledger::key(&key), Some(&ledger::encode_done(&key, &done)));
    setup
        .provider
        .open(session_id, SessionView { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified });
}

/// When the ledger's last entry of the session says that it ended.
fn done_at(setup: &EngineSetup, session_id: &str, entries: usize) -> Timestamp {
    let entries = setup.await_entries(session_id, entries);
    let last = entries.last().unwrap();
    match ledger::decode(last.key.as_deref().unwrap(), last.value.as_deref().unwrap()) {
        Ok(LedgerRecord::Done(_, done)) => done.done_at,
        other => panic!("not an ended session: {other:?}"),
    }
}

/// An event of a session that ended long ago: the memory of the end alone would be gone while the event can still open a session.
#[test]
fn an_ended_session_is_remembered_from_its_last_event_on() {
    for began_at in [Timestamp::now(), ago(5 * 3600)] {
        let setup = EngineSetup::new(CONFIRM_ALL);
        ended_before(&setup, "ps_1", ago(REMEMBERED_S - 3600));
        let engine = setup.engine();
        let before = Timestamp::now();
        setup.write(READY, "ps_1", &ready_event("ps_1", "a later event", began_at, 100).encode_to_vec());
        // Within a second of the broker's clock.
        assert!(done_at(&setup, "ps_1", 2) >= before - SignedDuration::from_secs(1), "began at {began_at}");
        eventually(LIMIT, || match setup.status_calls("ps_1") {
            0 => Err("the provider was not asked".to_owned()),
            _ => Ok(()),
        });
        setup.await_read("ps_1");
        assert_eq!(setup.provider.session("ps_1").unwrap().actions(), []);
        setup.await_outcomes(1);
        engine.stop().unwrap();
    }
}

/// By a provider's clock that is an hour ahead, the window begins after the session has ended here.
#[test]
fn an_event_of_a_provider_whose_clock_is_ahead_opens_nothing_after_its_session_was_forgotten() {
    let setup = EngineSetup::new(CONFIRM_ALL);
    ended_before(&setup, "ps_1", ago(REMEMBERED_S - 6));
    let engine = setup.engine();
    setup.await_forgotten("ps_1");
    setup.ready("ps_1", ago(REMEMBERED_S - 3600), 100);
    await_metric(&engine, "paybridge_confirmation_alerts_total{kind=\"too_old\"}", 1);
    setup.await_read("ps_1");
    assert_eq!((setup.status_calls("ps_1"), setup.provider.session("ps_1").unwrap().actions()), (1, vec![]));
    setup.await_outcomes(1);
    engine.stop().unwrap();
}
