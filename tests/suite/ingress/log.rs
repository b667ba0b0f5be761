//! What the log tells whoever is on call: what was started, webhooks that fail authentication, an outage of Kafka, a topic that
//! is gone, and the end. One line when something begins, one a minute, one at its end.

use std::time::Duration;

use paybridge::provider::SignedWebhook;
use serde_json::Value;

use crate::support::bridge::{event_type, sender};
use crate::support::daemon::{Daemon, Exchange, Settings};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;

/// The lines of a daemon's log that have this message, with their fields.
fn lines(daemon: &Daemon, message: &str) -> Vec<Value> {
    let log = daemon.log();
    let parsed =
        log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
    parsed.filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with(message))).collect()
}

/// Waits for the only line that has this message.
#[track_caller]
fn line(daemon: &Daemon, message: &str) -> Value {
    eventually(LIMIT, || match lines(daemon, message).as_slice() {
        [line] => Ok(line.clone()),
        lines => Err(format!("{} lines say {message}:\n{}", lines.len(), daemon.log())),
    })
}

fn webhook(daemon: &Daemon, number: u64) -> SignedWebhook {
    let sender = sender(&daemon.config, "sg-main");
    sender.sample(event_type("smart-glocal", "ready-to-confirm"), jiff::Timestamp::now(), number)
}

fn status(daemon: &Daemon, webhook: &SignedWebhook) -> u16 {
    match daemon.client().post("sg-main", webhook) {
        Exchange::Answered(answered) => answered.status.as_u16(),
        other => panic!("{other:?}"),
    }
}

/// Waits until a webhook is taken: the first may be late where Kafka has just begun.
#[track_caller]
fn await_taken(daemon: &Daemon, webhook: &SignedWebhook) {
    eventually(LIMIT, || match status(daemon, webhook) {
        200 => Ok(()),
        other => Err(format!("{other}")),
    });
}

#[test]
fn the_log_tells_what_runs_and_that_webhooks_fail_authentication_and_when_it_has_ended() {
    let mut daemon = Daemon::start(Kafka::shared(), Settings::default());
    let started = line(&daemon, "paybridge started");
    assert_eq!(started["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(started["ingress"], daemon.config.ingress.listen.to_string());
    assert_eq!(started["brokers"].as_str(), Some(daemon.config.kafka.bootstrap_servers.as_str()));
    assert_eq!(started["confirmation"], "off");
    assert!(line(&daemon, "configuration read")["file"].as_str().unwrap().ends_with("/paybridge.toml"));
    let sources = lines(&daemon, "source configured");
    assert_eq!(sources.len(), daemon.config.sources.len());
    let smart_glocal = sources.iter().find(|line| line["source"] == "sg-main").unwrap();
    assert_eq!(smart_glocal["provider"], "smart-glocal");
    let (file, key_id) = smart_glocal["keys"].as_str().unwrap().split_once(" = ").unwrap();
    assert!(file.starts_with('/') && file.ends_with("/smart-glocal-public.pem"), "{smart_glocal}");
    assert_eq!(key_id.len(), 16, "{smart_glocal}");
    let key_id = key_id.to_owned();

    let good = webhook(&daemon, 1);
    let wrong = SignedWebhook { body: "{}".into(), ..good.clone() };
    assert_eq!([status(&daemon, &wrong), status(&daemon, &wrong), status(&daemon, &wrong)], [401; 3]);
    let failing = line(&daemon, "webhooks fail authentication and are answered 401");
    assert_eq!((&failing["level"], &failing["source"]), (&"WARN".into(), &"sg-main".into()));
    assert_eq!((&failing["reason"], &failing["tried_keys"]), (&"signature_mismatch".into(), &key_id.into()));
    assert_eq!((&failing["last_verified"], &failing["remote_address"]), (&"never".into(), &"127.0.0.1".into()));
    let cause = failing["likely_cause"].as_str().unwrap();
    assert_eq!(cause, "the key is right, but the body is not what was signed: something on the way changes it");
    assert_eq!(failing["see"], "paybridge quarantine list --from rejected --source sg-main");
    assert_eq!(status(&daemon, &good), 200);

    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0));
    assert_eq!(lines(&daemon, "").last().unwrap()["message"], "paybridge stopped", "{}", daemon.log());
}

#[test]
fn an_outage_of_kafka_is_told_by_one_line_at_its_begin_and_one_at_its_end() {
    let kafka = Kafka::start(&[]);
    let daemon = Daemon::start(&kafka, Settings { ack_timeout: Duration::from_secs(2), ..Settings::default() });
    await_taken(&daemon, &webhook(&daemon, 1));
    kafka.kill_9();
    assert_eq!(status(&daemon, &webhook(&daemon, 2)), 503);
    let outage = line(&daemon, "no Kafka broker can be reached");
    assert_eq!(outage["level"], "ERROR");
    assert!(outage["error"].as_str().unwrap().contains("Connection refused"), "{outage}");
    assert!(outage["since"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{outage}");
    kafka.restart();
    let over = line(&daemon, "a Kafka broker can be reached again");
    assert!(over["failed"].as_u64().unwrap() >= 1, "{over}");
    assert!(over["after"].as_str().unwrap().ends_with('s'), "{over}");
    let of_librdkafka = lines(&daemon, "").into_iter().find(|line| line["target"] == "librdkafka");
    assert_eq!(of_librdkafka, None, "ours say it all");
}

#[test]
fn a_topic_that_is_deleted_under_way_is_named_with_the_command_that_makes_it() {
    let kafka = Kafka::shared();
    let daemon = Daemon::start(kafka, Settings { ack_timeout: Duration::from_secs(3), ..Settings::default() });
    await_taken(&daemon, &webhook(&daemon, 1));
    let topic = format!("{}.smart-glocal.ready-to-confirm.v1", daemon.config.kafka.topic_prefix.as_ref());
    kafka.delete_topic(&topic);
    let mut number = 1;
    eventually(LIMIT, || {
        number += 1;
        match status(&daemon, &webhook(&daemon, number)) {
            503 => Ok(()),
            other => Err(format!("{other} while the topic is being deleted")),
        }
    });
    let gone = eventually(LIMIT, || {
        number += 1;
        assert_eq!(status(&daemon, &webhook(&daemon, number)), 503);
        let of_topic = lines(&daemon, "topic does not exist");
        of_topic.into_iter().find(|line| line["topic"] == topic).ok_or_else(|| daemon.log())
    });
    assert!(gone["message"].as_str().unwrap().ends_with("create it with `paybridge topics --create`"), "{gone}");
    eventually(LIMIT, || match daemon.client().admin("/metrics") {
        Exchange::Answered(shown) if shown.text.contains("\npaybridge_kafka_topics_missing 1\n") => Ok(()),
        _ => Err("the topic is not counted as missing".to_owned()),
    });
}
