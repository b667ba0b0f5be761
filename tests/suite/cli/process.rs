//! The program itself: it runs, stops in order, is killed, and says what is wrong with how it is called.

mod misuse;
mod secrets;
mod signals;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::bridge::{Answered, ready_to_confirm};
use crate::support::daemon::{Daemon, Exchange, Settings, configuration};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;
use crate::support::stream::{self, Event, Events, Random, Stream, check_answer};
use crate::support::tally::check_nothing_is_lost;

/// Connections that are made just while the listener is closed, of all that are made then.
const RESETS_MAX: usize = 1;
/// Webhooks at once.
const AT_ONCE: usize = 8;

/// Posts every event so often: most of the stream are redeliveries.
const PASSES: usize = 10;

/// The topics of events whose bodies have no time.
const STATES: [&str; 4] = ["authorization-update", "onboarding-update", "ewallet-create", "mandate-update"];

fn stream_of(daemon: &Daemon, random: &mut Random) -> Vec<Event> {
    let some = Events::new(&daemon.config).some(300, random);
    some.iter().cycle().take(PASSES * some.len()).cloned().collect()
}

fn answered(account: &[(Event, Option<Answered>)]) -> impl Iterator<Item = (&Event, &Answered)> {
    account.iter().filter_map(|(event, answered)| Some((event, answered.as_ref()?)))
}

/// A log that nobody takes, on a full disk say, must not cost the thread that tells what became of records.
#[test]
fn goes_on_when_its_log_cannot_be_written() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let settings = Settings { ack_timeout: Duration::from_secs(2), ..Settings::default() };
    let mut daemon = Daemon::launch_unheard(&nobody, settings);
    let client = daemon.client();
    for number in 0..3 {
        let webhook = ready_to_confirm(&daemon.config, number);
        eventually(LIMIT, || match client.post("sg-main", &webhook) {
            Exchange::Answered(answered) if answered.status == 503 => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    // Each record's fate was told: nothing is held any more.
    eventually(LIMIT, || match client.admin("/metrics") {
        Exchange::Answered(answered) if answered.text.contains("\npaybridge_ingress_in_flight_bytes 0\n") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0));
}

#[test]
fn sigterm_during_a_stream_ends_the_daemon_in_order_and_in_time() {
    let kafka = Kafka::shared();
    let mut random = Random::printed();
    let settings =
        Settings { drain_delay: Duration::from_millis(1500), grace: Duration::from_secs(10), ..Settings::default() };
    let mut daemon = Daemon::start(kafka, settings);
    let stream = stream_of(&daemon, &mut random);
    let client = daemon.client();
    let resets = AtomicUsize::new(0);
    let post = |event: &Event| match client.post(&event.source, &event.webhook) {
        Exchange::Answered(answered) => Some(answered),
        Exchange::Refused => None,
        // The kernel connects on its own; what it connects in the microseconds in which the listener is closed, it
        // resets. Only then: whoever comes next is refused.
        Exchange::Broken(error) => {
            let next = client.post(&event.source, &event.webhook);
            let at_the_close = matches!(next, Exchange::Refused) && error.contains("ConnectionReset");
            let count = resets.fetch_add(1, Ordering::Relaxed) + 1;
            assert!(at_the_close && count <= RESETS_MAX, "neither answered nor refused: {error}; then {next:?}");
            None
        }
    };
    let strike_at = 50 + random.below(100);
    let disturb = |stream: &Stream| {
        stream.await_answers(strike_at);
        let begun = Instant::now();
        daemon.signal("TERM");
        eventually(LIMIT, || match client.admin("/readyz") {
            Exchange::Answered(answered) if answered.status == 503 && answered.text.contains("draining") => Ok(()),
            other => Err(format!("{other:?}")),
        });
        assert!(begun.elapsed() < settings.drain_delay, "not ready only after the drain delay");
        stream.await_more_taken(AT_ONCE);
        assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
        assert!(begun.elapsed() <= settings.drain_delay + settings.grace, "{:?}", begun.elapsed());
    };
    let account = stream::run(stream, AT_ONCE, post, disturb);
    for (_, answered) in answered(&account) {
        check_answer(answered, daemon.config.ingress.ack_timeout());
    }
    assert!(account.iter().any(|(_, answered)| answered.is_none()), "the stream ended before the daemon");
    check_nothing_is_lost(kafka, answered(&account));
}

#[test]
fn a_killed_daemon_has_lost_nothing_and_its_successor_knows_the_same_ids() {
    let kafka = Kafka::shared();
    let mut random = Random::printed();
    let mut daemon = Daemon::start(kafka, Settings::default());
    let stream = stream_of(&daemon, &mut random);
    let first_pass: Vec<Event> = stream[..stream.len() / PASSES].to_vec();
    let client = daemon.client();
    let post = |event: &Event| match client.post(&event.source, &event.webhook) {
        Exchange::Answered(answered) => Some(answered),
        Exchange::Refused | Exchange::Broken(_) => None,
    };
    let strike_at = 50 + random.below(200);
    let account = stream::run(stream, AT_ONCE, post, |stream| {
        stream.await_answers(strike_at);
        daemon.signal("KILL");
        assert_eq!(daemon.await_end(), None);
    });
    for (_, answered) in answered(&account) {
        check_answer(answered, daemon.config.ingress.ack_timeout());
    }
    check_nothing_is_lost(kafka, answered(&account));

    daemon.start_again();
    let again: Vec<(Event, Answered)> = first_pass
        .into_iter()
        .map(|event| match client.post(&event.source, &event.webhook) {
            Exchange::Answered(answered) => (event, answered),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(again.iter().all(|(_, answered)| answered.status == 200));
    for (event, before) in answered(&account).filter(|(_, before)| before.status == 200) {
        let (_, after) = again.iter().find(|(other, _)| other.webhook.body == event.webhook.body).unwrap();
        // Of a body without a time nobody knows whether it is the same event, if what was told of it was lost with the process.
        if !STATES.iter().any(|part| event.topic.contains(part)) {
            assert_eq!(before.json("event_id"), after.json("event_id"));
        }
    }
    check_nothing_is_lost(kafka, again.iter().map(|(event, answered)| (event, answered)));
}

#[test]
fn stops_in_time_while_webhooks_wait_for_a_kafka_that_is_away() {
    let settings = Settings {
        drain_delay: Duration::from_millis(100),
        grace: Duration::from_secs(4),
        ack_timeout: Duration::from_mins(1),
        ..Settings::default()
    };
    // With the shared one the webhook would wait for other replicas' events first, and not be with the producer yet.
    let alone = configuration("127.0.0.1:1", settings) + "[dedup]\nmode = \"local\"\n";
    let mut daemon = Daemon::run(&alone);
    let client = daemon.client();
    eventually(LIMIT, || match client.admin("/livez") {
        Exchange::Answered(answered) if answered.status == 200 => Ok(()),
        other => Err(format!("not alive: {other:?}")),
    });
    let webhook = ready_to_confirm(&daemon.config, 1);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.post("sg-main", &webhook));
        let in_flight = || match client.admin("/metrics") {
            Exchange::Answered(metrics) if metrics.text.contains("\npaybridge_ingress_in_flight_bytes 0\n") => {
                Err("nothing is in flight".to_owned())
            }
            Exchange::Answered(_) => Ok(()),
            other => Err(format!("{other:?}")),
        };
        eventually(LIMIT, in_flight);
        let begun = Instant::now();
        daemon.signal("TERM");
        // Between the answer and the end the producer has its time, and metrics are shown.
        let counted = "\npaybridge_ingress_requests_total{source=\"sg-main\",outcome=\"shutting_down\"} 1\n";
        eventually(LIMIT, || match client.admin("/metrics") {
            Exchange::Answered(metrics) if metrics.text.contains(counted) => Ok(()),
            other => Err(format!("not counted: {other:?}")),
        });
        assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
        assert!(begun.elapsed() <= settings.drain_delay + settings.grace, "{:?}", begun.elapsed());
        match waiting.join().unwrap() {
            Exchange::Answered(answered) => {
                assert_eq!(answered.status, 503);
                check_answer(&answered, daemon.config.ingress.ack_timeout());
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn names_the_topics_that_are_missing() {
    let kafka = Kafka::shared();
    let daemon = Daemon::launch(kafka.bootstrap(), Settings::default());
    let missing = format!("{}.smart-glocal.ready-to-confirm.v1", daemon.config.kafka.topic_prefix.as_ref());
    eventually(LIMIT, || match daemon.log() {
        log if log.contains(&missing) && log.contains("topics --create") => Ok(()),
        log => Err(format!("not told: {missing}\n{log}")),
    });
}

/// Nothing in them tells of the machine that built the program.
#[test]
fn the_kafka_clients_log_lines_have_level_facility_and_message_alone() {
    // Its lines about connections are debug lines.
    let text = configuration("127.0.0.1:1", Settings::default());
    let daemon = Daemon::run(&format!("{text}\n[log]\nlevel = \"debug\"\n"));
    let lines = eventually(LIMIT, || {
        let log = daemon.log();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let of_client: Vec<Value> = lines.into_iter().filter(|line| line["target"] == "librdkafka").collect();
        if of_client.is_empty() { Err(format!("no line of librdkafka: {log}")) } else { Ok(of_client) }
    });
    for line in lines {
        let names: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["facility", "level", "message", "target", "timestamp"]), "{line}");
    }
}
