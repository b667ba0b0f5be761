//! What the log and the alerts tell of sessions that wait: a rule that fails, a deadline that comes near, and one that decided.

use std::time::Duration;

use jiff::Timestamp;
use paybridge::message::confirmation::v1::DeciderKind;
use paybridge::simulator::Fault;
use serde_json::Value;

use crate::support::alerts;
use crate::support::daemon::Daemon;
use crate::support::engine_setup::{EngineSetup, ago};
use crate::support::eventually::{LIMIT, eventually};

/// How long the provider waits for a confirmation.
const WINDOW: i64 = 14_400;
/// It asks for a second operation, and sessions have one.
const FAILING: &str =
    "[[confirmation.rules]]\nname = \"second\"\nwhen = \"session.operations[1].id == 'x'\"\nthen = \"confirm\"";

#[track_caller]
fn line(daemon: &Daemon, message: &str) -> Value {
    eventually(LIMIT, || {
        let log = daemon.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut found = lines.filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with(message)));
        found.next().ok_or_else(|| format!("no line says {message}:\n{log}"))
    })
}

#[test]
fn a_rule_that_fails_is_told_with_its_session_its_error_and_what_the_deadline_will_do() {
    let (setup, text) = EngineSetup::for_process_with_topics(FAILING);
    let daemon = Daemon::run(&text);
    daemon.await_ready();
    let opened = Timestamp::now();
    setup.ready("ps_held", opened, 100);
    let failed = line(&daemon, "rule failed");
    assert_eq!((&failed["level"], &failed["rule"]), (&"WARN".into(), &"second".into()));
    assert_eq!(failed["session"], "sg-main/ps_held");
    assert_eq!(failed["error"], "asks for an element behind the end of a list");
    let deadline = failed["deadline"].as_str().unwrap().strip_prefix("cancel at ").unwrap();
    let deadline: Timestamp = deadline.parse().unwrap();
    let margin = Duration::from_secs(daemon.config.confirmation.deadline_margin_s);
    let expected = opened + jiff::SignedDuration::from_secs(WINDOW) - margin;
    assert!(deadline.duration_since(expected).abs() < jiff::SignedDuration::from_secs(2), "{failed}");
    alerts::assert_fires("PaybridgeRuleFailures", &daemon.exposition());
}

#[test]
fn a_deadline_that_comes_near_has_an_alert_before_and_a_line_after_it() {
    let (setup, text) = EngineSetup::for_process_with_topics(FAILING);
    let daemon = Daemon::run(&text);
    daemon.await_ready();
    let until_deadline = |least: f64| {
        eventually(LIMIT, || {
            let shown = daemon.exposition();
            let of_first =
                shown.lines().find_map(|line| line.strip_prefix("paybridge_confirmation_next_deadline_seconds "));
            let first: f64 = of_first.unwrap().parse().unwrap();
            if first < least { Ok(shown) } else { Err(format!("{first} s")) }
        })
    };
    setup.ready("ps_near", ago(WINDOW - 2700), 100);
    alerts::assert_fires("PaybridgeDeadlineNear", &until_deadline(1801.0));
    setup.ready("ps_late", ago(WINDOW - 600), 100);
    assert_eq!(setup.await_outcome("ps_late").decided_by_kind(), DeciderKind::Deadline);
    let decided = line(&daemon, "the deadline decided on sessions");
    assert_eq!((&decided["session"], &decided["count"]), (&"sg-main/ps_late".into(), &1.into()));
    assert_eq!(decided["rule_failed"], 1);
}

#[test]
fn calls_that_fail_are_told_with_their_session_before_the_breaker_opens() {
    let (setup, text) = EngineSetup::for_process_with_topics("default = \"confirm\"");
    let daemon = Daemon::run(&text);
    daemon.await_ready();
    setup.provider.misbehave(Fault::Unauthorized, 2);
    setup.ready("ps_refused", Timestamp::now(), 100);
    let failed = line(&daemon, "calls to the provider failed");
    assert_eq!((&failed["level"], &failed["source"]), (&"WARN".into(), &"sg-main".into()));
    assert_eq!((&failed["session"], &failed["seen"]), (&"sg-main/ps_refused".into(), &"HTTP status 401".into()));
    setup.await_outcome("ps_refused");
    assert!(!daemon.log().contains("calls are held back"), "one session opens no breaker");
}

#[test]
fn a_session_whose_window_closes_without_a_decision_has_an_alert() {
    let (setup, text) = EngineSetup::for_process_with_topics("at_deadline = \"nothing\"");
    let daemon = Daemon::run(&text);
    daemon.await_ready();
    setup.ready("ps_left", ago(WINDOW - 600), 100);
    let shown = eventually(LIMIT, || {
        let shown = daemon.exposition();
        if shown.contains("\npaybridge_confirmation_open_sessions 1\n") {
            Ok(shown)
        } else {
            Err("not open".to_owned())
        }
    });
    alerts::assert_fires("PaybridgeSessionsNearDeadline", &shown);
}
