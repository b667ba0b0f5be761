//! Kafka killed, frozen, stopped, away, broken: nothing that was answered 200 is lost, and whoever asks is answered.

mod brokers;
mod frozen;
mod hangup;
mod idle;
mod nodes;
mod probe;
mod start;
mod topics;
mod unnamed;

use crate::support::bridge::{Answered, Bridge};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;
use crate::support::stream::{self, Event, Events, Random, Stream, check_answer};
use crate::support::tally::check_nothing_is_lost;
use crate::support::turn::take_turn;

/// Webhooks at once.
const AT_ONCE: usize = 8;

/// What happens to the broker.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Kill,
    Freeze,
    Stop,
}

#[test]
fn a_stream_of_webhooks_survives_a_killed_a_frozen_and_a_stopped_broker() {
    let _turn = take_turn();
    let kafka = Kafka::start(&[]);
    let mut random = Random::printed();
    let bridge = Bridge::start(&kafka, &[("INGRESS__ACK_TIMEOUT_MS", "2000")]);
    let mut events = Events::new(&bridge.config);
    for outage in [Outage::Kill, Outage::Freeze, Outage::Stop] {
        survives(outage, &kafka, &bridge, &mut events, &mut random);
    }
}

fn survives(outage: Outage, kafka: &Kafka, bridge: &Bridge, events: &mut Events, random: &mut Random) {
    let strike_at = 50 + random.below(100);
    let forgotten = || bridge.restarts("brokers_forgotten");
    println!("{outage:?} after {strike_at} answers");
    let disturb = |stream: &Stream| {
        stream.await_answers(strike_at);
        match outage {
            Outage::Kill => kafka.kill_9(),
            Outage::Freeze => kafka.freeze(),
            Outage::Stop => kafka.stop(),
        }
        stream.await_refusals(3 * AT_ONCE);
        // What it answered before it was away has been noticed by now: each of so many at once has waited for a second and more.
        let forgotten_before = forgotten();
        stream.await_refusals(AT_ONCE);
        assert_eq!(bridge.admin("/readyz").status, 200, "an outage takes no replica away");
        assert_eq!(forgotten(), forgotten_before, "only an answer lets a client forget brokers");
        match outage {
            Outage::Freeze => kafka.thaw(),
            Outage::Kill | Outage::Stop => kafka.restart(),
        }
    };
    let post = |event: &Event| Some(bridge.post(&event.source, &event.webhook));
    let account = stream::run(events.some(400, random), AT_ONCE, post, disturb);
    let mut account: Vec<(Event, Answered)> =
        account.into_iter().map(|(event, answered)| (event, answered.unwrap())).collect();
    for (_, answered) in &account {
        check_answer(answered, bridge.config.ingress.ack_timeout());
    }

    await_recovery(bridge, events, random);
    let refused: Vec<Event> =
        account.iter().filter(|(_, answered)| answered.status == 503).map(|(event, _)| event.clone()).collect();
    for event in refused {
        let answered = bridge.post(&event.source, &event.webhook);
        assert_eq!(answered.status, 200, "{answered:?}");
        assert!(["accepted", "duplicate"].contains(&answered.json("status").as_str()), "{answered:?}");
        account.push((event, answered));
    }
    check_nothing_is_lost(kafka, account.iter().map(|(event, answered)| (event, answered)));
    await_nothing_in_flight(bridge);
    assert_eq!(["fatal_error", "wrong_brokers"].map(|reason| bridge.restarts(reason)), [0, 0]);
}

/// Waits until a new event is taken.
#[track_caller]
fn await_recovery(bridge: &Bridge, events: &mut Events, random: &mut Random) {
    eventually(LIMIT, || {
        let [event] = events.some(1, random).try_into().ok().unwrap();
        let answered = bridge.post(&event.source, &event.webhook);
        check_answer(&answered, bridge.config.ingress.ack_timeout());
        if answered.status == 200 { Ok(()) } else { Err(format!("no recovery: {answered:?}")) }
    });
}

/// Waits until nothing holds memory any more.
#[track_caller]
fn await_nothing_in_flight(bridge: &Bridge) {
    eventually(LIMIT, || match in_flight_bytes(bridge) {
        0 => Ok(()),
        bytes => Err(format!("{bytes} bytes are still in flight")),
    });
}

fn in_flight_bytes(bridge: &Bridge) -> u64 {
    bridge.count("paybridge_ingress_in_flight_bytes")
}
