//! While our key, project or address is wrong no session is refused; once it is mended all of them go through.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use paybridge::message::confirmation::v1::Result;
use paybridge::provider::keys::generate_pem_pair;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::Fault;

use super::stage::{PROJECT, Stage, await_metric, known_keys};
use crate::bridge::{Bridge, key_file};
use crate::eventually::eventually;
use crate::kafka::Kafka;

/// In force within 10 s is promised; a machine that builds beside the tests may stop for a while too.
const IN_FORCE: Duration = Duration::from_secs(20);
const BREAKER: &str = "paybridge_confirmation_breaker_open{source=\"sg-main\"}";

/// More sessions than failures open the breaker.
const SESSIONS: usize = 8;

fn open_sessions(stage: &Stage, name: &str) -> Vec<String> {
    let ids: Vec<String> = (0..SESSIONS).map(|number| format!("ps_{name}_{number}")).collect();
    for id in &ids {
        stage.ready(id, Timestamp::now(), 100);
    }
    ids
}

#[track_caller]
fn check_all_confirmed(stage: &Stage, engine: &Bridge, ids: &[String]) {
    for id in ids {
        let outcome = stage.await_outcome(id);
        assert_eq!((outcome.result(), outcome.verified), (Result::Accepted, true), "{outcome:?}");
        let session = stage.provider.session(id).unwrap();
        assert_eq!(session.actions(), [Operation::Confirm], "{id}");
        assert!(session.applied.iter().all(|applied| applied.key == Some(format!("confirm:{id}:1"))), "{session:?}");
    }
    await_metric(engine, BREAKER, 0);
}

#[test]
fn a_provider_that_knows_us_no_more_for_a_while_refuses_no_session() {
    let stage = Stage::set("default = \"confirm\"");
    let engine = stage.engine();
    for (name, fault) in [
        ("unauthorized", Fault::Unauthorized),
        ("not_found", Fault::NotFound),
        ("authorization", Fault::Refuse("authorization_error")),
        ("identification", Fault::Refuse("identification_error")),
    ] {
        // Five open the breaker, two more keep it open for three seconds.
        stage.provider.misbehave(fault, 7);
        let ids = open_sessions(&stage, name);
        await_metric(&engine, BREAKER, 1);
        assert!(stage.outcomes().iter().all(|outcome| !ids.contains(&outcome.session_id)), "told during the trouble");
        check_all_confirmed(&stage, &engine, &ids);
    }
    assert!(engine.count("paybridge_confirmation_calls_total{operation=\"confirm\",outcome=\"our_trouble\"}") >= 5);
    engine.stop().unwrap();
}

#[test]
fn a_private_key_that_is_put_right_on_disk_is_in_force_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let private_key = folder.path().join("own.pem");
    fs::write(&private_key, generate_pem_pair().unwrap().0.as_bytes()).unwrap();
    let settings = paybridge::simulator::Settings::new(PROJECT, known_keys());
    let stage = Stage::set_signing(Kafka::shared(), "default = \"confirm\"", settings, &private_key);
    let engine = stage.engine();
    let ids = open_sessions(&stage, "wrong_key");
    await_metric(&engine, BREAKER, 1);
    assert_eq!(stage.outcomes(), []);
    fs::copy(key_file("smart-glocal-private.pem"), &private_key).unwrap();
    let used = "paybridge_key_reloads_total{source=\"sg-main\",result=\"used\"}";
    eventually(IN_FORCE, || if engine.count(used) == 1 { Ok(()) } else { Err("not in use".to_owned()) });
    check_all_confirmed(&stage, &engine, &ids);
    engine.stop().unwrap();
}
