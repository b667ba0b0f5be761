//! At level debug the engine's log tells of every session, and of nobody's person, reason or refusal.

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::message::confirmation::v1::Action;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::{Fault, SimulatorSettings};
use prost::Message;

use crate::support::bridge::{create_needed_topics, sender};
use crate::support::daemon::{Client, Daemon, Exchange};
use crate::support::engine_setup::{DECISION, EngineSetup, PROJECT, READY, decision, known_keys, waiting_event};
use crate::support::kafka::Kafka;

/// What is recognized wherever it appears.
const REFERENCE: &str = "planted-customer-4711";
const E_MAIL: &str = "planted.person@example.com";
const LAST4: &str = "9753";
const BIN: &str = "864201";
const METADATA: &str = "planted-metadata";
const REASON: &str = "planted-reason";
const PLANTED: [&str; 6] = [REFERENCE, E_MAIL, LAST4, BIN, METADATA, REASON];
/// What the simulated provider says to every refusal.
const REFUSAL_DESCRIPTION: &str = "said by the simulated provider";

/// The rules look at all of it; one fails.
const RULES: &str = r#"
unknown_session_ttl_s = 1
[[confirmation.rules]]
name = "fails"
when = 'session.operations[0].customer.reference == "nobody" || session.operations[7].instrument.card.last4 == "1"'
then = "cancel"
[log]
level = "debug"
"#;

fn webhook(config: &Config, kind: &str, session_id: &str, status: &str) -> paybridge::provider::SignedWebhook {
    let now = Timestamp::now();
    let body = format!(
        r#"{{"type":"{kind}","session":{{"id":"{session_id}","status":"{status}","next_action":"confirm",
        "created_at":"{now}","updated_at":"{now}","payout_list":[{{"id":"po_{session_id}","status":"pending",
        "created_at":"{now}","customer":{{"reference":"{REFERENCE}","contacts":[{{"email":"{E_MAIL}"}}]}},
        "payout_details":{{"type":"card","card":{{"last4":"{LAST4}","bin":"{BIN}","brand":"visa"}}}},
        "amount_details":{{"amount":10000,"currency":"usd"}},"metadata":"{METADATA}"}}]}}}}"#
    );
    sender(config, "sg-main").sign("", body.into(), now, 0)
}

fn post(client: &Client, config: &Config, kind: &str, session_id: &str, status: &str) {
    match client.post("sg-main", &webhook(config, kind, session_id, status)) {
        Exchange::Answered(answered) if answered.status == 200 => {}
        other => panic!("{other:?}"),
    }
}

/// Every way on which a decision, or an event, can go wrong, with something planted in it.
fn go_wrong(setup: &EngineSetup) {
    let decide = |session_id: &str, decision_id: &str| {
        let mut planted = decision(session_id, Action::Confirm, decision_id);
        (planted.reason, planted.decided_by) = (REASON.to_owned(), E_MAIL.to_owned());
        planted
    };
    let late = decide("ps_refused", "late").encode_to_vec();
    setup.write(DECISION, "ps_refused", &late);
    setup.write_to(DECISION, setup.other_partition("ps_refused"), "ps_refused", Some(&late));
    let header = ("paybridge-passed-on", "0/7");
    setup.write_to_with(DECISION, setup.other_partition("ps_refused"), "ps_refused", Some(&late), header);
    setup.write(DECISION, "ps_unknown", &decide("ps_unknown", "unknown").encode_to_vec());
    let mut malformed = decide("ps_refused", "malformed");
    malformed.action = 9;
    setup.write(DECISION, "ps_refused", &malformed.encode_to_vec());
    setup.write(DECISION, "ps_refused", E_MAIL.as_bytes());
    let mut event = waiting_event("ps_two", Timestamp::now(), 100);
    event.metadata.as_mut().unwrap().subject = E_MAIL.to_owned();
    setup.write(READY, "ps_two", &event.encode_to_vec());
}

#[test]
fn tells_no_person_no_reason_and_no_refusals_words() {
    let kafka = Kafka::shared();
    let (setup, text) = EngineSetup::for_process(kafka, RULES, SimulatorSettings::new(PROJECT, known_keys()));
    create_needed_topics(kafka, &setup.config);
    let mut daemon = Daemon::run(&text);
    daemon.await_ready();
    let client = daemon.client();
    setup.provider.misbehave_at(Operation::Confirm, Fault::Refuse("bank_card_expired"), 1);
    setup.provider.misbehave_at(Operation::Cancel, Fault::LoseAnswer, 1);
    for id in ["ps_refused", "ps_lost", "ps_gone"] {
        post(&client, &daemon.config, "ready_to_confirm", id, "in_progress");
        setup.await_entries(id, 1);
    }
    for (id, action) in [("ps_refused", Action::Confirm), ("ps_lost", Action::Cancel)] {
        let mut planted = decision(id, action, "planted");
        planted.reason = REASON.to_owned();
        setup.write(DECISION, id, &planted.encode_to_vec());
        setup.await_outcome(id);
    }
    post(&client, &daemon.config, "payment_finished", "ps_gone", "accepted");
    go_wrong(&setup);
    let outcomes = setup.await_outcomes(3);
    assert_eq!(outcomes["ps_refused"].refusal_description, REFUSAL_DESCRIPTION);
    assert_eq!(outcomes["ps_refused"].reason, REASON);
    setup.await_rejections(5);
    setup.await_quarantined(2);
    let metrics = format!("{:?}", client.admin("/metrics"));
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0));
    let log = daemon.log();
    for told in ["sg-main/ps_refused", "a session ended", "rule failed", "quarantine", "a decision does not count"] {
        assert!(log.contains(told), "the log tells too little to prove anything, no `{told}`: {log}");
    }
    for planted in PLANTED.iter().chain(&[REFUSAL_DESCRIPTION]) {
        let told = log.lines().chain(metrics.lines()).find(|line| line.contains(planted));
        assert_eq!(told, None, "`{planted}` is told");
    }
}
