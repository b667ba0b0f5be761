//! Something was wrong for a while, is mended, and what came meanwhile is released.

use std::fs;

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::message::event::v1::QuarantineReason;
use paybridge::provider::SignedWebhook;
use paybridge::provider::keys::generate_pem_pair;

use super::fixture::{Held, HeldFixture, NO_ID};
use super::{counts, verdicts};
use crate::support::bridge::{Bridge, count_by_id, decoded, event_type, key_file, sender};
use crate::support::daemon::{Settings, configuration};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;
use crate::support::wire::told;

/// The key of another source.
const OTHER_KEY: &str = "unipaas.key";
const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// A configuration whose Smart Glocal key is in a file of the test's own, where a wrong one is now.
fn with_a_wrong_key(folder: &std::path::Path, more: &str) -> String {
    let key = folder.join("sg.pem");
    fs::write(&key, generate_pem_pair().unwrap().1).unwrap();
    let kafka = Kafka::shared();
    let text = configuration(kafka.bootstrap(), Settings::default());
    let own = key_file("smart-glocal-public.pem");
    let other = folder.join(OTHER_KEY);
    fs::copy(key_file(OTHER_KEY), &other).unwrap();
    let text = text.replace(&format!("\"{}\"", key_file(OTHER_KEY).display()), &format!("\"{}\"", other.display()));
    text.replace(&format!("\"{}\"", own.display()), &format!("\"{}\"", key.display()))
        .replace("provider = \"smart-glocal\"", &format!("provider = \"smart-glocal\"\n{more}"))
}

fn samples(config: &Config, count: u64) -> Vec<SignedWebhook> {
    let sender = sender(config, "sg-main");
    let ready = event_type("smart-glocal", "ready-to-confirm");
    (0..count).map(|number| sender.sample(ready, Timestamp::now(), number)).collect()
}

/// A key is wrong while webhooks come in; it is mended, and what was kept on `topic` is released from there.
fn check_mended(more: &str, topic: &str, status: (u16, &str)) {
    let folder = tempfile::tempdir().unwrap();
    let fixture = HeldFixture::of(Kafka::shared(), &with_a_wrong_key(folder.path(), more));
    let bridge = Bridge::launch(fixture.config.clone());
    bridge.await_ready();
    let webhooks = samples(&fixture.config, 5);
    for webhook in &webhooks {
        assert_eq!(told(&bridge.post("sg-main", webhook)), (status.0, status.1.to_owned()));
    }
    eventually(LIMIT, || match fixture.kafka.read_all(&fixture.topic(topic)).len() {
        5 => Ok(()),
        kept => Err(format!("{kept} are kept")),
    });
    let arguments = ["release", "--from", topic, "--yes", "--format", "json", "--reason", "new key"];
    let before = fixture.run(&arguments);
    assert_eq!((before.code, verdicts(&before.output)), (1, counts(&[("not_authentic", 5)])), "{before:?}");
    fs::copy(key_file("smart-glocal-public.pem"), folder.path().join("sg.pem")).unwrap();
    // What is wrong with another source stops nobody.
    fs::remove_file(folder.path().join(OTHER_KEY)).unwrap();
    let after = fixture.run(&arguments);
    assert_eq!((after.code, verdicts(&after.output)), (0, counts(&[("released", 5)])), "{after:?}");
    assert!(after.errors.contains("records of a source stay") && after.errors.contains(OTHER_KEY), "{after:?}");
    let events = fixture.kafka.read_all(&fixture.topic("smart-glocal.ready-to-confirm"));
    assert_eq!(events.len(), 5);
    for event in &events {
        let id = decoded(event)["metadata"]["event_id"].as_str().unwrap().to_owned();
        assert_eq!(event.header("ce_id"), Some(id.as_str()));
    }
    let ids = count_by_id(&events);
    check_markers(&fixture, topic, &ids.keys().cloned().collect::<Vec<_>>());
    // A redelivery is the same event.
    let again = eventually(LIMIT, || match bridge.post("sg-main", &webhooks[0]) {
        answered if answered.status == 200 && !answered.json("event_id").is_empty() => Ok(answered.json("event_id")),
        answered => Err(format!("the key is not in use: {answered:?}")),
    });
    assert!(ids.contains_key(&again), "{again} is none of {ids:?}");
}

/// Each event is marked once, and another release does nothing, unless it is asked to.
fn check_markers(fixture: &HeldFixture, topic: &str, ids: &[String]) {
    let mut marked: Vec<String> = fixture.markers().into_iter().map(|marker| marker.event_id).collect();
    marked.sort_unstable();
    assert_eq!(marked, ids);
    for marker in fixture.markers() {
        let place = marker.held_at.unwrap();
        assert_eq!((place.topic, marker.reason.as_str()), (fixture.topic(topic), "new key"));
        assert_eq!((marker.released_by.as_str(), marker.source.as_str()), ("paybridge quarantine", "sg-main"));
    }
    let list = fixture.run(&["list", "--from", topic, "--format", "json"]);
    assert_eq!(list.output.matches("\"released\": true").count(), ids.len(), "{list:?}");
    let arguments = ["release", "--from", topic, "--yes", "--format", "json"];
    let again = fixture.run(&arguments);
    let before = u64::try_from(ids.len()).unwrap();
    assert_eq!((again.code, verdicts(&again.output)), (0, counts(&[("released_before", before)])), "{again:?}");
    let anew = fixture.run(&[&arguments[..], &["--again", "--released-by", "me"]].concat());
    assert_eq!((anew.code, verdicts(&anew.output)), (0, counts(&[("released", before)])), "{anew:?}");
    assert_eq!(fixture.markers().iter().filter(|marker| marker.released_by == "me").count(), ids.len());
}

#[test]
fn a_wrong_key_is_mended_and_samples_are_released() {
    check_mended("", "rejected", (401, "unauthentic"));
}

#[test]
fn a_wrong_key_is_mended_and_what_was_kept_is_released() {
    check_mended("on_unverified = \"keep\"\npath = \"/webhooks/s3cret/sg-main\"", "quarantine", (200, "quarantined"));
}

/// As after an upgrade: an older version did not know the type, or could not read the body.
#[test]
fn what_an_older_version_did_not_understand_is_released_once_for_each_event() {
    let fixture = HeldFixture::new();
    let webhooks: Vec<SignedWebhook> = (0..4).map(|number| fixture.ready(number)).collect();
    // One is held twice, as a redelivery is; another is also held elsewhere.
    fixture.hold(
        "sg-main",
        [
            (&webhooks[0], Held::Unrecognized, NO_ID),
            (&webhooks[0], Held::Unrecognized, NO_ID),
            (&webhooks[1], Held::Unrecognized, NO_ID),
            (&webhooks[1], Held::Quarantined(QuarantineReason::WrongShape), NO_ID),
            (&webhooks[2], Held::Quarantined(QuarantineReason::NotJson), NO_ID),
            (&webhooks[3], Held::Quarantined(QuarantineReason::RecordRefused), NO_ID),
        ],
    );
    let ran = fixture.run(&["release", "--from", "unrecognized", "--from", "quarantine", "--yes", "--format", "json"]);
    let expected = [("released", 3), ("released_before", 2), ("no_webhook", 1)];
    assert_eq!((ran.code, verdicts(&ran.output)), (0, counts(&expected)), "{ran:?}");
    let events = fixture.kafka.read_all(&fixture.topic("smart-glocal.ready-to-confirm"));
    assert_eq!((events.len(), count_by_id(&events).len(), fixture.markers().len()), (3, 3, 3));
    let slow = fixture.run(&["release", "--from", "unrecognized", "--yes", "--again", "--rate", "10"]);
    assert!(slow.code == 0 && slow.output.contains("2 released, 0 webhooks stay"), "{slow:?}");
}
