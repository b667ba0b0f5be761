//! Events that come again after the ledger forgot their session: they open nothing that has ended.

use jiff::{SignedDuration, Timestamp};
use paybridge::confirmation::ledger::{self, Kept, Owner};
use paybridge::confirmation::model::{Done, SessionKey};
use paybridge::message::confirmation::v1::Result;
use paybridge::message::smart_glocal::v1::{NextAction, SessionStatus};
use paybridge::provider::smart_glocal::api::Sight;
use prost::Message;

use crate::support::engine_setup::{LEDGER, LIMIT, READY, Stage, ago, await_metric, ready_event};
use crate::support::eventually::eventually;

const CONFIRM_ALL: &str = "default = \"confirm\"";
/// `window_s` and `ledger_retention_s` by default: how long an ended session is remembered.
const REMEMBERED_S: i64 = 14_400 + 86_400;

/// The ledger of an engine by which the session was cancelled, and ended then.
fn ended_before(stage: &Stage, session_id: &str, done_at: Timestamp) {
    let partitions = u32::try_from(stage.config.kafka.partitions).unwrap();
    let owner = Owner { group_id: stage.group(), partitions, dry_run: false };
    let done = Done {
        done_at,
        result: Result::Accepted,
        ready_event_id: "the first event".to_owned(),
        decision_id: "cancelled by hand".to_owned(),
    };
    let partition = stage.partition_of(session_id);
    stage.write_to(LEDGER, partition, ledger::OWNER_KEY, Some(&ledger::encode_owner(&owner)));
    let key = SessionKey { source: "sg-main".into(), session_id: session_id.into() };
    stage.write_to(LEDGER, partition, &ledger::key(&key), Some(&ledger::encode_done(&key, &done)));
    stage.provider.open(session_id, Sight { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified });
}

/// When the ledger's last entry of the session says that it ended.
fn done_at(stage: &Stage, session_id: &str, entries: usize) -> Timestamp {
    let entries = stage.await_entries(session_id, entries);
    let last = entries.last().unwrap();
    match ledger::decode(last.key.as_deref().unwrap(), last.value.as_deref().unwrap()) {
        Ok(Kept::Done(_, done)) => done.done_at,
        other => panic!("not an ended session: {other:?}"),
    }
}

/// An event of a session that ended long ago: the memory of the end alone would be gone while the event can still open a session.
#[test]
fn an_ended_session_is_remembered_from_its_last_event_on() {
    for began_at in [Timestamp::now(), ago(5 * 3600)] {
        let stage = Stage::set(CONFIRM_ALL);
        ended_before(&stage, "ps_1", ago(REMEMBERED_S - 3600));
        let engine = stage.engine();
        let before = Timestamp::now();
        stage.write(READY, "ps_1", &ready_event("ps_1", "a later event", began_at, 100).encode_to_vec());
        // Within a second of the broker's clock.
        assert!(done_at(&stage, "ps_1", 2) >= before - SignedDuration::from_secs(1), "began at {began_at}");
        eventually(LIMIT, || match stage.status_calls("ps_1") {
            0 => Err("the provider was not asked".to_owned()),
            _ => Ok(()),
        });
        stage.await_read("ps_1");
        assert_eq!(stage.provider.session("ps_1").unwrap().actions(), []);
        stage.await_outcomes(1);
        engine.stop().unwrap();
    }
}

/// By a provider's clock that is an hour ahead, the window begins after the session has ended here.
#[test]
fn an_event_of_a_provider_whose_clock_is_ahead_opens_nothing_after_its_session_was_forgotten() {
    let stage = Stage::set(CONFIRM_ALL);
    ended_before(&stage, "ps_1", ago(REMEMBERED_S - 6));
    let engine = stage.engine();
    stage.await_forgotten("ps_1");
    stage.ready("ps_1", ago(REMEMBERED_S - 3600), 100);
    await_metric(&engine, "paybridge_confirmation_alerts_total{kind=\"too_old\"}", 1);
    stage.await_read("ps_1");
    assert_eq!((stage.status_calls("ps_1"), stage.provider.session("ps_1").unwrap().actions()), (1, vec![]));
    stage.await_outcomes(1);
    engine.stop().unwrap();
}
