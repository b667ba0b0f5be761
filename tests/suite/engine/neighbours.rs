//! Engines that share a Kafka: those of other installations never meet, and two of one name are told of.

use jiff::Timestamp;
use paybridge::config::FORMER_GROUP_ID;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::groups::GroupInfo;

use super::start::for_process;
use crate::kafka::credentials::{command, succeeds};
use crate::support::bridge::create_needed_topics;
use crate::support::daemon::Daemon;
use crate::support::engine_setup::{EngineSetup, LEDGER};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;

/// The client ids of a group's members.
fn members(group: &str) -> Vec<String> {
    let consumer: BaseConsumer = Kafka::shared().client().create().unwrap();
    let groups = consumer.fetch_group_list(Some(group), LIMIT).unwrap();
    let members = groups.groups().iter().flat_map(GroupInfo::members);
    members.map(|member| member.client_id().to_owned()).collect()
}

/// A setup with topics.
fn with_topics() -> (EngineSetup, String) {
    let (setup, text) = for_process("default = \"confirm\"");
    create_needed_topics(setup.kafka, &setup.config);
    (setup, text)
}

/// A daemon that has decided a session.
fn deciding(setup: &EngineSetup, text: &str) -> Daemon {
    let daemon = Daemon::run(text);
    daemon.await_ready();
    setup.ready("ps_one", Timestamp::now(), 100);
    setup.await_outcome("ps_one");
    daemon
}

/// With the default configuration, but for the topics' prefix: the same `bridge_instance` too.
#[test]
fn installations_with_other_prefixes_on_one_kafka_do_not_meet() {
    let setups = [with_topics(), with_topics()];
    let daemons = setups.each_ref().map(|(setup, text)| deciding(setup, text));
    for (setup, _) in &setups {
        assert_eq!(members(&setup.group()), ["test"], "each group has its own member alone");
        setup.ready("ps_two", Timestamp::now(), 100);
        setup.await_outcome("ps_two");
    }
    for mut daemon in daemons {
        assert!(!daemon.log().contains("\"level\":\"ERROR\""), "{}", daemon.log());
        daemon.signal("TERM");
        assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    }
}

/// The group goes on under that name while Kafka has its offsets, so that no member of it that still runs decides beside the new
/// one; and when Kafka has forgotten them, its ledger is still ours.
#[test]
fn a_ledger_of_the_former_default_group_is_taken() {
    let (setup, text) = with_topics();
    let former = text.replace("[confirmation]", &format!("[confirmation]\ngroup_id = \"{FORMER_GROUP_ID}\""));
    let mut daemon = deciding(&setup, &former);
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());

    let mut daemon = Daemon::run(&text);
    setup.ready("ps_two", Timestamp::now(), 100);
    setup.await_outcome("ps_two");
    assert_eq!(members(FORMER_GROUP_ID), ["test"]);
    assert_eq!(members(&setup.group()), [""; 0]);
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());

    let admin: AdminClient<DefaultClientContext> = setup.kafka.client().create().unwrap();
    for deleted in setup.wait(admin.delete_groups(&[FORMER_GROUP_ID], &AdminOptions::new())).unwrap() {
        deleted.unwrap();
    }
    let mut daemon = Daemon::run(&text);
    setup.ready("ps_three", Timestamp::now(), 100);
    setup.await_outcomes(3);
    assert_eq!(members(&setup.group()), ["test"]);
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
}

#[test]
fn two_processes_of_one_bridge_instance_are_told_of() {
    let (setup, text) = with_topics();
    let first = deciding(&setup, &text);
    let found = succeeds(&text, &["check"]);
    let told = format!("instance-in-use  group {}", setup.group());
    let known = "has a member with the bridge_instance of this configuration, test: on 127.0.0.1";
    assert!(found.contains(&told) && found.contains(known), "{found}");

    let admin = setup.config.admin.listen.to_string();
    let other = text.replace("[ingress]", "[ingress]\nenabled = false").replace(&admin, "127.0.0.1:0");
    let second = Daemon::run(&other);
    let words = "another member of the consumer group has the bridge_instance of this process";
    eventually(LIMIT, || match second.log() {
        log if log.contains(words) => Ok(()),
        log => Err(format!("no `{words}` in {log}")),
    });
    let told = format!("\"group\":\"{}\",\"instance\":\"test\",\"hosts\":\"127.0.0.1\"", setup.group());
    assert!(second.log().contains(&told), "no {told} in {}", second.log());
    let found = succeeds(&text, &["check"]);
    assert!(found.contains("has 2 members with the bridge_instance test: on 127.0.0.1"), "{found}");
    // Each session is decided once all the same, and whose transaction the other one ended says why.
    for partition in 0..3 {
        for id in setup.sessions_of(partition).take(4) {
            setup.ready(&id, Timestamp::now(), 100);
        }
    }
    setup.await_outcomes(1 + 12);
    let words = "another process uses the same bridge_instance";
    let logs = first.log() + &second.log();
    assert!(logs.contains(words), "no `{words}` in {logs}");
}

#[test]
fn check_finds_a_ledger_that_the_engine_would_refuse() {
    let (setup, text) = with_topics();
    let empty = succeeds(&text, &["check"]);
    assert!(!empty.contains("ledger-of-another"), "{empty}");
    let mut daemon = deciding(&setup, &text);
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    let ours = succeeds(&text, &["check"]);
    assert!(!ours.contains("ledger"), "{ours}");
    for (changed, told) in [
        ("group_id = \"another\"", "this engine is group another with 3 partitions\n"),
        ("dry_run = true", "with 3 partitions, a dry run\n"),
    ] {
        let other = text.replace("[confirmation]", &format!("[confirmation]\n{changed}"));
        let checked = command(&other, &["check"]);
        let output = String::from_utf8(checked.stdout).unwrap();
        assert_eq!(checked.status.code(), Some(1), "{output}");
        let found = format!("error    ledger-of-another  {}", setup.topic(LEDGER));
        assert!(output.contains(&found) && output.contains(told), "{output}");
        // All partitions have one owner, who is told once.
        assert_eq!(output.matches("ledger-of-another").count(), 1, "{output}");
        let action = "set confirmation.group_id and confirmation.dry_run as the ledger has them";
        assert!(output.contains(action), "{output}");
    }
}
