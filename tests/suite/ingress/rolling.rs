//! A rolling restart under load: one process after the other gets SIGTERM and a successor on its address, behind a balancer
//! that hears late. No webhook is lost, and nobody is told anything but 200, or 503 with a time to come again. A webhook that
//! crosses the end of a connection which was idle for the whole drain is sent anew.

mod balancer;
mod load;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use paybridge::config::Config;

use crate::support::bridge::{Answered, create_needed_topics, decoded};
use crate::support::daemon::{Daemon, Exchange, Settings, configuration};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;
use crate::support::stream::{Event, check_answer, printed_seed};
use balancer::{Backend, Balancer};
use load::{Delivery, Habit, Load, SilentEnd};

/// Longer than the balancer needs to hear of it.
const DRAIN_DELAY: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(10);
/// Webhooks that are taken before a restart and after the last.
const BETWEEN: usize = 200;
/// What an answer may take from the daemon's mind to its client's.
const ANSWER_ON_ITS_WAY: Duration = Duration::from_millis(500);

#[test]
fn a_rolling_restart_under_load_loses_no_webhook_and_breaks_no_request() {
    let kafka = Kafka::shared();
    let seed = printed_seed();
    let mut daemons = two_daemons(kafka);
    let config = daemons[0].config.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let backends = daemons.iter().map(|daemon| Backend::new(daemon.config.ingress.listen, daemon.config.admin.listen));
    let balancer = Balancer::start(backends.collect(), runtime.handle());
    await_backends(&balancer);
    let load = Load::start(&config, balancer.address, seed, runtime.handle());
    for daemon in &mut daemons {
        await_more_taken(&load);
        restart(daemon);
        await_backends(&balancer);
    }
    await_more_taken(&load);
    let (deliveries, silent, connections) = load.stop();
    print(&deliveries, &silent, &connections);
    assert_eq!(balancer.unplaced(), 0, "connections that found no backend");
    check_connections(&silent);
    let taken = check_answers(deliveries, &config, &daemons[0]);
    check_topics(kafka, &taken);
}

/// Two ready processes of one installation.
fn two_daemons(kafka: &Kafka) -> [Daemon; 2] {
    let settings = Settings { drain_delay: DRAIN_DELAY, grace: GRACE, ..Settings::default() };
    let first = configuration(kafka.bootstrap(), settings);
    let second = configuration(kafka.bootstrap(), settings).replace("\"test\"", "\"test-2\"");
    let prefix = |text: &str| Config::from_toml(text, []).unwrap().kafka.topic_prefix.as_ref().to_owned();
    let second = second.replace(&prefix(&second), &prefix(&first));
    create_needed_topics(kafka, &Config::from_toml(&first, []).unwrap());
    let daemons = [first, second].map(|text| Daemon::run(&text));
    daemons.iter().for_each(Daemon::await_ready);
    daemons
}

#[track_caller]
fn await_backends(balancer: &Balancer) {
    eventually(LIMIT, || match balancer.ready() {
        ready if ready == [0, 1] => Ok(()),
        ready => Err(format!("connections go to {ready:?} alone")),
    });
}

#[track_caller]
fn await_more_taken(load: &Load) {
    let enough = load.taken() + BETWEEN;
    eventually(LIMIT, || match load.taken() {
        taken if taken >= enough => Ok(()),
        taken => Err(format!("{taken} of {enough} webhooks are taken")),
    });
}

/// Ends a process in order and in time, and starts its successor on the same address.
#[track_caller]
fn restart(daemon: &mut Daemon) {
    let begun = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    assert!(begun.elapsed() <= DRAIN_DELAY + GRACE, "{:?}", begun.elapsed());
    let log = daemon.log();
    assert!(log.contains("all connections finished") && !log.contains("are dropped"), "{log}");
    println!("ended after {} ms", begun.elapsed().as_millis());
    daemon.start_again();
}

fn print(deliveries: &[Delivery], silent: &[SilentEnd], connections: &BTreeMap<Habit, usize>) {
    let mut counts: BTreeMap<(Habit, String), usize> = BTreeMap::new();
    for Delivery { habit, end, .. } in deliveries {
        let end = end.as_ref().map_or("broken".to_owned(), |answered| answered.status.as_str().to_owned());
        *counts.entry((*habit, end)).or_default() += 1;
    }
    println!("{} webhooks: {counts:?}; connections: {connections:?}", deliveries.len());
    let idle: Vec<u128> = silent.iter().map(|end| end.idle.as_millis()).collect();
    println!("closed without a word after so many ms of idling: {idle:?}");
}

/// Only a connection on which nothing was asked during the whole drain may be closed without a word before: there was no
/// answer to tell it with.
#[track_caller]
fn check_connections(silent: &[SilentEnd]) {
    let least = DRAIN_DELAY.checked_sub(ANSWER_ON_ITS_WAY).unwrap();
    let early: Vec<&SilentEnd> = silent.iter().filter(|end| end.idle < least).collect();
    assert!(early.is_empty(), "closed without a word, though there were answers to tell it with: {early:?}");
}

/// Every webhook was answered, and rightly; what was answered 503 is taken when it comes again. Gives what was taken, by event
/// id.
#[track_caller]
fn check_answers(deliveries: Vec<Delivery>, config: &Config, daemon: &Daemon) -> BTreeMap<String, Event> {
    let broken: Vec<String> = deliveries
        .iter()
        .filter_map(|delivery| Some(format!("{:?}: {}", delivery.habit, delivery.end.as_ref().err()?)))
        .collect();
    assert!(broken.is_empty(), "{} of {} webhooks were not answered: {broken:#?}", broken.len(), deliveries.len());
    let client = daemon.client();
    let count = deliveries.len();
    let mut taken = BTreeMap::new();
    for Delivery { event, end, .. } in deliveries {
        let mut answered: Answered = end.unwrap();
        check_answer(&answered, config.ingress.ack_timeout());
        if answered.status == 503 {
            answered = match client.post(&event.source, &event.webhook) {
                Exchange::Answered(answered) => answered,
                other => panic!("{other:?}"),
            };
        }
        assert_eq!(answered.status, 200, "{answered:?}");
        taken.insert(answered.json("event_id"), event);
    }
    assert_eq!(taken.len(), count, "two webhooks of one event id");
    taken
}

/// Every event that was taken is on its topic, with the bytes that its client sent.
#[track_caller]
fn check_topics(kafka: &Kafka, taken: &BTreeMap<String, Event>) {
    let topics: Vec<&str> = taken.values().map(|event| event.topic.as_str()).collect();
    let mut bodies = BTreeMap::new();
    for topic in std::collections::BTreeSet::from_iter(topics) {
        for record in kafka.read_all(topic) {
            let metadata = &decoded(&record)["metadata"];
            let body = metadata["evidence"]["raw_body"].as_str().map(|body| STANDARD.decode(body).unwrap());
            bodies.insert((topic.to_owned(), metadata["event_id"].as_str().unwrap().to_owned()), body.unwrap());
        }
    }
    for (id, event) in taken {
        let body = bodies.get(&(event.topic.clone(), id.clone()));
        assert!(body.is_some(), "{id} was answered 200 and is not on {}", event.topic);
        assert_eq!(body.unwrap().as_slice(), &event.webhook.body[..], "{id} on {}", event.topic);
    }
}
