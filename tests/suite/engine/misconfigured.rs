//! While our key, project or address is wrong no session is refused; once it is mended all of them go through.

use std::fs;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use paybridge::message::confirmation::v1::Result;
use paybridge::provider::keys::generate_pem_pair;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::Fault;
use prost::Message;

use crate::support::bridge::{Bridge, key_file};
use crate::support::engine_setup::{EngineSetup, PROJECT, READY, ago, await_metric, known_keys, waiting_event};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;

/// In force within 10 s is promised; a machine that builds beside the tests may stop for a while too.
const IN_FORCE: Duration = Duration::from_secs(20);
/// Twenty confirmations beside sessions that are none of ours.
const IN_TIME: Duration = Duration::from_secs(30);
const BREAKER: &str = "paybridge_confirmation_breaker_open{source=\"sg-main\"}";

/// More sessions than failures open the breaker.
const SESSIONS: usize = 8;

fn open_sessions(setup: &EngineSetup, name: &str) -> Vec<String> {
    let ids: Vec<String> = (0..SESSIONS).map(|number| format!("ps_{name}_{number}")).collect();
    // At once, so that all are called about before the first is tried again.
    for id in &ids {
        setup.send(READY, id, &waiting_event(id, Timestamp::now(), 100).encode_to_vec());
    }
    ids
}

#[track_caller]
fn check_all_confirmed(setup: &EngineSetup, engine: &Bridge, ids: &[String]) {
    for id in ids {
        let outcome = setup.await_outcome(id);
        assert_eq!((outcome.result(), outcome.verified), (Result::Accepted, true), "{outcome:?}");
        let session = setup.provider.session(id).unwrap();
        assert_eq!(session.actions(), [Operation::Confirm], "{id}");
        assert!(session.applied.iter().all(|applied| applied.key == Some(format!("confirm:{id}:1"))), "{session:?}");
    }
    await_metric(engine, BREAKER, 0);
}

#[test]
fn a_provider_that_knows_us_no_more_for_a_while_refuses_no_session() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine();
    for (name, fault) in [
        ("unauthorized", Fault::Unauthorized),
        ("not_found", Fault::NotFound),
        ("authorization", Fault::Refuse("authorization_error")),
        ("identification", Fault::Refuse("identification_error")),
    ] {
        // It lasts until the breaker is seen open: a slow machine may retry the first sessions before the last ones are called about.
        setup.provider.misbehave(fault, u32::MAX);
        let ids = open_sessions(&setup, name);
        await_metric(&engine, BREAKER, 1);
        assert!(setup.outcomes().iter().all(|outcome| !ids.contains(&outcome.session_id)), "told during the trouble");
        let calls = setup.provider.calls();
        setup.provider.recover();
        check_all_confirmed(&setup, &engine, &ids);
        // For each session what was under way, its question and its action; and one more, for what is unlucky.
        let calls = usize::try_from(setup.provider.calls() - calls).unwrap();
        assert!(calls <= 4 * SESSIONS, "{calls} calls: the provider was not left alone");
    }
    assert!(engine.count("paybridge_confirmation_calls_total{operation=\"confirm\",outcome=\"not_processed\"}") >= 5);
    engine.stop().unwrap();
}

/// Their signature is right and their project is not ours: somebody sent them to us, or sent them again.
#[test]
fn sessions_of_another_project_keep_no_good_one_from_being_confirmed() {
    let setup = EngineSetup::new("default = \"confirm\"");
    let engine = setup.engine();
    let foreign: Vec<String> = (0..40).map(|number| format!("ps_foreign_{number}")).collect();
    for id in &foreign {
        setup.provider.disown(id);
        // Their windows end first.
        setup.ready(id, ago(3600), 100);
    }
    await_metric(&engine, BREAKER, 1);
    engine.assert_fires("PaybridgeBreakerOpen");
    engine.assert_fires_while_it_goes_on("PaybridgeCallsFailing");
    let good: Vec<String> = (0..20).map(|number| format!("ps_good_{number}")).collect();
    let began = Instant::now();
    for id in &good {
        setup.ready(id, Timestamp::now(), 100);
    }
    let outcomes = setup.await_outcomes(good.len());
    let took = began.elapsed();
    assert!(took < IN_TIME, "{took:?}");
    for id in &good {
        let outcome = &outcomes[id];
        assert_eq!((outcome.result(), outcome.verified), (Result::Accepted, true), "{outcome:?}");
        assert_eq!(setup.provider.session(id).unwrap().actions(), [Operation::Confirm], "{id}");
    }
    for id in &foreign {
        assert_eq!(setup.provider.session(id).unwrap().actions(), [], "{id}");
    }
    await_metric(&engine, "paybridge_confirmation_open_sessions", 40);
    engine.stop().unwrap();
}

#[test]
fn a_private_key_that_is_put_right_on_disk_is_in_force_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let private_key = folder.path().join("own.pem");
    fs::write(&private_key, generate_pem_pair().unwrap().0.as_bytes()).unwrap();
    let settings = paybridge::simulator::SimulatorSettings::new(PROJECT, known_keys());
    let setup = EngineSetup::signing(Kafka::shared(), "default = \"confirm\"", settings, &private_key);
    let engine = setup.engine();
    let ids = open_sessions(&setup, "wrong_key");
    await_metric(&engine, BREAKER, 1);
    assert_eq!(setup.outcomes(), []);
    fs::copy(key_file("smart-glocal-private.pem"), &private_key).unwrap();
    let used = "paybridge_key_reloads_total{source=\"sg-main\",result=\"used\"}";
    eventually(IN_FORCE, || if engine.count(used) == 1 { Ok(()) } else { Err("not in use".to_owned()) });
    check_all_confirmed(&setup, &engine, &ids);
    engine.stop().unwrap();
}
