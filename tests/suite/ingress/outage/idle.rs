//! Brokers that close connections on which nothing happens, as managed clusters and the load balancers before them do.

use paybridge::message::confirmation::v1::{Action, Result};
use paybridge::simulator::SimulatorSettings;

use super::LIMIT;
use crate::kafka::credentials::succeeds;
use crate::support::bridge::{create_needed_topics, ready_to_confirm};
use crate::support::daemon::{Daemon, Exchange};
use crate::support::engine_setup::{EngineSetup, PROJECT, READY, known_keys};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;

#[test]
fn idle_connections_that_brokers_close_cost_no_webhook_and_no_decision() {
    let kafka: &'static Kafka = Box::leak(Box::new(Kafka::start(&[("connections.max.idle.ms", "2000")])));
    let (setup, text) =
        EngineSetup::for_process(kafka, "default = \"hold\"", SimulatorSettings::new(PROJECT, known_keys()));
    // Asked again where the broker closes the connection before it has answered.
    create_needed_topics(kafka, &setup.config);
    let mut daemon = Daemon::run(&text);
    daemon.await_ready();
    eventually(LIMIT, || match daemon.client().metric("paybridge_confirmation_assigned_partitions") {
        Some(3) => Ok(()),
        assigned => Err(format!("{assigned:?} partitions are assigned")),
    });
    // A broker that has just begun may be slow, and the log says so. This one is warm by now.
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    let cold = daemon.log().len();
    daemon.start_again();
    daemon.await_ready();
    for number in 1..=3 {
        // The producer's connection, and those of the engine that no poll keeps open.
        eventually(LIMIT, || match daemon.client().metric("paybridge_kafka_brokers_up") {
            Some(0) => Ok(()),
            up => Err(format!("{up:?} brokers are connected")),
        });
        let webhook = ready_to_confirm(&daemon.config, number);
        let Exchange::Answered(answered) = daemon.client().post("sg-main", &webhook) else {
            panic!("no answer:\n{}", daemon.log());
        };
        assert_eq!(answered.status, 200, "{answered:?}\n{}", daemon.log());
        assert_eq!(daemon.client().metric("paybridge_ready"), Some(1));
    }
    let session = String::from_utf8(setup.records(READY).remove(0).key.unwrap()).unwrap();
    succeeds(&text, &["decide", "sg-main", &session, "cancel", "--reason", "a test"]);
    let outcome = setup.await_outcome(&session);
    assert_eq!((outcome.result(), outcome.action()), (Result::Accepted, Action::Cancel));
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    let loud: Vec<String> = daemon.log()[cold..].lines().filter(|line| is_loud(line)).map(str::to_owned).collect();
    assert_eq!(loud, Vec::<String>::new(), "nobody has to know that an idle connection was closed");
}

fn is_loud(line: &str) -> bool {
    line.contains(r#""level":"WARN""#) || line.contains(r#""level":"ERROR""#)
}
