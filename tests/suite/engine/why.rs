//! `paybridge why`: the story of sessions that a real engine decided, holds, or never saw, as the command tells it.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use paybridge::message::confirmation::v1::{Action, Result};
use paybridge::message::smart_glocal::v1::SessionStatus;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::Fault;
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::bridge::Bridge;
use crate::support::daemon::program;
use crate::support::engine_setup::{
    DECISION, EngineSetup, FINISHED, OUTCOME, READY, REJECTED, ago, decision, waiting_event,
};

/// Small payouts are confirmed; a rule before that one is never true.
const RULES: &str = r#"
[[confirmation.rules]]
name = "blocked"
when = 'session.operations.exists(o, o.amount.minor_units > 1000000)'
then = "cancel"
[[confirmation.rules]]
name = "small"
when = 'session.operations.all(o, o.amount.minor_units <= 500)'
then = "confirm"
"#;

/// What the command printed, and its exit code.
#[derive(Debug)]
struct Told {
    code: i32,
    output: String,
    errors: String,
}

/// A real engine, and the configuration file that it runs by.
struct Setup {
    inner: EngineSetup,
    folder: TempDir,
}

impl Setup {
    fn new(confirmation: &str) -> Self {
        let (inner, text) = EngineSetup::for_process_with_topics(confirmation);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("paybridge.toml"), text).unwrap();
        Self { inner, folder }
    }

    fn engine(&self) -> Bridge {
        self.inner.engine()
    }

    fn why(&self, session: &str, more: &[&str]) -> Told {
        let mut command = program();
        command.args(["why", session]).args(more).arg("--config").arg(self.folder.path().join("paybridge.toml"));
        let output = command.output().unwrap();
        Told {
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The story as text, with everything that it must say, in this order; and as JSON.
    #[track_caller]
    fn check(&self, session: &str, parts: &[&str]) -> Value {
        let told = self.why(session, &[]);
        assert_eq!((told.code, told.errors.as_str()), (0, ""), "{told:?}");
        let mut rest = told.output.as_str();
        for part in parts {
            let place = rest.find(part).unwrap_or_else(|| panic!("no `{part}` in {rest}\nof\n{}", told.output));
            rest = &rest[place + part.len()..];
        }
        let story: Value = serde_json::from_str(&self.why(session, &["--json"]).output).unwrap();
        assert_eq!((&story["session_id"], &story["source"]), (&session.into(), &"sg-main".into()));
        let times: Vec<&str> =
            story["steps"].as_array().unwrap().iter().map(|step| step["time"].as_str().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
        story
    }
}

/// The kinds of a story's steps, without the ledger's, of which compaction may take some.
fn kinds(story: &Value) -> Vec<&str> {
    let kinds = story["steps"].as_array().unwrap().iter().map(|step| step["kind"].as_str().unwrap());
    kinds.filter(|kind| *kind != "ledger").collect()
}

#[test]
fn a_session_that_a_rule_decided_names_the_rule_and_each_record() {
    let setup = Setup::new(RULES);
    let engine = setup.engine();
    setup.inner.ready("ps_rule", Timestamp::now(), 100);
    setup.inner.await_outcome("ps_rule");
    setup.inner.finished("ps_rule", SessionStatus::Accepted);
    let story = setup.check(
        "ps_rule",
        &[
            "session ps_rule of source sg-main",
            "Confirmed by the rule \"small\"; the provider accepted it.",
            "The provider asks for a confirmation: payout of 1.00 USD.",
            "with today's rules of this configuration: confirm, because the rule \"small\" is true",
            "\"blocked\" (then cancel): false",
            "\"small\" (then confirm): true",
            &setup.inner.topic(READY),
            "Decided: confirm, by the rule \"small\".",
            "session/confirm, call 1, idempotency key confirm:ps_rule:1",
            "Outcome: confirmed by the rule \"small\"; the provider accepted it.",
            "RESULT_ACCEPTED",
            &setup.inner.topic(OUTCOME),
            "The provider says that the session has finished: accepted.",
            &setup.inner.topic(FINISHED),
        ],
    );
    assert_eq!(kinds(&story), ["ready_to_confirm", "outcome", "payment_finished"]);
    assert_eq!((&story["state"], &story["steps"][0]["rules"]["verdict"]), (&"done".into(), &"confirm".into()));
    for step in story["steps"].as_array().unwrap() {
        assert_eq!(step["partition"], setup.inner.partition_of("ps_rule"), "{step}");
    }
    engine.stop().unwrap();
}

#[test]
fn a_session_that_a_person_decided_tells_who_and_which_decision_did_not_count() {
    let setup = Setup::new(RULES);
    let engine = setup.engine();
    setup.inner.ready("ps_person", Timestamp::now(), 60_000);
    setup.inner.decide("ps_person", Action::Cancel, "first");
    setup.inner.decide("ps_person", Action::Confirm, "second");
    setup.inner.await_outcome("ps_person");
    setup.inner.await_rejections(1);
    let story = setup.check(
        "ps_person",
        &[
            "Cancelled by the decision of \"risk\"; the provider accepted it. Reason: looked at.",
            "The provider asks for a confirmation",
            "hold, because no rule is true and confirmation.default is \"hold\"",
            "Decision of \"risk\": cancel.",
            "looked at",
            &setup.inner.topic(DECISION),
        ],
    );
    let steps = story["steps"].as_array().unwrap();
    let rejected = steps.iter().find(|step| step["kind"] == "decision_rejected").unwrap();
    assert_eq!(rejected["what"], "The decision of \"risk\" to confirm does not count: the session was decided before.");
    assert_eq!(rejected["details"]["decision id"], "second");
    assert_eq!(rejected["topic"], setup.inner.topic(REJECTED));
    assert_eq!(kinds(&story).iter().filter(|kind| **kind == "decision").count(), 2);
    engine.stop().unwrap();
}

#[test]
fn a_session_that_the_provider_refused_is_not_told_as_confirmed() {
    let setup = Setup::new(RULES);
    setup.inner.provider.misbehave_at(Operation::Confirm, Fault::Refuse("bank_card_expired"), 1);
    let engine = setup.engine();
    setup.inner.ready("ps_refused", Timestamp::now(), 100);
    assert_eq!(setup.inner.await_outcome("ps_refused").result(), Result::Refused);
    setup.check(
        "ps_refused",
        &[
            "\"confirm\" was decided by the rule \"small\", but the provider refused it for good. Refused with bank_card_expired.",
            "RESULT_REFUSED",
            "bank_card_expired: ",
        ],
    );
    engine.stop().unwrap();
}

#[test]
fn each_call_is_told_with_its_idempotency_key() {
    let setup = Setup::new(RULES);
    setup.inner.provider.misbehave_at(Operation::Confirm, Fault::Refuse("provider_timeout"), 1);
    let engine = setup.engine();
    setup.inner.ready("ps_again", Timestamp::now(), 100);
    assert_eq!(setup.inner.await_outcome("ps_again").attempts, 2);
    setup.check(
        "ps_again",
        &[
            "Decided: confirm, by the rule \"small\".",
            "session/confirm, call 1, idempotency key confirm:ps_again:1",
            "The engine calls session/confirm again: call 2.",
            "idempotency key confirm:ps_again:2",
            "Outcome: confirmed by the rule \"small\"; the provider accepted it.",
        ],
    );
    engine.stop().unwrap();
}

#[test]
fn a_session_that_the_deadline_decided_says_so() {
    let setup = Setup::new(RULES);
    let engine = setup.engine();
    setup.inner.ready("ps_late", ago(14_400 - 1000), 60_000);
    assert_eq!(setup.inner.await_outcome("ps_late").result(), Result::Accepted);
    setup.check(
        "ps_late",
        &[
            "Cancelled by the deadline (confirmation.at_deadline), because nobody had decided; the provider accepted it.",
            "cancel at ",
            "unless decided before",
            "Outcome: cancelled by the deadline",
        ],
    );
    engine.stop().unwrap();
}

#[test]
fn an_open_session_says_why_it_is_held_and_when_the_clock_decides_what() {
    let setup = Setup::new(RULES);
    let engine = setup.engine();
    let began = Timestamp::now();
    setup.inner.ready("ps_open", began, 60_000);
    setup.inner.await_entries("ps_open", 1);
    let story = setup.check(
        "ps_open",
        &[
            "Open and not decided. Today's rules say: hold, because no rule is true and confirmation.default is \"hold\".",
            "Unless it is decided before, the deadline decides at ",
            "(in 3h ",
            ": cancel. The window closes at ",
            "To decide: paybridge decide sg-main ps_open confirm --reason TEXT",
            "The session is open. The engine holds it for a decision or the deadline.",
        ],
    );
    let deadline = began + SignedDuration::from_secs(14_400 - 1_200);
    let shown: Timestamp = story["deadline"]["at"].as_str().unwrap().parse().unwrap();
    assert!(shown.duration_since(deadline).abs() < SignedDuration::from_secs(1), "{shown} {deadline}");
    assert_eq!((&story["state"], &story["deadline"]["action"]), (&"awaiting".into(), &"cancel".into()));
    engine.stop().unwrap();
}

#[test]
fn decisions_without_a_session_and_events_without_an_engine_are_told_as_such() {
    let setup = Setup::new(RULES);
    setup.inner.ready("ps_unseen", Timestamp::now(), 100);
    let story = setup.check("ps_unseen", &["no engine has taken the event", "paybridge_confirmation_lag_records"]);
    assert_eq!(story["state"], "not_taken");
    // Another amount than the provider signed.
    let mut forged = waiting_event("ps_forged", Timestamp::now(), 100);
    let evidence = forged.metadata.as_mut().unwrap().evidence.as_mut().unwrap();
    evidence.raw_body = Some(b"{}".to_vec().into());
    setup.inner.write(READY, "ps_forged", &forged.encode_to_vec());
    setup.check("ps_forged", &["The engine does not take its event", "EVIDENCE_DOES_NOT_VERIFY"]);
    let engine = setup.engine();
    setup.inner.decide("ps_early", Action::Cancel, "early");
    setup.inner.await_entries("ps_early", 1);
    let story = setup.check("ps_early", &["Not opened: 1 decision waits for it", "Decision of \"risk\": cancel."]);
    assert_eq!(story["state"], "not_opened");
    engine.stop().unwrap();
}

#[test]
fn an_unknown_session_says_where_it_looked_and_two_sources_have_to_be_told_apart() {
    let setup = Setup::new(RULES);
    let told = setup.why("ps_nobody", &[]);
    assert!(told.code == 1 && told.output.is_empty(), "{told:?}");
    let partition = setup.inner.partition_of("ps_nobody");
    for part in [READY, FINISHED, DECISION, OUTCOME, REJECTED] {
        let place = format!("{}, partition {partition}", setup.inner.topic(part));
        assert!(told.errors.contains(&place), "no {place} in {}", told.errors);
    }
    setup.inner.ready("ps_both", Timestamp::now(), 100);
    let mut other = waiting_event("ps_both", Timestamp::now(), 100);
    other.metadata.as_mut().unwrap().source = "sg-other".to_owned();
    setup.inner.write(READY, "ps_both", &other.encode_to_vec());
    let told = setup.why("ps_both", &[]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.errors.contains("choose with --source: sg-main, sg-other"), "{told:?}");
    let told = setup.why("ps_both", &["--source", "sg-main"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.output.contains("SESSION_OF_ANOTHER_SOURCE"), "{told:?}");
    // Another source's decision is a part of the story.
    let mut foreign = decision("ps_both", Action::Cancel, "foreign");
    foreign.source = "sg-other".to_owned();
    setup.inner.write(DECISION, "ps_both", &foreign.encode_to_vec());
    let told = setup.why("ps_both", &["--source", "sg-main"]);
    assert!(told.output.contains("sg-other, which is not the session's source (sg-main)"), "{told:?}");
}
