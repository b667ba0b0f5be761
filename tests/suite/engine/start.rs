//! How the engine starts, and when it refuses to: every message says what to do.

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::kafka::topics;
use paybridge::simulator::SimulatorSettings;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::bridge::{Bridge, config, create_needed_topics, ready_to_confirm};
use crate::support::daemon::{Daemon, Exchange};
use crate::support::engine_setup::{DECISION, EngineSetup, FINISHED, LEDGER, PROJECT, READY, known_keys};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;
use crate::support::wire::SMART_GLOCAL;

pub fn for_process(confirmation: &str) -> (EngineSetup, String) {
    EngineSetup::for_process(Kafka::shared(), confirmation, SimulatorSettings::new(PROJECT, known_keys()))
}

/// The engine refuses to work, and the log says each of these. A daemon that does nothing else ends with an error; one that
/// takes webhooks goes on taking them, and ends in order when it is told to.
#[track_caller]
fn check_refuses(text: &str, told: &[&str]) {
    let mut alone = Daemon::run(&text.replace("[ingress]", "[ingress]\nenabled = false"));
    assert_eq!(alone.await_end(), Some(1), "{}", alone.log());
    check_told(&alone, told);

    let mut daemon = Daemon::run(text);
    await_refused(&daemon);
    check_told(&daemon, told);
    daemon.await_ready();
    check_takes_webhooks(&daemon);
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
}

#[track_caller]
fn check_told(daemon: &Daemon, told: &[&str]) {
    for words in told {
        assert!(daemon.log().contains(words), "no `{words}` in {}", daemon.log());
    }
}

/// Waits until the daemon shows that its engine refuses to work.
#[track_caller]
pub fn await_refused(daemon: &Daemon) {
    await_gauge(daemon, 1);
}

/// Waits until the daemon shows that its engine works.
#[track_caller]
pub fn await_accepted(daemon: &Daemon) {
    await_gauge(daemon, 0);
}

#[track_caller]
fn await_gauge(daemon: &Daemon, value: u8) {
    let (client, line) = (daemon.client(), format!("\npaybridge_confirmation_engine_refused {value}\n"));
    eventually(LIMIT, || match client.admin("/metrics") {
        Exchange::Answered(shown) if shown.text.contains(&line) => Ok(()),
        other => Err(format!("no {line} in {other:?}\n{}", daemon.log())),
    });
}

#[track_caller]
pub fn check_takes_webhooks(daemon: &Daemon) {
    match daemon.client().post("sg-main", &ready_to_confirm(&daemon.config, 7)) {
        Exchange::Answered(answered) => assert_eq!(answered.status, 200, "{answered:?}"),
        other => panic!("{other:?}\n{}", daemon.log()),
    }
}

#[test]
fn waits_for_a_transaction_that_is_open_in_the_ledger_and_somebody_is_paged() {
    let setup = EngineSetup::new("");
    let mut client = setup.kafka.client();
    client.set("transactional.id", setup.topic("stranger")).set("transaction.timeout.ms", "300000");
    let stranger: BaseProducer = client.create().unwrap();
    stranger.init_transactions(LIMIT).unwrap();
    stranger.begin_transaction().unwrap();
    let ledger = setup.topic(LEDGER);
    stranger.send(BaseRecord::to(&ledger).partition(0).key("sg-main/ps_open").payload("open")).unwrap();
    stranger.flush(LIMIT).unwrap();
    let engine = Bridge::launch(setup.config.clone());
    eventually(LIMIT, || match engine.metric("paybridge_confirmation_restoring_since_timestamp_seconds") {
        since if since > 0.0 => Ok(()),
        _ => Err("it does not restore".to_owned()),
    });
    engine.assert_fires("PaybridgeLedgerRestoring");
    stranger.abort_transaction(LIMIT).unwrap();
    engine.await_ready();
    engine.stop().unwrap();
}

#[test]
fn is_not_ready_before_it_can_write_and_says_so() {
    let text = format!("{SMART_GLOCAL}[confirmation]\nenabled = true\ndry_run = true\n");
    let away = Bridge::launch(config(&format!("127.0.0.1:{}", free_port()), &text, &[]));
    let answered = away.admin("/readyz");
    assert_eq!(answered.status, 503);
    assert!(answered.text.contains("transactions"), "{}", answered.text);
    away.stop().unwrap();
}

#[test]
fn waits_for_its_topics_says_which_are_missing_and_goes_on_when_they_are_made() {
    let (setup, text) = for_process("default = \"confirm\"");
    let daemon = Daemon::run(&text);
    let missing: Vec<String> = [DECISION, LEDGER, READY, FINISHED].map(|part| setup.topic(part)).to_vec();
    eventually(LIMIT, || {
        let log = daemon.log();
        let told = log.lines().filter(|line| line.contains("the confirmation engine cannot use Kafka"));
        let told: Vec<&str> = told.filter(|line| missing.iter().all(|topic| line.contains(topic))).collect();
        if told.len() == 1 { Ok(()) } else { Err(format!("told {} times: {log}", told.len())) }
    });
    // Not ready, it would get no webhook, and lose those whose topics are there.
    daemon.await_ready();
    create_needed_topics(setup.kafka, &setup.config);
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.await_outcome("ps_one");
}

#[test]
fn refuses_a_ledger_of_another_group_or_mode_or_partition_count() {
    let (setup, text) = for_process("default = \"confirm\"");
    create_needed_topics(setup.kafka, &setup.config);
    let engine = setup.engine();
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.await_outcome("ps_one");
    engine.stop().unwrap();
    let group = setup.group();
    let whose = format!("of the ledger belongs to group {group} with 3 partitions, and this engine is");
    let dry_run = format!("group {group} with 3 partitions, a dry run: go on with the same group");
    for (changed, told) in [
        ("group_id = \"another\"", "group another with 3 partitions: go on with the same group"),
        ("dry_run = true", &dry_run),
    ] {
        check_refuses(
            &text.replace("[confirmation]", &format!("[confirmation]\n{changed}")),
            &[&whose, told, "kafka.topic_prefix of its own"],
        );
    }
    grow(&setup, &[DECISION, LEDGER, READY, FINISHED]);
    check_refuses(&text, &[&whose, "with 4 partitions: go on with the same group"]);
    setup.await_outcomes(1);
}

#[test]
fn refuses_topics_of_unequal_partition_counts() {
    let (setup, text) = for_process("");
    create_needed_topics(setup.kafka, &setup.config);
    grow(&setup, &[DECISION]);
    let names = [(DECISION, 4), (LEDGER, 3), (READY, 3), (FINISHED, 3)];
    let told: Vec<String> = names.iter().map(|(part, count)| format!("{} has {count}", setup.topic(part))).collect();
    let told: Vec<&str> = told.iter().map(String::as_str).chain(["must have the same number of partitions"]).collect();
    check_refuses(&text, &told);
}

/// Gives topics of the setup 4 partitions instead of 3.
pub fn grow(setup: &EngineSetup, parts: &[&str]) {
    let names: Vec<String> = parts.iter().map(|part| setup.topic(part)).collect();
    setup.kafka.grow_topics(&names.iter().map(String::as_str).collect::<Vec<_>>(), 4);
}

#[test]
fn the_engine_alone_needs_no_topic_of_the_ingress() {
    let (setup, text) = for_process("");
    let text = text.replace("[ingress]", "[ingress]\nenabled = false");
    let config = Config::from_toml(&text, []).unwrap();
    let names: Vec<String> = topics::needed(&config).into_iter().map(|topic| topic.name).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    create_needed_topics(setup.kafka, &config);
    let mut daemon = Daemon::run(&text);
    daemon.await_ready();
    eventually(LIMIT, || match daemon.log() {
        log if log.contains("all topics exist") => Ok(()),
        log => Err(log),
    });
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0));
    assert!(!daemon.log().contains("\"level\":\"ERROR\""), "{}", daemon.log());
}
