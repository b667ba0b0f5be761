//! A backlog meets few places for calls: what asks for a call waits on its topic, and nothing else waits for it.

use jiff::Timestamp;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::Fault;
use prost::Message;

use crate::support::engine_setup::{EngineSetup, READY, await_metric, waiting_event};
use crate::support::eventually::{LIMIT, eventually};

const SESSIONS: usize = 400;
/// One call at once, so four more may wait.
const ONE_PLACE: &str = "calls_in_flight_max = 1\n";
const PLACES: usize = 5;

const DECIDED: &str = "paybridge_confirmation_decisions_total{kind=\"default\",rule=\"\"}";

fn write_sessions(setup: &EngineSetup) {
    for number in 1..SESSIONS {
        let id = format!("ps_{number}");
        setup.send(READY, &id, &waiting_event(&id, Timestamp::now(), 100).encode_to_vec());
    }
    setup.ready("ps_0", Timestamp::now(), 100);
}

#[test]
fn sessions_that_are_held_are_taken_by_the_hundred_however_few_places_there_are() {
    let setup = EngineSetup::new(ONE_PLACE);
    write_sessions(&setup);
    let engine = setup.engine();
    let held = "paybridge_confirmation_held_total{reason=\"no_rule\"}";
    await_metric(&engine, held, SESSIONS.try_into().unwrap());
    let transactions = engine.count("paybridge_confirmation_transactions_total{result=\"committed\"}");
    // One for each five sessions would be 80.
    assert!(transactions < 40, "{transactions} transactions");
    engine.stop().unwrap();
}

#[test]
fn sessions_that_ask_for_a_call_wait_on_their_topic_while_there_is_no_place() {
    let setup = EngineSetup::new(&format!("{ONE_PLACE}default = \"confirm\""));
    setup.provider.misbehave_at(Operation::Confirm, Fault::Hold, 1);
    write_sessions(&setup);
    let engine = setup.engine();
    let decided = eventually(LIMIT, || match usize::try_from(engine.count(DECIDED)).unwrap() {
        decided if decided >= PLACES => Ok(decided),
        decided => Err(format!("{decided} are decided")),
    });
    // One more twice a second, with the polls that keep the member in its group.
    assert!(decided < PLACES + 60, "{decided} of {SESSIONS} are decided and none is called");
    setup.provider.release(1);
    let outcomes = setup.await_outcomes(SESSIONS);
    assert!(outcomes.values().all(|outcome| outcome.attempts == 1), "a call got too old to be sent");
    engine.stop().unwrap();
}
