//! What the rules must not decide by its amounts is held, whatever they say; a decision of a person still counts.

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::message::confirmation::v1::{Action, DeciderKind, Result};
use paybridge::provider::SignedWebhook;
use paybridge::provider::smart_glocal::api::Operation;
use serde_json::{Value, json};

use crate::support::bridge::{Bridge, decoded, sender};
use crate::support::engine_setup::{EngineSetup, await_metric};

/// Without a lower bound, as somebody may have written it; and whatever is left is confirmed, too.
const RULES: &str = r#"
default = "confirm"
[[confirmation.rules]]
name = "small payouts"
when = 'session.operations.all(o, o.kind == "payout" && o.amount.currency == "USD" && o.amount.minor_units <= 50000)'
then = "confirm"
"#;
const NOT_EVALUATED: &str = "paybridge_confirmation_held_total{reason=\"not_evaluated\"}";

fn operation(id: &str, amount: i64) -> Value {
    json!({"id": id, "status": "pending", "amount_details": {"amount": amount, "currency": "usd"}})
}

/// A payout of so many cents, changed, as the provider signs and sends it.
fn webhook(config: &Config, id: &str, cents: i64, change: impl FnOnce(&mut Value)) -> SignedWebhook {
    let now = Timestamp::now();
    let mut session = json!({"id": id, "status": "in_progress", "next_action": "confirm", "created_at": now.to_string(),
        "updated_at": now.to_string(), "payout_list": [operation(&format!("po_{id}"), cents)]});
    change(&mut session);
    let body = json!({"type": "ready_to_confirm", "session": session}).to_string();
    sender(config, "sg-main").sign("", body.into(), now, 0)
}

#[track_caller]
fn post(bridge: &Bridge, webhook: &SignedWebhook) {
    let answered = bridge.post("sg-main", webhook);
    assert_eq!((answered.status.as_u16(), answered.json("status").as_str()), (200, "accepted"));
}

#[test]
fn a_payout_below_nothing_and_a_session_with_amounts_that_are_not_known_are_held() {
    let setup = EngineSetup::new(RULES);
    let bridge = setup.engine();
    let config = &setup.config;
    let large = operation("tr_1", 99_999_999);
    let held = [
        ("ps_negative", webhook(config, "ps_negative", -5_000_000, |_| {})),
        ("ps_nothing", webhook(config, "ps_nothing", 0, |_| {})),
        ("ps_transfers", webhook(config, "ps_transfers", 100, |session| session["transfer_list"] = json!([large]))),
        ("ps_map", webhook(config, "ps_map", 100, |session| session["transfer_list"] = json!({"1": large}))),
        ("ps_nested", webhook(config, "ps_nested", 100, |session| session["more"] = json!({"list": [large]}))),
        ("ps_split", webhook(config, "ps_split", 100, |session| session["payout_list"][0]["to"] = json!([large]))),
        (
            "ps_twice",
            webhook(config, "ps_twice", 100, |session| {
                session["payments"] = json!([operation("po_ps_twice", 99_999_999)]);
            }),
        ),
    ];
    for (_, webhook) in &held {
        post(&bridge, webhook);
    }
    post(&bridge, &webhook(config, "ps_good", 100, |session| session["commission"] = large["amount_details"].clone()));
    assert_eq!(setup.await_outcome("ps_good").decided_by_kind(), DeciderKind::Rule);
    await_metric(&bridge, NOT_EVALUATED, 7);
    assert_eq!(setup.await_outcomes(1).len(), 1);
    for (id, _) in &held {
        assert!(setup.provider.session(id).is_none(), "{id} was called about");
    }
    // Subscribers are told as well.
    let events = setup.records(crate::support::engine_setup::READY);
    let transfers = events.iter().find(|record| record.key.as_deref() == Some(b"ps_transfers")).unwrap();
    assert_eq!(decoded(transfers)["session"]["unknown_amount_lists"], json!(["transfer_list"]));
    // Somebody who has looked at it may confirm it.
    setup.decide("ps_transfers", Action::Confirm, "looked at");
    let outcome = setup.await_outcome("ps_transfers");
    assert_eq!((outcome.result(), outcome.decided_by_kind()), (Result::Accepted, DeciderKind::Decision));
    assert_eq!(setup.provider.session("ps_transfers").unwrap().actions(), [Operation::Confirm]);
    bridge.stop().unwrap();
}
