//! States that may come back, with a spool: one process alone knows which is the last one; with others nobody does.

use jiff::Timestamp;

use crate::support::bridge::{Answered, Bridge, count_by_id, sender};
use crate::support::kafka::Kafka;
use crate::support::wire::UNIPAAS;

const NAME: &str = "onboarding/update";

/// Posts the same state twice; how often it is on its topic, and what was answered the second time.
fn state_twice(mode: &str) -> (Vec<usize>, String) {
    let (kafka, folder) = (Kafka::shared(), tempfile::tempdir().unwrap());
    let directory = folder.path().join("spool").display().to_string();
    let settings = [("SPOOL__ENABLED", "true"), ("SPOOL__DIRECTORY", directory.as_str()), ("DEDUP__MODE", mode)];
    let bridge = Bridge::start_with(kafka, UNIPAAS, &settings);
    let body = r#"{"vendorId":"v_1","onboardingStatus":"APPROVED"}"#;
    let webhook = sender(&bridge.config, "unipaas").sign(NAME, body.into(), Timestamp::now(), 0);
    let post = || -> Answered {
        let answered = bridge.post("unipaas", &webhook);
        assert_eq!(answered.status, 200, "{answered:?}");
        answered
    };
    post();
    let second = post().json("status");
    let counts = count_by_id(&kafka.read_all(&bridge.topic("unipaas.onboarding-update.v1")));
    (counts.into_values().collect(), second)
}

#[test]
fn a_process_alone_knows_a_state_again() {
    assert_eq!(state_twice("local"), (vec![1], "duplicate".to_owned()));
}

/// Another replica may have a later state on its disk, which no other knows of: a false duplicate would lose an event.
#[test]
fn among_replicas_each_state_is_an_event_of_its_own() {
    assert_eq!(state_twice("shared"), (vec![1, 1], "accepted".to_owned()));
}
