//! The confirmation engine while its credentials change: one decision and one outcome a session, before, meanwhile, after.

use jiff::Timestamp;
use paybridge::message::confirmation::v1::Result;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::{Fault, SimulatorSettings};

use super::rotation::IN_USE;
use super::{tables, volume};
use crate::support::bridge::Bridge;
use crate::support::engine_setup::{EngineSetup, PROJECT, await_metric, known_keys};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, Login};

/// Sessions before, during and after each change.
const SOME: usize = 20;

/// Sessions of a setup, each to be confirmed.
struct Sessions<'a> {
    setup: &'a EngineSetup,
    count: usize,
}

impl Sessions<'_> {
    fn open(&mut self, count: usize) {
        for _ in 0..count {
            self.setup.ready(&format!("ps_{}", self.count), Timestamp::now(), 100);
            self.count += 1;
        }
    }

    /// Opens one after the other until something has happened.
    #[track_caller]
    fn open_until(&mut self, mut has_happened: impl FnMut() -> std::result::Result<(), String>) {
        eventually(IN_USE, || {
            self.open(1);
            has_happened()
        });
    }

    /// Each has its one outcome, and the provider has done once what it says.
    #[track_caller]
    fn check(&self) {
        let outcomes = self.setup.await_outcomes(self.count);
        for (id, outcome) in &outcomes {
            assert!(matches!(outcome.result(), Result::Accepted | Result::AlreadyDone), "{outcome:?}");
            assert_eq!(self.setup.provider.session(id).unwrap().actions(), [Operation::Confirm], "{id}");
        }
    }
}

fn reloads(engine: &Bridge, result: &str) -> u64 {
    engine.count(&format!(r#"paybridge_key_reloads_total{{source="_kafka",result="{result}"}}"#))
}

fn reached(engine: &Bridge, result: &str, count: u64) -> std::result::Result<(), String> {
    match reloads(engine, result) {
        shown if shown >= count => Ok(()),
        shown => Err(format!("{shown} reloads are {result}, not {count}")),
    }
}

#[test]
fn a_password_changes_in_every_order_and_each_session_has_one_decision_and_one_outcome() {
    let kafka: &'static Kafka = Box::leak(Box::new(Kafka::start(&[])));
    let volume = volume(kafka, Login::Scram);
    let write = |password: &str| volume.replace(&[("ca.crt", &kafka.authority_pem()), ("password", password)]);
    let confirmation = format!("default = \"confirm\"\n{}", tables(Login::Scram, &volume));
    let setup = EngineSetup::with(kafka, &confirmation, SimulatorSettings::new(PROJECT, known_keys()));
    let engine = setup.engine_with(|config| config.kafka.bootstrap_servers = kafka.secured_bootstrap(Login::Scram));
    let mut sessions = Sessions { setup: &setup, count: 0 };
    sessions.open(SOME);
    sessions.check();

    // Kafka first, and calls are on their way whose answers come to clients of the old password.
    setup.provider.misbehave_at(Operation::Confirm, Fault::Hold, 5);
    sessions.open(SOME);
    kafka.change_scram_password("the-second-password");
    write("the-second-password");
    sessions.open_until(|| reached(&engine, "used", 1));
    setup.provider.release(5);
    sessions.check();
    kafka.stop();
    kafka.restart();
    sessions.open(SOME);
    sessions.check();

    // The file first: the old clients go on deciding.
    write("the-third-password");
    sessions.open_until(|| reached(&engine, "unusable", 1));
    sessions.open(SOME);
    sessions.check();
    assert_eq!(reloads(&engine, "used"), 1);
    kafka.change_scram_password("the-third-password");
    sessions.open_until(|| reached(&engine, "used", 2));
    sessions.check();

    // All connections closed first: transactions fail until the file changes.
    kafka.change_scram_password("the-fourth-password");
    kafka.stop();
    kafka.restart();
    sessions.open(SOME);
    write("the-fourth-password");
    sessions.open_until(|| reached(&engine, "used", 3));
    sessions.check();
    await_metric(&engine, "paybridge_confirmation_open_sessions", 0);
    engine.stop().unwrap();
    println!("{} sessions over three changes", sessions.count);
    kafka.kill_9();
}

/// Before there is an engine there is a plan, which waits for Kafka to take its producer.
#[test]
fn an_engine_that_began_with_a_wrong_password_begins_to_decide_by_the_right_one() {
    let kafka = Kafka::shared();
    let volume = volume(kafka, Login::Scram);
    let right = std::fs::read_to_string(volume.path("password")).unwrap();
    let write = |password: &str| volume.replace(&[("ca.crt", &kafka.authority_pem()), ("password", password)]);
    write("wrong");
    let confirmation = format!("default = \"confirm\"\n{}", tables(Login::Scram, &volume));
    let setup = EngineSetup::with(kafka, &confirmation, SimulatorSettings::new(PROJECT, known_keys()));
    let mut config = setup.config.clone();
    config.kafka.bootstrap_servers = kafka.secured_bootstrap(Login::Scram);
    let engine = Bridge::launch(config);
    let mut sessions = Sessions { setup: &setup, count: 0 };
    sessions.open(1);
    assert_eq!(engine.admin("/livez").status, 200);
    write(&right);
    engine.await_ready();
    eventually(LIMIT, || reached(&engine, "used", 1));
    sessions.check();
    engine.stop().unwrap();
}
