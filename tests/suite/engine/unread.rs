//! Odd fields of a session: they hold no event back, and a rule that reads one of them does not decide.

use jiff::Timestamp;
use paybridge::message::confirmation::v1::{Action, DeciderKind};
use prost::Message;
use serde_json::{Value, json};

use crate::support::bridge::{Bridge, decoded, sender};
use crate::support::engine_setup::{EngineSetup, READY, await_metric, ready_body, waiting_event};

/// Blocked customers are cancelled, all else is confirmed.
const RULES: &str = r#"
default = "confirm"
[[confirmation.rules]]
name = "blocked"
when = 'session.operations.exists(o, has(o.customer) && o.customer.reference == "user-13")'
then = "cancel"
"#;

fn post(bridge: &Bridge, session_id: &str, change: impl FnOnce(&mut Value)) {
    let mut body = ready_body(session_id, "ready", Timestamp::now(), 100);
    change(&mut body["session"]["payout_list"][0]);
    let signed = sender(&bridge.config, "sg-main").sign("", body.to_string().into(), Timestamp::now(), 0);
    assert_eq!(bridge.post("sg-main", &signed).status, 200);
}

#[test]
fn a_rule_that_reads_an_unreadable_field_holds_the_session_and_the_event_names_the_field() {
    let setup = EngineSetup::new(RULES);
    let bridge = setup.engine();
    post(&bridge, "ps_held", |operation| operation["customer"] = json!("user-13"));
    post(&bridge, "ps_confirmed", |operation| operation["transaction_info"] = json!("none"));
    post(&bridge, "ps_php", |operation| operation["error"] = json!([]));
    let outcomes = setup.await_outcomes(2);
    for id in ["ps_confirmed", "ps_php"] {
        assert_eq!(outcomes[id].decided_by_kind(), DeciderKind::Default, "{id}");
    }
    await_metric(&bridge, "paybridge_confirmation_held_total{reason=\"unread_field\"}", 1);
    await_metric(&bridge, "paybridge_unread_fields_total{source=\"sg-main\"}", 2);
    let events = setup.records(READY);
    let unread = |id: &str| {
        let event = events.iter().find(|record| record.key.as_deref() == Some(id.as_bytes())).unwrap();
        decoded(event)["metadata"]["unread_fields"].clone()
    };
    assert_eq!(unread("ps_held"), json!(["session.payout_list[0].customer"]));
    assert_eq!(unread("ps_confirmed"), json!(["session.payout_list[0].transaction_info"]));
    assert_eq!(unread("ps_php"), Value::Null);
    assert_eq!(setup.quarantined(), []);
    // Somebody who has looked at it decides.
    setup.decide("ps_held", Action::Cancel, "looked at");
    assert_eq!(setup.await_outcome("ps_held").action(), Action::Cancel);
    bridge.stop().unwrap();
}

/// The provider's word has an odd field too.
#[test]
fn a_session_that_goes_by_the_providers_word_is_held_in_the_same_way() {
    let setup = EngineSetup::new(RULES);
    let bridge = setup.engine();
    let mut event = waiting_event("ps_held", Timestamp::now(), 100);
    event.metadata.as_mut().unwrap().evidence.as_mut().unwrap().raw_body = None;
    let mut shown = ready_body("ps_held", "ready", Timestamp::now(), 100);
    shown["session"]["payout_list"][0]["customer"] = json!("user-13");
    let Value::Object(fields) = shown["session"].take() else { panic!("a session is an object") };
    setup.provider.describe("ps_held", fields);
    setup.write(READY, "ps_held", &event.encode_to_vec());
    await_metric(&bridge, "paybridge_confirmation_held_total{reason=\"unread_field\"}", 1);
    assert_eq!(setup.outcomes(), []);
    bridge.stop().unwrap();
}
